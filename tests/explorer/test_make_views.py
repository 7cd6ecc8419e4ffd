"""Views of fitted models: what they say of the samples that they are shown."""

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from robustkit.attacks import FGSMAttack
from robustkit.classifiers import TorchClassifier
from robustkit.explorer import make_views
from robustkit.regions import PopulatedRegionScorer
from tests.common.callers_things import WritingNet, expect_unchanged

rng = np.random.RandomState(0)
X = rng.rand(120, 5).astype(np.float32)
Y = np.array(["a", "b", "c"])[(X[:, 0] > 0.5).astype(int) + (X[:, 1] > 0.5)]


@pytest.fixture(scope="module")
def models():
    net = MLPClassifier((9,), solver="lbfgs", random_state=0, max_iter=1000)
    linear = LogisticRegression()
    return {"net": net.fit(X, Y), "linear": linear.fit(X, Y)}


def test_there_is_a_view_for_every_model_and_level(models):
    views = make_views(models, X, Y, FGSMAttack(), [0.0, 0.2])
    shown = [(view.model, view.level) for view in views]
    assert shown == [("net", 0.0), ("net", 0.2), ("linear", 0.0), ("linear", 0.2)]
    for view in views:
        seen = X if view.X is None else view.X
        assert (view.X is None) == (view.level == 0)
        model = models[view.model]
        np.testing.assert_array_equal(view.prediction, model.predict(seen))
        confidence = model.predict_proba(seen).max(axis=1)
        np.testing.assert_allclose(view.confidence, confidence, rtol=1e-5)
        assert np.abs(seen - X).max() <= view.level + 1e-6
        assert view.activations.shape == (120, 3)
    assert (views[1].prediction == Y).mean() < (views[0].prediction == Y).mean()


def test_regions_are_those_of_the_clean_samples(models):
    clean, attacked, linear = [
        *make_views({"net": models["net"]}, X, Y, FGSMAttack(), [0.0, 0.5]),
        *make_views({"linear": models["linear"]}, X, Y),
    ]
    scorer = PopulatedRegionScorer(FrozenEstimator(models["net"])).fit(X, Y)
    np.testing.assert_array_equal(clean.regions, scorer.transform(X)[:, 0])
    np.testing.assert_array_equal(attacked.regions, scorer.transform(attacked.X)[:, 0])
    assert linear.regions is None


def test_a_model_without_probabilities_is_as_sure_as_its_scores():
    binary = LinearSVC(random_state=0).fit(X, Y == "a")
    (view,) = make_views({"svm": binary}, X, Y == "a")
    assert ((view.confidence >= 0.5) & (view.confidence <= 1)).all()
    expected = 1 / (1 + np.exp(-np.abs(binary.decision_function(X))))
    np.testing.assert_allclose(view.confidence, expected)


def test_another_layer(models):
    (view,) = make_views({"net": models["net"]}, X, Y, layer="penultimate")
    assert view.activations.shape == (120, 9)


def test_samples_and_modules_are_left_alone():
    net = TorchClassifier(WritingNet, max_epochs=2, device="cpu", random_state=0)
    net.fit(X.copy(), Y)
    given = X.copy()
    with expect_unchanged(given, module=net.module_):
        (view,) = make_views({"net": net}, given, Y)
    np.testing.assert_array_equal(view.prediction, net.predict(X))
    np.testing.assert_allclose(view.confidence, net.predict_proba(X).max(axis=1))


def test_a_model_that_scales_in_place():
    shown = []
    for copy in (True, False):
        model = make_pipeline(StandardScaler(copy=copy), LogisticRegression())
        model.fit(X.copy(), Y)
        given = X.copy()
        with expect_unchanged(given):
            (view,) = make_views({"model": model}, given, Y)
        shown.append(view)
    for name in ("prediction", "confidence", "activations"):
        np.testing.assert_array_equal(*(getattr(view, name) for view in shown))


def test_levels_need_an_attack(models):
    with pytest.raises(ValueError, match="'attack' parameter is needed for levels"):
        make_views(models, X, Y, levels=[0.1])
