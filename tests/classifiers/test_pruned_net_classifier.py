"""A perceptron that loses weights step by step."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.callback import ScoringMonitor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from robustkit.bridge import as_module
from robustkit.classifiers import MLPNetClassifier, PrunedNetClassifier, TorchClassifier
from tests.classifiers.conftest import QUICK, StopAfter


def prune(dense=None, **params):
    if dense is None:
        dense = MLPNetClassifier((12, 10, 8), **QUICK)
    defaults = {"n_steps": 4, "amount": 0.3, "retrain_epochs": 2, "random_state": 0}
    return PrunedNetClassifier(dense, **defaults | params)


def hidden_weights(classifier):
    module = classifier.module_
    return [module.hidden2.weight, module.hidden3.weight]


def test_pruning_steps_are_sparser_and_sparser(digits):
    X, y = digits
    pruned = prune().fit(X, y)
    n_hidden, n_other = 12 * 10 + 10 * 8, 64 * 12 + 12 + 10 + 8 + 8 * 10 + 10
    assert len(pruned.steps_) == 4
    n_left = n_hidden
    for step in pruned.steps_:
        n_left -= round(0.3 * n_left)
        assert step.density == n_left / n_hidden
        assert step.n_parameters == step.estimator.n_parameters_ == n_left + n_other
        assert step.accuracy == step.estimator.score(X, y)
        assert (
            sum(int((w != 0).sum()) for w in hidden_weights(step.estimator)) == n_left
        )
        assert step.structure.n_nodes == 12 + 10 + 8
        assert step.structure.n_edges == n_left
        assert step.structure.properties()["n_edges"] == n_left


def test_removed_weights_stay_removed(digits):
    pruned = prune(MLPNetClassifier((12, 10, 8), weight_decay=0.01, **QUICK)).fit(
        *digits
    )
    removed = [
        torch.cat([(w == 0).flatten() for w in hidden_weights(step.estimator)])
        for step in pruned.steps_
    ]
    for earlier, later in pairwise(removed):
        assert (later[earlier]).all()
        assert later.sum() > earlier.sum()


def test_removed_weights_have_no_gradient(digits):
    X, y = digits
    pruned = prune().fit(X, y)
    module = as_module(pruned)
    cross_entropy(module(torch.from_numpy(X)), torch.from_numpy(y)).backward()
    for weight in hidden_weights(pruned.estimator_):
        assert (weight.grad[weight == 0] == 0).all()
        assert (weight.grad[weight != 0] != 0).any()


def test_structure_of_a_step_matches_remaining_weights(digits):
    step = prune().fit(*digits).steps_[-1]
    first, second = hidden_weights(step.estimator)
    edges = {(s, 12 + t) for t, s in (first != 0).nonzero().tolist()}
    edges |= {(12 + s, 22 + t) for t, s in (second != 0).nonzero().tolist()}
    labels = step.structure.labels
    assert {(labels[s], labels[t]) for s, t in step.structure.edges.T} == edges


def test_retraining_improves_accuracy(digits):
    X, y = digits
    dense = MLPNetClassifier((30, 30, 30), **QUICK | {"max_epochs": 10})
    settings = {"n_steps": 1, "amount": 0.8}
    short, long = (
        prune(dense, retrain_epochs=n, **settings).fit(X, y) for n in (1, 15)
    )
    assert long.estimator_.loss_curve_[-1] < short.estimator_.loss_curve_[-1]
    assert long.estimator_.n_iter_ == 25
    # The settings of the dense network are back after retraining.
    assert long.estimator_.get_params() == {
        **dense.get_params(),
        "random_state": dense.random_state,
    }


def test_pruned_classifier_predicts_with_the_last_step(digits):
    X, y = digits
    pruned = prune().fit(X, y)
    last = pruned.steps_[-1].estimator
    for method in ("predict", "predict_proba", "decision_function"):
        assert np.array_equal(getattr(pruned, method)(X), getattr(last, method)(X))
    assert np.array_equal(pruned.classes_, np.arange(10))


def test_pruning_steps_do_not_share_weights(digits):
    X, y = digits
    pruned = prune().fit(X, y)
    before = pruned.predict_proba(X)
    for step in pruned.steps_:
        step.estimator.partial_fit(X, y)
    assert np.array_equal(pruned.predict_proba(X), before)


def test_pruning_by_magnitude_removes_the_smallest(digits):
    X, y = digits
    dense = MLPNetClassifier((12, 10, 8), **QUICK).fit(X, y)
    size = torch.cat([w.abs().flatten() for w in hidden_weights(dense)])
    pruned = prune(FrozenEstimator(dense), method="magnitude", n_steps=1).fit(X, y)
    left = torch.cat([w.flatten() != 0 for w in hidden_weights(pruned.estimator_)])
    assert size[~left].max() < size[left].min()


def test_frozen_network_is_copied_and_not_trained_again(digits):
    X, y = digits
    dense = MLPNetClassifier((12, 10, 8), **QUICK).fit(X, y)
    before = dense.predict_proba(X)
    pruned = prune(FrozenEstimator(dense), n_steps=1).fit(X, y)
    assert np.array_equal(dense.predict_proba(X), before)
    assert pruned.estimator_.n_iter_ == 3 + 2


def test_pruning_seed_affects_network_and_choice(digits):
    X, y = digits
    unseeded = MLPNetClassifier((12, 10, 8), **QUICK | {"random_state": None})
    first, again, other = (
        prune(unseeded, random_state=seed).fit(X, y).predict_proba(X)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert unseeded.random_state is None


def test_default_pruned_network_matches_published_one(two_digits):
    pruned = PrunedNetClassifier(n_steps=1, retrain_epochs=1, random_state=0)
    pruned.fit(*two_digits)
    assert pruned.estimator_.hidden_layer_sizes == (50, 100, 100, 50)
    assert pruned.steps_[0].density == 0.9


@pytest.mark.parametrize(
    "estimator", [MLPNetClassifier((10,), **QUICK), LogisticRegression(max_iter=1000)]
)
def test_pruning_a_model_without_hidden_weights_raises(estimator, digits):
    with pytest.raises(ValueError, match=r"'estimator' parameter .* two hidden layers"):
        prune(estimator).fit(*digits)


def test_callbacks_see_every_pruning_step(digits):
    monitor = ScoringMonitor(scoring="accuracy")
    pruned = prune().set_callbacks(monitor).fit(*digits)
    log = monitor.get_logs().data_as_pandas
    scores = log[log.task_name == "step"].accuracy.tolist()
    assert scores == [step.accuracy for step in pruned.steps_]


def test_callback_stops_the_pruning(digits):
    pruned = prune().set_callbacks(StopAfter(2)).fit(*digits)
    assert len(pruned.steps_) == 2


def test_network_of_images_is_trained_on_them_and_pruned(digits):
    X, y = (array[:200] for array in digits)
    images = X.reshape(-1, 8, 8)
    settings = QUICK | {"max_epochs": 1}
    ours = prune(TorchClassifier("cnn6", **settings), n_steps=1).fit(images, y)
    told = TorchClassifier("cnn6", image_shape=(1, 8, 8), **settings)
    theirs = prune(told, n_steps=1).fit(X, y)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(images))
    assert ours.steps_[0].estimator.image_shape_ == (1, 8, 8)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_streams_are_refused(method, digits):
    X, y = digits
    stream = TensorDataset(*map(torch.from_numpy, digits))
    message = r"PrunedNetClassifier takes arrays\. Got a TensorDataset"
    with pytest.raises(TypeError, match=message):
        prune().fit(stream, y)
    pruned = prune(n_steps=1).fit(X, y)
    with pytest.raises(TypeError, match=message):
        getattr(pruned, method)(stream)
