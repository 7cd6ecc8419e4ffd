"""The kernels do what the mathematics says, compiled and as plain Python."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from robustkit.networks.engines import _compiled as kernels
from robustkit.networks.engines._compiled import CompiledAdam, CompiledEngine
from robustkit.networks.engines._in_torch import TorchAdam
from robustkit.networks.engines._union import Wiring
from tests.networks.shapes import SHAPES, every_shape

# Of the mean and of the square, then the L2 penalty and what keeps a divisor from zero.
DECAYS = (0.9, 0.1, 0.999, 0.001, 0.01, 1e-8)

KERNELS = (
    "push_activations",
    "pull_gradients",
    "edge_gradients",
    "find_gradients",
    "push_to_outputs",
)


@pytest.fixture(params=["compiled", "python"])
def kernel(request, monkeypatch):
    """Look a kernel up by its name, compiled or as the function that was compiled."""
    names = [*KERNELS, "descend", "_add_rows", "_cross_entropy"]
    if request.param == "python":
        for name in names:
            monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    return lambda name: getattr(kernels, name)


def drawn(graph, n_samples=5, n_outputs=3):
    """A wiring, and weights, biases and rows for it."""
    wiring = Wiring([graph], n_outputs)
    rng = np.random.RandomState(0)
    weight = rng.standard_normal(len(wiring.source))
    bias = rng.standard_normal(wiring.n_rows)
    rows = rng.standard_normal((wiring.n_rows, n_samples))
    return wiring, weight, bias, rows


def dense(wiring, weight):
    matrix = np.zeros((wiring.n_rows, wiring.n_rows))
    target = np.repeat(np.arange(wiring.n_rows), np.diff(wiring.start_in))
    matrix[target, wiring.source] = weight
    return matrix


@every_shape
def test_passes_equal_dense_matrix_products(kernel, graph):
    wiring, weight, bias, rows = drawn(graph)
    matrix, drive = dense(wiring, weight), rows.copy()
    entering = wiring.start_in, wiring.source
    activation = np.empty_like(rows)
    widths = np.full(len(rows), rows.shape[1])
    kernel("push_activations")(
        wiring.n_hidden, *entering, weight, bias, rows, activation, widths
    )
    activation[wiring.n_hidden :] = 0
    drive[wiring.n_sources :] = 0
    np.testing.assert_allclose(rows, drive + bias[:, None] + matrix @ activation)
    hidden = slice(wiring.n_hidden)
    np.testing.assert_array_equal(activation[hidden], np.maximum(rows[hidden], 0))

    outputs = np.empty((3, rows.shape[1]))
    kernel("push_to_outputs")(
        wiring.n_hidden, *entering, weight, bias, drive[: wiring.n_sources], outputs
    )
    np.testing.assert_allclose(outputs, rows[wiring.n_hidden :])

    outside = np.random.RandomState(1).standard_normal(rows.shape)
    gradient = outside.copy()
    kernel("pull_gradients")(
        wiring.start_out, wiring.target, weight[wiring.leaving], rows, gradient, widths
    )
    through = np.where(rows > 0, matrix.T @ gradient, 0)
    np.testing.assert_allclose(gradient, outside + through)

    of_weight = np.empty_like(weight)
    kernel("edge_gradients")(*entering, rows, gradient, of_weight)
    products = gradient @ activation.T
    target = np.repeat(np.arange(wiring.n_rows), np.diff(wiring.start_in))
    np.testing.assert_allclose(of_weight, products[target, wiring.source], atol=1e-12)


def test_samples_beyond_the_width_of_a_row_are_left_alone(kernel):
    wiring, weight, bias, rows = drawn(SHAPES["disconnected"])
    n = rows.shape[1] - 2
    narrow, wide = rows[:, :n].copy(), rows.copy()
    entering = wiring.start_in, wiring.source
    for buffer in (narrow, wide):
        widths = np.full(len(rows), n)
        kernel("push_activations")(
            wiring.n_hidden, *entering, weight, bias, buffer, buffer, widths
        )
    np.testing.assert_array_equal(wide[:, :n], narrow)
    np.testing.assert_array_equal(wide[:, n:], rows[:, n:])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_compiled_cross_entropy_equals_torch(kernel, label_smoothing):
    logits = 5 * np.random.RandomState(0).standard_normal((4, 6))
    targets = np.array([0, 3, 3, 1, 2, 0])
    given = torch.tensor(logits.T, requires_grad=True)
    expected = functional.cross_entropy(
        given, torch.tensor(targets), label_smoothing=label_smoothing
    )
    expected.backward()
    gradient = np.empty_like(logits)
    loss = kernel("_cross_entropy")(logits, targets, label_smoothing, gradient)
    np.testing.assert_allclose(loss, expected.item())
    np.testing.assert_allclose(gradient, given.grad.T, atol=1e-15)


def test_compiled_cross_entropy_of_huge_logits_is_finite(kernel):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    gradient = np.empty_like(logits)
    loss = kernel("_cross_entropy")(logits, np.array([0, 0]), 0.0, gradient)
    assert loss == 1e4
    assert gradient.tolist() == [[0, -0.5], [0, 0.5]]


@pytest.mark.parametrize("target", [-1, 2])
def test_target_out_of_range_raises(kernel, target):
    logits = np.zeros((2, 1))
    with pytest.raises(IndexError, match="not the index of an output"):
        kernel("_cross_entropy")(logits, np.array([target]), 0.0, np.zeros((2, 1)))


def test_find_gradients_equals_the_single_passes(kernel):
    wiring, weight, bias, rows = drawn(SHAPES["disconnected"])
    targets = np.array([0, 1, 2, 1, 0])
    expected_rows, expected = rows.copy(), np.zeros_like(rows)
    entering = wiring.start_in, wiring.source
    push, pull, edges = (kernel(name) for name in KERNELS[:3])
    both, widths = (expected_rows, expected_rows), np.full(len(rows), rows.shape[1])
    push(wiring.n_hidden, *entering, weight, bias, *both, widths)
    outputs = slice(wiring.n_hidden, None)
    loss = kernel("_cross_entropy")(
        expected_rows[outputs], targets, 0.1, expected[outputs]
    )
    leaving = wiring.start_out, wiring.target
    pull(*leaving, weight[wiring.leaving], expected_rows, expected, widths)
    of_expected = np.empty_like(weight)
    edges(*entering, expected_rows, expected, of_expected)

    losses, gradient = np.empty(1), np.empty_like(rows)
    of_weight, of_bias = np.empty_like(weight), np.empty_like(bias)
    kernel("find_gradients")(
        (wiring.n_hidden, *entering, *leaving, wiring.leaving),
        weight,
        bias,
        rows,
        targets,
        0.1,
        losses,
        gradient,
        (of_weight, of_bias),
    )
    np.testing.assert_allclose(losses, [loss])
    np.testing.assert_allclose(gradient, expected)
    np.testing.assert_allclose(of_weight, of_expected)
    np.testing.assert_allclose(of_bias, expected.sum(axis=1))


def test_compiled_descend_equals_torch_adam(kernel):
    rng = np.random.RandomState(0)
    weight = rng.standard_normal(7)
    ours, mean, square = weight.copy(), np.zeros(7), np.zeros(7)
    theirs = torch.nn.Parameter(torch.tensor(weight))
    optimizer = torch.optim.Adam([theirs], lr=0.1, weight_decay=0.01)
    for step in range(1, 6):
        gradient = rng.standard_normal(7)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        corrections = 1 - 0.9**step, 1 - 0.999**step
        rates = np.array([0.1 / corrections[0], corrections[1] ** -0.5, *DECAYS])
        kernel("descend")(ours, gradient, mean, square, rates, 1e-300)
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-10)


def test_compiled_descend_keeps_nan(kernel):
    ours, mean, square = np.ones(2), np.zeros(2), np.zeros(2)
    rates = np.array([0.1, 1.0, *DECAYS])
    kernel("descend")(ours, np.array([np.nan, 0.0]), mean, square, rates, 1e-300)
    assert np.isnan([ours[0], mean[0], square[0]]).all()
    assert np.isfinite([ours[1], mean[1], square[1]]).all()


@pytest.mark.parametrize("kind", [CompiledAdam, TorchAdam])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_adams_equal_torch_adam(kind, weight_decay, dtype):
    draws = torch.Generator().manual_seed(0)
    weight = torch.randn(50, generator=draws, dtype=dtype)
    theirs = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.Adam([theirs], lr=0.03, weight_decay=weight_decay)
    gradient = torch.empty_like(weight)
    adam = kind(weight, gradient, lr=0.03, weight_decay=weight_decay)
    for _ in range(20):
        gradient.copy_(torch.randn(50, generator=draws, dtype=dtype))
        theirs.grad = gradient.clone()
        adam.step()
        optimizer.step()
    torch.testing.assert_close(weight, theirs.detach())
    state = optimizer.state[theirs]
    torch.testing.assert_close(adam.mean, state["exp_avg"])
    torch.testing.assert_close(adam.square, state["exp_avg_sq"])
    assert adam.count == state["step"] == 20


@pytest.mark.parametrize("kind", [CompiledAdam, TorchAdam])
def test_adam_counts_where_the_weights_are(kind):
    """Whatever the default device of torch: one like "meta" has no memory at all."""
    weight, gradient = torch.zeros(3), torch.ones(3)
    with torch.device("meta"):
        adam = kind(weight, gradient, lr=0.1, weight_decay=0.0)
        adam.step()
    assert adam.count.item() == 1
    torch.testing.assert_close(weight, torch.full((3,), -0.1))


def test_gradients_are_those_of_the_tensors_that_are_passed():
    """Also of others than before, and of the same ones with other numbers."""
    wiring, draws = Wiring([SHAPES["one source"]], 3), torch.Generator().manual_seed(0)
    kept, targets = CompiledEngine(wiring, torch.device("cpu")), torch.tensor([0, 1, 2])
    drive = torch.rand(wiring.n_rows, 3, generator=draws)

    def tensors():
        sizes = len(wiring.source), wiring.n_rows
        return [torch.rand(size, generator=draws) for size in sizes * 2]

    def gradients(engine, weight, bias, *out):
        rows = drive.clone()
        losses, gradient = engine.find_gradients(
            weight, bias, rows, targets, label_smoothing=0.0, n_graphs=1, out=tuple(out)
        )
        return [losses, gradient, rows, *(written.clone() for written in out)]

    one, other = tensors(), tensors()
    for given, factor in ((one, 1), (other, 1), (one, 1), (one, 2), (other, 1)):
        given[0].mul_(factor)
        found = gradients(kept, *given)
        anew = gradients(CompiledEngine(wiring, torch.device("cpu")), *given)
        assert all(map(torch.equal, found, anew))
