"""The band holds every quantile of the distances."""

import numpy as np
import pytest

from robustkit.attacks import robustness_bracket
from robustkit.plotting import RobustnessBracketDisplay
from tests.attacks.victims import digits, digits_pipeline, torch_net


def test_band_lies_between_sorted_ends(pyplot):
    X, y = digits(60)
    display = RobustnessBracketDisplay.from_estimator(torch_net(), X, y)
    bracket = robustness_bracket(torch_net(), X, y)
    upper, lower = (line.get_ydata() for line in display.ax_.lines)
    np.testing.assert_array_equal(lower, np.sort(bracket["lower"]))
    np.testing.assert_array_equal(upper, np.sort(bracket["upper"]))
    shares = display.ax_.lines[0].get_xdata()
    np.testing.assert_allclose(shares, np.arange(1, 61) / 60)
    assert "linf" in display.ax_.get_ylabel()
    assert display.ax_.get_legend() is None


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
    upper, lower = (line.get_ydata() for line in display.ax_.lines)
    assert np.isfinite(upper).all()
    assert (upper[1:] > 0.1).all()
    np.testing.assert_array_equal(lower[:2], [0.0, 0.1])


def test_ends_that_are_no_bracket_are_refused(pyplot):
    for lower, upper in (([0.2], [0.1]), ([0.1], [0.1, 0.2]), ([[0.1]], [[0.2]])):
        with pytest.raises(ValueError, match="'lower' and 'upper' must be"):
            RobustnessBracketDisplay(lower, upper).plot()
