"""How much memory a stream of 16 million samples takes to count its regions.

Run ``python -m benchmarks.stream_regions``. Two streams go through `partial_fit`: one
whose samples share regions, and the worst one, in which every sample has its own.
"""

import argparse
import resource
import time

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator

from robustkit.bridge import as_module
from robustkit.regions import PopulatedRegionScorer

N_UNITS = 128


class Rays(ClassifierMixin, BaseEstimator):
    """A fixed hidden layer: every unit copies one feature."""

    def fit(self, X, y):
        """Build the layer."""
        self.classes_ = np.arange(10)
        self.n_features_in_ = N_UNITS
        self.module_ = torch.nn.Sequential(
            torch.nn.Linear(N_UNITS, N_UNITS),
            torch.nn.ReLU(),
            torch.nn.Linear(N_UNITS, 10),
        ).eval()
        with torch.no_grad():
            self.module_[0].weight.copy_(torch.eye(N_UNITS))
            self.module_[0].bias.zero_()
        return self

    def predict(self, X):
        """Take the largest logit."""
        return self.module_(torch.as_tensor(X)).argmax(dim=1).numpy()


@as_module.register(Rays)
def _rays(rays):
    return rays.module_


def stream(n_samples, n_patterns, chunk=65_536):
    """Yield samples of at most so many patterns, and labels."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**64, size=(min(n_patterns, 2**20), 2), dtype=np.uint64)
    for start in range(0, n_samples, chunk):
        size = min(chunk, n_samples - start)
        if n_patterns < n_samples:
            words = patterns[rng.integers(len(patterns), size=size)]
        else:
            words = rng.integers(0, 2**64, size=(size, 2), dtype=np.uint64)
        X = np.unpackbits(words.view(np.uint8), axis=1).astype(np.float32) - 0.5
        yield X, rng.integers(10, size=size)


def main():
    """Report time, regions and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-samples", type=int, default=16_000_000)
    parser.add_argument("--n-patterns", type=int, default=100_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = FrozenEstimator(Rays().fit(None, None))
    scorer = PopulatedRegionScorer(model, device="cpu")
    # Compiled, imported and allocated once before anything is measured.
    for X, y in stream(200_000, 100):
        scorer.partial_fit(X, y)
    scorer = PopulatedRegionScorer(model, device="cpu")
    before, start = _peak(), time.perf_counter()
    for X, y in stream(arguments.n_samples, arguments.n_patterns):
        scorer.partial_fit(X, y)
    regions = scorer.n_regions_ * N_UNITS // 8
    print(
        f"{scorer.n_samples_seen_:,} samples, {scorer.n_regions_:,} regions of "
        f"{N_UNITS} units ({regions / 2**20:.0f} MiB): "
        f"{(_peak() - before - regions) / 2**20:.0f} MiB beyond them at the peak, "
        f"{time.perf_counter() - start:.0f} s"
    )


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
