"""A perceptron's step without autograd gives the bits that autograd gives."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.networks import AutogradStep, PerceptronStep, mlp


def perceptron(*sizes, n_features=5, n_classes=3, dtype=torch.float32):
    with seeded_torch(0):
        return mlp(n_features, n_classes, hidden_layer_sizes=sizes).to(dtype)


def batch(n_samples, module, seed=0):
    with seeded_torch(seed):
        X = torch.randn(n_samples, module[1].in_features, dtype=module[1].weight.dtype)
        return X, torch.randint(module[-1].out_features, (n_samples,))


def expect_same(ours, theirs):
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own, other)


@given(
    sizes=st.lists(st.integers(1, 40), max_size=3),
    n_features=st.integers(1, 30),
    n_classes=st.integers(2, 12),
    n_samples=st.integers(1, 70),
    weight_decay=st.sampled_from([0.0, 0.1]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_perceptron_step_equals_autograd_to_the_bit(
    sizes, n_features, n_classes, n_samples, weight_decay, dtype
):
    shape = {"n_features": n_features, "n_classes": n_classes, "dtype": dtype}
    ours = perceptron(*sizes, **shape)
    theirs = copy.deepcopy(ours)
    settings = {"lr": 0.01, "weight_decay": weight_decay}
    assert PerceptronStep.suits(ours, **settings)
    steps = PerceptronStep(ours, **settings), AutogradStep(theirs, **settings)
    for seed in range(4):
        X, y = batch(n_samples, ours, seed)
        loss, other_loss = (step.step(X, y) for step in steps)
        assert torch.equal(loss, other_loss)
        expect_same(ours, theirs)
    states = [step.state_dict() for step in steps]
    for i, of_one in states[1].items():
        assert all(torch.equal(of_one[name], states[0][i][name]) for name in of_one)


def test_perceptron_step_and_autograd_take_turns():
    ours, theirs = perceptron(8), perceptron(8)
    steady, state = AutogradStep(theirs), None
    for turn, kind in enumerate([PerceptronStep, AutogradStep, PerceptronStep]):
        step = kind(ours)
        if state is not None:
            step.load_state_dict(state)
        for seed in range(3):
            X, y = batch(10, ours, 10 * turn + seed)
            step.step(X, y), steady.step(X, y)
        state = step.state_dict()
    expect_same(ours, theirs)


def test_perceptron_step_leaves_frozen_weights():
    ours, theirs = perceptron(8), perceptron(8)
    steps = PerceptronStep(ours), AutogradStep(theirs)
    for seed in range(9):
        for net in (ours, theirs):
            net[1].weight.requires_grad_(not 3 <= seed < 6)
        for step in steps:
            step.step(*batch(10, ours, seed))
    expect_same(ours, theirs)


def test_perceptron_step_of_images_equals_autograd():
    ours, theirs = perceptron(8, n_features=6), perceptron(8, n_features=6)
    X, y = batch(10, ours)
    steps = PerceptronStep(ours), AutogradStep(theirs)
    for _ in range(3):
        for step in steps:
            step.step(X.view(-1, 1, 2, 3), y)
    expect_same(ours, theirs)


class Own(nn.Linear):
    def forward(self, X):
        return super().forward(X) + 1


def hooked():
    net = perceptron(4)
    net[1].register_forward_hook(lambda *_: None)
    return net


def shared():
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied(*names):
    net = nn.Sequential(
        nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)
    )
    for name in names:
        setattr(net[4], name, getattr(net[2], name))
    return net


def with_bias_first():
    layer = nn.Linear(3, 3)
    weight = layer.weight
    del layer.weight
    layer.weight = weight
    return nn.Sequential(layer)


def observed(register):
    """A perceptron something of which is called with gradients."""
    net = perceptron(4)
    register(net)
    return net


def twice_the_gradient(module, before, after):
    return tuple(None if g is None else 2 * g for g in before)


HOOKS = {
    "of a weight": lambda net: net[1].weight.register_hook(lambda g: 0 * g),
    "after a weight": lambda net: net[1].bias.register_post_accumulate_grad_hook(
        lambda w: w.grad.zero_()
    ),
    "of a part": lambda net: net[2].register_full_backward_hook(twice_the_gradient),
    "before a part": lambda net: net[2].register_full_backward_pre_hook(
        lambda part, after: (2 * after[0],)
    ),
    "of the whole": lambda net: net.register_full_backward_hook(twice_the_gradient),
}


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(Own(5, 3)),
        nn.Sequential(nn.Linear(5, 3), nn.ReLU()),
        nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(5, 3, bias=False)),
        nn.Sequential(nn.Flatten(0), nn.Linear(5, 3)),
        nn.Sequential(),
        hooked(),
        shared(),
        tied("weight"),
        tied("bias"),
        tied("weight", "bias"),
        with_bias_first(),
        *map(observed, HOOKS.values()),
        perceptron(4).to("meta"),
    ],
)
def test_perceptron_step_does_not_suit_other_modules(module):
    assert not PerceptronStep.suits(module)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd"},
        {"optimizer": torch.optim.Adam},
        {"label_smoothing": 0.1},
        {"regularizer": object()},
    ],
)
def test_perceptron_step_does_not_suit_other_settings(settings):
    assert PerceptronStep.suits(perceptron(4))
    assert not PerceptronStep.suits(perceptron(4), **settings)


def test_perceptron_step_does_not_suit_where_all_modules_have_a_gradient_hook():
    handle = nn.modules.module.register_module_full_backward_hook(lambda *_: None)
    try:
        assert not PerceptronStep.suits(perceptron(4))
    finally:
        handle.remove()
    assert PerceptronStep.suits(perceptron(4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_perceptron_step_in_half_precision_equals_autograd(dtype):
    ours, theirs = perceptron(8, dtype=dtype), perceptron(8, dtype=dtype)
    steps = PerceptronStep(ours), AutogradStep(theirs)
    for seed in range(3):
        X, y = batch(10, ours, seed)
        assert torch.equal(*(step.step(X, y) for step in steps))
        expect_same(ours, theirs)


def test_perceptron_step_under_autocast_equals_autograd():
    ours, theirs = perceptron(8), perceptron(8)
    steps = PerceptronStep(ours), AutogradStep(theirs)
    for seed in range(9):
        with torch.autocast("cpu", enabled=3 <= seed < 6):
            for step in steps:
                step.step(*batch(10, ours, seed))
        expect_same(ours, theirs)
