"""Columns in another order than a trained model knows them are refused everywhere."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    MinimalDistanceAttack,
    OnePixelAttack,
    PGDAttack,
    SquareAttack,
    attack_many,
    best_of,
    robust_scorer,
    robustness_bracket,
)
from robustkit.bounds import CertifiedRadius
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import SparseNetClassifier, fit_many
from robustkit.defenses import WeakRegionRefiner
from robustkit.graphs import GraphPrior
from robustkit.plotting import MapperGraphDisplay
from robustkit.regions import PopulatedRegionScorer, regions_along, wall_distances
from robustkit.topology import MapperGraph, mapper_graphs

rng = np.random.default_rng(0)
X = pd.DataFrame(rng.uniform(size=(40, 4)), columns=list("abcd"))
Y = np.where(X["a"] > X["b"], "more", "less")
ANOTHER_ORDER = X[list("dcba")]

MODELS = {
    "network": MLPClassifier((6,), max_iter=5, random_state=0),
    "pipeline": make_pipeline(
        StandardScaler(), MLPClassifier((6,), max_iter=5, random_state=0)
    ),
}
ATTACKS = [
    FGSMAttack(),
    BIMAttack(),
    LeastLikelyAttack(),
    PGDAttack(max_iter=2),
    GrowingEpsilonAttack(),
    MinimalDistanceAttack(max_iter=2),
    OnePixelAttack(image_shape=(2, 2)),
    SquareAttack(max_queries=2),
    best_of([FGSMAttack()]),
]
MAPPER = MapperGraph(n_intervals=3)

ANALYSES = {
    "ActivationExtractor": lambda model, X: ActivationExtractor(model).fit(X, Y),
    "CertifiedRadius": lambda model, X: CertifiedRadius(model).fit(X, Y),
    "PopulatedRegionScorer": lambda model, X: PopulatedRegionScorer(model).fit(X, Y),
    "WeakRegionRefiner": lambda model, X: WeakRegionRefiner(model, random_state=0).fit(
        X, Y
    ),
    "scorer of regions": lambda model, X: PopulatedRegionScorer()(model, X),
    "attack_many": lambda model, X: attack_many(FGSMAttack(), [model], X, Y),
    "robust_scorer": lambda model, X: robust_scorer(FGSMAttack())(model, X, Y),
    "robustness_bracket": lambda model, X: robustness_bracket(model, X, Y, max_iter=1),
    "mapper_graphs": lambda model, X: mapper_graphs(model, X, Y, mapper=MAPPER),
    "MapperGraphDisplay": lambda model, X: MapperGraphDisplay.from_estimator(
        model, X, Y, mapper=MAPPER
    ),
    "regions_along": lambda model, X: regions_along(model, X[:2], X[2:4]),
    "wall_distances": lambda model, X: wall_distances(model, X),
}

REFUSED = "feature names should match"

pytestmark = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer",
    "ignore:No cluster was found",
    # A refiner asks its model in rows.
    "ignore:X does not have valid feature names",
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: type(attack).__name__)
@pytest.mark.parametrize("name", MODELS)
def test_attacks_refuse_columns_in_another_order(name, attack):
    model = FrozenEstimator(MODELS[name].fit(X, Y))
    attack.set_params(estimator=model)
    with pytest.raises(ValueError, match=REFUSED):
        attack.fit(ANOTHER_ORDER, Y)
    # Without names nobody knows, and a model that is fitted anew learns the order.
    attack.fit(X.to_numpy(), Y)
    attack.set_params(estimator=model.estimator)
    with pytest.warns(UserWarning, match="though the one passed is fitted already"):
        attack.fit(ANOTHER_ORDER, Y)


@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize("name", MODELS)
def test_analyses_refuse_columns_in_another_order(name, analysis):
    if (name, analysis) == ("pipeline", "WeakRegionRefiner"):
        pytest.skip("A pipeline cannot be trained further.")
    model, analyse = FrozenEstimator(MODELS[name].fit(X, Y)), ANALYSES[analysis]
    analyse(model, X)
    with pytest.raises(ValueError, match=REFUSED):
        analyse(model, ANOTHER_ORDER)


def test_every_one_of_many_networks_must_know_the_order():
    def networks(X):
        prior = GraphPrior(n_nodes=12)
        one = SparseNetClassifier(prior, max_epochs=1, random_state=0)
        return fit_many([one], X, Y)

    of_both = networks(X) + networks(ANOTHER_ORDER)
    for classifiers in (of_both, of_both[::-1]):
        with pytest.raises(ValueError, match=REFUSED):
            attack_many(PGDAttack(max_iter=1), classifiers, X, Y)
