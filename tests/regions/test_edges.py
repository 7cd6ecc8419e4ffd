"""Regions by hand: ratios, ties, thresholds, epochs, parts of the penalty."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.regions import (
    PopulatedRegionRegularizer,
    PopulatedRegionScorer,
    count_regions,
)


@pytest.fixture(scope="module")
def signs():
    """Two units, which are the two features: a region is a quadrant."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(20, 2)), np.arange(20) % 2
    model = MLPClassifier((2,), max_iter=1, random_state=0, tol=10.0)
    with pytest.warns(Warning, match="Maximum iterations"):
        model.fit(X, y)
    model.coefs_[0], model.intercepts_[0] = np.eye(2), np.zeros(2)
    return FrozenEstimator(model)


# Quadrants 0, 0, 1, 2, 2, 1, 0, 3 in the order of their first appearance.
X = np.array(
    [[1, 1], [2, 2], [-1, 1], [-1, -1], [-2, -2], [-3, 1], [1, 3], [1, -1]], dtype=float
)
Y = np.array([0, 0, 0, 1, 1, 1, 1, 0])


def test_ratios_and_census_by_hand(signs):
    scorer = PopulatedRegionScorer(signs).fit(X, Y)
    assert scorer.transform(X)[:, 0].tolist() == [0, 0, 1, 2, 2, 1, 0, 3]
    assert (scorer.n_regions_, scorer.n_samples_seen_) == (4, 8)
    assert scorer.prs_ratio_ == 0.5
    assert scorer.score(X) == 0.5
    assert scorer.score(X[:2]) == 0.5
    assert scorer.score(X[:3]) == pytest.approx(1 / 3)
    assert scorer(signs.estimator, X[:1]) == 0
    expected = pd.DataFrame(
        {"count": [3, 2, 2, 1], "majority": [0, 0, 1, 0], "purity": [2 / 3, 0.5, 1, 1]},
        index=pd.RangeIndex(4, name="region"),
    )
    pd.testing.assert_frame_equal(scorer.regions_, expected, check_dtype=False)


def test_major_regions_by_hand(signs):
    scorer = PopulatedRegionScorer(signs).fit(X, Y)
    # Class 0 lives in 0, 0, 1, 3; class 1 in 2, 2, 1, 0.
    assert scorer.major_regions_.tolist() == [0, 2]
    assert scorer.major_region_shares_.tolist() == [0.5, 0.5]
    # Mean activations at home, after the ReLU.
    np.testing.assert_allclose(scorer.major_region_vectors_, [[1.5, 1.5], [0, 0]])
    # Three of five are enough in another region; as many as in the first are not.
    one = PopulatedRegionScorer(signs).partial_fit(X[[0, 2, 5]], [0, 0, 0])
    assert one.major_regions_.tolist() == [1, -1]
    np.testing.assert_array_equal(one.major_region_shares_, [2 / 3, np.nan])
    assert np.isnan(one.major_region_vectors_[1]).all()
    tied = PopulatedRegionScorer(signs).partial_fit(X[[2, 0, 1, 5]], [0, 0, 0, 0])
    assert tied.major_regions_.tolist() == [0, -1]
    tied.partial_fit(X[[1]], [0])
    assert tied.major_regions_.tolist() == [1, -1]


def test_unseen_regions_by_hand(signs):
    scorer = PopulatedRegionScorer(signs).fit(X[:4], Y[:4])
    assert scorer.transform([[9.0, -9.0]]).tolist() == [[-1]]
    # Zero is not greater than zero.
    assert scorer.transform([[0.0, 0.0], [0.0, 5.0], [1e-30, 1.0]]).tolist() == [
        [2], [1], [0],
    ]  # fmt: skip
    assert scorer.inclusion_ratio([[9.0, -9.0], [1, 1], [2, 1], [3, 1]]) == 0.75
    report = scorer.report(
        np.array([[9.0, -9.0], [1, 1], [2, 1], [-1, -2]]), [0, 0, 1, 1]
    )
    assert report["n_samples"] == 4
    assert report["n_regions"] == 3
    assert report["prs_ratio"] == 0.75
    assert report["inclusion_ratio"] == 0.75
    assert report["major_share"] == 0.5
    # A pair out of four shares a region with probability one in six.
    assert report["prs_ratio[n=1]"] == pytest.approx(1)
    assert report["prs_ratio[n=2]"] == pytest.approx(1 - 1 / 12)
    assert report["prs_ratio[n=4]"] == pytest.approx(0.75)
    assert report["n_units[1]"] == report["alive_units[1]"] == 2
    # Active are one, two, two and no unit.
    assert report["active_units[1]"] == 1.25


def test_a_stream_in_one_sample_pieces_is_one_fit(signs):
    rng = np.random.RandomState(1)
    X, y = rng.randint(-1, 2, size=(60, 2)).astype(float), np.arange(60) % 2
    whole, stream = PopulatedRegionScorer(signs).fit(X, y), PopulatedRegionScorer(signs)
    for i in range(60):
        stream.partial_fit(X[i : i + 1], y[i : i + 1])
        assert stream.n_samples_seen_ == i + 1
        assert stream.prs_ratio_ == len(count_regions(X[: i + 1])[1]) / (i + 1)
    pd.testing.assert_frame_equal(stream.regions_, whole.regions_)
    for name in ("major_regions_", "major_region_shares_", "major_region_vectors_"):
        np.testing.assert_array_equal(getattr(stream, name), getattr(whole, name))
    # Another fit begins with nothing.
    stream.fit(X[:10], y[:10])
    assert (stream.n_samples_seen_, stream.n_regions_) == (
        10, len(count_regions(X[:10])[1]),
    )  # fmt: skip


def counted_by_a_dictionary(X):
    patterns = [tuple(value > 0 for value in row) for row in X]
    numbers = {}
    ids = [numbers.setdefault(pattern, len(numbers)) for pattern in patterns]
    return ids, [ids.count(i) for i in range(len(numbers))]


@pytest.mark.parametrize("n_units", [1, 7, 63, 64, 65, 128, 130])
@pytest.mark.parametrize("n_samples", [1, 2, 33, 4095, 4096, 4097])
def test_counts_are_those_of_a_dictionary(n_units, n_samples):
    """At the edges of words and of blocks of rows."""
    rng = np.random.RandomState(n_units + n_samples)
    rows = rng.choice([-1.0, 0.0, 2.0], size=(40, n_units))
    X = rows[rng.randint(40, size=n_samples)]
    ids, counts = count_regions(X)
    expected = counted_by_a_dictionary(X)
    assert ids.tolist() == expected[0]
    assert counts.tolist() == expected[1]


@pytest.fixture(scope="module")
def batch():
    rng = np.random.RandomState(0)
    X = torch.from_numpy(rng.standard_normal((30, 5)).astype(np.float32))
    return X, torch.from_numpy(np.arange(30) % 2)


@pytest.fixture
def module():
    with seeded_torch(0):
        return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.parametrize("max_epochs", [1, 3, 10, 25, 50, 100, 150])
def test_the_warm_up_is_its_share_of_the_epochs(module, batch, max_epochs):
    """A share that is a whole number of epochs but for rounding is that number."""
    for percent in range(101):
        regularizer = PopulatedRegionRegularizer(warm_up=percent / 100)
        first = -(-percent * max_epochs // 100)
        for epoch in {max(first - 1, 0), min(first, max_epochs)}:
            regularizer.on_epoch_begin(
                module, *batch, epoch=epoch, max_epochs=max_epochs
            )
            assert regularizer.is_active_ == (epoch >= first)


@pytest.mark.parametrize(
    ("strength", "sign_strength"), [(0, 0), (0.3, 0), (0, 0.7), (0.3, 0.7), (2, 5)]
)
def test_the_parts_of_the_penalty(module, batch, strength, sign_strength):
    X, y = batch
    regularizer = PopulatedRegionRegularizer(strength, sign_strength, warm_up=0)
    regularizer.on_epoch_begin(module, X, y, epoch=0, max_epochs=1)
    z = module[0](X).detach().numpy().astype(float)
    vectors, signs = np.zeros((2, 4)), np.zeros((2, 4))
    for label in (0, 1):
        own = z[y.numpy() == label]
        ids, counts = counted_by_a_dictionary(own)
        home = own[np.array(ids) == np.argmax(counts)]
        vectors[label] = np.maximum(home, 0).mean(axis=0)
        signs[label] = np.where(home[0] > 0, 1, -1)
    np.testing.assert_allclose(regularizer.major_region_vectors_, vectors, rtol=1e-5)
    np.testing.assert_array_equal(regularizer.major_region_signs_, signs)
    to_vectors = ((np.maximum(z, 0) - vectors[y]) ** 2).mean()
    to_signs = ((np.tanh(10 * z) - signs[y]) ** 2).mean()
    expected = strength * to_vectors + sign_strength * to_signs
    found = regularizer.penalty(module, X, y)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert found.shape == ()


@pytest.mark.parametrize("freeze_head", [True, False])
def test_the_head_and_nothing_else_is_frozen(module, batch, freeze_head):
    regularizer = PopulatedRegionRegularizer(warm_up=0.5, freeze_head=freeze_head)
    for epoch in (0, 1, 2, 3):
        regularizer.on_epoch_begin(module, *batch, epoch=epoch, max_epochs=4)
        frozen = freeze_head and epoch >= 2
        learns = [weight.requires_grad for weight in module.parameters()]
        assert learns == [True, True, not frozen, not frozen]
