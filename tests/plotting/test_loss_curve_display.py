"""The curves are those of the training."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from robustkit.classifiers import MLPNetClassifier
from robustkit.plotting import LossCurveDisplay


@pytest.fixture(scope="module")
def stopped_early():
    X, y = load_digits(return_X_y=True)
    classifier = MLPNetClassifier(
        (10,), max_epochs=4, lr=0.01, early_stopping=True, random_state=0
    )
    return classifier.fit(X / 16, y)


def test_loss_and_accuracy_of_every_epoch(pyplot, stopped_early):
    display = LossCurveDisplay.from_estimator(stopped_early)
    np.testing.assert_array_equal(display.line_.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(display.line_.get_ydata(), stopped_early.loss_curve_)
    scores, best = display.validation_ax_.lines
    np.testing.assert_array_equal(scores.get_ydata(), stopped_early.validation_scores_)
    assert best.get_ydata() == [max(stopped_early.validation_scores_)]
    assert scores.get_color() == best.get_color() == display.line_.get_color()
    assert display.ax_.get_ylim()[0] == 0
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_legend() is None


def test_without_early_stopping_there_is_one_curve(pyplot):
    display = LossCurveDisplay([2.0, 1.0]).plot()
    assert display.validation_ax_ is None
    assert len(display.figure_.axes) == 1


def test_several_curves_share_one_axes(pyplot):
    _, axes = pyplot.subplots(1, 2, sharex=True)
    low = LossCurveDisplay([2, 1], validation_scores=[0.1, 0.9], name="a").plot(axes[0])
    high = LossCurveDisplay([9, 5, 4], validation_scores=[0, 0.1, 0.2], name="b")
    high.plot(axes[0])
    assert low.ax_ is high.ax_ is axes[0]
    assert low.validation_ax_ is high.validation_ax_
    assert axes[0].get_ylim()[1] > 9
    names = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert names == ["a", "b"]


def test_scikit_learns_networks_have_such_curves_too(pyplot):
    X, y = load_digits(return_X_y=True)
    theirs = MLPClassifier(
        (5,), max_iter=9, early_stopping=True, n_iter_no_change=2, tol=1, random_state=0
    ).fit(X[:200] / 16, y[:200])
    display = LossCurveDisplay.from_estimator(theirs)
    assert len(display.line_.get_xdata()) == theirs.n_iter_


def test_what_has_no_curve_is_refused():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        LossCurveDisplay.from_estimator(MLPNetClassifier())
    X, y = load_digits(return_X_y=True)
    linear = LogisticRegression(max_iter=1000).fit(X[:100] / 16, y[:100])
    with pytest.raises(ValueError, match="LogisticRegression has no 'loss_curve_'"):
        LossCurveDisplay.from_estimator(linear)
