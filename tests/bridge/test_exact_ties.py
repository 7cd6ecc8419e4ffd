"""Ties of the other classifiers, where arithmetic is exact and ties are frequent.

As in test_differential, points and parameters are small integers times powers of two.
"""

import copy
import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.svm import SVC

from robustkit.bridge import as_module

N_POINTS, N_FEATURES = 2_000, 3
seeds = st.integers(0, 10**6)
n_of_classes = st.integers(2, 4)


def integers(seed, *shape, most=2):
    return np.random.RandomState(seed).randint(-most, most + 1, shape).astype(float)


@functools.cache
def fitted(cls, n_classes, **arguments):
    X = np.random.RandomState(0).normal(size=(60, N_FEATURES))
    return cls(**arguments).fit(X, np.arange(60) % n_classes + 5)


def fresh(cls, n_classes, **arguments):
    return copy.deepcopy(fitted(cls, n_classes, **arguments))


def assert_same_class(model, X):
    with torch.no_grad():
        logits = as_module(model)(torch.from_numpy(X)).numpy()
    np.testing.assert_array_equal(
        model.classes_[logits.argmax(axis=1)], model.predict(X)
    )


def points(seed):
    return integers(seed + 99, N_POINTS, N_FEATURES)


@given(seed=seeds, n_classes=n_of_classes, power=st.sampled_from([-3, 0, 3]))
def test_gaussian_classes_tie_as_predict_does(seed, n_classes, power):
    bayes = fresh(GaussianNB, n_classes)
    bayes.theta_ = 2.0**power * integers(seed, n_classes, N_FEATURES)
    bayes.var_ = np.full((n_classes, N_FEATURES), 4.0**power)
    bayes.class_prior_ = np.full(n_classes, 1 / n_classes)
    assert_same_class(bayes, 2.0**power * points(seed))
    analysis = fresh(QuadraticDiscriminantAnalysis, n_classes)
    analysis.means_ = bayes.theta_
    analysis.rotations_ = [np.eye(N_FEATURES)] * n_classes
    analysis.scalings_ = [np.full(N_FEATURES, 4.0**power)] * n_classes
    analysis.priors_ = bayes.class_prior_
    assert_same_class(analysis, 2.0**power * points(seed))


@given(
    seed=seeds,
    n_classes=n_of_classes,
    metric=st.sampled_from(["euclidean", "manhattan"]),
)
def test_nearest_centroids_tie_as_predict_does(seed, n_classes, metric):
    model = fresh(NearestCentroid, n_classes, metric=metric)
    model.centroids_ = integers(seed, n_classes, N_FEATURES)
    assert_same_class(model, points(seed))


@given(
    seed=seeds,
    n_classes=n_of_classes,
    break_ties=st.booleans(),
    kernel=st.sampled_from([("poly", 2), ("poly", 3), ("rbf", 3)]),
)
def test_support_vector_machines_tie_as_predict_does(
    seed, n_classes, break_ties, kernel
):
    kernel, degree = kernel
    model = fresh(
        SVC,
        n_classes,
        kernel=kernel,
        degree=degree,
        gamma=1.0,
        coef0=1.0,
        break_ties=break_ties,
        random_state=0,
    )
    shape = model._dual_coef_.shape
    if kernel == "poly":
        model.support_vectors_ = integers(seed, *model.support_vectors_.shape, most=1)
        model._dual_coef_ = integers(seed + 1, *shape)
        model._intercept_ = integers(seed + 2, *model._intercept_.shape)
    else:
        # No sum of exponentials is exact: only where nothing is summed.
        model._dual_coef_ = np.zeros(shape)
        model._intercept_ = integers(seed + 2, *model._intercept_.shape, most=1)
    sign = -1 if n_classes == 2 else 1
    model.dual_coef_ = sign * model._dual_coef_
    model.intercept_ = sign * model._intercept_
    assert_same_class(model, points(seed))


def a_line(seed, n_classes, cls=RidgeClassifier):
    model = fresh(cls, n_classes)
    n_rows = 1 if n_classes == 2 else n_classes
    model.coef_ = integers(seed, n_rows, N_FEATURES)
    model.intercept_ = integers(seed + 1, n_rows)
    return model


@given(
    seed=seeds,
    n_classes=n_of_classes,
    weights=st.sampled_from([None, [1, 1, 1], [2, 1, 1], [0.3, 0.1, 0.2], [1, 0, 1]]),
)
def test_votes_tie_as_predict_does(seed, n_classes, weights):
    members = [(f"m{k}", a_line(seed + 10 * k, n_classes)) for k in range(3)]
    names = [name for name, _ in members]
    vote = VotingClassifier(members, weights=weights)
    y = np.arange(n_classes) + 5
    vote.fit(integers(0, n_classes, N_FEATURES), y)
    vote.estimators_ = [model for _, model in members]
    for model in vote.estimators_:
        # A member of a vote is fitted to the numbers of the classes.
        model.classes_ = np.arange(n_classes)
        model._label_binarizer.classes_ = model.classes_
    assert names == [name for name, _ in vote.estimators]
    assert_same_class(vote, points(seed))


@given(seed=seeds, n_classes=st.integers(3, 4))
def test_one_vs_rest_ties_as_predict_does(seed, n_classes):
    model = fresh(OneVsRestClassifier, n_classes, estimator=_binary_svc())
    for place, member in enumerate(model.estimators_):
        coef = integers(seed + place, *member._dual_coef_.shape)
        member._dual_coef_, member.dual_coef_ = coef, -coef
        member.support_vectors_ = integers(seed, *member.support_vectors_.shape, most=1)
        member._intercept_ = integers(seed + 9 * place, 1)
        member.intercept_ = -member._intercept_
    assert_same_class(model, points(seed))


@functools.cache
def _binary_svc():
    return SVC(kernel="poly", degree=2, gamma=1.0, coef0=1.0, random_state=0)


@given(
    seed=seeds,
    threshold=st.sampled_from([-1.0, 0.0, 2.0]),
    label=st.sampled_from([None, 5, 6]),
)
def test_threshold_itself_counts_as_predict_does(seed, threshold, label):
    frozen = FrozenEstimator(a_line(seed, 2))
    model = FixedThresholdClassifier(
        frozen,
        threshold=threshold,
        pos_label=label,
        response_method="decision_function",
    )
    if label is None:
        frozen.estimator.classes_ = np.array([0, 1])
        frozen.estimator._label_binarizer.classes_ = np.array([0, 1])
    model.fit(points(seed)[:9], frozen.estimator.classes_[np.arange(9) % 2])
    assert_same_class(model, points(seed))


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 1e-300, 0.5, 1 - 2**-53, 1.0, 1.5])
@pytest.mark.parametrize("label", [5, 6])
def test_any_threshold_of_a_probability_is_that_of_predict(threshold, label):
    frozen = FrozenEstimator(a_line(1, 2, LogisticRegression))
    model = FixedThresholdClassifier(frozen, threshold=threshold, pos_label=label)
    model.fit(points(0)[:9], np.arange(9) % 2 + 5)
    assert_same_class(model, np.concatenate([points(0), 100 * points(1)]))


TWINS = {
    "bagging": BaggingClassifier(LogisticRegression(), 3, random_state=0),
    "stacking": StackingClassifier([("line", LogisticRegression())], cv=2),
    "sigmoid": CalibratedClassifierCV(LogisticRegression(), cv=2),
    "isotonic": CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2),
    "temperature": CalibratedClassifierCV(
        LogisticRegression(), method="temperature", cv=2
    ),
    "against the rest": OneVsRestClassifier(GaussianNB()),
    "soft vote": VotingClassifier([("bayes", GaussianNB())], voting="soft"),
}


@pytest.mark.parametrize("name", TWINS)
def test_first_of_two_equal_classes_is_predicted(name):
    # Two classes of the very same samples: all that is learned of them is equal.
    rng = np.random.RandomState(0)
    X = rng.normal(size=(40, N_FEATURES))
    X, y = np.concatenate([X, X, X + 3]), np.repeat([5, 6, 7], 40)
    model = clone(TWINS[name]).fit(X, y)
    points = rng.normal(size=(N_POINTS, N_FEATURES)) * 2
    with torch.no_grad():
        logits = as_module(model)(torch.from_numpy(points)).numpy()
    differs = model.classes_[logits.argmax(axis=1)] != model.predict(points)
    top = np.sort(model.predict_proba(points), axis=1)
    gap = top[:, -1] - top[:, -2]
    assert not (differs & ((gap == 0) | (gap > 1e-12))).any()
