"""One training step of sparse networks: forward pass, loss, gradients and Adam."""

from importlib.metadata import version
from importlib.util import find_spec
from itertools import cycle

import torch
from torch import nn

from benchmarks.harness import Case
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork, initialize
from robustkit.networks._training import AutogradStep
from robustkit.networks._union_step import FusedStep, UnionStep

# (n_nodes, n_neighbors, rewiring): how many times faster than deepstruct we must be.
GRAPHS = {(300, 4, 0.5): 200, (500, 2, 0.7): 25, (400, 10, 0.9): 200}
N_FEATURES, N_CLASSES, N_NETWORKS = 784, 10, 24


def cases():
    """Every graph with two sizes of batches, then many graphs at once."""
    torch.set_num_threads(1)
    for size, factor in GRAPHS.items():
        structures = _structures(size)
        for batch_size, limit in ((64, 1.0), (256, 1.15)):
            name = f"step {size}, batch {batch_size}"
            batches = _batches(batch_size)
            fused = FusedStep(_network(structures[0]))
            yield Case(
                name=name,
                peer="dense torch net with as many parameters",
                ours=_run(fused, batches),
                theirs=_run(AutogradStep(_dense(structures[0])), batches),
                limit=limit,
            )
            yield Case(
                name=name,
                peer="the same network by autograd",
                ours=_run(FusedStep(_network(structures[0])), batches),
                theirs=_run(AutogradStep(_network(structures[0])), batches),
                same=lambda ours, theirs: torch.allclose(ours, theirs, rtol=1e-4),
            )
            yield Case(
                name=f"step of {N_NETWORKS} graphs {size} at once, batch {batch_size}",
                peer=f"{N_NETWORKS} steps of one of them",
                ours=_run(UnionStep(map(_network, structures)), batches),
                theirs=_run(fused, batches, times=N_NETWORKS),
                limit=1.2 if batch_size == 64 else None,
            )
        if find_spec("deepstruct") is not None:
            batches = _batches(64)
            theirs = AutogradStep(
                _deepstruct(structures[0]), optimizer=torch.optim.Adam
            )
            yield Case(
                name=f"step {size}, batch 64",
                peer=f"MaskedDeepDAN of deepstruct {version('deepstruct')}",
                ours=_run(FusedStep(_network(structures[0])), batches),
                theirs=_run(theirs, batches),
                limit=1 / factor,
                note="with torch's Adam as it comes; it reads out the last layer only",
            )


def _structures(size):
    n_nodes, n_neighbors, rewiring = size
    prior = GraphPrior(n_nodes=n_nodes, n_neighbors=n_neighbors, rewiring=rewiring)
    return [prior.sample(seed) for seed in range(N_NETWORKS)]


def _network(structure):
    network = SparseNetwork(structure, N_FEATURES, N_CLASSES)
    return initialize(network, random_state=0)


def _dense(structure):
    n_parameters = structure.n_parameters(N_FEATURES, N_CLASSES)
    width = round((n_parameters - N_CLASSES) / (N_FEATURES + 1 + N_CLASSES))
    return nn.Sequential(
        nn.Linear(N_FEATURES, width), nn.ReLU(), nn.Linear(width, N_CLASSES)
    )


def _deepstruct(structure):
    from deepstruct.graph import CachedLayeredGraph
    from deepstruct.sparse import MaskedDeepDAN

    graph = CachedLayeredGraph()
    graph.add_nodes_from(range(structure.n_nodes))
    graph.add_edges_from(structure.edges.T.tolist())
    return MaskedDeepDAN(N_FEATURES, N_CLASSES, graph)


def _batches(batch_size, n_batches=16):
    """Noisy copies of ten images: with labels to learn, units live as in practice."""
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(N_CLASSES, N_FEATURES, generator=draws)
    y = torch.randint(N_CLASSES, (n_batches * batch_size,), generator=draws)
    noise = torch.rand(len(y), N_FEATURES, generator=draws)
    X = (images[y] + noise) / 2
    return list(zip(X.split(batch_size), y.split(batch_size), strict=True))


def _run(step, batches, times=1):
    batches = cycle(batches)

    def run():
        for _ in range(times):
            loss = step.step(*next(batches))
        return loss

    return run
