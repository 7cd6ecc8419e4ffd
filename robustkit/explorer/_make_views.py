"""Views of fitted models under an attack."""

import numpy as np
from scipy.special import softmax
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from robustkit.bridge import ActivationExtractor, as_module, has_relu_units
from robustkit.explorer._run import View, check_level
from robustkit.regions import PopulatedRegionScorer

__all__ = ["make_views"]


def make_views(models, X, y, attack=None, levels=(0.0,), *, layer="logits"):
    """Look at samples through fitted models, at several attack levels.

    Parameters
    ----------
    models : dict of str to estimator
        Fitted classifiers by their names.

    X : array-like of shape (n_samples, n_features)
        The samples.

    y : array-like of shape (n_samples,)
        Their labels.

    attack : attack, default=None
        What perturbs the samples: a clone of it attacks each model, with `eps` at each
        level. Needed only for levels above 0.

    levels : sequence of float, default=(0.0,)
        Sizes of the perturbation.

    layer : str or int, default="logits"
        Whose activations, as in :class:`~robustkit.bridge.ActivationExtractor`.

    Returns
    -------
    views : list of View
        One for each model and level. Region ids are those of
        :class:`~robustkit.regions.PopulatedRegionScorer`, fitted to `X`; a model
        without ReLU units has none.

    See Also
    --------
    save_run : Store the views.
    explore : Look at them.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from robustkit.attacks import FGSMAttack
    >>> from robustkit.explorer import make_views
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X / 16
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> views = make_views({"linear": model}, X, y, FGSMAttack(), [0.0, 0.1])
    >>> [(view.model, view.level) for view in views]
    [('linear', 0.0), ('linear', 0.1)]
    """
    levels = [check_level(level) for level in levels]
    if attack is None and any(level > 0 for level in levels):
        raise ValueError(
            f"The 'attack' parameter is needed for levels above 0. Got levels={levels}."
        )
    return [
        _make_view(name, FrozenEstimator(model), X, y, attack, level, layer, regions)
        for name, model in models.items()
        for regions in [_fit_regions(model, X, y)]
        for level in levels
    ]


def _fit_regions(model, X, y):
    if not has_relu_units(as_module(model)):
        return None
    return PopulatedRegionScorer(FrozenEstimator(model)).fit(X, y)


def _make_view(name, frozen, X, y, attack, level, layer, regions):
    perturbed = None
    if level > 0:
        attack = clone(attack).set_params(estimator=frozen, eps=level)
        perturbed = attack.fit(X, y).perturb(X, y).X_adv
    seen = X if perturbed is None else perturbed
    extractor = ActivationExtractor(frozen, layer=layer, random_state=0)
    return View(
        model=name,
        level=level,
        activations=extractor.fit(X, y).transform(seen),
        # Copies: some models write to what they are given.
        prediction=frozen.predict(_copied(seen)),
        confidence=_confidence(frozen, seen),
        X=perturbed,
        regions=None if regions is None else regions.transform(seen)[:, 0],
    )


def _confidence(model, X):
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(_copied(X))).max(axis=1)
    scores = np.asarray(model.decision_function(_copied(X)))
    if scores.ndim == 1:
        scores = np.column_stack([np.zeros(len(scores)), scores])
    return softmax(scores, axis=1).max(axis=1)


def _copied(X):
    return X.copy() if hasattr(X, "copy") else X
