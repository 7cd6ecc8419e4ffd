"""Networks of convolutions on CIFAR-10: trained once, kept, and trained again if gone.

Run as a script, it trains those that are named: ``python -m benchmarks.cifar_setting``.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from robustkit._randomness import seeded_torch
from robustkit.datasets import fetch_cifar10
from robustkit.networks import ARCHITECTURES

IMAGE_SHAPE = (3, 32, 32)
KEPT = Path(__file__).parent / ".kept"


class Block(nn.Module):
    """Two convolutions, and a way around them."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.around = nn.Conv2d(n_in, n_out, 1, stride)

    def forward(self, x):
        """Images to images."""
        return functional.relu(self.inner(x) + self.around(x))


def small_resnet():
    """Build a residual network of 16 to 64 channels with batch normalization."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 32, 1),
        Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def cnn6():
    """Build robustkit's own convolutional network."""
    return ARCHITECTURES["cnn6"](3072, 10, image_shape=IMAGE_SHAPE)


# How each is built, and how many epochs it is trained for.
NETWORKS = {"small ResNet": (small_resnet, 8), "cnn6": (cnn6, 1)}


def images(split):
    """Images and labels, as tensors."""
    X, y = fetch_cifar10(split=split, return_X_y=True)
    X = np.asarray(X, dtype=np.float32).reshape(-1, *IMAGE_SHAPE)
    return torch.from_numpy(X), torch.from_numpy(np.asarray(y)).long()


def network(name):
    """Return a trained network, which takes minutes the first time."""
    build, epochs = NETWORKS[name]
    path = KEPT / f"{name.replace(' ', '_')}.pt"
    with seeded_torch(0):
        module = build()
        if path.exists():
            module.load_state_dict(torch.load(path))
        else:
            _train(module, epochs)
            KEPT.mkdir(exist_ok=True)
            torch.save(module.state_dict(), path)
    return module.to(memory_format=torch.contiguous_format).eval()


def _train(module, epochs, batch_size=128):
    X, y = images("train")
    module.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=epochs * -(-len(X) // batch_size)
    )
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(X)).split(batch_size):
            batch = X[rows].to(memory_format=torch.channels_last)
            loss = functional.cross_entropy(module(batch), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: mean loss {total / len(X):.3f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    X_test, y_test = images("test")
    for wanted in sys.argv[1:] or NETWORKS:
        trained = network(wanted)
        with torch.no_grad():
            found = torch.cat([trained(x).argmax(1) for x in X_test[:2000].split(100)])
        accuracy = (found == y_test[:2000]).double().mean()
        print(f"{wanted}: accuracy {accuracy:.3f} on 2,000 test images", flush=True)
