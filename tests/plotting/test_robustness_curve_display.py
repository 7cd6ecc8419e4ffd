"""The curve is that of the attack, and never rises."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from robustkit.attacks import FGSMAttack, GrowingEpsilonAttack, OnePixelAttack
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
