"""Models that were trained on fewer classes than they know of."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.ensemble import BaggingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.svm import SVC

from robustkit.attacks import PGDAttack, SquareAttack
from robustkit.bridge import as_module

X, Y = make_blobs(120, 4, centers=4, random_state=0, cluster_std=3)
FAR = np.random.RandomState(0).normal(size=(2000, 4)) * 6
LABELS = np.array(["c", "a", "d", "b"])


def assert_predicts_alike(model, X=FAR):
    with torch.no_grad():
        logits = as_module(model)(torch.from_numpy(X))
    assert torch.isfinite(logits).all()
    assert logits.shape == (len(X), len(model.classes_))
    found = model.classes_[logits.argmax(dim=1).numpy()]
    np.testing.assert_array_equal(found, model.predict(X))
    return found


ZERO = [(0,), (1,), (2,), (3,), (0, 1), (1, 3), (2, 3)]


@pytest.mark.parametrize("zero", ZERO, ids=str)
@pytest.mark.parametrize(
    "machine",
    [SVC(), SVC(kernel="linear"), SVC(kernel="poly", decision_function_shape="ovo")],
    ids=str,
)
def test_machine_of_classes_without_weight_is_that_of_predict(machine, zero):
    # A NuSVC refuses such weights.
    machine = clone(machine).set_params(random_state=0)
    machine.fit(X, LABELS[Y], sample_weight=1.0 * ~np.isin(Y, zero))
    # Those that it predicts are the first, whichever had a weight.
    found = assert_predicts_alike(machine)
    np.testing.assert_array_equal(np.unique(found), machine.classes_[: 4 - len(zero)])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_machine_of_two_of_three_classes_can_be_attacked(kernel):
    y = Y % 3
    machine = SVC(kernel=kernel, random_state=0)
    machine.fit(X, y, sample_weight=1.0 * (y != 0))
    # Its own decision function is an error of numpy.
    model = BaggingClassifier(FrozenEstimator(machine), 1, random_state=0).fit(X, y)
    predicted = model.predict(X)
    attack = PGDAttack(FrozenEstimator(model), eps=8.0, clip=None, random_state=0)
    result = attack.fit(X, predicted).perturb(X, predicted)
    assert result.success.mean() > 0.5
    np.testing.assert_array_equal(machine.predict(result.X_adv), result.prediction)


def test_decision_for_each_class_needs_a_sample_of_each():
    weight = 1.0 * (Y != 0)
    machine = SVC(break_ties=True, random_state=0).fit(X, Y, sample_weight=weight)
    # In scikit-learn it is an error of numpy.
    with pytest.raises(IndexError, match=r"out of bounds"):
        machine.predict(X)
    with pytest.raises(TypeError, match=r"each of its 4 classes, as only 3 of them"):
        as_module(machine)
    ties = SVC(random_state=0).fit(X, Y, sample_weight=weight)
    frozen = CalibratedClassifierCV(FrozenEstimator(SVC(random_state=0).fit(X, Y)))
    calibrated = frozen.fit(X, Y)
    calibrated.calibrated_classifiers_[0].estimator = ties
    with pytest.raises(TypeError, match=r"each of its 4 classes, as only 3 of them"):
        as_module(calibrated)


@pytest.mark.parametrize("shape", ["ovr", "ovo"])
@pytest.mark.parametrize("n_unseen", [1, 2])
def test_ensemble_of_decisions_needs_members_that_saw_all(shape, n_unseen):
    # Those of pairs are fewer, and say nothing of which classes they are.
    weight = 1.0 * (n_unseen <= Y)
    machine = SVC(decision_function_shape=shape, random_state=0)
    machine.fit(X, Y, sample_weight=weight)
    model = CalibratedClassifierCV(FrozenEstimator(SVC(random_state=0).fit(X, Y)))
    model.fit(X, Y).calibrated_classifiers_[0].estimator = machine
    with pytest.raises(TypeError, match=r"decision for each of its 4 classes, as only"):
        as_module(model)


@pytest.mark.parametrize(
    "attack",
    [
        PGDAttack(max_iter=2, random_state=0),
        SquareAttack(max_queries=3, random_state=0),
    ],
)
def test_attack_on_a_machine_that_misses_a_class_says_what_it_needs(attack):
    machine = SVC(random_state=0).fit(X, Y, sample_weight=1.0 * (Y != 0))
    attack = clone(attack).set_params(estimator=FrozenEstimator(machine), clip=None)
    with pytest.raises(ValueError, match=r"SVC needs samples with a weight of each"):
        attack.fit(X, Y).perturb(X, Y)


def test_bagging_of_machines_that_miss_classes():
    # Samples are drawn by weights, so that classes may have none.
    model = BaggingClassifier(SVC(), 15, max_samples=7, random_state=0).fit(X, Y)
    n_trained = [len(member.n_support_) for member in model.estimators_]
    assert min(n_trained) < 4
    assert_predicts_alike(model)
