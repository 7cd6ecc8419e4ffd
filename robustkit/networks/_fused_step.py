"""Fast training steps: of a perceptron, of one sparse network, of many, or on CUDA.

`AutogradStep` in `_training.py` does the same for any module, and more slowly.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustkit._validation import caller_depth
from robustkit.networks._architectures import ResidualBlock, ToImages
from robustkit.networks._network_union import NetworkUnion
from robustkit.networks._parts import (
    MaskedLinear,
    has_gradient_hooks,
    is_plain,
    leaves,
    what_is_odd,
)
from robustkit.networks._sparse_network import SparseNetwork
from robustkit.networks._training import AutogradStep

__all__ = [
    "FusedStep",
    "PerceptronStep",
    "RecordedStep",
    "UnionStep",
    "why_not_recorded",
]

# Shapes of batches that are recorded, or have buffers: the usual one, the last one,
# and as many again.
_MOST_RECORDS = 4

# Samples of a batch whose activations stay in the cache of a CPU; with fewer, the
# products of matrices become slow.
_SAMPLES_AT_ONCE = 1024

# What the compiled engine computes in.
_PRECISIONS = (torch.float32, torch.float64)

_relu_backward = torch.ops.aten.threshold_backward.default


class PerceptronStep(AutogradStep):
    """One step of Adam for a perceptron on the CPU, without the overhead of autograd.

    It calls the functions that autograd would call, in the same order, and so gives the
    same weights, to the bit. With few samples and units it takes a third of the time.

    The settings are those of `AutogradStep`. `suits` says whether it can be used.
    """

    def __init__(self, module: nn.Module, **settings: Any) -> None:
        super().__init__(module, **settings)
        self._parameters = list(module.parameters())
        # Of Adam: means, squares, and the number of steps for each parameter.
        self._moments: tuple[list[Tensor], ...] = ()

    @staticmethod
    def suits(
        module: nn.Module,
        *,
        optimizer: Any = "adam",
        label_smoothing: float = 0.0,
        regularizer: Any = None,
        **_: Any,
    ) -> bool:
        """Whether it can train this module with these settings of `AutogradStep`."""
        if optimizer != "adam" or label_smoothing or regularizer is not None:
            return False
        parts = list(leaves(module))
        if parts and is_plain(parts[0], nn.Flatten) and parts[0].start_dim == 1:
            parts = parts[1:]
        linear, between = parts[::2], parts[1::2]
        if not all(is_plain(part, nn.Linear) for part in linear):
            return False
        own = [weight for part in linear for weight in (part.weight, part.bias)]
        weights = list(module.parameters())
        return (
            len(linear) == len(between) + 1
            and all(is_plain(part, nn.ReLU) for part in between)
            # Weights that are used twice have two gradients, and are listed once.
            and list(map(id, own)) == list(map(id, weights))
            and all(weight.device.type == "cpu" for weight in weights)
            and not has_gradient_hooks(module)
        )

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Change the weights once; return the mean loss of the batch before that."""
        is_usual = (
            inputs.ndim == 2
            and all(weight.requires_grad for weight in self._parameters)
            and not torch.is_autocast_enabled("cpu")
        )
        if not is_usual or not self.optimizer.state:
            # The first step makes the moments of Adam, too.
            self._write_counts()
            self._moments = ()
            return super().step(inputs, targets)
        with torch.no_grad():
            loss, gradients = self._gradients(inputs, targets)
            self._descend(gradients)
        return loss

    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, list]:
        """Compute the loss, and its gradients in the order of the parameters."""
        weights, biases = self._parameters[::2], self._parameters[1::2]
        activations = [inputs]
        for weight, bias in zip(weights[:-1], biases, strict=False):
            rows = functional.linear(activations[-1], weight, bias)
            activations.append(torch.relu(rows))
        logits = functional.linear(activations[-1], weights[-1], biases[-1])
        logs = torch.log_softmax(logits, 1)
        loss = functional.nll_loss(logs, targets)
        gradient = torch.zeros_like(logs)
        gradient.scatter_(1, targets[:, None], -1 / len(targets))
        gradient = torch._log_softmax_backward_data(gradient, logs, 1, logs.dtype)
        gradients: list[Tensor] = []
        for i in range(len(weights) - 1, -1, -1):
            gradients[:0] = gradient.t().mm(activations[i]), gradient.sum(0)
            if i:
                gradient = _relu_backward(gradient.mm(weights[i]), activations[i], 0)
        return loss, gradients

    def _descend(self, gradients: list[Tensor]) -> None:
        if not self._moments:
            self._find_moments()
        means, squares, counts = self._moments
        for count in counts[: 1 if counts[-1] is counts[0] else None]:
            count += 1
        group: dict[str, Any] = self.optimizer.param_groups[0]
        descend: Any = torch._fused_adam_
        descend(
            self._parameters,
            gradients,
            means,
            squares,
            [],
            counts,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _find_moments(self) -> None:
        states = [self.optimizer.state[weight] for weight in self._parameters]
        means, squares, counts = (
            [state[name] for state in states]
            for name in ("exp_avg", "exp_avg_sq", "step")
        )
        if len({count.item() for count in counts}) == 1:
            # They remain equal, unless some weights are frozen: one is enough.
            counts = counts[:1] * len(counts)
        self._moments = means, squares, counts

    def _write_counts(self) -> None:
        """Give the optimizer the numbers of steps that were counted here."""
        counts = self._moments[2] if self._moments else []
        for weight, count in zip(self._parameters, counts, strict=False):
            self.optimizer.state[weight]["step"].copy_(count)

    def state_dict(self) -> dict:
        """Return the state of the optimizer, from which a later step can continue."""
        self._write_counts()
        return super().state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Continue from the state of an earlier step, with the settings of this one."""
        super().load_state_dict(state)
        self._moments = ()


class UnionStep:
    """One step of Adam for many sparse networks that see the same samples.

    The graphs are put side by side as one: one matrix product feeds all sources, one
    call passes all edges, one call changes all weights. Nothing flows from one network
    to another: each is changed as if it were trained alone.

    The step holds the weights; `store` writes them back into the modules.

    Parameters
    ----------
    modules : sequence of SparseNetwork
        With the same number of features and outputs, device and precision.

    lr : float, default=1e-3
        Learning rate.

    weight_decay : float, default=0.0
        L2 penalty, as torch.optim.Adam defines it.

    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes.

    regularizers : sequence of (object or None), default=()
        One for each network, whose ``penalty(module, X, y)`` is added to its loss.

    engine : {"auto", "compiled", "sparse"}, default="auto"
        As in `SparseNetwork`.

    Attributes
    ----------
    network : NetworkUnion
        The networks as one module, with the weights as they are now.
    """

    def __init__(
        self,
        modules: Iterable[SparseNetwork],
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        regularizers: Sequence[Any] = (),
        engine: str = "auto",
    ) -> None:
        self.modules = list(modules)
        self.label_smoothing, self._regularizers = label_smoothing, regularizers
        self.network = NetworkUnion(self.modules, engine=engine)
        self._engine_asked_for = engine
        self._engine, self._union = self.network.engine, self.network.places
        self._weight, device = self.network.vector, self.modules[0].bias.device
        self._gradient = torch.zeros_like(self._weight)
        self._weights = self._union.see(self._weight)
        self._gradients = self._union.see(self._gradient)
        self._adam = self._engine.adam(
            self._weight, self._gradient, lr=lr, weight_decay=weight_decay
        )
        # A penalty is not ours to record.
        is_cuda = device.type == "cuda" and not regularizers
        self._run = _CUDAGraph(self._descend) if is_cuda else self._descend
        # Number of samples -> what a step writes. On a GPU memory is not worth keeping.
        self._kept: dict[int, tuple[Tensor, ...]] | None = (
            {} if device.type == "cpu" else None
        )

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Change the weights of every network once.

        `inputs` are of shape (n_samples, n_features), or (n_networks, n_samples,
        n_features) if each network has its own of these samples. Returns the mean loss
        of each network over the batch, before the change.
        """
        with torch.no_grad():
            return self._run(inputs, targets)

    def _descend(self, inputs: Tensor, targets: Tensor) -> Tensor:
        losses = self._find_gradients(inputs, targets)
        if self._regularizers:
            self._descend_with_penalties(inputs, targets, losses)
        else:
            self._adam.step()
        return losses

    def _find_gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Write the gradients of a batch; return the mean loss of each network.

        On a CPU a large batch goes through part by part, so that the activations of a
        part stay in the cache from the way forth to the way back.
        """
        n_samples = len(targets)
        n_parts = ceil(n_samples / _SAMPLES_AT_ONCE)
        if n_parts <= 1 or inputs.ndim != 2 or inputs.device.type != "cpu":
            return self._write_gradients(inputs, targets)
        gradient = torch.zeros_like(self._gradient)
        losses = gradient.new_zeros(len(self.modules))
        parts = inputs.tensor_split(n_parts), targets.tensor_split(n_parts)
        for some, their_targets in zip(*parts, strict=True):
            share = len(their_targets) / n_samples
            losses += share * self._write_gradients(some, their_targets)
            gradient.add_(self._gradient, alpha=share)
        self._gradient.copy_(gradient)
        return losses

    def _write_gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        input_weight, bias, weight = self._weights
        of_input, of_bias, of_weight = self._gradients
        rows, gradient, drive, of_drive = self._buffers(targets.shape[0])
        if inputs.ndim == 2:
            torch.mm(input_weight, inputs.t(), out=drive)
        else:
            union = self.network.with_counts([len(targets)] * len(self.modules))
            union.drive(inputs.flatten(0, 1), drive)
        losses, _ = self._engine.find_gradients(
            weight,
            bias,
            rows,
            targets,
            label_smoothing=self.label_smoothing,
            n_graphs=len(self.modules),
            out=(of_weight, of_bias),
            gradient=gradient,
        )
        if inputs.ndim == 2:
            torch.mm(of_drive, inputs, out=of_input)
        else:
            union.pull_weights(of_drive, inputs.flatten(0, 1), of_input)
        return losses

    def _buffers(self, n_samples: int) -> tuple[Tensor, ...]:
        """Return memory for the rows and their gradient, and the part of the sources.

        Where a step takes microseconds, so does making them anew.
        """
        kept = {} if self._kept is None else self._kept
        if n_samples not in kept:
            if len(kept) >= _MOST_RECORDS:
                kept.clear()
            input_weight, bias, _ = self._weights
            rows = bias.new_empty(bias.shape[0], n_samples)
            gradient = torch.empty_like(rows)
            n_sources = input_weight.shape[0]
            parts = rows[:n_sources], gradient[:n_sources]
            kept[n_samples] = rows, gradient, *parts
        return kept[n_samples]

    def _descend_with_penalties(self, inputs, targets, losses):
        """Add the gradients of the penalties; leave weights that are frozen alone."""
        self.store()
        frozen = []
        for i, module in enumerate(self.modules):
            places, weights = self._union.places(i), list(module.parameters())
            pairs = list(zip(places, weights, strict=True))
            frozen += [place for place, w in pairs if not w.requires_grad]
            if self._regularizers[i] is None:
                continue
            own = inputs if inputs.ndim == 2 else inputs[i]
            with torch.enable_grad():
                penalty = self._regularizers[i].penalty(module, own, targets)
            losses[i] += penalty.detach()
            if not penalty.requires_grad:
                continue
            pairs = [(place, w) for place, w in pairs if w.requires_grad]
            gradients = torch.autograd.grad(
                penalty, [w for _, w in pairs], allow_unused=True
            )
            for (place, _), gradient in zip(pairs, gradients, strict=True):
                if gradient is not None:
                    self._gradient[place] += gradient.flatten()
        vectors = self._weight, self._adam.mean, self._adam.square
        kept = [[vector[place].clone() for place in frozen] for vector in vectors]
        self._adam.step()
        for vector, values in zip(vectors, kept, strict=True):
            for place, value in zip(frozen, values, strict=True):
                vector[place] = value

    def __reduce__(self) -> tuple:
        # What Adam and the engine compute with are views of a few vectors, which a
        # copy of each would be no longer: a copy is made anew, and goes on from here.
        settings = {
            "lr": self._adam.lr,
            "weight_decay": self._adam.weight_decay,
            "label_smoothing": self.label_smoothing,
            "regularizers": self._regularizers,
            "engine": self._engine_asked_for,
        }
        kept = [tensor.clone() for tensor in self._memory()]
        return _made_again, (type(self), self._trained(), settings, kept)

    def _memory(self) -> tuple[Tensor, ...]:
        """Return what one step leaves to the next."""
        return self._weight, self._adam.mean, self._adam.square, self._adam.count

    def _trained(self) -> Any:
        """Return what the step is made of, besides its settings."""
        return self.modules

    @torch.no_grad()
    def store(self) -> None:
        """Write the weights back into the modules."""
        for module, tensors in zip(
            self.modules, self._union.split(self._weight), strict=True
        ):
            for parameter, tensor in zip(module.parameters(), tensors, strict=True):
                parameter.copy_(tensor)

    def weights(self) -> list[list[Tensor]]:
        """Return copies of the parameters of each network, in their order."""
        return [
            [tensor.clone() for tensor in of_one]
            for of_one in self._union.split(self._weight)
        ]

    def state_dicts(self) -> list[dict[int, dict[str, Tensor]]]:
        """Return the state of Adam for each network, as `AutogradStep` does.

        For each of its parameters by number, that is "step", "exp_avg" and
        "exp_avg_sq".
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


@torch.no_grad()
def _made_again(kind, trained, settings, kept):
    """Make a step that goes on as the one did that was copied or pickled."""
    step = kind(trained, **settings)
    for tensor, value in zip(step._memory(), kept, strict=True):
        tensor.copy_(value)
    return step


class FusedStep(UnionStep):
    """One step of Adam for one sparse network, much faster than autograd's.

    It does what `AutogradStep` does, up to rounding, and the two may take turns: each
    can load the state of the other. The parameters of the module become views of one
    vector, and are thus always those of the last step. One that requires no gradient
    stays as it is.

    The settings are those of `UnionStep`. `suits` says whether it can be used.
    """

    def __init__(self, module: SparseNetwork, **settings: Any) -> None:
        super().__init__([module], **settings)
        self.module = module
        self._parameters = list(module.parameters())
        vectors = (self._weight, self._adam.mean, self._adam.square)
        self._views, self._means, self._squares = (
            self._union.split(vector)[0] for vector in vectors
        )
        self._places = [view.data_ptr() for view in self._views]
        self._take_over()

    @staticmethod
    def suits(module: nn.Module, *, regularizer: Any = None, **_: Any) -> bool:
        """Whether it can train this module with these settings of `AutogradStep`."""
        weights = list(module.parameters())
        return (
            regularizer is None
            and is_plain(module, SparseNetwork)
            and all(weight.device.type == "cpu" for weight in weights)
            and all(weight.dtype in _PRECISIONS for weight in weights)
            and not has_gradient_hooks(module)
        )

    def _trained(self) -> SparseNetwork:
        return self.module

    def _memory(self) -> tuple[Tensor, ...]:
        # The weights are those of the module.
        return super()._memory()[1:]

    def _take_over(self) -> None:
        """Make the parameters views of the vector, which takes their values."""
        for parameter, view in zip(self._parameters, self._views, strict=True):
            view.copy_(parameter.detach())
            parameter.data = view

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Change the weights once; return the mean loss of the batch before that."""
        if [parameter.data_ptr() for parameter in self._parameters] != self._places:
            # Something gave them other memory, such as another step.
            self._take_over()
        frozen = [not parameter.requires_grad for parameter in self._parameters]
        if True not in frozen and not inputs.requires_grad:
            # Nothing here has a gradient: to say so again takes microseconds.
            return self._descend(inputs, targets)[0]
        kept = [
            (tensor, tensor.clone())
            for tensors in (self._views, self._means, self._squares)
            for tensor in compress(tensors, frozen)
        ]
        loss = super().step(inputs, targets)[0]
        for tensor, value in kept:
            tensor.copy_(value)
        return loss

    def state_dict(self) -> dict[int, dict[str, Tensor]]:
        """Return the state of Adam, from which a later step can continue."""
        return self.state_dicts()[0]

    @torch.no_grad()
    def load_state_dict(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Continue from the state of an earlier step, with the settings of this one.

        Parameters that the state lacks begin anew.
        """
        for i, of_one in state.items():
            self._means[i].copy_(of_one["exp_avg"])
            self._squares[i].copy_(of_one["exp_avg_sq"])
            self._adam.count.copy_(of_one["step"])


class RecordedStep(AutogradStep):
    """The step of `AutogradStep` on CUDA, whose kernels are launched as one graph.

    The first steps with samples of some shape run as they are, on a stream beside the
    current one, as CUDA asks for; the next is recorded, and from then on replayed. What
    the step gives is the same. Where CUDA refuses to record, it says why and the steps
    go on as they are.

    The settings are those of `AutogradStep`. `suits` says whether it can be used.
    """

    def __init__(self, module: nn.Module, **settings: Any) -> None:
        super().__init__(module, **settings)
        self._parameters = list(module.parameters())
        self._device = self._parameters[0].device
        self._run = _CUDAGraph(
            self._step_recorded, first=self._step_beside, begin=self._forget_gradients
        )

    @staticmethod
    def suits(module: nn.Module, *, regularizer: Any = None, **_: Any) -> bool:
        """Whether it can train this module with these settings of `AutogradStep`."""
        return next(module.parameters(), torch.empty(0)).is_cuda and (
            why_not_recorded(module, regularizer) is None
        )

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Change the weights once; return the mean loss of the batch before that."""
        # A recording reads and writes these very weights, in this very mode.
        situation = (
            self.module.training,
            torch.is_autocast_enabled(self._device.type),
            *((w.data_ptr(), w.requires_grad) for w in self._parameters),
        )
        return self._run(inputs, targets, situation=situation)

    def _step_beside(self, inputs: Tensor, targets: Tensor) -> Tensor:
        beside = torch.cuda.Stream(self._device)
        beside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(beside):
            loss = super().step(inputs, targets)
        torch.cuda.current_stream(self._device).wait_stream(beside)
        return loss

    def _step_recorded(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return super().step(inputs, targets)

    def _forget_gradients(self) -> None:
        """Have the gradients made anew in the memory of the recording."""
        self.optimizer.zero_grad(set_to_none=True)

    def load_state_dict(self, state: dict) -> None:
        """Continue from the state of an earlier step, with the settings of this one."""
        super().load_state_dict(state)
        self._run.forget()


# Parts whose forward does the same at every call, and asks for no number.
_REPEATABLE = (
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.Conv2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.ELU,
    nn.Flatten,
    nn.GELU,
    nn.Identity,
    nn.LayerNorm,
    nn.LeakyReLU,
    nn.Linear,
    nn.MaxPool2d,
    nn.ReLU,
    nn.Sequential,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
    MaskedLinear,
    SparseNetwork,
    ToImages,
    ResidualBlock,
)


def why_not_recorded(module: nn.Module, regularizer: Any = None) -> str | None:
    """Say why the steps of a training are not recorded as a CUDA graph, or None.

    A recording repeats its kernels and runs no Python: a part that is not known may
    decide something anew at every call.
    """
    if regularizer is not None:
        return f"{type(regularizer).__name__} may do something else at every step"
    if has_gradient_hooks(module):
        return "a hook is called with its gradients"
    for name, part in module.named_modules():
        if type(part) not in _REPEATABLE:
            where = f" of '{name}'" if name else ""
            return f"the forward of {type(part).__name__}{where} is not known"
        if (odd := what_is_odd(part)) is not None:
            return f"'{name}' has {odd}"
    return None


class _CUDAGraph:
    """A function of CUDA tensors whose kernels are launched as one CUDA graph.

    The first call with tensors of some shapes runs the function as it is, which loads
    the libraries that it uses; the second one records it. Where that fails, the reason
    is given in a warning, and all calls run the function as it is.

    All else that the function reads and writes must stay where it is, in a `situation`.

    Parameters
    ----------
    function : callable
        Of tensors; returns one.

    first : callable, default=None
        What runs the function as it is, if not itself.

    begin : callable, default=None
        Called before the function is recorded.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        *,
        first: Callable[..., Tensor] | None = None,
        begin: Callable[[], None] | None = None,
    ) -> None:
        self.function, self.begin = function, begin
        self.as_it_is = function if first is None else first
        self.reason: str | None = None
        self.forget()

    def forget(self) -> None:
        """Record anew: something is no longer where it was."""
        self._records: dict[tuple, Any] = {}

    def __call__(self, *inputs: Tensor, situation: tuple = ()) -> Tensor:
        key = *((tensor.shape, tensor.dtype) for tensor in inputs), *situation
        if self.reason is not None or (
            # So many shapes come once each: their memory would never be used again.
            key not in self._records and len(self._records) >= _MOST_RECORDS
        ):
            return self.as_it_is(*inputs)
        if key not in self._records:
            self._records[key] = None
            return self.as_it_is(*inputs)
        if self._records[key] is None:
            try:
                self._records[key] = self._record(inputs)
            except RuntimeError as error:
                self._give_up(error)
                return self.as_it_is(*inputs)
        graph, kept, result = self._records[key]
        for tensor, given in zip(kept, inputs, strict=True):
            tensor.copy_(given)
        graph.replay()
        return result.clone()

    def _record(self, inputs):
        kept = [tensor.clone() for tensor in inputs]
        if self.begin is not None:
            self.begin()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            # Nothing runs here: the kernels are recorded.
            result = self.function(*kept)
        return graph, kept, result

    def _give_up(self, error):
        self.reason = next(iter(str(error).splitlines()), type(error).__name__)
        self.forget()
        if self.begin is not None:
            self.begin()
        warnings.warn(
            "The steps of this training could not be recorded as a CUDA graph, and are "
            f"launched one kernel at a time, which is slower. CUDA said: {self.reason}",
            UserWarning,
            stacklevel=caller_depth(),
        )
