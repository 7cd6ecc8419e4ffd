"""The PRS ratio of fewer samples, and of each layer."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.regions import count_regions
from robustkit.regions._measures import (
    LayerCounter,
    chao1,
    prs_curve,
    sample_size_curve,
)


@given(ids=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_curve_is_the_mean_over_all_subsets(ids):
    ids = np.array(ids)
    curve = prs_curve(np.unique(ids, return_counts=True)[1], range(1, len(ids) + 1))
    for size, ratio in curve.items():
        ratios = [
            len(set(ids[list(subset)])) / size
            for subset in combinations(range(len(ids)), size)
        ]
        assert ratio == pytest.approx(np.mean(ratios))


@given(counts=st.lists(st.integers(1, 10**5), min_size=1, max_size=20))
def test_curve_falls_from_one_to_the_ratio_itself(counts):
    curve = prs_curve(np.array(counts))
    assert curve.index[0] == 1
    assert curve.index[-1] == sum(counts)
    assert curve.iloc[0] == pytest.approx(1)
    assert curve.iloc[-1] == pytest.approx(len(counts) / sum(counts))
    assert (np.diff(curve) <= 1e-12).all()


def test_regions_of_one_sample_each_give_a_flat_curve():
    np.testing.assert_allclose(prs_curve(np.ones(10**5, dtype=int)), 1, rtol=1e-9)


def chao1_by_hand(ids):
    """The formulas of the bias-corrected estimate and of its variance, in words."""
    n, counts = len(ids), np.unique(ids, return_counts=True)[1]
    met = len(counts)
    f1, f2 = (counts == 1).sum(), (counts == 2).sum()
    a = (n - 1) / n
    return met + a * f1 * (f1 - 1) / (2 * (f2 + 1))


@given(ids=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_sample_size_curve_is_made_of_means_over_all_subsets(ids):
    ids = np.array(ids)
    counts = np.unique(ids, return_counts=True)[1]
    curve = sample_size_curve(counts, range(1, len(ids) + 1))
    assert list(curve["prs_ratio"]) == list(prs_curve(counts, curve.index))
    for size, row in curve.iterrows():
        subsets = [
            np.unique(ids[list(subset)], return_counts=True)[1]
            for subset in combinations(range(len(ids)), size)
        ]
        assert row["n_regions"] == pytest.approx(np.mean([len(k) for k in subsets]))
        once = np.mean([(k == 1).sum() for k in subsets])
        twice = np.mean([(k == 2).sum() for k in subsets])
        assert row["coverage"] == pytest.approx(1 - once / size, abs=1e-9)
        expected = chao1(size, row["n_regions"], once, twice)
        found = row[["chao1", "chao1_low", "chao1_high"]]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(ids=st.lists(st.integers(0, 30), min_size=2, max_size=60))
def test_chao1_is_the_formula_and_within_its_interval(ids):
    curve = sample_size_curve(np.unique(ids, return_counts=True)[1])
    last = curve.iloc[-1]
    assert last["chao1"] == pytest.approx(max(chao1_by_hand(ids), len(set(ids))))
    assert len(set(ids)) <= last["chao1_low"] <= last["chao1_high"] < np.inf
    assert last["chao1_low"] <= last["chao1"] * (1 + 1e-12)
    # One sample tells nothing.
    assert np.isnan(curve["chao1"].iloc[0])


@pytest.mark.parametrize(
    ("n_regions", "n_samples"), [(100, 150), (200, 200), (200, 400), (500, 1500)]
)
def test_interval_of_chao1_covers_95_percent(n_regions, n_samples):
    """Of regions that are met equally often, where it is an estimate."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        counts = np.bincount(rng.integers(n_regions, size=n_samples))
        counts = counts[counts > 0]
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        _, low, high = chao1(n_samples, len(counts), once, twice)
        covered += low <= n_regions <= high
    assert 930 <= covered <= 970


def test_chao1_is_a_lower_bound_where_regions_differ():
    rng = np.random.default_rng(0)
    chances = rng.pareto(1.0, size=500)
    chances /= chances.sum()
    met, found = [], []
    for _ in range(200):
        counts = rng.multinomial(400, chances)
        met.append((counts > 0).sum())
        found.append(sample_size_curve(counts[counts > 0], [400])["chao1"].item())
    assert 1.2 * np.mean(met) < np.mean(found) < 500


def test_coverage_is_the_chance_of_a_known_region():
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.full(300, 0.3))
    errors = []
    for _ in range(300):
        counts = rng.multinomial(500, chances)
        coverage = sample_size_curve(counts[counts > 0], [500])["coverage"].item()
        errors.append(coverage - chances[counts > 0].sum())
    assert np.mean(errors) == pytest.approx(0, abs=0.002)


def test_each_layer_is_measured_by_itself():
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2)
        ).eval()
    X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # A unit that no sample can wake.
        module[0].bias[2] = -1e6
        first = module[0](X).numpy() > 0
        second = module[:3](X).numpy() > 0
    for size in (1, 7, 50):
        counter = LayerCounter(["1", "3"])
        for piece in X.split(20):
            counter.add(module, piece, batch_size=size)
        table = counter.table()
        for name, pattern in (("1", first), ("3", second)):
            row = table.loc[name]
            assert row["n_units"] == pattern.shape[1]
            assert row["alive_units"] == pattern.any(axis=0).sum()
            assert row["active_units"] == pytest.approx(pattern.sum(axis=1).mean())
            assert row["n_regions"] == len(count_regions(pattern)[1])
            assert row["prs_ratio"] == row["n_regions"] / 50
            shares = count_regions(pattern)[1] / 50
            assert row["entropy"] == pytest.approx(-(shares * np.log(shares)).sum())
        assert "inclusion_ratio" not in table
    assert table.loc["1", "alive_units"] <= 5


def test_each_layer_looks_other_samples_up():
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)
        ).eval()
    generator = torch.Generator().manual_seed(0)
    X, X_test = (
        torch.randn(40, 3, generator=generator),
        torch.randn(30, 3, generator=generator),
    )
    counter = LayerCounter(["1", "3"])
    counter.add(module, X, batch_size=7)
    counter.look_up(module, X_test[:20], batch_size=6)
    counter.look_up(module, X_test[20:], batch_size=30)
    for name, stop in (("1", 1), ("3", 3)):
        with torch.no_grad():
            known = {tuple(row) for row in (module[:stop](X) > 0).tolist()}
            others = [tuple(row) for row in (module[:stop](X_test) > 0).tolist()]
        expected = np.mean([row in known for row in others])
        assert counter.table().loc[name, "inclusion_ratio"] == pytest.approx(expected)
        assert 0 < expected < 1
