"""How rows race: the compiled search, and the one on devices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.attacks.functional import Trace, minimal_distance
from robustkit.attacks.minimal import _device_search, _distance, _search
from robustkit.attacks.minimal._paths import Box
from tests.attacks.minimal.test_distance import (
    DTYPES,
    NORMS,
    network,
    own_labels,
    search,
    uniform,
)
from tests.strategies import seeds

SIZES = (20, 30, 20, 5)


def rows_after_a_race(module, X, y, norm, tolerance):
    """Run the first walk of all rows."""
    margins = _search.Margins(module, X)
    box = Box(X.numpy(), 0.0, 1.0, norm == "l2")
    plan = replace(_search.Schedule.of(norm, 100), tolerance=tolerance)
    found = _search.Found(
        box.X.copy(), np.full(len(X), np.inf), np.zeros(len(X), dtype=int)
    )
    rows = _search._first_rows(margins, box, y.numpy(), None, plan)
    search = _search._Search(margins, box, rows, plan, found)
    search.run(np.arange(len(rows.sample)), plan.steps, plan.warm, race=True)
    return rows


# Rows leave because others are nearer, or also because they have arrived.
@pytest.mark.parametrize("tolerance", [0.0, 1e-4])
@pytest.mark.parametrize("norm", NORMS)
def test_a_row_leaves_the_race_alike_in_any_batch(norm, tolerance):
    module, X = network(0, (20, 60, 60, 5)), uniform(0, 120, 20)
    y = own_labels(module, X)
    races = [
        rows_after_a_race(module, X[[i]], y[[i]], norm, tolerance) for i in range(120)
    ]
    stays = [
        (rows.moving & (rows.newest_size <= 1.1 * rows.best_size.min())).all()
        for rows in races
    ]
    goes_on = stays.index(True)
    several = [i for i in range(120) if len(races[i].sample) > 1 and not stays[i]]
    assert len(several) > 10
    for i in several:
        # So many others go on that there is no room to make.
        batch = [*[goes_on] * 60, i]
        rows = rows_after_a_race(module, X[batch], y[batch], norm, tolerance)
        own = rows.sample == 60
        np.testing.assert_array_equal(rows.level[own], races[i].level)
        np.testing.assert_array_equal(rows.best_size[own], races[i].best_size)


@given(seed=seeds, norm=st.sampled_from(NORMS), dtype=DTYPES, targeted=st.booleans())
def test_no_sample_feels_the_others(seed, norm, dtype, targeted):
    """Nor its place, nor the size of the batch."""
    module = network(seed, (20, 30, 20, 5)).to(dtype)
    X = uniform(seed, 23, 20, dtype=dtype)
    y = own_labels(module, X)

    def distances(rows):
        target = (y[rows] + 1) % 5 if targeted else None
        params = {"max_iter": 20, "target": target}
        return search(module, X[rows], y[rows], norm, (0.0, 1.0), **params)[1]

    whole = distances(np.arange(23))
    order = np.random.default_rng(seed).permutation(len(X))
    np.testing.assert_array_equal(distances(order), whole[order])
    parts = np.split(np.arange(23), [1, 8])
    split = np.concatenate([distances(rows) for rows in parts])
    np.testing.assert_array_equal(split, whole)


def distances(module, X, y, norm, **params):
    trace = Trace()
    minimal_distance(module, X, y, norm=norm, trace=trace, **params)
    return trace.eps.numpy(), trace.n_queries.numpy()


@pytest.fixture
def elsewhere(monkeypatch):
    """From now on, search as on a device."""
    return lambda: monkeypatch.setattr(
        _distance, "_search_for", lambda _: _device_search
    )


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_the_search_on_devices_finds_the_same(norm, targeted, clip, elsewhere):
    module, X = network(1, SIZES), uniform(1, 60, 20)
    y = own_labels(module, X)
    target = (y + 1) % 5 if targeted else None
    params = {"clip": clip, "target": target, "max_iter": 60}
    here, n_here = distances(module, X, y, norm, **params)
    elsewhere()
    there, n_there = distances(module, X, y, norm, **params)
    # The same steps, but for rounding, which now and then decides at a kink.
    close = np.isclose(there, here, rtol=1e-6)
    assert close.mean() > 0.8
    np.testing.assert_allclose(there, here, rtol=5e-3)
    # Nor do rows that have left cost more than they may.
    assert n_there.mean() < 1.6 * n_here.mean()


@pytest.mark.parametrize("norm", NORMS)
def test_when_the_host_looks_changes_nothing(norm, elsewhere, monkeypatch):
    module, X = network(2, SIZES), uniform(2, 60, 20)
    y = own_labels(module, X)
    elsewhere()
    found, costs = [], []
    for passes, sooner in ((10, 3), (1, 0), (10**6, 0)):
        monkeypatch.setattr(_device_search, "_PASSES", passes)
        monkeypatch.setattr(_device_search, "_SOONER", sooner)
        sizes, n_queries = distances(module, X, y, norm, clip=(0, 1), max_iter=40)
        found.append(sizes)
        costs.append(n_queries.sum())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-6)
    # At every pass; once in ten; never.
    assert costs[1] <= costs[0] < costs[2]


def test_a_network_without_a_gradient_has_no_rows_there(elsewhere):
    class Steps(torch.nn.Module):
        def forward(self, X):
            return torch.stack([X.sum(1), 3 * X[:, 0]], dim=1).round().detach()

    X = uniform(0, 12, 3)
    y = own_labels(Steps(), X)
    here, _ = distances(Steps(), X, y, "linf", clip=(0, 1))
    elsewhere()
    there, _ = distances(Steps(), X, y, "linf", clip=(0, 1))
    assert np.isfinite(here).all()
    np.testing.assert_array_equal(there, here)
