"""Layers by name, and what they compute."""

import pytest
import torch
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bridge._layers import (
    has_relu_units,
    head_parameters,
    layer_names,
    layer_values,
    resolve_layers,
)


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


def test_hidden_layers_are_the_nonlinearities(mlp):
    assert layer_names(mlp) == ["1", "3"]
    assert resolve_layers(mlp, "all") == ["1", "3"]
    assert resolve_layers(mlp, 0) == ["1"]
    assert resolve_layers(mlp, -1) == ["3"]
    assert resolve_layers(mlp, ["penultimate", "0", 1, "3"]) == [
        "penultimate",
        "0",
        "3",
    ]


def test_values_are_those_of_the_layers_called_by_hand(mlp, X):
    values = layer_values(mlp, X, ["1", "3", "penultimate", "2", "logits"])
    for name, stop in (("1", 1), ("3", 3), ("penultimate", 3)):
        torch.testing.assert_close(values[name].pre_activation, mlp[:stop](X))
        torch.testing.assert_close(values[name].activation, mlp[: stop + 1](X))
    for name, stop in (("2", 3), ("logits", 5)):
        torch.testing.assert_close(values[name].pre_activation, mlp[:stop](X))
        torch.testing.assert_close(values[name].activation, mlp[:stop](X))


def test_values_can_be_differentiated(mlp, X):
    value = layer_values(mlp, X, ["penultimate"])["penultimate"]
    value.pre_activation.square().sum().backward()
    assert mlp[0].weight.grad.abs().sum() > 0
    assert mlp[4].weight.grad is None


def test_no_hook_stays_behind_even_after_an_error(mlp, X):
    with pytest.raises(RuntimeError, match="shapes"):
        layer_values(mlp, X[:, :2], ["1"])
    layer_values(mlp, X, ["1"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in mlp.modules())


def test_a_relu_in_place_does_not_hide_what_entered_it(X):
    with seeded_torch(0):
        module = Convolutional()
    expected = module(X)
    values = layer_values(module, X, ["penultimate", "conv2", "logits"])
    assert values["penultimate"].pre_activation.min() < 0
    torch.testing.assert_close(
        values["penultimate"].pre_activation, values["conv2"].activation
    )
    torch.testing.assert_close(values["logits"].activation, expected)


def test_pooling_stands_between_the_two_sides_of_the_penultimate_layer(X):
    with seeded_torch(0):
        module = Convolutional()
    value = layer_values(module, X, ["penultimate"])["penultimate"]
    assert value.pre_activation.shape == (7, 4, 5, 1)
    torch.testing.assert_close(
        value.activation, value.pre_activation.relu().mean(dim=(2, 3))
    )


def test_a_module_that_hides_its_nonlinearity_is_cut_at_its_affine_maps(X):
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
def test_relu_units_are_those_with_one_kink_at_zero(activation, expected):
    assert has_relu_units(nn.Sequential(activation)) is expected


def test_the_head_is_the_last_affine_map(mlp):
    weight, bias = head_parameters(mlp)
    assert weight is mlp[4].weight
    assert bias is mlp[4].bias
    assert head_parameters(nn.ReLU()) == []


def test_an_unknown_layer_is_answered_with_those_there_are(mlp):
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
