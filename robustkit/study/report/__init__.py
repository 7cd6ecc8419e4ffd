"""The report of a study: one HTML file that needs no network, script or other file.

`_findings.py` says what the numbers say, `_statements.py` in sentences, `_figures.py`
draws, and `report.html.j2` is the page. What else looks at the table of a study imports
`gather` and labels from here.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from robustkit.correlation import RobustnessCorrelator
from robustkit.study.report import _findings as findings
from robustkit.study.report._figures import check_matplotlib, draw_figures
from robustkit.study.report._findings import (
    Evidence,
    correlation_lines,
    gather,
    strongest_rows,
)
from robustkit.study.report._labels import (
    METHODS,
    describe,
    interval,
    label,
    listed,
    number,
    p_value,
)
from robustkit.study.report._statements import ALIKE, alike, statements_of

__all__ = [
    "Evidence",
    "correlation_lines",
    "gather",
    "interval",
    "label",
    "number",
    "p_value",
    "strongest_rows",
    "write_report",
]

_CORRECTIONS = {
    "holm": "Holm's method",
    "benjamini-hochberg": "the method of Benjamini and Hochberg",
    None: "no correction",
}
_FILTERS = {
    "describe": describe,
    "label": label,
    "listed": listed,
    "number": number,
    "p_value": p_value,
}


def write_report(
    results: pd.DataFrame,
    columns: Mapping[str, list[str]],
    correlator: RobustnessCorrelator | None,
    path: str | os.PathLike,
    *,
    settings: Mapping | None = None,
    undertrained: Sequence[bool] | None = None,
) -> Path:
    """Write the report of a study.

    Parameters
    ----------
    results : DataFrame
        One row per model.

    columns : Bunch or mapping
        Lists of column names: `parameters`, `properties`, `measures`.

    correlator : RobustnessCorrelator or None
        Fitted to the properties and measures. None if there were too few models.

    path : str or path-like
        The file; an existing one is replaced.

    settings : mapping, default=None
        What was asked for, shown as it is. "n_models" is the number of planned models,
        "command" what runs the study again, "title" the heading of the page.

    undertrained : array-like of bool, default=None
        Rows that are left out because they were trained too little.

    Returns
    -------
    path : Path
        The file.
    """
    path = Path(path)
    _check_path(path)
    check_matplotlib()
    evidence = gather(results, columns, correlator, settings, undertrained)
    _write(path, _render(evidence))
    return path


def _render(evidence: Evidence) -> str:
    """Fill the template; whatever a user named is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= _FILTERS
    found = findings.findings_of(evidence)
    return environment.get_template("report.html.j2").render(
        e=evidence,
        data=findings,
        found=found,
        statements=statements_of(found, alike(evidence)),
        alike=ALIKE,
        figures=draw_figures(evidence, found),
        interval=interval,
        methods=METHODS,
        corrections=_CORRECTIONS,
    )


def _check_path(path):
    """Refuse at once what could not be written after the work is done."""
    if path.is_dir():
        raise IsADirectoryError(
            f"The path of a report must be a file such as report.html. {path} is a "
            "folder."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The report cannot be written to {path}: there is no folder {path.parent}."
        )


def _write(path, text):
    """Write beside the file, then rename: a reader sees the old page or the new one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(
            f"The report cannot be written to {path}: {error.strerror or error}."
        ) from error
