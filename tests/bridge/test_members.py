"""What an ensemble gets from its members: delegates, zeros, missing classes, labels."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from robustkit.bridge import as_module
from robustkit.defenses import WeakRegionRefiner
from robustkit.topology import MapperGraph

X, Y = make_blobs(120, 4, centers=3, random_state=0, cluster_std=3)
FAR = np.random.RandomState(0).normal(size=(2000, 4)) * 6
LABELS = np.array(["no", "a", "yes"])
# So large that numbers of ordinary size all look the same after a scaler.
BIG, BIG_FAR = 1e6 * X + 1e6, 1e6 * FAR + 1e6


def scaled(model):
    return make_pipeline(StandardScaler(), model)


LINE = LogisticRegression()
SGD = SGDClassifier("log_loss", random_state=0)
MACHINES = BaggingClassifier(scaled(LinearSVC(random_state=0)), 7, random_state=1)
LINES = BaggingClassifier(scaled(LINE), 4, max_samples=0.3, random_state=0)
SELECTED = RFE(
    scaled(SGD),
    importance_getter="named_steps.sgdclassifier.coef_",
    n_features_to_select=3,
)


def logits_of(model, X):
    with torch.no_grad():
        logits = as_module(model)(torch.from_numpy(X)).numpy()
    assert np.isfinite(logits).all()
    assert logits.shape == (len(X), len(model.classes_))
    return logits


def assert_is_the_model(model, X, has_probabilities=True):
    logits, expected = logits_of(model, X), model.predict(X)
    found = model.classes_[logits.argmax(axis=1)]
    np.testing.assert_array_equal(found, expected)
    if has_probabilities:
        softmax = torch.from_numpy(logits).softmax(dim=1).numpy()
        expected = model.predict_proba(X)
        # Those of one class against the rest may be zero for all classes.
        total = expected.sum(axis=1, keepdims=True)
        expected = np.where(total > 0, expected / np.where(total > 0, total, 1), 0)
        some = total[:, 0] > 0
        np.testing.assert_allclose(softmax[some], expected[some], rtol=0, atol=1e-9)


def name_of(value):
    return " ".join(str(value).split())[:40]


@pytest.mark.parametrize("member", [SELECTED, LINES], ids=name_of)
def test_delegate_answers_with_the_probabilities_of_its_model(member):
    members = [("it", member), ("line", scaled(LINE))]
    vote = VotingClassifier(members, voting="soft").fit(BIG, Y)
    assert_is_the_model(vote, BIG_FAR)
    stack = StackingClassifier(members, cv=2, stack_method="predict_proba")
    assert_is_the_model(stack.fit(BIG, Y), BIG_FAR)


def test_refiner_answers_with_the_probabilities_of_its_model():
    refiner = WeakRegionRefiner(
        SGD, MapperGraph(n_intervals=4), budget=5, max_epochs=1, random_state=0
    )
    members = [("it", refiner), ("line", LINE)]
    # The softmax of its logits is something else.
    vote = VotingClassifier(members, voting="soft").fit(X, Y)
    assert_is_the_model(vote, FAR)
    stack = StackingClassifier(
        members, scaled(LINE), cv=2, stack_method="decision_function"
    )
    assert_is_the_model(stack.fit(X, Y), FAR)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "member",
    [
        SELECTED,
        BaggingClassifier(scaled(SVC()), 4, max_samples=0.8, random_state=0),
        BaggingClassifier(LINE, 5, max_features=0.5, random_state=0),
    ],
    ids=name_of,
)
def test_delegate_answers_with_the_decisions_of_its_model(member, n_classes):
    y = np.minimum(Y, n_classes - 1)
    stack = StackingClassifier(
        [("it", member)], cv=2, stack_method="decision_function"
    ).fit(BIG, y)
    assert_is_the_model(stack, BIG_FAR)


def test_counted_votes_are_no_probabilities():
    """At a small scale all its probabilities of trial rows would be equal."""
    vote = VotingClassifier([("it", MACHINES), ("line", scaled(LINE))], voting="soft")
    inner = BaggingClassifier(SVC(), 3, random_state=1)
    nested = BaggingClassifier(inner, 3, random_state=1)
    for model in (vote.fit(BIG, Y), nested.fit(X, np.minimum(Y, 1))):
        with pytest.raises(TypeError, match=r"without predict_proba are counted votes"):
            as_module(model)
    # They are a class, though.
    assert_is_the_model(MACHINES.fit(BIG, Y), BIG_FAR, has_probabilities=False)


STEPS = CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3)


@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(STEPS),
        CalibratedClassifierCV(OneVsRestClassifier(STEPS), cv=3),
        CalibratedClassifierCV(OneVsRestClassifier(STEPS), method="isotonic", cv=3),
        VotingClassifier(
            [("steps", OneVsRestClassifier(STEPS)), ("bayes", GaussianNB())],
            voting="soft",
        ),
        StackingClassifier([("steps", OneVsRestClassifier(STEPS))], cv=3),
        BaggingClassifier(OneVsRestClassifier(STEPS), 3, random_state=0),
    ],
    ids=name_of,
)
def test_no_class_against_the_rest_stays_without_probability(model):
    alone = OneVsRestClassifier(STEPS).fit(X, Y)
    assert (alone.predict_proba(FAR).sum(axis=1) == 0).sum() > 50
    is_alone = isinstance(model, OneVsRestClassifier)
    assert_is_the_model(model.fit(X, LABELS[Y]), FAR, has_probabilities=not is_alone)


def folds(*missing):
    """Splits where the first samples lack some classes, and the last have them."""
    return [
        (np.flatnonzero(~np.isin(y4(), which))[:70], np.arange(60, 120))
        for which in missing
    ]


def y4():
    return make_blobs(120, 4, centers=4, random_state=0, cluster_std=3)[1]


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
@pytest.mark.parametrize("model", [GaussianNB(), LINE], ids=name_of)
@pytest.mark.parametrize("missing", [(3, 0), (1, 2), ((0, 2), (1, 3)), ((2, 3), 0)])
def test_calibration_of_folds_that_lack_classes(method, model, missing):
    X = make_blobs(120, 4, centers=4, random_state=0, cluster_std=3)[0]
    y = np.array(["d", "b", "c", "a"])[y4()]
    model = CalibratedClassifierCV(model, method=method, cv=folds(*missing))
    model.fit(X, y)
    n_known = [len(m.estimator.classes_) for m in model.calibrated_classifiers_]
    # What a member of two classes knows, scikit-learn gives to the first of them.
    assert max(n_known) < 4
    assert_is_the_model(model, 3 * FAR)


def frozen(model, y, rows=slice(None)):
    return FrozenEstimator(model.fit(X[rows], y[rows]))


LATER = Y > 0


@pytest.mark.parametrize("weights", [None, [2, 1, 2]])
def test_frozen_member_of_a_hard_vote_knows_some_classes(weights):
    line = frozen(LogisticRegression(max_iter=1000), Y, LATER)
    members = [("line", line), ("bayes", GaussianNB()), ("again", line)]
    assert_is_the_model(VotingClassifier(members[:1]).fit(X, LABELS[Y]), FAR, False)
    vote = VotingClassifier(members, weights=weights)
    assert_is_the_model(vote.fit(X, LABELS[Y]), FAR, False)
    # Its probabilities have no place among those of the others.
    vote.set_params(voting="soft").fit(X, Y)
    with pytest.raises(ValueError, match=r"inhomogeneous"):
        vote.predict(X)
    with pytest.raises(TypeError, match=r"Member 'line'.*of 2 classes, not of all 3"):
        as_module(vote)


@pytest.mark.parametrize("soft", [False, True])
def test_frozen_member_of_bagging(soft):
    model = GaussianNB() if soft else LinearSVC(random_state=0)
    known = frozen(model, Y)
    bag = BaggingClassifier(known, 3, random_state=0)
    assert_is_the_model(bag.fit(X, LABELS[Y]), FAR, soft)
    later = frozen(clone(model), Y, LATER)
    bag = BaggingClassifier(later, 3, random_state=0)
    assert_is_the_model(bag.fit(X, LABELS[Y]), FAR, soft)
    # As many probabilities as classes are added up by place, whatever their labels.
    for labels in (Y + 5, LABELS[Y]):
        bag = BaggingClassifier(frozen(clone(model), labels), 3, random_state=0)
        bag.fit(X, labels)
        if soft:
            assert_is_the_model(bag, FAR)
            continue
        with pytest.raises(IndexError, match=r"index|indices"):
            bag.predict(X)
        with pytest.raises(TypeError, match=r"Member 0.*numbers its classes from 0"):
            as_module(bag)


def test_frozen_member_with_labels_of_its_own_is_refused():
    vote = VotingClassifier([("it", frozen(GaussianNB(), Y + 5))]).fit(X, Y + 5)
    with pytest.raises(TypeError, match=r"'it'.*\[5, 6, 7\], but the ensemble numbers"):
        as_module(vote)
    two = np.minimum(Y, 1) == 1
    yes = VotingClassifier([("it", frozen(GaussianNB(), two))]).fit(X, two)
    assert_is_the_model(yes, FAR, False)


def test_frozen_last_estimator_of_a_stack_knows_some_classes():
    bayes = GaussianNB().fit(X, Y)
    last = GaussianNB().fit(bayes.predict_proba(X)[LATER], Y[LATER])
    stack = StackingClassifier(
        [("bayes", FrozenEstimator(bayes))], FrozenEstimator(last), cv="prefit"
    ).fit(X, LABELS[Y])
    assert_is_the_model(stack, FAR, False)


def test_frozen_member_against_the_rest_decides_between_two():
    model = OneVsRestClassifier(frozen(LINE, Y)).fit(X, Y)
    with pytest.raises(ValueError, match=r"broadcast"):
        model.predict(X)
    with pytest.raises(TypeError, match=r"Member 0 of OneVsRest.*3 classes.*needs 2"):
        as_module(model)
