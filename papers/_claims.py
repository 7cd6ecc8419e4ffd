"""Numbers of the tables as the pages write them, so that prose can be checked."""

import re
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
NUMBERS += ("nine", "ten")


class Table:
    """Numbers of a table: of "0.24 ± 1.92" the first, or the other if it is meant."""

    def __init__(self, paper, name):
        path = HERE / paper / "results" / "tables" / f"{name}.csv"
        self.rows = pd.read_csv(path, dtype=str, keep_default_na=False)

    def of(self, column, number=0, **row):
        """All numbers of a column, in the rows whose other columns are as given."""
        rows = self.rows
        for name, value in row.items():
            rows = rows[rows[name] == value]
        found = [re.findall(r"[-+]?\d+(?:\.\d+)?", text) for text in rows[column]]
        return [float(numbers[number]) for numbers in found if numbers]

    def one(self, column, number=0, **row):
        """The one number that is meant."""
        (value,) = self.of(column, number, **row)
        return value

    def intervals(self, column, **row):
        """(low, high) of every cell."""
        middles, halves = self.of(column, **row), self.of(column, 1, **row)
        pairs = zip(middles, halves, strict=True)
        return [(middle - half, middle + half) for middle, half in pairs]


def short(value, digits=1):
    """Write a number without the zero before the point, as the pages do."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def shortened(cell):
    """Write the numbers of a cell without the zeros before their points."""
    return re.sub(r"\b0\.", ".", cell.replace("\u00a0", " "))
