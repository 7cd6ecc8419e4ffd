"""Intervals are split as the published methods say, and as the samples bear."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import anderson, multivariate_normal
from sklearn.cluster import DBSCAN
from sklearn.mixture import GaussianMixture

from robustkit.topology import AdaptiveCover, GMapperCover, MapperGraph, UniformCover
from robustkit.topology._cover import (
    _between_components,
    anderson_darling,
    count_intervals,
    information_criterion,
    largest_step,
)
from robustkit.topology.neighbors import longest_steps
from tests.topology.strategies import filter_values, overlaps, point_clouds, seeds
from tests.topology.test_cover import how_often


def scipy_statistic(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anderson(values).statistic


def mixed(seed, n_samples=400):
    """Values from two or three normal distributions."""
    rng = np.random.RandomState(seed)
    centers = rng.uniform(-8, 8, size=rng.randint(2, 4))
    return np.sort(rng.choice(centers, n_samples) + rng.normal(size=n_samples))


@given(seeds, st.integers(8, 300), st.sampled_from([1e-200, 1e-3, 1.0, 1e8, 1e200]))
def test_the_statistic_is_that_of_scipy_corrected_for_the_sample(seed, n, scale):
    values = np.sort(np.random.RandomState(seed).exponential(size=n))
    corrected = scipy_statistic(values) * (1 + 4 / n - 25 / n**2)
    np.testing.assert_allclose(anderson_darling(scale * values), corrected, rtol=1e-6)


def test_the_statistic_is_finite_far_from_normal():
    outlier = np.append(np.random.RandomState(0).normal(size=5000), 1e6)
    assert 100 < anderson_darling(np.sort(outlier)) < np.inf
    assert anderson_darling(np.full(50, 3.0)) == 0
    assert anderson_darling(np.array([3.0])) == 0


@pytest.mark.parametrize("seed", range(4))
def test_normal_values_are_not_split(seed):
    values = np.random.RandomState(seed).normal(size=2000)
    assert len(GMapperCover().intervals(values)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_mixture_is_that_of_an_expectation_maximization_written_out(seed):
    values = mixed(seed)
    scaled = (values - values.mean()) / values.std(ddof=1)
    means, widths = np.array([-1, 1]) * np.sqrt(2 / np.pi), np.ones(2)
    weights, before = np.array([0.5, 0.5]), -np.inf
    for _ in range(100):
        densities = weights * np.exp(-((scaled[:, None] - means) ** 2) / 2 / widths)
        densities /= np.sqrt(2 * np.pi * widths)
        bound = np.log(densities.sum(axis=1)).mean()
        shares = densities / densities.sum(axis=1, keepdims=True)
        weights, total = shares.mean(axis=0), shares.sum(axis=0)
        means = shares.T @ scaled / total
        # scikit-learn adds a millionth.
        widths = (shares * (scaled[:, None] - means) ** 2).sum(axis=0) / total + 1e-6
        if abs(bound - before) < 1e-3:
            break
        before = bound
    spread, center = values.std(ddof=1), values.mean()
    (left, right), (s, t) = np.sort(means), np.sqrt(widths[np.argsort(means)])
    end = left + 1.25 * s / (s + t) * (right - left)
    begin = right - 1.25 * t / (s + t) * (right - left)
    found = _between_components(values, 0.25)
    expected = np.clip([end * spread + center, begin * spread + center],
                       values[0], values[-1])  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def without_contained(intervals):
    """An interval within another adds nothing."""
    kept = set(intervals)
    for a, b in intervals:
        if any(c <= a and b <= d and (a, b) != (c, d) for c, d in intervals):
            kept.discard((a, b))
    return sorted(kept)


def published_g_mapper(values, low, high, threshold, overlap):
    """Split recursively, as the authors' code does."""
    inside = values[(low <= values) & (values <= high)]
    n = len(inside)
    if n < 2 or inside.min() == inside.max():
        return [(low, high)]
    if scipy_statistic(inside) * (1 + 4 / n - 25 / n**2) <= threshold:
        return [(low, high)]
    center, spread = inside.mean(), inside.std(ddof=1)
    shift = np.sqrt(2 / np.pi)
    mixture = GaussianMixture(
        2, means_init=[[-shift], [shift]], weights_init=[0.5, 0.5],
        precisions_init=np.ones((2, 1, 1)),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixture.fit((inside[:, None] - center) / spread)
    means = center + spread * mixture.means_.ravel()
    s, t = spread * np.sqrt(mixture.covariances_.ravel())[np.argsort(means)]
    left, right = np.sort(means)
    end = min(left + (1 + overlap) * s / (s + t) * (right - left), high)
    begin = max(right - (1 + overlap) * t / (s + t) * (right - left), low)
    halves = (low, end), (begin, high)
    sizes = [((a <= values) & (values <= b)).sum() for a, b in halves]
    if min(sizes) == 0 or max(sizes) == n:
        return [(low, high)]
    return [
        interval
        for half in halves
        for interval in published_g_mapper(values, *half, threshold, overlap)
    ]


@pytest.mark.parametrize("threshold", [3.0, 10.0])
@pytest.mark.parametrize("seed", range(6))
def test_g_mapper_against_a_recursion(seed, threshold):
    values = mixed(seed, 600)
    cover = GMapperCover(threshold, 0.2, max_intervals=10**6)
    expected = published_g_mapper(values, values[0], values[-1], threshold, 0.2)
    expected = without_contained(expected)
    np.testing.assert_allclose(cover.intervals(values), expected, atol=1e-6)


@given(filter_values(), st.integers(1, 20), overlaps, st.sampled_from([0, 0.3, 10]))
def test_g_mapper_covers_every_value(values, most, overlap, threshold):
    cover = GMapperCover(threshold, overlap, max_intervals=most)
    intervals = cover.intervals(values)
    assert 1 <= len(intervals) <= most
    assert (how_often(values, intervals) >= 1).all()
    assert (np.diff(intervals, axis=0) > 0).all()
    assert (intervals[0, 0], intervals[-1, 1]) == (values.min(), values.max())


def test_the_interval_farthest_from_normal_is_split_first():
    rng = np.random.RandomState(0)
    near = np.concatenate([rng.normal(size=200), rng.normal(size=200) + 8])
    far = np.concatenate([rng.normal(size=400), rng.normal(size=400) + 40]) + 200
    few = GMapperCover(5.0, max_intervals=3).intervals(np.concatenate([near, far]))
    many = GMapperCover(5.0).intervals(np.concatenate([near, far]))
    assert (len(few), len(many)) == (3, 4)
    # The gap of 40 is open in both, that of 8 in one.
    assert (how_often(np.array([4.0]), few), how_often(np.array([4.0]), many)) == (
        1,
        2,
    )


def test_a_wanted_overlap_stops_the_splitting():
    values = mixed(0)
    free = GMapperCover(3.0, 0.2).intervals(values)
    overlap = (free[:-1, 1] - free[1:, 0]).min()
    bound = GMapperCover(3.0, 0.2, min_overlap=overlap * 1.01).intervals(values)
    assert len(bound) < len(free)
    assert (bound[:-1, 1] - bound[1:, 0] >= overlap * 1.01 - 1e-12).all()


@given(point_clouds(), seeds)
def test_the_criterion_is_the_likelihood_of_spherical_normal_distributions(X, seed):
    n_samples, n_features = X.shape
    rng = np.random.RandomState(seed)
    labels = rng.randint(4, size=n_samples)
    used, labels = np.unique(labels, return_inverse=True)
    means = np.array([X[labels == k].mean(axis=0) for k in range(len(used))], float)
    X, k = X.astype(float), len(used)
    bic, aic = (information_criterion(X, means, labels, c) for c in ("bic", "aic"))
    spread = np.sum((X - means[labels]) ** 2)
    if n_samples <= k or spread == 0:
        assert bic == aic == np.inf
        return
    likelihood = 0.0
    for x, label in zip(X, labels, strict=True):
        normal = multivariate_normal(
            means[label], spread / (n_samples - k) * np.eye(n_features)
        )
        likelihood += normal.logpdf(x) + np.log(np.mean(labels == label))
    n_parameters = k * (n_features + 1)
    np.testing.assert_allclose(
        bic, likelihood - n_parameters / 2 * np.log(n_samples), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        aic, 2 * likelihood - 2 * n_parameters, rtol=1e-6, atol=1e-6
    )


def adaptive_reference(X, values, low, high, criterion, overlap, dbscan):
    """Split recursively while the criterion grows."""

    def clusters_in(low, high):
        inside = np.flatnonzero((low <= values) & (values <= high))
        labels = dbscan.fit_predict(X[inside])
        return inside, [set(inside[labels == k]) for k in range(labels.max() + 1)]

    def score(samples, clusters):
        means = np.array([X[sorted(c)].mean(axis=0) for c in clusters])
        labels = []
        for i in samples:
            own = [k for k, c in enumerate(clusters) if i in c] or range(len(clusters))
            labels.append(min(own, key=lambda k: np.linalg.norm(means[k] - X[i])))
        return information_criterion(X[samples], means, np.array(labels), criterion)

    halves = UniformCover(2, overlap).intervals([low, high])
    inside, before = clusters_in(low, high)
    parts = [clusters_in(*half) for half in halves]
    after = [cluster for _, clusters in parts for cluster in clusters]
    sizes = [len(part) for part, _ in parts]
    if not before or not after or max(sizes) == len(inside):
        return [(low, high)]
    samples = sorted(set().union(*before, *after))
    if not score(samples, after) > score(samples, before):
        return [(low, high)]
    return [
        interval
        for half in halves
        for interval in adaptive_reference(
            X, values, *half, criterion, overlap, dbscan
        )
    ]  # fmt: skip


@pytest.mark.parametrize("criterion", ["bic", "aic"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_adaptive_covers_against_a_recursion(seed, criterion):
    rng = np.random.RandomState(seed)
    angle = rng.uniform(0, 2 * np.pi, 150)
    X = np.column_stack([3 * np.cos(angle), np.sin(angle)])
    X = np.concatenate([X, rng.normal(loc=(6, 0), size=(60, 2))])
    X += rng.normal(scale=0.05, size=X.shape)
    dbscan = DBSCAN(eps=0.5, min_samples=4)
    cover = AdaptiveCover(criterion, 3, 0.3, 0, max_intervals=10**6)
    mapper = MapperGraph(0, cover=cover, eps=0.5, min_samples=4).fit(X)
    expected = [
        interval
        for start in UniformCover(3, 0.3).intervals(X[:, 0])
        for interval in adaptive_reference(
            X, X[:, 0], *start, criterion, 0.3, dbscan
        )
    ]  # fmt: skip
    expected = without_contained([tuple(interval) for interval in expected])
    np.testing.assert_allclose(mapper.intervals_, expected)
    assert len(mapper.intervals_) > 3
    # Another clusterer takes the other way to the same intervals.
    other = MapperGraph(0, cover=cover, clusterer=dbscan).fit(X)
    np.testing.assert_array_equal(other.intervals_, mapper.intervals_)


@given(point_clouds(max_samples=40), st.sampled_from(["bic", "aic"]), overlaps)
def test_adaptive_covers_cover_every_value(X, criterion, overlap):
    cover = AdaptiveCover(criterion, 2, overlap, 0, max_intervals=12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No cluster was found", UserWarning)
        mapper = MapperGraph(0, cover=cover, eps=2.0, min_samples=2).fit(X)
    assert len(mapper.intervals_) <= 12
    assert (how_often(X[:, 0].astype(float), mapper.intervals_) >= 1).all()


def test_a_higher_price_of_a_split_makes_fewer_intervals():
    rng = np.random.RandomState(1)
    angle = rng.uniform(0, 2 * np.pi, 150)
    X = np.column_stack([3 * np.cos(angle), np.sin(angle)])
    sizes = []
    for gain in (0.0, 0.05, 10.0):
        cover = AdaptiveCover("aic", 4, 0.3, 0, gain)
        sizes.append(len(MapperGraph(0, cover=cover, eps=0.5).fit(X).intervals_))
    assert sizes[0] > sizes[1] >= sizes[2] == 4


@given(
    st.floats(1e-3, 1e3), st.floats(1e-4, 1e4), overlaps
)  # fmt: skip
def test_intervals_are_as_many_as_overlap_by_the_step(extent, step, overlap):
    n = count_intervals(extent, step, overlap)

    def shared(n):
        return overlap * extent / (n - (n - 1) * overlap)

    assert 1 <= n <= 100
    assert n == 1 or shared(n) >= step * (1 - 1e-6)
    assert n == 100 or shared(n + 1) <= step * (1 + 1e-6)
    np.testing.assert_allclose(largest_step(extent, n, overlap), shared(n))


def test_no_range_and_no_step_have_an_obvious_number():
    assert count_intervals(0.0, 0.0, 0.3) == 1
    assert count_intervals(1.0, 0.0, 0.3) == 100
    assert count_intervals(1e-300, 1e-310, 0.3) == 100


@pytest.mark.parametrize("overlap", [0.3, 0.45])
def test_both_of_any_two_near_samples_lie_in_an_interval(overlap):
    X = np.random.RandomState(0).uniform(size=(400, 2))
    for cover in ("uniform", "balanced"):
        mapper = MapperGraph(0, cover=cover, overlap=overlap, eps=0.05).fit(X)
        assert 5 <= len(mapper.intervals_) < 40
        inside = (mapper.intervals_[:, :1] <= X[:, 0]) & (
            X[:, 0] <= mapper.intervals_[:, 1:]
        )
        together = inside.T.astype(int) @ inside.astype(int) > 0
        near = np.linalg.norm(X[:, None] - X, axis=2) <= 0.05
        assert together[near].all()


@pytest.mark.filterwarnings("ignore")
def test_gudhi_takes_the_same_steps():
    cover_complex = pytest.importorskip("gudhi.cover_complex", reason="a peer")
    X = np.random.RandomState(0).normal(size=(200, 3))
    theirs = cover_complex.MapperComplex()
    theirs.filters = X[:, :2]
    # It draws from the stream that all share.
    state = np.random.get_state()
    np.random.seed(0)
    radius, steps = theirs.get_optimal_parameters_for_agglomerative_clustering(X)
    np.random.set_state(state)
    ours = longest_steps(X, [X[:, 0], X[:, 1]], [radius])[0].tolist()
    np.testing.assert_allclose(ours, steps)


@pytest.mark.parametrize("params", [
    {"threshold": -1}, {"overlap": 1.0}, {"n_intervals": 0}, {"max_intervals": 0},
    {"min_overlap": -1}, {"n_intervals": "many"},
])  # fmt: skip
def test_bad_parameters_of_g_mapper_are_named(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of G"):
        GMapperCover(**params)


@pytest.mark.parametrize("params", [
    {"criterion": "mdl"}, {"min_gain": -1}, {"max_intervals": 0}, {"overlap": 0},
])  # fmt: skip
def test_bad_parameters_of_adaptive_covers_are_named(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of A"):
        AdaptiveCover(**params)
