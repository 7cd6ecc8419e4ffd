"""The engine of the mapper: DBSCAN in every interval, and the distance it takes.

One function does the work, :func:`dbscan_in_slices`; the others say which distance it
works with. From the bottom up: `_products` multiplies blocks of samples, `_search`
finds all pairs within a distance, `_windows` follows what they connect from interval to
interval, `_few` finds some pairs where all are too many, `_dbscan` makes clusters of it
and keeps neighbours for the next fit, `_distance` chooses metric and eps, and
`_connection` finds the distance at which a shape is connected.
"""

from robustkit.topology.neighbors._connection import (
    connection_distance,
    is_too_coarse,
    longest_steps,
)
from robustkit.topology.neighbors._dbscan import (
    Labels,
    NeighborCache,
    Neighbors,
    dbscan_in_slices,
    digest,
    find_neighbors,
)
from robustkit.topology.neighbors._distance import (
    METRIC_NAMES,
    Metric,
    bounding_diagonal,
    choose_eps,
    learn_metric,
    typical_distance,
)
from robustkit.topology.neighbors._products import products_on
from robustkit.topology.neighbors._search import LARGEST_N_PAIRS, around_zero

__all__ = [
    "LARGEST_N_PAIRS",
    "METRIC_NAMES",
    "Labels",
    "Metric",
    "NeighborCache",
    "Neighbors",
    "around_zero",
    "bounding_diagonal",
    "choose_eps",
    "connection_distance",
    "dbscan_in_slices",
    "digest",
    "find_neighbors",
    "is_too_coarse",
    "learn_metric",
    "longest_steps",
    "products_on",
    "typical_distance",
]
