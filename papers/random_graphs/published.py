"""What the paper has published, and the same of a study that repeats it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn.base import clone

from papers._results import read_published
from robustkit.correlation import RobustnessCorrelator

__all__ = ["F1_SCORES", "TABLES", "PublishedTable", "Row", "correlate_published"]

HERE = Path(__file__).parent

# Names of the paper -> columns of a study; of several, the first that it has.
_PROPERTIES = {
    "Number of parameters": ("n_parameters",),
    "Density": ("density",),
    # The authors' paths follow the directions of the edges.
    "Average path length": ("directed_path_length", "average_path_length"),
    "Average eccentricity": ("average_eccentricity",),
}
_MEASURES = {
    "FGSM: error rate": "fgsm_error_rate",
    "FGSM: confidence": "fgsm_average_confidence",
    # With eps fixed there is nothing to average: this one comes from growing eps.
    "FGSM: eps": "growing_average_eps",
    "One Pixel: error rate": "one_pixel_error_rate",
    "One Pixel: confidence": "one_pixel_average_confidence",
}


@dataclass(frozen=True)
class Row:
    """A property and a measure as the paper names them, and where a study has them."""

    property: str
    measure: str
    rho: float | None
    """None where the paper leaves the cell empty."""

    tau: float | None

    @property
    def property_columns(self):
        """Columns of a study; the first that it has counts."""
        return _PROPERTIES[self.property]

    @property
    def measure_column(self):
        """Column of a study."""
        return _MEASURES[self.measure]


@dataclass(frozen=True)
class PublishedTable:
    """One table of coefficients."""

    number: int
    title: str
    population: str
    rows: tuple


def _read_tables():
    """As printed, also where the signs of rho and tau contradict each other."""
    cells = read_published(HERE / "published.csv")
    for (number, title, population), rows in cells.groupby(
        ["table", "title", "population"], sort=False
    ):
        yield PublishedTable(
            int(number),
            title,
            population,
            tuple(
                Row(row.property, row.measure, _number(row.rho), _number(row.tau))
                for row in rows.itertuples()
            ),
        )


def _number(text):
    return float(text) if text else None


TABLES = tuple(_read_tables())

# Population -> lowest, mean and highest macro F1 on MNIST, in percent (section 6).
F1_SCORES = {
    row.population: (row.lowest, row.mean, row.highest)
    for row in pd.read_csv(HERE / "published_f1.csv").itertuples()
}


def correlate_published(evidence, table):
    """Correlate the pairs of a published table as the study's correlator does.

    They are a family of tests of their own, chosen before the data were seen.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    table : PublishedTable
        Which pairs.

    Returns
    -------
    found : dict
        (property, measure, method) -> row of `correlations_`. Empty if there are too
        few models or no such columns.
    """
    properties = {column for row in table.rows for column in row.property_columns}
    properties = [name for name in evidence.properties if name in properties]
    measures = {row.measure_column for row in table.rows}
    measures = [name for name in evidence.measures if name in measures]
    if not (properties and measures):
        return {}
    correlator = RobustnessCorrelator(n_bootstrap=0)
    if isinstance(evidence.correlator, RobustnessCorrelator):
        correlator = clone(evidence.correlator)
    results = evidence.results
    try:
        correlator.set_params(methods=("spearman", "kendall")).fit(
            results[properties].astype(float),
            results[measures].astype(float),
            groups=None if evidence.is_pruned else results.get("graph"),
        )
    except ValueError:
        # Too few models.
        return {}
    return {
        (row["property"], row["measure"], row["method"]): row
        for row in correlator.correlations_.to_dict("records")
    }
