"""The mapper graphs of all layers of a network, and how pure each of them is."""

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import Bunch, check_consistent_length
from sklearn.utils.multiclass import unique_labels

from robustkit.topology._loops import count_loops, filled_triangles
from robustkit.topology._mapper_graph import MapperGraph
from robustkit.topology._purity import weighted_average_purity


def mapper_graphs(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    mapper: MapperGraph | None = None,
    layers: str | int | Sequence[str | int] = "all",
    spatial: str = "random",
    batch_size: int = 4096,
    device: Any = "auto",
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Build the mapper graph of every layer of a trained network.

    The samples pass through the network once.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        A fitted classifier, or a trained module; it is used as it is.

    X : array-like of shape (n_samples, n_features) or images
        Samples, whose activations are the point clouds.

    y : array-like of shape (n_samples,), default=None
        Their labels, for the purity of the layers.

    mapper : MapperGraph, default=None
        A clone of it is fitted to each layer. None is :class:`MapperGraph` with its
        defaults, so that each layer chooses its own `eps`.

    layers : str, int or list of these, default="all"
        Which layers, as in :class:`~robustkit.bridge.ActivationExtractor`. "all" is
        every hidden layer and the logits, from first to last.

    spatial : {"random", "mean", "flatten"}, default="random"
        How a layer of channels x height x width is reduced, as in
        :class:`~robustkit.bridge.ActivationExtractor`.

    batch_size : int, default=4096
        Samples that pass through the network at a time.

    device : str or torch.device, default="auto"
        Where the network runs.

    random_state : int, RandomState instance or None, default=None
        Seeds the positions of `spatial="random"`.

    Returns
    -------
    graphs : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        mappers : dict of str to MapperGraph
            The fitted mapper of every layer, by its name, from first to last.
        table : DataFrame
            One row per layer: `n_units`, `eps`, `n_nodes`, `n_edges`, `n_components`,
            `n_loops`, the number of independent loops (three nodes that share a sample
            are none), and `noise`, the share of the samples that lie in no node. With
            `y` also `purity`, the average over the nodes, weighted by their sizes, and
            `pure_nodes`, the share of the nodes whose samples all have one label.

    See Also
    --------
    robustkit.plotting.MapperLayersDisplay : Draws the graphs and the purity.
    MapperGraph : The graph of one layer.

    References
    ----------
    .. [1] E. Purvine, D. Brown, B. Jefferson, C. Joslyn, B. Praggastis, A. Rathore,
       M. Shapiro, B. Wang, Y. Zhou, "Experimental observations of the topology of
       convolutional neural network activations", AAAI 37(8), 2023.
       doi:10.1609/aaai.v37i8.26134

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from robustkit.topology import MapperGraph, mapper_graphs
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16, 8), max_iter=1000, random_state=0).fit(X, y)
    >>> graphs = mapper_graphs(model, X, y, mapper=MapperGraph(n_intervals=8))
    >>> list(graphs.table["n_units"])
    [16, 8, 3]
    """
    # Loaded here, so that a mapper graph of any point cloud does without torch.
    from robustkit.bridge import ActivationExtractor, check_is_trained, frozen

    if y is not None:
        check_consistent_length(X, y)
    check_is_trained(estimator)
    extractor = ActivationExtractor(
        frozen(estimator), spatial=spatial, batch_size=batch_size, device=device,
        random_state=random_state,
    ).fit(X, y)  # fmt: skip
    activations = extractor.transform_layers(X, layers)
    mapper = MapperGraph() if mapper is None else mapper
    mappers = {name: clone(mapper).fit(values) for name, values in activations.items()}
    table = pd.DataFrame(
        [_describe(mappers[name], y) for name in mappers],
        index=pd.Index(mappers, name="layer"),
    )
    return Bunch(mappers=mappers, table=table)


def _describe(mapper, y):
    """Describe the graph of one layer in a few numbers."""
    graph = mapper.graph_
    n_nodes, n_edges = graph.number_of_nodes(), graph.number_of_edges()
    n_components = nx.number_connected_components(graph)
    row = {
        "n_units": mapper.n_features_in_,
        "eps": mapper.eps_,
        "n_nodes": n_nodes,
        "n_edges": n_edges,
        "n_components": n_components,
        "n_loops": count_loops(
            mapper.edges_, n_nodes, filled_triangles(mapper.membership_)
        ),
        "noise": mapper.n_noise_ / len(mapper.membership_.indptr[1:]),
    }
    if y is not None:
        purity = mapper.describe(y)["purity"]
        row["purity"] = weighted_average_purity(
            mapper.membership_, y, labels=unique_labels(y)
        )
        row["pure_nodes"] = float((purity == 1).mean()) if n_nodes else 0.0
    return row
