"""Several attacks as one: every sample meets them all, and the strongest counts."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from robustkit._samples import flat_samples, is_stream, shaped_like
from robustkit._sklearn_private import _BaseComposition, _name_estimators
from robustkit.attacks._base import BaseAttack
from robustkit.attacks._one_pixel import OnePixelAttack
from robustkit.attacks._result import (
    AttackResult,
    measures,
    median_distance,
    robust_accuracy,
)
from robustkit.bridge import frozen, is_frozen, thawed

__all__ = ["best_of"]


def best_of(attacks: Iterable[BaseEstimator], *, estimator: Any = None) -> BestOfAttack:
    """Join attacks into one that takes the strongest of them for every sample.

    Attacks with a radius take turns: what one has fooled the next ones leave alone, as
    AutoAttack does. Attacks that search for a distance are all run, and the nearest
    point is taken.

    Parameters
    ----------
    attacks : list of attacks
        In the order in which they are tried, so begin with the cheap ones. Either all
        have a radius `eps`, or all search for the distance in the same norm. Of attacks
        with a radius the norms may differ: then a sample is robust if it is in each of
        the balls, and as their lengths cannot be compared, `eps` is NaN.

    estimator : object, default=None
        The model. None is the one that the attacks have, if any has one.

    Returns
    -------
    attack : BestOfAttack
        An attack like any other: it has `fit`, `perturb`, `score` and `report`, and can
        be given to :func:`robust_scorer`; the `adversary` of a training it cannot be.
        If one of the attacks is :class:`MinimalDistanceAttack`, its score is the median
        distance, too. Its parameters are those of the attacks, as
        in `pgdattack__eps`. The `attack` of its result names which attack has fooled
        the model, None where none has; its report has `n_success_NAME` for each. Fitted
        attacks are in `attacks_`.

    See Also
    --------
    PGDAttack : With ``loss="rotate"``, the restarts try several losses.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import FGSMAttack, PGDAttack, best_of
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> pgd = PGDAttack(eps=0.1, max_iter=5, random_state=0)
    >>> attack = best_of([FGSMAttack(eps=0.1), pgd])
    >>> report = attack.fit(X, y).report(X, y)
    >>> bool(report["robust_accuracy"] <= FGSMAttack(eps=0.1).fit(X, y).score(X, y))
    True
    """
    given, attacks = list(attacks), []
    for attack in given:
        if not isinstance(attack, BaseAttack):
            raise TypeError(
                "best_of needs a list of attacks, such as PGDAttack(). Got "
                f"{type(attack).__name__}."
            )
        if attack.estimator is not None:
            if estimator is not None and not _is_same(attack.estimator, estimator):
                raise ValueError(
                    "The attacks of best_of must attack the same model. Give it once, "
                    "as 'estimator', and leave it out of the attacks."
                )
            estimator = attack.estimator
        # Attacks that were joined before are as good as single ones.
        is_joined = isinstance(attack, BestOfAttack)
        attacks += [part for _, part in attack.attacks] if is_joined else [attack]
    bare = [clone(attack).set_params(estimator=None) for attack in attacks]
    return BestOfAttack(estimator, attacks=_name_estimators(bare))


class BestOfAttack(BaseAttack, _BaseComposition):
    """Several attacks as one; made by :func:`best_of`.

    Parameters
    ----------
    estimator : object, default=None
        The model.

    attacks : list of tuples of str and attack, default=()
        The attacks and their names.

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    attacks_ : list of tuples of str and attack
        The fitted attacks.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The narrowest range that the points of all attacks keep to.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.
    """

    attacks_: list[tuple[str, BaseAttack]]

    _parameter_constraints: dict = {
        "estimator": BaseAttack._parameter_constraints["estimator"],
        "attacks": [list, tuple],
    }
    # Every attack has its own.
    clip = None
    batch_size = 1024
    verbose = 0

    def __init__(
        self, estimator: Any = None, *, attacks: list[tuple[str, Any]] | tuple = ()
    ) -> None:
        self.estimator = estimator
        self.attacks = attacks

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, and with `deep` those of the attacks.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of the attacks and of the model.

        Returns
        -------
        params : dict
            Names to values.
        """
        return self._get_params("attacks", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of the attacks by `name__parameter`.

        Parameters
        ----------
        **params : dict
            Names to values.

        Returns
        -------
        self : object
            This attack.
        """
        self._set_params("attacks", **params)
        return self

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit the model, and every attack on it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Training samples, as other attacks take them.

        y : array-like of shape (n_samples,), default=None
            Class labels. None only where X is a stream.

        Returns
        -------
        self : object
            The fitted attack.
        """
        self._validate_params()
        self._validate_names([name for name, _ in self.attacks])
        self._check_alike()
        super().fit(X, y)
        model = frozen(self.estimator_)
        if not is_stream(X):
            # The model knows the names of the columns; the attacks need not.
            rows = self._validate_samples(flat_samples(X)[0])
            X = rows.reshape(len(rows), *(self._image_shape or (-1,)))
        self.attacks_ = [
            (name, clone(attack).set_params(estimator=model).fit(X, y))
            for name, attack in self.attacks
        ]
        clips = [attack.clip_ for _, attack in self.attacks_]
        if None not in clips:
            lows, highs = zip(*clips, strict=True)
            self.clip_ = min(lows), max(highs)
        return self

    def _check_alike(self):
        attacks = [attack for _, attack in self.attacks]
        if not attacks:
            raise ValueError("best_of needs at least one attack. Got an empty list.")
        kinds = {_searches_distance(attack) for attack in attacks}
        if len(kinds) > 1:
            raise ValueError(
                "The attacks of best_of must all have a radius 'eps', or all search "
                "for the distance: the two cannot be compared. Got "
                f"{[type(attack).__name__ for attack in attacks]}."
            )
        norms = {getattr(attack, "norm", "linf") for attack in attacks}
        if kinds == {True} and len(norms) > 1:
            raise ValueError(
                "Attacks that search for the distance must have the same 'norm' to be "
                f"compared by best_of. Got {sorted(norms)}."
            )
        targeted = {attack.targeted for attack in attacks}
        if len(targeted) > 1:
            raise ValueError(
                "The attacks of best_of must all be targeted, or none. Got both."
            )

    def _check_model(self, X, extent):
        """Leave it to the attacks."""

    def _perturb(self, X, y, target, loss=None):
        """Attack every sample with all attacks, or until one has fooled the model."""
        check_is_fitted(self)
        rows = self._validate_samples(self._rows(X))
        (name, first), *others = self.attacks_
        best = first.perturb(rows, y, target)
        # What one attack certifies another may fool, and a class that one attack has
        # chosen by itself the others do not aim at.
        own = {"certified"} if target is not None else {"certified", "target"}
        found = {
            field: np.array(values)
            for field, values in vars(best).items()
            if isinstance(values, np.ndarray) and field not in own
        }
        found["attack"] = np.full(len(rows), None, dtype=object)
        found["attack"][found["success"]] = name
        nearest = _searches_distance(first)
        in_distance = best.distance is not None
        for name, attack in others:
            tried = np.flatnonzero(nearest | ~found["success"])
            if not len(tried):
                break
            wanted = found["target"][tried] if "target" in found else None
            part = _for_some(attack, tried, len(rows)).perturb(
                rows[tried], found["y"][tried], wanted
            )
            _take_better(found, tried, part, name)
            in_distance |= part.distance is not None
        if in_distance:
            _note_distances(found)
        if len({_length_of(attack) for _, attack in self.attacks_}) > 1:
            found["eps"][:] = np.nan
        found["X_adv"] = shaped_like(found["X_adv"], X)
        return AttackResult(
            **found, name=type(self).__name__, settings=self._settings()
        )

    def _settings(self):
        settings = {"best_of": ", ".join(name for name, _ in self.attacks)}
        for name, attack in self.attacks_:
            own = attack._settings()
            settings |= {f"{name}__{key}": value for key, value in own.items()}
        return settings

    def score(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Robust accuracy, or the median distance if the attacks report distances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Clean samples.

        y : array-like of shape (n_samples,), default=None
            True labels. None only where X is a stream.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, in the order of a stream.

        Returns
        -------
        score : float
            The same as of the attacks that are joined.
        """
        result = self._without_points(X, y)
        if result.distance is None:
            return robust_accuracy(result, sample_weight)
        return median_distance(result.distance, sample_weight)

    def report(
        self,
        X: Any,
        y: ArrayLike | None = None,
        target: ArrayLike | None = None,
    ) -> pd.Series:
        """Attack, and summarize what came out and which attack found it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Clean samples.

        y : array-like of shape (n_samples,), default=None
            True labels. None only where X is a stream.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that targeted attacks want the model to predict. A
            single one where X is a stream.

        Returns
        -------
        report : pandas.Series
            As of the attacks, and `n_success_NAME` for each: the samples for which its
            point was taken.
        """
        result = self._without_points(X, y, target)
        report = measures(result)
        for name, _ in self.attacks_:
            report[f"n_success_{name}"] = int(np.sum(result.attack == name))
        return report


def _searches_distance(attack):
    """Whether an attack has no radius: then its `eps` is what it looks for."""
    return getattr(attack, "eps", None) is None and not isinstance(
        attack, OnePixelAttack
    )


def _is_same(model, other):
    """Whether two models are one, and both or none of them stays as it is."""
    same_state = is_frozen(model) == is_frozen(other)
    return thawed(model) is thawed(other) and same_state


def _length_of(attack):
    """Return what differs if two attacks measure their perturbations differently."""
    unit = attack._ball().get("unit")
    return getattr(attack, "norm", "linf"), None if unit is None else unit.tobytes()


def _for_some(attack, rows, n_samples):
    """Let an attack with one eps per sample attack some samples only."""
    eps = getattr(attack, "eps", None)
    if np.ndim(eps) != 2 or len(eps) != n_samples or n_samples == 1:
        return attack
    return copy(attack).set_params(eps=np.asarray(eps)[rows])


def _note_distances(found):
    """Add the distances, as MinimalDistanceAttack does, whoever found them."""
    right = found["clean_prediction"] == found["y"]
    aimed_at_own = right & (found["y"] == found.get("target"))
    found["eps"][right & ~found["success"] & ~aimed_at_own] = np.inf
    found["distance"] = np.where(aimed_at_own, np.nan, found["eps"])


def _take_better(found, rows, part, name):
    """Replace what a later attack has fooled, or has fooled from nearer."""
    found["n_queries"][rows] += part.n_queries
    won = part.success & ~(found["success"][rows] & (found["eps"][rows] <= part.eps))
    for key in ("X_adv", "prediction", "success", "confidence", "eps"):
        found[key][rows[won]] = getattr(part, key)[won]
    found["attack"][rows[won]] = name
