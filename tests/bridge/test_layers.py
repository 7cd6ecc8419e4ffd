"""Layers by name, and what they compute."""

import numpy as np
import pytest
import torch
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bridge import as_module
from robustkit.bridge._layers import (
    has_relu_units,
    head_parameters,
    layer_names,
    layer_values,
    module_on,
    resolve_layers,
    steady_layer_values,
)
from robustkit.classifiers import MLPNetClassifier
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork, initialize


@pytest.fixture(name="X")
def samples():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mlp():
    with seeded_torch(0):
        return nn.Sequential(
            nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)
        )


class Convolutional(nn.Module):
    """A ReLU that is called twice and works in place, and pooling before the head."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, X):
        inner = self.relu(self.conv1(X.reshape(-1, 1, 5, 1)))
        return self.fc(self.relu(self.conv2(inner)).mean(dim=(2, 3)))


class Functional(nn.Module):
    """Calls its nonlinearity as a function, so that no module of it is one."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(5, 4)
        self.output = nn.Linear(4, 2)

    def forward(self, X):
        return self.output(torch.relu(self.hidden(X)))


def test_layer_names_are_the_nonlinearities(mlp):
    assert layer_names(mlp) == ["1", "3"]
    assert resolve_layers(mlp, "all") == ["1", "3"]
    assert resolve_layers(mlp, 0) == ["1"]
    assert resolve_layers(mlp, -1) == ["3"]
    assert resolve_layers(mlp, ["penultimate", "0", 1, "3"]) == [
        "penultimate",
        "0",
        "3",
    ]


def test_layer_values_equal_layers_called_by_hand(mlp, X):
    values = layer_values(mlp, X, ["1", "3", "penultimate", "2", "logits"])
    for name, stop in (("1", 1), ("3", 3), ("penultimate", 3)):
        torch.testing.assert_close(values[name].pre_activation, mlp[:stop](X))
        torch.testing.assert_close(values[name].activation, mlp[: stop + 1](X))
    for name, stop in (("2", 3), ("logits", 5)):
        torch.testing.assert_close(values[name].pre_activation, mlp[:stop](X))
        torch.testing.assert_close(values[name].activation, mlp[:stop](X))


def test_layer_values_are_differentiable(mlp, X):
    value = layer_values(mlp, X, ["penultimate"])["penultimate"]
    value.pre_activation.square().sum().backward()
    assert mlp[0].weight.grad.abs().sum() > 0
    assert mlp[4].weight.grad is None


def test_layer_values_removes_its_hooks_even_after_an_error(mlp, X):
    with pytest.raises(RuntimeError, match="shapes"):
        layer_values(mlp, X[:, :2], ["1"])
    layer_values(mlp, X, ["1"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in mlp.modules())


def test_input_of_in_place_relu_is_recorded(X):
    with seeded_torch(0):
        module = Convolutional()
    expected = module(X)
    values = layer_values(module, X, ["penultimate", "conv2", "logits"])
    assert values["penultimate"].pre_activation.min() < 0
    torch.testing.assert_close(
        values["penultimate"].pre_activation, values["conv2"].activation
    )
    torch.testing.assert_close(values["logits"].activation, expected)


def test_output_is_recorded_before_the_next_layer_works_in_place(X):
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 4), Doubler()
        )
    linear = module[0](X)
    values = layer_values(module, X, ["0"])["0"]
    torch.testing.assert_close(values.pre_activation, linear)
    torch.testing.assert_close(values.activation, linear)
    torch.testing.assert_close(
        layer_values(module, X, ["2"])["2"].activation, module[2](linear.relu())
    )
    values.activation.square().sum().backward()
    assert module[0].weight.grad.abs().sum() > 0


class Doubler(nn.Module):
    """Works in place, and does not say so."""

    def forward(self, x):
        return x.mul_(2)


def test_layer_values_of_module_that_writes_to_its_input(X):
    with seeded_torch(0):
        module = nn.Sequential(Doubler(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    before = X.clone()
    values = layer_values(module, X, ["penultimate", "logits"])
    torch.testing.assert_close(X, before, rtol=0, atol=0)
    expected = module[1](2 * X)
    torch.testing.assert_close(values["penultimate"].pre_activation, expected)
    torch.testing.assert_close(values["logits"].activation, module[3](expected.relu()))


class Late(nn.ReLU):
    """Has its kink elsewhere."""

    def forward(self, x):
        return (x - 1).relu()


def test_modified_nonlinearity_is_no_layer():
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(5, 6), Late(), nn.Linear(6, 2))
        plain = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    assert not has_relu_units(module)
    assert layer_names(module) == ["0"]
    assert has_relu_units(plain)
    plain[1].forward = lambda x: (x - 1).relu()
    assert not has_relu_units(plain)
    assert layer_names(plain) == ["0"]


def test_layer_with_forward_hook_is_a_layer(mlp, X):
    seen = []
    mlp[1].register_forward_hook(lambda part, given, gave: seen.append(gave))
    assert layer_names(mlp) == ["1", "3"]
    assert has_relu_units(mlp)
    values = layer_values(mlp, X, ["1"])["1"]
    torch.testing.assert_close(values.activation, seen[-1])


def test_hooks_of_a_sparse_network_are_applied(X):
    graph = GraphPrior(n_nodes=30, random_state=0).sample(0)
    module = initialize(SparseNetwork(graph, 5, 2), random_state=0)
    expected = module.vertex_preactivations(-X)
    module.register_forward_pre_hook(lambda part, given: -given[0])
    values = layer_values(module, X, ["layer_0"])["layer_0"].pre_activation
    torch.testing.assert_close(values, expected[:, : values.shape[1]])


def test_penultimate_activation_includes_pooling(X):
    with seeded_torch(0):
        module = Convolutional()
    value = layer_values(module, X, ["penultimate"])["penultimate"]
    assert value.pre_activation.shape == (7, 4, 5, 1)
    torch.testing.assert_close(
        value.activation, value.pre_activation.relu().mean(dim=(2, 3))
    )


def test_module_with_functional_nonlinearity_is_cut_at_affine_maps(X):
    with seeded_torch(0):
        module = Functional()
    assert layer_names(module) == ["hidden"]
    assert not has_relu_units(module)
    value = layer_values(module, X, ["penultimate"])["penultimate"]
    torch.testing.assert_close(value.pre_activation, module.hidden(X))
    torch.testing.assert_close(value.activation, module.hidden(X).relu())


@pytest.mark.parametrize(
    ("activation", "expected"),
    [(nn.ReLU(), True), (nn.LeakyReLU(), True), (nn.PReLU(), True), (nn.Tanh(), False)],
)
def test_has_relu_units(activation, expected):
    assert has_relu_units(nn.Sequential(activation)) is expected


def test_head_parameters_are_the_last_affine_map(mlp):
    weight, bias = head_parameters(mlp)
    assert weight is mlp[4].weight
    assert bias is mlp[4].bias
    assert head_parameters(nn.ReLU()) == []


def test_head_parameters_include_all_after_the_penultimate_layer():
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2), nn.BatchNorm1d(2), nn.PReLU()
        )
    head = [*module[2].parameters(), *module[3].parameters(), *module[4].parameters()]
    found = head_parameters(module)
    assert [id(weight) for weight in found] == [id(weight) for weight in head]
    with seeded_torch(0):
        normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 2))
        module = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), normed)
    found = {id(weight) for weight in head_parameters(module)}
    assert found == {id(weight) for weight in normed.parameters()}


def test_unknown_layer_raises_and_lists_layers(mlp):
    with pytest.raises(ValueError, match=r"'penultimat' is unknown, did you mean"):
        resolve_layers(mlp, "penultimat")
    with pytest.raises(ValueError, match=r"layers are \['logits', 'penultimate', '1'"):
        resolve_layers(mlp, ["relu7"])
    with pytest.raises(ValueError, match=r"layer=2 is out of range.*\['1', '3'\]"):
        resolve_layers(mlp, 2)
    with pytest.raises(ValueError, match=r"layer=\[\] names no layer"):
        resolve_layers(mlp, [])


@pytest.mark.parametrize("layer", ["penultimate", "all", 0])
def test_a_linear_model_has_no_hidden_layer(layer, X):
    with seeded_torch(0):
        module = nn.Linear(5, 3)
    with pytest.raises(ValueError, match="has none between input and logits"):
        resolve_layers(module, layer)
    assert layer_values(module, X, ["logits"])["logits"].activation.shape == (7, 3)


@pytest.fixture(scope="module")
def sparse():
    structure = GraphPrior(n_nodes=30, random_state=0).sample()
    return initialize(SparseNetwork(structure, 5, 3), random_state=0)


@pytest.mark.parametrize("prefix", ["", "1."])
def test_layers_of_a_sparse_network_are_those_of_its_graph(sparse, X, prefix):
    module = nn.Sequential(nn.Identity(), sparse) if prefix else sparse
    structure, vertices = sparse.structure, sparse.vertex_preactivations(X)
    names = [f"{prefix}layer_{i}" for i in range(structure.n_layers)]
    assert layer_names(module) == names
    assert resolve_layers(module, -1) == names[-1:]
    assert has_relu_units(module)
    values = layer_values(module, X, [*names, "penultimate", "logits"])
    members = {name: structure.layer == i for i, name in enumerate(names)}
    for name, chosen in {**members, "penultimate": structure.sinks}.items():
        expected = vertices[:, torch.from_numpy(chosen.copy())]
        torch.testing.assert_close(values[name].pre_activation, expected)
        torch.testing.assert_close(values[name].activation, expected.relu())
    torch.testing.assert_close(values["logits"].activation, sparse(X))


def test_a_sparse_network_is_not_called_where_its_vertices_suffice(sparse, X):
    calls = []
    with sparse.register_forward_hook(lambda *_: calls.append(1)):
        layer_values(sparse, X, ["penultimate", "layer_0"])
        assert not calls
        layer_values(sparse, X, ["penultimate", "logits"])
        assert len(calls) == 1


def test_head_of_a_sparse_network_is_what_its_sinks_feed(sparse):
    weight, bias = head_parameters(sparse)
    assert weight is sparse.output_weight
    assert bias is sparse.output_bias


def test_a_graph_before_a_linear_model_is_penultimate(sparse, X):
    with seeded_torch(0):
        head = nn.Linear(3, 2)
    module = nn.Sequential(sparse, head)
    value = layer_values(module, X, ["penultimate"])["penultimate"]
    sinks = torch.from_numpy(sparse.structure.sinks.copy())
    torch.testing.assert_close(
        value.pre_activation, sparse.vertex_preactivations(X)[:, sinks]
    )
    torch.testing.assert_close(value.activation, sparse(X))


def test_steady_layer_values_do_not_depend_on_neighbours():
    generator = torch.Generator().manual_seed(0)
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(90, 70), nn.ReLU(), nn.Linear(70, 9)).eval()
    X = torch.randn(100, 90, generator=generator)
    whole = steady_layer_values(module, X, ["1", "logits"])
    for size in (1, 2, 3, 17, 64):
        for start in range(0, 100, size):
            piece = slice(start, start + size)
            values = steady_layer_values(module, X[piece], ["1", "logits"])
            for name, pair in values.items():
                for found, expected in zip(pair, whole[name], strict=True):
                    torch.testing.assert_close(found, expected[piece], rtol=0, atol=0)
                    assert not found.requires_grad


def test_module_on_never_moves_the_estimators_network():
    X = np.random.RandomState(0).rand(20, 4).astype(np.float32)
    classifier = MLPNetClassifier((3,), max_epochs=1, device="cpu", random_state=0)
    classifier.fit(X, np.arange(20) % 2)
    assert module_on(classifier, X, torch.device("cpu")) is as_module(classifier)
    elsewhere = module_on(classifier, X, torch.device("meta"))
    assert next(elsewhere.parameters()).device.type == "meta"
    assert next(as_module(classifier).parameters()).device.type == "cpu"
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4"):
        module_on(classifier, X[:, :3], torch.device("cpu"))


@pytest.mark.parametrize("index", range(-4, 4))
def test_index_counts_hidden_layers_from_both_ends(index):
    with seeded_torch(0):
        layers = [part for _ in range(3) for part in (nn.Linear(5, 5), nn.Tanh())]
        module = nn.Sequential(*layers, nn.Linear(5, 2))
    names = ["1", "3", "5"]
    assert layer_names(module) == names
    if -3 <= index < 3:
        assert resolve_layers(module, index) == [names[index]]
        assert resolve_layers(module, np.int64(index)) == [names[index]]
    else:
        with pytest.raises(ValueError, match=f"layer={index} is out of range"):
            resolve_layers(module, index)


def test_all_layers_of_linear_module_raises():
    with pytest.raises(ValueError, match=r"layer='penultimate' needs a hidden layer"):
        resolve_layers(nn.Flatten(), "all")


@pytest.mark.parametrize("n_rows", [1, 15, 16, 17])
def test_steady_layer_values_pads_rows_and_cuts_them_off(mlp, n_rows):
    X = torch.randn(n_rows, 5, generator=torch.Generator().manual_seed(0))
    sizes = []
    with mlp.register_forward_hook(lambda _, given, __: sizes.append(len(given[0]))):
        values = steady_layer_values(mlp, X, ["logits", "1"])
    assert sizes == [-(-n_rows // 16) * 16]
    assert {len(part) for pair in values.values() for part in pair} == {n_rows}
    with torch.no_grad():
        torch.testing.assert_close(values["logits"].activation, mlp(X))


class TwoBranches(nn.Module):
    """A residual sum that writes into what one of its layers returned."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.relu = nn.Linear(5, 5), nn.Linear(5, 5), nn.ReLU()

    def forward(self, x):
        out = self.a(x)
        out += self.b(x)
        return self.relu(out)


def test_in_place_sum_does_not_change_recorded_output(X):
    with seeded_torch(0):
        module = TwoBranches()
    values = layer_values(module, X, ["a", "b", "relu", "logits"])
    torch.testing.assert_close(values["a"].activation, module.a(X))
    torch.testing.assert_close(values["b"].activation, module.b(X))
    total = module.a(X) + module.b(X)
    torch.testing.assert_close(values["relu"].pre_activation, total)
    torch.testing.assert_close(values["logits"].activation, total.relu())
    values["a"].activation.sum().backward()
    assert module.a.weight.grad.abs().sum() > 0
