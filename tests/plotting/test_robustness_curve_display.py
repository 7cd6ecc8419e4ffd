"""The curve is that of the attack, and never rises."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    ModuleAttack,
    OnePixelAttack,
    PGDAttack,
    best_of,
)
from robustkit.exceptions import GradientMaskingWarning
from robustkit.plotting import RobustnessCurveDisplay
from tests.attacks.victims import aim, digits, digits_pipeline, torch_net

EPS = [0.01, 0.03, 0.06, 0.1]


def test_points_are_scores_of_the_attack(pyplot):
    X, y = digits(150)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    display = RobustnessCurveDisplay.from_estimator(attack, X, y, eps=EPS)
    np.testing.assert_array_equal(display.line_.get_xdata(), [0, *EPS])
    accuracy = display.line_.get_ydata()
    assert accuracy[0] == np.mean(attack.predict(X) == y)
    for size, share in zip(EPS, accuracy[1:], strict=True):
        # Whoever fell to a smaller one is fallen.
        assert share <= aim(FGSMAttack(eps=size), digits_pipeline(), X, y).score(X, y)
    assert (np.diff(accuracy) <= 0).all()
    assert attack.eps == 0.1
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize(
    "attack",
    [FGSMAttack(), GrowingEpsilonAttack(), MinimalDistanceAttack()],
    ids=lambda attack: type(attack).__name__,
)
@pytest.mark.parametrize("eps", [None, [0.1]], ids=str)
def test_a_curve_needs_a_sample(pyplot, attack, eps):
    X, y = digits(150)
    attack = aim(attack, digits_pipeline(), X, y)
    with pytest.raises(ValueError, match="hold at least one sample"):
        RobustnessCurveDisplay.from_estimator(attack, X[:0], y[:0], eps=eps)


def test_growing_attack_gives_the_same_curve(pyplot):
    X, y = digits(150)
    growing = GrowingEpsilonAttack(start=0.01, step=0.01, stop=0.1)
    grid = 0.01 + 0.01 * np.arange(10)
    both = [
        RobustnessCurveDisplay.from_estimator(
            aim(attack, torch_net(), X, y), X, y, eps=grid
        )
        for attack in (growing, FGSMAttack())
    ]
    np.testing.assert_allclose(*(d.robust_accuracy for d in both), atol=1e-12)
    own = RobustnessCurveDisplay.from_estimator(aim(growing, torch_net(), X, y), X, y)
    assert set(own.eps[1:-1]) <= set(grid)


def test_several_models_share_one_axes(pyplot):
    X, y = digits(60)
    _, ax = pyplot.subplots()
    for name, model in (("net", torch_net()), ("linear", digits_pipeline())):
        attack = aim(FGSMAttack(), model, X, y)
        display = RobustnessCurveDisplay.from_estimator(
            attack, X, y, eps=EPS, name=name, ax=ax
        )
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["net", "linear"]
    assert len(ax.lines) == 2
    assert len(ax.collections) == 2


def test_default_sizes_reach_to_twice_that_of_the_attack(pyplot):
    X, y = digits(30)
    attack = aim(FGSMAttack(eps=0.05), digits_pipeline(), X, y)
    display = RobustnessCurveDisplay.from_estimator(attack, X, y)
    assert display.eps[0] == 0
    assert display.eps[-1] == 0.1


def test_band_is_wilsons_interval(pyplot):
    display = RobustnessCurveDisplay([0, 1], [1.0, 0.5], n_samples=100).plot()
    (band,) = display.ax_.collections
    heights = band.get_paths()[0].vertices[:, 1]
    # The values of the table for 100 of 100, and 50 of 100.
    for expected in (0.963, 1.0, 0.404, 0.596):
        assert np.abs(heights - expected).min() < 1e-3


def test_what_cannot_be_drawn_is_refused(pyplot):
    X, y = digits(30)
    with pytest.raises(NotFittedError, match="not fitted"):
        RobustnessCurveDisplay.from_estimator(FGSMAttack(), X, y)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    with pytest.raises(ValueError, match="'eps' must hold numbers"):
        RobustnessCurveDisplay.from_estimator(attack, X, y, eps=[-0.1])
    pixel = aim(OnePixelAttack(), digits_pipeline(), X, y)
    with pytest.raises(TypeError, match="OnePixelAttack has no parameter 'eps'"):
        RobustnessCurveDisplay.from_estimator(pixel, X, y)


class Overshooting(ModuleAttack):
    """Fools with small steps only: far away the digits' network is right again."""

    def perturb_module(self, module, X, y):
        if self.eps > 0.2:
            return X
        return FGSMAttack(eps=self.eps).perturb_module(module, X, y)


def test_robust_accuracy_that_rises_with_eps_is_flagged(pyplot):
    X, y = digits(150)
    attack = aim(Overshooting(), torch_net(), X, y)
    rise = "at eps=0.1 to .* at eps=0.3"
    with pytest.warns(GradientMaskingWarning, match=rise) as caught:
        display = RobustnessCurveDisplay.from_estimator(attack, X, y, eps=[0.1, 0.3])
    assert caught[0].filename == __file__
    # The curve itself keeps what fell.
    assert (np.diff(display.robust_accuracy) <= 0).all()


def test_curve_over_one_eps_per_feature_needs_its_sizes(pyplot):
    X, y = digits(20)
    attack = aim(FGSMAttack(eps=np.full(64, 0.1)), torch_net(), X, y)
    with pytest.raises(ValueError, match="'eps' must be given"):
        RobustnessCurveDisplay.from_estimator(attack, X, y)


@pytest.mark.parametrize(
    "distances",
    [
        [0.3],
        [0.0, 0.1, 0.1, 0.3],
        [np.inf, 0.2, np.nan, 0.0, 0.2, 0.7],
        [np.inf, np.inf],
        [0.0, 0.0],
    ],
)
def test_curve_from_distances_is_their_empirical_distribution(pyplot, distances):
    display = RobustnessCurveDisplay.from_distances(distances, name="model")
    numbers = np.array([d for d in distances if not np.isnan(d)])
    assert display.eps[0] == 0
    assert set(display.eps[1:]) == {d for d in numbers if 0 < d < np.inf}
    for eps, accuracy in zip(display.eps, display.robust_accuracy, strict=True):
        assert accuracy == pytest.approx(np.mean(numbers > eps))
    # It is constant between two sizes, and is drawn so.
    assert display.line_.get_drawstyle() == "steps-post"
    assert display.n_samples == len(numbers)


def test_distances_are_numbers_and_not_negative():
    with pytest.raises(ValueError, match=r"none of them negative. Got \[-1.0"):
        RobustnessCurveDisplay.from_distances([0.5, -1.0])
    with pytest.raises(ValueError, match=r"at least one number.* Got \[\]"):
        RobustnessCurveDisplay.from_distances([np.nan])


def test_from_estimator_attacks_a_classifier(pyplot):
    X, y = digits(60)
    model, attack = digits_pipeline(), FGSMAttack()
    expected = RobustnessCurveDisplay.from_estimator(
        aim(attack, model, X, y), X, y, eps=EPS
    )
    display = RobustnessCurveDisplay.from_estimator(model, X, y, attack=attack, eps=EPS)
    np.testing.assert_array_equal(display.robust_accuracy, expected.robust_accuracy)
    assert not hasattr(attack, "estimator_")
    pgd = RobustnessCurveDisplay.from_estimator(model, X, y, eps=EPS[:1])
    assert (pgd.robust_accuracy <= expected.robust_accuracy[:2]).all()


def seen_levels(display):
    """Robust accuracy that is drawn from the left to the right end of the axes."""
    display.figure_.canvas.draw()
    ends = display.ax_.get_xlim()
    eps, accuracy = display.line_.get_data()
    assert (eps[0], eps[-1]) == ends
    return [accuracy[np.searchsorted(eps, x, side="right") - 1] for x in ends]


@pytest.mark.parametrize(
    ("distances", "level"),
    [([np.inf] * 5, 1.0), ([0.0] * 5, 0.0), ([0.0, np.inf], 0.5)],
)
def test_a_curve_that_never_falls_is_drawn(pyplot, distances, level):
    to_rgb = pytest.importorskip("matplotlib.colors", reason="needs matplotlib").to_rgb
    display = RobustnessCurveDisplay.from_distances(distances)
    assert seen_levels(display) == [level, level]
    (band,) = display.ax_.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 0].max() == display.ax_.get_xlim()[1] > 0
    pixels = np.asarray(display.figure_.canvas.buffer_rgba())[..., :3]
    ink = np.round(255 * np.array(to_rgb(display.line_.get_color())))
    assert (np.abs(pixels - ink) <= 2).all(axis=-1).sum() > 300


def test_curves_reach_the_right_end_of_shared_axes(pyplot):
    """The more robust model is drawn second, and the axes grow with it."""
    near = RobustnessCurveDisplay.from_distances([0.1, 0.2, np.inf])
    far = RobustnessCurveDisplay.from_distances([0.1, 0.9], ax=near.ax_)
    lone = RobustnessCurveDisplay.from_distances([np.inf, 0.0], ax=near.ax_)
    assert near.ax_.get_xlim()[1] > 0.9
    assert near.ax_.get_xlim()[0] == 0
    assert seen_levels(near) == [1, pytest.approx(1 / 3)]
    assert seen_levels(far) == [1, 0]
    assert seen_levels(lone) == [0.5, 0.5]
    near.ax_.set_xlim(0, 5)
    assert seen_levels(near)[1] == pytest.approx(1 / 3)
    # What lies right of the axes is not moved into them.
    near.ax_.set_xlim(0, 0.15)
    eps, _ = near.line_.get_data()
    np.testing.assert_array_equal(eps[:3], [0, 0.1, 0.2])


def test_axes_grow_with_the_curves(pyplot):
    first = RobustnessCurveDisplay([0, 0.1], [1.0, 0.5]).plot()
    RobustnessCurveDisplay([0, 0.4], [1.0, 0.5]).plot(first.ax_)
    left, right = first.ax_.get_xlim()
    assert left == 0
    assert right > 0.4


def given_as(form, X, y):
    """The same samples in another form."""
    if form == "DataFrame":
        return pd.DataFrame(X).add_prefix("pixel"), pd.Series(y)
    if form == "list":
        return X.tolist(), y.tolist()
    images = torch.from_numpy(X).reshape(-1, 1, 8, 8)
    return images.requires_grad_(form == "images with a gradient"), torch.from_numpy(y)


@pytest.mark.parametrize(
    "form", ["DataFrame", "list", "images", "images with a gradient"]
)
def test_samples_come_in_any_form(pyplot, form):
    X, y = digits(60)
    X = X.astype(np.float64)
    model = LogisticRegression(max_iter=200)
    expected = RobustnessCurveDisplay.from_estimator(
        FGSMAttack(model).fit(X, y), X, y, eps=EPS
    )
    given, labels = given_as(form, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        display = RobustnessCurveDisplay.from_estimator(
            FGSMAttack(model).fit(given, labels), given, labels, eps=EPS
        )
    np.testing.assert_array_equal(display.robust_accuracy, expected.robust_accuracy)
    assert display.n_samples == 60
    assert 0 < display.robust_accuracy[-1] < display.robust_accuracy[0]


@pytest.mark.parametrize("join", [lambda attack: attack, lambda a: best_of([a])])
def test_an_attack_that_searches_distances_gives_the_whole_curve(pyplot, join):
    X, y = digits(40)
    attack = join(MinimalDistanceAttack(max_iter=10))
    display = RobustnessCurveDisplay.from_estimator(torch_net(), X, y, attack=attack)
    distance = aim(attack, torch_net(), X, y).perturb(X, y).distance
    expected = RobustnessCurveDisplay.from_distances(distance)
    np.testing.assert_array_equal(display.eps, expected.eps)
    np.testing.assert_array_equal(display.robust_accuracy, expected.robust_accuracy)
    assert display.in_steps
    some = RobustnessCurveDisplay.from_estimator(
        torch_net(), X, y, attack=attack, eps=EPS, name="net"
    )
    np.testing.assert_array_equal(some.eps, [0, *EPS])
    for eps, accuracy in zip(some.eps, some.robust_accuracy, strict=True):
        assert accuracy == pytest.approx(np.mean(distance > eps))


def test_joined_attacks_with_radii_are_drawn_one_by_one(pyplot):
    X, y = digits(30)
    attack = best_of([FGSMAttack(), PGDAttack(max_iter=2)])
    with pytest.raises(TypeError, match=r"BestOfAttack .* a curve for each of its"):
        RobustnessCurveDisplay.from_estimator(torch_net(), X, y, attack=attack)
