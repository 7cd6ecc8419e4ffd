"""Dynamic sparse training: weak edges of a network give way to new ones.

Once an epoch a share of the edges into every layer is removed, those with the smallest
absolute weights, and as many new ones are added between vertices that had none. The
vertices keep their layers, the sources and the sinks stay what they are, so that the
number of weights never changes.
"""

from collections.abc import Callable
from math import cos, pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from robustkit.graphs import LayeredGraph
from robustkit.networks._sparse_network import SparseNetwork

__all__ = ["REWIRINGS", "RewiringStep", "replace_edges", "share_to_replace"]

REWIRINGS = ("set", "rigl")

# RigL stops to rewire after this share of the training.
_END_OF_RIGL = 0.75

# The place of the edges among the parameters of a network.
_EDGES = [
    name for name, _ in SparseNetwork(LayeredGraph([], 1), 1, 1).named_parameters()
].index("edge_weight")


class RewiringStep:
    """A step that rewires the network at the first batch of an epoch.

    The very first epoch trains the graph as it is. New weights, and the moments of the
    optimizer for them, begin at zero.

    Parameters
    ----------
    network : SparseNetwork
        What is trained.

    make_step : callable
        Makes the step that changes the weights. It is called again for every new graph,
        and given the state of the one before.

    method : {"set", "rigl"}
        Where edges are added: in places drawn at random, or in those whose weight has
        the largest gradient.

    fraction : float
        Share of the edges of a layer to replace, in the beginning.

    label_smoothing : float, default=0.0
        Of the loss whose gradient is taken.

    n_epochs_before : int, default=0
        Epochs of training that have passed.

    max_epochs : int, default=1
        Epochs of training in all.

    random_state : int, RandomState instance or None, default=None
        Draws the places.

    on_graph : callable or None, default=None
        Called with the graph of every epoch.
    """

    def __init__(
        self,
        network: SparseNetwork,
        make_step: Callable[[], Any],
        *,
        method: str,
        fraction: float,
        label_smoothing: float = 0.0,
        n_epochs_before: int = 0,
        max_epochs: int = 1,
        random_state: int | np.random.RandomState | None = None,
        on_graph: Callable[[LayeredGraph], None] | None = None,
    ) -> None:
        self.network, self.make_step = network, make_step
        self.method, self.fraction = method, fraction
        self.label_smoothing = label_smoothing
        self.n_epochs_before, self.max_epochs = n_epochs_before, max_epochs
        self.random_state = check_random_state(random_state)
        self.on_graph = on_graph
        self._step = make_step()
        self._share: float | None = None

    def epoch_begins(self, number: int) -> None:
        """Find out how much is replaced in this epoch, counted from 0."""
        passed = self.n_epochs_before + number
        self._share = share_to_replace(
            self.method, self.fraction, passed, self.max_epochs
        )

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Change the weights once; return the mean loss of the batch before that."""
        if self._share is not None:
            # What is frozen stays as it is.
            if self._share and self.network.edge_weight.requires_grad:
                self._rewire(inputs, targets, self._share)
            self._share = None
            if self.on_graph is not None:
                self.on_graph(self.network.structure)
        return self._step.step(inputs, targets)

    def _rewire(self, inputs: Tensor, targets: Tensor, share: float) -> None:
        network, structure = self.network, self.network.structure
        weight = network.edge_weight.detach()
        stays, added = replace_edges(
            structure,
            weight.abs().cpu().numpy(),
            share,
            self._scorer(inputs, targets),
        )
        if not added.shape[1]:
            return
        edges = np.hstack([structure.edges[:, stays], added])
        rewired = LayeredGraph(edges, structure.n_nodes, structure.labels)
        kept = torch.from_numpy(np.flatnonzero(stays)).to(weight.device)
        order = torch.from_numpy(np.lexsort(edges)).to(weight.device)

        def moved(values):
            """Put what belongs to edges in the order of the new ones."""
            zeros = values.new_zeros(added.shape[1])
            return torch.cat([values.index_select(0, kept), zeros])[order]

        state = self._step.state_dict()
        if _EDGES in state:
            of_edges = state[_EDGES]
            moments = {k: moved(of_edges[k]) for k in ("exp_avg", "exp_avg_sq")}
            state = {**state, _EDGES: {**of_edges, **moments}}
        network.rewire(rewired, moved(weight))
        self._step = self.make_step()
        self._step.load_state_dict(state)

    def _scorer(
        self, inputs: Tensor, targets: Tensor
    ) -> Callable[[int, int, int], NDArray]:
        if self.method == "set":
            draw = self.random_state.random_sample
            return lambda low, first, last: draw((last - first, low))
        activation, gradient = self.network.vertex_gradients(
            inputs, targets, label_smoothing=self.label_smoothing
        )

        def score(low: int, first: int, last: int) -> NDArray:
            of_weights = gradient[:, first:last].t() @ activation[:, :low]
            return of_weights.abs().cpu().numpy()

        return score

    def state_dict(self) -> dict:
        """Return the state of the optimizer, from which a later step can continue."""
        return self._step.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Continue from the state of an earlier step, with the settings of this one."""
        self._step.load_state_dict(state)


def share_to_replace(
    method: str, fraction: float, epoch: int, max_epochs: int
) -> float:
    """Return the share of edges that is replaced before an epoch, counted from 0.

    SET replaces the same share every time, RigL less and less along a cosine, and none
    in the last quarter of the training.
    """
    if epoch == 0:
        return 0.0
    if method == "set":
        return fraction
    passed = epoch / (_END_OF_RIGL * max_epochs)
    return fraction / 2 * (1 + cos(pi * passed)) if passed < 1 else 0.0


def replace_edges(
    structure: LayeredGraph,
    strength: NDArray,
    fraction: float,
    score: Callable[[int, int, int], NDArray],
) -> tuple[NDArray, NDArray]:
    """Choose the edges that stay, and the edges that replace the others.

    Of the edges into every layer, the share `fraction` is removed, those of least
    strength. What replaces them leads into the same layer, from any vertex of an
    earlier one that is not a sink, where there was no edge. An edge stays if it is the
    strongest out of its source, or the strongest into its target from the layer before:
    without it, a vertex would become a sink or leave its layer. There may be fewer
    edges to remove, or fewer places, than the share asks for.

    Parameters
    ----------
    structure : LayeredGraph
        The graph.

    strength : ndarray of shape (n_edges,)
        The absolute weights.

    fraction : float
        Share of the edges to remove.

    score : callable
        ``score(low, first, last)`` says how much each place is wanted, as an array of
        shape (last - first, low): from the vertices below `low` to those of a layer,
        `first` up to, but not including, `last`.

    Returns
    -------
    stays : ndarray of shape (n_edges,), dtype=bool
        Which edges stay.

    added : ndarray of shape (2, n_added)
        As many new edges as do not stay.
    """
    target = structure.edges[1]
    stays = np.ones(structure.n_edges, dtype=bool)
    is_needed = _are_needed(structure, strength)
    added = [np.empty((2, 0), dtype=np.intp)]
    offsets = structure.layer_offsets.tolist()
    start = np.searchsorted(target, offsets)
    for layer in range(1, structure.n_layers):
        first, last = offsets[layer : layer + 2]
        into = np.arange(start[layer], start[layer + 1])
        removable = into[~is_needed[into]]
        is_free = _free_places(structure, into, (first, last))
        free = np.flatnonzero(is_free)
        n = min(int(fraction * len(into)), len(removable), len(free))
        if n == 0:
            continue
        weakest = np.argsort(strength[removable], kind="stable")[:n]
        stays[removable[weakest]] = False
        wanted = np.nan_to_num(score(first, first, last)).ravel()[free]
        place = free[_largest(wanted, n)]
        added.append(np.stack([place % first, first + place // first]))
    return stays, np.hstack(added)


def _free_places(structure: LayeredGraph, into: NDArray, layer: tuple) -> NDArray:
    """Where a layer could be entered and is not: one row per vertex of it."""
    first, last = layer
    source, target = structure.edges[:, into]
    is_free = np.ones((last - first, first), dtype=bool)
    is_free[target - first, source] = False
    is_free[:, structure.sinks[structure.sinks < first]] = False
    return is_free


def _are_needed(structure: LayeredGraph, strength: NDArray) -> NDArray:
    source, target = structure.edges
    is_needed = np.zeros(structure.n_edges, dtype=bool)
    is_needed[_strongest_of_each(source, strength)] = True
    near = np.flatnonzero(structure.layer[source] + 1 == structure.layer[target])
    is_needed[near[_strongest_of_each(target[near], strength[near])]] = True
    return is_needed


def _strongest_of_each(end: NDArray, strength: NDArray) -> NDArray:
    order = np.lexsort((strength, end))
    return order[np.flatnonzero(np.diff(end[order], append=-1))]


def _largest(values: NDArray, n: int) -> NDArray:
    """Return the places of the n largest; of equal ones, those that come first."""
    least = np.partition(values, -n)[-n]
    above = np.flatnonzero(values > least)
    return np.concatenate([above, np.flatnonzero(values == least)[: n - len(above)]])
