"""The picture says what the table says."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError

from robustkit.correlation import RobustnessCorrelator
from robustkit.plotting import CorrelationDisplay


@pytest.fixture
def correlator():
    """Fitted; `density` goes with `error`, `diameter` is constant."""
    rng = np.random.RandomState(0)
    names = ["density", "depth", "diameter"]
    X = pd.DataFrame(rng.normal(size=(40, 3)), columns=names)
    X["diameter"] = 3.0
    y = pd.DataFrame(rng.normal(size=(40, 2)), columns=["error", "eps"])
    y["error"] -= 2 * X["density"]
    y.loc[4, "eps"] = np.nan
    methods = ["kendall", "spearman", "distance", "mutual_info"]
    return RobustnessCorrelator(
        methods=methods,
        n_bootstrap=20,
        n_permutations=19,
        correction="benjamini-hochberg",
        random_state=0,
    ).fit(X, y)


def cells(display):
    return [text.get_text() for text in display.ax_.texts]


def test_heat_map_has_a_cell_a_pair_and_stars_where_significant(pyplot, correlator):
    display = CorrelationDisplay.from_correlator(correlator)
    table = correlator.correlations_.query("method == 'spearman'")
    image = display.ax_.images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(image.ravel(), table["coefficient"])
    written = cells(display)
    assert written[0] == f"−{abs(table['coefficient'].iloc[0]):.2f}*"
    assert [text.endswith("*") for text in written] == [True] + [False] * 5
    # A constant property is a dash, not a number.
    assert written[4:] == ["–", "–"]
    ticks = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert ticks == ["density", "depth", "diameter"]
    assert display.figure_ is display.ax_.figure


@pytest.mark.parametrize(
    ("method", "limits"),
    [("kendall", (-1, 1)), ("distance", (0, 1)), ("mutual_info", (0, 1))],
)
def test_colours_begin_at_zero_unless_there_is_a_sign(
    pyplot, correlator, method, limits
):
    display = CorrelationDisplay.from_correlator(correlator, method=method)
    assert display.ax_.images[0].get_clim() == limits


def test_scatter_shows_the_strongest_pair(pyplot, correlator):
    display = CorrelationDisplay.from_correlator(correlator, kind="scatter")
    points = display.ax_.collections[0].get_offsets()
    expected = correlator.values_[["density", "error"]].dropna()
    np.testing.assert_array_equal(points, expected)
    assert display.ax_.get_xlabel() == "density"
    title = display.ax_.get_title()
    assert title.startswith("Spearman's ρ = −0.")
    assert title.endswith("], p < 0.001 *")


def test_scatter_of_a_chosen_pair_leaves_missing_values_out(pyplot, correlator):
    _, ax = pyplot.subplots()
    display = CorrelationDisplay.from_correlator(
        correlator, kind="scatter", method="distance", pair=("depth", "eps"), ax=ax
    )
    assert display.ax_ is ax
    assert len(ax.collections[0].get_offsets()) == 39
    assert "[" not in ax.get_title()
    assert "*" not in ax.get_title()


def test_a_pair_without_a_coefficient_can_be_looked_at(pyplot, correlator):
    pair = ("diameter", "error")
    display = CorrelationDisplay.from_correlator(correlator, kind="scatter", pair=pair)
    assert display.ax_.get_title() == "Spearman's ρ = nan"


def test_properties_can_be_correlated_with_themselves(pyplot):
    X = pd.DataFrame(np.random.RandomState(0).normal(size=(9, 2)), columns=["a", "b"])
    correlator = RobustnessCorrelator(outliers=None, n_bootstrap=0).fit(X, X)
    display = CorrelationDisplay.from_correlator(
        correlator, kind="scatter", pair=("b", "a")
    )
    points = display.ax_.collections[0].get_offsets()
    np.testing.assert_array_equal(points, X[["b", "a"]])


def test_the_first_method_of_the_table_is_the_default_of_plot(pyplot, correlator):
    display = CorrelationDisplay(correlator.correlations_, correlator.values_).plot()
    assert "Kendall" in display.figure_.axes[1].get_ylabel()


def test_unknown_kind_method_and_pair_are_named(pyplot, correlator):
    draw = CorrelationDisplay.from_correlator
    with pytest.raises(ValueError, match="'heat' instead, did you mean 'heatmap'"):
        draw(correlator, kind="heat")
    with pytest.raises(ValueError, match="'kendal' instead, did you mean 'kendall'"):
        draw(correlator, method="kendal")
    with pytest.raises(ValueError, match=r"'dept' for the property, .*mean 'depth'"):
        draw(correlator, kind="scatter", pair=("dept", "eps"))
    with pytest.raises(ValueError, match="'depth' for the measure, but there are"):
        draw(correlator, kind="scatter", pair=("density", "depth"))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        draw(RobustnessCorrelator(n_bootstrap=0))
    constant = RobustnessCorrelator(n_bootstrap=0).fit(np.ones((6, 1)), np.arange(6.0))
    with pytest.raises(ValueError, match="No pair has a coefficient"):
        draw(constant, kind="scatter")


def test_from_estimator_draws_a_correlator_and_that_of_a_study(pyplot, correlator):
    expected = CorrelationDisplay.from_correlator(correlator, method="kendall")
    study = DummyClassifier().fit([[0]], [0])
    with pytest.raises(ValueError, match="DummyClassifier has no correlations to draw"):
        CorrelationDisplay.from_estimator(study)
    study.correlator_ = correlator
    for given in (correlator, study):
        display = CorrelationDisplay.from_estimator(given, method="kendall")
        assert cells(display) == cells(expected)
    study.correlator_ = None
    with pytest.raises(ValueError, match="or a study of at least three models"):
        CorrelationDisplay.from_estimator(study)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        CorrelationDisplay.from_estimator(RobustnessCorrelator(n_bootstrap=0))
