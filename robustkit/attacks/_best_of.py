"""Several attacks as one: every sample meets them all, and the strongest counts."""

from __future__ import annotations

from collections.abc import Iterable
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
from robustkit.attacks._result import AttackResult, measures
from robustkit.bridge import frozen

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
        have a radius `eps` or all search for the distance, with the same norm.

    estimator : object, default=None
        The model. None is the one that the attacks have, if any has one.

    Returns
    -------
    attack : BestOfAttack
        An attack like any other: it has `fit`, `perturb`, `score` and `report`, and can
        be given to :func:`robust_scorer`. Its parameters are those of the attacks, as
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
            if estimator is not None and attack.estimator is not estimator:
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
        found = {
            field: np.array(values)
            for field, values in vars(best).items()
            # What one attack certifies another may fool.
            if isinstance(values, np.ndarray) and field != "certified"
        }
        found["attack"] = np.full(len(rows), None, dtype=object)
        found["attack"][found["success"]] = name
        nearest = _searches_distance(first)
        for name, attack in others:
            tried = np.flatnonzero(nearest | ~found["success"])
            if not len(tried):
                break
            wanted = found["target"][tried] if "target" in found else None
            part = attack.perturb(rows[tried], found["y"][tried], wanted)
            _take_better(found, tried, part, name)
        found["X_adv"] = shaped_like(found["X_adv"], X)
        return AttackResult(
            **found, name=type(self).__name__, settings=self._settings()
        )

    def _settings(self):
        return {"best_of": ", ".join(name for name, _ in self.attacks)}

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


def _take_better(found, rows, part, name):
    """Replace what a later attack has fooled, or has fooled from nearer."""
    found["n_queries"][rows] += part.n_queries
    won = part.success & ~(found["success"][rows] & (found["eps"][rows] <= part.eps))
    if part.distance is None:
        found.pop("distance", None)
    keys = ("X_adv", "prediction", "success", "confidence", "eps", "distance")
    for key in found.keys() & set(keys):
        found[key][rows[won]] = getattr(part, key)[won]
    found["attack"][rows[won]] = name
