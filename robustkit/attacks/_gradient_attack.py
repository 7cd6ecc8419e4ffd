"""What the attacks share that follow a model's gradient."""

import copy
from abc import abstractmethod

import numpy as np
from sklearn.utils.validation import validate_data

from robustkit._tensors import as_array, as_tensor
from robustkit.attacks._diagnostics import gradient_health, warn_of_masking
from robustkit.attacks._measures import measures, robust_accuracy
from robustkit.attacks._modes import evaluation_mode
from robustkit.attacks._module_attack import ModuleAttack

__all__ = ["GradientAttack"]


class GradientAttack(ModuleAttack):
    """An attack that climbs a loss, and can say whether there was one to climb.

    A subclass writes `_search_batch` and `_perturb_batch`.
    """

    # Each subclass has its own ball.
    _parameter_constraints: dict = {
        name: allowed
        for name, allowed in ModuleAttack._parameter_constraints.items()
        if name not in ("eps", "norm")
    }

    # Set on a copy, to measure what another loss would have found.
    _forced_loss = None

    # What a search returns beside the points.
    _learns = ("n_queries",)

    def perturb_module(self, module, X, y):
        """Perturb a batch against a bare module, as adversarial training needs it.

        Nothing is checked and nothing leaves the device. All samples are attacked with
        all steps, also those that the module gets wrong; where a step is drawn at
        random, it is drawn anew whenever the weights of the module have changed. The
        module is in eval mode meanwhile and gets no gradient.

        Parameters
        ----------
        module : torch.nn.Module
            Takes a batch, returns logits.

        X : torch.Tensor of shape (n_samples, ...)
            Clean samples, on the device of the module. With ``clip="auto"`` an attack
            that was not fitted clips to [0, 1] if this batch lies in it.

        y : torch.Tensor of shape (n_samples,)
            Index of the true class.

        Returns
        -------
        X_adv : torch.Tensor of the shape of `X`
            Perturbed samples.
        """
        X = X.detach()
        clip = self._clip_of_batch(X)
        with evaluation_mode(module):
            return self._perturb_batch(module, X, y, clip).detach()

    def _clip_of_batch(self, X):
        if hasattr(self, "clip_"):
            return self.clip_
        if self.clip is None or not isinstance(self.clip, str):
            return self.clip
        return (0.0, 1.0) if bool((X.min() >= 0) & (X.max() <= 1)) else None

    def report(self, X, y, target=None, *, diagnostics=True):
        """Attack, summarize what came out, and see whether it can be believed.

        A :class:`~robustkit.exceptions.GradientMaskingWarning` is given if the margin
        loss leaves a robust accuracy more than 10 points below the cross-entropy's.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Clean samples.

        y : array-like of shape (n_samples,)
            True labels.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to say.

        diagnostics : bool, default=True
            Whether to look for a hidden gradient, which takes one or two more attacks.

        Returns
        -------
        report : pandas.Series
            `n_samples`, `n_correct` (right before the attack), `n_success`,
            `n_queries`, `clean_accuracy`, `robust_accuracy` (right before and after),
            `error_rate` (share of those right before that are wrong after), and over
            those the means `average_confidence` (of the wrong answer) and
            `average_eps`. nan where there is nothing to average. An attack with
            targets adds `target_rate` (of those right before). The diagnostics are
            `zero_gradient_share` (of those right before), `median_logit_margin`,
            `robust_accuracy_ce` and `robust_accuracy_margin`: this attack with the
            cross-entropy, and with the margin loss.
        """
        result = self.perturb(X, y, target)
        report = measures(result)
        if diagnostics:
            for name, value in self._diagnose(result, X, y, target).items():
                report[name] = value
            warn_of_masking(report, stacklevel=3)
        return report

    def _diagnose(self, result, X, y, target):
        found = {}
        for loss in ("ce", "margin"):
            if loss != self._loss():
                twin = copy.copy(self)
                twin._forced_loss = loss
                found[loss] = twin.perturb(X, y, target)
            else:
                found[loss] = result
        judge = self._judge()
        health = gradient_health(
            judge.module,
            validate_data(self, X, dtype=[np.float32, np.float64], reset=False),
            judge.encode(result.y),
            result.clean_prediction == result.y,
            batch_size=self.batch_size,
            device=judge.device,
            dtype=judge.dtype,
        )
        return health | {
            f"robust_accuracy_{loss}": robust_accuracy(other)
            for loss, other in found.items()
        }

    @abstractmethod
    def _search_batch(self, module, x, labels, wanted, seed, look):
        """Return points, and a tensor for each of `_learns`."""

    @abstractmethod
    def _perturb_batch(self, module, x, labels, clip):
        """Return the points that adversarial training wants."""

    def _loss(self):
        """Name of the loss climbed."""
        return self._forced_loss or "ce"

    def _radius(self):
        """Return the radius of the ball, and the name of its norm."""
        return self.eps, "linf"

    def _seed(self):
        """Return the seed of all random starts of one run."""
        return 0

    def _start_search(self, judge):
        seed = self._seed()

        def search(X, labels, wanted, look):
            x = as_tensor(X, device=judge.device, dtype=judge.dtype)
            aims = [
                None if a is None else as_tensor(a, device=judge.device, dtype=None)
                for a in (labels, wanted)
            ]
            points, *learned = self._search_batch(judge.module, x, *aims, seed, look)
            candidates = as_array(points).astype(X.dtype, copy=False)
            names = self._learns
            learned = {n: as_array(v) for n, v in zip(names, learned, strict=True)}
            return candidates, learned

        return search
