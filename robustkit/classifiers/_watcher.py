"""What the training loop tells a classifier, its callbacks and its user."""

from math import isfinite

import torch

__all__ = ["Watcher"]


class Watcher:
    """Keeps the books of one training and runs scikit-learn's callbacks.

    Parameters
    ----------
    classifier : BaseNetClassifier
        Gets the attributes `n_iter_`, `loss_curve_` and `validation_scores_`.

    X : ndarray of shape (n_samples, n_features)
        Training samples, for the callbacks.

    y : ndarray of shape (n_samples,)
        Their classes.

    max_epochs : int
        Epochs there will be at most.
    """

    def __init__(self, classifier, X, y, max_epochs):
        self.classifier = classifier
        self.max_epochs = max_epochs
        self.told = {"estimator": classifier, "X": X, "y": y}

    def __enter__(self):
        self.training = self.classifier._init_callback_context(
            max_subtasks=self.max_epochs
        )
        self.training.call_on_fit_task_begin(**self.told)
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self._check_weights()
            # The network is trained in place: nothing is missing to predict with.
            self.training.call_on_fit_task_end(
                **self.told, reconstruction_attributes={}
            )

    def epoch_begins(self):
        """Tell the callbacks."""
        self.epoch = self.training.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.told)

    def epoch_ends(self, epoch):
        """Write the results down and tell the callbacks.

        Parameters
        ----------
        epoch : Epoch
            What the loop tells.

        Returns
        -------
        stop : bool
            Whether a callback asks to stop.
        """
        self._check_loss(epoch)
        classifier = self.classifier
        classifier.n_iter_ += 1
        classifier.loss_curve_.append(epoch.loss)
        if epoch.score is not None:
            vars(classifier).setdefault("validation_scores_", []).append(epoch.score)
        if classifier.verbose:
            print(self._line(epoch))  # noqa: T201 (what `verbose` means)
        return self.epoch.call_on_fit_task_end(
            **self.told, reconstruction_attributes={}
        )

    def _line(self, epoch):
        line = f"Epoch {epoch.number + 1}/{self.max_epochs}: loss {epoch.loss:.4f}"
        if epoch.score is not None:
            line += f", validation accuracy {epoch.score:.4f}"
        return line

    def _check_loss(self, epoch):
        if not isfinite(epoch.loss):
            raise ValueError(
                f"The loss became {epoch.loss} in epoch {epoch.number + 1} with "
                f"lr={self.classifier.lr}. Use a smaller 'lr', or scale X."
            )

    def _check_weights(self):
        # The last step may leave the finite behind with no loss left to show it.
        weights = self.classifier.module_.parameters()
        if not all(torch.isfinite(weight).all() for weight in weights):
            raise ValueError(
                "The weights are no longer finite after the last epoch with "
                f"lr={self.classifier.lr}. Use a smaller 'lr', or scale X."
            )
