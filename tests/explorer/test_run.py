"""What can be stored can be read again; anything else is one line."""

import numpy as np
import pytest
import torch

from robustkit.explorer import View, explore, load_run, make_views, save_run
from robustkit.topology import MapperGraph

X = np.random.RandomState(0).rand(6, 4)
Y = np.arange(6) % 2


def save(folder, y=Y, X=X, image_shape=(2, 2), **view):
    """Store one view of six samples, or of those given."""
    params = {"model": "m", "level": 0.0, "activations": X, "prediction": Y}
    views = [View(**{**params, **view})]
    return save_run(folder / "run", y=y, views=views, X=X, image_shape=image_shape)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": Y[:0], "X": X[:0]}, r"'y' parameter must hold at least one label"),
        ({"X": X[:0], "activations": X}, r"X must have the shape \(6, 4\).*Got \(0, 4"),
        ({"X": X * np.nan, "activations": X}, "X must hold numbers .* Got NaN"),
        ({"X": X + 1j, "activations": X}, "X must hold numbers .* Got .* complex128"),
        ({"X": X.astype(str), "activations": X}, "X must hold numbers .* dtype <U32"),
        ({"y": Y * np.nan}, "'y' parameter must hold labels. Got .*nan"),
        ({"prediction": Y * np.nan}, "'prediction' of view 'm' must hold labels"),
        ({"activations": X[:0]}, r"Found array with 0 sample\(s\)"),
        ({"activations": X[:3]}, "inconsistent numbers of samples"),
        ({"activations": X * np.nan}, "activations contains NaN"),
        ({"activations": X * 1e200}, "activations contains infinity or a value too"),
        ({"confidence": Y * -0.1}, "'confidence' .* numbers from 0 to 1. Got .*-0.1"),
        ({"confidence": Y * 1.1}, "'confidence' .* numbers from 0 to 1. Got .*1.1"),
        (
            {"regions": Y * np.nan},
            "'regions' of view 'm' must hold integers. Got .*nan",
        ),
        ({"regions": Y + 0.5}, "'regions' of view 'm' must hold integers. Got .*0.5"),
        ({"level": None}, "'level' of a view must be a number from 0. Got None"),
        ({"level": -0.1}, "'level' of a view must be a number from 0. Got -0.1"),
        ({"level": np.nan}, "'level' of a view must be a number from 0. Got nan"),
        ({"level": np.inf}, "'level' of a view must be a number from 0. Got inf"),
    ],
)
def test_what_can_not_be_stored(tmp_path, given, message):
    with pytest.raises(ValueError, match=message) as error:
        save(tmp_path, **given)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given",
    [
        {"y": Y[:1], "X": X[:1], "prediction": Y[:1]},
        {"X": X * 1e30, "activations": X * 1e30},
        {"X": X > 0.5},
        {"X": (X * 255).astype(np.uint8)},
        {"activations": np.ones((6, 1))},
        {"activations": torch.from_numpy(X).bfloat16()},
        {"confidence": np.array([0, 1, np.nan, 0.5, 1 + 5e-6, 0])},
        {"regions": np.array([-1.0, 0, 1, 2, 3, 4])},
    ],
)
def test_what_can_be_stored_can_be_read(tmp_path, given):
    run = load_run(save(tmp_path, **given))
    stored = given.get("activations", given.get("X", X))
    stored = stored.float().numpy() if torch.is_tensor(stored) else stored
    view = run.views[0]
    np.testing.assert_array_equal(view.activations, stored.astype(np.float32))
    if "confidence" in given:
        np.testing.assert_allclose(view.confidence, given["confidence"], rtol=1e-6)
    if "regions" in given:
        np.testing.assert_array_equal(view.regions, given["regions"])


@pytest.mark.parametrize("level", [-1.0, np.nan, np.inf])
def test_views_are_made_at_levels_that_can_be_stored(level):
    with pytest.raises(ValueError, match="'level' of a view must be a number from 0"):
        make_views({}, X, Y, levels=[0.0, level])


def test_images_without_rows_do_not_fit_a_mapper():
    mapper = MapperGraph(eps=2.0, n_intervals=2, min_samples=1).fit(X)
    with pytest.raises(ValueError, match=r"X must have the shape \(6, 4\).*Got \(0, 4"):
        explore(mapper, y=Y, images=np.zeros((0, 2, 2)), open_browser=False)
