"""What is written down of a training, told to callbacks, and warned of."""

import warnings
from math import isfinite
from typing import Any, Self, cast

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from robustkit._validation import caller_depth
from robustkit.networks import Epoch, Plateau

__all__ = ["TrainingRecord", "are_finite", "warn_of_no_convergence"]


class TrainingRecord:
    """Record of one training of a classifier, and its scikit-learn callbacks.

    It writes `n_iter_`, `loss_curve_` and `validation_scores_`, prints the lines of
    `verbose`, and refuses a loss or weights that are not finite. With a `plateau` it
    stops the training when the loss, or the score if there is one, no longer improves,
    and notes in `is_cut_short` whether all epochs passed before that.
    """

    def __init__(
        self,
        classifier: Any,
        X: Any,
        y: Any,
        max_epochs: int,
        plateau: Plateau | None = None,
    ) -> None:
        self.classifier = classifier
        self.max_epochs = max_epochs
        self.plateau, self.is_cut_short = plateau, False
        self.callback_arguments = {"estimator": classifier, "X": X, "y": y}

    def __enter__(self) -> Self:
        self.training = self.classifier._init_callback_context(
            max_subtasks=self.max_epochs
        )
        self.training.call_on_fit_task_begin(**self.callback_arguments)
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._check_weights()
            # The network is trained in place: nothing is missing to predict with.
            self.training.call_on_fit_task_end(
                **self.callback_arguments, reconstruction_attributes={}
            )

    def epoch_begins(self) -> None:
        """Tell the callbacks."""
        self.epoch = self.training.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.callback_arguments)

    def epoch_ends(self, epoch: Epoch) -> bool:
        """Record the results, and tell the callbacks, which may ask to stop."""
        classifier = self.classifier
        # A list only from a step that trains several networks.
        loss = cast("float", epoch.loss)
        self._check_loss(loss, epoch.number)
        classifier.n_iter_ += 1
        classifier.loss_curve_.append(loss)
        if epoch.score is not None:
            scores = classifier.__dict__.setdefault("validation_scores_", [])
            scores.append(epoch.score)
        if classifier.verbose:
            print(self._line(epoch))  # noqa: T201 (what `verbose` means)
        stop = self.epoch.call_on_fit_task_end(
            **self.callback_arguments, reconstruction_attributes={}
        )
        if self.plateau is None:
            return stop
        has_converged = epoch.has_converged
        if epoch.score is None:
            has_converged = self.plateau.is_reached(loss)
        is_last = epoch.number + 1 == self.max_epochs
        self.is_cut_short = is_last and not has_converged
        return stop or has_converged

    def _line(self, epoch: Epoch) -> str:
        line = f"Epoch {epoch.number + 1}/{self.max_epochs}: loss {epoch.loss:.4f}"
        if epoch.score is not None:
            line += f", validation accuracy {epoch.score:.4f}"
        return line

    def _check_loss(self, loss: float, number: int) -> None:
        if not isfinite(loss):
            raise ValueError(
                f"The loss became {loss} in epoch {number + 1} with "
                f"lr={self.classifier.lr}. Use a smaller 'lr', or scale X."
            )

    def _check_weights(self) -> None:
        # The last step may overflow with no later loss to show it.
        if not are_finite(self.classifier.module_):
            raise ValueError(
                "The weights are no longer finite after the last epoch with "
                f"lr={self.classifier.lr}. Use a smaller 'lr', or scale X."
            )


def are_finite(module: nn.Module) -> bool:
    """Whether all weights are; a GPU is waited for once."""
    answers = [torch.isfinite(weight).all() for weight in module.parameters()]
    return not answers or bool(torch.stack(answers).all())


def warn_of_no_convergence(classifier: Any, n_epochs: int, which: str = "") -> None:
    """Say that the training loss, or the validation accuracy, still improved."""
    warnings.warn(
        f"{type(classifier).__name__}{which} was still improving after {n_epochs} "
        "epochs, where max_epochs='auto' ends. Use a larger 'lr', scale X, or give "
        "'max_epochs' the number of epochs to train for.",
        ConvergenceWarning,
        stacklevel=caller_depth(),
    )
