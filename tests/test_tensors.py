"""Arrays in, tensors out, on a device that exists, in pieces that fit."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit._tensors import (
    as_array,
    as_tensor,
    dtype_of,
    evaluating,
    map_batches,
    on_device,
    pad_rows,
    parts_of,
    resolve_device,
    tensors_of,
    threads_for,
)

ARRAY = np.arange(6, dtype=np.float64).reshape(3, 2)


@pytest.mark.parametrize(
    "X", [ARRAY, ARRAY.tolist(), pd.DataFrame(ARRAY), torch.from_numpy(ARRAY)]
)
def test_every_kind_of_array_becomes_the_same_tensor(X):
    tensor = as_tensor(X)
    assert tensor.dtype == torch.float32
    assert np.array_equal(as_array(tensor), ARRAY)


def test_read_only_memory_is_copied():
    X = ARRAY.astype(np.float32)
    X.flags.writeable = False
    assert as_tensor(X).data_ptr() != X.ctypes.data


def test_memory_is_shared_where_it_can_be():
    X = ARRAY.astype(np.float32)
    assert as_tensor(X).data_ptr() == X.ctypes.data


def test_a_tensor_with_a_gradient_becomes_an_array():
    tensor = torch.ones(2, requires_grad=True)
    assert np.array_equal(as_array(2 * tensor), [2, 2])


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")


def test_a_device_that_is_there_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")


def test_cuda_asked_for_where_there_is_none_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees 0 CUDA devices here"):
        resolve_device("cuda")


@pytest.mark.parametrize("device", ["gpu", "", 1.5])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match="The 'device' parameter must be"):
        resolve_device(device)


@given(n_rows=st.integers(0, 20), batch_size=st.integers(1, 25))
def test_pieces_join_to_the_whole(n_rows, batch_size):
    X = torch.arange(float(n_rows)).reshape(-1, 1)
    doubled, squared = map_batches(lambda x: (2 * x, x**2), X, batch_size=batch_size)
    assert torch.equal(doubled, 2 * X)
    assert torch.equal(squared, X**2)


@given(
    n_rows=st.integers(1, 40),
    batch_size=st.integers(1, 40),
    capacity=st.integers(1, 40),
)
def test_a_full_gpu_gets_smaller_pieces(n_rows, batch_size, capacity):
    seen = []

    def double(x, y):
        if len(x) > capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append(len(x))
        return x + y

    X = torch.arange(float(n_rows))
    assert torch.equal(map_batches(double, X, X, batch_size=batch_size), 2 * X)
    # Every row is done once: what was done before the memory ran out is kept.
    assert sum(seen) == n_rows


def test_a_single_row_that_does_not_fit_is_an_error():
    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        map_batches(full, torch.zeros(8), batch_size=8)


@pytest.fixture
def two_threads():
    """Torch with two threads, and with as many as before after the test."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("module", "n_rows", "n_threads"),
    [
        (torch.nn.Linear(64, 10, device="meta"), 128, 1),
        (torch.nn.Linear(64, 10, device="meta"), 100_000, 2),
        (torch.nn.Linear(4096, 4096, device="meta"), 128, 2),
        (torch.nn.Conv2d(1, 2, 3, device="meta"), 1, 2),
    ],
)
def test_little_work_gets_one_thread(module, n_rows, n_threads):
    with threads_for(module, n_rows):
        assert torch.get_num_threads() == n_threads
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_come_back_after_an_error():
    def fail():
        with threads_for(torch.nn.Identity(), 1):
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert torch.get_num_threads() == 2


class WithBuffers(torch.nn.Module):
    """Whole numbers first, then what it computes with."""

    def __init__(self, *dtypes):
        super().__init__()
        for i, dtype in enumerate(dtypes):
            self.register_buffer(f"b{i}", torch.zeros(1, dtype=dtype))


@pytest.mark.parametrize(
    ("module", "dtype"),
    [
        (torch.nn.Linear(2, 2, device="meta", dtype=torch.float64), torch.float64),
        (torch.nn.Linear(2, 2, device="meta", dtype=torch.bfloat16), torch.bfloat16),
        (WithBuffers(torch.int64, torch.float64), torch.float64),
        (WithBuffers(torch.int64), torch.float32),
        (torch.nn.Flatten(), torch.float32),
    ],
)
def test_a_module_computes_in_the_precision_of_its_weights(module, dtype):
    assert dtype_of(module) == dtype


def test_evaluating_gives_each_part_its_own_mode_back():
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    module[0].eval()

    def fail():
        with evaluating(module):
            assert not any(part.training for part in module.modules())
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert [part.training for part in module] == [False, True]
    assert module.training


def test_on_device_returns_the_module_itself_where_it_is_and_never_moves_it():
    module = torch.nn.BatchNorm1d(2)
    assert on_device(module, torch.device("cpu")) is module
    twin = on_device(module, torch.device("meta"))
    assert {t.device.type for t in twin.state_dict().values()} == {"meta"}
    assert {t.device.type for t in module.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("multiple", [1, 2, 16])
@pytest.mark.parametrize("n_rows", [0, 1, 3, 16, 17])
def test_pad_rows_repeats_the_last_row_in_a_copy(n_rows, multiple):
    rows = torch.arange(6.0 * n_rows).reshape(n_rows, 2, 3)
    padded = pad_rows(rows, multiple)
    assert len(padded) == -(-n_rows // multiple) * multiple
    assert torch.equal(padded[:n_rows], rows)
    assert all(torch.equal(row, rows[-1]) for row in padded[n_rows:])
    assert n_rows == 0 or padded.data_ptr() != rows.data_ptr()


def odd_module():
    """A part and a weight that are used twice, what is empty, and what is None."""
    with torch.random.fork_rng():
        shared, tied = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, bias=False)
    tied.weight = shared.weight
    module = torch.nn.Sequential(
        torch.nn.Sequential(shared, torch.nn.BatchNorm1d(2)),
        torch.nn.Sequential(),
        torch.nn.ModuleDict({"again": shared, "tied": tied}),
    )
    module.register_module("nothing", None)
    module.register_buffer("none", None)
    module.register_buffer("own", torch.ones(1))
    return module


def test_parts_and_tensors_are_those_that_torch_lists():
    module = odd_module()
    assert list(map(id, parts_of(module))) == list(map(id, module.modules()))
    expected = [*module.parameters(), *module.buffers()]
    assert list(map(id, tensors_of(module))) == list(map(id, expected))
    weights = tensors_of(module, buffers=False)
    assert list(map(id, weights)) == list(map(id, module.parameters()))
