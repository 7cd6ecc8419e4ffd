"""What a notebook shows of a fitted estimator, above scikit-learn's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted

__all__ = ["HTMLSummaryMixin", "facts_as_html", "table_as_html"]

_CELL = "padding: 1px 14px 1px 0; text-align: left; border: 0"


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
