"""Measure one trained model: its structure, its inside, and how it withstands attacks.

What comes out is one row of the table, in groups of columns.
"""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, f1_score

from robustkit._randomness import draw_seeds
from robustkit._tensors import resolve_device
from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    PGDAttack,
    fit_to_each,
    report_each,
)
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import seeded_clone
from robustkit.exceptions import GradientMaskingWarning
from robustkit.graphs import LayeredGraph
from robustkit.regions import PopulatedRegionScorer, describe_walls
from robustkit.topology import MapperGraph, node_accuracy

if TYPE_CHECKING:
    from robustkit.study._plan import Data, Design, Population, Task
    from robustkit.study._train import Trained

__all__ = [
    "SCALED",
    "Recipe",
    "analyse",
    "attacked",
    "check_analyses",
    "check_attacks",
    "default_analyses",
    "default_attacks",
    "make_recipe",
    "measure",
    "send_to",
    "shape_of",
    "timed",
]

# A node of a mapper graph is weak below this accuracy.
_WEAK = 0.9

# Beside a MapperGraph: of the logits in units of their median length.
SCALED = "scaled"

# Of a report: how it came about, or what another column says already.
_BOOKKEEPING = (
    "n_correct",
    "n_success",
    "n_undecided",
    "clean_accuracy",
    "robust_accuracy_worst",
)


@dataclass(frozen=True)
class Recipe:
    """What all models of a study have in common. Small: it travels with every task."""

    population: Population
    attacks: Mapping[str, tuple[Any, int | None]]
    """Name -> attack, and how many images it gets; None is all."""

    analyses: Mapping[str, Any]
    device: str | torch.device
    engine: str
    """How to train: "single" or "batched"."""

    extra: bool = False
    """Whether to measure the extra properties of the graphs."""

    walls: int = 0
    """How many test samples to measure the distance to the nearest wall of."""

    models: Path | None = None
    """The folder in which trained models are kept, if they are."""


def default_attacks() -> dict[str, Any]:
    """Make the attacks of a study that names none."""
    return {
        "fgsm": FGSMAttack(eps=0.1),
        "pgd": PGDAttack(eps=0.1, max_iter=10),
        "growing": GrowingEpsilonAttack(),
    }


def default_analyses() -> dict[str, Any]:
    """Make the analyses of a study that names none."""
    # All models of a study have as many intervals.
    mapper = MapperGraph(n_intervals=40)
    return {"regions": PopulatedRegionScorer(), "mapper": mapper}


def check_attacks(attacks: Mapping[str, Any]) -> dict[str, tuple[Any, int | None]]:
    """Bring every entry into the form (attack, number of images or None)."""
    pairs = {}
    for name, entry in attacks.items():
        attack, n_images = entry if isinstance(entry, tuple) else (entry, None)
        if not (hasattr(attack, "report") and hasattr(attack, "estimator")):
            raise ValueError(
                f"attacks[{name!r}] must be an attack, such as FGSMAttack(), or a pair "
                f"of an attack and a number of images. Got {entry!r} instead."
            )
        if n_images is not None and not (
            isinstance(n_images, Integral) and int(n_images) > 0
        ):
            raise ValueError(
                f"attacks[{name!r}] must name a number of images of at least 1. Got "
                f"{n_images!r} instead."
            )
        pairs[name] = attack, n_images
    return pairs


def check_analyses(
    analyses: Mapping[str, Any], attacks: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Check the kinds of the analyses, and that no attack has the name of one."""
    for name, entry in analyses.items():
        is_mapper = isinstance(_mapper_of(entry), MapperGraph)
        if not (is_mapper or callable(entry)):
            raise ValueError(
                f"analyses[{name!r}] must be a PopulatedRegionScorer, a MapperGraph, a "
                f"pair (MapperGraph, {SCALED!r}) or a function. Got {entry!r} instead."
            )
        if name in attacks:
            raise ValueError(
                f"{name!r} names an attack and an analysis. Rename one of them."
            )
    return analyses


def _mapper_of(entry: Any) -> Any:
    """Take a MapperGraph out of its pair; anything else stays as it is."""
    if isinstance(entry, tuple) and len(entry) == 2 and entry[1] == SCALED:
        return entry[0]
    return entry


def make_recipe(
    design: Design,
    *,
    seed: int,
    device: str | torch.device,
    engine: str,
    models: Path | None = None,
) -> Recipe:
    """Copy what measures, seed what it leaves to chance, and say where to compute.

    What is left to chance, such as random starts, is then the same for all models.
    """
    attacks, analyses = design.attacks, design.analyses
    seeds = iter(draw_seeds(seed, len(attacks) + len(analyses)))

    def prepared(part: Any) -> Any:
        return send_to(device, seeded_clone(part, next(seeds)))

    return Recipe(
        population=design.population,
        attacks={name: (prepared(attack), n) for name, (attack, n) in attacks.items()},
        analyses={
            name: (prepared(entry[0]), *entry[1:])
            if isinstance(entry, tuple)
            else prepared(entry)
            for name, entry in analyses.items()
        },
        device=device,
        engine=engine,
        extra=design.extra,
        walls=design.walls,
        models=models,
    )


def send_to(device: str | torch.device, part: Any) -> Any:
    """Have an estimator, and all that it holds, compute on a device.

    What names a device of its own keeps it.
    """
    if not isinstance(part, BaseEstimator):
        return part
    places = {
        name: device
        for name, value in part.get_params(deep=True).items()
        if name.rpartition("__")[2] == "device" and value == "auto"
    }
    return part.set_params(**places)


def measure(
    tasks: Sequence[Task], trained: Sequence[Trained], recipe: Recipe, data: Data
) -> list[dict[str, Any]]:
    """Turn trained models into rows, in groups of columns; attack them together."""
    rows = [_row(*pair, recipe, data) for pair in zip(tasks, trained, strict=True)]
    usable = [k for k, one in enumerate(trained) if one.model is not None]
    if not usable:
        return rows
    models = [trained[k].model for k in usable]
    for name, (attack, n_images) in recipe.attacks.items():
        seconds: dict[str, float] = {}
        with timed(seconds, name):
            found = attacked(name, attack, n_images, models, data)
        for k, measures in zip(usable, found, strict=True):
            rows[k]["measures"] |= measures
            rows[k]["seconds"][name] = seconds[name] / len(models)
    return rows


def _row(task: Task, trained: Trained, recipe: Recipe, data: Data) -> dict[str, Any]:
    """Say all of a model that no attack tells."""
    seconds, measures = {"train": trained.seconds}, {}
    properties = _structural_properties(
        trained.structure, trained.n_parameters, recipe.extra
    )
    if trained.density is not None:
        properties["density"] = trained.density
    if trained.model is not None:
        for name, analysis in recipe.analyses.items():
            with timed(seconds, name):
                properties |= analyse(
                    name, analysis, trained.model, data, recipe.device
                )
        if recipe.walls:
            with timed(seconds, "walls"):
                properties |= _walls(trained.model, data, recipe.walls)
        measures = _performance(trained.model, data)
    model = task.model + (trained.step or 0)
    place = {"model": model, "graph": task.graph, "init": task.init}
    place |= {"seed": task.seed, "graph_seed": task.graph_seed}
    if trained.step is not None:
        place["step"] = trained.step
    return {
        "place": place,
        "parameters": task.params,
        "properties": properties,
        "measures": measures,
        "seconds": seconds,
        "made": {
            **_versions(),
            "device": _name_of(resolve_device(recipe.device)),
            "engine": recipe.engine,
            "error": trained.error,
        },
    }


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Write down under a name how long a block takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _structural_properties(
    graph: LayeredGraph, n_parameters: float, extra: bool
) -> dict[str, Any]:
    directed = graph.properties(directed=True)
    return {
        "n_parameters": n_parameters,
        **graph.properties(extra=extra),
        # What igraph calls the average path length of a directed graph.
        "directed_path_length": directed["average_path_length"],
        "directed_betweenness": directed["average_betweenness"],
    }


def analyse(
    name: str, analysis: Any, model: Any, data: Data, device: str | torch.device
) -> dict[str, Any]:
    """Look inside a fitted model; the names found begin with that of the analysis."""
    if isinstance(analysis, PopulatedRegionScorer):
        found = _regions(analysis, model, data)
    elif isinstance(_mapper_of(analysis), MapperGraph):
        found = _shape(analysis, model, data, device)
    else:
        found = _own(name, analysis, model, data)
    return {f"{name}_{key}": value for key, value in found.items()}


def _regions(scorer: Any, model: Any, data: Data) -> dict[str, Any]:
    scorer = clone(scorer).set_params(estimator=FrozenEstimator(model))
    scorer.fit(data.X, data.y)
    return {
        "prs_ratio": scorer.prs_ratio_,
        "inclusion_ratio": scorer.inclusion_ratio(data.X_test),
        "major_share": scorer.major_region_shares_.mean(),
    }


def _shape(
    entry: Any, model: Any, data: Data, device: str | torch.device
) -> dict[str, Any]:
    extractor = ActivationExtractor(
        FrozenEstimator(model), layer="logits", device=device
    )
    logits = extractor.fit_transform(data.X, data.y)
    if isinstance(entry, tuple):
        logits /= np.median(np.linalg.norm(logits, axis=1))
    return shape_of(_mapper_of(entry), logits, data.y, model.predict(data.X))


def _walls(model: Any, data: Data, n_samples: int) -> dict[str, float]:
    """How far samples are from the walls of their regions, and where errors lie."""
    right = np.flatnonzero(model.predict(data.X_test) == data.y_test)[:n_samples]
    names = ("wall_linf", "wall_l2", "regions_to_error", "error_in_own_region")
    if len(right) == 0:
        return dict.fromkeys(names, np.nan)
    X, y = data.X_test[right], data.y_test[right]
    attack = MinimalDistanceAttack(FrozenEstimator(model), random_state=0)
    result = attack.fit(data.X, data.y).perturb(X, y)
    return describe_walls(model, X, result.X_adv, result.success)


def shape_of(
    mapper: Any, activations: NDArray, y: NDArray, y_pred: NDArray
) -> dict[str, Any]:
    """Describe the shape of a point cloud.

    Purity of its mapper graph; the share of points in nodes of low accuracy, and in
    none.
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


def _own(name: str, analysis: Callable, model: Any, data: Data) -> dict[str, Any]:
    """Ask a user's function, and accept only what can be kept and correlated."""
    found = analysis(model, *map(_read_only, data.arrays()))
    # Before hundreds of models are trained that could not be correlated in the end.
    try:
        return {key: _plain(value) for key, value in found.items()}
    except (AttributeError, OverflowError, TypeError) as error:
        raise TypeError(
            f"analyses[{name!r}] must return a dict of names and numbers. Got "
            f"{found!r}."
        ) from error


def _read_only(array: NDArray) -> NDArray:
    # What a function changed would be changed for all models after it.
    view = array.view()
    view.flags.writeable = False
    return view


def _plain(value: Any) -> float:
    """Turn any real number into one of Python's, as a store keeps them."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, Real):
        raise TypeError
    number = float(value)
    return int(value) if isinstance(value, Integral) else number


def _performance(model: Any, data: Data) -> dict[str, Any]:
    """How well a model does when nobody attacks it."""
    predicted = model.predict(data.X_test)
    return {
        "clean_accuracy": accuracy_score(data.y_test, predicted),
        "f1_macro": f1_score(
            data.y_test, predicted, average="macro", zero_division=0.0
        ),
    }


def attacked(
    name: str,
    attack: Any,
    n_images: int | None,
    models: Sequence[Any],
    data: Data,
) -> list[dict[str, Any]]:
    """Attack fitted models and report the outcome; names begin with the attack's.

    With `n_images` only so many test images are attacked, the first ones that the model
    gets right; None is all of them, right or wrong.
    """
    found: list[dict[str, Any]] = [{f"{name}_error_rate": np.nan} for _ in models]
    images = [_images_for(model, n_images, data) for model in models]
    places = [k for k, (X, _) in enumerate(images) if len(X)]
    if not places:
        return found
    attacks = fit_to_each(clone(attack), [models[k] for k in places], data.X, data.y)
    # Only an attack that can choose its loss is asked to try both: that takes a second
    # attack, and for a single step says little.
    how = {}
    if "diagnostics" in signature(attack.report).parameters:
        how["diagnostics"] = hasattr(attack, "loss")
    with warnings.catch_warnings():
        # Both figures are in the table.
        warnings.simplefilter("ignore", GradientMaskingWarning)
        reports = report_each(attacks, [images[k] for k in places], **how)
    # The mean distance says something only if the attack chooses how far it goes.
    joined = [part for _, part in getattr(attack, "attacks", ())]
    has_radius = any(hasattr(part, "eps") for part in (attack, *joined))
    dull = {*_BOOKKEEPING, *(["average_eps"] if has_radius else [])}
    # What was asked for is the same for all models, and some of it is text: parameters,
    # or those of joined attacks, such as "pgdattack__eps".
    dull |= attack.get_params(deep=False).keys()
    for k, report in zip(places, reports, strict=True):
        found[k] = {
            f"{name}_{key}": value
            for key, value in report.items()
            if key not in dull and "__" not in key and isinstance(value, Real)
        }
    return found


def _images_for(
    model: Any, n_images: int | None, data: Data
) -> tuple[NDArray, NDArray]:
    """Choose the test images that a model is attacked on."""
    if n_images is None:
        return data.X_test, data.y_test
    right = np.flatnonzero(model.predict(data.X_test) == data.y_test)[:n_images]
    return data.X_test[right], data.y_test[right]


def _versions() -> dict[str, str]:
    return {
        "version_robustkit": version("robustkit"),
        "version_python": platform.python_version(),
        "version_numpy": version("numpy"),
        "version_sklearn": version("scikit-learn"),
        "version_torch": torch.__version__,
    }


def _name_of(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    return f"{device.type} ({torch.cuda.get_device_name(device)})"
