"""Sparse networks: steps of training, alone and together, and attacks on many."""

from functools import partial
from itertools import cycle

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks import peers
from benchmarks.attack_setting import smooth_digits
from benchmarks.harness import Case, Growth, clock_of
from robustkit._randomness import seeded_torch
from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    PGDAttack,
    attack_many,
)
from robustkit.classifiers import SparseNetClassifier, fit_many
from robustkit.graphs import GraphPrior
from robustkit.networks import (
    AutogradStep,
    FusedStep,
    SparseNetwork,
    UnionStep,
    initialize,
)

PEERS = ("deepstruct",)
# (n_nodes, n_neighbors, rewiring): how many times faster than deepstruct we must be.
GRAPHS = {(300, 4, 0.5): 200, (500, 2, 0.7): 25, (400, 10, 0.9): 200}
N_FEATURES, N_CLASSES, N_NETWORKS = 784, 10, 24
ATTACKS = {
    "FGSM": FGSMAttack(eps=0.05),
    "BIM": BIMAttack(eps=0.05),
    "PGD": PGDAttack(eps=0.05, max_iter=10, random_state=0),
    "PGD, rotate": PGDAttack(eps=0.05, max_iter=10, loss="rotate", random_state=0),
    "growing eps": GrowingEpsilonAttack(),
    "minimal distance": MinimalDistanceAttack(),
}
# Minutes, with many images; and then no two networks go together.
SLOW = ("minimal distance",)
DENSE, AUTOGRAD = "dense torch net with as many parameters", "the same by autograd"


def cases(device="cpu"):
    """Every graph with two sizes of batches, then many graphs at once, then more."""
    torch.set_num_threads(1)
    for size, factor in GRAPHS.items():
        structures = [_structure(size, seed) for seed in range(N_NETWORKS)]
        for batch_size, limit in ((64, 1.0), (256, 1.15)):
            yield from _steps(structures, size, batch_size, limit, device)
        if peers.load("deepstruct") is not None:
            yield _against_deepstruct(structures[0], size, factor, device)
    yield from _attacks_on_many(device)
    yield from _more_nodes(device)
    yield from _larger_batches(device)


def _steps(structures, size, batch_size, limit, device):
    name = f"step {size}, batch {batch_size}"
    batches = _batches(batch_size, device)
    fused = FusedStep(_network(structures[0], device))
    is_promised = device == "cpu"
    yield Case(
        name=name,
        peer=DENSE,
        ours=_run(fused, batches),
        theirs=_run(AutogradStep(_dense(structures[0], device)), batches),
        limit=limit if is_promised else None,
        clock=clock_of(device),
    )
    yield Case(
        name=name,
        peer=AUTOGRAD,
        ours=_run(FusedStep(_network(structures[0], device)), batches),
        theirs=_run(AutogradStep(_network(structures[0], device)), batches),
        same=_same_loss,
        clock=clock_of(device),
    )
    union = UnionStep(_network(structure, device) for structure in structures)
    yield Case(
        name=f"step of {N_NETWORKS} graphs {size} at once, batch {batch_size}",
        peer=f"{N_NETWORKS} steps of one of them",
        ours=_run(union, batches),
        theirs=_run(fused, batches, times=N_NETWORKS),
        limit=1.2 if batch_size == 64 and is_promised else None,
        clock=clock_of(device),
    )


def _against_deepstruct(structure, size, factor, device):
    batches = _batches(64, device)
    return Case(
        name=f"step {size}, batch 64",
        peer=f"MaskedDeepDAN of {peers.title('deepstruct')}",
        ours=_run(FusedStep(_network(structure, device)), batches),
        theirs=_run(_deepstruct_step(structure, device), batches),
        limit=1 / factor if device == "cpu" else None,
        clock=clock_of(device),
        note="with torch's Adam as it comes; it reads out the last layer only",
    )


def _their_steps():
    """Who trains a network of the same size, and whether it is the same network."""
    yield DENSE, lambda *place: AutogradStep(_dense(*place)), None
    yield AUTOGRAD, lambda *place: AutogradStep(_network(*place)), _same_loss
    if peers.load("deepstruct") is not None:
        title = f"MaskedDeepDAN of {peers.title('deepstruct')}"
        yield title, _deepstruct_step, None


def _more_nodes(device):
    for peer, their_step, same in _their_steps():
        yield Growth(
            name="step (nodes, 4, 0.5), batch 64",
            peer=peer,
            along="nodes",
            sizes=(125, 250, 500, 1000, 2000),
            sides=partial(_sides, their_step, same, device, batch_size=64),
            repeats=5,
            patience=1.0,
            clock=clock_of(device),
        )


def _larger_batches(device):
    for peer, their_step, same in _their_steps():
        yield Growth(
            name="step (300, 4, 0.5), growing batch",
            peer=peer,
            along="samples in a batch",
            sizes=(16, 64, 256, 1024, 4096),
            sides=lambda n, step=their_step, same=same: _sides(
                step, same, device, 300, batch_size=n
            ),
            repeats=5,
            clock=clock_of(device),
        )


def _sides(their_step, same, device, n_nodes, batch_size):
    structure = _structure((n_nodes, 4, 0.5), seed=0)
    batches = _batches(batch_size, device)
    with seeded_torch(0):
        ours = _run(FusedStep(_network(structure, device)), batches)
        return ours, _run(their_step(structure, device), batches), same


def _attacks_on_many(device):
    """Networks of the paper's size, attacked together and one by one."""
    X, y, X_test, y_test = smooth_digits()
    rng = np.random.RandomState(0)
    priors = [
        GraphPrior(n_nodes=int(rng.randint(250, 500)), rewiring=0.7, random_state=k)
        for k in range(N_NETWORKS)
    ]
    networks = [
        SparseNetClassifier(prior, max_epochs=10, device=device, random_state=0)
        for prior in priors
    ]
    fit_many(networks, X, y)
    for n_images, limit in ((32, 0.6), (1000, 1.0)):
        images, labels = X_test[:n_images], y_test[:n_images]
        for name, attack in ATTACKS.items():
            if n_images > 32 and name in SLOW:
                continue
            yield Case(
                name=f"{name} on {N_NETWORKS} networks, {n_images} images",
                peer="the same one by one",
                ours=partial(attack_many, attack, networks, images, labels),
                theirs=partial(_one_by_one, attack, networks, images, labels),
                limit=limit if device == "cpu" else None,
                same=_same_errors,
                clock=clock_of(device),
            )


def _one_by_one(attack, networks, X, y):
    return [
        clone(attack).set_params(estimator=FrozenEstimator(one)).fit(X, y).perturb(X, y)
        for one in networks
    ]


def _same_errors(ours, theirs):
    return all(
        np.array_equal(a.prediction, b.prediction)
        and np.allclose(a.X_adv, b.X_adv, atol=1e-5)
        for a, b in zip(ours, theirs, strict=True)
    )


def _same_loss(ours, theirs):
    return torch.allclose(ours, theirs, rtol=1e-4)


def _structure(size, seed):
    n_nodes, n_neighbors, rewiring = size
    prior = GraphPrior(n_nodes=n_nodes, n_neighbors=n_neighbors, rewiring=rewiring)
    return prior.sample(seed)


def _network(structure, device):
    network = SparseNetwork(structure, N_FEATURES, N_CLASSES)
    return initialize(network, random_state=0).to(device)


def _dense(structure, device):
    n_parameters = structure.n_parameters(N_FEATURES, N_CLASSES)
    width = round((n_parameters - N_CLASSES) / (N_FEATURES + 1 + N_CLASSES))
    return nn.Sequential(
        nn.Linear(N_FEATURES, width), nn.ReLU(), nn.Linear(width, N_CLASSES)
    ).to(device)


def _deepstruct_step(structure, device):
    from deepstruct.graph import CachedLayeredGraph
    from deepstruct.sparse import MaskedDeepDAN

    graph = CachedLayeredGraph()
    graph.add_nodes_from(range(structure.n_nodes))
    graph.add_edges_from(structure.edges.T.tolist())
    network = MaskedDeepDAN(N_FEATURES, N_CLASSES, graph).to(device)
    return AutogradStep(network, optimizer=torch.optim.Adam)


def _batches(batch_size, device, n_batches=16):
    """Noisy copies of ten images: with labels to learn, units live as in practice."""
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(N_CLASSES, N_FEATURES, generator=draws)
    y = torch.randint(N_CLASSES, (n_batches * batch_size,), generator=draws)
    noise = torch.rand(len(y), N_FEATURES, generator=draws)
    X = ((images[y] + noise) / 2).to(device)
    return list(zip(X.split(batch_size), y.to(device).split(batch_size), strict=True))


def _run(step, batches, times=1):
    batches = cycle(batches)

    def run():
        for _ in range(times):
            loss = step.step(*next(batches))
        return loss

    return run
