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
from robustkit.regions._measures import LayerCounter, prs_curve


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
    assert table.loc["1", "alive_units"] <= 5
