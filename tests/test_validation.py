"""Checks that scikit-learn's own validation cannot say."""

import warnings

import numpy as np
import pytest

from robustkit._validation import (
    caller_depth,
    check_image_shape,
    check_magnitude,
    did_you_mean,
)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), [4, 16]])
def test_a_shape_that_fits_is_given_back_as_a_tuple(shape):
    assert check_image_shape(shape, 64) == tuple(shape)


@pytest.mark.parametrize("shape", [8, (8,), (0, 64), "ab", (1, 1, 8, 8), None])
def test_something_else_than_a_shape_is_refused(shape):
    with pytest.raises(ValueError, match="The 'image_shape' parameter must be"):
        check_image_shape(shape, 64)


def test_a_shape_that_does_not_fit_says_both_numbers():
    with pytest.raises(ValueError, match="holds 56 values, but X has 64 features"):
        check_image_shape((7, 8), 64)


def test_a_typo_finds_its_word():
    assert did_you_mean("spaerman", ["spearman", "kendall"]) == (
        ", did you mean 'spearman'?"
    )


def test_something_strange_finds_nothing():
    assert did_you_mean("zzz", ["spearman", "kendall"]) == "."


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool])
def test_usual_numbers_are_not_too_large(dtype):
    check_magnitude(np.array([[0, 1], [100, 0]]).astype(dtype))
    check_magnitude(np.empty((0, 3), dtype))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("n_features", [1, 50])
def test_a_sample_whose_squares_overflow_is_refused(sign, n_features):
    limit = np.sqrt(np.float64(np.finfo(np.float32).max) / n_features)
    X = np.zeros((3, n_features))
    X[1, -1] = sign * limit * (1 - 1e-12)
    check_magnitude(X, "it")
    X[1, -1] = sign * limit * (1 + 1e-12)
    sign = "-" if sign < 0 else ""
    with pytest.raises(ValueError, match=rf"it holds {sign}\d\.\d+e\+1[89], .*Scale"):
        check_magnitude(X, "it")


def warning_of(*modules):
    """Make a function that warns, called through one of each module, inmost first."""
    names = {"__name__": "robustkit.room", "depth": caller_depth, "warnings": warnings}
    exec("def call(): warnings.warn('told', stacklevel=depth())", names)
    for module in modules:
        names = {"__name__": module, "inner": names["call"]}
        exec("def call(): inner()", names)
    return names["call"]


@pytest.mark.parametrize(
    "modules",
    [
        [],
        ["robustkit"],
        ["robustkit.room", "sklearn.base", "contextlib", "robustkit.room.deep"],
        ["joblib.parallel", "torch.utils._contextlib", "functools"],
    ],
)
def test_a_warning_names_the_line_of_the_first_caller_outside(modules):
    with pytest.warns(UserWarning, match="told") as told:
        warning_of(*modules)()
    assert told[0].filename == __file__


@pytest.mark.parametrize("module", ["robustkitten", "__main__", "user.robustkit"])
def test_a_warning_names_a_caller_whose_name_only_looks_like_ours(module):
    with pytest.warns(UserWarning, match="told") as told:
        warning_of(module, "robustkit")()
    assert told[0].filename == "<string>"
