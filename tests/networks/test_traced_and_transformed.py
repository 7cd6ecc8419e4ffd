"""What torch traces, exports, transforms or casts computes what the definition says."""

import importlib.util
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from robustkit.graphs import LayeredGraph
from robustkit.networks.engines import PlainEngine
from tests.networks.reference import reference, reference_gradients
from tests.networks.shapes import every_shape, network_of, networks, samples

# The tracer, and torch's own forward mode, are made with what torch calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

every_engine = pytest.mark.parametrize("engine", ["compiled", "sparse"])
PARAMETERS = ("input_weight", "bias", "edge_weight", "output_weight", "output_bias")


def lively(**kwargs):
    """Layers of several vertices with several predecessors, that sample by sample vary.

    A copy of a network that says the same to every sample would prove nothing.
    """
    source, target = np.triu_indices(20, k=4)
    network = network_of(LayeredGraph([source, target], 20), **kwargs).eval()
    with torch.no_grad():
        network.edge_weight.abs_()
        assert network(samples(9, dtype=network.bias.dtype)[0]).std(dim=0).min() > 0.1
    return network


def assert_near(found, expected, tolerance=1e-9):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def by_trace(network, X):
    return torch.jit.trace(network, X)


def by_saved_trace(network, X):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, X), buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def by_export(network, X):
    n_samples = torch.export.Dim("n_samples")
    shapes = ({0: n_samples},)
    return torch.export.export(network, (X,), dynamic_shapes=shapes).module()


def by_strict_export(network, X):
    return torch.export.export(network, (X,), strict=True).module()


def by_make_fx(network, X):
    return make_fx(network)(X)


@pytest.mark.parametrize(
    "way", [by_trace, by_saved_trace, by_export, by_strict_export, by_make_fx]
)
@pytest.mark.parametrize("with_gradient", [False, True])
def test_traced_or_exported_network_is_equal(way, with_gradient):
    network = lively()
    (X, _), (new, _) = samples(6), samples(6, seed=1)
    with torch.set_grad_enabled(with_gradient):
        twin = way(network, X)
        assert_near(twin(new), reference(network, new)[0])


@every_shape
def test_trace_accepts_any_number_of_samples(graph):
    network = network_of(graph, engine="sparse")
    twin = by_trace(network, samples(5)[0])
    for n_samples in (0, 1, 9):
        X, _ = samples(n_samples, seed=1)
        assert_near(twin(X), reference(network, X)[0])


def test_trace_in_a_larger_module_has_equal_gradients():
    network = lively(engine="compiled")
    X, y = samples(5)
    whole = torch.nn.Sequential(torch.nn.Flatten(), network)
    twin = torch.jit.trace(whole, X[:2])
    found = torch.autograd.grad(
        functional.cross_entropy(twin(X), y), list(twin.parameters())
    )
    assert_near(found, reference_gradients(network, X, y)[2:])


def test_export_accepts_any_number_of_samples():
    network = lively()
    twin = by_export(network, samples(5)[0])
    for n_samples in (2, 9):
        X, _ = samples(n_samples, seed=1)
        assert_near(twin(X), reference(network, X)[0])


def test_torch_compile_trains_equally():
    network = lively()
    twin = torch.compile(network, backend="aot_eager", fullgraph=True)
    X, y = samples(5)
    X.requires_grad_()
    loss = functional.cross_entropy(twin(X), y)
    found = torch.autograd.grad(loss, [X, *network.parameters()])
    assert_near((loss, *found), reference_gradients(network, X.detach(), y))


# ONNX writes out what the exporter saw. Its packages are not needed for anything else.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None
    or importlib.util.find_spec("onnxscript") is None,
    reason="onnxruntime and onnxscript are not installed",
)
@pytest.mark.parametrize(
    "version", [{"dynamo": True}, {"dynamo": False}, {"opset_version": 11}], ids=str
)
def test_onnx_export_is_equal(version, tmp_path):
    import onnxruntime

    network = lively(dtype=torch.float32)
    (X, _), (new, _) = (samples(6, seed=seed, dtype=torch.float32) for seed in (0, 1))
    path = str(tmp_path / "network.onnx")
    dynamo = version.setdefault("dynamo", False)
    torch.onnx.export(
        network,
        (X,),
        path,
        **version,
        input_names=["X"],
        **{"dynamic_shapes" if dynamo else "dynamic_axes": {"X": {0: "n_samples"}}},
    )
    session = onnxruntime.InferenceSession(path)
    for rows in (new, new[:4]):
        (found,) = session.run(None, {"X": rows.numpy()})
        expected = reference(network, rows)[0].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@every_shape
def test_onnx_export_adds_to_no_index_twice(graph, monkeypatch):
    """It cannot before version 16. This is run where ONNX is not installed, too."""
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    network = network_of(graph)
    X, _ = samples(5)
    recorded = make_fx(network)(X)
    assert not any("scatter" in str(node.target) for node in recorded.graph.nodes)
    assert_near(recorded(X), reference(network, X)[0])


def parameters_of(network):
    return {name: weight.detach() for name, weight in network.named_parameters()}


@every_engine
@every_shape
def test_derivatives_of_every_kind_match_definition(engine, graph):
    network = network_of(graph, engine=engine)
    X, _ = samples(3)
    expected = torch.autograd.functional.jacobian(
        lambda X: reference(network, X)[0].sum(dim=0), X
    ).transpose(0, 1)

    def logits(x):
        return network(x)

    for jacobian in (jacrev, jacfwd):
        assert_near(vmap(jacobian(logits))(X), expected)
    assert_near(torch.autograd.functional.jacobian(logits, X[1]), expected[1])
    assert_near(
        torch.autograd.functional.jacobian(logits, X[1], vectorize=True), expected[1]
    )
    direction = torch.ones_like(X)
    _, along = jvp(logits, (X,), (direction,))
    assert_near(along, (expected * direction[:, None]).sum(dim=2))
    _, pull = vjp(logits, X)
    assert_near(pull(torch.ones_like(along))[0], expected.sum(dim=1))


@every_engine
def test_per_sample_gradients_match_definition(engine):
    network = lively(engine=engine)
    X, y = samples(4)

    def loss(parameters, x, target):
        logits = functional_call(network, parameters, (x[None],))
        return functional.cross_entropy(logits, target[None])

    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters_of(network), X, y)
    for i in range(4):
        expected = reference_gradients(network, X[[i]], y[[i]])[2:]
        assert_near(tuple(found[name][i] for name in PARAMETERS), expected)


@every_engine
def test_vmap_over_networks(engine):
    several = [lively(seed=seed, engine=engine) for seed in range(3)]
    stacked, _ = torch.func.stack_module_state(several)
    X, _ = samples(4)
    for with_gradient in (False, True):
        with torch.set_grad_enabled(with_gradient):
            found = vmap(lambda p: functional_call(several[0], p, (X,)))(stacked)
        assert_near(
            found, torch.stack([reference(network, X)[0] for network in several])
        )


@every_engine
@pytest.mark.parametrize("with_gradient", [False, True])
def test_forward_mode_tangent_is_kept(engine, with_gradient):
    network = lively(engine=engine)
    X, _ = samples(4)
    expected = jvp(lambda X: reference(network, X)[0], (X,), (torch.ones_like(X),))
    with (
        torch.set_grad_enabled(with_gradient),
        torch.autograd.forward_ad.dual_level(),
    ):
        dual = torch.autograd.forward_ad.make_dual(X, torch.ones_like(X))
        assert_near(
            tuple(torch.autograd.forward_ad.unpack_dual(network(dual))), expected
        )


def penalty(logits, X, parameters):
    """Depends on derivatives of the third order."""
    (of_X,) = torch.autograd.grad(logits.pow(3).sum(), X, create_graph=True)
    (again,) = torch.autograd.grad(of_X.pow(3).sum(), X, create_graph=True)
    return torch.autograd.grad((of_X * again).sum(), [X, *parameters])


@every_engine
@every_shape
def test_second_derivatives_match_definition(engine, graph):
    network = network_of(graph, engine=engine)
    X, _ = samples(3)
    X.requires_grad_()
    parameters = list(network.parameters())[:4:3]
    found = penalty(network(X), X, parameters)
    assert_near(found, penalty(reference(network, X)[0], X, parameters), 1e-7)


@every_engine
def test_sparse_network_passes_gradgradcheck(engine):
    network = lively(engine=engine)
    X, _ = samples(2)
    parameters = [weight.detach().requires_grad_() for weight in network.parameters()]

    def outputs(X, *parameters):
        named = dict(zip(PARAMETERS, parameters, strict=True))
        return functional_call(network, named, (X,)).tanh()

    with torch.random.fork_rng():
        assert torch.autograd.gradgradcheck(outputs, (X.requires_grad_(), *parameters))


@every_engine
def test_weights_that_depend_on_the_input(engine):
    """A gradient of a gradient where what is fed and the weights have one origin."""
    network = lively(engine=engine)
    X, _ = samples(2)
    X.requires_grad_()
    named = parameters_of(network)
    named["edge_weight"] = named["edge_weight"] * X.sum()
    (first,) = torch.autograd.grad(
        functional_call(network, named, (X,)).pow(2).sum(), X, create_graph=True
    )
    (plain,) = torch.autograd.grad(
        functional_call(network, named, (X,)).pow(2).sum(), X
    )
    assert_near(first.detach(), plain)


@every_engine
def test_batched_gradients(engine):
    network = lively(engine=engine)
    X, _ = samples(4)
    X.requires_grad_()
    logits = network(X)
    seeds = torch.eye(logits.numel(), dtype=X.dtype).view(-1, *logits.shape)
    (found,) = torch.autograd.grad(logits, X, seeds, is_grads_batched=True)
    expected = torch.autograd.functional.jacobian(lambda X: reference(network, X)[0], X)
    assert_near(found, expected.reshape(found.shape))


@every_engine
@every_shape
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_only_inputs_and_outputs(engine, graph, dtype):
    network = network_of(graph, dtype=dtype, engine=engine)
    X, _ = samples(6, dtype=dtype)
    digits = torch.finfo(dtype).eps
    expected = reference(network, X)[0]
    tolerance = 8 * digits * (1 + expected.abs().max().item())
    for with_gradient in (False, True):
        with torch.set_grad_enabled(with_gradient):
            found = network(X)
        assert found.dtype == dtype
        assert_near(found.double(), expected, tolerance)
    network(X).sum().backward()
    assert all(weight.grad.dtype == dtype for weight in network.parameters())


@every_engine
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_equal_up_to_its_precision(engine, dtype):
    network = lively(dtype=torch.float32, engine=engine)
    X, y = samples(6, dtype=torch.float32)
    _, *gradients = reference_gradients(network, X, y)
    for with_gradient in (False, True):
        with torch.set_grad_enabled(with_gradient), torch.autocast("cpu", dtype):
            found = network(X)
        assert_near(found.double(), reference(network, X)[0], 0.1)
    functional.cross_entropy(found.float(), y).backward()
    for weight, expected in zip(network.parameters(), gradients[1:], strict=True):
        assert weight.grad.dtype == torch.float32
        assert_near(weight.grad, expected, 0.1)


@every_engine
@given(data=st.data(), n_samples=st.integers(0, 5))
def test_transformed_network_of_any_graph_matches_definition(engine, data, n_samples):
    network = data.draw(networks(engine=engine))
    X, y = samples(n_samples)
    network.requires_grad_(data.draw(st.booleans()))

    def loss(X):
        return functional.cross_entropy(network(X), y, reduction="sum")

    def expected(X):
        return functional.cross_entropy(reference(network, X)[0], y, reduction="sum")

    assert_near(grad(loss)(X), grad(expected)(X))
    if n_samples:
        assert_near(torch.func.hessian(loss)(X), torch.func.hessian(expected)(X))


def test_plain_engine_is_used_only_when_needed(monkeypatch):
    """What is plain is slow: it must not be met where nobody looks."""
    network = lively()
    X, y = samples(4)
    expected, _ = reference(network, X)
    monkeypatch.setattr(PlainEngine, "forward", None)
    logits = network(X.requires_grad_())
    functional.cross_entropy(logits, y).backward()
    with torch.no_grad():
        assert_near(network(X), expected)
    with torch.inference_mode():
        assert_near(network(X), expected)
    with pytest.raises(TypeError, match="not callable"):
        vmap(network)(X)
