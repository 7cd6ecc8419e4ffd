"""The dense network."""

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from robustkit.classifiers import MLPNetClassifier
from robustkit.networks import initialize
from robustkit.networks._architectures import mlp
from robustkit.networks._initialization import INITS
from tests.classifiers.conftest import QUICK, dense


def test_mlp_has_the_hidden_layer_sizes(digits):
    classifier = MLPNetClassifier((7, 5), **QUICK).fit(*digits)
    sizes = [(7, 64), (7,), (5, 7), (5,), (10, 5), (10,)]
    assert [tuple(w.shape) for w in classifier.module_.parameters()] == sizes
    assert classifier.n_parameters_ == 64 * 7 + 7 + 7 * 5 + 5 + 5 * 10 + 10


@pytest.mark.parametrize("init", list(INITS))
def test_mlp_initial_weights(init, digits):
    classifier = dense(init=init)
    drawn = classifier._make_module(64, 10, seed=3)
    with torch.device("meta"):
        expected = mlp(64, 10, hidden_layer_sizes=(20,))
    initialize(expected.to_empty(device="cpu"), init, random_state=3)
    for ours, theirs in zip(drawn.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_mlp_accuracy_matches_scikit_learn(digits):
    X, y = digits
    settings = {"batch_size": 50, "random_state": 0}
    ours = MLPNetClassifier((50,), lr=0.01, max_epochs=20, **settings)
    theirs = MLPClassifier(
        (50,),
        learning_rate_init=0.01,
        max_iter=20,
        n_iter_no_change=20,
        alpha=0,
        **settings,
    )
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        theirs.fit(X, y)
    assert ours.fit(X, y).score(X, y) > theirs.score(X, y) - 0.02


@pytest.mark.parametrize("sizes", [(10, 0), (2.5,), ("a",), (-3,)])
def test_invalid_hidden_layer_sizes_raise(sizes, digits):
    with pytest.raises(ValueError, match=r"'hidden_layer_sizes' parameter of .* ints"):
        MLPNetClassifier(sizes, **QUICK).fit(*digits)


@pytest.mark.parametrize(
    ("parameter", "value"), [("init", 3), ("hidden_layer_sizes", 3)]
)
def test_invalid_mlp_parameter_raises(parameter, value, digits):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of MLPNet"):
        MLPNetClassifier(**{parameter: value}).fit(*digits)
