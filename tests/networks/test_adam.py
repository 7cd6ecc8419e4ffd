"""Both kinds of Adam take the steps of torch.optim.Adam."""

import pytest
import torch

from robustkit.networks._adam import CompiledAdam, TorchAdam


@pytest.mark.parametrize("kind", [CompiledAdam, TorchAdam])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_takes_the_steps_of_torch(kind, weight_decay, dtype):
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
