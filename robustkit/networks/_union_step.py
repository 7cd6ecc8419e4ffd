"""Training steps of sparse networks, without autograd: of one, or of many at once."""

from itertools import compress

import torch

from robustkit.networks._adam import CompiledAdam, TorchAdam
from robustkit.networks._passes import ENGINES, resolve_engine
from robustkit.networks._recording import Recording
from robustkit.networks._union import Union

__all__ = ["FusedStep", "UnionStep"]


class UnionStep:
    """One step of Adam for many sparse networks that see the same batch.

    The graphs lie side by side as one. All sources are fed by one matrix product, all
    edges are passed in one call, all weights are changed in one. Nothing flows from
    one network to another: each is changed as if it were trained alone.

    The weights live in here; `store` brings them back.

    Parameters
    ----------
    modules : sequence of SparseNetwork
        With equally many features and outputs, on one device, in one precision.

    lr : float, default=1e-3
        Learning rate.

    weight_decay : float, default=0.0
        L2 penalty, as torch.optim.Adam defines it.

    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes.

    engine : {"auto", "compiled", "sparse"}, default="auto"
        As in `SparseNetwork`.
    """

    def __init__(
        self, modules, *, lr=1e-3, weight_decay=0.0, label_smoothing=0.0, engine="auto"
    ):
        self.modules = list(modules)
        self.label_smoothing = label_smoothing
        device = self.modules[0].bias.device
        engine = resolve_engine(engine, device)
        self._union = Union(self.modules, by_layer=engine == "sparse")
        self._passes = ENGINES[engine](self._union.wiring, device)
        self._weight = self._union.join(
            [_tensors_of(module) for module in self.modules]
        )
        self._gradient = torch.zeros_like(self._weight)
        self._weights = self._union.see(self._weight)
        self._gradients = self._union.see(self._gradient)
        kind = CompiledAdam if engine == "compiled" else TorchAdam
        self._adam = kind(
            self._weight, self._gradient, lr=lr, weight_decay=weight_decay
        )
        self._run = Recording(self._descend) if device.type == "cuda" else self._descend

    @torch.no_grad()
    def step(self, inputs, targets):
        """Change the weights of every network once.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_samples, n_features)
            One batch.

        targets : torch.Tensor of shape (n_samples,)
            Index of each sample's class.

        Returns
        -------
        losses : torch.Tensor of shape (n_networks,)
            Means over the batch, before the weights changed.
        """
        return self._run(inputs, targets)

    def _descend(self, inputs, targets):
        input_weight, bias, weight = self._weights
        of_input, of_bias, of_weight = self._gradients
        n_sources = len(input_weight)
        rows = inputs.new_empty(len(bias), len(inputs))
        torch.mm(input_weight, inputs.t(), out=rows[:n_sources])
        losses, gradient = self._passes.find_gradients(
            weight,
            bias,
            rows,
            targets,
            self.label_smoothing,
            len(self.modules),
            of_weight,
            of_bias,
        )
        torch.mm(gradient[:n_sources], inputs, out=of_input)
        self._adam.step()
        return losses

    @torch.no_grad()
    def store(self):
        """Bring the weights back into the modules."""
        for module, tensors in zip(
            self.modules, self._union.split(self._weight), strict=True
        ):
            for parameter, tensor in zip(module.parameters(), tensors, strict=True):
                parameter.copy_(tensor)

    def state_dicts(self):
        """Return what Adam remembers of each network, as `AutogradStep` does.

        Returns
        -------
        states : list of dict
            For each network, and each of its parameters by number, "step", "exp_avg"
            and "exp_avg_sq".
        """
        moments = zip(
            self._union.split(self._adam.mean),
            self._union.split(self._adam.square),
            strict=True,
        )
        return [
            {
                i: {
                    "step": self._adam.count.clone(),
                    "exp_avg": mean.clone(),
                    "exp_avg_sq": square.clone(),
                }
                for i, (mean, square) in enumerate(zip(*of_one, strict=True))
            }
            for of_one in moments
        ]


class FusedStep(UnionStep):
    """One step of Adam for one sparse network, much faster than autograd's.

    It does what `AutogradStep` does, up to rounding, and the two may take turns: what
    one remembers the other can load. The parameters of the module become views of one
    vector, and are thus always those of the last step.

    Parameters
    ----------
    module : SparseNetwork
        What is trained. Parameters that require no gradient stay as they are.

    lr : float, default=1e-3
        Learning rate.

    weight_decay : float, default=0.0
        L2 penalty, as torch.optim.Adam defines it.

    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes.

    engine : {"auto", "compiled", "sparse"}, default="auto"
        As in `SparseNetwork`.
    """

    def __init__(self, module, **settings):
        super().__init__([module], **settings)
        self.module = module
        self._parameters = list(module.parameters())
        vectors = (self._weight, self._adam.mean, self._adam.square)
        self._views, self._means, self._squares = (
            self._union.split(vector)[0] for vector in vectors
        )
        self._take_over()

    def _take_over(self):
        """Make the parameters views of the vector, which takes their values."""
        for parameter, view in zip(self._parameters, self._views, strict=True):
            view.copy_(parameter.detach())
            parameter.data = view

    def step(self, inputs, targets):
        """Change the weights once.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_samples, n_features)
            One batch.

        targets : torch.Tensor of shape (n_samples,)
            Index of each sample's class.

        Returns
        -------
        loss : torch.Tensor of shape ()
            Mean over the batch, before the weights changed.
        """
        pairs = zip(self._parameters, self._views, strict=True)
        if any(p.data_ptr() != view.data_ptr() for p, view in pairs):
            # Someone gave them other memory, such as another step.
            self._take_over()
        frozen = [not parameter.requires_grad for parameter in self._parameters]
        kept = [
            (tensor, tensor.clone())
            for tensors in (self._views, self._means, self._squares)
            for tensor in compress(tensors, frozen)
        ]
        loss = super().step(inputs, targets)[0]
        for tensor, value in kept:
            tensor.copy_(value)
        return loss

    def state_dict(self):
        """Return what Adam remembers, so that a later step can go on.

        Returns
        -------
        state : dict
            For each parameter by number, "step", "exp_avg" and "exp_avg_sq".
        """
        return self.state_dicts()[0]

    @torch.no_grad()
    def load_state_dict(self, state):
        """Go on from what an earlier step remembered, with the settings of this one.

        Parameters
        ----------
        state : dict
            As `state_dict` returns it; parameters that it lacks begin anew.
        """
        for i, of_one in state.items():
            self._means[i].copy_(of_one["exp_avg"])
            self._squares[i].copy_(of_one["exp_avg_sq"])
            self._adam.count.copy_(of_one["step"])


def _tensors_of(module):
    return [parameter.detach() for parameter in module.parameters()]
