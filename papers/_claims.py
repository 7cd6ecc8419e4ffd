"""Numbers of the tables as the pages write them, so that prose can be checked."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
NUMBERS += ("nine", "ten")


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, as a table writes it."""

    text: str
    middle: float
    low: float | None = None
    high: float | None = None
    """None where there was no interval: of a single run nothing can be shown."""

    @classmethod
    def read(cls, cell):
        """Read "0.24 ± 0.02", "0.24 [0.20, 0.28]" or a bare number; None if empty."""
        cell = cell.replace("−", "-").replace("\u00a0", " ").partition(";")[0]
        numbers = [float(n) for n in re.findall(r"[-+]?\d+(?:\.\d+)?", cell)]
        if not numbers:
            return None
        text = cell.strip().replace("-", "−")
        middle, *rest = numbers
        if "±" in cell:
            return cls(text, middle, middle - rest[0], middle + rest[0])
        if "[" in cell:
            return cls(text, middle, *rest[:2])
        return cls(text, middle)

    def side(self):
        """1 or -1 if the interval lies above or below zero; 0 if it includes zero."""
        if self.low is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


class Table:
    """Numbers of a table: of "0.24 ± 1.92" the first, or the other if it is meant."""

    def __init__(self, paper, name):
        path = HERE / paper / "results" / "tables" / f"{name}.csv"
        self.rows = pd.read_csv(path, dtype=str, keep_default_na=False)

    def of(self, column, number=0, **row):
        """All numbers of a column, in the rows whose other columns are as given."""
        cells = self._cells(column, row)
        found = [re.findall(r"[-+]?\d+(?:\.\d+)?", text) for text in cells]
        return [float(numbers[number]) for numbers in found if numbers]

    def one(self, column, number=0, **row):
        """The one number that is meant."""
        (value,) = self.of(column, number, **row)
        return value

    def intervals(self, column, **row):
        """(low, high) of every cell that is not empty."""
        return [(found.low, found.high) for found in self.estimates(column, **row)]

    def estimates(self, column, **row):
        """All estimates of a column, in the rows whose other columns are as given."""
        found = map(Estimate.read, self._cells(column, row))
        return [estimate for estimate in found if estimate is not None]

    def _cells(self, column, row):
        rows = self.rows
        for name, value in row.items():
            rows = rows[rows[name] == value]
        return rows[column]


def short(value, digits=1):
    """Write a number without the zero before the point, as the pages do."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def shortened(cell):
    """Write the numbers of a cell without the zeros before their points."""
    return re.sub(r"\b0\.", ".", cell.replace("\u00a0", " "))
