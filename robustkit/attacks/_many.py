"""Attack many classifiers: sparse networks as one, all others one by one.

The search of an attack is the one that it always is. Samples are repeated, once for
each network, and the networks stand side by side as one module; what comes out is cut
into a result for each.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_array

from robustkit._samples import flat_samples, is_stream, shaped_like
from robustkit._tensors import resolve_device
from robustkit.attacks._base import BaseAttack, joins
from robustkit.attacks._minimal_distance import MinimalDistanceAttack
from robustkit.attacks._report import GradientAttackMixin, examine, report_of
from robustkit.attacks._result import AttackResult, measures
from robustkit.attacks.minimal import samples_at_once
from robustkit.bounds import CertifiedRadius
from robustkit.bridge import check_feature_names, frozen
from robustkit.classifiers import ClassifierUnion, unions_of

__all__ = ["attack_many", "fit_to_each", "report_each"]

_FLOATS = (np.float32, np.float64)

# Of the free memory of a GPU, and copies of a batch that a search holds.
_SHARE_OF_MEMORY, _N_COPIES = 0.5, 16

# On a CPU, numbers of a batch above which the arrays of a step leave the cache, and
# samples whose hidden activations do.
_NUMBERS_AT_ONCE, _MOST_ON_A_CPU = 1_600_000, 8_000


def attack_many(
    attack: Any, classifiers: Iterable[Any], X: ArrayLike, y: ArrayLike
) -> list[Any]:
    """Attack many classifiers with the same samples.

    It does what the attack does with each classifier, up to rounding, but faster where
    there are few samples: networks of graphs are put side by side into one, so that a
    step of the search is a few large operations for all instead of many small ones for
    each. That is so for :class:`FGSMAttack`, :class:`BIMAttack`,
    :class:`LeastLikelyAttack`, :class:`PGDAttack`, :class:`GrowingEpsilonAttack` and
    :class:`MinimalDistanceAttack`, and for every
    :class:`~robustkit.classifiers.SparseNetClassifier` with the same classes and
    features. Any other attack or classifier is taken by itself, with the same result.

    Read more in the :ref:`User Guide <guide_attack_many>`.

    Parameters
    ----------
    attack : object
        An attack, such as :class:`PGDAttack`, or a
        :class:`~robustkit.bounds.CertifiedRadius`. It is cloned; its own `estimator` is
        not used. Of all networks together, `batch_size` samples are attacked at once,
        and more as long as they fit the cache of a CPU or the memory of a GPU.

    classifiers : sequence of objects
        Fitted classifiers, or whatever else the attack takes as a fitted model. They
        are not trained again.

    X : array-like of shape (n_samples, n_features) or images
        Clean samples. With ``clip="auto"`` the range is learned from them.

    y : array-like of shape (n_samples,)
        True labels.

    Returns
    -------
    results : list of AttackResult
        One for each classifier. With a CertifiedRadius a list of arrays: the radii.

    See Also
    --------
    robustkit.classifiers.fit_many : Train many networks together.
    robust_scorer : Attack the models of a search.

    Notes
    -----
    An attack without a `random_state` draws its random starts once for all classifiers
    that are attacked as one.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import FGSMAttack, attack_many
    >>> from robustkit.classifiers import SparseNetClassifier, fit_many
    >>> from robustkit.graphs import GraphPrior
    >>> X, y = load_digits(return_X_y=True)
    >>> classifiers = fit_many(
    ...     [
    ...         SparseNetClassifier(GraphPrior(n_nodes=n), lr=0.01, random_state=0)
    ...         for n in (50, 100)
    ...     ],
    ...     X / 16,
    ...     y,
    ... )
    >>> results = attack_many(FGSMAttack(eps=0.05), classifiers, X[:50] / 16, y[:50])
    >>> [result.X_adv.shape for result in results]
    [(50, 64), (50, 64)]
    """
    classifiers = _check_classifiers(classifiers)
    if not isinstance(attack, BaseEstimator) or not any(
        hasattr(attack, name) for name in ("perturb", "radii")
    ):
        raise TypeError(
            "'attack' must be an attack, such as PGDAttack(), or a CertifiedRadius. "
            f"Got {attack!r} instead."
        )
    if is_stream(X):
        raise TypeError(
            f"attack_many takes arrays. Got a {type(X).__name__}: attack each "
            "classifier by itself."
        )
    attacks = fit_to_each(clone(attack), classifiers, X, y)
    if isinstance(attack, CertifiedRadius):
        return [one.radii(X, y) for one in attacks]
    results: list[Any] = [None] * len(attacks)
    for places, joint in _joined_attacks(attacks, [(X, y)] * len(attacks)):
        if joint is None:
            results[places[0]] = attacks[places[0]].perturb(X, y)
            continue
        whole = joint.attack.perturb(joint.X, joint.y)
        for i, result in zip(places, joint.split(whole), strict=True):
            adversarial = shaped_like(result.X_adv, X)
            results[i] = replace(result, X_adv=adversarial)
    return results


def _check_classifiers(classifiers: Iterable[Any]) -> list[Any]:
    is_one = hasattr(classifiers, "predict") or not isinstance(classifiers, Iterable)
    listed = [] if is_one else list(classifiers)
    if not listed:
        got = "none" if not is_one else repr(classifiers)
        raise ValueError(
            f"'classifiers' must be a list of at least one fitted classifier. Got {got}"
            "."
        )
    return listed


def fit_to_each(
    attack: Any, models: Sequence[Any], X: ArrayLike, y: ArrayLike
) -> list[Any]:
    """Fit an attack, or an analysis, to each of some trained models.

    What it learns of the samples alone is learned once for networks of one kind.
    """
    fitted: list[Any] = [None] * len(models)
    is_known = joins(attack)
    # Without samples any number of networks goes together.
    groups = _alone(models)
    if is_known:
        groups = unions_of(models, [0] * len(models), 0, None)
    for places, _ in groups:
        first, *others = (frozen(models[i]) for i in places)
        one = clone(attack).set_params(estimator=first).fit(X, y)
        fitted[places[0]] = one
        if not others:
            continue
        given, _ = flat_samples(X)
        rows = check_array(given, dtype=[np.float32, np.float64])
        for i, model in zip(places[1:], others, strict=True):
            check_feature_names(model, given)
            twin = copy(one)
            twin.estimator = twin.estimator_ = model
            fitted[i] = twin._finish_fit(rows)
    return fitted


def report_each(
    attacks: Sequence[Any], samples: Sequence[tuple[Any, Any]], **how: Any
) -> list[pd.Series]:
    """Return what the method `report` of each attack returns, of many as one.

    They are those of `fit_to_each`; each has samples of its own, and their labels.
    """
    reports: list[Any] = [None] * len(attacks)
    diagnostics = how.get("diagnostics", True)
    for places, joint in _joined_attacks(attacks, samples):
        if joint is None:
            i = places[0]
            reports[i] = attacks[i].report(*samples[i], **how)
            continue
        if not isinstance(joint.attack, GradientAttackMixin):
            whole = joint.split(joint.attack.perturb(joint.X, joint.y))
            for i, result in zip(places, whole, strict=True):
                reports[i] = measures(result)
            continue
        # The diagnostics draw but once from a random state.
        plan = cache(joint.attack._plan) if diagnostics else None
        whole = examine(joint.attack, joint.X, joint.y, None, plan)
        parts = zip(*(_named(k, joint.split(v)) for k, v in whole.items()), strict=True)
        for i, part in zip(places, parts, strict=True):
            piece = (*samples[i], None)
            reports[i] = report_of(attacks[i], [dict(part)], [piece], **how)
    return reports


def _named(name: str, values: list[Any]) -> list[tuple[str, Any]]:
    return [(name, value) for value in values]


def _alone(models: Sequence[Any]) -> list[tuple[list[int], None]]:
    return [([i], None) for i in range(len(models))]


def _joined_attacks(
    attacks: Sequence[Any], samples: Sequence[tuple[Any, Any]]
) -> Iterable[tuple[list[int], "_Joint | None"]]:
    """Yield the places of attacks that are made as one; None for one by itself."""
    first = attacks[0]
    if not joins(first):
        yield from _alone(attacks)
        return
    given = [flat_samples(X)[0] for X, _ in samples]
    pieces = [
        (np.asarray(X), np.asarray(y)) for X, (_, y) in zip(given, samples, strict=True)
    ]
    n_features = getattr(first.estimator_, "n_features_in_", None)
    if any(isinstance(X, list) for X in given) or any(
        X.dtype not in _FLOATS or (*y.shape, n_features) != X.shape for X, y in pieces
    ):
        # They are converted, or refused, where they are taken.
        yield from _alone(attacks)
        return
    device = resolve_device(first.device)
    most = _most_samples(first, pieces[0][0], device)
    models, counts = [a.estimator_ for a in attacks], [len(X) for X, _ in pieces]
    for places, union in unions_of(models, counts, most, device):
        if union is None:
            yield from (([i], None) for i in places)
        else:
            own = [pieces[i] for i in places]
            yield places, _Joint([attacks[i] for i in places], union, own)


def _most_samples(attack: BaseAttack, rows: np.ndarray, device: torch.device) -> int:
    """How many samples of all networks are attacked at once."""
    if device.type != "cuda":
        if isinstance(attack, MinimalDistanceAttack):
            return min(attack.batch_size, samples_at_once(rows.shape[1], device.type))
        most = min(_MOST_ON_A_CPU, _NUMBERS_AT_ONCE // max(1, rows.shape[1]))
        return max(attack.batch_size, most)
    free = _SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]
    return max(attack.batch_size, int(free) // (4 * _N_COPIES * rows.shape[1]))


class _Joint:
    """One attack on the union of some networks, and the samples of all of them."""

    def __init__(
        self,
        attacks: list[Any],
        union: ClassifierUnion,
        pieces: list[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        self.attacks, self.rows = attacks, union.module.slices()
        self.X, self.y = map(np.concatenate, zip(*pieces, strict=True))
        self.attack: Any = copy(attacks[0])
        self.attack.estimator = self.attack.estimator_ = FrozenEstimator(union)
        self.attack.batch_size = max(self.attack.batch_size, len(self.X))
        # Here are rows without names, whatever the samples were.
        self.attack._image_shape = None
        vars(self.attack).pop("feature_names_in_", None)
        eps: Any = getattr(self.attack, "eps", 0.0)
        if np.ndim(eps) == 2 and len(np.asarray(eps)) > 1:
            # One for each sample.
            self.attack.eps = np.tile(np.asarray(eps), (len(attacks), 1))
        if isinstance(self.attack, MinimalDistanceAttack):
            known: Any = [attack.known_samples_ for attack in attacks]
            self.attack.known_samples_ = known

    def split(self, whole: Any) -> list[Any]:
        """Cut a result, or an array, into that of each network."""
        if not isinstance(whole, AttackResult):
            return [whole[rows] for rows in self.rows]
        of_all = {field.name: getattr(whole, field.name) for field in fields(whole)}
        results = []
        for own, rows in zip(self.attacks, self.rows, strict=True):
            of_one: dict[str, Any] = {
                name: value[rows] if isinstance(value, np.ndarray) else value
                for name, value in of_all.items()
            }
            of_one["settings"] = own._settings()
            results.append(AttackResult(**of_one))
        return results
