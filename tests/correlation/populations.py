"""Populations of models that the tests of this room share."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def tables(draw, min_models=3, max_models=12, max_columns=3):
    """(X, Y) of complete columns, none constant; some full of ties, some with none."""
    n = draw(st.integers(min_models, max_models))
    return tuple(
        np.column_stack(
            [draw(columns(n)) for _ in range(draw(st.integers(1, max_columns)))]
        )
        for _ in range(2)
    )


@st.composite
def columns(draw, n):
    """One column that is not constant."""
    tied = st.lists(st.integers(-2, 2).map(float), min_size=n, max_size=n)
    untied = st.permutations(range(n)).map(lambda order: [1.5 * k for k in order])
    kind = draw(st.sampled_from([tied, untied]))
    return np.array(draw(kind.filter(lambda values: len(set(values)) > 1)))


def with_confounder(n, rng):
    """(X, y): `size` moves all; `depth` does nothing by itself; `width` is hidden.

    The error falls with the width of models of one size. But larger models are wider,
    and err more: over all models, width and error are uncorrelated.
    """
    size = rng.normal(size=n)
    depth = size + rng.normal(0, 0.5, n)
    width = size + rng.normal(0, 0.6, n)
    error = 1.36 * size - width + rng.normal(0, 0.3, n)
    return np.column_stack([size, depth, width]), error
