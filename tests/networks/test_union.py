"""A union takes the parameters of its networks in, and gives them back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.networks._union import Union
from tests.networks.shapes import SHAPES, network_of, networks


def tensors_of(modules):
    return [[weight.detach() for weight in module.parameters()] for module in modules]


@given(st.lists(networks(), min_size=1, max_size=4), st.booleans())
def test_what_is_joined_can_be_split(modules, by_layer):
    union = Union(modules, by_layer=by_layer)
    given_tensors = tensors_of(modules)
    vector = union.join(given_tensors)
    assert len(vector) == sum(
        w.numel() for module in modules for w in module.parameters()
    )
    torch.testing.assert_close(union.split(vector), given_tensors, rtol=0, atol=0)


@pytest.mark.parametrize("by_layer", [False, True])
def test_a_single_network_is_seen_and_not_copied(by_layer):
    module = network_of(SHAPES["disconnected"])
    union = Union([module], by_layer=by_layer)
    vector = union.join(tensors_of([module]))
    vector.zero_()
    [tensors] = union.split(vector)
    assert not any(tensor.any() for tensor in tensors)
    tensors[3].fill_(1)
    assert vector.sum() == tensors[3].numel()
