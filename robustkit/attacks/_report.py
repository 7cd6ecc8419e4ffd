"""See whether a model is robust, or only hides its gradient."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cache, partial
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data
from torch.nn.functional import cross_entropy

from robustkit._samples import flat_samples
from robustkit._sklearn_private import Interval
from robustkit._tensors import as_array, as_tensor, map_batches, resolve_device
from robustkit._validation import caller_depth
from robustkit.attacks._attacked_model import (
    AttackedModel,
    first_look,
    logits_at,
    undisturbed,
)
from robustkit.attacks._base import Batch, Plan, joins
from robustkit.attacks._geometry import L2Ball, make_ball, sample_keys, uniform_noise
from robustkit.attacks._losses import Goal, margin_loss
from robustkit.attacks._module_attack import ModuleAttack
from robustkit.attacks._result import (
    AttackResult,
    joined,
    measures,
    robust_accuracy,
    without_points,
    withstood,
)
from robustkit.attacks._scales import check_ball
from robustkit.attacks.functional import Trace, best_seen, pgd
from robustkit.bridge import frozen, thawed
from robustkit.classifiers import ClassifierUnion
from robustkit.exceptions import GradientMaskingWarning
from robustkit.networks import NetworkUnion, of_rows

__all__ = [
    "SUSPICIOUS_GAP",
    "GradientAttackMixin",
    "SecondAttack",
    "climb_without_gradient",
    "examine",
    "report_of",
    "warn_of_rise",
]

# Difference of two robust accuracies that a difference of losses does not explain, and
# share of samples without a gradient that no honest network has.
SUSPICIOUS_GAP = 0.1

# Rise of a robust accuracy with eps that random starts do not explain.
_RISE = 0.01

# Robust accuracy that another attack takes away before it is worth a word, and the
# steps of that other attack.
_TOO_WEAK = 0.02
_N_STEPS = 20

# Pairs of opposite random moves from which the slope over the whole ball is estimated.
_N_PAIRS = 50

# Points that a sample is tried at, at most.
_N_QUERIES = 500

# Parameters in which the adversaries of networks that are trained together may differ.
_OF_EACH = ("estimator", "random_state", "verbose")

# No random start uses streams as large as this.
_FIRST_STREAM = 1_000_000


class GradientAttackMixin:
    """What attacks that climb a loss have besides: a report, and use in training."""

    _fixed_settings: dict = {"loss": "ce"}

    # What the attack has that this is mixed into.
    _perturb: Callable[..., AttackResult]
    _pieces: Callable[..., Iterator[tuple[Any, Any, Any]]]
    _search: Callable[[torch.nn.Module, Batch], torch.Tensor]
    _plan: Callable[[], Plan]
    _ball: Callable[[], dict[str, Any]]

    # In training many networks as one: the adversary of each.
    _partners: Sequence[Any]
    # In training: the numbers of the epoch and of the batch, if they are known.
    _place: tuple[int, int] | None = None

    def perturb_module(
        self, module: torch.nn.Module, X: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
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
        with undisturbed(module, X) as X:
            batch = Batch(X, y, clip=self._clip_of_batch(X), for_training=True)
            batch.radius = self._radius_in_training(X)
            return self._search(module, batch)

    def perturb_union(
        self,
        union: NetworkUnion,
        X: torch.Tensor,
        y: torch.Tensor,
        adversaries: Sequence[Any],
        *,
        epoch: int | None = None,
        batch: int | None = None,
    ) -> torch.Tensor | None:
        """Perturb the batch of each network as its own adversary would.

        None if they differ in more than their seeds, or search in a way of their own.

        Parameters
        ----------
        union : NetworkUnion
            The networks.

        X : torch.Tensor of shape (n_networks * n_samples, n_features)
            The batch, once for each network.

        y : torch.Tensor of shape (n_networks * n_samples,)
            Index of the true class.

        adversaries : sequence of objects
            One for each network; this is the first one.

        epoch, batch : int, default=None
            Their numbers in the training, if they are known.

        Returns
        -------
        X_adv : torch.Tensor of the shape of `X` or None
            Perturbed samples.
        """
        radius = self._ball()["radius"]
        is_per_sample = isinstance(radius, np.ndarray) and len(radius) > 1
        if is_per_sample or not all(_are_alike(self, other) for other in adversaries):
            return None
        twin = copy(self)
        twin._partners = adversaries
        if epoch is not None and batch is not None:
            twin._place = epoch, batch
        return twin.perturb_module(union, X, y)

    def _radius_in_training(self, X):
        radius = self._ball()["radius"]
        if isinstance(radius, Real):
            return radius
        check_ball(radius, "linf", (len(X), X[:1].numel()))
        radius = torch.as_tensor(radius, dtype=X.dtype)
        shape = X.shape[1:] if radius.shape[1] > 1 else [1] * (X.ndim - 1)
        return radius.view(-1, *shape)

    def _clip_of_batch(self, X):
        if hasattr(self, "clip_"):
            return self.clip_
        if not isinstance(self.clip, str):
            return self.clip
        inside = (X.min() >= 0) & (X.max() <= 1)
        if X.device.type == "cpu":
            return (0.0, 1.0) if bool(inside) else None
        # Nobody waits for a GPU to answer: as numbers that are there.
        none = X.new_full((), torch.inf)
        return torch.where(inside, 0, -none), torch.where(inside, 1, none)

    def report(
        self,
        X: Any,
        y: ArrayLike | None = None,
        target: ArrayLike | None = None,
        *,
        diagnostics: bool = True,
    ) -> pd.Series:
        """Attack, summarize what came out, and see whether it can be believed.

        A :class:`~robustkit.exceptions.GradientMaskingWarning` is given if the margin
        loss leaves a robust accuracy more than 10 points below the cross-entropy's, or
        if the cross-entropy has no gradient for more than 10 % of the samples though
        their margin can be changed.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Clean samples; see :meth:`fit`. Of a stream no more than one batch is in
            memory. It is read twice if the gradient is hidden.

        y : array-like of shape (n_samples,), default=None
            True labels. None only where X is a stream.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to predict. A
            single one where X is a stream.

        diagnostics : bool, default=True
            Whether to look for a hidden gradient and for a stronger attack, which takes
            one to three more attacks.

        Returns
        -------
        report : pandas.Series
            First what was asked: the parameters of the attack that decide on its
            result. Then `n_samples`, `n_correct` (right before the attack),
            `n_success`, `n_queries`, `clean_accuracy`, `robust_accuracy` (right before
            and after), `error_rate` (share of those right before that are wrong after),
            and over those the means `average_confidence` (of the wrong answer) and
            `average_eps`. NaN where there is nothing to average. An attack with
            targets adds `target_rate` (of those right before). The diagnostics are
            `zero_gradient_share` (of those right before), `median_logit_margin`,
            `robust_accuracy_ce` and `robust_accuracy_margin`: this attack with the
            cross-entropy, and with the margin loss. If `zero_gradient_share` is above
            0.1 there is `robust_accuracy_gradient_free` too: that of a search which
            only compares margins. `robust_accuracy_rotate` is what 20 steps in the same
            ball leave of the samples that no loss has fooled yet, climbing one loss
            after the other, as ``PGDAttack(loss="rotate")`` does; that attack itself
            has no such entry. `robust_accuracy_worst` is the least of all of them, and
            `stronger` names which it was if it is at least 2 points below
            `robust_accuracy`; else it is empty.
        """
        # The diagnostics draw but once from a random state.
        plan = cache(self._plan)
        parts = [
            examine(self, *piece, plan if diagnostics else None)
            for piece in self._pieces(X, y, target)
        ]
        pieces = self._pieces(X, y, target)
        return report_of(self, parts, pieces, diagnostics=diagnostics, plan=plan)


def _are_alike(attack, other):
    """Whether two attacks differ in nothing but their seeds, and are only ours."""
    if not joins(attack) or type(other) is not type(attack):
        return False
    if hasattr(attack, "clip_") or hasattr(other, "clip_"):
        return False
    mine, others = (one.get_params(deep=False) for one in (attack, other))
    return all(
        name in _OF_EACH or np.array_equal(value, others[name])
        for name, value in mine.items()
    )


def report_of(attack, parts, pieces, *, diagnostics=True, plan=None):
    """Sum up what `examine` found in each piece of the data."""
    report = measures(joined([part["own"] for part in parts]))
    if diagnostics:
        plan = cache(attack._plan) if plan is None else plan
        _warn_of_masking(report, _diagnose(attack, report, parts, pieces, plan))
    return report


def examine(attack, X, y, target, plan):
    """Attack; with a plan also with other losses, and look at the gradients."""
    result = attack._perturb(X, y, target)
    part = {"own": without_points(result)}
    if plan is not None:
        for loss in ("ce", "margin"):
            is_own = loss == getattr(attack, "loss", "ce")
            other = result if is_own else attack._perturb(X, y, target, loss)
            part[loss] = without_points(other)
        # Where there is a ball in which other losses can be climbed than were.
        if attack._has_ball() and getattr(attack, "loss", None) != "rotate":
            part["rotate"] = _robust_to_rotation(attack, X, part, plan)
        part["zero"], part["margins"] = _gradients_and_margins(attack, X, result.y)
    return part


def _robust_to_rotation(attack, X, part, plan):
    """Whether each sample is robust, to the attacks made so far and to one more.

    Climbs other losses, with many steps, from those that nothing has fooled yet.
    """
    robust = np.ones(len(part["own"].y), dtype=bool)
    for name in ("own", "ce", "margin"):
        robust &= withstood(part[name])
    rows = np.flatnonzero(robust)
    if not len(rows):
        return robust
    wanted, plan = part["own"].target, plan()
    rotate = partial(pgd, loss="rotate", max_iter=_N_STEPS)
    rotating = SecondAttack.like(attack, rotate, plan.take(rows), wanted is not None)
    rotating.estimator = frozen(_of_samples(attack.estimator_, rows))
    samples, y = np.asarray(flat_samples(X)[0])[rows], part["own"].y[rows]
    result = rotating.fit(samples, y).perturb(
        samples, y, None if wanted is None else wanted[rows]
    )
    robust[rows] = withstood(result)
    return robust


def _of_samples(model, rows):
    """Return the model for some samples: of several together, those they belong to."""
    union = thawed(model)
    return union.take(rows) if isinstance(union, ClassifierUnion) else model


def _diagnose(attack, report, parts, pieces, plan):
    """Add the diagnostics to a report; return the share of hidden gradients.

    `pieces` are read if the gradient is hidden: a second time, maybe in another order.
    """
    own = joined([part["own"] for part in parts])
    found = {name: joined([part[name] for part in parts]) for name in ("ce", "margin")}
    zero = np.concatenate([part["zero"] for part in parts])
    margin = np.concatenate([part["margins"] for part in parts])
    correct, hidden_share = own.clean_prediction == own.y, 0.0
    zero_share = float(zero[correct].mean()) if correct.any() else np.nan
    report["zero_gradient_share"] = zero_share
    report["median_logit_margin"] = float(np.median(margin))
    if zero_share > SUSPICIOUS_GAP:
        found["gradient_free"], hidden_share = _without_gradient(attack, pieces, plan)
    for name, other in found.items():
        report[f"robust_accuracy_{name}"] = robust_accuracy(other)
    if "rotate" in parts[0]:
        rotate = np.concatenate([part["rotate"] for part in parts])
        report["robust_accuracy_rotate"] = float(rotate.mean())
    left = {
        name.removeprefix("robust_accuracy_"): value
        for name, value in report.items()
        if name.startswith("robust_accuracy_")
    }
    strongest = min(left, key=left.get)
    worst = min(left[strongest], report["robust_accuracy"])
    report["robust_accuracy_worst"] = worst
    is_weak = report["robust_accuracy"] - worst >= _TOO_WEAK
    report["stronger"] = strongest if is_weak else ""
    return hidden_share


def _without_gradient(attack, pieces, plan):
    """Attack without gradients; say also how many were zero and could be moved."""
    results, hidden = [], []
    for samples, labels, target in pieces:
        without = SecondAttack.like(
            attack, climb_without_gradient, plan(), attack.targeted, attack.verbose
        ).fit(samples, labels)
        # These very samples, not those that came first in the pass before.
        without._choose_target = attack._choose_target
        result = without.perturb(samples, labels, target)
        # A model that is constant around a sample hides nothing.
        zero, before = _gradients_and_margins(attack, samples, result.y)
        after = _gradients_and_margins(attack, result.X_adv, result.y)[1]
        hidden.append((zero & (after != before))[result.clean_prediction == result.y])
        results.append(without_points(result))
    return joined(results), np.concatenate(hidden).mean()


def _gradients_and_margins(attack, X, y):
    """Whether the gradient of the cross-entropy is exactly zero, and the margin.

    The margin is the true logit minus the best other.
    """

    def look_at(x, labels, rows):
        look = first_look(of_rows(model.module, rows), x)
        # The cross-entropy itself: where it is flat, an attack climbs the margin.
        with torch.enable_grad():
            loss = cross_entropy(look.logits, labels, reduction="none").sum()
        gradient, logits = look.gradient_of(loss), look.logits.detach()
        return (gradient == 0).flatten(1).all(dim=1), -margin_loss(logits, labels)

    with torch.inference_mode(False):
        model = AttackedModel.of(attack.estimator_, resolve_device(attack.device))
        rows = np.asarray(flat_samples(X)[0])
        X = validate_data(attack, rows, dtype=[np.float32, np.float64], reset=False)
        with model.at_work(X, attack.batch_size):
            found = map_batches(
                look_at,
                as_tensor(X, device=model.device, dtype=model.dtype),
                as_tensor(model.encode(y), device=model.device, dtype=torch.int64),
                np.arange(len(X)),
                batch_size=attack.batch_size,
            )
    return tuple(map(as_array, found))


def _warn_of_masking(report, hidden_share):
    """Warn if many gradients are hidden, or if the margin loss is much stronger."""
    ce, margin = report["robust_accuracy_ce"], report["robust_accuracy_margin"]
    # The other way round is no masking: a single step towards one class, the margin's,
    # is often the worse one.
    blind = report.get("robust_accuracy_gradient_free")
    if not (ce - margin > SUSPICIOUS_GAP or hidden_share > SUSPICIOUS_GAP):
        return
    without = (
        "" if blind is None else f", and {blind:.3f} for a search without gradients"
    )
    warnings.warn(
        f"Robust accuracy is {report['robust_accuracy']:.3f}: {ce:.3f} under the "
        f"cross-entropy, {margin:.3f} under the margin loss{without}. "
        f"The gradient of the cross-entropy is exactly zero for "
        f"{report['zero_gradient_share']:.0%} of the samples. The model hides its "
        "gradient: believe the smallest figure, and attack with "
        "PGDAttack(loss='rotate') or without a gradient.",
        GradientMaskingWarning,
        stacklevel=caller_depth(),
    )


def warn_of_rise(eps: ArrayLike, accuracy: ArrayLike, *, stacklevel: int) -> None:
    """Warn if a robust accuracy rises with eps: the larger ball holds the smaller one.

    `eps` ascends; each has the accuracy that this very eps leaves, alone.
    """
    eps, accuracy = np.asarray(eps), np.asarray(accuracy)
    rise = accuracy - np.minimum.accumulate(accuracy)
    high = int(np.argmax(rise))
    if not rise[high] > _RISE:
        return
    low = int(np.argmin(accuracy[:high]))
    warnings.warn(
        f"Robust accuracy rises from {accuracy[low]:.3f} at eps={eps[low]:.4g} to "
        f"{accuracy[high]:.3f} at eps={eps[high]:.4g}, though whatever fools within "
        "the smaller eps is allowed within the larger one. The attack fails there: "
        "take more or smaller steps, restarts, or PGDAttack(loss='rotate').",
        GradientMaskingWarning,
        stacklevel=stacklevel,
    )


class SecondAttack(ModuleAttack):
    """Search the ball of another attack in another way, to see what that one missed."""

    # That one has warned of features of different scale already.
    _moves_alike = False

    _parameter_constraints: dict = {
        **ModuleAttack._parameter_constraints,
        "search": [callable],
        "eps": [Interval(Real, 0, None, closed="left"), np.ndarray],
        "targeted": ["boolean"],
        "seed": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        search,
        eps=0.1,
        norm="linf",
        targeted=False,
        clip="auto",
        batch_size=1024,
        device="auto",
        verbose=0,
        seed=0,
    ):
        super().__init__(
            estimator,
            eps=eps,
            norm=norm,
            clip=clip,
            batch_size=batch_size,
            device=device,
            verbose=verbose,
        )
        self.search = search
        self.targeted = targeted
        self.seed = seed

    @classmethod
    def like(cls, attack, search, plan, targeted, verbose=0):
        """Search where another attack has searched, as its plan says."""
        return cls(
            frozen(attack.estimator_),
            search=search,
            eps=plan.radius,
            norm=plan.norm,
            targeted=targeted,
            clip=attack.clip_,
            batch_size=attack.batch_size,
            device=attack.device,
            verbose=verbose,
            seed=plan.seed,
        )

    def perturb_module(self, module, X, y):
        """Perturb a batch against a bare module; see :class:`ModuleAttack`."""
        return self._search(module, Batch(X, y, radius=self.eps, seed=self.seed))

    def _plan(self):
        # That one has warned of too coarse numbers, too.
        return Plan(**self._ball(), norm=self.norm, smallest_move=0.0, seed=self.seed)

    def _search(self, module, batch):
        return self.search(
            module,
            batch.X,
            batch.y,
            eps=batch.radius,
            norm=self.norm,
            clip=batch.clip,
            target=batch.target,
            seed=batch.seed,
            trace=batch.trace,
        )


def climb_without_gradient(
    module, X, y, *, eps, norm="linf", clip=None, target=None, seed=0, trace=None
):
    """Search the ball by comparing margins: for models that hide their gradient.

    First an evolution strategy: the differences of the margin between opposite random
    corners of the ball say where it rises, as the gradient of a smoothed model would.
    Then that move is turned round in blocks of features that become smaller and
    smaller, and what raises the margin is kept. The first point that reaches the goal
    is returned, else the best seen.
    """
    trace = Trace() if trace is None else trace
    goal = Goal(y, "margin", target, must_hit=target is not None, ask=trace.ask)
    trial = _Trial(module, X, goal, make_ball(X, eps, clip, norm))
    keys = sample_keys(X, seed)
    slope = torch.zeros_like(X)
    for k in range(_N_PAIRS):
        if trial.n_active == 0:
            break
        noise = uniform_noise(keys, X.shape[1], _FIRST_STREAM + k)
        corner = torch.where(noise < 0, -1.0, 1.0).to(X.dtype)
        rise = trial.margin_of(corner) - trial.margin_of(-corner)
        slope.addcmul_(corner, rise[:, None])
    # Where no corner differs from its opposite, any move will do.
    move = torch.where((slope == 0).all(dim=1, keepdim=True), corner, slope)
    if norm == "linf":
        move = torch.where(move < 0, -1.0, 1.0).to(X.dtype)
    _turn_blocks(trial, move)
    trial.best.end_climb(trial.points)
    trace.n_queries = trial.best.n_queries
    return trial.best.points


def _turn_blocks(trial, move):
    """Keep what raises the margin: halves first, then quarters, down to one feature."""
    n_features = move.shape[1]
    margin, size = trial.margin_of(move), n_features
    while size > 1:
        size = (size + 1) // 2
        for first in range(0, n_features, size):
            if trial.n_active == 0 or trial.n_asked >= _N_QUERIES:
                return
            turned = move.clone()
            turned[:, first : first + size].neg_()
            other = trial.margin_of(turned)
            better = other > margin
            margin = torch.where(better, other, margin)
            move = torch.where(better[:, None], turned, move)


class _Trial:
    """Moves to the edge of the ball, tried one after the other."""

    def __init__(self, module, X, goal, ball):
        self.module, self.X, self.goal, self.ball = module, X, goal, ball
        self.best = best_seen(X)
        self.best.start_climb()
        self.points, self.n_asked, self.n_active = None, 0, len(X)

    def margin_of(self, move):
        """Margin after a move, which is stretched to the edge of the ball."""
        order = 2 if isinstance(self.ball, L2Ball) else math.inf
        length = torch.linalg.vector_norm(move, ord=order, dim=1, keepdim=True)
        step = move * (self.ball.radius / length.clamp_min(1e-30))
        previous, self.points = self.points, self.ball.project_(self.X + step)
        logits = logits_at(self.module, self.points)
        best = self.best
        verdict = self.goal.judge(logits, self.points, best.active, best.rows)
        self.n_asked += 1
        best.note(self.points, previous, *verdict, self.n_asked)
        self.n_active = best.count_active()
        return verdict[0]
