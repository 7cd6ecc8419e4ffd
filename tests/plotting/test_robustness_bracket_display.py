"""The band holds every quantile of the distances."""

import numpy as np
import pytest

from robustkit.attacks import robustness_bracket
from robustkit.plotting import RobustnessBracketDisplay
from tests.attacks.victims import digits, digits_pipeline, torch_net


def heights(line, shares):
    """How high a line of steps is drawn at some shares of the samples."""
    x, y = line.get_data()
    assert line.get_drawstyle() == "steps-post"
    return y[np.searchsorted(x, shares, side="right") - 1]


def middles(n_samples):
    """One share of the samples for each, in the middle of its step."""
    return (np.arange(n_samples) + 0.5) / n_samples


def top_of(ax):
    return ax.get_ylim()[1]


def test_band_lies_between_sorted_ends(pyplot):
    X, y = digits(60)
    display = RobustnessBracketDisplay.from_estimator(torch_net(), X, y)
    bracket = robustness_bracket(torch_net(), X, y)
    upper, lower = display.ax_.lines
    for line, end in ((lower, "lower"), (upper, "upper")):
        np.testing.assert_array_equal(heights(line, middles(60)), np.sort(bracket[end]))
    shares = upper.get_xdata()
    np.testing.assert_allclose(shares, np.arange(61) / 60)
    assert "linf" in display.ax_.get_ylabel()
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize("n_samples", [1, 2, 7])
def test_the_band_is_as_wide_as_the_axes(pyplot, n_samples):
    """Each sample has the same width, also the first and an only one."""
    lower = np.arange(n_samples) + 1.0
    display = RobustnessBracketDisplay(lower, lower + 0.5).plot()
    corners = display.band_.get_paths()[0].vertices
    # Twice the area, by the shoelace formula.
    x, y = corners.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(0.5)
    assert (corners[:, 0].min(), corners[:, 0].max()) == display.ax_.get_xlim()
    upper, below = display.ax_.lines
    np.testing.assert_array_equal(heights(below, middles(n_samples)), lower)
    np.testing.assert_array_equal(heights(upper, middles(n_samples)), lower + 0.5)


def test_several_models_share_one_axes(pyplot):
    X, y = digits(40)
    _, ax = pyplot.subplots()
    for name, model in (("net", torch_net()), ("linear", digits_pipeline())):
        display = RobustnessBracketDisplay.from_estimator(model, X, y, name=name, ax=ax)
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["net", "linear"]
    assert len(ax.collections) == 2
    bottom, top = ax.get_ylim()
    assert bottom == 0
    assert all((line.get_ydata() < top).all() for line in ax.lines)
    colors = {tuple(band.get_facecolor()[0]) for band in ax.collections}
    assert len(colors) == 2


def test_errors_not_found_end_at_the_top(pyplot):
    display = RobustnessBracketDisplay([0.0, 0.1, np.inf], [0.0, np.inf, np.inf]).plot()
    top = top_of(display.ax_)
    assert top > 0.1
    upper, lower = (heights(line, middles(3)) for line in display.ax_.lines)
    np.testing.assert_array_equal(upper, [0.0, top, top])
    np.testing.assert_array_equal(lower, [0.0, 0.1, top])


def test_infinity_is_above_all_bands_of_the_axes(pyplot):
    """It stays there when bands are added, in any order, and when the axes change."""
    near = RobustnessBracketDisplay([0.01, 0.02], [0.05, np.inf]).plot()
    far = RobustnessBracketDisplay([0.1, 0.15], [0.2, 0.5]).plot(near.ax_)
    none = RobustnessBracketDisplay([0.3], [np.inf]).plot(near.ax_)
    ax = near.ax_

    def drawn():
        near.figure_.canvas.draw()
        return [heights(line, middles(2)).tolist() for line in ax.lines[::2]]

    top = top_of(ax)
    assert top > 0.5
    assert drawn() == [[0.05, top], [0.2, 0.5], [top, top]]
    for band in (near.band_, none.band_):
        assert band.get_paths()[0].vertices[:, 1].max() == top
    assert far.band_.get_paths()[0].vertices[:, 1].max() == 0.5
    ax.set_ylim(0, 3)
    assert drawn() == [[0.05, 3], [0.2, 0.5], [3, 3]]


def test_a_band_without_an_error_takes_no_room(pyplot):
    """Drawn first, it does not hide how near the errors of the next model are."""
    none = RobustnessBracketDisplay([0.0, 0.0], [np.inf, np.inf]).plot()
    RobustnessBracketDisplay([0.01, 0.02], [0.02, 0.04]).plot(none.ax_)
    top = top_of(none.ax_)
    assert 0.04 < top < 0.05
    assert heights(none.ax_.lines[0], [0.5])[0] == top


def test_bands_at_zero_or_unknown_alone_are_drawn(pyplot):
    for lower, upper in (([0.0], [0.0]), ([0.0], [np.inf]), ([np.inf], [np.inf])):
        display = RobustnessBracketDisplay(lower, upper).plot()
        bottom, top = display.ax_.get_ylim()
        assert (bottom, top) == (0, 1)
        drawn = [heights(line, [0.5])[0] for line in display.ax_.lines]
        assert drawn == [min(upper[0], top), min(lower[0], top)]


def test_ends_that_are_no_bracket_are_refused(pyplot):
    for lower, upper in (
        ([0.2], [0.1]),
        ([0.1], [0.1, 0.2]),
        ([[0.1]], [[0.2]]),
        ([], []),
    ):
        with pytest.raises(ValueError, match="'lower' and 'upper' must be"):
            RobustnessBracketDisplay(lower, upper).plot()
