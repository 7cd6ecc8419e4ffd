"""Samples, modules and random streams are the caller's, whatever the model does."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robustkit.classifiers import TorchClassifier
from robustkit.regions import (
    PopulatedRegionRegularizer,
    PopulatedRegionScorer,
    count_regions,
)
from tests.common.callers_things import WritingNet, expect_unchanged

rng = np.random.RandomState(0)
X = rng.normal(size=(96, 4)).astype(np.float32)
Y = rng.randint(3, size=96)


@pytest.fixture(scope="module")
def net():
    classifier = TorchClassifier(WritingNet, max_epochs=2, device="cpu", random_state=0)
    return classifier.fit(X.copy(), Y)


CALLS = {
    "fit": lambda scorer, X, y: scorer.fit(X, y),
    "partial_fit": lambda scorer, X, y: scorer.partial_fit(X, y),
    "transform": lambda scorer, X, y: scorer.transform(X),
    "score": lambda scorer, X, y: scorer.score(X),
    "inclusion_ratio": lambda scorer, X, y: scorer.inclusion_ratio(X),
    "layer_report": lambda scorer, X, y: scorer.layer_report(X),
    "report": lambda scorer, X, y: scorer.report(X, y),
    "call": lambda scorer, X, y: scorer(scorer.estimator_, X),
}


@pytest.mark.parametrize("batch_size", [16, 96, 4096])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_scorer(net, call, batch_size):
    scorer = PopulatedRegionScorer(FrozenEstimator(net), batch_size=batch_size)
    scorer.fit(X, Y)
    given = X.copy()
    with expect_unchanged(given, Y, module=net.module_):
        call(scorer, given, Y)
    np.testing.assert_array_equal(given, X)


def test_regions_of_a_net_that_writes_are_those_of_the_shifted_samples(net):
    scorer = PopulatedRegionScorer(FrozenEstimator(net), batch_size=16)
    net.module_.eval()
    with torch.no_grad():
        values = net.module_.norm(net.module_.hidden(torch.from_numpy(X - 0.3)))
    expected, counts = count_regions(values)
    np.testing.assert_array_equal(scorer.fit(X, Y).transform(X)[:, 0], expected)
    np.testing.assert_array_equal(scorer.regions_["count"], counts)


def test_a_step_that_scales_in_place():
    """The classifier is fitted to a copy."""
    X = rng.normal(size=(60, 4)).astype(np.float32) * 3 + 1
    y = Y[:60]
    mlp = MLPClassifier((6,), solver="lbfgs", max_iter=20, tol=1, random_state=0)
    regions = []
    for copy in (True, False):
        given = X.copy()
        model = make_pipeline(StandardScaler(copy=copy), mlp)
        with expect_unchanged(given):
            scorer = PopulatedRegionScorer(model).fit(given, y)
        regions.append(scorer.transform(X))
    np.testing.assert_array_equal(*regions)


def test_the_regularizer(net):
    regularizer = PopulatedRegionRegularizer(warm_up=0, freeze_head=False)
    batch, labels = torch.from_numpy(X.copy()), torch.from_numpy(Y)
    with expect_unchanged(batch, labels, module=net.module_):
        regularizer.on_epoch_begin(net.module_, batch, labels, epoch=0, max_epochs=1)
    net.module_.eval()
    with expect_unchanged(batch, labels):
        regularizer.penalty(net.module_, batch, labels)


def test_a_net_that_writes_can_be_trained_with_the_regularizer():
    regularizer = PopulatedRegionRegularizer(warm_up=0)
    given = X.copy()
    classifier = TorchClassifier(
        WritingNet, regularizer=regularizer, max_epochs=2, device="cpu", random_state=0
    )
    with expect_unchanged(given, Y):
        assert classifier.fit(given, Y).regularizer_.is_active_


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_counting(dtype):
    given = torch.from_numpy(X.copy()).to(dtype)
    before = given.clone()
    count_regions(given)
    assert torch.equal(given, before)
