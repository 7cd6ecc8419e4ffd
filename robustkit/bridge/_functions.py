"""Functions of arrays that must say the same, and have a gradient, of tensors."""

import warnings
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from robustkit._randomness import seeded_torch

__all__ = ["Apply", "check_function"]

# Sizes of the numbers that a function is tried with.
_SCALES = (1e-3, 1.0, 1e3)
# Numbers of features tried where a transformer does not know its own.
_WIDTHS = (3, 1, 2, 4, 8, 16, 64)
_ROWS_OF_A_KIND = 4


class Apply(nn.Module):
    """Call a function."""

    def __init__(self, function, arguments):
        super().__init__()
        self.function = function
        self.arguments = arguments

    def forward(self, x):
        """Call it on a batch."""
        return self.function(x, **self.arguments)


def check_function(transformer):
    """Refuse a FunctionTransformer that torch would see as something else.

    Its function is tried with numbers of several sizes and signs, as an array and as a
    tensor. That is a probe and no proof: a function may still treat the two differently
    at numbers that were not tried.

    Parameters
    ----------
    transformer : FunctionTransformer
        With a function.
    """
    function = Apply(transformer.func, transformer.kw_args or {})
    name = getattr(transformer.func, "__name__", repr(transformer.func))
    with seeded_torch(0), _numpy_stream_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X, expected = _answer_of_numpy(function, transformer, name)
        found = _answer_of_torch(function, X)
    if found is None:
        raise TypeError(
            f"the function {name!r} of FunctionTransformer does not take a torch "
            "tensor and return one with a gradient. Write it in torch, or use an "
            "attack that needs no gradient, such as OnePixelAttack."
        )
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=1e-6, atol=1e-13, equal_nan=True
    ):
        raise TypeError(
            f"the function {name!r} of FunctionTransformer says something else of a "
            "torch tensor than of a numpy array. A method of one name may differ, as "
            "var and std do in their ddof: name such arguments, or write it in torch."
        )


def _answer_of_numpy(function, transformer, name):
    known = getattr(transformer, "n_features_in_", None)
    for width in _WIDTHS if known is None else (known,):
        X = _probe(width)
        try:
            return X, np.asarray(function(X.copy()), dtype=np.float64)
        except Exception as error:
            reason = error
    raise TypeError(
        f"the function {name!r} of FunctionTransformer could not be tried with an "
        f"array of shape {X.shape}: {reason}"
    ) from reason


def _answer_of_torch(function, X):
    probe = torch.tensor(X, requires_grad=True)
    try:
        # Also where the caller needs no gradient now. Any error says the same: this
        # function is not for tensors.
        with torch.enable_grad():
            result = function(probe)
    except Exception:
        return None
    if not torch.is_tensor(result) or not result.requires_grad:
        return None
    return result.detach().numpy()


def _probe(width):
    """Rows of both signs, positive rows for a logarithm, and one of zeros."""
    rng = np.random.RandomState(0)
    rows = [np.zeros((1, width))]
    for scale in _SCALES:
        values = scale * rng.normal(size=(_ROWS_OF_A_KIND, width))
        rows += [values, np.abs(values)]
    return np.concatenate(rows)


@contextmanager
def _numpy_stream_kept():
    """Give numpy's global stream back as it was: a function may draw from it."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)
