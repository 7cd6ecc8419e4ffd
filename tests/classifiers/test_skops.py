"""Classifiers and priors come back from a file that holds no code, as skops stores."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.classifiers import SparseNetClassifier, TorchClassifier
from robustkit.graphs import GraphPrior
from tests.classifiers.conftest import (
    QUICK,
    every_kind,
    every_trained_kind,
    pruned,
    weights,
)


def convolutional(n_features, n_classes):
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(108, n_classes),
    )


def stored(estimator):
    """What skops gives back, when only names of the house are trusted."""
    skops = pytest.importorskip("skops.io", reason="stores with skops")
    data = skops.dumps(estimator)
    types = skops.get_untrusted_types(data=data)
    ours = ("robustkit.", "sklearn.", "tests.classifiers.test_skops.")
    assert all(name.startswith(ours) for name in types)
    return skops.loads(data, trusted=types)


def through_arrays(estimator):
    """The same without skops: what `__getstate__` gives, which has no tensor."""
    # A file shares nothing with what was stored.
    state = copy.deepcopy(estimator.__getstate__())
    assert not any(torch.is_tensor(value) for value in _leaves(state))
    assert not any(isinstance(value, nn.Module) for value in _leaves(state))
    twin = type(estimator).__new__(type(estimator))
    twin.__setstate__(state)
    return twin


def _leaves(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
    else:
        yield value


each_way = pytest.mark.parametrize("way", [through_arrays, stored])


@each_way
@every_trained_kind
def test_stored_classifier_predicts_and_trains_on(way, make, digits):
    X, y = digits
    classifier = make().fit(X, y)
    loaded = way(classifier)
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    assert loaded.get_params(deep=False).keys() == make().get_params(deep=False).keys()
    assert loaded.loss_curve_ == classifier.loss_curve_
    # The state of the optimizer and the random numbers are there, too.
    for net in (loaded, classifier):
        net.partial_fit(X, y)
    assert (weights(loaded) == weights(classifier)).all()


@every_kind
def test_stored_unfitted_classifier_has_its_parameters(make):
    loaded = stored(make())
    assert repr(loaded) == repr(make())
    assert not hasattr(loaded, "module_")


def test_stored_pruned_net_keeps_every_step(digits):
    X, y = digits
    classifier = pruned().fit(X, y)
    loaded = stored(classifier)
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    for ours, theirs in zip(loaded.steps_, classifier.steps_, strict=True):
        assert ours.structure == theirs.structure
        assert (ours.density, ours.accuracy) == (theirs.density, theirs.accuracy)
        assert (weights(ours.estimator) == weights(theirs.estimator)).all()
        assert len(ours.estimator.module_.state_dict()) == len(
            theirs.estimator.module_.state_dict()
        )


@each_way
def test_stored_network_of_images_keeps_their_shape_and_its_buffers(way, digits):
    X, y = digits
    images = X.reshape(-1, 1, 8, 8)
    classifier = TorchClassifier(convolutional, **QUICK).fit(images, y)
    loaded = way(classifier)
    assert loaded.image_shape_ == (1, 8, 8)
    for samples in (X, images):
        np.testing.assert_array_equal(
            loaded.predict_proba(samples), classifier.predict_proba(samples)
        )


def test_stored_network_of_sgd_continues(digits):
    classifier = TorchClassifier(optimizer="sgd", **QUICK).fit(*digits)
    loaded = through_arrays(classifier)
    for net in (loaded, classifier):
        net.partial_fit(*digits)
    assert (weights(loaded) == weights(classifier)).all()


@each_way
def test_stored_network_keeps_its_precision(way, digits):
    X, y = digits
    classifier = TorchClassifier("mlp", **QUICK).fit(X, y)
    classifier.module_.double()
    loaded = way(classifier)
    assert weights(loaded).dtype == torch.float64
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize("prior", [None, GraphPrior("random_regular", n_nodes=100)])
def test_stored_sparse_net_has_its_graph(prior, digits):
    classifier = SparseNetClassifier(prior, **QUICK).fit(*digits)
    loaded = stored(classifier)
    assert loaded.structure_ == classifier.structure_
    assert loaded.properties_.equals(classifier.properties_)


def test_stored_prior_transforms(digits):
    X, _ = digits
    prior = GraphPrior(n_nodes=30, random_state=0).fit(X)
    for loaded in (stored(prior), pickle.loads(pickle.dumps(prior))):
        np.testing.assert_array_equal(loaded.transform(X), prior.transform(X))
        assert loaded.properties_.equals(prior.properties_)


def test_wrapped_module_says_that_it_cannot_be_stored_without_its_code():
    with seeded_torch(0):
        wrapped = TorchClassifier.from_module(nn.Linear(4, 3), classes=range(3))
    with pytest.raises(ValueError, match=r"from_module cannot be stored .* pickle"):
        wrapped.__getstate__()


class Perceptron(nn.Module):
    """Has an activation and an order of its features that no weight tells."""

    def __init__(self, n_features, n_classes, act=nn.ReLU, is_shuffled=False):
        super().__init__()
        self.first, self.last = nn.Linear(n_features, 20), nn.Linear(20, n_classes)
        self.act = act()
        orders = torch.randperm(n_features), torch.arange(n_features)
        self.order = orders[not is_shuffled]

    def forward(self, X):
        return self.last(self.act(self.first(X[:, self.order])))


def tied(n_features, n_classes):
    a, b, c = nn.Linear(n_features, 20), nn.Linear(20, 20), nn.Linear(20, 20)
    c.weight = b.weight
    last = nn.Linear(20, n_classes)
    return nn.Sequential(a, nn.ReLU(), b, nn.ReLU(), c, nn.ReLU(), last)


def with_another_activation(classifier):
    classifier.module_.act = nn.Tanh()


def with_another_parameter(classifier):
    classifier.set_params(module_params={"act": nn.Sigmoid})


def with_another_width(classifier):
    classifier.module_.first = nn.Linear(64, 30)
    classifier.module_.last = nn.Linear(30, 10)


def with_frozen_weights(classifier):
    classifier.module_.first.requires_grad_(False)


def unchanged(classifier):
    pass


@pytest.mark.parametrize(
    ("module", "params", "change"),
    [
        (Perceptron, {}, with_another_activation),
        (Perceptron, {}, with_another_parameter),
        (Perceptron, {}, with_another_width),
        (Perceptron, {}, with_frozen_weights),
        (Perceptron, {"is_shuffled": True}, unchanged),
        (tied, {}, unchanged),
    ],
)
def test_network_that_its_weights_do_not_bring_back_is_not_stored(
    module, params, change, digits
):
    X, y = digits
    settings = {**QUICK, "module_params": params}
    classifier = TorchClassifier(module, **settings).fit(X, y)
    with seeded_torch(0):
        change(classifier)
    before = classifier.predict_proba(X)
    modes = [part.training for part in classifier.module_.modules()]
    with pytest.raises(ValueError, match=r"not the one that .* build.* pickle or job"):
        classifier.__getstate__()
    # What is offered instead does bring it back.
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(loaded.predict_proba(X), before)
    assert [part.training for part in classifier.module_.modules()] == modes


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
def test_network_with_settings_of_its_own_is_stored(act, digits):
    X, y = digits
    settings = {**QUICK, "module_params": {"act": act}}
    classifier = TorchClassifier(Perceptron, **settings).fit(X, y)
    loaded = through_arrays(classifier)
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))


def test_network_that_draws_when_it_predicts_is_stored(digits):
    class Noisy(Perceptron):
        def forward(self, X):
            return super().forward(X + 0.01 * torch.randn_like(X))

    X, y = digits
    before = torch.get_rng_state()
    with seeded_torch(0):
        classifier = TorchClassifier(Noisy, **QUICK).fit(X, y)
    state = classifier.__getstate__()
    assert torch.equal(before, torch.get_rng_state())
    assert "_weights_of_module" in state


def test_network_that_was_exchanged_says_that_it_cannot_be_stored(digits):
    classifier = TorchClassifier(**QUICK).fit(*digits)
    with seeded_torch(0):
        classifier.module_.append(nn.Linear(10, 10))
    with pytest.raises(ValueError, match="is not the one that its parameters build"):
        classifier.__getstate__()


@every_kind
def test_pickle_and_joblib_hold_the_module_itself(make, digits, tmp_path):
    X, y = digits
    classifier = make().fit(X, y)
    joblib.dump(classifier, tmp_path / "classifier.joblib")
    for loaded in (
        pickle.loads(pickle.dumps(classifier)),
        joblib.load(tmp_path / "classifier.joblib", mmap_mode="c"),
    ):
        np.testing.assert_array_equal(
            loaded.predict_proba(X), classifier.predict_proba(X)
        )


def test_pickle_of_a_wrapped_module_predicts(digits):
    X, _ = digits
    with seeded_torch(0):
        wrapped = TorchClassifier.from_module(nn.Linear(64, 10), classes=range(10))
    loaded = pickle.loads(pickle.dumps(wrapped))
    np.testing.assert_array_equal(loaded.predict_proba(X), wrapped.predict_proba(X))
