"""Runs are validated, stored and read again; views are the outputs of fitted models."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from robustkit.attacks import FGSMAttack
from robustkit.classifiers import TorchClassifier
from robustkit.explorer import View, explore, load_run, make_views, save_run
from robustkit.regions import PopulatedRegionScorer
from robustkit.topology import MapperGraph
from tests.common.callers_things import WritingNet, expect_unchanged

X = np.random.RandomState(0).rand(6, 4)
Y = np.arange(6) % 2

rng = np.random.RandomState(0)
SAMPLES = rng.rand(120, 5).astype(np.float32)
CLASSES = np.array(["a", "b", "c"])[
    (SAMPLES[:, 0] > 0.5).astype(int) + (SAMPLES[:, 1] > 0.5)
]


def save(folder, y=Y, X=X, image_shape=(2, 2), **view):
    """Store one view of six samples, or of those given."""
    params = {"model": "m", "level": 0.0, "activations": X, "prediction": Y}
    views = [View(**{**params, **view})]
    return save_run(folder / "run", y=y, views=views, X=X, image_shape=image_shape)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": Y[:0], "X": X[:0]}, r"'y' parameter must hold at least one label"),
        ({"X": X[:0], "activations": X}, r"X must have the shape \(6, 4\).*Got \(0, 4"),
        ({"X": X * np.nan, "activations": X}, "X must hold numbers .* Got NaN"),
        ({"X": X + 1j, "activations": X}, "X must hold numbers .* Got .* complex128"),
        ({"X": X.astype(str), "activations": X}, "X must hold numbers .* dtype <U32"),
        ({"y": Y * np.nan}, "'y' parameter must hold labels. Got .*nan"),
        ({"prediction": Y * np.nan}, "'prediction' of view 'm' must hold labels"),
        ({"activations": X[:0]}, r"Found array with 0 sample\(s\)"),
        ({"activations": X[:3]}, "inconsistent numbers of samples"),
        ({"activations": X * np.nan}, "activations contains NaN"),
        ({"activations": X * 1e200}, "activations contains infinity or a value too"),
        ({"confidence": Y * -0.1}, "'confidence' .* numbers from 0 to 1. Got .*-0.1"),
        ({"confidence": Y * 1.1}, "'confidence' .* numbers from 0 to 1. Got .*1.1"),
        (
            {"regions": Y * np.nan},
            "'regions' of view 'm' must hold integers. Got .*nan",
        ),
        ({"regions": Y + 0.5}, "'regions' of view 'm' must hold integers. Got .*0.5"),
        ({"level": None}, "'level' of a view must be a number from 0. Got None"),
        ({"level": -0.1}, "'level' of a view must be a number from 0. Got -0.1"),
        ({"level": np.nan}, "'level' of a view must be a number from 0. Got nan"),
        ({"level": np.inf}, "'level' of a view must be a number from 0. Got inf"),
    ],
)
def test_make_run_rejects_invalid_input(tmp_path, given, message):
    with pytest.raises(ValueError, match=message) as error:
        save(tmp_path, **given)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given",
    [
        {"y": Y[:1], "X": X[:1], "prediction": Y[:1]},
        {"X": X * 1e30, "activations": X * 1e30},
        {"X": X > 0.5},
        {"X": (X * 255).astype(np.uint8)},
        {"activations": np.ones((6, 1))},
        {"activations": torch.from_numpy(X).bfloat16()},
        {"confidence": np.array([0, 1, np.nan, 0.5, 1 + 5e-6, 0])},
        {"regions": np.array([-1.0, 0, 1, 2, 3, 4])},
    ],
)
def test_any_stored_run_can_be_loaded(tmp_path, given):
    run = load_run(save(tmp_path, **given))
    stored = given.get("activations", given.get("X", X))
    stored = stored.float().numpy() if torch.is_tensor(stored) else stored
    view = run.views[0]
    np.testing.assert_array_equal(view.activations, stored.astype(np.float32))
    if "confidence" in given:
        np.testing.assert_allclose(view.confidence, given["confidence"], rtol=1e-6)
    if "regions" in given:
        np.testing.assert_array_equal(view.regions, given["regions"])


@pytest.mark.parametrize("level", [-1.0, np.nan, np.inf])
def test_views_are_made_at_levels_that_can_be_stored(level):
    with pytest.raises(ValueError, match="'level' of a view must be a number from 0"):
        make_views({}, X, Y, levels=[0.0, level])


def test_images_without_rows_do_not_fit_a_mapper():
    mapper = MapperGraph(eps=2.0, n_intervals=2, min_samples=1).fit(X)
    with pytest.raises(ValueError, match=r"X must have the shape \(6, 4\).*Got \(0, 4"):
        explore(mapper, y=Y, images=np.zeros((0, 2, 2)), open_browser=False)


@pytest.fixture(scope="module")
def models():
    net = MLPClassifier((9,), solver="lbfgs", random_state=0, max_iter=1000)
    linear = LogisticRegression()
    return {"net": net.fit(SAMPLES, CLASSES), "linear": linear.fit(SAMPLES, CLASSES)}


def test_make_views_covers_every_model_and_level(models):
    views = make_views(models, SAMPLES, CLASSES, FGSMAttack(), [0.0, 0.2])
    shown = [(view.model, view.level) for view in views]
    assert shown == [("net", 0.0), ("net", 0.2), ("linear", 0.0), ("linear", 0.2)]
    for view in views:
        seen = SAMPLES if view.X is None else view.X
        assert (view.X is None) == (view.level == 0)
        model = models[view.model]
        np.testing.assert_array_equal(view.prediction, model.predict(seen))
        confidence = model.predict_proba(seen).max(axis=1)
        np.testing.assert_allclose(view.confidence, confidence, rtol=1e-5)
        assert np.abs(seen - SAMPLES).max() <= view.level + 1e-6
        assert view.activations.shape == (120, 3)
    assert (views[1].prediction == CLASSES).mean() < (
        views[0].prediction == CLASSES
    ).mean()


def test_view_regions_come_from_the_clean_samples(models):
    clean, attacked, linear = [
        *make_views({"net": models["net"]}, SAMPLES, CLASSES, FGSMAttack(), [0.0, 0.5]),
        *make_views({"linear": models["linear"]}, SAMPLES, CLASSES),
    ]
    scorer = PopulatedRegionScorer(FrozenEstimator(models["net"])).fit(SAMPLES, CLASSES)
    np.testing.assert_array_equal(clean.regions, scorer.transform(SAMPLES)[:, 0])
    np.testing.assert_array_equal(attacked.regions, scorer.transform(attacked.X)[:, 0])
    assert linear.regions is None


def test_confidence_without_predict_proba_is_softmax_of_scores():
    binary = LinearSVC(random_state=0).fit(SAMPLES, CLASSES == "a")
    (view,) = make_views({"svm": binary}, SAMPLES, CLASSES == "a")
    assert ((view.confidence >= 0.5) & (view.confidence <= 1)).all()
    expected = 1 / (1 + np.exp(-np.abs(binary.decision_function(SAMPLES))))
    np.testing.assert_allclose(view.confidence, expected)


def test_make_views_of_another_layer(models):
    (view,) = make_views({"net": models["net"]}, SAMPLES, CLASSES, layer="penultimate")
    assert view.activations.shape == (120, 9)


def test_make_views_of_several_layers(models):
    layers = ["logits", "penultimate"]
    net = {"net": models["net"]}
    views = make_views(net, SAMPLES, CLASSES, FGSMAttack(), [0.0, 0.2], layer=layers)
    assert [(view.level, view.layer) for view in views] == [
        (level, layer) for level in (0.0, 0.2) for layer in layers
    ]
    for layer in layers:
        alone = make_views(net, SAMPLES, CLASSES, FGSMAttack(), [0.2], layer=layer)
        (view,) = (v for v in views if (v.level, v.layer) == (0.2, layer))
        np.testing.assert_array_equal(view.activations, alone[0].activations)
        np.testing.assert_array_equal(view.X, alone[0].X)
    with pytest.raises(ValueError, match="'layer' parameter must name at least one"):
        make_views(net, SAMPLES, CLASSES, layer=[])


@pytest.mark.parametrize("tensor", [False, True])
def test_images_and_activations_of_any_shape_go_in(tmp_path, tensor):
    """The run is the same as that of the flat samples, and the image shape is known."""
    images = rng.rand(120, 3, 2, 2).astype(np.float32)
    flat = images.reshape(120, 12)
    model = {"m": LogisticRegression().fit(flat, CLASSES)}
    given = torch.from_numpy(images) if tensor else images
    views, expected = (
        make_views(model, X, CLASSES, FGSMAttack(), [0.0, 0.1]) for X in (given, flat)
    )
    folder = save_run(tmp_path / "run", X=given, y=CLASSES, views=views)
    run = load_run(folder)
    assert run.image_shape == (3, 2, 2)
    np.testing.assert_array_equal(run.images, np.rint(flat * 255))
    for view, other in zip(run.views, expected, strict=True):
        np.testing.assert_allclose(view.activations, other.activations, rtol=1e-6)
    spatial = View("m", 0.0, given, CLASSES)
    run = load_run(save_run(folder, X=given, y=CLASSES, views=[spatial]))
    np.testing.assert_array_equal(run.views[0].activations, flat)


def test_make_views_does_not_modify_inputs():
    net = TorchClassifier(WritingNet, max_epochs=2, device="cpu", random_state=0)
    net.fit(SAMPLES.copy(), CLASSES)
    given = SAMPLES.copy()
    with expect_unchanged(given, module=net.module_):
        (view,) = make_views({"net": net}, given, CLASSES)
    np.testing.assert_array_equal(view.prediction, net.predict(SAMPLES))
    np.testing.assert_allclose(view.confidence, net.predict_proba(SAMPLES).max(axis=1))


def test_make_views_protects_samples_from_in_place_models():
    shown = []
    for copy in (True, False):
        model = make_pipeline(StandardScaler(copy=copy), LogisticRegression())
        model.fit(SAMPLES.copy(), CLASSES)
        given = SAMPLES.copy()
        with expect_unchanged(given):
            (view,) = make_views({"model": model}, given, CLASSES)
        shown.append(view)
    for name in ("prediction", "confidence", "activations"):
        np.testing.assert_array_equal(*(getattr(view, name) for view in shown))


def test_positive_levels_need_an_attack(models):
    with pytest.raises(ValueError, match="'attack' parameter is needed for levels"):
        make_views(models, SAMPLES, CLASSES, levels=[0.1])
