"""The report of a study: one file that needs no network, no script, no other file."""

import os
from pathlib import Path

from robustkit.study._evidence import gather
from robustkit.study._figures import check_matplotlib
from robustkit.study._html import page
from robustkit.study._report_sections import SECTIONS

__all__ = ["write_report"]


def write_report(results, columns, correlator, path, *, settings=None):
    """Write the report of a study.

    Parameters
    ----------
    results : DataFrame
        A row a model.

    columns : Bunch or mapping
        Lists of names of columns: `parameters`, `properties`, `measures`.

    correlator : RobustnessCorrelator or None
        Fitted to the properties and measures. None if there were too few models.

    path : str or path-like
        The file; one that is there is replaced.

    settings : mapping, default=None
        What was asked for, shown as it is. "n_models" is how many models were planned,
        "command" what makes the study again, "title" the heading of the page.

    Returns
    -------
    path : Path
        The file.
    """
    path = Path(path)
    _check_path(path)
    check_matplotlib()
    evidence = gather(results, columns, correlator, settings)
    title = str(evidence.settings.get("title", "What goes with robustness: a study"))
    sections = [
        (anchor, heading, build(evidence)) for anchor, heading, build in SECTIONS
    ]
    _write(path, page(title, sections))
    return path


def _check_path(path):
    """Refuse at once what could not be written after the work is done."""
    if path.is_dir():
        raise IsADirectoryError(
            f"The path of a report must be a file such as report.html. {path} is a "
            "folder."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The report can not be written to {path}: there is no folder "
            f"{path.parent}."
        )


def _write(path, text):
    """Write beside the file, then rename: whoever reads it sees all or the old one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(
            f"The report can not be written to {path}: {error.strerror or error}."
        ) from error
