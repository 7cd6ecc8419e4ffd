"""Several attacks as one."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from robustkit import (
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    MinimalDistanceAttack,
    ModuleAttack,
    OnePixelAttack,
    PGDAttack,
    SquareAttack,
    best_of,
    robust_scorer,
)
from robustkit.attacks._result import median_distance


class Shift(ModuleAttack):
    """Add the same number to every feature."""

    def __init__(self, estimator=None, *, by=0.1, eps=0.3, norm="linf"):
        super().__init__(estimator, eps=eps, norm=norm)
        self.by = by

    def perturb_module(self, module, X, y):
        return X + self.by


class Constant(LogisticRegression):
    """Predicts the same whatever it is asked about."""

    def __init__(self):
        super().__init__()
        X = np.zeros((10, 64))
        self.fit(X, np.arange(10))
        self.intercept_[0] = 1


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


@pytest.fixture(scope="module")
def model(data):
    return FrozenEstimator(LogisticRegression(C=10).fit(*data))


def test_every_sample_meets_the_strongest_attack(data, model):
    X, y = data
    parts = [Shift(by=0.3), FGSMAttack(eps=0.1), FGSMAttack(eps=0.2)]
    result = best_of(parts, estimator=model).fit(X, y).perturb(X, y)
    alone = [
        clone(p).set_params(estimator=model).fit(X, y).perturb(X, y) for p in parts
    ]
    names = np.array(["shift", "fgsmattack-1", "fgsmattack-2"])
    success = np.array([part.success for part in alone])
    np.testing.assert_array_equal(result.success, success.any(axis=0))
    # The first that fools is the one that is named, and whose point is returned.
    first = success.argmax(axis=0)
    assert len(set(first[result.success])) == 3
    np.testing.assert_array_equal(
        result.attack[result.success], names[first[result.success]]
    )
    assert all(name is None for name in result.attack[~result.success])
    for i in np.flatnonzero(result.success):
        np.testing.assert_array_equal(result.X_adv[i], alone[first[i]].X_adv[i])
    np.testing.assert_array_equal(model.predict(result.X_adv), result.prediction)
    # What is fooled is left alone by the next ones, and wrong samples by all.
    tried = np.where(success.any(axis=0), first + 1, len(parts))
    tried[result.clean_prediction != y] = 0
    assert result.n_queries.sum() < len(parts) * len(X)
    assert (result.n_queries[tried == 1] <= alone[0].n_queries[tried == 1]).all()


def test_of_attacks_that_search_for_a_distance_the_nearest_counts(data, model):
    X, y = data
    parts = [
        GrowingEpsilonAttack(step=0.05),
        GrowingEpsilonAttack(start=0.03, step=0.05),
    ]
    result = best_of(parts, estimator=model).fit(X, y).perturb(X, y)
    alone = [
        clone(p).set_params(estimator=model).fit(X, y).perturb(X, y) for p in parts
    ]
    of_all = np.min([np.where(p.success, p.eps, np.inf) for p in alone], axis=0)
    np.testing.assert_array_equal(result.eps[result.success], of_all[result.success])
    names = {"growingepsilonattack-1", "growingepsilonattack-2", None}
    assert set(result.attack) == names


def test_report_says_which_attack_found_how_many(data, model):
    X, y = data
    attack = best_of([FGSMAttack(eps=0.05), PGDAttack(eps=0.05, random_state=0)])
    report = attack.set_params(estimator=model).fit(X, y).report(X, y)
    counts = report[["n_success_fgsmattack", "n_success_pgdattack"]]
    assert counts.sum() == report["n_success"]
    assert report["n_success_fgsmattack"] > 0


def test_it_is_an_attack_like_any_other(data, model):
    X, y = data
    attack = best_of([FGSMAttack(eps=0.05), Shift(by=0.1)])
    score = robust_scorer(attack)(model, X, y)
    assert score == attack.set_params(estimator=model).fit(X, y).score(X, y)
    X_adv = attack.transform(X)
    assert X_adv.shape == X.shape
    search = GridSearchCV(
        best_of([FGSMAttack(LogisticRegression(max_iter=200))]),
        {"fgsmattack__eps": [0.01, 0.1], "estimator__C": [0.1]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    small, large = search.cv_results_["mean_test_score"]
    assert small > large


def test_targets_reach_every_attack(data, model):
    X, y = data
    parts = [
        PGDAttack(eps=0.15, targeted=True, random_state=0),
        PGDAttack(eps=0.3, targeted=True, random_state=0),
    ]
    attack = best_of(parts, estimator=model).fit(X, y)
    target = (y + 1) % 10
    result = attack.perturb(X, y, target)
    assert set(result.attack) == {"pgdattack-1", "pgdattack-2", None}
    np.testing.assert_array_equal(
        model.predict(result.X_adv[result.success]), target[result.success]
    )


def test_joined_attacks_can_be_joined_again(data, model):
    X, y = data
    inner = best_of([FGSMAttack(eps=0.05), FGSMAttack(eps=0.1)])
    attack = best_of([inner, PGDAttack(eps=0.15, random_state=0)], estimator=model)
    result = attack.fit(X, y).perturb(X, y)
    names = [name for name, _ in attack.attacks]
    assert names == ["fgsmattack-1", "fgsmattack-2", "pgdattack"]
    assert set(result.attack) == {*names, None}
    targeted = best_of([PGDAttack(targeted=True)])
    with pytest.raises(ValueError, match="all be targeted"):
        best_of([targeted, FGSMAttack()], estimator=model).fit(X, y)


def test_the_model_of_the_attacks_is_found(model):
    attack = best_of([FGSMAttack(model), SquareAttack(model), FGSMAttack()])
    assert attack.estimator is model
    assert all(part.estimator is None for _, part in attack.attacks)


@pytest.mark.parametrize("first", [LeastLikelyAttack(eps=0.1), FGSMAttack(eps=0.06)])
def test_a_class_that_one_attack_has_chosen_is_no_target_of_the_others(
    data, model, first
):
    X, y = data
    parts = [first, PGDAttack(eps=0.1, random_state=0)]
    result = best_of(parts, estimator=model).fit(X, y).perturb(X, y)
    alone = [clone(p).set_params(estimator=model).fit(X, y).score(X, y) for p in parts]
    assert result.target is None
    withstood = (result.clean_prediction == y) & (result.prediction == y)
    assert withstood.mean() <= min(alone)
    assert len(set(result.attack)) == 3


def test_every_attack_has_the_eps_of_the_sample(data, model):
    X, y = data
    eps = np.linspace(0.01, 0.1, len(X))[:, None]
    parts = [FGSMAttack(eps=eps), PGDAttack(eps=2 * eps, random_state=0)]
    attack = best_of(parts, estimator=model).fit(X, y)
    result = attack.perturb(X, y)
    most = np.where(result.attack == "fgsmattack", 1, 2) * eps.ravel()
    assert (result.eps <= most + 1e-6).all()
    alone = [
        clone(p).set_params(estimator=model).fit(X, y).perturb(X, y) for p in parts
    ]
    np.testing.assert_array_equal(result.success, alone[0].success | alone[1].success)
    by_second = result.attack == "pgdattack"
    assert by_second.any()
    np.testing.assert_allclose(
        result.X_adv[by_second], alone[1].X_adv[by_second], atol=1e-6
    )
    # The attacks that were fitted stay as they were.
    assert len(attack.attacks_[1][1].eps) == len(X)


def test_of_a_training_run_there_is_but_one_model():
    model = LogisticRegression()
    same = [FGSMAttack(FrozenEstimator(model)), PGDAttack(FrozenEstimator(model))]
    assert best_of(same).estimator.estimator is model
    for other in (model, FrozenEstimator(LogisticRegression())):
        with pytest.raises(ValueError, match="the same model"):
            best_of([FGSMAttack(FrozenEstimator(model)), PGDAttack(other)])


def test_distances_are_scored_by_their_median(data, model):
    X, y = data[0][:60], data[1][:60].copy()
    # One is wrong from the start.
    y[0] = (y[0] + 1) % 10
    grow, nearest = GrowingEpsilonAttack(step=0.02, stop=0.07), MinimalDistanceAttack()
    blind = Shift(by=0.2, eps=None)
    alone = MinimalDistanceAttack(model).fit(*data).perturb(X, y)
    for parts in ([nearest, grow], [grow, nearest], [blind, grow, nearest]):
        attack = best_of(parts, estimator=model).fit(*data)
        result = attack.perturb(X, y)
        np.testing.assert_array_equal(result.distance, result.eps)
        assert (result.distance <= alone.distance * (1 + 1e-6)).all()
        assert result.distance[0] == 0
        assert attack.score(X, y) == attack.report(X, y)["median_distance"] > 0
        weights = (np.arange(60) < 10) * 1.0
        assert attack.score(X, y, weights) == median_distance(result.distance[:10])
        assert attack.report(X, y)["median_distance"] == attack.score(X, y)
    weak = best_of([blind, nearest], estimator=model).fit(*data)
    constant = weak.set_params(estimator=FrozenEstimator(Constant())).fit(*data)
    none = constant.perturb(X[1:], np.zeros(59, dtype=int))
    assert np.isinf(none.distance).all()
    assert np.isinf(none.eps).all()
    # Attacks that report no distance alone report none together.
    only_grow = best_of([grow, grow], estimator=model).fit(*data)
    assert only_grow.perturb(X, y).distance is None
    assert only_grow.score(X, y) == only_grow.report(X, y)["robust_accuracy"]


def test_a_sample_whose_label_is_its_target_has_no_distance(data, model):
    X, y = data[0][:20], data[1][:20]
    parts = [MinimalDistanceAttack(targeted=True, max_iter=n) for n in (10, 20)]
    result = best_of(parts, estimator=model).fit(*data).perturb(X, y, target=y[0])
    np.testing.assert_array_equal(np.isnan(result.distance), y == y[0])


def test_union_of_two_balls_has_no_length(data, model):
    X, y = data
    cube, ball = PGDAttack(eps=0.05), PGDAttack(eps=0.5, norm="l2")
    parts = [part.set_params(random_state=0, max_iter=5) for part in (cube, ball)]
    attack = best_of(parts, estimator=model).fit(X, y)
    report = attack.report(X, y)
    alone = [clone(p).set_params(estimator=model).fit(X, y).score(X, y) for p in parts]
    assert report["robust_accuracy"] <= min(alone)
    assert np.isnan(report["average_eps"])
    assert np.isnan(attack.perturb(X, y).eps).all()
    widths = X.std(axis=0)
    for eps in (widths, 0.3):
        other = FGSMAttack(eps=eps, eps_unit="std" if np.ndim(eps) == 0 else "raw")
        report = best_of([cube, other], estimator=model).fit(X, y).report(X, y)
        assert np.isnan(report["average_eps"])
    same = best_of([other, other], estimator=model).fit(X, y).report(X, y)
    assert same["average_eps"] > 0


def test_what_was_asked_of_each_attack_is_reported(data, model):
    X, y = data
    parts = [FGSMAttack(eps=0.05), PGDAttack(eps=0.06, max_iter=3, clip=(-1, 1))]
    parts[1].set_params(random_state=0)
    attack = best_of(parts, estimator=model).fit(X, y)
    report = attack.report(X, y)
    assert report["best_of"] == "fgsmattack, pgdattack"
    assert report["fgsmattack__eps"] == 0.05
    assert report["fgsmattack__norm"] == report["pgdattack__norm"] == "linf"
    assert report["pgdattack__max_iter"] == 3
    assert report["pgdattack__loss"] == report["fgsmattack__loss"] == "ce"
    assert "fgsmattack__eps=0.05" in repr(attack.perturb(X, y))
    assert attack.clip_ == (-1, 1)
    assert "(-1" in attack._repr_html_()
    with pytest.warns(UserWarning, match="scale X first"):
        attack.set_params(pgdattack__clip=None).fit(X, y)
    assert attack.clip_ is None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: best_of([]), ValueError, "at least one attack"),
        (lambda: best_of([LogisticRegression()]), TypeError, "Got LogisticRegression"),
        (
            lambda: best_of(
                [FGSMAttack(LogisticRegression()), PGDAttack(LogisticRegression())]
            ),
            ValueError,
            "the same model",
        ),
        (lambda: best_of([FGSMAttack(), GrowingEpsilonAttack()]), ValueError, "radius"),
        (
            lambda: best_of([GrowingEpsilonAttack(), Shift(eps=None, norm="l2")]),
            ValueError,
            "same 'norm'",
        ),
        (
            lambda: best_of([FGSMAttack(), PGDAttack(targeted=True)]),
            ValueError,
            "all be",
        ),
    ],
)
def test_attacks_that_cannot_be_joined_are_refused(data, make, error, words):
    with pytest.raises(error, match=words):
        make().fit(*data)


def test_a_proof_of_one_attack_is_not_a_proof_against_another(data, model):
    X, y = data[0][:20], data[1][:20]
    pixel = OnePixelAttack(method="certified", image_shape=(8, 8))
    attack = best_of([pixel, PGDAttack(eps=0.2, random_state=0)], estimator=model)
    assert attack.fit(*data).perturb(X, y).certified is None
