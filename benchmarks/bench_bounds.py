"""Bounds: the same margins over the same balls, against auto_LiRPA.

``python -m benchmarks.bench_bounds`` says of how many images branch and bound proves
that there is no error, and of how many an attack finds none; and how far each method
comes towards the nearest error that is known.
"""

import argparse
import copy
import time
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from benchmarks import cifar_setting, mnist_setting, peers
from benchmarks.attack_setting import network, smooth_digits
from benchmarks.bench_minimal import lengths
from benchmarks.harness import Case, Growth
from robustkit._randomness import seeded_torch
from robustkit.attacks.functional import minimal_distance
from robustkit.bounds._linear_bounds import Anchors, margin_bounds, margin_rows
from robustkit.bounds._radius import Search, certified_radii, proved_by_splitting
from robustkit.bounds._relu_network import ReluNetwork
from robustkit.classifiers import SparseNetClassifier
from robustkit.graphs import GraphPrior
from robustkit.networks import ToImages

PEERS = ("auto_LiRPA",)
SINGLE = 2.0**-24
N_HALVINGS = 10
FARTHEST = 0.3


def cases():
    """CROWN at some radii, the radius itself, then networks and images that grow."""
    torch.set_num_threads(1)
    if peers.load("auto_LiRPA") is None:
        return
    title = peers.title("auto_LiRPA")
    for name, module, sizes in (
        ("plainly trained", network(smooth_digits), (0.005, 0.02, 0.1)),
        ("adversarially trained", network(smooth_digits, 0.1), (0.02, 0.1)),
        ("sparse net of 150 vertices", sparse_net(), (0.01, 0.04)),
    ):
        X, labels = recognized(module, 200)
        for eps in sizes:
            yield Case(
                name=f"CROWN, 200 images of 784 pixels, eps {eps}, {name}",
                peer=title,
                ours=partial(our_margins, module, X, labels, eps),
                theirs=their_margins(module, X, labels, eps),
                same=partial(same_bounds, module, X, labels, eps),
                limit=0.7,
                repeats=5,
            )
        yield Case(
            name=f"CROWN's radius, 200 images of 784 pixels, {name}",
            peer=f"{title}, {N_HALVINGS} halvings",
            ours=partial(our_radii, module, X, labels),
            theirs=partial(their_radii, module, X, labels),
            same=same_radii,
            limit=0.7,
            repeats=3,
        )
    yield from convolutions(title)
    for along, sizes in (
        ("images", (32, 128, 512)),
        ("units per layer", (32, 64, 128, 256)),
        ("layers", (2, 4, 8)),
    ):
        yield Growth(
            name=f"CROWN, eps 0.02, {along}",
            peer=title,
            along=along,
            sizes=sizes,
            sides=partial(sides, along),
        )


def convolutions(title):
    """Images whose bounds are equal, and one image for the network that is large.

    Theirs reads a maximum pooling in another way, which is less tight. The same bounds
    are those of a network whose poolings are written as ours reads them.
    """
    module, X, labels = small_images()
    rectified = RectifiedPools(module)
    yield Case(
        name="CROWN, 16 images of 12 x 12 pixels, eps 0.01, 2 convolutions and pooling",
        peer=f"{title}, its own pooling",
        ours=partial(our_margins, module, X, labels, 0.01),
        theirs=their_margins(module, X, labels, 0.01, conv_mode="matrix"),
        same=partial(same_bounds, module, X, labels, 0.01, like=rectified),
        limit=0.7,
        repeats=3,
    )
    module = cifar_setting.network("cnn6")
    X, labels = recognized_in_color(module, 1)
    eps = 0.0005
    yield Case(
        name=f"CROWN, one image of CIFAR-10, eps {eps}, cnn6",
        peer=f"{title}, its own pooling",
        ours=partial(our_margins, module, X, labels, eps),
        theirs=their_margins(module, X, labels, eps),
        same=lambda ours, theirs: bool((ours >= theirs - 1e-5).all()),
        limit=0.7,
        repeats=1,
        note="same result: no looser",
    )


@cache
def small_images():
    """A network of two convolutions that reads small digits, and some of those."""
    X, y, _, _ = smooth_digits()
    x = nn.functional.interpolate(torch.from_numpy(X).view(-1, 1, 28, 28), size=12)
    x, labels = x.flatten(1), torch.from_numpy(y)
    with seeded_torch(0):
        module = nn.Sequential(
            ToImages((1, 12, 12)),
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 6 * 6, 10),
        )
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), labels).backward()
            optimizer.step()
    return module.eval(), x[:16].numpy(), y[:16]


def recognized_in_color(module, n):
    """So many images of CIFAR-10 that a module recognizes."""
    X, y = cifar_setting.images("test")
    with torch.no_grad():
        right = (module(X[: 4 * n]).argmax(1) == y[: 4 * n]).nonzero()[:n, 0]
    return X[right].flatten(1).numpy(), y[right].numpy()


@cache
def sparse_net():
    """A network whose structure is a graph, trained on digits."""
    X, y, _, _ = smooth_digits()
    model = SparseNetClassifier(
        GraphPrior(n_nodes=150), max_epochs=30, device="cpu", random_state=0
    )
    return model.fit(X, y).module_.eval()


@cache
def stack(n_units, n_layers):
    """A perceptron of any size, trained for a few steps."""
    X, y, _, _ = smooth_digits()
    x, labels = torch.from_numpy(X), torch.from_numpy(y)
    with seeded_torch(0):
        parts = []
        for n_inputs, n_outputs in pairwise([784, *[n_units] * n_layers, 10]):
            parts += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
        module = nn.Sequential(*parts[:-1])
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), labels).backward()
            optimizer.step()
    return module.eval()


def recognized(module, n):
    """So many images that a module recognizes."""
    _, _, X, y = smooth_digits()
    with torch.no_grad():
        right = (module(torch.from_numpy(X)).argmax(1).numpy() == y).nonzero()[0]
    rows = np.resize(right, n)
    return X[rows], y[rows]


def sides(along, size):
    """One network and some images, both ways."""
    n = size if along == "images" else 100
    n_units = size if along == "units per layer" else 64
    n_layers = size if along == "layers" else 3
    module = stack(n_units, n_layers)
    X, labels = recognized(module, n)
    return (
        partial(our_margins, module, X, labels, 0.02),
        their_margins(module, X, labels, 0.02),
        partial(same_bounds, module, X, labels, 0.02),
    )


def our_margins(module, X, labels, eps, **exactly):
    """Bound the margins, with every rounding to the safe side."""
    network = ReluNetwork(module, X.shape[1])
    return margin_bounds(network, X, labels, eps, clip=(0, 1), **exactly)


class AsLayers(nn.Module):
    """A sparse network as dense layers, which is what a peer can read."""

    def __init__(self, net):
        super().__init__()
        structure, self.layers = net.structure, nn.ModuleList()
        n, offsets = structure.n_nodes, [int(v) for v in structure.layer_offsets]
        source, target = (torch.from_numpy(np.array(e)) for e in structure.edges)
        weight = torch.zeros(n, n, dtype=net.bias.dtype)
        weight[target, source] = net.edge_weight.detach()
        out = torch.zeros(net.n_outputs, n, dtype=net.bias.dtype)
        sinks = torch.from_numpy(np.array(structure.sinks))
        out[:, sinks] = net.output_weight.detach()
        self.layers.append(_filled(net.input_weight, net.bias[: offsets[1]]))
        for start, stop in pairwise(offsets[1:]):
            part = weight[start:stop, :start]
            self.layers.append(_filled(part, net.bias[start:stop]))
        self.last = _filled(out, net.output_bias)

    def forward(self, x):
        """Logits of a batch."""
        first, *others = self.layers
        units = first(x).relu()
        for layer in others:
            units = torch.cat([units, layer(units).relu()], dim=1)
        return self.last(units)


class RectifiedPools(nn.Module):
    """A stack whose maximum poolings are rectifiers, as ours are."""

    def __init__(self, stack):
        super().__init__()
        self.parts = nn.ModuleList()
        channels = None
        for part in stack:
            if isinstance(part, nn.Conv2d):
                channels = part.out_channels
            is_pool = isinstance(part, nn.MaxPool2d)
            self.parts.append(_RectifiedPool(channels) if is_pool else part)

    def forward(self, x):
        """Logits of a batch."""
        for part in self.parts:
            x = part(x)
        return x


class _RectifiedPool(nn.Module):
    """The largest of four: with m(a, b) = b + max(a - b, 0), m(m(a, b), m(c, d))."""

    def __init__(self, channels):
        super().__init__()

        def sums(kernels, n_in=1, stride=2):
            weight = torch.tensor(kernels, dtype=torch.float32)
            n_out, size = len(kernels), weight.shape[-1]
            layer = nn.Conv2d(
                n_in * channels, n_out * channels, size, stride,
                groups=channels, bias=False,
            )  # fmt: skip
            with torch.no_grad():
                layer.weight.copy_(weight.repeat(channels, 1, 1, 1))
            return layer

        self.halves = sums([[[[1.0, -1], [0, 0]]], [[[0, 0], [1, -1]]]])
        self.difference = sums([[[[0.0, 1], [0, -1]]]])
        self.last = sums([[[[0.0, 0], [0, 1]]]])
        self.fold = sums([[[[1.0]], [[-1.0]]]], 2, 1)
        self.second = sums([[[[0.0]], [[1.0]]]], 2, 1)

    def forward(self, x):
        """Images of half the size."""
        halves = self.halves(x).relu()
        larger = (self.difference(x) + self.fold(halves)).relu()
        return larger + self.second(halves) + self.last(x)


def _filled(weight, bias):
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], len(weight))
    layer = layer.to(weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def their_margins(module, X, labels, eps, dtype=torch.float32, **options):
    """Make a function that bounds the margins."""
    from auto_LiRPA import BoundedModule, BoundedTensor
    from auto_LiRPA.perturbations import PerturbationLpNorm

    x = torch.from_numpy(X).to(dtype)
    C = torch.from_numpy(margin_rows(labels, 10)).to(dtype)
    module = AsLayers(module) if hasattr(module, "structure") else module

    twin = copy.deepcopy(module).to(dtype).eval()
    bounded = BoundedModule(twin, x, bound_opts=options, verbose=False)

    def run(eps=eps):
        low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
        ball = PerturbationLpNorm(norm=np.inf, x_L=low, x_U=high)
        with torch.no_grad():
            lower, _ = bounded.compute_bounds(
                x=(BoundedTensor(x, ball),), C=C, method="backward", bound_upper=False
            )
        return lower.double().numpy()

    return run


def same_bounds(module, X, labels, eps, ours, theirs, like=None):
    """Equal in exact arithmetic, with all intervals by CROWN, as theirs are then."""
    every = {"sparse_intermediate_bounds": False}
    if like is not None:
        # Of images they compute all intervals as matrices alone.
        every["conv_mode"] = "matrix"
    read = module if like is None else like
    torch.set_default_dtype(torch.float64)
    try:
        exact = their_margins(read, X, labels, eps, torch.float64, **every)()
    finally:
        torch.set_default_dtype(torch.float32)
    plain = our_margins(module, X, labels, eps, roundoff=0.0, better=False)
    return bool((np.abs(plain - exact) <= 1e-5 * (1 + np.abs(exact))).all())


def our_radii(module, X, labels):
    """Find radii by secants, 0.1 % wide."""
    search = Search("linf", "crown", (0, 1))
    return certified_radii(ReluNetwork(module, 784), X, labels, search, SINGLE)[0]


def their_radii(module, X, labels):
    """Halve the radius of every image."""
    from auto_LiRPA import BoundedModule, BoundedTensor
    from auto_LiRPA.perturbations import PerturbationLpNorm

    x = torch.from_numpy(X)
    C = torch.from_numpy(margin_rows(labels, 10)).float()
    module = AsLayers(module) if hasattr(module, "structure") else module
    bounded = BoundedModule(module, x, verbose=False)
    near, far = torch.zeros(len(x)), torch.full((len(x),), FARTHEST)
    for _ in range(N_HALVINGS):
        eps = ((near + far) / 2)[:, None]
        low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
        ball = PerturbationLpNorm(norm=np.inf, x_L=low, x_U=high)
        with torch.no_grad():
            lower, _ = bounded.compute_bounds(
                x=(BoundedTensor(x, ball),), C=C, method="backward", bound_upper=False
            )
        proved = lower.amin(dim=1) > 0
        near = torch.where(proved, eps[:, 0], near)
        far = torch.where(proved, far, eps[:, 0])
    return near.numpy()


def same_radii(ours, theirs):
    """No smaller, but for rounding to the safe side and the width of the search."""
    wide = FARTHEST / 2**N_HALVINGS
    return bool(np.median(ours - theirs) > -wide - 0.02 * np.median(theirs))


RADII = {
    "perceptron": (0.01, 0.02),
    "perceptron, adversarially trained": (0.05, 0.1),
    "sparse net of 150 vertices": (0.01, 0.02),
}


def settings(n, small=False):
    """Yield networks, images that they recognize, and two radii for each.

    Those of MNIST; with `small` one for the digits of scikit-learn, which are at hand.
    """
    if small:
        X, y = recognized(stack(32, 2), n)
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        yield "small perceptron", stack(32, 2), X, y, (0.01, 0.02)
        return
    for name, sizes in RADII.items():
        X, y = (part[:n] for part in mnist_setting.recognized(name, 0, 2 * n))
        yield name, mnist_setting.network(name), X, y, sizes


def compare(name, module, X, y, sizes):
    """Print what of a network is proved, and how near an attack finds errors.

    Of branch and bound with up to 64 subproblems, the share of images that are proved
    free of errors; and of each method, with up to 16, how far the radius comes.
    """
    points = minimal_distance(module, X, y, norm="linf", clip=(0, 1), max_iter=300)
    nearest = lengths(module, X, y, points, "linf")
    anchors = Anchors(ReluNetwork(module, X.shape[1]), X.numpy())
    rows, labels = np.arange(len(X)), y.numpy()
    for eps in sizes:
        start = time.process_time()
        search = Search("linf", "split", (0, 1), max_subproblems=64)
        radii = np.full(len(X), eps)
        proved, _ = proved_by_splitting(anchors, rows, radii, labels, search)
        print(
            f"{name}, linf {eps}: {proved.mean():.3f} proved, "
            f"{(nearest > eps).mean():.3f} not broken, "
            f"{time.process_time() - start:.1f} CPU s"
        )
    for method in ("interval", "crown", "split"):
        start = time.process_time()
        search = Search("linf", method, (0, 1), max_subproblems=16)
        radii, _ = certified_radii(anchors.network, X.numpy(), labels, search, SINGLE)
        print(
            f"{name}, {method}: median share of the distance "
            f"{np.median(radii / nearest):.3f}, {time.process_time() - start:.1f} CPU s"
        )


def main():
    """Compare proofs with an attack."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_bounds", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--n-images", type=int, default=200)
    parser.add_argument("--small", action="store_true", help="a network for digits")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for setting in settings(arguments.n_images, arguments.small):
        compare(*setting)


if __name__ == "__main__":
    main()
