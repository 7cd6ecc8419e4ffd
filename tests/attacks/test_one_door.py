"""Attacks take the model that a user has, and samples as they are."""

import warnings
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from robustkit import plotting
from robustkit._randomness import seeded_torch
from robustkit.attacks import (
    FGSMAttack,
    OnePixelAttack,
    PGDAttack,
    SquareAttack,
    best_of,
    robust_scorer,
)
from robustkit.classifiers import TorchClassifier
from tests.attacks.victims import (
    GRADIENT_ATTACKS,
    aim,
    digits,
    digits_mlp,
    digits_module,
    digits_pipeline,
    torch_net,
)
from tests.common.callers_things import expect_unchanged

ATTACKS = {
    "pixel": OnePixelAttack(pop_size=8, max_iter=2, random_state=0),
    "PGD": PGDAttack(eps=0.05, max_iter=4, random_state=0, device="cpu"),
    "FGSM": FGSMAttack(eps=0.05, device="cpu"),
}


class Images(nn.Module):
    """The digits' network, which takes images only."""

    def __init__(self):
        super().__init__()
        # A copy: some tests train it.
        first, relu, last = deepcopy(digits_module())
        self.features = nn.Sequential(nn.Flatten(), first, relu)
        self.norm = nn.Dropout(0.2)
        self.head = last

    def forward(self, x):
        assert x.shape[1:] == (1, 8, 8)
        return self.head(self.norm(self.features(x)))


def digit_images(n_samples=40):
    X, y = digits(n_samples)
    return X.reshape(-1, 1, 8, 8), y


@pytest.mark.parametrize("name", ATTACKS)
def test_bare_module_is_attacked_as_the_classifier_around_it(name):
    X, y = digits(40)
    bare = clone(ATTACKS[name]).set_params(estimator=digits_module()).fit(X, y)
    result = bare.perturb(X, y)
    expected = aim(ATTACKS[name], torch_net(), X, y).perturb(X, y)
    np.testing.assert_array_equal(result.X_adv, expected.X_adv)
    np.testing.assert_array_equal(result.prediction, expected.prediction)
    np.testing.assert_array_equal(bare.classes_, np.arange(10))
    assert bare.estimator_.module_ is digits_module()


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("name", ATTACKS)
def test_images_give_images_and_the_same_points_as_rows(name, make):
    X, y = digit_images()
    attack = clone(ATTACKS[name]).set_params(estimator=Images()).fit(make(X), y)
    result = attack.perturb(make(X), y)
    assert type(result.X_adv) is type(make(X))
    assert result.X_adv.shape == X.shape
    assert attack.transform(make(X[:3])).shape == (3, 1, 8, 8)
    if name == "pixel":
        # It takes the shape of the images from X.
        attack.set_params(image_shape=(1, 8, 8))
    rows = aim(attack, torch_net(), X.reshape(-1, 64), y)
    expected = rows.perturb(X.reshape(-1, 64), y)
    np.testing.assert_array_equal(
        np.asarray(result.X_adv).reshape(-1, 64), expected.X_adv
    )
    assert attack.score(make(X), y) == rows.score(X.reshape(-1, 64), y)
    report, flat = attack.report(make(X), y), rows.report(X.reshape(-1, 64), y)
    assert report.drop("image_shape", errors="ignore").equals(
        flat.drop("image_shape", errors="ignore")
    )
    np.testing.assert_array_equal(
        attack.predict(make(X)), rows.predict(X.reshape(-1, 64))
    )


def test_one_pixel_changes_a_pixel_of_all_channels_of_images():
    X = np.random.default_rng(0).uniform(size=(6, 2, 4, 4)).astype(np.float32)
    with seeded_torch(0):
        module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2))
    attack = OnePixelAttack(module, method="exhaustive", levels=2).fit(
        X, np.arange(6) % 2
    )
    moved = (attack.perturb(X).X_adv != X).any(axis=1)
    assert (moved.sum(axis=(1, 2)) <= 1).all()
    assert attack.report(X, np.arange(6) % 2)["image_shape"] == (2, 4, 4)


def test_images_without_a_channel_reach_modules_with_and_without_one():
    X, y = digit_images()
    with_channel = FGSMAttack(Images()).fit(X[:, 0], y).perturb(X[:, 0], y)
    flat = nn.Sequential(nn.Flatten(), digits_module())
    without = FGSMAttack(flat).fit(X[:, 0], y).perturb(X[:, 0], y)
    assert with_channel.X_adv.shape == (len(X), 8, 8)
    np.testing.assert_array_equal(with_channel.X_adv, without.X_adv)


def test_images_of_another_layout_are_refused():
    X = np.random.default_rng(0).random((8, 3, 4, 4), dtype=np.float32)
    y, other = np.arange(8) % 2, X.transpose(0, 2, 3, 1)
    with seeded_torch(0):
        net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    attack = FGSMAttack(net).fit(X, y)
    joined = best_of([FGSMAttack()], estimator=net).fit(X, y)
    known = TorchClassifier.from_module(net, [0, 1], image_shape=(3, 4, 4))
    # It knows the shape itself where the attack was fitted on rows.
    of_rows = FGSMAttack(FrozenEstimator(known)).fit(X.reshape(8, -1), y)
    asks = [
        attack.perturb, attack.predict, lambda X: attack.report(X, y),
        lambda X: attack.report(stream(X, y)), lambda X: attack.score(stream(X, y)),
        lambda X: attack.transform(torch.from_numpy(X)), joined.perturb,
        of_rows.perturb,
        lambda X: FGSMAttack(FrozenEstimator(known)).fit(X, y),
        lambda X: robust_scorer(FGSMAttack())(known, X, y),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(
            ValueError, match=r"\(3, 4, 4\).*Got images of .*\(4, 4, 3\)"
        ):
            ask(other)
    mixed = [(X[0], 0), (X[1], 1), (other[0], 0), (other[1], 1)]
    with pytest.raises(ValueError, match=r"Got images of shape \(4, 4, 3\)"):
        FGSMAttack(net).fit(batches_of(mixed, 2))
    expected = attack.perturb(X, y).X_adv
    np.testing.assert_array_equal(of_rows.perturb(X, y).X_adv, expected)


def stream(X, y):
    return batches_of(list(zip(X, y, strict=True)), 4)


def batches_of(pairs, batch_size):
    generator = torch.Generator().manual_seed(0)
    return DataLoader(pairs, batch_size=batch_size, generator=generator)


def test_pixels_of_uint8_are_attacked_as_numbers_up_to_one():
    X, y = digit_images()
    pixels = np.round(X * 255).astype(np.uint8)
    attack = FGSMAttack(Images(), eps=0.05).fit(pixels, y)
    assert attack.clip_ == (0.0, 1.0)
    result = attack.perturb(pixels, y)
    scaled = pixels.astype(np.float32) / 255
    assert result.X_adv.dtype == np.float32
    np.testing.assert_array_equal(result.X_adv, attack.perturb(scaled, y).X_adv)


def test_rows_go_to_scikit_learn_models_that_get_images():
    X, y = digit_images(200)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    result = FGSMAttack(model).fit(X, y).perturb(X[:9], y[:9])
    rows = X.reshape(-1, 64)
    expected = FGSMAttack(model).fit(rows, y).perturb(rows[:9], y[:9])
    np.testing.assert_array_equal(result.X_adv.reshape(-1, 64), expected.X_adv)


def test_network_that_needs_images_is_trained_on_them():
    X, y = digit_images()
    model = TorchClassifier(
        lambda n_features, n_classes: Images(),
        max_epochs=1,
        device="cpu",
        random_state=0,
    )
    assert FGSMAttack(model).fit(X, y).estimator_._image_shape == (1, 8, 8)


def test_wrapped_module_learns_from_images_that_it_takes_images():
    X, y = digit_images()
    for module in (Images(), digits_module()):
        model = TorchClassifier.from_module(module, classes=range(10))
        result = FGSMAttack(model).fit(X, y).perturb(X, y)
        expected = FGSMAttack(Images()).fit(X, y).perturb(X, y)
        np.testing.assert_array_equal(result.X_adv, expected.X_adv)


def skorch_net(X, y, module=Images):
    skorch = pytest.importorskip("skorch", reason="attacks skorch nets")
    net = skorch.NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        max_epochs=1,
        lr=1e-4,
        train_split=None,
        verbose=0,
        iterator_train__shuffle=False,
    )
    with seeded_torch(0):
        return net.fit(X, y.astype(np.int64))


def test_skorch_net_of_images_is_attacked_as_its_module():
    X, y = digit_images()
    net = skorch_net(X, y)
    attack = FGSMAttack(FrozenEstimator(net)).fit(X, y)
    expected = FGSMAttack(net.module_).fit(X, y).perturb(X, y)
    np.testing.assert_array_equal(attack.perturb(X, y).X_adv, expected.X_adv)
    with seeded_torch(0):
        np.testing.assert_array_equal(attack.predict(X), net.predict(X))
        with pytest.warns(UserWarning, match="trains a new NeuralNetClassifier"):
            FGSMAttack(net).fit(X, y)


def test_bare_module_stays_as_it_is_and_is_never_copied():
    module = Images()
    module.head.weight.grad = torch.ones_like(module.head.weight)
    X, y = digit_images()
    attack = PGDAttack(module, eps=0.05, max_iter=2, random_state=0, device="cpu")
    with expect_unchanged(X, y, module=module):
        assert clone(attack).estimator is module
        assert clone(clone(attack).fit(X, y)).estimator is module
        attack.fit(X, y).report(X, y)
        cross_val_score(FGSMAttack(module), X, y, cv=KFold(2))
    module.train()
    with expect_unchanged(X, y, module=module):
        attack.fit(X, y).perturb(X, y)


def test_repr_of_a_module_is_its_class():
    assert (
        repr(PGDAttack(Images(), eps=0.3))
        == "PGDAttack(eps=0.3, estimator=Images(...))"
    )
    assert "Linear" not in PGDAttack(Images())._repr_html_()


def test_search_over_an_attack_on_a_bare_module():
    X, y = digits(60)
    search = GridSearchCV(FGSMAttack(digits_module()), {"eps": [0.3, 0.01]}, cv=2)
    assert search.fit(X, y).best_params_ == {"eps": 0.01}


def test_scorer_takes_a_bare_module():
    X, y = digit_images()
    score = robust_scorer(FGSMAttack(eps=0.05))(Images(), X, y)
    assert score == FGSMAttack(Images(), eps=0.05).fit(X, y).score(X, y)


def test_fitted_model_that_is_not_frozen_warns_before_it_is_trained_again():
    X, y = digits(60)
    model = LogisticRegression().fit(X, y)
    with pytest.warns(UserWarning, match=r"FrozenEstimator\(model\)") as caught:
        FGSMAttack(model).fit(X, y)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="trains a new Pipeline"):
        FGSMAttack(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)).fit(
            X, y
        )


def test_models_that_stay_as_they_are_or_were_never_fitted_do_not_warn():
    X, y = digits(60)
    fitted = LogisticRegression().fit(X, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FGSMAttack(LogisticRegression()).fit(X, y).fit(X, y)
        FGSMAttack(FrozenEstimator(fitted)).fit(X, y)
        FGSMAttack(torch_net()).fit(X, y)
        FGSMAttack(digits_module()).fit(X, y)
        # `clone` makes the model inside unfitted.
        GridSearchCV(FGSMAttack(fitted), {"eps": [0.1]}, cv=2).fit(X, y)
    assert not caught


@pytest.mark.parametrize(
    ("module", "X", "y", "message"),
    [
        (Images(), np.zeros((4, 64)), [0, 1, 2, 3], r"Images cannot be called with X"),
        (nn.Linear(3, 4), np.zeros((4, 5)), [0, 1, 2, 3], r"of shape \(n, 5\)"),
        (nn.Linear(3, 2), np.eye(4, 3), [0, 1, 2, 0], r"are 0 to 1\. Got y with \[2\]"),
        (nn.Linear(3, 2), np.eye(2, 3), ["0", "1"], r"Got y with \['0', '1'\]"),
        (nn.Linear(3, 1), np.eye(4, 3), [0, 1, 0, 1], r"It returned \(2, 1\)"),
        (
            nn.Conv1d(1, 1, 1),
            np.zeros((4, 1, 3)),
            [0, 1, 0, 1],
            r"It returned \(2, 1, 3\)",
        ),
        # Of the shapes that were tried, the error names that of X.
        (nn.Conv2d(3, 2, 3), np.zeros((4, 8, 8)), [0, 1, 0, 1], r"shape \(n, 8, 8\)"),
    ],
    ids=["rows", "width", "three classes", "words", "one logit", "maps", "colours"],
)
def test_module_that_does_not_fit_says_why(module, X, y, message):
    if isinstance(module, Images):
        with seeded_torch(0):
            module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
        message = message.replace("Images", "Sequential")
    with pytest.raises(ValueError, match=message):
        FGSMAttack(module).fit(X, y)


@pytest.mark.parametrize(
    "attack",
    [SquareAttack(max_queries=5), OnePixelAttack(pop_size=4, max_iter=1)],
    ids=["square", "pixel"],
)
def test_what_has_too_many_sides_is_no_image(attack):
    X, y = digits(10)
    volumes = X.reshape(10, 1, 2, 4, 8)
    attack.set_params(estimator=FrozenEstimator(digits_pipeline()), random_state=0)
    attack.set_params(image_shape=None)
    message = r"Got X of shape \(n, 1, 2, 4, 8\)\. Pass X as rows, or say with 'image_s"
    with pytest.raises(ValueError, match=message):
        attack.fit(volumes, y)
    attack.set_params(image_shape=(8, 8))
    X_adv = attack.fit(volumes, y).perturb(volumes, y).X_adv
    assert X_adv.shape == volumes.shape
    rows = attack.fit(X, y).perturb(X, y).X_adv
    np.testing.assert_array_equal(X_adv.reshape(10, -1), rows)


def test_something_that_is_no_model_is_refused_on_one_line():
    X, y = digits(10)
    with pytest.raises(
        ValueError, match="The 'estimator' parameter of FGSMAttack"
    ) as e:
        FGSMAttack("net").fit(X, y)
    assert "\n" not in str(e.value)


def test_report_says_what_was_asked_and_counts_in_integers():
    X, y = digits(40)
    attack = aim(PGDAttack(eps=0.05, max_iter=3, random_state=0), torch_net(), X, y)
    report = attack.report(X, y)
    asked = {"norm": "linf", "eps": 0.05, "loss": "ce", "max_iter": 3, "n_restarts": 1}
    assert {name: report[name] for name in asked} == asked
    assert report["step_size"] is None
    for name, value in report.items():
        if name.startswith("n_") and name != "n_restarts":
            assert type(value) is int, name
    assert type(report["robust_accuracy"]) is float
    names = ["robust_accuracy", *(f"robust_accuracy_{n}" for n in LOSSES)]
    assert report["robust_accuracy_worst"] == min(report[names])
    rounded = report.round(2)
    assert rounded["robust_accuracy"] == round(report["robust_accuracy"], 2)
    assert rounded["norm"] == "linf"
    assert pd.DataFrame([report, report])["n_samples"].tolist() == [40, 40]


LOSSES = ("ce", "margin", "rotate")


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_every_gradient_attack_reports_its_loss(name):
    X, y = digits(20)
    attack = aim(GRADIENT_ATTACKS[name], torch_net(), X, y)
    report = attack.report(X, y, diagnostics=False)
    assert report["loss"] in ("ce", "margin", "rotate", "dlr")
    assert report["norm"] in ("linf", "l2")
    assert "robust_accuracy_worst" not in report


def test_result_shows_a_summary_and_not_its_arrays():
    X, y = digit_images()
    result = FGSMAttack(Images(), eps=0.05).fit(X, y).perturb(X, y)
    text = repr(result)
    assert text.startswith(
        "AttackResult of FGSMAttack(norm='linf', loss='ce', eps=0.05"
    )
    assert "X_adv: 40 x 1 x 8 x 8, float32" in text
    assert "robust_accuracy: 0." in text
    assert "array(" not in text
    html = result._repr_html_()
    assert "robust_accuracy" in html
    assert "<table" in html


def test_notebook_shows_what_is_attacked():
    X, y = digit_images()
    attack = FGSMAttack(Images(), eps=0.05)
    assert "(0.0, 1.0)" not in attack._repr_html_()
    html = attack.fit(X, y)._repr_html_()
    assert "TorchClassifier of Images" in html
    assert "(0.0, 1.0)" in html
    assert "FGSMAttack" in html
    frozen = aim(FGSMAttack(), digits_mlp(), *digits(40))
    assert "MLPClassifier" in frozen._repr_html_()


def test_a_proof_about_images_is_that_about_rows():
    X, y = digits(8)
    with seeded_torch(0):
        linear = nn.Linear(64, 10)
    rows = OnePixelAttack(linear, method="certified", image_shape=(8, 8)).fit(X, y)
    images = OnePixelAttack(nn.Sequential(nn.Flatten(), linear), method="certified")
    images = images.fit(X.reshape(-1, 1, 8, 8), y)
    of_rows = rows.perturb(X, y)
    of_images = images.perturb(X.reshape(-1, 1, 8, 8), y)
    np.testing.assert_array_equal(of_images.certified, of_rows.certified)
    np.testing.assert_array_equal(of_images.X_adv.reshape(-1, 64), of_rows.X_adv)


def test_attacks_joined_by_best_of_take_modules_images_and_streams():
    X, y = digit_images()
    fgsm, pgd = clone(ATTACKS["FGSM"]), clone(ATTACKS["PGD"])
    attack = best_of([fgsm, pgd], estimator=Images()).fit(torch.as_tensor(X), y)
    result = attack.perturb(torch.as_tensor(X), y)
    rows = X.reshape(-1, 64)
    expected = best_of([fgsm, pgd], estimator=torch_net()).fit(rows, y)
    np.testing.assert_array_equal(
        result.X_adv.reshape(-1, 64), expected.perturb(rows, y).X_adv
    )
    stream = TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
    report = attack.report(stream)
    assert report.drop("average_confidence").equals(
        attack.report(X, y).drop("average_confidence")
    )
    assert attack.score(stream) == attack.score(X, y)
    assert "BestOfAttack" in repr(result)
    assert "Images" in attack._repr_html_()


@pytest.mark.parametrize("attack", [SquareAttack(max_queries=20, random_state=0)])
def test_squares_are_those_of_the_images(attack):
    X, y = digit_images()
    images = clone(attack).set_params(estimator=Images()).fit(X, y)
    rows = clone(attack).set_params(image_shape=(1, 8, 8))
    rows = aim(rows, torch_net(), X.reshape(-1, 64), y)
    np.testing.assert_array_equal(
        images.perturb(X, y).X_adv.reshape(-1, 64),
        rows.perturb(X.reshape(-1, 64), y).X_adv,
    )


@pytest.mark.parametrize(
    "display",
    [
        plotting.RobustnessCurveDisplay,
        plotting.AdversarialExamplesDisplay,
        plotting.PopulatedRegionsDisplay,
        plotting.MapperGraphDisplay,
    ],
)
def test_displays_take_bare_modules_and_images(display):
    plt = pytest.importorskip("matplotlib.pyplot", reason="draws")
    X, y = digit_images(120)
    shown = display.from_estimator(Images(), torch.as_tensor(X), y)
    assert shown.figure_.axes
    plt.close("all")
