"""What is measured of one trained model: with three lenses, against its attacks."""

import time
import warnings
from contextlib import contextmanager
from inspect import signature
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, f1_score

from robustkit.attacks import FGSMAttack, GrowingEpsilonAttack, PGDAttack
from robustkit.bridge import ActivationExtractor
from robustkit.exceptions import GradientMaskingWarning
from robustkit.regions import PopulatedRegionScorer
from robustkit.topology import MapperGraph, node_accuracy

__all__ = [
    "analyse",
    "attacked",
    "check_analyses",
    "check_attacks",
    "default_analyses",
    "default_attacks",
    "logits_of",
    "shape_of",
    "structural_properties",
    "timed",
]

# A node of a mapper graph is weak below this accuracy.
_WEAK = 0.9

# Of a report: how it came about, or what another column says already.
_BOOKKEEPING = ("n_correct", "n_success", "n_undecided", "clean_accuracy")


def default_attacks():
    """Make the attacks of a study that names none."""
    return {
        "fgsm": FGSMAttack(eps=0.1),
        "pgd": PGDAttack(eps=0.1, max_iter=10),
        "growing": GrowingEpsilonAttack(),
    }


def default_analyses():
    """Make the analyses of a study that names none."""
    return {"regions": PopulatedRegionScorer(), "mapper": MapperGraph()}


def check_attacks(attacks):
    """Bring every entry into the form (attack, number of images or None).

    Parameters
    ----------
    attacks : dict
        Name -> attack, or pair of an attack and a number of images.

    Returns
    -------
    attacks : dict
        Name -> pair.
    """
    pairs = {}
    for name, entry in attacks.items():
        attack, n_images = entry if isinstance(entry, tuple) else (entry, None)
        if not (hasattr(attack, "report") and hasattr(attack, "estimator")):
            raise ValueError(
                f"attacks[{name!r}] must be an attack, such as FGSMAttack(), or a pair "
                f"of an attack and a number of images. Got {entry!r} instead."
            )
        if n_images is not None and not (
            isinstance(n_images, Integral) and n_images > 0
        ):
            raise ValueError(
                f"attacks[{name!r}] must name a number of images of at least 1. Got "
                f"{n_images!r} instead."
            )
        pairs[name] = attack, n_images
    return pairs


def check_analyses(analyses, attacks):
    """Check the kinds and the names of the analyses.

    Parameters
    ----------
    analyses : dict
        Name -> analysis.

    attacks : dict
        Name -> attack; a name can not be in both.

    Returns
    -------
    analyses : dict
        The same.
    """
    for name, analysis in analyses.items():
        if not (isinstance(analysis, MapperGraph) or callable(analysis)):
            raise ValueError(
                f"analyses[{name!r}] must be a PopulatedRegionScorer, a MapperGraph or "
                f"a function. Got {analysis!r} instead."
            )
        if name in attacks:
            raise ValueError(
                f"{name!r} names an attack and an analysis. Rename one of them."
            )
    return analyses


@contextmanager
def timed(seconds, name):
    """Write down how long a block takes.

    Parameters
    ----------
    seconds : dict
        Where.

    name : str
        Under which name.
    """
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def structural_properties(graph, n_parameters):
    """Describe the structure of a network.

    Parameters
    ----------
    graph : LayeredGraph
        Its hidden part.

    n_parameters : int
        Weights and biases.

    Returns
    -------
    properties : dict
        Name -> number.
    """
    directed = graph.properties(directed=True)
    return {
        "n_parameters": n_parameters,
        **graph.properties(),
        # What igraph calls the average path length of a directed graph.
        "directed_path_length": directed["average_path_length"],
        "directed_betweenness": directed["average_betweenness"],
    }


def analyse(name, analysis, model, data, device):
    """Look inside a model.

    Parameters
    ----------
    name : str
        Of the analysis.

    analysis : PopulatedRegionScorer, MapperGraph or callable
        The lens.

    model : classifier
        Fitted.

    data : tuple of ndarray
        X, y, X_test, y_test.

    device : str or torch.device
        Where activations are computed.

    Returns
    -------
    properties : dict
        Names begin with that of the analysis.
    """
    if isinstance(analysis, PopulatedRegionScorer):
        found = _regions(analysis, model, *data)
    elif isinstance(analysis, MapperGraph):
        found = _shape(analysis, model, *data[:2], device)
    else:
        found = analysis(model, *(_read_only(part) for part in data))
        found = _plain_numbers(name, found)
    return {f"{name}_{key}": value for key, value in found.items()}


def _read_only(array):
    # What a function changed would be changed for all models after it.
    view = array.view()
    view.flags.writeable = False
    return view


def _regions(scorer, model, X, y, X_test, y_test):
    scorer = clone(scorer).set_params(estimator=FrozenEstimator(model)).fit(X, y)
    return {
        "prs_ratio": scorer.prs_ratio_,
        "inclusion_ratio": scorer.inclusion_ratio(X_test),
        "major_share": scorer.major_region_shares_.mean(),
    }


def _plain_numbers(name, found):
    # Before hundreds of models are trained that could not be correlated in the end.
    try:
        return {key: _plain(value) for key, value in found.items()}
    except (AttributeError, OverflowError, TypeError) as error:
        raise TypeError(
            f"analyses[{name!r}] must return a dict of names and numbers. Got "
            f"{found!r}."
        ) from error


def _plain(value):
    """Turn any real number into one of Python's, as a store keeps them."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, Real):
        raise TypeError
    number = float(value)
    return int(value) if isinstance(value, Integral) else number


def _shape(mapper, model, X, y, device):
    return shape_of(mapper, logits_of(model, X, y, device), y, model.predict(X))


def logits_of(model, X, y, device="auto"):
    """Compute the point cloud of which a mapper graph is drawn.

    Parameters
    ----------
    model : classifier
        Fitted.

    X, y : ndarray
        Training samples.

    device : str or torch.device, default="auto"
        Where they are computed.

    Returns
    -------
    activations : ndarray of shape (n_samples, n_classes)
        The logits.
    """
    extractor = ActivationExtractor(
        FrozenEstimator(model), layer="logits", device=device
    )
    return extractor.fit_transform(X, y)


def shape_of(mapper, activations, y, y_pred):
    """Describe the shape of a point cloud.

    Parameters
    ----------
    mapper : MapperGraph
        How to look at it.

    activations : ndarray of shape (n_samples, n_units)
        The points.

    y, y_pred : ndarray of shape (n_samples,)
        True and predicted classes.

    Returns
    -------
    properties : dict
        Purity; the share of points in nodes of low accuracy, and in none.
    """
    with warnings.catch_warnings():
        # "No cluster was found": `noise` is 1, and says so.
        warnings.filterwarnings("ignore", "No cluster", UserWarning)
        mapper = clone(mapper).fit(activations)
    accuracy = node_accuracy(mapper.membership_, y, y_pred)
    is_weak = (mapper.membership_ @ (accuracy < _WEAK)) > 0
    return {
        "purity": mapper.score(activations, y),
        "weak_mass": is_weak.mean(),
        "n_nodes": mapper.membership_.shape[1],
        "n_edges": len(mapper.edges_),
        "noise": mapper.n_noise_ / len(activations),
    }


def performance(model, X_test, y_test):
    """Measure how well a model does when nobody attacks it.

    Parameters
    ----------
    model : classifier
        Fitted.

    X_test, y_test : ndarray
        Samples that it was not trained on.

    Returns
    -------
    measures : dict
        `clean_accuracy` and `f1_macro`.
    """
    predicted = model.predict(X_test)
    return {
        "clean_accuracy": accuracy_score(y_test, predicted),
        "f1_macro": f1_score(y_test, predicted, average="macro", zero_division=0.0),
    }


def attacked(name, attack, n_images, model, data):
    """Attack a model and measure how it fares.

    Parameters
    ----------
    name : str
        Of the attack.

    attack : attack
        Without a model.

    n_images : int or None
        Attack so many test images, the first ones that the model gets right. None is
        all of them, right or wrong.

    model : classifier
        Fitted.

    data : tuple of ndarray
        X, y, X_test, y_test.

    Returns
    -------
    measures : dict
        What the attack reports; names begin with that of the attack.
    """
    X, y, X_test, y_test = data
    if n_images is not None:
        right = np.flatnonzero(model.predict(X_test) == y_test)[:n_images]
        X_test, y_test = X_test[right], y_test[right]
        if len(right) == 0:
            return {f"{name}_error_rate": np.nan}
    attack = clone(attack).set_params(estimator=FrozenEstimator(model)).fit(X, y)
    # Only an attack that can choose its loss is told to try both: that takes a second
    # attack, and for a single step says little.
    how = {}
    if "diagnostics" in signature(attack.report).parameters:
        how["diagnostics"] = hasattr(attack, "loss")
    with warnings.catch_warnings():
        # Both figures are in the table.
        warnings.simplefilter("ignore", GradientMaskingWarning)
        report = attack.report(X_test, y_test, **how)
    # The mean distance says something only if the attack chooses how far it goes.
    dull = {*_BOOKKEEPING, *(["average_eps"] if hasattr(attack, "eps") else [])}
    return {f"{name}_{key}": value for key, value in report.items() if key not in dull}
