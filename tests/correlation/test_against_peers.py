"""The table equals scipy's numbers, on columns of every kind, through the estimator."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from robustkit.correlation import RobustnessCorrelator
from tests.strategies import seeds

# That few models say little is told: see test_few_models_are_told.
pytestmark = pytest.mark.filterwarnings("ignore:.*are few to correlate:UserWarning")

PEERS = {
    "pearson": lambda x, y: stats.pearsonr(x, y).statistic,
    "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
    "kendall": lambda x, y: stats.kendalltau(x, y).statistic,
}

KINDS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "few values": lambda rng, n: rng.randint(3, size=n).astype(float),
    "two values": lambda rng, n: (rng.rand(n) < 0.3).astype(float),
    "one differs": lambda rng, n: np.eye(n)[rng.randint(n)],
    "constant": lambda rng, n: np.full(n, rng.choice([0.0, 0.1, -7.3])),
    "sorted": lambda rng, n: np.sort(rng.normal(size=n)),
    "heavy tails": lambda rng, n: rng.standard_cauchy(size=n),
    "many magnitudes": lambda rng, n: np.exp(20 * rng.normal(size=n)),
    "far from 0": lambda rng, n: 1e6 + rng.normal(size=n),
    "both zeros": lambda rng, n: rng.choice([0.0, -0.0, 1.0], size=n),
    "with holes": lambda rng, n: np.where(
        rng.rand(n) < 0.2, np.nan, rng.normal(size=n)
    ),
}
SCALES = [1.0, -1.0, 1e-150, 1e150, -3e-7]


@st.composite
def populations(draw, scales):
    """(X, Y) whose columns are of every kind."""
    n = draw(st.sampled_from([3, 4, 5, 6, 10, 11, 30, 129]))
    rng = np.random.RandomState(draw(seeds))
    tables = []
    for _ in range(2):
        kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=3))
        scale = draw(st.sampled_from(scales))
        tables.append(np.column_stack([KINDS[k](rng, n) * scale for k in kinds]))
    return tables


def fitted(X, Y, methods=tuple(PEERS), **options):
    plain = {"outliers": None, "correction": None, "n_bootstrap": 0}
    options = plain | {"random_state": 0} | options
    return RobustnessCorrelator(methods=methods, **options).fit(X, Y).correlations_


def by_peer(method, x, y):
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    if method == "pearson":
        # Scipy squares, which overflows and underflows; it is the same in other units.
        x, y = x / np.abs(x).max(), y / np.abs(y).max()
    with warnings.catch_warnings():
        # "nearly constant": told apart by its own, coarser bound.
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return PEERS[method](x, y)


@given(populations(SCALES))
def test_coefficients_are_those_of_scipy(tables):
    X, Y = tables
    table = fitted(X, Y)
    found = table["coefficient"].to_numpy().reshape(X.shape[1], Y.shape[1], 3)
    expected = [[[by_peer(m, x, y) for m in PEERS] for y in Y.T] for x in X.T]
    assert_allclose(found, expected, atol=1e-9)
    missing = [[(~np.isnan(x + y)).sum() for y in Y.T] for x in X.T]
    assert_array_equal(table["n"].to_numpy().reshape(found.shape)[..., 0], missing)
    # Where there is no coefficient there is no test, and where there is one, there is.
    assert_array_equal(np.isnan(table["p_value"]), np.isnan(table["coefficient"]))
    assert table["p_value"].dropna().between(0, 1).all()


@given(populations(SCALES))
def test_coefficients_are_symmetric_and_change_sign_with_a_column(tables):
    X, Y = tables
    shape = (X.shape[1], Y.shape[1], 3)
    one = fitted(X, Y)["coefficient"].to_numpy().reshape(shape)
    other = fitted(Y, X)["coefficient"].to_numpy().reshape(*shape[1::-1], 3)
    assert_allclose(one, other.transpose(1, 0, 2), atol=1e-9)
    turned = fitted(-X, Y)["coefficient"].to_numpy().reshape(shape)
    assert_allclose(turned, -one, atol=1e-9)


@given(populations(SCALES))
def test_intervals_contain_the_coefficient_or_are_nan(tables):
    table = fitted(*tables, n_bootstrap=20)
    low, high = table["ci_low"].to_numpy(), table["ci_high"].to_numpy()
    coefficient = table["coefficient"].to_numpy()
    assert_array_equal(np.isnan(low), np.isnan(high))
    there = ~np.isnan(low)
    assert (table["n"][there] >= 5).all()
    assert (low[there] >= -1 - 1e-9).all()
    assert (low[there] <= coefficient[there]).all()
    assert (coefficient[there] <= high[there]).all()
    assert (high[there] <= 1 + 1e-9).all()
    assert (high[there] - low[there] > 0).all()


@pytest.mark.parametrize("scale", [1e-320, 1e-308, 1e-150, 1e150, 1e300])
@pytest.mark.parametrize("method", [*PEERS, "distance", "xi", "partial"])
def test_columns_of_any_size_go_with_others_as_before(method, scale):
    rng = np.random.RandomState(0)
    X, Y = rng.randint(-9, 9, size=(2, 20, 2)).astype(float)
    options = {"methods": method, "n_permutations": 1}
    expected = fitted(X, Y, **options)["coefficient"]
    for scaled in ((X * scale, Y), (X, Y * scale), (X * scale, Y * scale)):
        assert_allclose(fitted(*scaled, **options)["coefficient"], expected, atol=1e-7)
