"""Steps without autograd do what steps with it do, for one network and for many."""

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from robustkit.networks import AutogradStep, FusedStep, UnionStep, _fused_step
from robustkit.networks._fused_step import _MOST_RECORDS, _CUDAGraph
from tests.networks.reference import reference_gradients
from tests.networks.shapes import (
    SHAPES,
    chain_of_2000,
    every_shape,
    network_of,
    networks,
    samples,
)

every_engine = pytest.mark.parametrize("engine", ["compiled", "sparse"])

SETTINGS = [
    {},
    {"lr": 0.1},
    {"weight_decay": 0.1},
    {"label_smoothing": 0.2},
    {"lr": 0.01, "weight_decay": 1.0, "label_smoothing": 0.9},
]


def via_pickle(step):
    return pickle.loads(pickle.dumps(step))


def expect_same_weights(ours, theirs, tolerance=1e-8):
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance)


def expect_same_steps(network, engine, settings, n_steps=4, tolerance=1e-8):
    twin = copy.deepcopy(network)
    ours = FusedStep(network, engine=engine, **settings)
    theirs = AutogradStep(twin, **settings)
    for seed in range(n_steps):
        X, y = samples(1 + 10 * seed, seed=seed, dtype=network.bias.dtype)
        torch.testing.assert_close(
            ours.step(X, y), theirs.step(X, y), rtol=tolerance, atol=tolerance
        )
        expect_same_weights(network, twin, tolerance)
    return ours, theirs


@every_engine
@given(data=st.data())
def test_fused_step_of_any_graph_equals_autograd_step(engine, data):
    settings = data.draw(st.sampled_from(SETTINGS))
    expect_same_steps(data.draw(networks()), engine, settings)


@every_engine
@every_shape
def test_fused_step_of_any_shape_equals_autograd_step(engine, graph):
    expect_same_steps(network_of(graph), engine, {"label_smoothing": 0.1})


@pytest.mark.parametrize("at_once", [1, 4, 10, 31])
@pytest.mark.parametrize("settings", SETTINGS)
@every_engine
def test_large_batches_go_part_by_part(engine, settings, at_once, monkeypatch):
    """Of 1, 11, 21 and 31 samples: into parts of unlike sizes, or a single one."""
    monkeypatch.setattr(_fused_step, "_SAMPLES_AT_ONCE", at_once)
    network = network_of(SHAPES["five predecessors and more"])
    expect_same_steps(network, engine, settings)
    expect_the_steps_of_each(mixed_networks(), engine, settings)


@every_engine
def test_fused_step_in_float32(engine):
    network = network_of(
        SHAPES["five predecessors and more"], dtype=torch.float32, n_features=3
    )
    expect_same_steps(network, engine, {}, tolerance=1e-4)


@every_engine
def test_fused_steps_with_more_sizes_of_batches_than_have_buffers(engine):
    network = network_of(SHAPES["five predecessors and more"])
    twin = copy.deepcopy(network)
    ours, theirs = FusedStep(network, engine=engine), AutogradStep(twin)
    losses = []
    for size in (5, 3, 5, 7, 2, 6, 4, 5, 3, 7):
        X, y = samples(size, seed=size, dtype=network.bias.dtype)
        losses.append((ours.step(X, y), theirs.step(X, y)))
        expect_same_weights(network, twin)
    # Nobody has written to a loss since it was returned.
    for mine, other in losses:
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-8)
    assert len(ours._kept) <= _MOST_RECORDS


def expect_gradients_of_the_definition(network, engine, label_smoothing=0.0):
    X, y = samples(9)
    loss, _, *expected = reference_gradients(network, X, y, label_smoothing)
    step = FusedStep(network, engine=engine, label_smoothing=label_smoothing)
    torch.testing.assert_close(step.step(X, y), loss.detach())
    found = step._union.split(step._gradient)[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@every_engine
@every_shape
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_fused_gradients_match_definition(engine, graph, label_smoothing):
    expect_gradients_of_the_definition(network_of(graph), engine, label_smoothing)


@every_engine
def test_fused_gradients_along_a_chain_of_2000_vertices(engine):
    expect_gradients_of_the_definition(chain_of_2000(), engine)


@every_engine
def test_fused_step_equals_torch_adam(engine):
    network = network_of(SHAPES["disconnected"])
    X, y = samples(8)
    twin = copy.deepcopy(network)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02, weight_decay=0.3)
    functional.cross_entropy(twin(X), y).backward()
    optimizer.step()
    FusedStep(network, engine=engine, lr=0.02, weight_decay=0.3).step(X, y)
    expect_same_weights(network, twin)


def mixed_networks(n_networks=7, dtype=torch.float64):
    graphs = [*SHAPES.values()][:n_networks]
    return [network_of(graph, seed=i, dtype=dtype) for i, graph in enumerate(graphs)]


@every_engine
@given(data=st.data())
def test_union_step_equals_separate_steps(engine, data):
    modules = data.draw(st.lists(networks(), min_size=1, max_size=5))
    settings = data.draw(st.sampled_from(SETTINGS))
    expect_the_steps_of_each(modules, engine, settings)


@every_engine
def test_union_step_of_very_different_shapes(engine):
    modules = [*mixed_networks(len(SHAPES)), chain_of_2000()]
    expect_the_steps_of_each(modules, engine, {})


def expect_the_steps_of_each(modules, engine, settings):
    alone = [AutogradStep(copy.deepcopy(module), **settings) for module in modules]
    together = UnionStep(modules, engine=engine, **settings)
    for seed in range(3):
        X, y = samples(5 + seed, seed=seed)
        losses = torch.stack([step.step(X, y) for step in alone])
        torch.testing.assert_close(together.step(X, y), losses)
    together.store()
    for module, step, state in zip(modules, alone, together.state_dicts(), strict=True):
        expect_same_weights(module, step.module)
        torch.testing.assert_close(state, step.state_dict(), check_dtype=False)


@every_engine
def test_union_step_isolates_a_diverging_network(engine):
    modules = mixed_networks()
    twins = copy.deepcopy(modules)
    with torch.no_grad():
        modules[2].input_weight.fill_(float("nan"))
    step, healthy = UnionStep(modules, engine=engine), UnionStep(twins, engine=engine)
    X, y = samples(6)
    for _ in range(3):
        losses, expected = step.step(X, y), healthy.step(X, y)
    assert losses.isnan().tolist() == [i == 2 for i in range(len(modules))]
    kept = [i for i in range(len(modules)) if i != 2]
    torch.testing.assert_close(losses[kept], expected[kept])
    step.store()
    assert modules[2].bias.isnan().any()


def test_union_step_changes_modules_only_when_stored():
    modules = mixed_networks()
    before = copy.deepcopy(modules)
    UnionStep(modules).step(*samples(6))
    for module, twin in zip(modules, before, strict=True):
        expect_same_weights(module, twin, 0)


def test_fused_and_autograd_step_exchange_states():
    network = network_of(SHAPES["skip over 100 layers"])
    fused, autograd = expect_same_steps(network, "compiled", {"lr": 0.01})
    torch.testing.assert_close(
        fused.state_dict(), autograd.state_dict(), check_dtype=False
    )
    other = AutogradStep(network, lr=0.01)
    other.load_state_dict(fused.state_dict())
    again = FusedStep(autograd.module, lr=0.01)
    again.load_state_dict(autograd.state_dict())
    X, y = samples(8, seed=9)
    other.step(X, y)
    again.step(X, y)
    expect_same_weights(other.module, again.module)


def test_fused_step_leaves_frozen_parameters_alone():
    network = network_of(SHAPES["disconnected"])
    twin = copy.deepcopy(network)
    for module in (network, twin):
        module.output_weight.requires_grad_(False)
        module.bias.requires_grad_(False)
    ours, theirs = FusedStep(network, lr=0.1), AutogradStep(twin, lr=0.1)
    X, y = samples(8)
    for _ in range(3):
        ours.step(X, y)
        theirs.step(X, y)
    expect_same_weights(network, twin)
    assert not any(ours.state_dict()[1]["exp_avg"])


def test_fused_step_uses_weights_loaded_in_between():
    network, other = (network_of(SHAPES["disconnected"], seed=s) for s in (0, 1))
    step = FusedStep(network)
    X, y = samples(8)
    step.step(X, y)
    network.load_state_dict(other.state_dict())
    expected = functional.cross_entropy(other(X), y)
    torch.testing.assert_close(step.step(X, y), expected.detach())


def test_two_fused_steps_on_one_module_share_its_weights():
    network = network_of(SHAPES["disconnected"])
    first, second = FusedStep(network), FusedStep(network)
    X, y = samples(8)
    for step in (first, second, first):
        expected = functional.cross_entropy(network(X), y)
        torch.testing.assert_close(step.step(X, y), expected.detach())


def test_pickle_after_fused_step_contains_each_weight_once():
    network = network_of(SHAPES["skip over 100 layers"])
    n_bytes = len(pickle.dumps(network))
    FusedStep(network).step(*samples(8))
    assert len(pickle.dumps(network)) < 1.1 * n_bytes


@every_engine
@pytest.mark.parametrize("copied", [copy.deepcopy, via_pickle], ids=["copy", "pickle"])
def test_copies_of_steps_go_on_by_themselves(engine, copied):
    settings = {"lr": 0.05, "weight_decay": 0.1, "label_smoothing": 0.1}
    X, y = samples(20, seed=0, dtype=torch.float64)
    modules = mixed_networks(2)
    network = network_of(SHAPES["five predecessors and more"])
    one = FusedStep(network, engine=engine, **settings)
    many = UnionStep(modules, engine=engine, **settings)
    for step in (one, many):
        step.step(X, y)
        before = [weight.clone() for weight in step.modules[0].parameters()]
        twin = copied(step)
        # It begins with the weights that its modules do not have yet.
        losses = [twin.step(X, y) for _ in range(3)]
        after = step.modules[0].parameters()
        assert all(map(torch.equal, before, after))
        expected = [step.step(X, y) for _ in range(3)]
        torch.testing.assert_close(losses, expected, rtol=0, atol=0)
        step.store(), twin.store()
        for module, other in zip(step.modules, twin.modules, strict=True):
            expect_same_weights(module, other, tolerance=0)
        own, others = step.state_dicts(), twin.state_dicts()
        torch.testing.assert_close(own, others, rtol=0, atol=0)


def test_copy_of_a_step_whose_weights_another_one_took():
    X, y = samples(20, seed=0, dtype=torch.float64)
    network = network_of(SHAPES["five predecessors and more"])
    first, second = FusedStep(network), FusedStep(network, lr=0.1)
    first.step(X, y), second.step(X, y)
    assert torch.equal(copy.deepcopy(first).step(X, y), first.step(X, y))


def test_subnormal_moments_become_zero():
    network = network_of(SHAPES["disconnected"], dtype=torch.float32)
    step = FusedStep(network)
    step._adam.mean.fill_(1e-38)
    step._adam.square.fill_(1e-45)
    with torch.no_grad():
        network.input_weight.zero_()
        network.bias.fill_(-1)
    X, y = samples(8, dtype=torch.float32)
    step.step(X, y)
    state = step.state_dict()[2]
    assert state["exp_avg"].tolist() == [0, 0, 0, 0]
    assert state["exp_avg_sq"].tolist() == [0, 0, 0, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_union_step_on_cuda_equals_cpu():
    modules = mixed_networks()
    on_cuda = [copy.deepcopy(module).cuda() for module in modules]
    cpu, cuda = UnionStep(modules), UnionStep(on_cuda)
    for seed in range(5):
        X, y = samples(64, seed=seed)
        expected = cpu.step(X, y)
        torch.testing.assert_close(cuda.step(X.cuda(), y.cuda()).cpu(), expected)
    cpu.store()
    cuda.store()
    for ours, theirs in zip(on_cuda, modules, strict=True):
        expect_same_weights(ours.cpu(), theirs)


@pytest.fixture
def calls(monkeypatch):
    """What the function was called with and returned, in order."""
    calls = []

    class Graph:
        """Does again what the function did when it was recorded."""

        def replay(self):
            if not hasattr(self, "recorded"):
                self.recorded = calls[-1]
            x, y, result = self.recorded
            torch.add(x, y, out=result)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    return calls


def test_cuda_graph_returns_results_of_the_function(calls):
    def add(x, y):
        calls.append((x, y, x + y))
        return calls[-1][2]

    recording = _CUDAGraph(add)
    results = []
    for i in range(4):
        for size in (2, 3):
            x = torch.full((size,), float(i))
            results.append((recording(x, x + 1), 2 * x + 1))
    # Compared at the end: no later call may change what an earlier one returned.
    for result, expected in results:
        assert torch.equal(result, expected)
    # Of either size, the first call ran the function and the second one recorded it.
    assert len(calls) == 4


def test_cuda_graph_copies_its_inputs(calls):
    def add(x, y):
        calls.append((x, y, x + y))
        return calls[-1][2]

    recording = _CUDAGraph(add)
    x = torch.ones(2)
    for _ in range(3):
        recording(x, x)
    assert calls[0][0] is x
    assert calls[1][0] is not x


def test_fused_step_suits_what_computes_nothing_else():
    network = network_of(SHAPES["five predecessors and more"])
    assert FusedStep.suits(network)
    assert FusedStep.suits(copy.deepcopy(network).float(), weight_decay=0.1)
    assert not FusedStep.suits(network, regularizer=object())
    assert not FusedStep.suits(copy.deepcopy(network).bfloat16())
    assert not FusedStep.suits(copy.deepcopy(network).to("meta"))
    for register in (
        network.edge_weight.register_hook,
        network.edge_weight.register_post_accumulate_grad_hook,
        network.register_full_backward_hook,
        network.register_forward_hook,
    ):
        handle = register(lambda *_: None)
        assert not FusedStep.suits(network)
        handle.remove()
    assert FusedStep.suits(network)
