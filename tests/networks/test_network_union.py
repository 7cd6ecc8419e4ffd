"""Networks side by side are those that stand alone, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import GraphPrior
from robustkit.networks import NetworkUnion, SparseNetwork, UnionStep, initialize
from robustkit.networks import of_rows as rows_of

N_FEATURES, N_OUTPUTS = 6, 3


def networks(n=3, dtype=torch.float64):
    priors = [GraphPrior(n_nodes=10 + 7 * k, rewiring=0.8) for k in range(n)]
    return [
        initialize(
            SparseNetwork(prior.sample(k), N_FEATURES, N_OUTPUTS), random_state=k
        ).to(dtype)
        for k, prior in enumerate(priors)
    ]


def samples(n, dtype=torch.float64, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(n, N_FEATURES, generator=draws, dtype=dtype)


def logits_and_gradient(module, X):
    X = X.clone().requires_grad_()
    logits = module(X)
    (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), X)
    return logits.detach(), gradient


@pytest.mark.parametrize("engine", ["compiled", "sparse"])
@given(counts=st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any))
def test_rows_go_through_their_own_network(engine, counts):
    modules, X = networks(), samples(sum(counts))
    union = NetworkUnion(modules, counts, engine=engine)
    logits, gradient = logits_and_gradient(union, X)
    for module, rows in zip(modules, union.slices(), strict=True):
        alone, slope = logits_and_gradient(module, X[rows])
        torch.testing.assert_close(logits[rows], alone)
        torch.testing.assert_close(gradient[rows], slope)


@given(st.sets(st.integers(0, 11), min_size=1))
def test_a_union_of_some_rows_knows_whose_they_are(kept):
    union, X, rows = NetworkUnion(networks(), [4, 3, 5]), samples(12), sorted(kept)
    expected = union(X)[rows]
    for some in (np.array(rows), torch.tensor(rows)):
        part = union.take(some)
        assert part.owners().tolist() == union.owners()[rows].tolist()
        torch.testing.assert_close(part(X[rows]), expected)
    sliced = slice(rows[0], rows[-1] + 1)
    torch.testing.assert_close(union.take(sliced)(X[sliced]), union(X)[sliced])


def test_any_other_module_is_itself_for_some_rows():
    module = torch.nn.Identity()
    assert rows_of(module, [1]) is module


def test_padded_rows_repeat_the_last_of_each_network():
    union, X = NetworkUnion(networks(), [3, 0, 5]), samples(8)
    padded, index, real = union.padded(4)
    assert padded.counts == [4, 0, 8]
    assert index.tolist() == [0, 1, 2, 2, 3, 4, 5, 6, 7, 7, 7, 7]
    torch.testing.assert_close(padded(X[index])[real], union(X))


def test_a_batch_with_another_number_of_rows_is_refused():
    union = NetworkUnion(networks(), [1, 2, 3])
    with pytest.raises(ValueError, match=r"must have 6 rows.*Got shape \(5, 6\)"):
        union(samples(5))


def test_a_second_derivative_is_refused():
    union, X = NetworkUnion(networks(), [1, 1, 1]), samples(3).requires_grad_()
    with pytest.raises(RuntimeError, match="has no gradient"):
        torch.autograd.grad(union(X).sum(), X, create_graph=True)


def reference_step(module, X, y, penalty):
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    loss = torch.nn.functional.cross_entropy(module(X), y)
    if penalty is not None:
        loss = loss + penalty.penalty(module, X, y)
    loss.backward()
    optimizer.step()
    return loss.detach()


class Pull:
    """Draws the logits to zero."""

    def __init__(self, strength):
        self.strength = strength

    def penalty(self, module, X, y):
        return self.strength * module(X).square().mean()


@pytest.mark.parametrize("engine", ["compiled", "sparse"])
@pytest.mark.parametrize("is_own", [False, True])
def test_steps_with_penalties_and_samples_of_their_own_equal_autograd(engine, is_own):
    modules, alone = networks(), networks()
    # The last network is not told of any penalty, and the first has a frozen head.
    penalties = [Pull(0.5), Pull(2.0), None]
    for network in (modules[0], alone[0]):
        network.output_weight.requires_grad_(False)
    X, y = samples(15).view(3, 5, -1), torch.tensor([0, 1, 2, 1, 0])
    X = X if is_own else X[0]
    step = UnionStep(modules, lr=0.01, regularizers=penalties, engine=engine)
    losses = step.step(X, y)
    step.store()
    for k, (module, other) in enumerate(zip(modules, alone, strict=True)):
        own = X[k] if is_own else X
        torch.testing.assert_close(
            losses[k], reference_step(other, own, y, penalties[k])
        )
        for ours, theirs in zip(module.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)
