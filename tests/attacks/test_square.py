"""Random search with squares: sound, inside the ball, strong where all is known."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.naive_bayes import BernoulliNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from robustkit import SparseNetClassifier, SquareAttack
from robustkit.attacks._attacked_model import AttackedModel
from robustkit.attacks._decision_tree import nearest_in_other_leaf
from robustkit.attacks._square import _shrunk


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(
        200, 6, n_informative=4, n_classes=3, random_state=0, class_sep=0.7
    )
    return (X - X.min(axis=0)) / np.ptp(X, axis=0), y


def frozen(model, X, y, **params):
    attack = SquareAttack(FrozenEstimator(model), random_state=0, **params)
    return attack.fit(X, y)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_finds_nearly_all_that_a_decision_tree_allows(table, norm):
    X, y = table
    tree = DecisionTreeClassifier(max_depth=6, random_state=0).fit(X, y)
    label = tree.predict(X)
    distance = nearest_in_other_leaf(tree, X, label, norm=norm, clip=(0, 1))[1]
    eps = float(np.quantile(distance, 0.6))
    result = frozen(tree, X, y, norm=norm, eps=eps, max_queries=500).perturb(X, label)
    # Sound: nothing is found where nothing is.
    assert not (result.success & (distance > eps)).any()
    assert result.success[distance < 0.95 * eps].mean() >= 0.9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_square_reaches_the_worst_corner_of_a_linear_model(table, dtype):
    X, y = table[0].astype(dtype), table[1] > 0
    model = LogisticRegression(C=100).fit(X, y)
    w, sign = model.coef_[0], np.where(y, 1, -1)
    corner = np.clip(X - 0.1 * sign[:, None] * np.sign(w), 0, 1)
    exact = np.mean(model.predict(corner) == y)
    attack = frozen(model, X, y, eps=0.1, max_queries=300)
    assert attack.score(X, y) == exact
    assert exact < model.score(X, y)


@pytest.mark.parametrize("image_shape", [None, (8, 8)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_with_one_eps_per_sample_attacks_each_with_its_own(
    digits, norm, image_shape
):
    X, y = digits[0][:40], digits[1][:40]
    forest = RandomForestClassifier(5, random_state=0).fit(*digits)
    params = {"norm": norm, "max_queries": 30, "image_shape": image_shape}
    eps = np.tile([0.0, 0.05, 0.2, 0.5], 10)[:, None]
    result = frozen(forest, X, y, eps=eps, **params).perturb(X, y)
    for value in np.unique(eps):
        rows = eps[:, 0] == value
        alone = frozen(forest, X, y, eps=value, **params).perturb(X[rows], y[rows])
        np.testing.assert_array_equal(result.X_adv[rows], alone.X_adv)
        np.testing.assert_array_equal(result.n_queries[rows], alone.n_queries)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_square_with_one_eps_per_feature_reaches_the_worst_corner(table, dtype):
    X, y = table[0].astype(dtype), table[1] > 0
    model = LogisticRegression(C=100).fit(X, y)
    eps = np.linspace(0, 0.15, X.shape[1])
    w, sign = model.coef_[0], np.where(y, 1, -1)
    corner = np.clip(X - eps * sign[:, None] * np.sign(w), 0, 1)
    exact = np.mean(model.predict(corner) == y)
    attack = frozen(model, X, y, eps=eps, max_queries=300)
    assert attack.score(X, y) == exact
    assert exact < model.score(X, y)
    move = np.abs(attack.perturb(X, y).X_adv - X)
    assert (move <= eps * (1 + np.finfo(dtype).eps) + np.finfo(dtype).eps).all()


def test_square_with_equal_eps_per_feature_is_that_with_one_number(digits):
    X, y = digits
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    one, many = (
        frozen(forest, X, y, eps=eps, max_queries=30).perturb(X[:40], y[:40])
        for eps in (0.1, np.full(64, 0.1))
    )
    np.testing.assert_array_equal(one.X_adv, many.X_adv)


@pytest.mark.parametrize(
    ("eps", "norm", "words"),
    [
        ([0.1, 0.2], "linf", r"'eps'.*shape \(6,\).*Got the shape \(2,\)\.$"),
        ([0.1] * 6, "l2", r"norm='l2'.*'eps'.*Got 6 numbers per sample\.$"),
        ([0.1] * 5 + [-1.0], "linf", r"'eps'.*Got -1\.0 at \[5\] instead\.$"),
    ],
)
def test_square_names_a_wrong_array_of_eps_on_one_line(table, eps, norm, words):
    X, y = table
    attack = frozen(LogisticRegression().fit(X, y), X, y, eps=eps, norm=norm)
    with pytest.raises(ValueError, match=words) as caught:
        attack.perturb(X, y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("image_shape", [None, (8, 8), (1, 8, 8), (2, 4, 8), (4, 2, 8)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_stays_in_the_ball_and_the_clip_range(digits, norm, image_shape):
    X, y = digits
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    eps = 0.2 if norm == "linf" else 0.8
    attack = frozen(
        forest, X, y, norm=norm, eps=eps, max_queries=60, image_shape=image_shape
    )
    result = attack.perturb(X[:50], y[:50])
    move = result.X_adv - X[:50]
    length = np.linalg.norm(move, ord=np.inf if norm == "linf" else 2, axis=1)
    assert length.max() <= eps * (1 + 1e-12)
    assert result.X_adv.min() >= 0
    assert result.X_adv.max() <= 1
    assert result.success.mean() > 0.3
    np.testing.assert_array_equal(forest.predict(result.X_adv), result.prediction)
    assert result.n_queries.max() <= 60
    assert (
        result.n_queries[~result.success & (y[:50] == result.clean_prediction)] == 60
    ).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_does_not_depend_on_order_subset_or_batch_size(digits, norm):
    X, y = digits
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, y)
    params = {"norm": norm, "eps": 0.1, "max_queries": 40}
    whole = frozen(model, X, y, **params).perturb(X[:40], y[:40])
    order = np.random.RandomState(0).permutation(40)[:23]
    some = frozen(model, X, y, batch_size=7, **params).perturb(X[order], y[order])
    np.testing.assert_array_equal(some.X_adv, whole.X_adv[order])
    np.testing.assert_array_equal(some.n_queries, whole.n_queries[order])


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        KNeighborsClassifier(3),
        SVC(random_state=0),
        BernoulliNB(binarize=0.5),
        make_pipeline(KBinsDiscretizer(4), LogisticRegression()),
        SparseNetClassifier(max_epochs=2, random_state=0),
    ],
    ids=lambda model: str(model)[:40],
)
def test_square_attacks_models_of_all_kinds(table, model):
    X, y = table
    model.fit(X, y)
    attack = frozen(model, X, y, eps=0.15, max_queries=60)
    result = attack.perturb(X[:60], y[:60])
    assert result.success.any()
    np.testing.assert_array_equal(model.predict(result.X_adv), result.prediction)


def test_predict_has_the_last_word(table):
    X, y = table[0], table[1] > 0
    forest = RandomForestClassifier(20, random_state=0)
    model = FixedThresholdClassifier(forest, threshold=0.8).fit(X, y)
    attack = frozen(model, X, y, eps=0.15, max_queries=100)
    result = attack.perturb(X, y)
    np.testing.assert_array_equal(model.predict(result.X_adv), result.prediction)
    assert (
        result.success == ((result.clean_prediction == y) & (result.prediction != y))
    ).all()
    # A vote of .6 is wrong for `predict` and right for the largest probability.
    missed = model.estimator_.predict(result.X_adv) == y
    assert (result.success & missed).any()


class Shifted(ClassifierMixin, BaseEstimator):
    """A classifier with a threshold, whose largest score is what it predicts."""

    def __init__(self, model, threshold):
        self.model, self.threshold = model, threshold
        self.classes_ = model.classes_

    def decision_function(self, X):
        return self.model.predict_proba(X)[:, 1] - self.threshold

    def predict(self, X):
        return (self.decision_function(X) >= 0).astype(int)

    def fit(self, X, y):
        return self


@pytest.mark.parametrize("threshold", [0.2, 0.8, 0.9])
def test_a_threshold_of_its_own_is_no_protection(threshold):
    X, y = make_classification(400, 12, n_informative=8, flip_y=0.05, random_state=0)
    X = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    neighbors = KNeighborsClassifier(25, weights="distance").fit(X[:300], y[:300])
    params = {"threshold": threshold}
    results = [
        frozen(model, X, y, eps=0.12, max_queries=150).perturb(X[300:], y[300:])
        for model in (
            FixedThresholdClassifier(FrozenEstimator(neighbors), **params).fit(X, y),
            Shifted(neighbors, **params),
        )
    ]
    own, shifted = results
    np.testing.assert_array_equal(own.clean_prediction, shifted.clean_prediction)
    np.testing.assert_array_equal(own.success, shifted.success)
    np.testing.assert_array_equal(own.n_queries, shifted.n_queries)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda svc: svc,
        lambda svc: make_pipeline(KBinsDiscretizer(8, encode="ordinal"), svc),
        lambda svc: FrozenEstimator(GridSearchCV(svc, {"C": [1.0]}, cv=2)),
        lambda svc: BaggingClassifier(svc, 1, random_state=0),
        lambda svc: AdaBoostClassifier(svc, n_estimators=2, random_state=0),
        lambda svc: StackingClassifier(
            [("nb", BernoulliNB(binarize=0.5))], svc, cv=2, passthrough=True
        ),
    ],
    ids=["alone", "pipeline", "search", "bagging", "boosting", "stacking"],
)
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_scores_by_pairs_of_classes_are_those_by_class(wrap, n_classes):
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    X, y = X[:90] / 16, y[:90]
    scores, probabilities = [], []
    for shape in ("ovr", "ovo"):
        model = wrap(SVC(decision_function_shape=shape, random_state=0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            getattr(model, "estimator", model).fit(X, y)
            model.fit(X, y)
        asked = AttackedModel(model, None, torch.device("cpu"))
        scores.append(asked.scores(X))
        probabilities.append(asked.probabilities(X))
    assert scores[0].shape == (90, n_classes)
    np.testing.assert_array_equal(*scores)
    np.testing.assert_array_equal(*probabilities)


def test_decisions_that_no_class_owns_are_refused(table):
    class Odd(LogisticRegression):
        predict_proba = property()

        def decision_function(self, X):
            return super().decision_function(X)[:, :2]

    X, y = table
    attack = frozen(Odd().fit(X, y), X, y)
    with pytest.raises(ValueError, match=r"each of the 3 classes\. It has 2;"):
        attack.perturb(X, y)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_targeted_square_reaches_the_target(digits, norm):
    X, y = digits
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    attack = frozen(
        forest,
        X,
        y,
        norm=norm,
        eps=0.6 if norm == "linf" else 3.0,
        max_queries=300,
        targeted=True,
        image_shape=(8, 8),
    )
    target = (y[:30] + 1) % 10
    result = attack.perturb(X[:30], y[:30], target)
    assert result.success.mean() > 0.5
    np.testing.assert_array_equal(
        forest.predict(result.X_adv[result.success]), target[result.success]
    )


def test_moves_sideways_cross_the_plateaus_of_neighbors():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    neighbors = KNeighborsClassifier(5).fit(X[:800], y[:800])
    params = {"eps": 0.1, "image_shape": (8, 8), "max_queries": 600}
    attack = frozen(neighbors, X[:800], y[:800], **params)
    # With nothing but moves that lower the margin it is above .9.
    assert attack.score(X[1000:1100], y[1000:1100]) < 0.85


def test_square_refuses_a_model_without_scores(table):
    X, y = table
    votes = VotingClassifier(
        [("tree", DecisionTreeClassifier(random_state=0))], voting="hard"
    )
    with pytest.raises(TypeError, match="VotingClassifier has neither"):
        SquareAttack(votes).fit(X, y)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"max_queries": 0}, "max_queries"),
        ({"eps": -1}, "eps"),
        ({"norm": "l1"}, "norm"),
        ({"initial_share": 1.5}, "initial_share"),
        ({"image_shape": (2, 2)}, "image_shape"),
    ],
)
def test_square_names_a_wrong_parameter(table, params, words):
    X, y = table
    with pytest.raises(ValueError, match=words):
        SquareAttack(LogisticRegression(), **params).fit(X, y)


def test_the_smallest_budget_is_one_query(digits):
    X, y = digits
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    result = frozen(forest, X, y, max_queries=1).perturb(X[:20], y[:20])
    assert result.n_queries.max() == 1
    assert frozen(forest, X, y, eps=0).perturb(X[:20], y[:20]).success.sum() == 0


def test_squares_shrink_as_published():
    """Andriushchenko et al. halve the share at these queries of 10,000."""
    halved = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    queries = np.arange(10_000)
    n_halvings = np.searchsorted(halved, queries, side="right")
    shares = [_shrunk(0.8, query / 10_000) for query in queries]
    np.testing.assert_array_equal(shares, 0.8 / 2**n_halvings)
