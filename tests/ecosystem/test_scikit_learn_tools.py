"""Tables, weights and searches of scikit-learn and its companions reach our models."""

import importlib

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

from robustkit.attacks import FGSMAttack
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import MLPNetClassifier, SparseNetClassifier
from robustkit.graphs import GraphPrior
from tests.bridge.converted import blobs

NET = MLPNetClassifier(
    (8,), max_epochs=10, batch_size=16, lr=0.02, device="cpu", random_state=0
)


@pytest.fixture(scope="module")
def data():
    X, y = blobs(3)
    return X.astype(np.float32), y


def table_of(kind, X):
    library = pytest.importorskip(kind, reason=f"{kind} is missing")
    return library.DataFrame({"width": X[:, 0], "height": X[:, 1]})


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_table_in_gives_the_answers_of_its_array(kind, data):
    X, y = data
    table = table_of(kind, X)
    net = clone(NET).fit(table, y)
    assert list(net.feature_names_in_) == ["width", "height"]
    np.testing.assert_array_equal(net.predict(table), clone(NET).fit(X, y).predict(X))
    attack = FGSMAttack(FrozenEstimator(net), eps=0.5).fit(table, y)
    found = attack.perturb(table, y)
    plain = FGSMAttack(FrozenEstimator(clone(NET).fit(X, y)), eps=0.5).fit(X, y)
    np.testing.assert_array_equal(found.X_adv, plain.perturb(X, y).X_adv)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_transformers_give_the_table_that_is_asked_for(kind, data):
    X, y = data
    table = table_of(kind, X)
    net = FrozenEstimator(clone(NET).fit(table, y))
    steps = {
        "attack": FGSMAttack(net, eps=0.5),
        "layer": ActivationExtractor(net),
        "prior": GraphPrior(n_nodes=10, random_state=0),
    }
    for step in steps.values():
        expected = clone(step).fit(table, y).transform(table)
        found = step.set_output(transform=kind).fit(table, y).transform(table)
        assert type(found) is importlib.import_module(kind).DataFrame
        assert list(found.columns) == list(step.get_feature_names_out())
        np.testing.assert_array_equal(found.to_numpy(), expected)
    assert list(steps["attack"].transform(table).columns) == ["width", "height"]


def test_sample_weights_are_routed_to_the_score_of_an_attack(data):
    X, y = data
    weights = np.random.RandomState(0).uniform(size=len(X))
    attack = FGSMAttack(LogisticRegression(), eps=0.5)
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    with config_context(enable_metadata_routing=True):
        scored = clone(attack).set_score_request(sample_weight=True)
        params = {"sample_weight": weights}
        found = cross_validate(scored, X, y, cv=folds, params=params)["test_score"]
        search = GridSearchCV(scored, {"eps": [0.5]}, cv=folds)
        search.fit(X, y, sample_weight=weights)
    expected = [
        clone(attack).fit(X[train], y[train]).score(X[test], y[test], weights[test])
        for train, test in folds
    ]
    np.testing.assert_allclose(found, expected)
    assert search.best_score_ == pytest.approx(np.mean(expected))
    unweighted = cross_validate(attack, X, y, cv=folds)["test_score"]
    assert not np.allclose(unweighted, expected)


def test_sample_weights_are_routed_to_the_model_of_a_vote(data):
    X, y = data
    # Where they arrive, a class of no weight is never predicted.
    weights = np.where(y == 2, 1e-12, 1.0)
    with config_context(enable_metadata_routing=True):
        line = LogisticRegression().set_fit_request(sample_weight=True)
        vote = VotingClassifier([("line", line)], voting="soft")
        vote.fit(X, y, sample_weight=weights)
    attack = FGSMAttack(FrozenEstimator(vote), eps=0.2).fit(X, y)
    assert 2 not in attack.perturb(X).prediction


def test_permutation_importance_finds_the_only_informative_feature(data):
    X, y = data
    noise = np.random.RandomState(0).normal(size=(len(X), 1))
    X = np.hstack([X, noise]).astype(np.float32)
    net = clone(NET).fit(X, y)
    clean = permutation_importance(net, X, y, n_repeats=5, random_state=0)
    assert clean.importances_mean[:2].min() > 3 * abs(clean.importances_mean[2])
    attack = FGSMAttack(FrozenEstimator(net), eps=0.2).fit(X, y)
    # Of the robust accuracy: the score of an attack.
    robust = permutation_importance(attack, X, y, n_repeats=2, random_state=0)
    assert robust.importances_mean[:2].min() > robust.importances_mean[2]


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibrated_network_is_attacked_as_it_predicts(method, data):
    X, y = data
    model = CalibratedClassifierCV(NET, method=method, cv=2).fit(X, y)
    assert model.score(X, y) > 0.6
    attack = FGSMAttack(FrozenEstimator(model), eps=0.5).fit(X, y)
    result = attack.perturb(X, y)
    assert 0.1 < result.success.mean() < 1
    np.testing.assert_array_equal(model.predict(result.X_adv), result.prediction)


@pytest.mark.filterwarnings("ignore")
def test_optuna_searches_over_the_parameters_of_a_prior(data):
    optuna = pytest.importorskip("optuna", reason="optuna is missing")
    integration = pytest.importorskip(
        "optuna_integration", reason="optuna-integration is missing"
    )
    X, y = data
    prior = GraphPrior("watts_strogatz", n_nodes=12, random_state=0)
    search = integration.OptunaSearchCV(
        SparseNetClassifier(prior, max_epochs=3, device="cpu", random_state=0),
        {
            "prior__n_nodes": optuna.distributions.IntDistribution(8, 16),
            "lr": optuna.distributions.FloatDistribution(1e-3, 1e-1, log=True),
        },
        n_trials=3,
        cv=2,
        random_state=0,
        study=optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
        ),
    )
    search.fit(X, y)
    best = search.best_estimator_
    assert 8 <= search.best_params_["prior__n_nodes"] <= 16
    assert best.prior.n_nodes == search.best_params_["prior__n_nodes"]
    assert len(search.trials_) == 3
    assert search.predict(X).shape == y.shape
