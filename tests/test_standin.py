"""The stand-in device refuses what a GPU refuses, and counts what it awaits."""

import copy
import pickle

import pytest
import torch

from tests.standin import STANDIN, Recording, recorded, waits


def linear():
    with torch.random.fork_rng():
        return torch.nn.Linear(3, 2)


def test_stand_in_refuses_mixed_devices():
    x = torch.ones(3, device=STANDIN)
    with pytest.raises(RuntimeError, match="aten::add: expected all tensors to be on"):
        x + torch.ones(3)
    with pytest.raises(RuntimeError, match="aten::addmm: expected all tensors to be"):
        linear().to(STANDIN)(torch.ones(1, 3))
    # A number may be anywhere.
    assert (x + torch.tensor(1.0)).tolist() == [2, 2, 2]


def test_stand_in_gives_its_memory_to_no_compiled_code():
    with pytest.raises(RuntimeError, match="numpy"):
        torch.ones(3, device=STANDIN).numpy()


@pytest.mark.parametrize(
    ("awaited", "n"),
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: bool((x > 0).all()), 1),
        (lambda x: (x > 0).nonzero(), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x.index_put_((x > 0,), x.new_zeros(())), 1),
        (lambda x: x[torch.tensor([0])], 1),
        (lambda x: x.cpu(), 1),
        (lambda x: torch.ones(4).copy_(x), 1),
        (lambda x: torch.ones(4).to(STANDIN), 1),
        (lambda x: torch.tensor([1.0], device=STANDIN), 1),
        (lambda x: torch.equal(x, x), 1),
        (lambda x: torch.ones(4).to(STANDIN, non_blocking=True), 0),
        (lambda x: torch.where(x > 0, x, -x).sum(), 0),
        (lambda x: x.index_select(0, torch.arange(2, device=STANDIN)), 0),
        (lambda x: torch.zeros(3, device=STANDIN).add_(1), 0),
    ],
)
def test_stand_in_counts_what_the_host_waits_for(awaited, n):
    x = torch.ones(4).to(STANDIN)
    with waits() as counted:
        awaited(x)
    assert counted.total() == n, counted


@pytest.mark.filterwarnings("ignore:Sparse")
def test_stand_in_multiplies_sparse_matrices():
    dense = torch.tensor([[0.0, 2, 0], [1, 0, 3]])
    sparse, columns = dense.to_sparse_csr(), torch.arange(6.0).view(3, 2)
    parts = (sparse.crow_indices(), sparse.col_indices(), sparse.values())
    here = torch.sparse_csr_tensor(*(p.to(STANDIN) for p in parts), size=(2, 3))
    product = torch.mm(here, columns.to(STANDIN))
    assert product.device == STANDIN
    assert torch.equal(product.cpu(), dense @ columns)
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same"):
        torch.mm(here, columns)


def test_stand_in_trains_and_is_copied():
    module = linear()
    here = copy.deepcopy(module).to(STANDIN)
    for part in (module, here):
        adam = torch.optim.Adam(part.parameters(), fused=True)
        part(torch.ones(4, 3, device=part.weight.device)).square().sum().backward()
        adam.step()
    twin = pickle.loads(pickle.dumps(copy.deepcopy(here).cpu()))
    torch.testing.assert_close(twin.weight, module.weight)


def test_recording_repeats_what_was_done_and_waits_for_nothing():
    x, total = torch.ones(3, device=STANDIN), torch.zeros(3, device=STANDIN)
    recording = Recording()
    with recorded(recording):
        twice = x * 2
        total += twice
    # As on a GPU: it was recorded, and not done.
    assert total.tolist() == [0, 0, 0]
    recording.replay()
    x.fill_(5)
    recording.replay()
    assert twice.tolist() == [10, 10, 10]
    assert total.tolist() == [12, 12, 12]
    with (
        pytest.raises(RuntimeError, match="not permitted when stream is capturing"),
        recorded(Recording()),
    ):
        total.sum().item()
