"""Tiny rows, single quantiles, single classes, infinite thresholds, and no columns."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import KernelPCA
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import Normalizer, QuantileTransformer, StandardScaler

from robustkit.bridge import as_module
from tests.bridge.converted import blobs, fitted

SIZES = np.logspace(-18, -9, 37)


def rows(dtype=np.float64):
    """Rows of every small size, around the one below which none is normalized."""
    directions = np.random.RandomState(0).normal(size=(len(SIZES), 3))
    return (directions * SIZES[:, None]).astype(dtype)


def found_of(transformer, X):
    with torch.no_grad():
        return as_module(transformer)(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_tiny_rows_are_left_as_they_are(norm, dtype):
    X = rows(dtype) * (1e9 if dtype == np.float32 else 1)
    normalizer = Normalizer(norm).fit(X)
    expected = normalizer.transform(X)
    is_left = (expected == X).all(axis=1)
    assert 5 < is_left.sum() < len(X) - 5
    np.testing.assert_allclose(found_of(normalizer, X), expected, rtol=1e-6)
    np.testing.assert_array_equal(found_of(normalizer, X)[is_left], X[is_left])


@pytest.mark.parametrize(
    "kernel_map", [KernelPCA(2, kernel="cosine"), Nystroem("cosine", n_components=4)]
)
def test_cosine_of_tiny_rows_is_that_of_scikit_learn(kernel_map):
    X = np.random.RandomState(1).normal(size=(40, 3))
    X[0] *= 1e-13
    X[1] *= 1e-16
    kernel_map = fitted(kernel_map, X, np.arange(40) % 2)
    expected = kernel_map.transform(rows())
    np.testing.assert_allclose(found_of(kernel_map, rows()), expected, atol=1e-12)


@pytest.mark.parametrize("n_quantiles", [1, 2])
@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_few_quantiles(output, n_quantiles):
    X = np.array([[2.0, 3.0], [2.0, -1.0]])[:n_quantiles]
    transformer = QuantileTransformer(
        n_quantiles=n_quantiles, output_distribution=output
    ).fit(X)
    points = np.random.RandomState(0).normal(size=(50, 2)) * 5
    points = np.concatenate([points, X, X + 1e-9, X - 1e-9, X + 1e-6, X - 1e-6])
    expected = transformer.transform(points)
    np.testing.assert_allclose(found_of(transformer, points), expected, atol=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "cosine"])
def test_kernel_axes_of_a_sparse_table(kernel):
    X, y = blobs(2)
    axes = KernelPCA(2, kernel=kernel, eigen_solver="dense")
    expected = fitted(axes, X, y).transform(X)
    sparse = axes.fit(csr_array(X))
    np.testing.assert_allclose(found_of(sparse, X), expected, atol=1e-9)


def test_no_column_is_left():
    X, y = blobs(2)
    union = FeatureUnion([("a", "drop")]).fit(X)
    columns = ColumnTransformer([("a", "drop", [0])]).fit(X)
    none = ColumnTransformer([("a", StandardScaler(), [])]).fit(X)
    for transformer in (union, columns, none):
        assert found_of(transformer, X).shape == transformer.transform(X).shape
        both = FeatureUnion([("none", transformer), ("all", "passthrough")])
        pipeline = make_pipeline(both, LogisticRegression()).fit(X, y)
        logits = found_of(pipeline, X)
        np.testing.assert_array_equal(logits.argmax(axis=1), pipeline.predict(X))


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_vote_without_a_weight_is_refused(voting):
    X, y = blobs(2)
    members = [("a", GaussianNB()), ("b", LogisticRegression())]
    vote = VotingClassifier(members, voting=voting, weights=[0, 0]).fit(X, y)
    with pytest.raises(TypeError, match=r"not all zero. Got \[0.0, 0.0\]"):
        as_module(vote)


@pytest.mark.parametrize(
    "model",
    [
        MLPClassifier((3,), max_iter=2),
        VotingClassifier([("a", GaussianNB())]),
        VotingClassifier([("a", GaussianNB())], voting="soft"),
        BaggingClassifier(GaussianNB(), 2),
        OneVsRestClassifier(GaussianNB()),
    ],
    ids=lambda m: " ".join(str(m).split())[:40],
)
@pytest.mark.filterwarnings("ignore")
def test_single_class_is_refused(model):
    X, _ = blobs(2)
    model = fitted(model, X, np.full(len(X), 7))
    name = type(model).__name__
    with pytest.raises(ValueError, match=rf"{name} that was.*Got one class: \[7\]"):
        as_module(model)


@pytest.mark.parametrize("limit", [np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("response", ["decision_function", "predict_proba"])
@pytest.mark.parametrize("pos_label", [0, 1])
def test_infinite_threshold_has_finite_logits(limit, response, pos_label):
    X, y = blobs(2)
    model = FixedThresholdClassifier(
        LogisticRegression(),
        threshold=limit,
        pos_label=pos_label,
        response_method=response,
    ).fit(X, y)
    x = torch.from_numpy(X).requires_grad_()
    logits = as_module(model)(x)
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), x)
    assert torch.isfinite(logits).all()
    assert torch.isfinite(logits.float()).all()
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).any()
    np.testing.assert_array_equal(logits.argmax(dim=1).numpy(), model.predict(X))
