"""What is attacked: digits, the networks trained on them, and where both are."""

import copy
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn import functional

from benchmarks.harness import clock_of
from robustkit._randomness import seeded_torch
from robustkit.attacks import PGDAttack
from robustkit.classifiers import TorchClassifier

SIZES = (784, 100, 50, 20, 10)


class Image(nn.Module):
    """Peers want images, and logits of them."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        # What a peer puts back into the mode in which it was found must not end up in
        # training mode, in which ours would copy it at every call.
        self.eval()

    def forward(self, x):
        """Logits of a batch."""
        return self.module(x.flatten(1))


@cache
def smooth_digits():
    """Digits of 8 x 8 pixels, drawn on 28 x 28: training and 1,000 test images."""
    X, y = load_digits(return_X_y=True)
    x = torch.tensor(X.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    x = functional.interpolate(x, size=(28, 28), mode="bilinear")
    x = ((x * 255).round() / 255).flatten(1).numpy()
    order = np.random.default_rng(0).permutation(len(y))
    return x[order[:-1000]], y[order[:-1000]], x[order[-1000:]], y[order[-1000:]]


@cache
def small_digits_on_a_canvas():
    """Digits of 12 x 12 pixels somewhere on 28 x 28: there one pixel can matter."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    x = torch.tensor(X.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    x = functional.interpolate(x, size=(12, 12), mode="bilinear")[:, 0].numpy()
    order = rng.permutation(len(y))
    train, test = np.tile(order[:-500], 20), order[-500:]
    images = []
    for rows in (train, test):
        canvas = np.zeros((len(rows), 28, 28), dtype=np.float32)
        for image, row in zip(canvas, rows, strict=True):
            top, left = rng.integers(0, 17, size=2)
            image[top : top + 12, left : left + 12] = (x[row] * 255).round() / 255
        images.append(canvas.reshape(len(rows), -1))
    return images[0], y[train], images[1], y[test]


@cache
def network(data, eps=0.0, epochs=30):
    """A perceptron, trained on clean or on adversarial images, on a CPU."""
    X, y, _, _ = data()
    x, labels = torch.from_numpy(X), torch.from_numpy(y)
    adversary = PGDAttack(eps=eps, max_iter=7, random_state=0)
    with seeded_torch(0):
        layers = []
        for n_inputs, n_outputs in pairwise(SIZES):
            layers += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
        module = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(module.parameters())
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                batch = x[rows]
                if eps:
                    batch = adversary.perturb_module(module, batch, labels[rows])
                optimizer.zero_grad()
                functional.cross_entropy(module(batch), labels[rows]).backward()
                optimizer.step()
    return module.eval()


class Place:
    """Where models, images and the clock are."""

    def __init__(self, device):
        self.device = device
        self.clock = clock_of(device)

    def promise(self, limit):
        """What is promised is promised on a CPU."""
        return limit if self.device == "cpu" else None

    def aim(self, attack, module, X, y):
        """One of ours, aimed at a module."""
        model = TorchClassifier.from_module(module, classes=np.arange(10))
        attack.set_params(estimator=FrozenEstimator(model), device=self.device)
        return attack.fit(X, y)

    def module(self, data, eps=0.0):
        """A trained network."""
        return copy.deepcopy(network(data, eps)).to(self.device)

    def images(self, X):
        """What peers want: images with a channel."""
        return self.tensor(X).view(-1, 1, 28, 28)

    def tensor(self, array):
        """An array, where the model is."""
        return torch.from_numpy(array).to(self.device)

    def accuracy(self, module, x, y):
        """Share of images that are recognized."""
        with torch.no_grad():
            found = Image(module)(x.to(self.device)).argmax(1)
        return float((found == self.tensor(y)).double().mean())
