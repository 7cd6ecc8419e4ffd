"""How fitted estimators and results are summed up: in a notebook, as text, in a Series.

A notebook shows the summary of a fitted estimator above scikit-learn's parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted

__all__ = ["HTMLSummaryMixin", "Report", "as_text", "facts_as_html", "table_as_html"]

_CELL = "padding: 1px 14px 1px 0; text-align: left; border: 0"


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


class HTMLSummaryMixin:
    """Shows what was fitted above the parameters; stands to the left of BaseEstimator.

    A class overrides `_html_summary`, which is asked once the estimator is fitted.
    """

    def _html_summary(self) -> str:
        """Return HTML, in which all that a user named is escaped; "" for nothing."""
        return ""

    def _html_repr(self) -> str:
        diagram = estimator_html_repr(self)
        try:
            check_is_fitted(self)
        except NotFittedError:
            return diagram
        summary = self._html_summary()
        return f'<div style="margin-bottom: 6px">{summary}</div>{diagram}'


def facts_as_html(facts: Mapping[str, object]) -> str:
    """Return names and values as a small table of one row; floats are rounded."""
    return table_as_html(list(facts), [list(facts.values())])


def table_as_html(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a small table; floats are rounded to three digits."""
    head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_text(v)}</td>' for v in row) + "</tr>"
        for row in rows
    )
    return f'<table style="border: 0"><tr>{head}</tr>{body}</table>'


def _text(value):
    return f"{value:.3g}" if isinstance(value, float) else escape(str(value))


def as_text(value: Any) -> str:
    """Write a value in few characters: numbers with four digits, arrays by range."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | np.ndarray):
        return str(value)
    if isinstance(value, np.ndarray):
        low, high = as_text(float(value.min())), as_text(float(value.max()))
        shape = " x ".join(map(str, value.shape))
        return low if low == high else f"{low} to {high} ({shape})"
    return str(value) if isinstance(value, Integral) else f"{value:.4g}"
