"""A FunctionTransformer is seen by torch only if it says the same of a tensor."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from robustkit.bridge import as_module


def ratio_to_variance(x, **arguments):
    return x / x.var(axis=1, **arguments)[:, None]


def only_small_values_differ(x):
    return x + (1e-6 if torch.is_tensor(x) else 0)


def only_negative_values_differ(x):
    return x.clip(0) if torch.is_tensor(x) else x


def only_large_values_differ(x):
    return x.clip(-50, 50) if torch.is_tensor(x) else x


def drops_a_column(x):
    return x[:, :-1] if torch.is_tensor(x) else x


def detached(x):
    return x.detach() * 2 if torch.is_tensor(x) else x * 2


def logarithm(x):
    return torch.log(x) if torch.is_tensor(x) else np.log(x)


def noise(x):
    return x + (torch.rand(1) if torch.is_tensor(x) else np.random.rand(1))


def writes(x):
    x -= 0.3
    return x


def times(x, factor=1.0):
    return x * factor


def of_columns(x):
    return x[:, [0]] * x[:, [2]]


@pytest.fixture(scope="module", name="X")
def samples():
    return np.random.RandomState(0).normal(size=(50, 3))


@pytest.mark.parametrize(
    "function",
    [
        ratio_to_variance,
        only_small_values_differ,
        only_negative_values_differ,
        only_large_values_differ,
        drops_a_column,
        noise,
    ],
)
def test_function_that_differs_on_tensors_raises(function, X):
    transformer = FunctionTransformer(function).fit(X)
    with pytest.raises(TypeError, match=rf"{function.__name__}.*something else"):
        as_module(transformer)


@pytest.mark.parametrize("function", [detached, writes, np.exp])
def test_function_without_a_gradient_raises(function, X):
    before = X.copy()
    with pytest.raises(TypeError, match=rf"{function.__name__}.*Write it in torch"):
        as_module(FunctionTransformer(function).fit(X))
    np.testing.assert_array_equal(X, before)


def test_function_that_fails_on_arrays_raises_with_the_reason(X):
    transformer = FunctionTransformer(torch.exp)
    with pytest.raises(TypeError, match=r"'exp'.*could not be tried.*must be Tensor"):
        as_module(transformer)


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("check_inverse", [False, True])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (times, {"factor": -2.5}),
        (times, None),
        (logarithm, None),
        (of_columns, None),
        (ratio_to_variance, {"ddof": 1}),
    ],
)
def test_function_that_agrees_on_tensors_is_called(
    function, arguments, check_inverse, validate, X
):
    X = np.abs(X)
    transformer = FunctionTransformer(
        function, kw_args=arguments, check_inverse=check_inverse, validate=validate
    )
    if function is ratio_to_variance:
        # The name of numpy is not that of torch.
        with pytest.raises(TypeError, match="Write it in torch"):
            as_module(transformer.fit(X))
        return
    expected = transformer.fit_transform(X)
    x = torch.from_numpy(X)
    for fitted in (transformer, FunctionTransformer(function, kw_args=arguments)):
        found = as_module(fitted)(x).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_probe_draws_from_no_global_stream_and_has_the_number_of_features(X):
    widths = []

    def spy(x):
        widths.append(x.shape[1])
        # A random number of each library that does not matter for the answer.
        np.random.rand()
        return x * torch.rand(1).item() * 0 + x if torch.is_tensor(x) else x

    pipeline = make_pipeline(FunctionTransformer(spy), LogisticRegression())
    before = np.random.get_state()
    pipeline.fit(X, np.arange(50) % 2)
    np.random.set_state(before)
    widths.clear()
    # That it moves no stream is seen after every test.
    as_module(pipeline)
    assert set(widths) == {3}
