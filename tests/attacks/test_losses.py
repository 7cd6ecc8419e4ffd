"""The losses are what their formulas say, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.attacks._losses import LOSSES, cross_entropy_loss, dlr_loss, margin_loss


def reference(name, z, label, wanted):
    """One row, in float64, as one would write it on paper."""
    log_p = z - z.max() - np.log(np.exp(z - z.max()).sum())
    if name == "ce":
        return -log_p[label] if wanted is None else log_p[wanted]
    if wanted is None:
        difference = np.delete(z, label).max() - z[label]
    elif name == "margin":
        difference = z[wanted] - np.delete(z, wanted).max()
    else:
        difference = z[wanted] - z[label]
    if name == "margin":
        return difference
    if len(z) < (3 if wanted is None else 4):
        return reference("margin", z, label, wanted)
    first, _, third, *rest = np.sort(z)[::-1]
    spread = first - third if wanted is None else first - (third + rest[0]) / 2
    return difference / max(spread, 1e-12)


@given(
    name=st.sampled_from(sorted(LOSSES)),
    n_classes=st.integers(2, 6),
    targeted=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_equals_the_formula(name, n_classes, targeted, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=3, size=(5, n_classes))
    labels = rng.integers(n_classes, size=5)
    wanted = (labels + 1) % n_classes if targeted else None
    loss = LOSSES[name](
        torch.from_numpy(z),
        torch.from_numpy(labels),
        None if wanted is None else torch.from_numpy(wanted),
    )
    expected = [
        reference(name, z[i], labels[i], None if wanted is None else wanted[i])
        for i in range(5)
    ]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-9, atol=1e-12)


@given(n_classes=st.integers(2, 6), seed=st.integers(0, 10_000))
def test_margin_is_positive_exactly_where_the_goal_is_reached(n_classes, seed):
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.normal(size=(8, n_classes)))
    labels = torch.from_numpy(rng.integers(n_classes, size=8))
    answer = z.argmax(dim=1)
    assert torch.equal(margin_loss(z, labels) > 0, answer != labels)
    assert torch.equal(margin_loss(z, labels, labels) > 0, answer == labels)


def test_dlr_does_not_know_the_scale_of_the_logits():
    z = torch.tensor([[3.0, 1.0, -2.0, 0.5]])
    y = torch.tensor([0])
    torch.testing.assert_close(dlr_loss(z, y), dlr_loss(1000 * z, y))


@pytest.mark.parametrize("loss", [margin_loss, dlr_loss])
def test_margin_has_a_gradient_where_cross_entropy_has_none(loss):
    z = torch.tensor([[1e4, 0.0, -5.0]], requires_grad=True)
    y = torch.tensor([0])
    (dead,) = torch.autograd.grad(cross_entropy_loss(z, y).sum(), z)
    assert not dead.any()
    (alive,) = torch.autograd.grad(loss(z, y).sum(), z)
    assert alive.any()


def test_dlr_of_equal_logits_is_finite():
    z = torch.zeros(2, 4)
    assert torch.isfinite(dlr_loss(z, torch.tensor([0, 3]))).all()
