"""Filters: what each gives, and which change no more than the distance."""

import numpy as np
import pytest
from hypothesis import given
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from robustkit.topology import MapperGraph
from robustkit.topology import _filters as filters
from robustkit.topology._filters import fit_filter
from tests.topology.strategies import point_clouds

X = np.random.RandomState(0).normal(size=(40, 5)) * [3, 1, 1, 0.5, 0.1] + 7


def values_of(filter, X=X):
    return fit_filter(filter, X)[0](X)


def test_l2norm():
    np.testing.assert_allclose(values_of("l2norm"), np.linalg.norm(X, axis=1))


@pytest.mark.parametrize("shape", [(40, 5), (4, 5), (1, 5)])
def test_pca_is_the_first_principal_component(shape):
    data = X[: shape[0]]
    values = values_of("pca", data)
    if shape[0] == 1:
        assert values.shape == (1,)
        return
    expected = PCA(1).fit_transform(data)[:, 0]
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_column():
    np.testing.assert_array_equal(values_of(2), X[:, 2])


def test_callable_and_array_may_be_columns_of_one():
    np.testing.assert_array_equal(values_of(lambda X: X[:, :1]), X[:, 0])
    np.testing.assert_array_equal(values_of(X[:, 0].tolist()), X[:, 0])


@given(point_clouds())
def test_lipschitz_filters_change_no_more_than_the_distance(X):
    for filter in ("l2norm", "pca", 0):
        function, is_lipschitz = fit_filter(filter, X)
        assert is_lipschitz
        changes = pdist(function(X)[:, None])
        slack = 1e-9 * (1 + np.abs(X).max())
        assert (changes <= pdist(X.astype(float)) + slack).all()


def test_others_promise_nothing():
    assert not fit_filter(lambda X: X[:, 0], X)[1]
    assert not fit_filter(X[:, 0], X)[1]


@pytest.mark.parametrize("filter", ["l2norm", "pca", 1])
def test_value_of_a_sample_does_not_depend_on_the_others(filter, monkeypatch):
    function, _ = fit_filter(filter, X)
    one_by_one = np.concatenate([function(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(one_by_one, function(X))
    monkeypatch.setattr(filters, "_CHUNK", 12)
    np.testing.assert_array_equal(one_by_one, function(X))


def test_pca_in_chunks(monkeypatch):
    expected = values_of("pca")
    monkeypatch.setattr(filters, "_CHUNK", 12)
    np.testing.assert_allclose(values_of("pca"), expected)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (5, "filter=5 asks for a column, but X has 5 features; the last column is 4"),
        (-1, "The 'filter' parameter of MapperGraph must be"),
        ("l1norm", "The 'filter' parameter of MapperGraph must be a str among"),
        (
            np.ones(3),
            "one number for each of 40 samples. Got an array of shape \\(3,\\)",
        ),
        (lambda X: X, "one number for each of 40 samples. Got an array of shape"),
        (lambda X: np.full(len(X), np.nan), "gave values that are NaN or infinite"),
    ],
)
def test_bad_filters_are_named(filter, message):
    with pytest.raises(ValueError, match=message):
        MapperGraph(filter, eps=1.0).fit(X)


def test_an_array_says_nothing_of_new_samples():
    mapper = MapperGraph(X[:, 0], eps=5.0, n_intervals=3).fit(X)
    assert (mapper.transform(X) != mapper.membership_).nnz == 0
    with pytest.raises(
        ValueError, match="only the training samples can be transformed"
    ):
        mapper.transform(X[:5])


def test_a_filter_that_writes_to_its_input():
    def shifted(X):
        X -= 1
        return X[:, 0]

    given = X.copy()
    mapper = MapperGraph(shifted, n_intervals=3, eps=2.0).fit(given)
    mapper.transform(given[:7])
    np.testing.assert_array_equal(given, X)
    expected = MapperGraph(0, n_intervals=3, eps=2.0).fit(X)
    assert (mapper.membership_ != expected.membership_).nnz == 0


def test_a_new_sample_whose_norm_overflows_lies_nowhere():
    mapper = MapperGraph(n_intervals=3, eps=5.0).fit(X)
    assert mapper.transform([[1e200] * 5, X[0]]).getnnz(axis=1).tolist()[0] == 0
