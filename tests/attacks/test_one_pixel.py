"""One Pixel: the searches find what exists, and the certificates hold."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from robustkit.attacks import OnePixelAttack, robust_scorer
from tests.attacks.pixel_victims import (
    MODELS,
    WITHOUT_PROOF,
    convolutional,
    fitted,
    images,
)

LEVELS = 7
METHODS = ["differential_evolution", "exhaustive", "certified"]


def attack_of(name, method, n_samples=25, **params):
    X, y = images()
    model = fitted(name)
    params = {"image_shape": (5, 5), "levels": LEVELS, "device": "cpu", **params}
    attack = OnePixelAttack(
        FrozenEstimator(model), method=method, random_state=0, **params
    )
    return attack.fit(X, y).perturb(X[:n_samples], y[:n_samples]), model


def brute_force(model, x, label, levels=LEVELS):
    """Every pixel with every level, in whole images, one after the other."""
    candidates = np.repeat(x[None], x.size * levels, axis=0)
    pixel = np.repeat(np.arange(x.size), levels)
    candidates[np.arange(len(pixel)), pixel] = np.tile(
        np.linspace(0, 1, levels), x.size
    )
    return (model.predict(candidates) != label).any()


@pytest.mark.parametrize("name", [*MODELS, *WITHOUT_PROOF])
def test_exhaustive_one_pixel_equals_brute_force(name):
    result, model = attack_of(name, "exhaustive")
    X, y = images()
    right = result.clean_prediction == y[:25]
    expected = [bool(right[i]) and brute_force(model, X[i], y[i]) for i in range(25)]
    assert 0 < np.sum(expected) < right.sum()
    np.testing.assert_array_equal(result.success, expected)
    kept = right & ~result.success
    assert (result.n_queries[kept] == 25 * 2 + 25 * LEVELS).all()


@pytest.mark.parametrize("name", [*MODELS, *WITHOUT_PROOF])
def test_evolution_finds_most_of_what_exhaustive_search_finds(name):
    exact, _ = attack_of(name, "exhaustive")
    result, model = attack_of(name, "differential_evolution", pop_size=30, max_iter=15)
    assert not (result.success & ~exact.success).any()
    assert result.success.sum() >= 0.8 * exact.success.sum()
    np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))
    kept = (result.clean_prediction == result.y) & ~result.success
    assert (result.n_queries[kept] == 30 * 16).all()
    assert (result.n_queries[result.success] <= 30 * 16).all()
    assert (result.n_queries % 30 == 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_certificate_equals_exhaustive_search_and_decides_every_sample(name):
    exact, _ = attack_of(name, "exhaustive", n_samples=60, levels=33)
    proof, _ = attack_of(name, "certified", n_samples=60, levels=33)
    right = proof.clean_prediction == proof.y
    np.testing.assert_array_equal(proof.success, exact.success)
    np.testing.assert_array_equal(proof.certified, right & ~proof.success)


@pytest.mark.parametrize("name", MODELS)
def test_certificate_does_not_depend_on_the_grid(name):
    """What two levels cannot decide is decided between them."""
    coarse, _ = attack_of(name, "certified", n_samples=60, levels=2)
    fine, _ = attack_of(name, "certified", n_samples=60, levels=100)
    np.testing.assert_array_equal(coarse.certified, fine.certified)
    np.testing.assert_array_equal(coarse.success, fine.success)


@pytest.mark.parametrize("name", MODELS)
def test_no_real_value_fools_a_certified_sample(name):
    proof, model = attack_of(name, "certified", n_samples=60)
    assert proof.certified.any()
    rng = np.random.default_rng(0)
    X, _ = images()
    for i in np.flatnonzero(proof.certified):
        tried = np.repeat(X[i][None].astype(np.float64), 400, axis=0)
        pixel = rng.integers(25, size=400)
        tried[np.arange(400), pixel] = rng.random(400)
        assert (model.predict(tried) == proof.y[i]).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_pixel_changes_one_feature_only(method, dtype):
    X, y = images()
    X = X.astype(dtype)
    attack = OnePixelAttack(
        FrozenEstimator(fitted("mlp")),
        method=method,
        pop_size=20,
        max_iter=5,
        random_state=0,
    )
    result = attack.fit(X, y).perturb(X, y)
    changed = (result.X_adv != X).sum(axis=1)
    assert result.X_adv.dtype == dtype
    np.testing.assert_array_equal(changed, result.success)
    assert result.X_adv.min() >= 0
    assert result.X_adv.max() <= 1
    np.testing.assert_allclose(result.eps, np.abs(result.X_adv - X).max(axis=1))


@pytest.mark.parametrize("method", METHODS)
def test_one_pixel_changes_all_channels_of_a_pixel(method):
    model, X, y = convolutional(3)
    if method == "certified":
        from tests.attacks.victims import linear_net

        rng = np.random.default_rng(0)
        model = linear_net(rng.normal(size=(3, 48)), np.zeros(3))
        y = model.predict(X)
    attack = OnePixelAttack(
        FrozenEstimator(model),
        method=method,
        image_shape=(3, 4, 4),
        levels=3,
        pop_size=30,
        max_iter=10,
        random_state=0,
        device="cpu",
    ).fit(X, y)
    result = attack.perturb(X, y)
    assert result.success.any()
    move = (result.X_adv != X).reshape(-1, 3, 16)
    assert (move.any(axis=1).sum(axis=1) <= 1).all()
    # The reference: 16 pixels, three levels in each of three channels.
    grid = np.stack(np.meshgrid(*[[0, 0.5, 1]] * 3), axis=-1).reshape(-1, 3)
    for i in np.flatnonzero(~result.success) if method != "certified" else ():
        if method == "exhaustive":
            for pixel in range(16):
                tried = np.repeat(X[i].reshape(1, 3, 16), len(grid), axis=0)
                tried[:, :, pixel] = grid
                assert (model.predict(tried.reshape(len(grid), -1)) == y[i]).all()
    if method == "certified":
        best = _best_linear_margin(model, X, y)
        np.testing.assert_array_equal(result.success, best < 0)
        np.testing.assert_array_equal(result.certified, best > 0)


def test_certificate_of_colour_images_behind_hidden_layers():
    """A pixel of three channels moves the units along three lines."""
    _, X, _ = convolutional(3)
    y = (X.reshape(-1, 3, 16).sum(axis=2) - 0.2 * X[:, 5:6]).argmax(axis=1)
    model = MLPClassifier((9, 7), solver="lbfgs", max_iter=80, random_state=0).fit(X, y)

    def result(method, **params):
        attack = OnePixelAttack(
            FrozenEstimator(model), method=method, image_shape=(3, 4, 4), **params
        )
        return attack.fit(X, y).perturb(X, y)

    proof, grid = result("certified"), result("exhaustive", levels=3)
    right = proof.clean_prediction == y
    np.testing.assert_array_equal(proof.certified, right & ~proof.success)
    assert proof.certified.any()
    assert grid.success.any()
    assert not (grid.success & ~proof.success).any()
    rng = np.random.default_rng(0)
    for i in np.flatnonzero(proof.certified):
        tried = np.repeat(X[i].reshape(1, 3, 16), 500, axis=0)
        tried[np.arange(500), :, rng.integers(16, size=500)] = rng.random((500, 3))
        assert (model.predict(tried.reshape(500, -1)) == y[i]).all()


def _best_linear_margin(model, X, y):
    """A linear margin is smallest at a corner of one pixel's cube."""
    W = model.module_.weight.detach().double().numpy()
    logits = X.astype(np.float64) @ W.T
    smallest = np.full(len(X), np.inf)
    for other in range(3):
        for i in np.flatnonzero(y != other):
            w = (W[y[i]] - W[other]).reshape(3, 16)
            now = w * X[i].reshape(3, 16)
            gain = (np.minimum(w, 0) - now).sum(axis=0).min()
            smallest[i] = min(smallest[i], logits[i, y[i]] - logits[i, other] + gain)
    return smallest


def test_exhaustive_one_pixel_of_a_convolution_equals_brute_force():
    model, X, y = convolutional()
    attack = OnePixelAttack(
        FrozenEstimator(model), method="exhaustive", image_shape=(4, 4), levels=5
    )
    result = attack.fit(X, y).perturb(X, y)
    expected = [
        brute_force(model, x, label, levels=5) for x, label in zip(X, y, strict=False)
    ]
    assert 0 < np.sum(expected) < len(X)
    np.testing.assert_array_equal(result.success, expected)


@pytest.mark.parametrize("name", ["mlp", "forest"])
def test_one_pixel_does_not_depend_on_order_subset_or_batch_size(name):
    X, y = images()
    params = {"pop_size": 12, "max_iter": 4, "random_state": 3}
    attack = OnePixelAttack(FrozenEstimator(fitted(name)), **params).fit(X, y)
    whole = attack.perturb(X, y)
    order = np.random.default_rng(0).permutation(len(X))[:60]
    part = attack.set_params(batch_size=7).perturb(X[order], y[order])
    np.testing.assert_array_equal(part.X_adv, whole.X_adv[order])
    np.testing.assert_array_equal(part.n_queries, whole.n_queries[order])
    other = attack.set_params(random_state=4).perturb(X[order], y[order])
    assert (other.X_adv != part.X_adv).any()


def test_report_contains_certified_accuracy():
    X, y = images()
    attack = OnePixelAttack(FrozenEstimator(fitted("mlp")), method="certified")
    report = attack.fit(X, y).report(X, y)
    result = attack.perturb(X, y)
    assert report["certified_accuracy"] == result.certified.mean()
    assert report["certified_accuracy"] == report["robust_accuracy"]
    scorer = robust_scorer(OnePixelAttack(method="certified"), "certified_accuracy")
    assert scorer(fitted("mlp"), X, y) == report["certified_accuracy"]
    search = OnePixelAttack(
        FrozenEstimator(fitted("mlp")), pop_size=5, max_iter=1, random_state=0
    )
    assert "certified_accuracy" not in search.fit(X, y).report(X, y)


def test_misclassified_samples_are_not_certified():
    X, y = images()
    attack = OnePixelAttack(FrozenEstimator(fitted("mlp")), method="certified")
    model_says = fitted("mlp").predict(X[:5])
    result = attack.fit(X, y).perturb(X[:5], (model_says + 1) % 3)
    assert not result.certified.any()
    assert not result.success.any()


def test_one_pixel_without_clip_stays_in_the_range_of_the_training_data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)) * [1, 10, 100]
    y = (X @ [1, 0.1, 0.01] > 0).astype(int)
    model = LogisticRegression(max_iter=1000).fit(X, y)
    attack = OnePixelAttack(FrozenEstimator(model), method="exhaustive", levels=50)
    result = attack.fit(X, y).perturb(X, y)
    np.testing.assert_array_equal(attack.value_range_, [X.min(0), X.max(0)])
    assert attack.clip_ is None
    assert result.success.any()
    assert (result.X_adv >= X.min(axis=0)).all()
    assert (result.X_adv <= X.max(axis=0)).all()


def test_one_pixel_attacks_any_classifier_with_predict_proba():
    X, y = images()
    attack = OnePixelAttack(
        KNeighborsClassifier(), pop_size=10, max_iter=2, random_state=0
    ).fit(X, y)
    assert attack.score(X[:20], y[:20]) <= attack.estimator_.score(X[:20], y[:20])


@pytest.mark.parametrize("shape", [(4, 5), (2, 5, 5), (25,), "square"])
def test_one_pixel_refuses_an_image_shape_that_does_not_fit(shape):
    X, y = images()
    with pytest.raises(ValueError, match="image_shape"):
        OnePixelAttack(FrozenEstimator(fitted("mlp")), image_shape=shape).fit(X, y)


def own_kernel(X, Y):
    return X @ Y.T


def test_one_pixel_refuses_a_model_without_predict_proba():
    X, y = images()
    model = SVC(kernel=own_kernel, random_state=0)
    with pytest.raises(TypeError, match=r"predict_proba.*CalibratedClassifierCV"):
        OnePixelAttack(model).fit(X, y)
    cured = CalibratedClassifierCV(model, ensemble=False)
    OnePixelAttack(cured, pop_size=5, max_iter=1, random_state=0).fit(X, y)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tanh", "This one has a Tanh"),
        ("normalized", "begins with a linear map"),
        ("forest", "RandomForestClassifier has no gradient"),
    ],
)
def test_certificate_refuses_an_unknown_model_by_name(name, words):
    X, y = images()
    with pytest.raises(TypeError, match=words):
        OnePixelAttack(FrozenEstimator(fitted(name)), method="certified").fit(X, y)


def test_exhaustive_one_pixel_refuses_too_many_levels_and_channels():
    model, X, y = convolutional(3)
    attack = OnePixelAttack(
        FrozenEstimator(model), method="exhaustive", image_shape=(3, 4, 4)
    ).fit(X, y)
    with pytest.raises(ValueError, match=r"2.7e\+08 candidates per image. Use fewer"):
        attack.perturb(X, y)
