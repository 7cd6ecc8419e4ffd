"""A penalty that lowers the number of populated regions."""

from collections import OrderedDict
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.classifiers import (
    MLPNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.datasets import load_digits_images
from robustkit.graphs import GraphPrior
from robustkit.regions import PopulatedRegionRegularizer, PopulatedRegionScorer


def convolutional(n_features, n_classes):
    """Pooling stands before the hidden layer, and all of it before the head."""
    layers = OrderedDict(
        image=nn.Unflatten(1, (1, 8, 8)),
        conv=nn.Conv2d(1, 8, 3, padding=1),
        conv_relu=nn.ReLU(),
        pool=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        hidden=nn.Linear(128, 32),
        relu=nn.ReLU(inplace=True),
        output=nn.Linear(32, n_classes),
    )
    return nn.Sequential(layers)


CLASSIFIERS = {
    "sparse": SparseNetClassifier(GraphPrior(n_nodes=120, random_state=0)),
    "mlp": MLPNetClassifier((32, 16)),
    "torch": TorchClassifier(convolutional),
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits_images(return_X_y=True)
    return X[:600], y[:600]


@pytest.fixture(name="batch")
def batch_of_two_classes():
    rng = np.random.RandomState(0)
    X = torch.from_numpy(rng.standard_normal((40, 5)).astype(np.float32))
    return X, torch.from_numpy(np.arange(40) % 2)


@pytest.fixture
def module():
    with seeded_torch(0):
        return nn.Sequential(
            nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2)
        )


def test_penalty_is_that_of_the_definition(module, batch):
    X, y = batch
    regularizer = PopulatedRegionRegularizer(0.3, 0.7, warm_up=0)
    regularizer.on_epoch_begin(module, X, y, epoch=0, max_epochs=1)
    z = module[:3](X).detach().numpy()
    a = np.maximum(z, 0)
    distances, mismatches = [], []
    for label in (0, 1):
        own = y.numpy() == label
        patterns, first, counts = np.unique(
            z[own] > 0, axis=0, return_index=True, return_counts=True
        )
        most = np.flatnonzero(counts == counts.max())
        major = patterns[most[first[most].argmin()]]
        home = ((z > 0) == major).all(axis=1) & own
        distances.append((a[own] - a[home].mean(axis=0)) ** 2)
        mismatches.append((np.tanh(10 * z[own]) - (2 * major - 1)) ** 2)
    expected = 0.3 * np.vstack(distances).mean() + 0.7 * np.vstack(mismatches).mean()
    found = regularizer.penalty(module, X, y).item()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("strengths", [(1, 0), (0, 1)])
def test_both_parts_send_a_gradient_into_the_network(module, batch, strengths):
    regularizer = PopulatedRegionRegularizer(*strengths, warm_up=0)
    regularizer.on_epoch_begin(module, *batch, epoch=0, max_epochs=1)
    regularizer.penalty(module, *batch).backward()
    for layer in (module[0], module[2]):
        assert layer.weight.grad.abs().sum() > 0
        assert layer.bias.grad.abs().sum() > 0
    assert module[4].weight.grad is None


def test_following_the_gradient_lowers_the_penalty(module, batch):
    regularizer = PopulatedRegionRegularizer(warm_up=0)
    regularizer.on_epoch_begin(module, *batch, epoch=0, max_epochs=1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        values.append(regularizer.penalty(module, *batch))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < values[0]


@pytest.mark.parametrize("warm_up", [0, 0.3, 0.5, 1])
def test_schedule_is_a_warm_up_then_the_penalty(module, batch, warm_up):
    regularizer = PopulatedRegionRegularizer(warm_up=warm_up)
    for epoch in range(10):
        regularizer.on_epoch_begin(module, *batch, epoch=epoch, max_epochs=10)
        sets_in = epoch >= 10 * warm_up
        assert regularizer.is_active_ == sets_in
        assert (regularizer.penalty(module, *batch) > 0) == sets_in
        assert module[4].weight.requires_grad != sets_in
        assert module[2].weight.requires_grad


def test_major_regions_are_renewed_each_epoch(module, batch):
    regularizer = PopulatedRegionRegularizer(warm_up=0)
    regularizer.on_epoch_begin(module, *batch, epoch=0, max_epochs=2)
    before = regularizer.major_region_vectors_, regularizer.major_region_signs_
    with torch.no_grad():
        module[2].bias += 100
    regularizer.on_epoch_begin(module, *batch, epoch=1, max_epochs=2)
    assert (regularizer.major_region_vectors_ > before[0] + 50).all()
    assert (regularizer.major_region_signs_ == 1).all()
    assert not (before[1] == 1).all()


def test_head_may_stay_free(module, batch):
    regularizer = PopulatedRegionRegularizer(warm_up=0, freeze_head=False)
    regularizer.on_epoch_begin(module, *batch, epoch=0, max_epochs=1)
    assert module[4].weight.requires_grad


class Watched(PopulatedRegionRegularizer):
    """Remembers the weights that it met, where its clones can find them."""

    seen = []

    def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
        self.seen.append(deepcopy(module.state_dict()))
        super().on_epoch_begin(module, X, y, epoch=epoch, max_epochs=max_epochs)


HEAD = {"sparse": "output_weight", "mlp": "output.weight", "torch": "output.weight"}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_keeps_the_schedule(name, digits):
    X, y = digits
    regularizer = Watched()
    classifier = clone(CLASSIFIERS[name]).set_params(
        regularizer=regularizer, max_epochs=4, device="cpu", random_state=0
    )
    Watched.seen.clear()
    classifier.fit(X[:200], y[:200])
    states = [*Watched.seen, classifier.module_.state_dict()]
    head = [state[next(k for k in state if k.endswith(HEAD[name]))] for state in states]
    # It learns for two epochs and stays as it is for two.
    assert not torch.equal(head[0], head[1])
    assert not torch.equal(head[1], head[2])
    assert torch.equal(head[2], head[3])
    assert torch.equal(head[3], head[4])
    assert all(weight.requires_grad for weight in classifier.module_.parameters())
    # What was learned is in the clone.
    assert vars(regularizer) == regularizer.get_params()
    assert classifier.regularizer_.is_active_


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_lowers_the_ratio_of_a_trained_network(name, digits):
    X, y = digits
    plain = clone(CLASSIFIERS[name]).set_params(
        max_epochs=20, batch_size=32, lr=0.006, device="cpu", random_state=0
    )
    regularized = clone(plain).set_params(regularizer=PopulatedRegionRegularizer())
    ratios = []
    for classifier in (plain, regularized):
        frozen = FrozenEstimator(classifier.fit(X, y))
        ratios.append(PopulatedRegionScorer(frozen).fit(X, y).prs_ratio_)
        assert classifier.score(X, y) > 0.8
    assert ratios[1] < 0.8 * ratios[0]


def test_its_strengths_can_be_searched_for(digits):
    X, y = digits
    search = GridSearchCV(
        MLPNetClassifier(
            (16,),
            regularizer=PopulatedRegionRegularizer(),
            max_epochs=4,
            random_state=0,
        ),
        {"regularizer__strength": [0.0, 0.5], "regularizer__sign_strength": [0.1, 1.0]},
        scoring=PopulatedRegionScorer(),
        cv=2,
    ).fit(X, y)
    assert search.best_estimator_.regularizer_.strength in (0.0, 0.5)
    assert len(search.cv_results_["params"]) == 4


def test_penalty_before_the_first_epoch_is_refused(module, batch):
    with pytest.raises(NotFittedError, match="'on_epoch_begin' must be called"):
        PopulatedRegionRegularizer().penalty(module, *batch)


@pytest.mark.parametrize(
    ("name", "value"),
    [("strength", -1), ("sign_strength", "big"), ("warm_up", 1.5), ("layer", 0.5)],
)
def test_bad_parameters_are_refused(module, batch, name, value):
    regularizer = PopulatedRegionRegularizer(**{name: value})
    with pytest.raises(ValueError, match=f"The '{name}' parameter .* Got {value!r}"):
        regularizer.on_epoch_begin(module, *batch, epoch=0, max_epochs=1)


def test_an_unknown_layer_is_refused_before_the_warm_up(module, batch):
    regularizer = PopulatedRegionRegularizer(layer="penultimat")
    with pytest.raises(ValueError, match="did you mean 'penultimate'"):
        regularizer.on_epoch_begin(module, *batch, epoch=0, max_epochs=10)
