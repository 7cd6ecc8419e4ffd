"""How results and fitted estimators are shown: as text, as HTML, as a Series."""

from collections.abc import Mapping
from html import escape
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Report", "as_text", "facts_as_html"]


class Report(pd.Series):
    """A Series of numbers, words and arrays, whose numbers can be rounded.

    Its values are Python objects, each of its own type, so that counts are integers.
    """

    @property
    def _constructor(self):
        return Report

    def round(self, decimals: int = 0, *args: Any, **kwargs: Any) -> pd.Series:
        """Round the numbers and leave all else as it is."""
        if self.dtype != object:
            return super().round(decimals, *args, **kwargs)
        values = [round(v, decimals) if isinstance(v, float) else v for v in self]
        return Report(values, index=self.index, name=self.name, dtype=object)


def facts_as_html(title: str, facts: Mapping[str, Any]) -> str:
    """Make a small table of names and values for a notebook."""
    left = "style='text-align:left'"
    rows = "".join(
        f"<tr><th {left}>{escape(str(name))}</th>"
        f"<td {left}>{escape(as_text(value))}</td></tr>"
        for name, value in facts.items()
    )
    caption = f"<caption style='text-align:left'>{escape(title)}</caption>"
    return f"<table>{caption}<tbody>{rows}</tbody></table>"


def as_text(value: Any) -> str:
    """Write a value in few characters: numbers with four digits, arrays by range."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | np.ndarray):
        return str(value)
    if isinstance(value, np.ndarray):
        low, high = as_text(float(value.min())), as_text(float(value.max()))
        shape = " x ".join(map(str, value.shape))
        return low if low == high else f"{low} to {high} ({shape})"
    return str(value) if isinstance(value, Integral) else f"{value:.4g}"
