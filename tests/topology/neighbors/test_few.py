"""A few neighbours: never one that is none, and never counted twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology.neighbors import _few as module
from robustkit.topology.neighbors._few import find_few
from robustkit.topology.neighbors._search import SortedSamples
from tests.topology.brute_force import near_pairs
from tests.topology.strategies import point_clouds, windows

EVERYONE = 10**6


def counts_of(pairs, windows):
    """Neighbours of every position in every window, itself included."""
    counts = []
    for p in range(len(windows.first)):
        for start, stop in windows.slices[windows.first[p] : windows.last[p] + 1]:
            around = [sum(pair) - p for pair in pairs if p in pair]
            counts.append(1 + sum(start <= other < stop for other in around))
    return np.array(counts, dtype=int)


@given(
    point_clouds(max_samples=40),
    st.sampled_from([1.0, 2.0, 8.0]),
    st.integers(1, 6),
    st.sampled_from([(1,), (1, 3), (EVERYONE,), (1, 3, EVERYONE)]),
    st.data(),
)
def test_what_is_found_is_there(X, eps, min_samples, reaches, data):
    n_samples = len(X)
    samples = SortedSamples(X, np.linalg.norm(X.astype(float), axis=1))
    several = data.draw(windows(n_samples))
    is_wanted = np.array(
        data.draw(st.lists(st.booleans(), min_size=n_samples, max_size=n_samples))
    )
    pairs = near_pairs(X, samples.order, eps, np.full(n_samples, n_samples))
    expected = counts_of(pairs, several)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_REACHES", reaches)
        patch.setattr(module, "_N_ROWS", 3)
        patch.setattr(module, "_N_COLUMNS", 4)
        # All samples in one cell: then the widest reach sees everyone.
        patch.setattr(samples, "cell_of", lambda positions: 0 * positions)
        counts, found = find_few(samples, eps, several, is_wanted, min_samples)
    assert (counts >= 1).all()
    assert (counts <= expected).all()
    listed = set(
        zip(np.repeat(found.rows, np.diff(found.indptr)), found.indices, strict=True)
    )
    assert listed <= set(pairs)
    for row in range(n_samples):
        columns = found.indices[found.indptr[row] : found.indptr[row + 1]]
        assert (np.diff(columns) >= 0).all()
    # Those that have enough after one reach are left alone by the next.
    most = max(min_samples, module._ENOUGH) if len(reaches) == 1 else min_samples
    if reaches[-1] == EVERYONE:
        wanted = np.repeat(is_wanted, np.diff(several.offsets))
        assert (counts[wanted] >= np.minimum(expected, most)[wanted]).all()
        assert (counts[~wanted] == 1).all()


@pytest.fixture
def n_products(monkeypatch):
    """How many products of two samples there were, one number a tile."""
    of_tiles = []

    class Counted(module.Products):
        def with_columns(self, vectors, norms):
            of_tiles.append(len(vectors) * len(self.norms))
            return super().with_columns(vectors, norms)

    monkeypatch.setattr(module, "Products", Counted)
    return of_tiles


def test_few_are_compared_where_all_are_neighbours(n_products):
    """Of 4,000 samples each finds its neighbours in the first tile."""
    X = np.random.RandomState(0).uniform(size=(4000, 3))
    samples = SortedSamples(X, X[:, 0])
    window = module.Windows([[0, 4000]], 4000)
    counts, pairs = find_few(samples, 10.0, window, np.ones(4000, dtype=bool), 5)
    assert (counts == module._ENOUGH).all()
    assert 0 < len(pairs.indices) <= 4000 * module._N_PARTNERS
    assert sum(n_products) <= 4000 * module._N_COLUMNS


def test_those_compared_with_their_whole_cell_are_not_compared_again(
    n_products, monkeypatch
):
    X = np.random.RandomState(0).uniform(size=(900, 3))
    samples = SortedSamples(X, X[:, 0])
    sizes = np.bincount(samples.cell_of(np.arange(900)))
    monkeypatch.setattr(module, "_REACHES", (900, 9000))
    window = module.Windows([[0, 900]], 900)
    counts, _ = find_few(samples, 1e-9, window, np.ones(900, dtype=bool), 5)
    assert (counts == 1).all()
    assert sum(n_products) == (sizes**2).sum()


def test_compiled_loops_as_python(monkeypatch):
    for name in ("_forget", "_scan", "_group"):
        function = getattr(module, name).py_func
        monkeypatch.setattr(module, name, function)
    assert not hasattr(module._scan, "py_func")
    test_what_is_found_is_there()
