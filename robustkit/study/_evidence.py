"""What a report rests on: computed once from the table of a study."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone

from robustkit.correlation import RobustnessCorrelator, correlate_given
from robustkit.study._words import is_robustness

__all__ = ["CONTROLS", "Evidence", "correlate_published", "gather"]

# Width, density and accuracy: what the joint table holds fixed.
CONTROLS = ("n_parameters", "density", "clean_accuracy")

_PAIR_COLUMNS = [
    "property",
    "measure",
    "coefficient",
    "p_value",
    "p_adjusted",
    "ci_low",
    "ci_high",
    "n",
    "strength",
]


@dataclass(frozen=True)
class Evidence:
    """The table of a study, and what was found in it."""

    results: pd.DataFrame
    """A row a model that did not fail."""

    n_rows: int
    """Rows of the table, failed models too."""

    parameters: list
    properties: list
    measures: list
    """Columns of `results` that are there and hold a number; a parameter may hold a
    name."""

    inits: list
    """In the order of the study."""

    correlator: RobustnessCorrelator | None
    """None if there was too little to correlate."""

    pairs: pd.DataFrame
    """Every property with every measure of robustness, by the correlator's method."""

    controls: list
    held: pd.DataFrame
    """The same pairs with the controls held fixed."""

    settings: dict

    @property
    def is_pruned(self):
        """Whether the rows are steps of pruning."""
        return "step" in self.results

    @property
    def n_failed(self):
        """How many models could not be trained or measured."""
        return self.n_rows - len(self.results)

    @property
    def robustness(self):
        """Measures that say how a model stands an attack."""
        return [name for name in self.measures if is_robustness(name)]

    def graphs(self):
        """One row a graph; every row of a pruned net has a structure of its own."""
        if self.is_pruned or "graph" not in self.results:
            return self.results
        return self.results.drop_duplicates("graph")


def gather(results, columns, correlator, settings):
    """Look at everything once.

    Parameters
    ----------
    results : DataFrame
        A row a model.

    columns : Bunch or mapping
        Lists of names: `parameters`, `properties`, `measures`. Those that the table
        does not have are left out.

    correlator : RobustnessCorrelator or None
        Fitted.

    settings : mapping or None
        What was asked for.

    Returns
    -------
    evidence : Evidence
        With everything that the parts of a report show.
    """
    listed = {
        kind: [name for name in columns.get(kind, ()) if name in results]
        for kind in ("parameters", "properties", "measures")
    }
    kept = results[~_failed(results, listed["measures"])]
    numbers = {
        name: _as_numbers(kept[name])
        for name in [*listed["properties"], *listed["measures"]]
    }
    kept = kept.assign(**numbers)
    known = {
        kind: [name for name in names if kept[name].notna().any()]
        for kind, names in listed.items()
    }
    pairs, controls, held = _pairs(correlator)
    return Evidence(
        results=kept,
        n_rows=len(results),
        **known,
        inits=list(dict.fromkeys(results.get("init", ()))),
        correlator=correlator if hasattr(correlator, "correlations_") else None,
        pairs=pairs,
        controls=controls,
        held=held,
        settings=dict(settings or {}),
    )


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
    rows = table.rows
    properties = {column for row in rows for column in row.property_columns}
    properties = [name for name in evidence.properties if name in properties]
    measures = {row.measure_column for row in rows}
    measures = [name for name in evidence.measures if name in measures]
    if not (properties and measures):
        return {}
    correlator = RobustnessCorrelator()
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
        # Too few models: the report says so where it counts them.
        return {}
    return {
        (row["property"], row["measure"], row["method"]): row
        for row in correlator.correlations_.to_dict("records")
    }


def _failed(results, measures):
    """Models with an error, or without a single measure."""
    failed = np.zeros(len(results), dtype=bool)
    if "error" in results:
        error = results["error"]
        failed |= (error.notna() & error.astype(str).ne("")).to_numpy()
    if measures:
        failed |= results[measures].isna().all(axis=1).to_numpy()
    return failed


def _as_numbers(column):
    return pd.to_numeric(column, errors="coerce").astype(float)


def _pairs(correlator):
    """Find the pairs with a measure of robustness, plain and with controls fixed."""
    if not hasattr(correlator, "correlations_"):
        empty = pd.DataFrame(columns=_PAIR_COLUMNS)
        return empty, [], empty
    table = correlator.correlations_
    table = table[table["method"] == correlator.method_]
    pairs = table.loc[table["measure"].map(is_robustness), _PAIR_COLUMNS]
    values = correlator.values_
    controls = [name for name in CONTROLS if name in values]
    held = correlate_given(
        values,
        list(dict.fromkeys(pairs["property"])),
        list(dict.fromkeys(pairs["measure"])),
        controls,
        correction=correlator.correction,
    )
    return pairs.reset_index(drop=True), controls, held
