"""What the attacks share that follow a model's gradient."""

import copy
from abc import abstractmethod

import numpy as np
import torch
from sklearn.utils.validation import validate_data

from robustkit._tensors import as_array, as_tensor, evaluating
from robustkit.attacks._balls import make_ball
from robustkit.attacks._descent import Goal
from robustkit.attacks._diagnostics import (
    SUSPICIOUS,
    gradients_and_margins,
    warn_of_masking,
)
from robustkit.attacks._gradient_free import climb_blindly
from robustkit.attacks._measures import measures, robust_accuracy
from robustkit.attacks._modes import sparing_input
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

    # Set on a copy, to measure what another loss would have found, or none at all.
    _forced_loss = None
    _follows_gradient = True
    _is_twin = False

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
        with evaluating(module), sparing_input(module, X):
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
        loss leaves a robust accuracy more than 10 points below the cross-entropy's, or
        if the cross-entropy has no gradient for more than 10 % of the samples though
        their margin can be changed.

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
            cross-entropy, and with the margin loss. If `zero_gradient_share` is above
            0.1 there is `robust_accuracy_gradient_free` too: that of a search which
            only compares margins.
        """
        result = self.perturb(X, y, target)
        report = measures(result)
        if diagnostics:
            with torch.inference_mode(False):
                found, hidden_share = self._diagnose(result, X, y, target)
            for name, value in found.items():
                report[name] = value
            warn_of_masking(report, hidden_share, stacklevel=3)
        return report

    def _diagnose(self, result, X, y, target):
        """Return what a report adds, and the share of hidden gradients."""
        found = {}
        for loss in ("ce", "margin"):
            if loss != self._loss():
                found[loss] = self._twin(_forced_loss=loss).perturb(X, y, target)
            else:
                found[loss] = result
        correct, hidden_share = result.clean_prediction == result.y, 0.0
        zero, margin = self._look_at(X, result.y)
        health = {
            "zero_gradient_share": zero[correct].mean() if correct.any() else np.nan,
            "median_logit_margin": np.median(margin),
        }
        if health["zero_gradient_share"] > SUSPICIOUS:
            blind = self._twin(_follows_gradient=False).perturb(X, y, target)
            found["gradient_free"] = blind
            # A model that is constant around a sample hides nothing.
            moved = self._look_at(blind.X_adv, result.y)[1] != margin
            hidden_share = (zero & moved)[correct].mean()
        for name, other in found.items():
            health[f"robust_accuracy_{name}"] = robust_accuracy(other)
        return health, hidden_share

    def _twin(self, **private):
        twin = copy.copy(self)
        vars(twin).update(private, _is_twin=True)
        return twin

    def _check_resolution(self, judge, X):
        # Said once is enough.
        if not self._is_twin:
            super()._check_resolution(judge, X)

    def _look_at(self, X, y):
        judge = self._judge()
        X = validate_data(
            self, np.asarray(X), dtype=[np.float32, np.float64], reset=False
        )
        with judge.at_work(X, self.batch_size):
            return gradients_and_margins(judge, X, judge.encode(y), self.batch_size)

    def _search_blindly(self, module, x, labels, wanted, seed, look, ask):
        """Search as `_search_batch` does, with the margin alone."""
        rows = torch.arange(len(x), device=x.device)
        must_hit = wanted is not None
        goal = Goal(labels, "margin", wanted, must_hit=must_hit, ask=ask, rows=rows)
        radius, norm = self._radius()
        ball = make_ball(x, radius, self.clip_, norm)
        return climb_blindly(module, x, goal, ball, seed)

    @abstractmethod
    def _search_batch(self, module, x, labels, wanted, seed, look, ask):
        """Return points, and a tensor for each of `_learns`.

        `ask` is what a Goal wants: the model's own word, if the module is not it.
        """

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
        searcher = (
            self._search_batch if self._follows_gradient else self._search_blindly
        )

        def search(X, labels, wanted, look):
            x = as_tensor(X, device=judge.device, dtype=judge.dtype)
            aims = [
                None if a is None else as_tensor(a, device=judge.device, dtype=None)
                for a in (labels, wanted)
            ]
            ask = None if judge.is_the_model else self._asking(judge, X)
            given = (judge.module, x, *aims, seed, look, ask)
            points, *learned = searcher(*given)
            candidates = as_array(points).astype(X.dtype, copy=False)
            # A blind search learns no length.
            names = self._learns[: len(learned)]
            learned = {n: as_array(v) for n, v in zip(names, learned, strict=True)}
            return candidates, learned

        return search

    def _asking(self, judge, X):
        """Return the function that asks `predict` about points of a batch.

        It asks about the very points that would be returned.
        """

        def ask(points, rows):
            center = X[as_array(rows)]
            inside = np.empty_like(center)
            self._project(as_array(points).astype(X.dtype), center, out=inside)
            return as_tensor(judge.predict(inside), device=points.device, dtype=None)

        return ask
