"""Estimators that are fitted in an odd way, and what a softmax of their logits is."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from sklearn.svm import LinearSVC
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bridge import ActivationExtractor, as_module
from robustkit.bridge._layers import layer_values
from robustkit.classifiers import TorchClassifier


@pytest.fixture(scope="module", params=[2, 3])
def data(request):
    return make_classification(
        90,
        n_features=5,
        n_informative=4,
        n_redundant=0,
        n_classes=request.param,
        n_clusters_per_class=1,
        random_state=0,
    )


def logits_of(estimator, X):
    with torch.no_grad():
        return as_module(estimator)(torch.from_numpy(X)).numpy()


def with_two_columns(scores):
    if scores.ndim > 1:
        return scores
    return np.column_stack([np.zeros(len(scores)), scores])


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber", "hinge"])
def test_logits_of_sgd_are_its_decision_function(loss, data):
    X, y = data
    model = SGDClassifier(loss=loss, random_state=0).fit(X, y)
    logits = logits_of(model, X)
    np.testing.assert_allclose(logits, with_two_columns(model.decision_function(X)))
    np.testing.assert_array_equal(logits.argmax(axis=1), model.predict(X))
    if loss == "hinge":
        return
    # So flat that no probability is one.
    model.coef_ /= 10 * np.abs(model.coef_).max()
    model.intercept_ *= 0
    softmax = torch.from_numpy(logits_of(model, X)).softmax(dim=1).numpy()
    is_probability = np.allclose(softmax, model.predict_proba(X), atol=1e-9)
    assert is_probability == (loss == "log_loss" and len(model.classes_) == 2)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        SGDClassifier(random_state=0),
        Perceptron(),
        LinearSVC(random_state=0),
    ],
    ids=lambda m: type(m).__name__,
)
def test_sparse_coefficients_are_the_same_model(model, data):
    X, y = data
    expected = logits_of(model.fit(X, y), X)
    np.testing.assert_array_equal(logits_of(model.sparsify(), X), expected)


SEARCHES = {
    GridSearchCV: {},
    RandomizedSearchCV: {"n_iter": 2, "random_state": 0},
    HalvingGridSearchCV: {"min_resources": 30, "random_state": 0},
    HalvingRandomSearchCV: {"n_candidates": 2, "random_state": 0},
}


@pytest.mark.parametrize("cls", SEARCHES, ids=lambda c: c.__name__)
def test_every_kind_of_search_is_unwrapped(cls, data):
    X, y = data
    search = cls(LogisticRegression(), {"C": [0.1, 1.0]}, **SEARCHES[cls]).fit(X, y)
    expected = with_two_columns(search.decision_function(X))
    np.testing.assert_allclose(logits_of(search, X), expected, atol=1e-12)


@pytest.mark.parametrize("cls", SEARCHES, ids=lambda c: c.__name__)
def test_search_without_refit_raises(cls, data):
    X, y = data
    grid = {"C": [0.1, 1.0]}
    search = cls(LogisticRegression(), grid, refit=False, **SEARCHES[cls])
    with pytest.raises(TypeError, match=rf"{cls.__name__}\(refit=False\) keeps no"):
        as_module(search.fit(X, y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_network_in_half_precision_raises(dtype):
    with seeded_torch(0):
        net = nn.Linear(5, 2).to(dtype)
    name = str(dtype).removeprefix("torch.")
    classifier = TorchClassifier.from_module(net, classes=[0, 1])
    with pytest.raises(TypeError, match=rf"float32 or float64.*{name}.*module.float"):
        as_module(classifier)


class Writes(nn.Module):
    """Writes to its input, and to what its own layers return."""

    def __init__(self):
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x):
        with torch.no_grad():
            x -= 0.3
        hidden = self.relu(self.first(x))
        logits = self.last(hidden * 1)
        hidden += 1
        logits *= 2
        return logits


@pytest.fixture
def writer():
    with seeded_torch(0):
        return Writes().eval()


@pytest.mark.parametrize("layer", ["logits", "penultimate", "relu", "first", "last"])
def test_model_that_writes_in_place_changes_neither_x_nor_records(layer, writer):
    X = np.random.RandomState(0).normal(size=(32, 5)).astype(np.float32)
    before = X.copy()
    model = TorchClassifier.from_module(writer, classes=[0, 1])
    found = ActivationExtractor(FrozenEstimator(model), layer=layer).fit(X).transform(X)
    values = layer_values(writer, torch.from_numpy(X), [layer])[layer]
    np.testing.assert_array_equal(X, before)
    with torch.no_grad():
        first = writer.first(torch.from_numpy(before) - 0.3)
        expected = {
            "first": first,
            "relu": first.relu(),
            "penultimate": first.relu(),
            "last": writer.last(first.relu()),
            "logits": 2 * writer.last(first.relu()),
        }[layer]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    torch.testing.assert_close(values.activation.detach(), expected)
