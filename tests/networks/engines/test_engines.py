"""Names of engines, and what works on which device."""

import pytest
import torch

from robustkit.networks.engines import resolve_engine

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("engine", "device", "expected"),
    [
        ("auto", CPU, "compiled"),
        ("auto", CUDA, "sparse"),
        ("sparse", CPU, "sparse"),
        ("compiled", CPU, "compiled"),
    ],
)
def test_auto_engine_depends_on_device(engine, device, expected):
    assert resolve_engine(engine, device) == expected


def test_compiled_engine_on_cuda_raises():
    with pytest.raises(ValueError, match="CPU only, but the weights are on cuda"):
        resolve_engine("compiled", CUDA)


def test_unknown_engine_raises():
    with pytest.raises(ValueError, match="did you mean 'sparse'"):
        resolve_engine("sparce", CPU)
