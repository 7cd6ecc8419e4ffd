"""What a study is given: checked, and completed where something is left out."""

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch
from sklearn.utils.validation import check_consistent_length, column_or_1d

from robustkit._validation import did_you_mean
from robustkit.networks import INITS
from robustkit.study._measures import (
    check_analyses,
    check_attacks,
    default_analyses,
    default_attacks,
)

__all__ = ["check_parts", "check_test_labels", "hold_out_test"]

# Of a study of graphs that names none: small networks, more or less rewired.
_DEFAULT_SPACE = {
    "prior__n_nodes": [100, 150, 200, 250, 300],
    "prior__rewiring": [0.5, 0.6, 0.7, 0.8, 0.9],
}

# Of a study that is not given test data: the share of the samples held out.
_TEST_SHARE = 0.2


def check_parts(study):
    """Check the parameters of a study that hold others, and put defaults in place.

    Parameters
    ----------
    study : RobustnessStudy
        With its parameters.

    Returns
    -------
    parts : Bunch
        `attacks`, `analyses`, `inits`, `param_space` and `size`.
    """
    attacks = default_attacks() if study.attacks is None else study.attacks
    attacks = check_attacks(attacks)
    analyses = default_analyses() if study.analyses is None else study.analyses
    space = study.param_space
    if space is None:
        space = _DEFAULT_SPACE if study.population == "graphs" else {}
    return Bunch(
        attacks=attacks,
        analyses=check_analyses(analyses, attacks),
        inits=_check_inits(study.inits),
        param_space=space,
        size=_check_size(study.n_parameters),
    )


def _check_inits(inits):
    inits = list(inits)
    unknown = [init for init in inits if init not in INITS]
    if unknown or not inits or len(set(inits)) < len(inits):
        hint = did_you_mean(unknown[0], INITS) if unknown else "."
        raise ValueError(
            f"inits must hold names among {', '.join(INITS)}, each once. Got {inits} "
            f"instead{hint}"
        )
    return inits


def _check_size(n_parameters):
    if n_parameters is None:
        return None
    try:
        low, high = (int(end) for end in n_parameters)
    except (TypeError, ValueError):
        low, high = 1, 0
    if low > high:
        raise ValueError(
            "The 'n_parameters' parameter must be None or a pair (low, high) with low "
            f"<= high. Got {n_parameters!r} instead."
        )
    return low, high


def check_test_labels(y_test, X_test, y):
    """Check the labels of the test samples.

    Parameters
    ----------
    y_test : array-like of shape (n_test_samples,)
        Labels.

    X_test : ndarray of shape (n_test_samples, n_features)
        Samples.

    y : ndarray of shape (n_samples,)
        Labels of the training samples.

    Returns
    -------
    y_test : ndarray of shape (n_test_samples,)
        The same.
    """
    y_test = column_or_1d(y_test)
    check_consistent_length(X_test, y_test)
    unknown = np.setdiff1d(y_test, y)
    if len(unknown):
        raise ValueError(f"y_test holds {unknown.tolist()}, which y does not.")
    return y_test


def hold_out_test(X, y, X_test, y_test, *, seed):
    """Hold some training samples out for testing, unless there are test samples.

    Parameters
    ----------
    X, y : ndarray
        Training samples.

    X_test, y_test : ndarray or None
        Test samples.

    seed : int
        Draws the samples.

    Returns
    -------
    data : tuple of ndarray
        X, y, X_test, y_test.
    """
    if X_test is not None:
        return X, y, X_test, y_test
    try:
        X, X_test, y, y_test = train_test_split(
            X, y, test_size=_TEST_SHARE, stratify=y, random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"A fifth of {len(X)} samples can not be held out so that every class is "
            f"in both parts ({error}). Pass X_test and y_test."
        ) from error
    return X, y, X_test, y_test
