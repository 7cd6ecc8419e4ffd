"""The regions of a plane, with what is predicted in them."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from sklearn.linear_model import LogisticRegression

from robustkit.classifiers import MLPNetClassifier
from robustkit.plotting import RegionPlaneDisplay
from robustkit.regions import regions_in_plane

AXES = [1, 0, 0], [0, 1, 0]
EXTENT = (-2, 1, -1, 1)


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    names = np.array(["left", "right", "upper"])
    return X, names[np.where(X[:, 1] > 0.3, 2, X[:, 0] > 0)]


@pytest.fixture(scope="module")
def model(samples):
    model = MLPNetClassifier((8, 6), max_epochs=20, lr=0.02, random_state=0)
    return model.fit(*samples)


def drawn(display, kind):
    return [one for one in display.ax_.collections if isinstance(one, kind)]


def test_every_polygon_has_the_color_of_its_class(pyplot, model):
    display = RegionPlaneDisplay.from_estimator(
        model, np.zeros(3), *AXES, extent=EXTENT
    )
    regions = regions_in_plane(model, np.zeros(3), *AXES, extent=EXTENT)
    (polygons,) = drawn(display, PolyCollection)
    colors = polygons.get_facecolors()
    assert len(polygons.get_paths()) == len(regions.prediction) == len(colors)
    for label in np.unique(regions.prediction):
        assert len(np.unique(colors[regions.prediction == label], axis=0)) == 1
    assert len(np.unique(colors, axis=0)) == len(np.unique(regions.prediction))
    texts = display.ax_.get_legend().get_texts()
    assert [t.get_text() for t in texts] == list(np.unique(regions.prediction))
    assert display.ax_.get_xlim() == EXTENT[:2]
    assert display.ax_.get_ylim() == EXTENT[2:]
    assert display.figure_ is display.ax_.figure


def test_the_boundary_is_where_two_classes_are_equally_likely(pyplot, model):
    display = RegionPlaneDisplay.from_estimator(
        model, np.zeros(3), *AXES, extent=EXTENT
    )
    (lines,) = drawn(display, LineCollection)
    ends = np.array(lines.get_segments())
    assert len(ends) > 3
    for share in (0.2, 0.5, 0.8):
        points = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
        X = np.column_stack([points, np.zeros(len(points))])
        logits = np.sort(model.decision_function(X), axis=1)
        np.testing.assert_allclose(logits[:, -1], logits[:, -2], atol=1e-4)


def test_the_boundary_of_a_linear_model_is_one_line(pyplot, samples):
    X, y = samples
    linear = LogisticRegression().fit(X, y == "left")
    display = RegionPlaneDisplay.from_estimator(
        linear, np.zeros(3), *AXES, extent=(-4, 4, -4, 4)
    )
    (lines,) = drawn(display, LineCollection)
    # Once for either side.
    one, other = lines.get_segments()
    np.testing.assert_allclose(one, other[::-1], atol=1e-9)
    flat = np.column_stack([one, np.zeros(2)])
    np.testing.assert_allclose(linear.decision_function(flat), 0, atol=1e-9)


def test_samples_are_drawn_at_the_nearest_point_of_the_plane(pyplot, model, samples):
    X, y = samples
    origin, u, v = X[0], X[1] - X[0], X[2] - X[0]
    display = RegionPlaneDisplay.from_estimator(model, origin, u, v, X=X[:9], y=y[:9])
    (points,) = drawn(display, PathCollection)
    offsets = np.asarray(points.get_offsets())
    np.testing.assert_allclose(offsets[:3], [[0, 0], [1, 0], [0, 1]], atol=1e-9)
    away = X[:9] - (origin + offsets @ np.stack([u, v]))
    np.testing.assert_allclose(away @ np.stack([u, v]).T, 0, atol=1e-9)


def test_regions_that_were_found_before_are_drawn(pyplot, model):
    regions = regions_in_plane(model, np.zeros(3), *AXES)
    _, ax = pyplot.subplots()
    display = RegionPlaneDisplay(regions, points=[[0, 0.5]]).plot(ax)
    assert display.ax_ is ax
    assert len(drawn(display, PathCollection)) == 1


def test_labels_that_are_no_classes_are_refused(pyplot, model, samples):
    X, _ = samples
    with pytest.raises(ValueError, match=r"are \['left'.*Got 'lower'"):
        RegionPlaneDisplay.from_estimator(
            model, np.zeros(3), *AXES, X=X[:2], y=["left", "lower"]
        )
