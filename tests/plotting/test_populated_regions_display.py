"""Pictures of how samples share regions."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.plotting import PopulatedRegionsDisplay
from robustkit.regions import PopulatedRegionScorer


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits_images(return_X_y=True)
    return X[:300], y[:300]


@pytest.fixture(scope="module")
def scorer(digits):
    model = MLPNetClassifier((12, 6), max_epochs=3, device="cpu", random_state=0)
    return PopulatedRegionScorer(FrozenEstimator(model.fit(*digits))).fit(*digits)


def test_sizes_are_drawn_from_the_largest_to_the_smallest(pyplot, scorer):
    display = PopulatedRegionsDisplay.from_scorer(scorer)
    (line,) = display.ax_.lines
    np.testing.assert_array_equal(
        line.get_ydata(), np.sort(scorer.regions_["count"])[::-1]
    )
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, scorer.n_regions_ + 1))
    assert display.ax_.get_xscale() == display.ax_.get_yscale() == "log"
    assert display.figure_ is display.ax_.figure


def test_classes_show_their_major_share(pyplot, scorer):
    _, ax = pyplot.subplots()
    display = PopulatedRegionsDisplay.from_scorer(scorer, kind="classes", ax=ax)
    assert display.ax_ is ax
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), scorer.major_region_shares_)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        str(label) for label in scorer.classes_
    ]


def test_layers_show_ratio_and_activity(pyplot, scorer, digits):
    X, _ = digits
    display = PopulatedRegionsDisplay.from_scorer(scorer, X, kind="layers", name="net")
    table = scorer.layer_report(X)
    ratio, active = display.ax_.lines
    np.testing.assert_array_equal(ratio.get_ydata(), table["prs_ratio"])
    np.testing.assert_array_equal(
        active.get_ydata(), table["active_units"] / table["n_units"]
    )
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == [
        "net: PRS ratio",
        "net: active units",
    ]


def test_two_models_share_one_axes(pyplot, scorer):
    first = PopulatedRegionsDisplay.from_scorer(scorer, name="first")
    PopulatedRegionsDisplay.from_scorer(scorer, name="second", ax=first.ax_)
    assert len(first.ax_.lines) == 2
    assert len(first.ax_.get_legend().get_texts()) == 2


def test_what_can_not_be_drawn_is_refused(pyplot, scorer):
    with pytest.raises(ValueError, match="'size' is unknown, did you mean 'sizes'"):
        PopulatedRegionsDisplay.from_scorer(scorer, kind="size")
    with pytest.raises(ValueError, match="needs the samples X"):
        PopulatedRegionsDisplay.from_scorer(scorer, kind="layers")
    with pytest.raises(NotFittedError, match="not fitted yet"):
        PopulatedRegionsDisplay.from_scorer(PopulatedRegionScorer())


@pytest.mark.parametrize("kind", ["sizes", "classes", "layers"])
def test_from_estimator_counts_the_regions_of_a_classifier(pyplot, digits, kind):
    X, y = digits
    model = MLPNetClassifier((12, 6), max_epochs=3, device="cpu", random_state=0)
    model.fit(X, y)
    scorer = PopulatedRegionScorer(FrozenEstimator(model), layer=0).fit(X, y)
    expected = PopulatedRegionsDisplay.from_scorer(scorer, X, kind=kind)
    for given, further in ((model, {"y": y, "layer": 0}), (scorer, {})):
        display = PopulatedRegionsDisplay.from_estimator(given, X, kind=kind, **further)
        for mine, theirs in zip(display.ax_.lines, expected.ax_.lines, strict=True):
            np.testing.assert_array_equal(mine.get_xydata(), theirs.get_xydata())


def test_from_estimator_needs_samples_for_a_classifier(pyplot, digits):
    model = MLPNetClassifier((6,), max_epochs=1, device="cpu", random_state=0)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        PopulatedRegionsDisplay.from_estimator(model)
    model.fit(*digits)
    with pytest.raises(ValueError, match="'X' parameter is needed to count"):
        PopulatedRegionsDisplay.from_estimator(model)
    with pytest.raises(ValueError, match="'y' parameter is needed to count"):
        PopulatedRegionsDisplay.from_estimator(model, digits[0])
