"""Results that grow run by run, and that a command which was killed finds again."""

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from scipy import stats

mpl.use("Agg")

import matplotlib.pyplot as plt


class ResultTable:
    """A CSV file with a row for each run that was finished.

    Parameters
    ----------
    path : path-like
        The file. It is made with the first row.

    keys : list of str
        The columns that say which run it was.

    defaults : dict, default=None
        Column -> what it was in the rows of a file that is older than the column.
    """

    def __init__(self, path, keys, defaults=None):
        self.path, self.keys = Path(path), list(keys)
        self.defaults = dict(defaults or {})

    def read(self):
        """All rows so far."""
        if not self.path.exists():
            return pd.DataFrame(columns=self.keys)
        # An empty cell is a number that was not measured, and a key that is a word
        # may well be "none".
        rows = pd.read_csv(self.path, keep_default_na=False, na_values=[""])
        for name, value in self.defaults.items():
            rows[name] = rows[name].fillna(value) if name in rows else value
        return rows

    def has(self, **key):
        """Tell whether a run was finished."""
        rows = self.read()
        found = np.ones(len(rows), dtype=bool)
        for name in self.keys:
            found &= _equal(rows[name], key[name])
        return bool(found.any())

    def add(self, rows):
        """Append rows; the file on the disk is always a whole one."""
        table = pd.concat([self.read(), pd.DataFrame(rows)], ignore_index=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".part")
        table.to_csv(fresh, index=False)
        os.replace(fresh, self.path)


def _equal(column, value):
    if isinstance(value, float):
        # Older files keep six digits of it.
        return np.isclose(column.to_numpy(dtype=float), value)
    return (column == value).to_numpy(dtype=bool)


def half_width(values):
    """Half the width of the 95 % interval of a mean (Student); nan for one value."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan
    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def with_interval(values, digits=2):
    """Mean, and half the width of its 95 % interval, on one line of a table."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return ""
    return around(values.mean(), half_width(values), digits)


def around(middle, half, digits=2):
    """Write a number and half the width of its interval, if there is one."""
    text = f"{middle:.{digits}f}"
    return text if np.isnan(half) else f"{text}\u00a0±\u00a0{half:.{digits}f}"


def signed(text):
    """Put a plus before a number that is not negative."""
    return text if text.startswith("-") or not text else f"+{text}"


def write_table(rows, path):
    """Keep a table for the directive that puts it on a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # As objects, whole numbers stay whole where others are missing.
    pd.DataFrame(rows, dtype=object).to_csv(path, index=False)


def read_published(path):
    """Read what a paper printed, as it printed it: rows of a CSV file, all of text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def save_figure(figure, path, dpi=100):
    """Write a picture for a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
