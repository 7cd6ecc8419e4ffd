"""Robustness can be the score of anything that scikit-learn searches or compares."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from robustkit.attacks import (
    AttackResult,
    FGSMAttack,
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    OnePixelAttack,
    PGDAttack,
    robust_scorer,
)
from robustkit.attacks._result import (
    LARGER_IS_BETTER,
    SMALLER_IS_BETTER,
    measures,
)
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import SparseNetClassifier
from robustkit.graphs import GraphPrior
from tests.attacks.victims import aim, digits, digits_mlp, digits_pipeline, torch_net


def test_equals_the_report_of_the_attack():
    X, y = digits(150)
    model = digits_pipeline()
    attack = FGSMAttack(eps=0.05)
    report = aim(attack, model, X, y).report(X, y)
    for metric in ("robust_accuracy", "clean_accuracy", "average_eps"):
        assert robust_scorer(attack, metric)(model, X, y) == report[metric]
    for metric in ("error_rate", "average_confidence"):
        assert robust_scorer(attack, f"neg_{metric}")(model, X, y) == -report[metric]


def test_weights_count():
    X, y = digits(100)
    weights = np.arange(100)
    score = robust_scorer(FGSMAttack())(digits_pipeline(), X, y, sample_weight=weights)
    assert score == aim(FGSMAttack(), digits_pipeline(), X, y).score(X, y, weights)


@pytest.mark.parametrize(
    "attack",
    [
        FGSMAttack(eps=0.1),
        MinimalDistanceAttack(max_iter=10),
        OnePixelAttack(method="certified", levels=2),
    ],
    ids=["radius", "distance", "certified"],
)
def test_weights_count_in_every_metric_as_repeated_samples_do(attack):
    X, y = digits(30)
    model = torch_net()
    weights = np.random.default_rng(0).integers(0, 3, 30)
    repeated = np.repeat(np.arange(30), weights)
    report = aim(attack, model, X, y).report(X, y)
    metrics = [name for name in LARGER_IS_BETTER if name in report]
    metrics += [f"neg_{name}" for name in SMALLER_IS_BETTER]
    for metric in metrics:
        score = robust_scorer(attack, metric)
        found = score(model, X, y, sample_weight=weights)
        expected = score(model, X[repeated], y[repeated])
        assert found == pytest.approx(expected, rel=1e-5, nan_ok=True), metric
    # None of these but the first one, which is infinitely far from an error, counts.
    result = AttackResult(
        X, y, y, y, y < 0, X[:, 0], np.r_[np.inf, np.ones(29)], y,
        distance=np.r_[np.inf, np.ones(29)],
    )  # fmt: skip
    assert measures(result, np.r_[0.0, np.ones(29)])["mean_distance"] == 1
    assert np.isnan(measures(result, np.r_[0.0, np.ones(29)])["average_eps"])


@pytest.mark.parametrize(
    "eps",
    [
        [0.1] * 64,
        (0.1,) * 64,
        np.full(64, 0.1),
        np.full((64, 1), 0.1).T,
        pd.Series([0.1] * 64),
        torch.full((64,), 0.1, dtype=torch.float64),
    ],
    ids=["list", "tuple", "array", "row", "series", "tensor"],
)
def test_result_and_notebook_show_the_range_of_many_numbers(eps):
    X, y = digits(10)
    attack = aim(FGSMAttack(eps=eps), torch_net(), X, y)
    result = attack.perturb(X, y)
    first = repr(result).partition("\n")[0]
    assert first == (
        "AttackResult of FGSMAttack(norm='linf', loss='ce', eps=0.1, eps_unit='raw')"
    )
    assert "0.1" in result._repr_html_()
    assert len(result._repr_html_()) < 4000
    assert len(attack._html_summary()) < 2000


def test_few_numbers_are_shown_one_by_one():
    settings = {"image_shape": (1, 8, 8), "eps": 0.25, "names": list("abcdef")}
    result = AttackResult(*[np.zeros(1)] * 8, name="Own", settings=settings)
    assert repr(result).startswith(
        "AttackResult of Own(image_shape=(1, 8, 8), eps=0.25, names=['a', 'b', 'c', "
    )


def test_is_picklable_readable_and_accepted():
    scorer = robust_scorer(FGSMAttack(eps=0.05))
    assert repr(scorer) == (
        "robust_scorer(FGSMAttack(eps=0.05), metric='robust_accuracy')"
    )
    X, y = digits(50)
    twin = pickle.loads(pickle.dumps(scorer))
    assert twin(digits_pipeline(), X, y) == scorer(digits_pipeline(), X, y)
    assert check_scoring(LogisticRegression(), scoring=scorer) is scorer


@pytest.mark.parametrize("metric", ["robust", "error_rate", "n_queries"])
def test_unknown_metric_is_refused(metric):
    with pytest.raises(ValueError, match="'metric' of robust_scorer must be one of"):
        robust_scorer(FGSMAttack(), metric)


def test_metric_that_the_attack_does_not_have_is_refused():
    X, y = digits(20)
    scorer = robust_scorer(FGSMAttack(), "certified_accuracy")
    with pytest.raises(ValueError, match="FGSMAttack has no 'certified_accuracy'"):
        scorer(digits_pipeline(), X, y)


def test_cross_validate_clean_and_robust():
    X, y = digits(200)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    scoring = {
        "clean": "accuracy",
        "pgd": robust_scorer(PGDAttack(eps=0.05, max_iter=4, random_state=0)),
        "eps": robust_scorer(GrowingEpsilonAttack(step=0.05), "average_eps"),
    }
    scores = cross_validate(pipeline, X, y, cv=2, scoring=scoring)
    assert (scores["test_pgd"] < scores["test_clean"]).all()
    assert (scores["test_pgd"] > 0).all()
    assert (scores["test_eps"] > 0).all()


def test_grid_search_over_the_structure_of_the_model_attacked():
    X, y = digits(120)
    net = SparseNetClassifier(
        GraphPrior(n_nodes=60), max_epochs=8, batch_size=16, lr=0.01, random_state=0
    )
    attack = PGDAttack(net, eps=0.02, max_iter=2, random_state=0)
    grid = {"estimator__prior__rewiring": [0.5, 0.9], "eps": [0.01, 0.05]}
    search = GridSearchCV(attack, grid, cv=2).fit(X, y)
    # The smaller ball always leaves the higher robust accuracy.
    assert search.best_params_["eps"] == 0.01
    assert search.best_estimator_.estimator_.prior.rewiring in (0.5, 0.9)


def test_model_can_be_chosen_by_robust_accuracy():
    X, y = digits(200)
    scoring = robust_scorer(FGSMAttack(eps=0.1))
    search = GridSearchCV(
        LogisticRegression(max_iter=500), {"C": [1e-3, 10.0]}, cv=2, scoring=scoring
    ).fit(X, y)
    assert 0 < search.best_score_ < 1


def test_attack_is_a_step_of_a_pipeline():
    X, y = digits(60)
    net = FrozenEstimator(digits_mlp())
    pipeline = Pipeline(
        [
            ("attack", FGSMAttack(net, eps=0.1)),
            ("activations", ActivationExtractor(net)),
        ]
    ).fit(X, y)
    X_adv = clone(pipeline[0]).fit(X, y).transform(X)
    np.testing.assert_allclose(
        pipeline.transform(X), pipeline[1].transform(X_adv), rtol=1e-6
    )
    assert not np.allclose(pipeline.transform(X), pipeline[1].transform(X))
