"""See a network as one linear map, and what comes before and after it.

Where the first thing a network does is a linear map, one pixel changes its result by a
rank-one term: the product over all pixels is computed once for each clean image, and
never again. What comes before it may treat every feature for itself, as scalers do.
"""

import torch
from torch import nn

from robustkit.bridge import Clamp, ElementwiseScale, SecondWinsTies
from robustkit.networks import (
    MaskedLinear,
    SparseNetwork,
    is_plain,
    leaves,
    linear_weights,
)

__all__ = ["FirstMap", "significant_parts", "split_first_map"]

# In which a result does not depend on how it is computed, up to little.
_PRECISE = (torch.float32, torch.float64)


class FirstMap:
    """A network seen as: feature by feature, one linear map, the rest.

    Parameters
    ----------
    scaling : list of torch.nn.Module
        Modules that treat every feature for itself.

    weight : torch.Tensor of shape (n_units, n_features)
        Of the linear map.

    bias : torch.Tensor of shape (n_units,)
        Of the linear map.

    rest : callable
        From the result of the linear map to the logits.

    modules : list of torch.nn.Module
        What `rest` consists of; the first may be the SparseNetwork whose sources are
        the units.
    """

    def __init__(self, scaling, weight, bias, rest, modules):
        self.scaling, self.weight, self.bias = scaling, weight.detach(), bias.detach()
        self.columns = self.weight.t().contiguous()
        self.rest, self.modules = rest, modules

    def scaled(self, values, features):
        """Scale values, each as a value of its feature."""
        for module in self.scaling:
            values = _scale_one(module, values, features)
        return values

    def scaled_size(self, values, features):
        """Sum of the absolute terms that make the scaled values: what rounding sees."""
        size = values.abs()
        for module in self.scaling:
            values = _scale_one(module, values, features)
            if type(module) is ElementwiseScale:
                size = _scale_size(module, size, features)
            # The end of a range can be larger than what is clipped to it.
            size = torch.maximum(size, values.abs())
        return size

    def units(self, x):
        """Results of the linear map, of whole samples."""
        for module in self.scaling:
            x = module(x)
        return x @ self.weight.t() + self.bias


def split_first_map(module):
    """Find the first linear map of a network.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    Returns
    -------
    first : FirstMap or None
        None if there is no such map, or something before it mixes features.
    """
    parts = significant_parts(module)
    if not all(map(_is_precise, parts)):
        return None
    scaling = []
    while parts and is_plain(parts[0], ElementwiseScale, Clamp):
        scaling.append(parts.pop(0))
    if not parts:
        return None
    head, tail = parts[0], parts[1:]
    after = nn.Sequential(*tail)
    if is_plain(head, nn.Linear, MaskedLinear):
        return FirstMap(scaling, *linear_weights(head), after, tail)
    if is_plain(head, SparseNetwork):

        def rest(units):
            return after(head.forward_from_sources(units))

        # The biases of the sources are added by the network itself.
        bias = head.bias.new_zeros(len(head.input_weight))
        return FirstMap(scaling, head.input_weight, bias, rest, parts)
    return None


def significant_parts(module):
    """List what a network does to flat samples, one thing after the other.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    Returns
    -------
    parts : list of torch.nn.Module
        Without those that do nothing.
    """
    return [part for part in leaves(module) if not _does_nothing(part)]


def _does_nothing(part):
    # Flat samples need no flattening, and dropout does nothing in eval mode.
    return (
        # Where no two logits are equal, or `predict` is asked.
        is_plain(part, nn.Identity, SecondWinsTies)
        or (is_plain(part, nn.Dropout) and not part.training)
        or (is_plain(part, nn.Flatten) and part.start_dim == 1 and part.end_dim == -1)
    )


def _is_precise(part):
    tensors = [*part.parameters(), *part.buffers()]
    return all(t.dtype in _PRECISE for t in tensors if t.is_floating_point())


def _scale_one(module, values, features):
    if type(module) is Clamp:
        return module(values)
    center, scale, offset = _parameters_of(module, features)
    return (values - center) * scale + offset


def _scale_size(module, size, features):
    center, scale, offset = _parameters_of(module, features)
    return (size + center.abs()) * scale.abs() + offset.abs()


def _parameters_of(module, features):
    return (
        part[features] if part.ndim else part
        for part in (module.center, module.scale, module.offset)
    )
