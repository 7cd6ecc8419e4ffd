"""How the weights of a network are drawn before it is trained."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from robustkit._randomness import torch_generator
from robustkit._validation import did_you_mean
from robustkit.graphs import LayeredGraph
from robustkit.networks._sparse_network import SparseNetwork

M = TypeVar("M", bound=nn.Module)

__all__ = ["FANS", "INITS", "draw_weights", "initialize"]

# A ReLU lets through half of the variance.
GAIN = sqrt(2)

# Name -> the standard deviation, given the number of weights at either end. A uniform
# distribution with that deviation is bounded by sqrt(3) times it.
INITS: dict[str, Callable[[Any, Any], Any]] = {
    "glorot_normal": lambda fan_in, fan_out: GAIN * (2 / (fan_in + fan_out)) ** 0.5,
    "glorot_uniform": lambda fan_in, fan_out: GAIN * (2 / (fan_in + fan_out)) ** 0.5,
    "he_normal": lambda fan_in, fan_out: GAIN / fan_in**0.5,
    "he_uniform": lambda fan_in, fan_out: GAIN / fan_in**0.5,
    "normal": lambda fan_in, fan_out: 0.1,
    "uniform": lambda fan_in, fan_out: 0.1 / sqrt(3),
}

FANS = ("degree", "block")


def initialize(
    module: M,
    init: str = "he_uniform",
    *,
    fan: str = "degree",
    random_state: int | np.random.RandomState | None = None,
) -> M:
    """Draw all weights and biases of a network anew.

    Biases are normal with a standard deviation of 0.1. The Glorot and He schemes have
    a gain of sqrt(2).

    Parameters
    ----------
    module : SparseNetwork or nn.Module
        Changed in place. Of another module, every linear layer is drawn. One whose
        weight is no parameter, as after `torch.nn.utils.parametrize`, is refused.

    init : {"glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "normal", \
            "uniform"}, default="he_uniform"
        Distribution of the weights. "normal" has a standard deviation of 0.1, "uniform"
        lies between -0.1 and 0.1.

    fan : {"degree", "block"}, default="degree"
        Number of weights that meet at a vertex of a graph: its degree, or the width of
        the layer, as if the layers of its two ends were fully connected.

    random_state : int, RandomState instance or None, default=None
        Draws the numbers: the same on every device.

    Returns
    -------
    module : SparseNetwork or nn.Module
        The same object.

    See Also
    --------
    SparseNetwork : A network built from a graph.

    References
    ----------
    .. [1] Glorot, X., & Bengio, Y. (2010). Understanding the difficulty of training
       deep feedforward neural networks. AISTATS.
    .. [2] He, K., Zhang, X., Ren, S., & Sun, J. (2015). Delving deep into rectifiers.
       ICCV. https://doi.org/10.1109/ICCV.2015.123

    Examples
    --------
    >>> from robustkit.graphs import LayeredGraph
    >>> from robustkit.networks import SparseNetwork, initialize
    >>> graph = LayeredGraph([[0], [1]], n_nodes=2)
    >>> network = initialize(SparseNetwork(graph, 3, 2), "uniform", random_state=0)
    >>> bool(network.input_weight.abs().max() <= 0.1)
    True
    """
    if fan not in FANS:
        raise ValueError(
            f"The 'fan' parameter must be one of {list(FANS)}. Got {fan!r} instead"
            f"{did_you_mean(fan, FANS)}"
        )
    generator = torch_generator(random_state)
    for part in module.modules():
        if isinstance(part, SparseNetwork):
            _initialize_graph(part, init, fan, generator)
        elif isinstance(part, nn.Linear):
            _initialize_linear(part, init, generator)
    return module


def draw_weights(
    shape: Sequence[int],
    init: str,
    fan_in: int | Tensor,
    fan_out: int | Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draw weights on the CPU, in float64.

    `fan_in` is the number of weights that end where this one ends, `fan_out` of those
    that begin where it begins; tensors give them for each weight.
    """
    if init not in INITS:
        raise ValueError(
            f"The 'init' parameter must be one of {list(INITS)}. Got {init!r} instead"
            f"{did_you_mean(init, INITS)}"
        )
    deviation = INITS[init](fan_in, fan_out)
    if init.endswith("uniform"):
        unit = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (2 * unit - 1) * sqrt(3) * deviation
    return torch.randn(shape, generator=generator, dtype=torch.float64) * deviation


def _initialize_linear(layer: nn.Linear, init: str, generator: torch.Generator) -> None:
    if layer._parameters.get("weight") is None:
        raise TypeError(
            f"initialize draws weights that are parameters. The weight of this "
            f"{type(layer).__name__} is computed at every call: initialize the module "
            "before it is parametrized or pruned."
        )
    n_out, n_in = layer.weight.shape
    _draw_into(layer.weight, init, n_in, n_out, generator)
    if layer.bias is not None:
        _draw_biases_into(layer.bias, generator)


def _initialize_graph(
    network: SparseNetwork, init: str, fan: str, generator: torch.Generator
) -> None:
    n_outputs, n_sinks = network.output_weight.shape
    n_sources, n_features = network.input_weight.shape
    fans = _edge_fans(network.structure, fan)
    _draw_into(network.input_weight, init, n_features, n_sources, generator)
    _draw_into(network.edge_weight, init, *fans, generator)
    _draw_into(network.output_weight, init, n_sinks, n_outputs, generator)
    _draw_biases_into(network.bias, generator)
    _draw_biases_into(network.output_bias, generator)


def _edge_fans(structure: LayeredGraph, fan: str) -> tuple[Tensor, Tensor]:
    """Count the edges into the target of each edge, and out of its source."""
    source, target = structure.edges
    if fan == "degree":
        n_in, n_out = (
            np.bincount(ends, minlength=structure.n_nodes) for ends in (target, source)
        )
        fan_in, fan_out = n_in[target], n_out[source]
    else:
        width = np.bincount(structure.layer)
        fan_in, fan_out = width[structure.layer[source]], width[structure.layer[target]]
    return torch.from_numpy(fan_in).double(), torch.from_numpy(fan_out).double()


@torch.no_grad()
def _draw_into(
    weight: Tensor,
    init: str,
    fan_in: int | Tensor,
    fan_out: int | Tensor,
    generator: torch.Generator,
) -> None:
    weight.copy_(draw_weights(weight.shape, init, fan_in, fan_out, generator))


@torch.no_grad()
def _draw_biases_into(bias: Tensor, generator: torch.Generator) -> None:
    bias.copy_(draw_weights(bias.shape, "normal", 1, 1, generator))
