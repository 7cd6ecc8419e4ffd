"""A class that a model never predicts hides no success of an attack on the others."""

import functools
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import BaggingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

from robustkit.attacks import PGDAttack
from robustkit.bridge import as_module

# A prior of zero has no logarithm.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")

X, Y = make_blobs(120, 4, centers=3, random_state=0, cluster_std=3)
FAR = np.random.RandomState(0).normal(size=(500, 4)) * 6
SEEN = Y < 2
PRIORS = [0, 0.5, 0.5]

UNSEEN = {"sample_weight": SEEN * 1.0}
# Each with arguments of `fit`.
MODELS = {
    "lda": (LinearDiscriminantAnalysis(priors=PRIORS), {}),
    "qda": (QuadraticDiscriminantAnalysis(priors=PRIORS), {}),
    "bayes": (GaussianNB(priors=PRIORS), {}),
    "linear svm": (LinearSVC(random_state=0), UNSEEN),
    "bagging": (
        BaggingClassifier(
            FrozenEstimator(LinearSVC(random_state=0).fit(X[SEEN], Y[SEEN])),
            1,
            random_state=0,
        ),
        {},
    ),
}


@functools.cache
def model_of(name):
    if name == "bayes that expects more":
        return GaussianNB().partial_fit(X[SEEN], Y[SEEN], [0, 1, 2])
    model, arguments = MODELS[name]
    with warnings.catch_warnings():
        # The logarithm of a prior of zero.
        warnings.simplefilter("ignore")
        return clone(model).fit(X, Y, **arguments)


names = pytest.mark.parametrize("name", [*MODELS, "bayes that expects more"])


@names
def test_logits_of_a_class_that_never_wins_are_finite(name):
    model = model_of(name)
    module = as_module(model)
    with torch.no_grad():
        logits = module(torch.from_numpy(FAR))
        single = module.float()(torch.from_numpy(FAR).float())
    assert torch.isfinite(logits).all()
    assert torch.isfinite(single.float()).all()
    found = model.classes_[logits.argmax(dim=1).numpy()]
    np.testing.assert_array_equal(found, model.predict(FAR))
    assert len(np.unique(found)) == 2


def test_machine_without_a_column_for_a_class_is_not_attacked():
    # Nothing says which two classes its one column tells apart.
    model = model_of("linear svm")
    assert model.decision_function(X).ndim == 1
    attack = PGDAttack(FrozenEstimator(model), clip=None, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"each of the 3 classes\. It has 1;"):
        attack.perturb(X, Y)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "name",
    ["lda", "qda", "bayes", "bagging", "bayes that expects more"],
)
def test_ratio_of_logits_finds_what_the_margin_finds(name, norm):
    """Of two classes that can win, the ratio is the margin."""
    model = model_of(name)
    right = model.predict(X) == Y
    found = {}
    for loss in ("margin", "dlr"):
        attack = PGDAttack(
            FrozenEstimator(model),
            norm=norm,
            eps=3,
            loss=loss,
            max_iter=20,
            random_start=False,
            clip=None,
        )
        result = attack.fit(X, Y).perturb(X[right], Y[right])
        found[loss] = result.success
    np.testing.assert_array_equal(found["dlr"], found["margin"])
    assert found["dlr"].any()


def test_binary_model_with_a_prior_of_zero_has_finite_logits():
    with np.errstate(divide="ignore"):
        model = LinearDiscriminantAnalysis("lsqr", priors=[0, 1])
        model.fit(X[SEEN], Y[SEEN])
    with torch.no_grad():
        logits = as_module(model)(torch.from_numpy(FAR))
    assert torch.isfinite(logits).all()
    np.testing.assert_array_equal(logits.argmax(dim=1).numpy(), model.predict(FAR))
