"""The one training loop, and the step that works for every module.

A *step* is any object with ``step(inputs, targets)`` that changes the module's weights
once and returns the loss of the batch before that. If it has a method
``epoch_begins(number)``, that is called before every epoch. Engines, attacks and
penalties are passed to the loop as arguments.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustkit._tensors import evaluating, threads_for
from robustkit.networks._sparse_network import SparseNetwork

__all__ = [
    "AutogradStep",
    "Epoch",
    "Plateau",
    "Progress",
    "Schedule",
    "epoch_batches",
    "normalises_batches",
    "perturb_samples",
    "train",
    "train_on_stream",
]


class AutogradStep:
    """One step of gradient descent, for any module on any device.

    Parameters
    ----------
    module : nn.Module
        What is trained. Parameters that require no gradient stay as they are.

    optimizer : {"adam", "sgd"} or callable, default="adam"
        "sgd" has a Nesterov momentum of 0.9. A callable, such as a class of
        torch.optim, is called with the parameters, `lr` and `weight_decay`.

    lr : float, default=0.001
        Learning rate.

    weight_decay : float, default=0.0
        L2 penalty, as torch.optim.Adam defines it.

    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes.

    regularizer : object or None, default=None
        Its ``penalty(module, X, y)`` is added to the loss.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        optimizer: Any = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        regularizer: Any = None,
    ) -> None:
        self.module = module
        self.label_smoothing = label_smoothing
        self.regularizer = regularizer
        self.optimizer = _OPTIMIZERS.get(optimizer, optimizer)(
            list(module.parameters()), lr=lr, weight_decay=weight_decay
        )

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Change the weights once; return the mean loss of the batch before that."""
        # The optimizer skips a parameter without a gradient. With a gradient of zero
        # its momentum would move it.
        self.optimizer.zero_grad(set_to_none=True)
        # A module that writes to its input writes to the batch. It may, unless the
        # regularizer needs the batch, too.
        seen = inputs if self.regularizer is None else inputs.clone()
        loss = functional.cross_entropy(
            self.module(seen), targets, label_smoothing=self.label_smoothing
        )
        if self.regularizer is not None:
            loss = loss + self.regularizer.penalty(self.module, inputs, targets)
        if not loss.requires_grad:
            raise ValueError(
                f"{type(self.module).__name__} must have weights that can be trained. "
                "Got none that its loss has a gradient of: see 'requires_grad'."
            )
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state_dict(self) -> dict:
        """Return the state of the optimizer, from which a later step can continue."""
        return self.optimizer.state_dict()["state"]

    def load_state_dict(self, state: dict) -> None:
        """Continue from the state of an earlier step, with the settings of this one."""
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _adam(parameters, *, lr, weight_decay):
    return torch.optim.Adam(
        parameters,
        lr=lr,
        weight_decay=weight_decay,
        fused=True,
        # So that a step can be part of a CUDA graph.
        capturable=any(parameter.is_cuda for parameter in parameters),
    )


def _sgd(parameters, *, lr, weight_decay):
    return torch.optim.SGD(
        parameters, lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=True
    )


_OPTIMIZERS = {"adam": _adam, "sgd": _sgd}


@dataclass(frozen=True)
class Schedule:
    """How long a training lasts, and which batches it sees."""

    max_epochs: int
    """Passes over the data."""

    batch_size: int
    """Samples per step."""

    generator: torch.Generator
    """Draws the order of the samples. On the CPU it is the same for every device."""

    n_iter_no_change: int = 5
    """Epochs without a better validation score after which the loop stops."""

    n_epochs_before: int = 0
    """Passes that the module has been trained for already."""


@dataclass(frozen=True)
class Epoch:
    """What the loop reports after each pass over the data."""

    number: int
    """Counted from 0."""

    loss: float | list[float]
    """Mean over the samples, each with the weights before its step; a list if the step
    trains several networks."""

    score: float | None = None
    """Accuracy on the validation samples; None without them."""

    has_converged: bool = False
    """Whether that accuracy no longer improves."""


class Plateau:
    """Whether a number that should fall has stopped falling.

    Parameters
    ----------
    patience : int
        Numbers in a row without an improvement after which it has.

    tol : float
        How far below the least number so far one must be to be an improvement. Not a
        number is none.
    """

    def __init__(self, patience: int, tol: float) -> None:
        self.patience, self.tol = patience, tol
        self.least, self.n_stale = float("inf"), 0

    def is_reached(self, value: float) -> bool:
        """Take the next number into account."""
        self.n_stale = 0 if value < self.least - self.tol else self.n_stale + 1
        self.least = min(self.least, value)
        return self.n_stale >= self.patience


class Progress(Protocol):
    """What follows a training: the classifier's record and its callbacks."""

    def epoch_begins(self) -> None:
        """Note that another pass over the data begins."""

    def epoch_ends(self, epoch: Epoch) -> bool | None:
        """Note what came out; true stops the loop."""


def train(
    module: nn.Module,
    X: Tensor,
    y: Tensor,
    *,
    stepper: Any,
    schedule: Schedule,
    adversary: Any = None,
    regularizer: Any = None,
    validation: tuple[Tensor, Tensor] | None = None,
    progress: Progress | None = None,
) -> list[Epoch]:
    """Train a module in place, and leave it in eval mode.

    Parameters
    ----------
    module : nn.Module
        What is trained.

    X : torch.Tensor of shape (n_samples, ...)
        Training samples, on the module's device. Batches are slices of it, so that
        nothing is copied between host and device.

    y : torch.Tensor of shape (n_samples,)
        Index of each sample's class, on the same device.

    stepper : object
        Its ``step(inputs, targets)`` changes the weights and returns the loss.

    schedule : Schedule
        Epochs and batches.

    adversary : object or None, default=None
        Its ``perturb_module(module, X, y)`` is called with each batch, while the module
        is in eval mode, and returns the batch to train on. If it has a method
        ``perturb_batch(module, X, y, *, epoch, batch)``, that is called instead, with
        the numbers of the epoch, those before this training included, and of the batch.

    regularizer : object or None, default=None
        It, or `adversary`, may have a method ``on_epoch_begin(module, X, y, *, epoch,
        max_epochs)``. It is called before each epoch with all training samples, while
        the module is in eval mode. Parameters that it freezes are unfrozen at the end.

    validation : tuple of (torch.Tensor, torch.Tensor) or None, default=None
        Samples and their classes. The weights with the highest accuracy on them are
        kept.

    progress : Progress or None, default=None
        Is told when each epoch begins and ends.

    Returns
    -------
    epochs : list of Epoch
        One for each pass that was made.
    """
    hooks = [h for h in (adversary, regularizer) if hasattr(h, "on_epoch_begin")]
    join_last = normalises_batches(module)

    def draw(number):
        if hooks:
            module.eval()
        for hook in hooks:
            # Copies: samples may share memory with what a user passed to `fit`.
            hook.on_epoch_begin(
                module,
                X.clone(),
                y.clone(),
                epoch=number,
                max_epochs=schedule.max_epochs,
            )
        batches = epoch_batches(
            len(X),
            schedule.batch_size,
            schedule.generator,
            join_last=join_last,
            device=X.device,
        )
        # Labels are small: those of all batches at once.
        labels = y.index_select(0, torch.cat(batches)).split([len(b) for b in batches])
        return (
            (X.index_select(0, batch), targets)
            for batch, targets in zip(batches, labels, strict=True)
        )

    return train_on_stream(
        module,
        draw,
        stepper=stepper,
        schedule=schedule,
        adversary=adversary,
        validation=validation,
        progress=progress,
    )


def train_on_stream(
    module: nn.Module,
    draw_batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    *,
    stepper: Any,
    schedule: Schedule,
    adversary: Any = None,
    validation: tuple[Tensor, Tensor] | None = None,
    progress: Progress | None = None,
) -> list[Epoch]:
    """Train a module on batches that need not be in memory at the same time.

    ``draw_batches(number)`` gives the batches of an epoch: inputs and targets, on the
    module's device. The rest is as in `train`.
    """
    keeper = None
    if validation is not None:
        keeper = _BestWeights(module, *validation, patience=schedule.n_iter_no_change)
    epochs = []
    module.eval()
    with (
        # A caller may have disabled gradients, as for a prediction.
        torch.enable_grad(),
        _unfrozen_at_the_end(module),
        threads_for(module, schedule.batch_size),
    ):
        for number in range(schedule.max_epochs):
            if progress is not None:
                progress.epoch_begins()
            if hasattr(stepper, "epoch_begins"):
                stepper.epoch_begins(number)
            passed = schedule.n_epochs_before + number
            loss = _run_epoch(module, draw_batches(number), stepper, adversary, passed)
            if keeper is None:
                epoch = Epoch(number, loss.tolist())
            else:
                loss, score = _on_host(loss, keeper.accuracy())
                epoch = Epoch(number, loss, score, keeper.update(score))
            epochs.append(epoch)
            stop = progress is not None and progress.epoch_ends(epoch)
            if stop or epoch.has_converged:
                break
    if keeper is not None:
        keeper.restore()
    return epochs


def epoch_batches(
    n_samples: int,
    batch_size: int,
    generator: torch.Generator,
    *,
    join_last: bool = False,
    device: torch.device | None = None,
) -> list[Tensor]:
    """Draw the batches of one pass over the data, as indices of samples on a device.

    The last one holds the remaining samples. With `join_last`, a last batch of one
    sample joins the batch before it.
    """
    order = torch.randperm(n_samples, generator=generator, device=generator.device)
    # Only what is computed from it waits for this copy.
    order = order.to(device, non_blocking=True)
    batches = list(order.split(batch_size))
    if join_last and len(batches) > 1 and len(batches[-1]) == 1 < batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def perturb_samples(
    adversary: Any, module: nn.Module, X: Tensor, y: Tensor, **place: int
) -> Tensor:
    """Have an adversary perturb a batch, and check how many samples it returns.

    Its `perturb_batch` is called with the numbers of the epoch and of the batch, its
    `perturb_module` without. It may return the batch once for each of many networks.
    """
    if hasattr(adversary, "perturb_batch"):
        name, found = "perturb_batch", adversary.perturb_batch(module, X, y, **place)
    else:
        name, found = "perturb_module", adversary.perturb_module(module, X, y)
    if not torch.is_tensor(found):
        got = type(found).__name__
    elif X.shape in (found.shape, found.shape[1:]) or found.shape[:1] == X.shape[:1]:
        return found.detach()
    else:
        got = f"shape {tuple(found.shape)}"
    raise ValueError(
        f"{type(adversary).__name__}.{name} must return a tensor of as many samples as "
        f"it was given, {len(X)}, in their order. Got {got}."
    )


def _run_epoch(
    module: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    stepper: Any,
    adversary: Any,
    epoch: int,
) -> Any:
    """Return the mean loss, a tensor unless it is on the CPU."""
    module.train()
    # Summed on the device: asking a GPU for the number would wait for every step.
    total: Any = 0
    n_samples = 0
    for number, (inputs, targets) in enumerate(batches):
        if adversary is not None:
            place = {"epoch": epoch, "batch": number}
            with evaluating(module):
                inputs = perturb_samples(adversary, module, inputs, targets, **place)
        loss, size = stepper.step(inputs, targets), targets.shape[0]
        # Autocast holds weights in half precision, which are now those of before.
        torch.clear_autocast_cache()
        # For a number or two, numpy is several times faster than torch.
        on_host = loss.device.type == "cpu" and loss.dtype != torch.bfloat16
        mean = loss.numpy().astype(np.float64) if on_host else loss.double()
        total = total + mean * size
        n_samples += size
    module.eval()
    return total / n_samples


def _on_host(loss: Any, accuracy: Tensor) -> tuple[Any, float]:
    """Bring two numbers, or the losses of several networks, in one transfer."""
    if accuracy.device.type == "cpu":
        return loss.tolist(), float(accuracy)
    *losses, score = torch.cat([loss.flatten(), accuracy[None]]).tolist()
    return losses if loss.ndim else losses[0], score


def normalises_batches(module: nn.Module) -> bool:
    """Whether a part of it cannot be trained on a batch of one sample."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    return any(isinstance(part, kind) for part in module.modules())


@contextmanager
def _unfrozen_at_the_end(module: nn.Module) -> Generator[None, None, None]:
    trainable = [(weight, weight.requires_grad) for weight in module.parameters()]
    try:
        yield
    finally:
        module.eval()
        for weight, requires_grad in trainable:
            weight.requires_grad_(requires_grad)


class _BestWeights:
    """Keeps the weights with the highest accuracy on the validation samples."""

    def __init__(
        self,
        module: nn.Module,
        X: Tensor,
        y: Tensor,
        *,
        patience: int,
        batch_size: int = 4096,
    ) -> None:
        self.module = module
        self.samples, self.targets = X.split(batch_size), y.split(batch_size)
        self.plateau = Plateau(patience, tol=0.0)
        self.weights: dict[str, Tensor] = {}
        # Of a network that a step may rewire.
        self.sparse = module if isinstance(module, SparseNetwork) else None
        self.structure: Any = None

    def update(self, score: float) -> bool:
        """Keep the weights if they are the best; tell whether they get no better."""
        has_converged = self.plateau.is_reached(-score)
        if self.plateau.n_stale == 0:
            self.weights = deepcopy(self.module.state_dict())
            if self.sparse is not None:
                self.structure = self.sparse.structure
        return has_converged

    @torch.no_grad()
    def accuracy(self) -> Tensor:
        """Ask the module for it, without waiting for the answer."""
        hits = [
            # A copy, as these are used again: the module may write to its input.
            (self.module(samples.clone()).argmax(dim=1) == targets).sum()
            for samples, targets in zip(self.samples, self.targets, strict=True)
        ]
        return torch.stack(hits).sum().double() / sum(map(len, self.targets))

    def restore(self) -> None:
        if self.sparse is not None and self.structure is not self.sparse.structure:
            self.sparse.rewire(self.structure, self.weights["edge_weight"])
        self.module.load_state_dict(self.weights)
        torch.clear_autocast_cache()
