"""Many sparse networks as one module: a batch holds rows of each of them."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustkit._tensors import as_array
from robustkit.networks._sparse_network import SparseNetwork
from robustkit.networks.engines import Union, make_engine, resolve_engine

__all__ = ["NetworkUnion", "of_rows"]


class NetworkUnion(nn.Module):
    """The networks side by side as one graph; each row of a batch goes through one.

    The rows stand network by network: first those of the first network. `take` makes
    the union for some of the rows, as whoever leaves rows out has to do. All unions
    made so share the weights.

    A row's logits and its gradient are those of its own network, up to rounding. The
    parameters get no gradient, and no gradient can be differentiated again.

    Parameters
    ----------
    modules : sequence of SparseNetwork
        With the same number of features and outputs, device and precision. Their
        weights are copied.

    counts : sequence of int
        How many rows of a batch each network has.

    engine : {"auto", "compiled", "sparse"}, default="auto"
        As in `SparseNetwork`.

    Attributes
    ----------
    vector : torch.Tensor of shape (n_weights,)
        All weights, in the order of `places`.

    counts : list of int
        Rows of each network.
    """

    def __init__(
        self,
        modules: Iterable[SparseNetwork],
        counts: Sequence[int] | None = None,
        *,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        networks = list(modules)
        first, device = networks[0], networks[0].bias.device
        structures = [network.structure for network in networks]
        self.engine = make_engine(engine, structures, first.n_outputs, device)
        self.places = Union(networks, self.engine.wiring)
        vector = self.places.join(
            [[w.detach() for w in network.parameters()] for network in networks]
        )
        # No parameter: no gradient is asked for.
        self.register_buffer("vector", vector, persistent=False)
        self.n_networks, self.n_outputs = len(networks), first.n_outputs
        # The loops over the networks are short where nobody launches kernels.
        self._loops = resolve_engine(engine, device) == "compiled"
        n_sources = [len(graph.sources) for graph in structures]
        self._sources = [slice(*ends) for ends in pairwise(_ends(n_sources))]
        self._most_sources = max(n_sources)
        graph_of_row = np.empty(self.engine.wiring.n_rows, dtype=np.intp)
        for k, rows in enumerate(self.engine.wiring.rows):
            graph_of_row[rows] = k
        self._graph_of_row = graph_of_row
        self._see(counts or [1] * self.n_networks)

    vector: Tensor

    def _see(self, counts: Sequence[int]) -> None:
        """Find where the rows of each network are, with so many of each."""
        self.counts = list(counts)
        self._ends = _ends(self.counts)
        self._width = max(self.counts)
        self._is_even = min(self.counts) == self._width
        self._widths = np.asarray(self.counts)[self._graph_of_row]

    def with_counts(self, counts: Sequence[int]) -> Self:
        """Return the union for a batch with so many rows of each network."""
        twin = object.__new__(type(self))
        twin.__dict__ = self.__dict__.copy()
        twin._see(counts)
        return twin

    def take(self, rows: slice | NDArray | Tensor) -> Self:
        """Return the union for some rows of its batch, in ascending order."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(self._ends[-1]))
        places = as_array(rows) if torch.is_tensor(rows) else np.asarray(rows)
        return self.with_counts(np.diff(np.searchsorted(places, self._ends)).tolist())

    def output_biases(self) -> Tensor:
        """Return the biases of the outputs, a row for each network."""
        bias = self.places.see(self.vector)[1]
        return bias[self.engine.wiring.n_hidden :].view(self.n_networks, -1)

    def owners(self) -> NDArray:
        """Return the number of the network of each row."""
        return np.repeat(np.arange(self.n_networks), self.counts)

    def slices(self) -> list[slice]:
        """Return the rows of each network."""
        return [slice(*ends) for ends in pairwise(self._ends)]

    def padded(self, multiple: int) -> tuple[Self, Tensor, Tensor]:
        """Repeat the last row of each network, up to a multiple of some number.

        Returns the union for the longer batch, which row each of its rows is, and the
        places that the rows have in it.
        """
        counts = [n + -n % multiple for n in self.counts]
        starts = _ends(counts)
        index = np.empty(starts[-1], dtype=np.int64)
        real = np.empty(self._ends[-1], dtype=np.int64)
        for begin, rows in zip(starts, self.slices(), strict=False):
            n = rows.stop - rows.start
            here = np.arange(rows.start, rows.stop)
            index[begin : begin + n + -n % multiple] = rows.stop - 1
            index[begin : begin + n] = here
            real[rows] = begin + here - rows.start
        places = torch.from_numpy(index), torch.from_numpy(real)
        return self.with_counts(counts), *places

    def forward(self, X: Tensor) -> Tensor:
        """Compute the outputs.

        Parameters
        ----------
        X : torch.Tensor of shape (n_rows, n_features)
            Samples, network by network.

        Returns
        -------
        outputs : torch.Tensor of shape (n_rows, n_outputs)
            Logits, for classifiers.
        """
        if X.ndim != 2 or len(X) != self._ends[-1]:
            raise ValueError(
                f"X must have {self._ends[-1]} rows, those of each network one after "
                f"the other. Got shape {tuple(X.shape)}."
            )
        return _Pass.apply(X, self)

    def drive(self, X: Tensor, out: Tensor) -> None:
        """Write what the input feeds the sources, a column for a row of X."""
        input_weight = self.places.see(self.vector)[0]
        if self._loops:
            for sources, rows in zip(self._sources, self.slices(), strict=True):
                n = rows.stop - rows.start
                if n:
                    torch.mm(input_weight[sources], X[rows].t(), out=out[sources, :n])
            return
        # One product of matrices that are all as large as the largest.
        blocks = torch.bmm(self._blocks(input_weight), self._spread(X).mT)
        for k, sources in enumerate(self._sources):
            out[sources] = blocks[k, : sources.stop - sources.start]

    def pull(self, gradient: Tensor, like: Tensor) -> Tensor:
        """Compute the gradient of X from that of the sources."""
        input_weight, out = self.places.see(self.vector)[0], torch.empty_like(like)
        if self._loops:
            for sources, rows in zip(self._sources, self.slices(), strict=True):
                n = rows.stop - rows.start
                if n:
                    of_sources = gradient[sources, :n].t()
                    torch.mm(of_sources, input_weight[sources], out=out[rows])
            return out
        blocks = torch.bmm(self._blocks(gradient).mT, self._blocks(input_weight))
        return self._gather(blocks)

    def pull_weights(self, gradient: Tensor, X: Tensor, out: Tensor) -> None:
        """Write the gradient of the input weights."""
        for sources, rows in zip(self._sources, self.slices(), strict=True):
            n = rows.stop - rows.start
            torch.mm(gradient[sources, :n], X[rows], out=out[sources])

    def propagate(self, X: Tensor) -> Tensor:
        """Carry X through all graphs: activations, and the outputs before any ReLU."""
        _, bias, weight = self.places.see(self.vector)
        # What is read beyond a network's own width is never used, but must be finite.
        new = X.new_empty if self._is_even or self._loops else X.new_zeros
        rows = new(len(bias), self._width)
        self.drive(X, rows[: self._sources[-1].stop])
        self.engine.forward(weight, bias, rows, rows, self._widths)
        return rows

    def _blocks(self, rows: Tensor) -> Tensor:
        """Turn rows of the sources into a block for each network, of one height."""
        blocks = rows.new_zeros(self.n_networks, self._most_sources, rows.shape[1])
        for k, sources in enumerate(self._sources):
            blocks[k, : sources.stop - sources.start] = rows[sources]
        return blocks

    def _spread(self, X: Tensor) -> Tensor:
        """Turn the rows of a batch into a block for each network, of one height."""
        shape = self.n_networks, self._width, X.shape[1]
        if self._is_even:
            return X.view(shape)
        blocks = X.new_zeros(shape)
        blocks.view(-1, X.shape[1])[self._place(X.device)] = X
        return blocks

    def _gather(self, blocks: Tensor) -> Tensor:
        """Turn blocks into the rows of the batch."""
        flat = blocks.reshape(-1, blocks.shape[2])
        return flat if self._is_even else flat[self._place(flat.device)]

    def _place(self, device: Any) -> Tensor:
        """Return the place of each row among the rows of all blocks."""
        within = [np.arange(n) + k * self._width for k, n in enumerate(self.counts)]
        return torch.from_numpy(np.concatenate(within)).to(device)

    def outputs_of(self, rows: Tensor) -> Tensor:
        """Turn the last rows of a buffer into those of the batch."""
        blocks = rows[self.engine.wiring.n_hidden :]
        return self._gather(blocks.view(self.n_networks, self.n_outputs, -1).mT)

    def spread_outputs(self, gradient: Tensor) -> Tensor:
        """Write a gradient of the outputs into a buffer that is zero elsewhere."""
        wiring = self.engine.wiring
        rows = gradient.new_zeros(wiring.n_rows, self._width)
        rows[wiring.n_hidden :] = self._spread(gradient).mT.reshape(-1, self._width)
        return rows


class _Pass(torch.autograd.Function):
    """From the input of a union to its outputs."""

    @staticmethod
    def forward(ctx, X, union):
        rows = union.propagate(X.detach())
        ctx.save_for_backward(X, rows)
        ctx.union = union
        return union.outputs_of(rows).clone()

    @staticmethod
    def backward(ctx, *gradients):
        if torch.is_grad_enabled():
            raise RuntimeError("The gradient of a NetworkUnion has no gradient.")
        X, rows = ctx.saved_tensors
        union = ctx.union
        gradient = union.spread_outputs(gradients[0].contiguous())
        weight = union.places.see(union.vector)[2]
        union.engine.backward(weight, rows, gradient, union._widths)
        return union.pull(gradient[: union._sources[-1].stop], X), None


def _ends(sizes: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(sizes).tolist()]


def of_rows(module: nn.Module, rows: Any) -> nn.Module:
    """Return the module for some rows of its batch.

    A union has to know whose rows are left; any other module is itself.
    """
    return module.take(rows) if isinstance(module, NetworkUnion) else module
