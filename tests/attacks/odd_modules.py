"""Networks that are not what the classes of their parts say."""

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from robustkit._randomness import seeded_torch
from robustkit.bridge import Clamp, ElementwiseScale
from robustkit.networks import MaskedLinear

WIDTH, N_CLASSES = 5, 3


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Masked(nn.Linear):
    def forward(self, x):
        keep = torch.arange(self.in_features) % 2
        return nn.functional.linear(x, self.weight * keep, self.bias)


class Negative(nn.Linear):
    """Another way to call, and the same `forward`."""

    def __call__(self, x):
        return -self.forward(x)


class Late(nn.ReLU):
    def forward(self, x):
        return (x - 0.3).relu()


class Turned(nn.Identity):
    def forward(self, x):
        return x.flip(1)


class Loud(nn.Dropout):
    def forward(self, x):
        return 2 * x


class Rolled(nn.Flatten):
    def forward(self, x):
        return super().forward(x).roll(1, dims=1)


class Squared(ElementwiseScale):
    def forward(self, x):
        return super().forward(x).square()


class Wrapped(Clamp):
    def forward(self, x):
        return x.remainder(self.high)


class Shifting(nn.Module):
    """Writes to what it is given."""

    def forward(self, x):
        x -= 0.3
        return x


class Overwriting(nn.Module):
    """Writes where no version counter sees it."""

    def forward(self, x):
        x.data[x < 0.5] = 0.0
        return x


class Doubling(nn.Module):
    def forward(self, weight):
        return weight * torch.linspace(-2, 2, weight.shape[1])


def linear(**params):
    return nn.Linear(WIDTH, WIDTH, **params)


def hooked(part, hook):
    part.register_forward_hook(hook)
    return part


def hooked_before(part, hook):
    part.register_forward_pre_hook(hook)
    return part


def with_own_forward():
    part = linear()
    part.forward = lambda x: x.roll(1, dims=1)
    return part


def with_own_call():
    part = linear()
    part._call_impl = lambda x: x.roll(2, dims=1)
    return part


def with_compiled_call():
    part = linear()
    part._compiled_call_impl = lambda x: x.roll(3, dims=1)
    return part


def parametrized():
    part = linear()
    parametrize.register_parametrization(part, "weight", Doubling())
    return part


def pruned_anew():
    part = linear()
    prune.random_unstructured(part, "weight", 0.6)
    with torch.no_grad():
        # The hook masks at the next call, not before.
        part.weight.copy_(part.weight_orig)
    return part


def normalized():
    part = nn.BatchNorm1d(WIDTH)
    nn.init.uniform_(part.running_mean, -1, 1)
    nn.init.uniform_(part.running_var, 0.2, 2)
    nn.init.normal_(part.weight)
    return part


def masked_by_pruning():
    part = MaskedLinear(linear())
    # Weights that are masked, and yet not zero.
    part.kept.copy_((torch.rand_like(part.kept) < 0.5).float())
    return part


def scaled(scale):
    return ElementwiseScale(torch.rand(WIDTH).numpy(), np.array(scale), 0.1)


class SharedLayer(nn.Sequential):
    def __init__(self):
        once = linear()
        super().__init__(once, nn.ReLU(), once)


# What can be taken apart ...
PLAIN = {
    "linear": linear,
    "no bias": lambda: linear(bias=False),
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "identity": nn.Identity,
    "dropout": nn.Dropout,
    "flatten": nn.Flatten,
    "nested": lambda: nn.Sequential(linear(), nn.Sequential(nn.ReLU(), linear())),
    "shared": lambda: nn.Sequential(*SharedLayer()),
    "masked by pruning": masked_by_pruning,
    "scale": lambda: scaled([2.0, -1.0, 0.5, 3.0, 1.0]),
    "zero scale": lambda: scaled([0.0, 1.0, 0.0, -1.0, 2.0]),
    "clamp": lambda: Clamp(0.2, 0.7),
}
# ... and what cannot.
ODD = {
    "residual": lambda: Residual(linear(), nn.ReLU(), linear()),
    "masked": lambda: Masked(WIDTH, WIDTH),
    "own __call__": lambda: Negative(WIDTH, WIDTH),
    "own forward": with_own_forward,
    "own _call_impl": with_own_call,
    "compiled call": with_compiled_call,
    "late relu": Late,
    "turned identity": Turned,
    "loud dropout": Loud,
    "rolled flatten": Rolled,
    "squared scale": lambda: Squared(0.3, 2.0),
    "wrapped clamp": lambda: Wrapped(0.0, 0.6),
    "shifting": Shifting,
    "overwriting": Overwriting,
    "hook": lambda: hooked(linear(), lambda _, given, out: out.roll(1, dims=1)),
    "pre-hook": lambda: hooked_before(linear(), lambda _, given: -given[0]),
    "hook of a container": lambda: hooked(
        nn.Sequential(linear()), lambda _, given, out: out.flip(1)
    ),
    "hook of a relu": lambda: hooked(nn.ReLU(), lambda _, given, out: out - given[0]),
    "hook of an identity": lambda: hooked(
        nn.Identity(), lambda _, given, out: 2 * out - 1
    ),
    "parametrized": parametrized,
    "spectral norm": lambda: parametrizations.spectral_norm(linear()),
    "weight norm": lambda: parametrizations.weight_norm(linear()),
    "pruned anew": pruned_anew,
    "batch norm": normalized,
    "leaky relu": lambda: nn.LeakyReLU(0.3),
    "tanh": nn.Tanh,
}
PARTS = PLAIN | ODD
# Those that treat every feature for itself: plain only before the first linear map.
SCALING = ("scale", "zero scale", "clamp")


def odd_network(names, seed=0, dtype=torch.float32):
    """Parts one after the other, and a linear map to the classes."""
    with seeded_torch(seed):
        parts = [PARTS[name]() for name in names]
        module = nn.Sequential(*parts, nn.Linear(WIDTH, N_CLASSES))
        with torch.no_grad():
            for weight in module.parameters():
                if weight.is_leaf:
                    weight.mul_(2)
    return module.to(dtype).eval()
