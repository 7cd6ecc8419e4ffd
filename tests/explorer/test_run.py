"""Runs are validated, stored and read again; views are the outputs of fitted models."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from robustkit.attacks import (
    FGSMAttack,
    MinimalDistanceAttack,
    PGDAttack,
    SquareAttack,
    best_of,
)
from robustkit.classifiers import TorchClassifier
from robustkit.explorer import View, explore, load_run, make_views, save_run
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._page import describe_run, open_run
from robustkit.plotting import MapperGraphDisplay
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


def save(folder, y=Y, X=X, image_shape=(2, 2), X_of_view=None, **view):
    """Store one view of six samples, or of those given."""
    params = {"model": "m", "level": 0.0, "activations": X, "prediction": Y}
    params["X"] = X_of_view
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
        ({"X": X * 16}, r"^X must hold numbers from 0 to 1, or bytes. Got .*\d\.\d"),
        ({"X": X - 0.5}, "^X must hold numbers from 0 to 1, or bytes. Got .*-0.07"),
        ({"X": X * 1e30}, r"^X must hold numbers from 0 to 1, .*e\+29"),
        ({"X": np.where(X > 0.9, np.inf, X)}, "^X must hold numbers .* Got .*inf"),
        ({"X": np.arange(24).reshape(6, 4)}, "^X must hold numbers .* Got .*2"),
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
        {"activations": X * 1e30, "X_of_view": X * 1e30},
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


@pytest.mark.parametrize("n_classes", [3, 4])
def test_confidence_is_no_softmax_over_pairs_of_classes(n_classes):
    """Of three classes there are three pairs, too."""
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    found = []
    for shape in ("ovo", "ovr"):
        model = SVC(kernel="linear", decision_function_shape=shape, random_state=0)
        model.fit(X / 16, y)
        (view,) = make_views({"svm": model}, X / 16, y)
        found.append(view.confidence)
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(found[0], attacked_confidence(model, X / 16, y))


def attacked_confidence(model, X, y):
    attack = FGSMAttack(FrozenEstimator(model), eps=0.0).fit(X, y)
    return attack.perturb(X, y).confidence


def test_confidence_is_that_of_the_prediction():
    """A threshold may choose the less probable class."""
    model = LogisticRegression().fit(SAMPLES, CLASSES == "a")
    probabilities = model.predict_proba(SAMPLES)
    cautious = FixedThresholdClassifier(FrozenEstimator(model), threshold=0.9)
    cautious.fit(SAMPLES, CLASSES == "a")
    (view,) = make_views({"cautious": cautious}, SAMPLES, CLASSES == "a")
    expected = probabilities[np.arange(len(SAMPLES)), view.prediction.astype(int)]
    np.testing.assert_array_equal(view.confidence, expected)
    assert (expected < 0.5).any()


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


PIXELS = np.random.RandomState(1).randint(256, size=(6, 4)).astype(np.uint8)


@pytest.mark.parametrize("is_flat", [True, False])
def test_attacked_images_of_bytes_are_as_bright_as_the_clean_ones(tmp_path, is_flat):
    """A flat table of bytes is attacked as it is, images as numbers from 0 to 1."""
    given = PIXELS if is_flat else PIXELS.reshape(6, 2, 2)
    unit = 1 if is_flat else 255
    rows = PIXELS.astype(np.float32) / unit
    model = LogisticRegression().fit(rows, Y)
    eps = 20.4 / unit
    attack = FGSMAttack(eps=eps, clip=(0, 255 / unit))
    views = make_views({"m": model}, given, Y, attack, [0.0, eps])
    run = load_run(
        save_run(tmp_path / "run", y=Y, views=views, X=given, image_shape=(2, 2))
    )
    np.testing.assert_array_equal(run.images, PIXELS)
    attacked = run.views[1].images.astype(int)
    np.testing.assert_array_equal(attacked, np.rint(views[1].X * unit))
    moved = np.abs(attacked - PIXELS)
    assert moved.max() == 20
    assert (attacked.max(), attacked.min()) != (255, 0)


def test_attacked_images_are_cut_off_at_black_and_white(tmp_path):
    for images, white in ((X, 1), (PIXELS, 255), (PIXELS, 1)):
        clean = images / (images.max() if white == 1 else 1)
        attacked = clean + white * np.where(np.arange(4) % 2, 0.1, -0.1)
        run = load_run(save(tmp_path, X=images, X_of_view=attacked))
        expected = np.rint(np.clip(attacked / white, 0, 1) * 255)
        np.testing.assert_array_equal(run.views[0].images, expected)


def test_features_that_are_no_colours_are_left_out(tmp_path):
    """Only the columns that are asked for must all be shown."""
    table = pd.DataFrame(
        {
            "age": np.arange(150.0),
            "name": [f"p{i}" for i in range(150)],
            "site": ["a", "b", "c"] * 50,
            "far": [np.inf] + 149 * [0.0],
            "list": [[i] for i in range(150)],
        }
    )
    y = np.arange(150) % 2
    points = np.random.RandomState(0).rand(150, 3)
    given = {"y": y, "views": [View("m", 0.0, points, y)]}
    run = load_run(save_run(tmp_path / "run", X=table, **given))
    assert [column.name for column in run.columns] == ["age", "site"]
    twice = pd.concat([table[["age"]], table[["age"]]], axis=1)
    run = load_run(save_run(tmp_path / "run", X=twice, **given))
    assert [column.name for column in run.columns] == ["age", "age"]
    for name in ("name", "far"):
        with pytest.raises(ValueError, match=f"The column '{name}' must hold numbers"):
            save_run(tmp_path / "run", columns=table[[name]], **given)
    with pytest.raises(ValueError, match="X must have one row for each of 150 samples"):
        save_run(tmp_path / "run", X=table[:9], **given)
    mapper = MapperGraph(n_intervals=3, eps=0.5).fit(points)
    run, _ = open_run(mapper, X=table[["age", "far"]].replace(np.inf, -1.0), y=y)
    assert [column.name for column in run.columns] == ["age", "far"]


def test_tensors_with_a_gradient_are_samples(tmp_path):
    table = torch.from_numpy(X).requires_grad_()
    run = load_run(save(tmp_path, X=table, image_shape=None))
    shown = np.column_stack([column.values for column in run.columns])
    np.testing.assert_array_equal(shown, table.detach().numpy())
    images = torch.from_numpy(X.reshape(6, 1, 2, 2)).requires_grad_()
    run = load_run(save(tmp_path, X=images, activations=X, image_shape=None))
    assert run.image_shape == (1, 2, 2)
    run = load_run(save(tmp_path, activations=table, confidence=table[:, 0]))
    np.testing.assert_array_equal(run.views[0].confidence, X[:, 0].astype(np.float32))
    views = [View("m", 0.0, X, Y)]
    columns = {"first": table[:, 0]}
    run = load_run(save_run(tmp_path / "run", y=Y, views=views, columns=columns))
    np.testing.assert_array_equal(run.columns[0].values, X[:, 0])


def test_make_views_gives_the_names_of_the_columns_to_the_model():
    """A pipeline that takes columns by their names, and one that would warn."""
    table = pd.DataFrame(SAMPLES, columns=list("abcde"))
    by_name = make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["d", "a"]), remainder="passthrough"
        ),
        LogisticRegression(),
    )
    models = {"by name": by_name, "plain": LogisticRegression()}
    fitted = {name: model.fit(table, CLASSES) for name, model in models.items()}
    attack = FGSMAttack(clip=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        views = make_views(fitted, table, CLASSES, attack, [0.0, 0.2])
    for view in views[1::2]:
        model = fitted[view.model]
        target = FGSMAttack(FrozenEstimator(model), eps=0.2, clip=None)
        score = target.fit(table, CLASSES).score(table, CLASSES)
        right = model.predict(table) == CLASSES
        assert np.mean((view.prediction == CLASSES) & right) == score
        assert isinstance(view.X, np.ndarray)


@pytest.mark.parametrize(
    "attack", [MinimalDistanceAttack(), best_of([FGSMAttack(), PGDAttack()])]
)
def test_an_attack_without_a_radius_has_no_levels(models, attack):
    with pytest.raises(ValueError, match=f"'attack' .* Got {type(attack).__name__}"):
        make_views(models, SAMPLES, CLASSES, attack, [0.0, 0.1])
    # Nothing is attacked.
    views = make_views(models, SAMPLES, CLASSES, attack, [0.0])
    assert {view.level for view in views} == {0.0}


def test_a_model_without_layers_is_refused_by_its_name():
    tree = {"tree": DecisionTreeClassifier(random_state=0).fit(SAMPLES, CLASSES)}
    match = "models with layers.* Got 'tree', a DecisionTreeClassifier"
    with pytest.raises(TypeError, match=match) as error:
        make_views(tree, SAMPLES, CLASSES, SquareAttack(), [0.0, 0.1])
    assert "Use" not in str(error.value)


def test_a_mapper_is_shown_with_its_own_parameters():
    mapper = MapperGraph(eps=2.0, n_intervals=2, min_samples=1).fit(X)
    with pytest.raises(ValueError, match="'mapper' parameter goes with a run"):
        open_run(mapper, MapperGraph(n_intervals=30))
    assert open_run(mapper)[1] is mapper


@pytest.mark.parametrize(
    "model",
    [
        # How well they are fitted does not matter.
        LogisticRegression(C=0.01, tol=0.1),
        MLPClassifier((8,), solver="lbfgs", tol=0.1, random_state=0),
    ],
)
def test_a_class_has_the_color_of_the_displays(tmp_path, pyplot, model):
    """Place among the classes of the model, not among those of the samples."""
    labels = np.arange(10)[np.arange(120) % 10]
    points = SAMPLES + labels[:, None]
    model = clone(model).fit(points, labels)
    shown = np.isin(labels, [3, 7])
    X, y = points[shown], labels[shown]
    views = make_views({"model": model}, X, y)
    run = load_run(save_run(tmp_path / "run", y=y, X=X, views=views))
    assert run.class_names == [str(label) for label in range(10)]
    np.testing.assert_array_equal(run.y, y)
    np.testing.assert_array_equal(run.views[0].prediction, model.predict(X))
    palette = describe_run(run, Graphs(run))["class_colors"]["light"]
    mapper = MapperGraph(n_intervals=2, eps=100.0)
    legend = MapperGraphDisplay.from_estimator(
        model, X, y, mapper=mapper, color="pie"
    ).ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["3", "7"]
    for k, patch in zip((3, 7), legend.get_patches(), strict=True):
        face = [round(255 * share) for share in patch.get_facecolor()[:3]]
        assert palette[k] == "#" + "".join(f"{value:02X}" for value in face)


@pytest.mark.parametrize(
    ("classes", "names", "expected"),
    [
        # Named, and known to the model alone.
        (["a", "b", "c"], ["A", "B", "C"], ["A", "B", "C"]),
        # The names are those of the labels of the samples.
        (["a", "b", "c"], ["A", "C"], ["A", "C"]),
        (["a", "b", "c"], None, ["a", "b", "c"]),
        # Not that many: they would share colours.
        ([f"k{i}" for i in range(40)], None, ["a", "c"]),
        (None, None, ["a", "c"]),
    ],
)
def test_classes_that_no_sample_has(tmp_path, classes, names, expected):
    y = np.array(["a", "c"])[Y]
    views = [View("m", 0.0, X, y, classes=classes)]
    run = load_run(save_run(tmp_path / "run", y=y, views=views, class_names=names))
    assert run.class_names == expected
    np.testing.assert_array_equal(np.char.lower(np.array(run.class_names)[run.y]), y)
