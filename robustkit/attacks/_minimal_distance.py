"""The nearest point at which a model errs, and how far away it is."""

from functools import partial
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from robustkit._randomness import draw_seed
from robustkit._sklearn_private import Interval, StrOptions
from robustkit._tensors import as_array, as_tensor, resolve_device
from robustkit.attacks._attacked_model import AttackedModel
from robustkit.attacks._base import BaseAttack, Batch, Plan
from robustkit.attacks._decision_tree import nearest_in_other_leaf
from robustkit.attacks._result import median_distance
from robustkit.attacks.minimal import Box, minimal_distance, push_out, sizes_of
from robustkit.bridge import thawed

__all__ = ["MinimalDistanceAttack"]

# Training samples of each predicted class that are kept.
_N_KEPT = 4


class MinimalDistanceAttack(BaseAttack):
    """Find, for every sample, the nearest point at which the model errs.

    Robust accuracy at one size of perturbation saturates; a distance per sample does
    not, and gives the robust accuracy at every size at once. The distance is that of an
    actual adversarial example: an upper bound of the distance to the nearest error.

    Read more in the :ref:`User Guide <guide_minimal_distances>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see, or a
        single decision tree, for which the distances are exact.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is, as
        is a bare torch.nn.Module of the classes 0, 1, 2, ...; otherwise `fit` fits a
        clone. None is :class:`~sklearn.linear_model.LogisticRegression`.

    norm : {"linf", "l2"}, default="linf"
        Which length of the perturbation is minimized: the largest change of a feature,
        or the Euclidean length.

    max_iter : int, default=100
        How long the search is. On a small network of ten classes 100 takes about 140
        gradients per sample in the maximum norm, 300 about 350, and 10 or less 45: no
        search is shorter. Hard samples take twice as many.

    targeted : bool, default=False
        Whether the model shall predict the `target` that `perturb` is given, instead of
        any wrong class.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
        Number of samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

    random_state : int, RandomState instance or None, default=None
        Draws the points that are tried where no gradient leads to an error. None tries
        the same points in every run, so that the attack is deterministic.

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The range that perturbed samples keep to.

    known_samples_ : ndarray of shape (n_known, n_features)
        Training samples, a few of each class that the model predicts, of a stream those
        of its first batch: where no gradient leads to an error, the way towards them
        may.

    n_iter_ : int
        The `max_iter` of the attack.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    PGDAttack : Errors within a given distance.
    robustkit.attacks.functional.minimal_distance : The same for tensors.
    robustkit.plotting.RobustnessCurveDisplay.from_distances : Robust accuracy at every
        size of perturbation, from one run of this attack.

    Notes
    -----
    For each sample, every wrong class that looks nearly as close as the closest is
    followed. An affine model of the margin (logit of the true class minus that of the
    wrong one) says which point of the clip range is the closest with a margin of zero;
    there the next model is found, and the models are averaged, as most minima lie on
    kinks of the network. The closest classes start again from beyond the boundary.
    Where no gradient leads to an error, known samples, corners of the range and random
    points are tried, and the way back from those is followed.

    What a sample becomes does not depend on the other samples: it gets the same
    arithmetic in every batch. Only a module whose own result depends on the batch, by
    rounding, can change it.

    Of a sample that the model gets wrong from the start the distance is 0; where no
    error was found, as for a model that predicts one class only, it is infinity. The
    smallest number of changed features ("l0") and the sum of the changes ("l1") are not
    among the norms.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import MinimalDistanceAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = MinimalDistanceAttack().fit(X, y)
    >>> result = attack.perturb(X, y)
    >>> bool((attack.predict(result.X_adv)[result.success] != y[result.success]).all())
    True
    >>> bool(attack.score(X, y) == attack.report(X, y)["median_distance"])
    True
    """

    _moves_alike = True

    n_iter_: int
    known_samples_: np.ndarray

    _joins = True

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "norm": [StrOptions({"linf", "l2"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "targeted": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        norm: str = "linf",
        max_iter: int = 100,
        targeted: bool = False,
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.norm = norm
        self.max_iter = max_iter
        self.targeted = targeted
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def perturb_module(
        self, module: torch.nn.Module, X: torch.Tensor, y: torch.Tensor
    ) -> NoReturn:
        """Refuse to be an adversary in training.

        Parameters
        ----------
        module : torch.nn.Module
            Ignored.

        X : torch.Tensor
            Ignored.

        y : torch.Tensor
            Ignored.

        Raises
        ------
        TypeError
            Always: points just across the boundary, nearer for some samples than for
            others, are no perturbation of a given size.
        """
        raise TypeError(
            "MinimalDistanceAttack cannot be the 'adversary' of a training: it brings "
            "every sample just across the boundary, however near, and there is no size "
            "that the model would learn to withstand. Use PGDAttack(eps=...)."
        )

    def score(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Median distance to the nearest error found.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Clean samples; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            True labels. None only where X is a stream.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            0 for a sample that the model gets wrong from the start, and infinity where
            no error was found, take part in the median.
        """
        distances = np.asarray(self._without_points(X, y).distance)
        return median_distance(distances, sample_weight)

    def report(
        self,
        X: Any,
        y: ArrayLike | None = None,
        target: ArrayLike | None = None,
    ) -> pd.Series:
        """Attack, and summarize the distances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Clean samples; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            True labels. None only where X is a stream.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to predict. A
            single one where X is a stream.

        Returns
        -------
        report : pandas.Series
            First what was asked: the parameters of the attack that decide on its
            result. Then `median_distance`, `mean_distance` and the quantiles
            `distance_q10`, `distance_q25`, `distance_q75` and `distance_q90` of the
            distances of all samples, 0 for those that are wrong from the start and
            infinity where no error was found; `not_found`, the share of those. Besides
            `n_samples`, `n_correct` (right before the attack), `n_success`,
            `n_queries`, `clean_accuracy`, `robust_accuracy` (right before and after),
            `error_rate` (share of those right before that are wrong after), and over
            those the means `average_confidence` and `average_eps`. An attack with
            targets adds `target_rate`, and leaves samples whose label is their target
            out of the distances.
        """
        return super().report(X, y, target)

    def _check_model(self, X, extent):
        if _is_tree(self.estimator_):
            # Its leaves are all looked at.
            self.known_samples_ = X[:0]
            return
        super()._check_model(X, extent)
        model = AttackedModel.of(self.estimator_, resolve_device(self.device))
        answer, n_classes = model.predict(X), len(model.classes)
        kept = [np.flatnonzero(answer == k)[:_N_KEPT] for k in range(n_classes)]
        self.known_samples_ = X[np.concatenate(kept)]

    def _plan(self) -> Plan:
        # Without a random state every run tries the same points.
        seed = 0 if self.random_state is None else draw_seed(self.random_state)
        return Plan(norm=self.norm, seed=seed)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        if _is_tree(self.estimator_):
            return self._search_leaves(batch)
        assert batch.rows is not None, "not used in training"
        kind = batch.rows.dtype.type
        send = partial(as_tensor, device=batch.X.device, dtype=batch.X.dtype)
        known = self.known_samples_
        # Several models that are attacked as one have a list, each its own.
        at_hand: Any = [send(k) for k in known] if isinstance(known, list) else None
        at_hand = send(known) if at_hand is None else at_hand
        # Rounded as the samples were that it was checked with.
        clip = batch.clip
        if clip is not None:
            clip = float(kind(clip[0])), float(kind(clip[1]))
        points = minimal_distance(
            module,
            batch.X,
            batch.y,
            norm=self.norm,
            clip=clip,
            target=batch.target,
            max_iter=self.max_iter,
            known=at_hand,
            seed=batch.seed,
            trace=batch.trace,
        )
        # The template measures how far away the points are that are returned.
        batch.trace.eps = None
        return points

    def _search_leaves(self, batch):
        assert batch.rows is not None, "not used in training"
        points, _ = nearest_in_other_leaf(
            thawed(self.estimator_),
            batch.rows,
            as_array(batch.y),
            norm=self.norm,
            clip=batch.clip,
            target=None if batch.target is None else as_array(batch.target),
        )
        batch.trace.n_queries = torch.zeros_like(batch.y)
        return torch.from_numpy(points)

    def _attack_batch(self, model, plan, X, y, target, loss, out):
        found = super()._attack_batch(model, plan, X, y, target, loss, out)
        right = found["clean_prediction"] == found["y"]
        attacked = right & (found["target"] != found["y"]) if self.targeted else right
        # In another batch the model may predict something else so near to the boundary.
        moved = (out != X).any(axis=1)
        doubtful = np.flatnonzero(attacked & moved & ~found["success"])
        if len(doubtful):
            self._push(model, X, out, found, doubtful)
        failed = attacked & ~found["success"]
        found["eps"][failed] = np.inf
        back = np.flatnonzero(failed & moved)
        out[back] = X[back]
        if len(back):
            answer = model.take(back).classify(X[back])
            found["prediction"][back], found["confidence"][back], _ = answer
        found["distance"] = found["eps"].copy()
        if self.targeted:
            found["distance"][right & ~attacked] = np.nan
        return found

    def _push(self, model, X, out, found, rows):
        wanted = found["target"] if self.targeted else None

        def errs(points, some):
            answer = model.take(rows[some]).classify(points)[0]
            if wanted is None:
                return answer != found["y"][rows[some]]
            return answer == wanted[rows[some]]

        low, high = self.clip_ or (-np.inf, np.inf)
        points, done = push_out(errs, X[rows], out[rows], (low, high))
        rows, points = rows[done], points[done]
        out[rows], found["success"][rows] = points, True
        if len(rows):
            answer = model.take(rows).classify(points)
            found["prediction"][rows], found["confidence"][rows] = answer[:2]
            box = Box(X, low, high, self.norm == "l2")
            found["eps"][rows] = sizes_of(box, rows, points)


def _is_tree(estimator):
    """Whether a model is one tree, and nothing around it."""
    return type(thawed(estimator)) in (DecisionTreeClassifier, ExtraTreeClassifier)
