"""Pairs that are never listed connect what listed pairs connect."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology import _far_pairs as far_module
from robustkit.topology._far_pairs import FarPairs, elsewhere
from robustkit.topology._forest import SlidingForest
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._windows import Windows
from tests.topology.brute_force import as_pairs, near_pairs, partition, partition_of
from tests.topology.strategies import point_clouds, windows


@given(
    point_clouds(max_samples=40),
    st.sampled_from([1.0, 2.0, 3.0, 16.0]),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.booleans(),
    st.data(),
)
def test_components_are_those_of_all_pairs(X, eps, share_known, has_band, data):
    n_samples, rng = len(X), np.random.RandomState(0)
    values = np.linalg.norm(X.astype(float), axis=1)
    samples, several = OrderedSamples(X, values), data.draw(windows(n_samples))
    is_vertex = rng.uniform(size=n_samples) < 0.8
    ends = np.full(n_samples, n_samples)
    if has_band:
        # Nothing within eps is lost: the norm changes no more than the distance.
        ends = np.searchsorted(samples.values, samples.values + 1.001 * eps + 1e-9)
    pairs = near_pairs(X, samples.order, eps, np.full(n_samples, n_samples))
    known = [pair for pair in pairs if rng.uniform() < share_known]
    forest = SlidingForest(as_pairs(known, n_samples), is_vertex)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(far_module, "_N_ROWS", 3)
        patch.setattr(far_module, "_N_COLUMNS", 4)
        far = FarPairs(samples, eps, ends, is_vertex)
        for k, (start, stop) in enumerate(several.slices):
            forest.slide(start, stop)
            forest.edges, parents = far.connect(several, k, forest.edges)
            inside = [
                (i - start, j - start)
                for i, j in pairs
                if start <= i and j < stop and is_vertex[i] and is_vertex[j]
            ]
            assert partition_of(parents) == partition(stop - start, inside)
            assert {tuple(edge) for edge in forest.edges.T.tolist()} <= set(pairs)


def test_what_is_connected_is_not_looked_at(monkeypatch):
    """Two clusters: one tile joins them if they are in reach; geometry tells if not."""
    rng = np.random.RandomState(0)
    n_samples = 2048
    X = rng.uniform(size=(n_samples, 2))
    X[1024:] += 1.5
    samples = OrderedSamples(X, rng.normal(size=n_samples))
    is_first = samples.order < 1024
    chains = [np.flatnonzero(is_first), np.flatnonzero(~is_first)]
    known = sorted((i, j) for c in chains for i, j in pairwise(c))
    n_products = 0

    class Counted(far_module.Products):
        def with_columns(self, vectors, norms):
            nonlocal n_products
            n_products += len(vectors) * len(self.norms)
            return super().with_columns(vectors, norms)

    monkeypatch.setattr(far_module, "Products", Counted)
    everyone, ends = np.ones(n_samples, dtype=bool), np.full(n_samples, n_samples)
    window = Windows([[0, n_samples]], n_samples)
    forest = SlidingForest(as_pairs(known, n_samples), everyone)
    forest.slide(0, n_samples)
    for eps, most, n_components in ((1.5, 256 * 512, 1), (0.1, 0, 2)):
        n_products = 0
        far = FarPairs(samples, eps, ends, everyone)
        _, parents = far.connect(window, 0, forest.edges)
        assert n_products <= most
        assert len(set(partition_of(parents))) == n_components


def test_elsewhere():
    parents = np.array([0, 0, 2, 2, 4])
    columns = np.array([0, 2, 3, 4])
    assert elsewhere(parents, np.array([0, 1]), columns).tolist() == [2, 3, 4]
    # Rows of two components: any column tells something.
    assert elsewhere(parents, np.array([0, 2]), columns).tolist() == columns.tolist()


def test_compiled_loops_as_python(monkeypatch):
    for name in ("find_all", "elsewhere", "_join_known", "_join_near"):
        function = getattr(far_module, name).py_func
        monkeypatch.setattr(far_module, name, function)
    assert not hasattr(far_module._join_near, "py_func")
    test_components_are_those_of_all_pairs()
