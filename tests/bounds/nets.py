"""Small networks of every kind, and their bounds computed the slow way."""

import copy
import itertools

import numpy as np
import torch
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bounds._relu_network import ReluNetwork, _Dense
from robustkit.bridge import ElementwiseScale
from robustkit.graphs import GraphPrior
from robustkit.networks import ARCHITECTURES, SparseNetwork, ToImages, initialize


def mlp(seed, sizes=(6, 8, 7, 5, 3)):
    with seeded_torch(seed):
        parts = []
        for n_inputs, n_outputs in itertools.pairwise(sizes):
            parts += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
        return balanced(louder(nn.Sequential(*parts[:-1])), sizes[0])


def balanced(module, n_features):
    """Shift the logits so that every class is predicted for some samples in [0, 1]."""
    last = list(module.modules())[-1]
    bias = last.output_bias if isinstance(last, SparseNetwork) else last.bias
    X = np.random.default_rng(0).random((500, n_features)).astype(np.float32)
    with torch.no_grad():
        bias -= module(torch.from_numpy(X)).mean(dim=0)
    return module.eval()


def louder(module, factor=2.0):
    """Larger weights, which leave more signs in doubt."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(factor)
    return module.eval()


def sparse(seed, n_features=6, n_nodes=25):
    graph = GraphPrior(n_nodes=n_nodes, n_neighbors=4).sample(seed)
    network = SparseNetwork(graph, n_features, 3)
    network = initialize(network, random_state=seed)
    with torch.no_grad(), seeded_torch(seed):
        network.bias.normal_(std=0.3)
    return balanced(network, n_features)


def scaled(seed):
    rng = np.random.default_rng(seed)
    scale = ElementwiseScale(
        rng.normal(size=6), rng.normal(size=6), rng.normal(size=6), torch.float32
    )
    return balanced(nn.Sequential(scale, mlp(seed)), 6)


def linear(seed):
    with seeded_torch(seed):
        return balanced(nn.Linear(6, 3), 6)


def without_activation(seed):
    with seeded_torch(seed):
        parts = nn.Linear(6, 4), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)
        return balanced(louder(nn.Sequential(*parts)), 6)


def scaled_inside(seed):
    rng = np.random.default_rng(seed)
    scale = ElementwiseScale(rng.normal(size=4), rng.normal(size=4), 0.3, torch.float32)
    with seeded_torch(seed):
        parts = nn.Linear(6, 4), scale, nn.ReLU(), nn.Linear(4, 3)
        return balanced(nn.Sequential(*parts), 6)


def sparse_after_linear(seed):
    with seeded_torch(seed):
        return balanced(nn.Sequential(nn.Linear(6, 4), sparse(seed, 4)), 6)


def steepest(module, X, labels, radii, norm, shares=(1 - 1e-9, 1 - 1e-6, 0.99, 0.5)):
    """Move every sample along the gradient of each margin, as far as its radius.

    The module computes in double precision. Points that rounding has put outside their
    ball are moved a little less far.
    """
    radii = np.where(np.isfinite(radii), radii, np.abs(X).max())[:, None]
    X = X.astype(np.float64)
    rows = torch.arange(len(X))
    for other in range(1, module(torch.from_numpy(X)).shape[1]):
        x = torch.from_numpy(X).requires_grad_()
        # A copy, as a module may write to what it is given.
        logits = module(x.clone())
        others = (torch.from_numpy(labels) + other) % logits.shape[1]
        margin = logits[rows, labels] - logits[rows, others]
        (gradient,) = torch.autograd.grad(margin.sum(), x)
        down = -gradient.numpy()
        # In units of the largest, as squares of small numbers are zero.
        down /= np.maximum(np.abs(down).max(axis=1, keepdims=True), 1e-300)
        if norm == "linf":
            down = np.sign(down)
        else:
            down /= np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-300)
        for share in shares:
            yield X + share * radii * down


FLAT = {
    "mlp": mlp,
    "sparse": sparse,
    "scaled": scaled,
    "linear": linear,
    "two linear maps": without_activation,
    "scaled inside": scaled_inside,
    "sparse after linear": sparse_after_linear,
}


def convolutional(seed):
    with seeded_torch(seed):
        parts = (
            ToImages((2, 5, 4)),
            nn.Conv2d(2, 4, 3, padding=1, stride=(2, 1)),
            nn.ReLU(),
            nn.Conv2d(4, 4, 2, groups=2, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 3),
        )
        return louder(nn.Sequential(*parts))


def pooled(seed):
    with seeded_torch(seed):
        parts = (
            ToImages((1, 5, 8)),
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 2, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
        return louder(nn.Sequential(*parts))


def scaled_images(seed):
    rng = np.random.default_rng(seed)
    scale = ElementwiseScale(
        rng.normal(size=40), rng.normal(size=40), rng.normal(size=40), torch.float32
    )
    return balanced(nn.Sequential(scale, pooled(seed)), 40)


def cnn6(seed):
    with seeded_torch(seed):
        return ARCHITECTURES["cnn6"](64, 3, image_shape=(1, 8, 8)).eval()


def any_convolutions(seed):
    """Convolutions of any stride, padding, dilation and groups, and some pooling.

    Returns also the number of pixels.
    """
    rng = np.random.default_rng(seed)
    while True:
        shape = int(rng.integers(1, 3)), *map(int, rng.integers(3, 9, size=2))
        parts, channels = [ToImages(shape)], shape[0]
        for _ in range(int(rng.integers(1, 4))):
            groups = channels if rng.random() < 0.3 else 1
            wide = groups * int(rng.integers(1, 4))
            how = {
                "kernel_size": tuple(map(int, rng.integers(1, 4, size=2))),
                "stride": tuple(map(int, rng.integers(1, 3, size=2))),
                "padding": tuple(map(int, rng.integers(0, 3, size=2))),
                "dilation": tuple(map(int, rng.integers(1, 3, size=2))),
            }
            with seeded_torch(seed):
                parts.append(nn.Conv2d(channels, wide, groups=groups, **how))
            channels = wide
            if rng.random() < 0.8:
                parts.append(nn.ReLU())
            if rng.random() < 0.3:
                parts.append(nn.MaxPool2d(2))
        parts.append(nn.Flatten())
        n_pixels = int(np.prod(shape))
        try:
            width = nn.Sequential(*parts)(torch.zeros(1, n_pixels)).shape[1]
        except RuntimeError:
            # The images are smaller than a kernel.
            continue
        if 0 < width <= 60:
            with seeded_torch(seed):
                parts += [nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, 3)]
            return balanced(louder(nn.Sequential(*parts), 1.5), n_pixels), n_pixels


def _seen_anew(shape, n_channels, kernel, new):
    """Convolve images, take what comes out as other images, and convolve those."""
    return (
        ToImages(shape),
        nn.Conv2d(shape[0], n_channels, kernel),
        nn.ReLU(),
        nn.Flatten(),
        ToImages(new),
        nn.Conv2d(new[0], 3, 2, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 2, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def _after_matrix(shape, size, padding):
    """Take what a linear layer computes as images."""
    return (
        nn.Linear(16, int(np.prod(shape))),
        nn.ReLU(),
        ToImages(shape),
        nn.Conv2d(shape[0], 4, size, padding=padding),
        nn.ReLU(),
        nn.Conv2d(4, 6, size, padding=padding),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


RESHAPED = {
    "channels as lines": lambda: _seen_anew((1, 4, 4), 6, 4, (1, 6, 1)),
    "channels as images": lambda: _seen_anew((1, 4, 4), 6, 4, (1, 2, 3)),
    "images as other images": lambda: _seen_anew((1, 4, 4), 4, 3, (2, 2, 4)),
    "images as they are": lambda: _seen_anew((1, 4, 4), 4, 3, (4, 2, 2)),
    "matrix": lambda: _after_matrix((2, 3, 4), 2, 0),
    "matrix and single pixels": lambda: _after_matrix((4, 1, 1), 1, 0),
    "matrix, pixels and padding": lambda: _after_matrix((4, 1, 1), 3, 1),
    "rectifier": lambda: (
        ToImages((1, 4, 4)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(1, 3, 2),
        nn.Flatten(),
    ),
    "pooled channels": lambda: (
        ToImages((1, 4, 4)),
        nn.Conv2d(1, 8, 4),
        nn.Flatten(),
        ToImages((1, 2, 4)),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2, 3),
    ),
}


def reshaped(name, seed):
    """Images that are taken as images of another shape, of 16 numbers."""
    with seeded_torch(seed):
        module = nn.Sequential(*RESHAPED[name]())
        module(torch.zeros(1, 16))
    return louder(module)


def of_matrices(network):
    """Write the convolutions of a network as matrices, which carry everything."""
    twin = copy.deepcopy(network)
    for layer in twin.layers:
        layer.images, layer.order = (layer.stop - layer.start, 1, 1), None
        if layer.inputs is not None:
            layer.inputs = _as_matrix(layer.inputs)
        layer.sources = [(p, q, _as_matrix(chart)) for p, q, chart in layer.sources]
    twin._order_coefficients()
    return twin


def _as_matrix(chart):
    return _Dense(chart.forward(torch.eye(chart.shape[1], dtype=torch.float64)).t())


IMAGES = {
    "convolutional": (convolutional, 40),
    "pooled": (pooled, 40),
    "scaled images": (scaled_images, 40),
}


def slow_margins(network, lows, highs, C, better):
    """CROWN over one box, unit by unit and number by number, in exact arithmetic.

    `network` is a list of (weights, bias, rectified), each of all units before and the
    input: a unit's arguments are the input first, then earlier units.
    """
    n_inputs = len(lows)
    lower, upper = list(lows), list(highs)
    units = []

    def bound(weights, bias):
        """Smallest value of a linear function of the input and of units."""
        a, total = list(weights), bias
        for k in reversed(range(len(units))):
            c = a[n_inputs + k] if n_inputs + k < len(a) else 0
            if c == 0:
                continue
            w, b, slope, at_zero, low = units[k]
            if c < 0:
                total += c * at_zero
                c = c * slope
            else:
                c = c * low
            total += c * b
            for j, v in enumerate(w):
                a[j] += c * v
        return total + sum(
            v * (lows[j] if v > 0 else highs[j]) for j, v in enumerate(a[:n_inputs])
        )

    def interval(weights, bias, sign):
        ends = upper, lower
        return bias + sum(
            v * ends[(v > 0) == (sign < 0)][j] for j, v in enumerate(weights)
        )

    for w, b, rectified in network:
        low, high = interval(w, b, -1), interval(w, b, 1)
        if not better or (low < 0 < high):
            by_crown = bound(w, b), -bound([-v for v in w], -b)
            low = max(low, by_crown[0]) if better else by_crown[0]
            high = min(high, by_crown[1]) if better else by_crown[1]
        if not rectified or low >= 0:
            lines = (1, 0, 1)
        elif high <= 0:
            lines = (0, 0, 0)
        else:
            slope = high / (high - low)
            lines = (slope, -slope * low, 1 if slope > 0.5 else 0)
        units.append((w, b, *lines))
        lower.append(max(low, 0) if rectified else low)
        upper.append(max(high, 0) if rectified else high)
    n_outputs = len(C[0])
    margins = []
    for row in C:
        weights = [0.0] * (n_inputs + len(units) - n_outputs) + list(row)
        margins.append(bound(weights, 0.0))
    return margins


def as_lists(module, n_inputs):
    """Write a stack or a sparse network as `slow_margins` takes it."""
    if isinstance(module, SparseNetwork):
        return _graph_as_lists(module, n_inputs)
    network, start = [], 0
    parts = [part for part in module if isinstance(part, nn.Linear)]
    for part in parts:
        weight, bias = part.weight.detach().double(), part.bias.detach().double()
        rows = zip(weight.tolist(), bias.tolist(), strict=True)
        first = len(network) == 0
        network += [([0.0] * start + w, b, part is not parts[-1]) for w, b in rows]
        start = n_inputs if first else start + weight.shape[1]
    return network


def units_as_lists(network: ReluNetwork):
    """Write a network that was taken apart as `slow_margins` takes it."""
    lists, n_inputs = [], network.n_features
    for layer in of_matrices(network).layers:
        weight = np.zeros((layer.stop - layer.start, n_inputs + layer.start))
        if layer.inputs is not None:
            weight[:, :n_inputs] = layer.inputs.weight.numpy()
        for p, q, chart in layer.sources:
            weight[:, n_inputs + p : n_inputs + q] += chart.weight.numpy()
        rows = zip(weight.tolist(), layer.bias.tolist(), strict=True)
        lists += [(w, b, layer.rectified) for w, b in rows]
    return lists


def _graph_as_lists(net, n_inputs):
    structure = net.structure
    source, target = structure.edges
    network = []
    edge = net.edge_weight.detach().double().numpy()
    for v in range(structure.n_nodes):
        w = np.zeros(n_inputs + v)
        if v < len(structure.sources):
            w[:n_inputs] = net.input_weight.detach().double().numpy()[v]
        mine = target == v
        w[n_inputs + source[mine]] += edge[mine]
        network.append((w.tolist(), float(net.bias[v].detach().double()), True))
    for o in range(net.n_outputs):
        w = np.zeros(n_inputs + structure.n_nodes + o)
        w[n_inputs + np.array(structure.sinks)] = net.output_weight.detach().double()[o]
        network.append((w.tolist(), float(net.output_bias[o].detach().double()), False))
    return network
