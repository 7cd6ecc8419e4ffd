"""Images whose values come in another order than those of `fit` are refused."""

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from robustkit.attacks import FGSMAttack, best_of
from robustkit.bounds import CertifiedRadius
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
    fit_many,
)
from robustkit.defenses import WeakRegionRefiner
from robustkit.plotting import RobustnessCurveDisplay
from robustkit.regions import PopulatedRegionScorer
from robustkit.topology import MapperGraph

X = np.random.default_rng(0).random((30, 3, 4, 5), dtype=np.float32)
y = np.arange(30) % 2
OTHER = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
METHODS = [
    "predict", "predict_proba", "decision_function", "transform", "radii", "perturb",
    "inclusion_ratio", "layer_report", "score", "report", "partial_fit",
]  # fmt: skip
WITH_LABELS = {"score", "report", "partial_fit"}


def net(**params):
    return MLPNetClassifier((4, 4), max_epochs=1, random_state=0, **params)


def fresh():
    mapper = MapperGraph(n_intervals=2)
    return {
        "CertifiedRadius": CertifiedRadius(),
        "ActivationExtractor": ActivationExtractor(net()),
        "WeakRegionRefiner": WeakRegionRefiner(
            net(), mapper=mapper, max_epochs=1, random_state=0
        ),
        "PrunedNetClassifier": PrunedNetClassifier(
            net(), n_steps=1, retrain_epochs=1, random_state=0
        ),
        "MLPNetClassifier": net(),
        "SparseNetClassifier": SparseNetClassifier(max_epochs=1, random_state=0),
        "TorchClassifier": TorchClassifier(max_epochs=1, random_state=0),
        "FGSMAttack": FGSMAttack(net()),
        "best_of": best_of([FGSMAttack()], estimator=net()),
        "PopulatedRegionScorer": PopulatedRegionScorer(net()),
    }


def assert_all_refuse(model):
    methods = [name for name in METHODS if hasattr(model, name)]
    assert methods
    for name in methods:
        args = (y,) if name in WITH_LABELS else ()
        with pytest.raises(ValueError, match=r"\(4, 5, 3\)"):
            getattr(model, name)(OTHER, *args)


@pytest.mark.parametrize("name", fresh())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_images_of_another_layout_are_refused(name):
    model = fresh()[name].fit(X, y)
    assert_all_refuse(model)
    # Those that were seen are not, with or without a method's labels.
    model.predict(X) if hasattr(model, "predict") else model.transform(X)


@pytest.mark.parametrize(
    "make",
    [CertifiedRadius, ActivationExtractor, WeakRegionRefiner, FGSMAttack,
     PopulatedRegionScorer],
)  # fmt: skip
def test_frozen_model_knows_its_images(make):
    model = make(FrozenEstimator(net().fit(X, y)))
    if hasattr(model, "random_state"):
        model.set_params(random_state=0)
    with pytest.raises(ValueError, match=r"\(4, 5, 3\)"):
        model.fit(OTHER, y)
    # Also where it was asked about rows.
    assert_all_refuse(model.fit(X.reshape(30, -1), y))


def test_pruning_a_frozen_model_of_other_images_is_refused():
    frozen = FrozenEstimator(net().fit(X, y))
    with pytest.raises(ValueError, match=r"\(4, 5, 3\)"):
        PrunedNetClassifier(frozen, random_state=0).fit(OTHER, y)


def test_networks_that_are_fitted_together_know_their_images():
    models = [SparseNetClassifier(max_epochs=1, random_state=i) for i in range(2)]
    for model in fit_many(models, X, y):
        assert_all_refuse(model)


def test_curve_of_images_of_another_layout_is_refused():
    attack = FGSMAttack(net()).fit(X, y)
    with pytest.raises(ValueError, match=r"\(4, 5, 3\)"):
        RobustnessCurveDisplay.from_estimator(attack, OTHER, y, eps=[0.1])
