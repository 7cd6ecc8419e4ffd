"""MinimalDistanceAttack: the estimator above `minimal_distance`."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.utils.data import DataLoader

from robustkit.attacks import (
    MinimalDistanceAttack,
    PGDAttack,
    best_of,
    robust_scorer,
)
from robustkit.attacks._result import median_distance
from robustkit.bridge import as_module
from robustkit.classifiers import MLPNetClassifier
from tests.attacks.minimal.exact import ORDER, distance_to_half_space
from tests.attacks.victims import (
    aim,
    blobs,
    digits,
    digits_mlp,
    digits_pipeline,
    linear_net,
    torch_net,
)
from tests.common.callers_things import expect_unchanged

NORMS = ("linf", "l2")
VICTIMS = {
    "torch": (torch_net, digits),
    "scikit-learn": (digits_mlp, digits),
    "pipeline": (digits_pipeline, digits),
    "words": (lambda: LogisticRegression().fit(*blobs()), blobs),
}


def victim(name, n_samples=40):
    model, data = VICTIMS[name]
    X, y = data()
    return model(), X[:n_samples], y[:n_samples]


def attack_on(model, X, y, **params):
    return aim(MinimalDistanceAttack(max_iter=30), model, X, y, **params)


@pytest.mark.parametrize("name", VICTIMS)
@pytest.mark.parametrize("norm", NORMS)
def test_what_is_found_fools_predict_at_its_distance(name, norm):
    model, X, y = victim(name)
    attack = attack_on(model, X, y, norm=norm)
    with expect_unchanged(X, y):
        result = attack.perturb(X, y)
    right = model.predict(X) == y
    assert result.success[right].all()
    assert (model.predict(result.X_adv[right]) != y[right]).all()
    assert (result.X_adv[~right] == X[~right]).all()
    assert result.X_adv.dtype == X.dtype
    move = (result.X_adv - X).astype(float)
    length = np.linalg.norm(move, ord=ORDER[norm], axis=1)
    np.testing.assert_allclose(result.distance, length, rtol=1e-6)
    np.testing.assert_array_equal(result.eps, result.distance)
    assert (result.distance[~right] == 0).all()
    if attack.clip_ is not None:
        low, high = attack.clip_
        assert result.X_adv.min() >= low
        assert result.X_adv.max() <= high


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_nearer_fools(norm):
    """PGD within 99 % of the distance succeeds hardly ever."""
    model, X, y = victim("torch", 25)
    found = attack_on(model, X, y, norm=norm, max_iter=100).perturb(X, y)
    fooled = []
    for i in np.flatnonzero(found.success):
        one = slice(i, i + 1)
        eps = 0.99 * found.distance[i]
        pgd = aim(
            PGDAttack(max_iter=20, random_state=0), model, X, y, norm=norm, eps=eps
        )
        fooled.append(pgd.perturb(X[one], y[one]).success[0])
    assert np.mean(fooled) <= 0.05


@pytest.mark.parametrize("norm", NORMS)
def test_linear_model_of_two_classes(norm):
    """Also where the model computes in float64 and the clip range is learned."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(60, 8))
    y = (X @ rng.normal(size=8) > X.mean()).astype(int)
    model = LogisticRegression(C=100).fit(X, y)
    result = attack_on(model, X, y, norm=norm).perturb(X, y)
    slope, scores = model.coef_[0], model.decision_function(X)
    for i in np.flatnonzero(model.predict(X) == y):
        towards = slope if y[i] == 0 else -slope
        exact = distance_to_half_space(towards, abs(scores[i]), X[i], 0, 1, norm)
        np.testing.assert_allclose(result.distance[i], exact, rtol=1e-5)


def test_targets():
    model, X, y = victim("torch")
    target = (y + 1) % 10
    target[::5] = y[::5]
    attack = attack_on(model, X, y, targeted=True)
    result = attack.perturb(X, y, target)
    right = model.predict(X) == y
    attacked = right & (target != y)
    assert result.success[attacked].all()
    assert not result.success[~attacked].any()
    assert (model.predict(result.X_adv[attacked]) == target[attacked]).all()
    # A sample whose label is its target has no distance to it.
    assert np.isnan(result.distance[right & (target == y)]).all()
    untargeted = attack_on(model, X, y).perturb(X, y)
    farther = result.distance[attacked] / untargeted.distance[attacked]
    assert np.median(farther) > 1
    report = attack.report(X, y, target)
    assert report["median_distance"] == median_distance(result.distance)
    with pytest.raises(ValueError, match="takes no 'target'"):
        attack_on(model, X, y).perturb(X, y, target)


def test_batches_and_order_change_nothing():
    model, X, y = victim("torch")
    whole = attack_on(model, X, y).perturb(X, y).distance
    parts = attack_on(model, X, y, batch_size=7).perturb(X, y).distance
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    turned = attack_on(model, X, y).perturb(X[::-1], y[::-1]).distance
    np.testing.assert_allclose(turned[::-1], whole, rtol=1e-5)


def test_runs_are_alike_without_a_random_state():
    """Also where points are drawn."""
    model, X, y = linear_net([[0, 0], [0, 0]], [1, 0]), np.eye(2), np.array([0, 0])
    first, second = (attack_on(model, X, y).perturb(X, y) for _ in "ab")
    np.testing.assert_array_equal(first.X_adv, second.X_adv)


def test_a_model_of_one_answer_has_infinite_distances():
    X, y = np.random.default_rng(0).uniform(size=(6, 2)), np.array([0, 0, 0, 0, 1, 1])
    model = linear_net([[0, 0], [0, 0]], [1, 0])
    attack = attack_on(model, X, y)
    result = attack.perturb(X, y)
    np.testing.assert_array_equal(result.distance, [*[np.inf] * 4, 0, 0])
    np.testing.assert_array_equal(result.X_adv, X)
    assert not result.success.any()
    report = attack.report(X, y)
    assert report["not_found"] == 4 / 6
    assert report["median_distance"] == np.inf
    assert report["distance_q25"] == 0
    assert report["robust_accuracy"] == 4 / 6


class Rounded(ClassifierMixin, BaseEstimator):
    """Thresholds of features: torch sees no gradient that is not zero."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return (np.round(4 * X).sum(axis=1) > 2 * X.shape[1]).astype(int)


class RoundedModule(nn.Module):
    def forward(self, x):
        lead = (4 * x).round().sum(dim=1) - 2 * x.shape[1]
        # As many as asked for is not more: class 0.
        return torch.stack([0 * lead, lead], dim=1)


@as_module.register(Rounded)
def _rounded(model):
    return RoundedModule()


@pytest.mark.parametrize("norm", NORMS)
def test_training_data_lead_where_no_gradient_does(norm):
    X = np.random.default_rng(0).uniform(size=(80, 5))
    model = Rounded().fit(X, None)
    y = model.predict(X)
    attack = attack_on(model, X, y, norm=norm, clip=None)
    assert set(model.predict(attack.known_samples_)) == {0, 1}
    result = attack.perturb(X, y)
    assert result.success.all()
    assert (model.predict(result.X_adv) != y).all()


def test_report_is_of_the_distances():
    model, X, y = victim("torch")
    attack = attack_on(model, X, y)
    report, distance = attack.report(X, y), attack.perturb(X, y).distance
    np.testing.assert_allclose(report["median_distance"], np.median(distance))
    np.testing.assert_allclose(report["mean_distance"], distance.mean())
    for percent in (10, 25, 75, 90):
        np.testing.assert_allclose(
            report[f"distance_q{percent}"],
            np.quantile(distance, percent / 100, method="averaged_inverted_cdf"),
        )
    assert report["not_found"] == 0
    assert attack.score(X, y) == report["median_distance"]
    # Weights count a sample several times.
    weights = np.arange(len(y)) % 3
    repeated = np.repeat(distance, weights)
    np.testing.assert_allclose(attack.score(X, y, weights), np.median(repeated))


def test_other_attacks_report_no_distance():
    model, X, y = victim("torch")
    pgd = aim(PGDAttack(max_iter=2, random_state=0), model, X, y)
    assert pgd.perturb(X, y).distance is None
    assert "median_distance" not in pgd.report(X, y, diagnostics=False)


def test_models_can_be_chosen_by_their_distance():
    X, y = digits(120)
    attack = MinimalDistanceAttack(LogisticRegression(max_iter=200), max_iter=5)
    grid = {"estimator__C": [1e-3, 10.0]}
    search = GridSearchCV(attack, grid, cv=2).fit(X, y)
    scorer = robust_scorer(MinimalDistanceAttack(max_iter=5), "median_distance")
    model = LogisticRegression(max_iter=200)
    same = GridSearchCV(model, {"C": grid["estimator__C"]}, scoring=scorer, cv=2)
    same.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert same.best_params_["C"] == search.best_params_["estimator__C"]
    attack = MinimalDistanceAttack(max_iter=5)
    quarter = robust_scorer(attack, "distance_q25")(same.best_estimator_, X, y)
    assert quarter <= robust_scorer(attack, "distance_q75")(same.best_estimator_, X, y)


def test_best_of_takes_the_nearest():
    model, X, y = victim("torch")
    kinds = [MinimalDistanceAttack(max_iter=n) for n in (1, 40)]
    both = aim_best_of(kinds, model, X, y).perturb(X, y)
    alone = [aim(attack, model, X, y).perturb(X, y).distance for attack in kinds]
    np.testing.assert_array_equal(both.distance, np.minimum(*alone))


def aim_best_of(kinds, model, X, y):
    return best_of(kinds, estimator=FrozenEstimator(model)).fit(X, y)


def test_no_adversary():
    X, y = digits(60)
    model = MLPNetClassifier(
        (8,), max_epochs=1, adversary=MinimalDistanceAttack(), random_state=0
    )
    with pytest.raises(TypeError, match=r"cannot be the 'adversary'.*PGDAttack"):
        model.fit(X, y)


def test_models_without_a_gradient_are_refused():
    X, y = digits(60)
    with pytest.raises(TypeError, match="DummyClassifier"):
        MinimalDistanceAttack(DummyClassifier()).fit(X, y)


def test_tables_with_names():
    X, y = digits(60)
    table = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    model = MLPClassifier((8,), max_iter=30, tol=0.1, random_state=0).fit(table, y)
    attack = attack_on(model, table, y, max_iter=5)
    assert clone(attack).get_params()["max_iter"] == 5
    right = model.predict(table) == y
    assert attack.perturb(table, y).success[right].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["float32", "float64", "tree"])
def test_samples_on_the_end_of_a_range_that_float32_rounds(dtype, kind):
    X = np.random.default_rng(0).random((40, 4)) * 0.6
    X = np.clip(X, 0.1, 0.3).astype(dtype)
    y = (X[:, 0] + X[:, 1] > 0.4).astype(int)
    model = {
        "float32": lambda: linear_net([[0, 0, 0, 0], [1, 1, 0, 0]], [0, -0.4]),
        "float64": lambda: LogisticRegression(C=1e4).fit(X, y),
        "tree": lambda: DecisionTreeClassifier(random_state=0).fit(X, y),
    }[kind]()
    attack = aim(MinimalDistanceAttack(clip=(0.1, 0.3)), model, X, y)
    result = attack.perturb(X, y)
    assert result.success.all()
    assert result.X_adv.max() == dtype(0.3)
    assert result.X_adv.min() >= dtype(0.1)
    np.testing.assert_array_equal(model.predict(result.X_adv), result.prediction)


def test_a_stream_knows_samples_of_its_own_only():
    X, y = digits(60)
    generator = torch.Generator().manual_seed(0)
    pairs = list(zip(X, y, strict=True))
    stream = DataLoader(pairs, batch_size=20, generator=generator)
    attack = aim(MinimalDistanceAttack(), digits_mlp(), X, y).fit(stream)
    first = {row.tobytes() for row in X[:20]}
    assert len(attack.known_samples_) > 10
    assert all(row.tobytes() in first for row in attack.known_samples_)
