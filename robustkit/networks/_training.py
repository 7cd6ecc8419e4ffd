"""The one training loop, and the step that works for every module.

A *step* is any object with ``step(inputs, targets)``: it changes the module's weights
once and returns the loss that the batch had before. The loop knows nothing of engines,
attacks or penalties; it is given them.
"""

from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch.nn import functional

from robustkit._tensors import evaluating, threads_for

__all__ = ["AutogradStep", "Epoch", "epoch_batches", "train"]


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
        module,
        *,
        optimizer="adam",
        lr=1e-3,
        weight_decay=0.0,
        label_smoothing=0.0,
        regularizer=None,
    ):
        self.module = module
        self.label_smoothing = label_smoothing
        self.regularizer = regularizer
        self.optimizer = _OPTIMIZERS.get(optimizer, optimizer)(
            list(module.parameters()), lr=lr, weight_decay=weight_decay
        )

    def step(self, inputs, targets):
        """Change the weights once.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_samples, ...)
            One batch.

        targets : torch.Tensor of shape (n_samples,)
            Index of each sample's class.

        Returns
        -------
        loss : torch.Tensor of shape ()
            Mean over the batch, before the weights changed.
        """
        # Without a gradient the optimizer skips a parameter. A gradient of zero would
        # let it move on by its momentum.
        self.optimizer.zero_grad(set_to_none=True)
        # A module that writes to its input writes to the batch. It may, unless the
        # regularizer needs the batch, too.
        seen = inputs if self.regularizer is None else inputs.clone()
        loss = functional.cross_entropy(
            self.module(seen), targets, label_smoothing=self.label_smoothing
        )
        if self.regularizer is not None:
            loss = loss + self.regularizer.penalty(self.module, inputs, targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state_dict(self):
        """Return what the optimizer remembers, so that a later step can go on."""
        return self.optimizer.state_dict()["state"]

    def load_state_dict(self, state):
        """Go on from what an earlier step remembered, with the settings of this one."""
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _adam(parameters, *, lr, weight_decay):
    return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def _sgd(parameters, *, lr, weight_decay):
    return torch.optim.SGD(
        parameters, lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=True
    )


_OPTIMIZERS = {"adam": _adam, "sgd": _sgd}


@dataclass(frozen=True)
class Epoch:
    """What the loop tells after each pass over the data."""

    number: int
    """Counted from 0."""

    loss: float | list[float]
    """Mean over the samples, each with the weights it met; a list if the step trains
    several networks."""

    score: float | None = None
    """Accuracy on the validation samples; None without them."""


def train(
    module,
    X,
    y,
    *,
    stepper,
    max_epochs,
    batch_size,
    generator,
    adversary=None,
    regularizer=None,
    validation=None,
    n_iter_no_change=5,
    watcher=None,
):
    """Train a module.

    Parameters
    ----------
    module : nn.Module
        Trained in place, and left in eval mode.

    X : torch.Tensor of shape (n_samples, ...)
        Training samples, on the module's device. Batches are slices of it, so that
        nothing is copied between host and device.

    y : torch.Tensor of shape (n_samples,)
        Index of each sample's class, on the same device.

    stepper : object
        Its ``step(inputs, targets)`` changes the weights and returns the loss.

    max_epochs : int
        Passes over the data.

    batch_size : int
        Samples a step.

    generator : torch.Generator
        Draws the order of the samples, on the device of `X`.

    adversary : object or None, default=None
        Its ``perturb_module(module, X, y)`` is called with each batch, while the module
        is in eval mode, and returns the batch to train on.

    regularizer : object or None, default=None
        It, or `adversary`, may have a method ``on_epoch_begin(module, X, y, *, epoch,
        max_epochs)``. It is called before each epoch with all training samples, while
        the module is in eval mode. What it freezes is free again at the end.

    validation : tuple of (torch.Tensor, torch.Tensor) or None, default=None
        Samples and their classes. The weights that classify most of them right stay.

    n_iter_no_change : int, default=5
        Epochs without a better validation score after which the loop stops.

    watcher : object or None, default=None
        Its ``epoch_begins()`` and ``epoch_ends(epoch)`` are called around each epoch,
        the second with an `Epoch`; it stops the loop by returning True.

    Returns
    -------
    epochs : list of Epoch
        One for each pass that was made.
    """
    hooks = [h for h in (adversary, regularizer) if hasattr(h, "on_epoch_begin")]
    keeper = None if validation is None else _BestWeights(module, *validation)
    join_last = _normalises_batches(module)
    epochs = []
    with _frozen_parts_are_freed(module), threads_for(module, batch_size):
        for number in range(max_epochs):
            if watcher is not None:
                watcher.epoch_begins()
            module.eval()
            for hook in hooks:
                # Copies: samples may share memory with what a user passed to `fit`.
                hook.on_epoch_begin(
                    module, X.clone(), y.clone(), epoch=number, max_epochs=max_epochs
                )
            batches = epoch_batches(len(X), batch_size, generator, join_last=join_last)
            loss = _run_epoch(module, X, y, batches, stepper, adversary)
            score = None if keeper is None else keeper.see()
            epochs.append(Epoch(number, loss, score))
            stop = watcher is not None and watcher.epoch_ends(epochs[-1])
            if stop or (keeper is not None and keeper.n_stale >= n_iter_no_change):
                break
    if keeper is not None:
        keeper.restore()
    return epochs


def epoch_batches(n_samples, batch_size, generator, *, join_last=False):
    """Draw the batches of one pass over the data.

    Parameters
    ----------
    n_samples : int
        How many samples there are.

    batch_size : int
        Samples a batch; the last one holds what is left.

    generator : torch.Generator
        Draws their order, on its own device.

    join_last : bool, default=False
        Whether a last batch of one sample joins the batch before it.

    Returns
    -------
    batches : list of torch.Tensor
        Indices of the samples of each batch.
    """
    order = torch.randperm(n_samples, generator=generator, device=generator.device)
    batches = list(order.split(batch_size))
    if join_last and len(batches) > 1 and len(batches[-1]) == 1 < batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _run_epoch(module, X, y, batches, stepper, adversary):
    module.train()
    # Summed on the device: asking for the number would wait for every step.
    total = 0
    for batch in batches:
        inputs, targets = X[batch], y[batch]
        if adversary is not None:
            with evaluating(module):
                inputs = adversary.perturb_module(module, inputs, targets).detach()
        total = total + stepper.step(inputs, targets).double() * len(batch)
    module.eval()
    return (total / len(X)).tolist()


def _normalises_batches(module):
    # Such a layer can not be trained on a batch of one sample.
    kind = torch.nn.modules.batchnorm._BatchNorm
    return any(isinstance(part, kind) for part in module.modules())


@contextmanager
def _frozen_parts_are_freed(module):
    trainable = [(weight, weight.requires_grad) for weight in module.parameters()]
    try:
        yield
    finally:
        module.eval()
        for weight, requires_grad in trainable:
            weight.requires_grad_(requires_grad)


class _BestWeights:
    """Remembers the weights that classified most validation samples right."""

    def __init__(self, module, X, y, batch_size=4096):
        self.module = module
        self.samples, self.targets = X.split(batch_size), y.split(batch_size)
        self.best, self.weights, self.n_stale = float("-inf"), None, 0

    def see(self):
        score = self._accuracy()
        self.n_stale += 1
        if score > self.best:
            self.best, self.n_stale = score, 0
            self.weights = deepcopy(self.module.state_dict())
        return score

    @torch.no_grad()
    def _accuracy(self):
        hits = [
            # A copy, as these are seen again: the module may write to its input.
            (self.module(samples.clone()).argmax(dim=1) == targets).sum()
            for samples, targets in zip(self.samples, self.targets, strict=True)
        ]
        return sum(hits).item() / sum(map(len, self.targets))

    def restore(self):
        self.module.load_state_dict(self.weights)
