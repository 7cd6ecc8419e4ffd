"""The engine that a user asks for is one that works where the weights are."""

import pytest
import torch

from robustkit.networks._passes import resolve_engine

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
def test_auto_is_the_engine_of_the_device(engine, device, expected):
    assert resolve_engine(engine, device) == expected


def test_an_engine_that_does_not_work_there_is_refused():
    with pytest.raises(ValueError, match="CPU only, but the weights are on cuda"):
        resolve_engine("compiled", CUDA)


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="did you mean 'sparse'"):
        resolve_engine("sparce", CPU)
