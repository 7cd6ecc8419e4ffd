"""What dynamic sparse training learns on MNIST, beside the graph that stays.

``python -m benchmarks.rewiring`` trains networks with SET, with RigL and with neither,
from the same graphs and seeds, on all 60,000 images. CPU times are those of `fit`, in
one process. The last column says whether the goal is met: at least the mean accuracy of
the graphs that stay, in at most 1.3 times their CPU time.
"""

import os

# Set before numpy or torch are loaded.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import itertools
import time

import numpy as np
import torch

from robustkit.classifiers import SparseNetClassifier
from robustkit.datasets import fetch_mnist, load_digits_images
from robustkit.graphs import GraphPrior, LayeredGraph

DATA = {"mnist": fetch_mnist, "digits": load_digits_images}
METHODS = (None, "set", "rigl")
WIDTHS, DENSITY = (60, 300, 300, 100), 0.08
AT_MOST = 1.3


def layered(seed):
    """Layers of these widths, each vertex joined at random to those of the next."""
    rng = np.random.RandomState(seed)
    offsets = np.cumsum([0, *WIDTHS])
    edges = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(WIDTHS)):
        joined = rng.rand(n_in, n_out) < DENSITY
        # Every vertex has an edge on either side.
        joined[rng.randint(n_in, size=n_out), np.arange(n_out)] = True
        joined[np.arange(n_in), rng.randint(n_out, size=n_in)] = True
        source, target = joined.nonzero()
        edges.append([source + offsets[i], target + offsets[i + 1]])
    return LayeredGraph(np.hstack(edges), offsets[-1])


def small_world(seed):
    """A graph of the default generator, with four neighbours on each side."""
    return GraphPrior(n_nodes=660, n_neighbors=4, rewiring=0.7).sample(seed)


GRAPHS = {"layered": layered, "small world": small_world}


def train(graph, seed, n_epochs, data, tested):
    """Return, for each method, the accuracy on the test images and the CPU time."""
    results = []
    for method in METHODS:
        model = SparseNetClassifier(
            graph,
            rewire=method,
            max_epochs=n_epochs,
            batch_size=128,
            device="cpu",
            random_state=seed,
        )
        start = time.process_time()
        model.fit(*data)
        results.append((model.score(*tested), time.process_time() - start))
    return results


def main(arguments=None):
    """Print the table, a graph as soon as it is known."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rewiring",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--dataset", choices=list(DATA), default="mnist")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    load = DATA[options.dataset]
    data, tested = (load(split=part, return_X_y=True) for part in ("train", "test"))
    print("| graph | method | accuracy | least, largest | CPU s | ratio | goal met |")
    print("|---|---|---|---|---|---|---|")
    for name, make in GRAPHS.items():
        found = np.array(
            [
                train(make(seed), seed, options.epochs, data, tested)
                for seed in range(options.seeds)
            ]
        )
        accuracy, seconds = found.mean(axis=0).T
        least, largest = found[..., 0].min(axis=0), found[..., 0].max(axis=0)
        for k, method in enumerate(METHODS):
            ratio = seconds[k] / seconds[0]
            is_met = accuracy[k] >= accuracy[0] and ratio <= AT_MOST
            goal = "" if method is None else "yes" if is_met else "no"
            print(
                f"| {name} | {method or 'none'} | {accuracy[k]:.4f} | "
                f"{least[k]:.4f}, {largest[k]:.4f} | {seconds[k]:.1f} | {ratio:.2f} | "
                f"{goal} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
