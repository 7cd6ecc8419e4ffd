"""Weights that are removed stay removed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.networks import (
    AutogradStep,
    MaskedLinear,
    mask_hidden_layers,
    mlp,
    prune_weights,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def perceptron(hidden_layer_sizes=(6, 5, 4), seed=0):
    with seeded_torch(seed):
        return mlp(7, 3, hidden_layer_sizes=hidden_layer_sizes)


def batch(n_samples=20):
    X = torch.randn(n_samples, 7, generator=generator(1))
    return X, torch.randint(3, (n_samples,), generator=generator(2))


def test_mask_hidden_layers_masks_only_between_hidden_layers():
    module = perceptron()
    layers = mask_hidden_layers(module)
    assert [(layer.in_features, layer.out_features) for layer in layers] == [
        (6, 5),
        (5, 4),
    ]
    kinds = {name: type(part) for name, part in module.named_children()}
    assert kinds["hidden1"] is kinds["output"] is nn.Linear
    assert kinds["hidden2"] is kinds["hidden3"] is MaskedLinear


@pytest.mark.parametrize("module", [None, nn.ReLU(), nn.Sequential(nn.ReLU())])
def test_mask_hidden_layers_without_hidden_layers(module):
    assert mask_hidden_layers(module) == []


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def test_mask_hidden_layers_skips_modified_layers():
    X, _ = batch()
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Linear(7, 6),
            Doubled(6, 6),
            nn.Linear(6, 6),
            nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
            nn.Linear(6, 6),
            nn.Linear(6, 3),
        )
    module[4].register_forward_hook(lambda _, given, gave: -gave)
    before = module(X)
    layers = mask_hidden_layers(module)
    assert [module[k] for k in (2,)] == layers
    assert type(module[1]) is Doubled
    assert torch.equal(module(X), before)


def test_mask_hidden_layers_skips_other_containers():
    with seeded_torch(0):
        module = Residual(nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 7))
    assert mask_hidden_layers(module) == []
    assert all(type(part) is nn.Linear for part in module)


def test_masked_linear_with_full_mask_equals_linear():
    X, _ = batch()
    module = perceptron()
    before, weight = module(X), module.hidden2.weight
    mask_hidden_layers(module)
    assert torch.equal(module(X), before)
    assert module.hidden2.weight is weight


@given(st.floats(0.05, 0.95), st.integers(0, 1000), st.sampled_from(["random", "size"]))
def test_masked_linear_equals_dense_layer_with_mask(amount, seed, how):
    X, _ = batch()
    module = perceptron()
    dense = [module.hidden2.weight.clone(), module.hidden3.weight.clone()]
    layers = mask_hidden_layers(module)
    method = "random" if how == "random" else "magnitude"
    density = prune_weights(layers, amount, method=method, generator=generator(seed))
    masks = [layer.kept for layer in layers]

    h = torch.relu(module.hidden1(X))
    for layer, weight, mask in zip(layers, dense, masks, strict=True):
        h = torch.relu(h @ (weight * mask).T + layer.bias)
    torch.testing.assert_close(module(X), module.output(h))
    n_left = sum(int(mask.sum()) for mask in masks)
    assert n_left == 50 - max(1, round(amount * 50))
    assert density == n_left / 50


def test_prune_weights_removes_a_share_of_the_remaining_weights():
    layers = mask_hidden_layers(perceptron((10, 10)))
    densities = [
        prune_weights(layers, 0.5, generator=generator(seed)) for seed in range(9)
    ]
    assert densities == [0.5, 0.25, 0.13, 0.07, 0.03, 0.01, 0.0, 0.0, 0.0]


def test_prune_by_magnitude_removes_the_smallest_of_all_layers():
    layers = mask_hidden_layers(perceptron())
    size = torch.cat([layer.weight.detach().abs().flatten() for layer in layers])
    prune_weights(layers, 0.4, method="magnitude")
    kept = torch.cat([layer.kept.flatten() for layer in layers]).bool()
    assert size[~kept].max() < size[kept].min()


def test_random_pruning_depends_on_seed_only(global_random_seed):
    masks = []
    for _ in range(2):
        layers = mask_hidden_layers(perceptron())
        prune_weights(layers, 0.3, generator=generator(global_random_seed))
        masks.append(torch.cat([layer.kept.flatten() for layer in layers]))
    assert torch.equal(*masks)


def test_training_brings_no_weight_back():
    X, y = batch()
    module = perceptron()
    layers = mask_hidden_layers(module)
    prune_weights(layers, 0.6, generator=generator())
    step = AutogradStep(module, lr=0.1, weight_decay=0.1)
    before = layers[0].weight.detach().clone()
    for _ in range(10):
        step.step(X, y)
        for layer in layers:
            removed = layer.kept == 0
            assert (layer.weight[removed] == 0).all()
            assert (layer.weight.grad[removed] == 0).all()
    left = layers[0].kept == 1
    assert (layers[0].weight[left] != before[left]).all()
