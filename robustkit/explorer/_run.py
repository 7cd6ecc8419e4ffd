"""A run: samples, and the outputs of one or more models at some attack levels.

:func:`make_views` computes the outputs of fitted models; `make_run` validates samples
and views, and converts them to the form that is stored and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from numbers import Real

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch, check_array, check_consistent_length, column_or_1d

from robustkit._samples import flat_samples
from robustkit._tensors import as_array
from robustkit.bridge import ActivationExtractor, as_module, has_relu_units, thawed
from robustkit.classifiers import as_classifier
from robustkit.plotting import known_classes
from robustkit.regions import PopulatedRegionScorer
from robustkit.topology import MapperGraph, choose_eps, fit_filter, learn_metric

__all__ = ["Column", "Run", "RunView", "View", "demo_run", "make_run", "make_views"]

# float32 probabilities may exceed 1 by this much.
LARGEST_ERROR = 1e-5

_MOST_CATEGORIES = 100

# The attack that the demo shows first.
_OPENING_LEVEL = 0.1

# From so many samples on, somebody would wait for graphs: they are computed on all
# cores, and what can be known before is stored with a run.
MANY_SAMPLES = 10_000

# What a mapper has that was not told otherwise.
MIN_SAMPLES = MapperGraph().min_samples

# Features are offered as colours, but not those of wide tables.
MOST_COLUMNS = 32


@dataclass(frozen=True, eq=False)
class View:
    """The outputs of one model for the samples, at one attack level.

    Parameters
    ----------
    model : str
        Name of the model.

    level : float
        Size of the perturbation; 0 for the clean samples.

    activations : array-like of shape (n_samples, n_units)
        Activations of a layer of the model, for example its logits.

    prediction : array-like of shape (n_samples,)
        Labels that the model predicts.

    confidence : array-like of shape (n_samples,), default=None
        Probability of the predicted label. None if unknown.

    X : array-like of shape (n_samples, n_features), default=None
        The perturbed samples, in the units of those of the run: from 0 to 1, or from 0
        to 255 where those are bytes. None if they are those of the run.

    regions : array-like of shape (n_samples,), default=None
        Id of the populated region of each sample, as
        :meth:`robustkit.regions.PopulatedRegionScorer.transform` gives it.

    layer : str, default=""
        Name of the layer. A run may hold several layers of a model, one view each.

    classes : array-like of shape (n_classes,), default=None
        All classes that the model knows, also those that no sample has: class k of all
        has the k-th colour, as in :class:`~robustkit.plotting.MapperGraphDisplay`. None
        if unknown.

    See Also
    --------
    make_views : Views of fitted models under an attack.
    save_run : Where views go.

    Examples
    --------
    >>> from robustkit.explorer import View
    >>> view = View("M_clean", 0.0, [[0.2, 1.3], [2.1, 0.4]], [1, 0])
    >>> view.model, view.level
    ('M_clean', 0.0)
    """

    model: str
    level: float
    activations: ArrayLike
    prediction: ArrayLike
    confidence: ArrayLike | None = None
    X: ArrayLike | None = None
    regions: ArrayLike | None = None
    layer: str = ""
    classes: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class FirstGraph:
    """The mapper graph that the page shows first of a view, as it is stored.

    The arrays are those of a `Graph`. It is shown instead of another one only for the
    `parameters` of the page, the `samples` and the version of robustkit that it is of.
    """

    parameters: dict
    samples: str
    version: str
    eps: float
    n_intervals: int
    indptr: NDArray[np.integer]
    members: NDArray[np.integer]
    interval: NDArray[np.integer]
    filter_mean: NDArray[np.float64]
    edges: NDArray[np.integer]
    n_shared: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class RunView:
    """A view as it is stored: predictions are indices of classes, images are bytes."""

    model: str
    level: float
    activations: NDArray[np.float32]
    prediction: NDArray[np.int32]
    confidence: NDArray[np.float32]
    images: NDArray[np.uint8] | None = None
    regions: NDArray[np.int64] | None = None
    layer: str = ""
    eps: float | None = None
    """What `automatic_eps` chooses; None where it was not asked before."""

    first: FirstGraph | None = None
    """None where it is not stored."""


@dataclass(frozen=True, eq=False)
class Column:
    """A number or a category for each sample, besides its class.

    With `categories`, `values` are indices of them. Missing values are NaN.
    """

    name: str
    values: NDArray[np.float64]
    categories: list[str] | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Samples and views of them.

    `y` contains the index of the class of each sample. If the samples are images, each
    row of `images` contains the bytes of one. `opening` are the views that the page
    begins with: one, or two side by side.
    """

    title: str
    y: NDArray[np.int32]
    class_names: list[str]
    image_shape: tuple[int, int, int] | None
    images: NDArray[np.uint8] | None
    views: list[RunView]
    columns: list[Column] = field(default_factory=list)
    opening: tuple[int, ...] = (0,)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.y)

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of the views."""
        return list(dict.fromkeys(view.model for view in self.views))

    def accuracy(self, view: int) -> float:
        """Accuracy of the model of a view."""
        return float((self.views[view].prediction == self.y).mean())


def automatic_eps(
    X: NDArray,
    min_samples: int = MIN_SAMPLES,
    metric: str | Callable = "euclidean",
    n_jobs: int | None = -1,
) -> float:
    """Choose the distance of a view's first graph, whatever its filter."""
    filter, is_lipschitz = fit_filter("l2norm", X)
    return choose_eps(
        X, filter(X), is_lipschitz, min_samples, *learn_metric(metric, X), n_jobs
    )


def make_views(
    models: Mapping[str, BaseEstimator],
    X: ArrayLike,
    y: ArrayLike,
    attack: BaseEstimator | None = None,
    levels: Sequence[float] = (0.0,),
    *,
    layer: str | int | Sequence[str | int] = "logits",
) -> list[View]:
    """Compute the outputs of fitted models for samples at several attack levels.

    Parameters
    ----------
    models : dict of str to estimator or torch.nn.Module
        Fitted classifiers, or trained modules of the classes 0, 1, 2, ..., by their
        names. Each must have layers, as :func:`~robustkit.bridge.as_module` knows
        them: a decision tree has none.

    X : array-like or tensor of shape (n_samples, n_features) or (n_samples, channels, \
            height, width)
        The samples.

    y : array-like of shape (n_samples,)
        Their labels.

    attack : attack, default=None
        The attack that perturbs the samples: for each model and level, a clone of it
        with `eps` set to the level. Needed only for levels above 0. Attacks without
        `eps`, such as :class:`~robustkit.attacks.MinimalDistanceAttack`, have no level.

    levels : sequence of float, default=(0.0,)
        Sizes of the perturbation.

    layer : str, int or sequence of these, default="logits"
        The layer whose activations are stored, as in
        :class:`~robustkit.bridge.ActivationExtractor`, or several.

    Returns
    -------
    views : list of View
        One for each model, level and layer. Region ids are those of
        :class:`~robustkit.regions.PopulatedRegionScorer`, fitted to `X`; a model
        without ReLU units has none.

    See Also
    --------
    save_run : Stores the views.
    explore : Shows them.

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
    if any(level > 0 for level in levels):
        _check_attack(attack, levels)
    layers = [layer] if isinstance(layer, str | int | np.integer) else list(layer)
    if not layers:
        raise ValueError("The 'layer' parameter must name at least one layer. Got [].")
    X, image_shape = flat_samples(X)
    return [
        view
        for name, given in models.items()
        for model in [as_classifier(given, X, y, image_shape=image_shape)]
        for regions in [_fit_regions(name, model, X, y)]
        for level in levels
        for view in _look_through(
            name, FrozenEstimator(model), X, y, attack, level, layers, regions
        )
    ]


def _check_attack(attack, levels):
    if attack is None:
        raise ValueError(
            f"The 'attack' parameter is needed for levels above 0. Got levels={levels}."
        )
    if "eps" not in attack.get_params(deep=False):
        raise ValueError(
            "The 'attack' parameter must have a radius 'eps', which is set to the "
            f"level, as PGDAttack has. Got {type(attack).__name__}, which has none."
        )


def _fit_regions(name, model, X, y):
    try:
        module = as_module(model)
    except TypeError as error:
        raise TypeError(
            f"The 'models' parameter must hold models with layers, whose activations "
            f"are shown. Got {name!r}, a {type(thawed(model)).__name__}, of which "
            "as_module makes no network, whatever the attack. Store the outputs that "
            "it has with save_run(views=[View(...)])."
        ) from error
    if not has_relu_units(module):
        return None
    # Unlike `fit`, it needs no sample of every class.
    return PopulatedRegionScorer(FrozenEstimator(model)).partial_fit(X, y)


def _look_through(name, frozen, X, y, attack, level, layers, regions):
    perturbed = None
    if level > 0:
        attack = clone(attack).set_params(estimator=frozen, eps=level)
        perturbed = attack.fit(X, y).perturb(X, y).X_adv
    seen = X if perturbed is None else _named_like(perturbed, X)
    # Copies: some models write to what they are given.
    prediction = frozen.predict(_copied(seen))
    confidence = _confidence(frozen, seen, prediction)
    found = None if regions is None else regions.transform(seen)[:, 0]
    for layer in layers:
        extractor = ActivationExtractor(frozen, layer=layer, random_state=0)
        activations = extractor.fit(X, y).transform(seen)
        yield View(
            name, level, activations, prediction, confidence, perturbed, found,
            str(layer), getattr(frozen, "classes_", None),
        )  # fmt: skip


def _named_like(rows, X):
    """Give perturbed samples the names of the columns that a pipeline may ask for."""
    if not isinstance(X, pd.DataFrame):
        return rows
    return pd.DataFrame(rows, columns=X.columns, index=X.index)


def _confidence(model, X, prediction):
    """Probability of what the model predicts, which need not be the largest."""
    # Imported here: showing a run needs no attacks.
    from robustkit.attacks import probabilities_of

    probabilities = probabilities_of(model, _copied(X))
    predicted = np.asarray(prediction)[:, None] == np.asarray(model.classes_)
    return np.where(predicted, probabilities, 0).max(axis=1)


def _copied(X):
    return X.copy() if hasattr(X, "copy") else X


def make_run(
    *,
    views: Sequence[View] | None,
    y: ArrayLike | None = None,
    X: ArrayLike | None = None,
    image_shape: tuple[int, ...] | None = None,
    class_names: Sequence[str] | None = None,
    columns: Mapping[str, ArrayLike] | pd.DataFrame | None = None,
    data: Bunch | None = None,
    title: str | None = None,
) -> Run:
    """Validate samples and views, and convert them to the form that is stored.

    The parameters are those of :func:`save_run`.
    """
    if views is None:
        raise ValueError("The 'views' parameter must hold at least one view. Got None.")
    X, y, image_shape, class_names = _with_data(data, X, y, image_shape, class_names)
    X = as_array(X) if torch.is_tensor(X) else X
    y = _labels(y, "The 'y' parameter")
    if len(y) == 0:
        raise ValueError("The 'y' parameter must hold at least one label. Got [].")
    if len(views) == 0:
        raise ValueError("The 'views' parameter must hold at least one view. Got [].")
    known = [
        (str(view.model), check_level(view.level), str(view.layer)) for view in views
    ]
    if len(set(known)) < len(known):
        raise ValueError(
            "The 'views' parameter must hold each model, level and layer once. Got "
            f"{known}."
        )
    predictions = [
        _labels(
            _one_each(view.prediction, f"'prediction' of view {view.model!r}", y),
            f"The 'prediction' of view {view.model!r}",
        )
        for view in views
    ]
    labels, class_names = _name_classes(class_names, views, y, *predictions)
    if X is not None and image_shape is None and np.ndim(X) > 2:
        image_shape = np.shape(X)[1:]
    if columns is not None:
        columns = _make_columns(columns, y)
    elif X is not None and image_shape is None:
        columns = feature_columns(X, y)
    images = None
    if X is not None and image_shape is not None:
        image_shape = _channels_first(image_shape)
        images = _as_bytes(X, image_shape, len(y), "X")
    else:
        image_shape = None
    in_bytes = images is not None and _is_bytes(X)
    return Run(
        title="robustkit" if title is None else str(title),
        y=_encode(y, labels),
        class_names=class_names,
        image_shape=image_shape,
        images=images,
        views=[
            _make_view(
                view,
                _encode(predicted, labels),
                image_shape,
                images if in_bytes else None,
            )
            for view, predicted in zip(views, predictions, strict=True)
        ],
        columns=columns or [],
    )


def _with_data(data, X, y, image_shape, class_names):
    """Take from a data set what is not given."""
    if data is not None:
        if not (hasattr(data, "data") and hasattr(data, "target")):
            raise TypeError(
                "The 'data' parameter must be a data set with 'data' and 'target', as "
                f"the functions of robustkit.datasets return it. Got {type(data)!r}."
            )
        X, y = data.data if X is None else X, data.target if y is None else y
        if image_shape is None:
            image_shape = getattr(data, "image_shape", None)
        if class_names is None:
            class_names = getattr(data, "target_names", None)
    if y is None:
        raise ValueError(
            "The 'y' parameter is missing: the true labels of the samples."
        )
    return X, y, image_shape, class_names


def feature_columns(X: ArrayLike, y: np.ndarray) -> list[Column]:
    """Return the features of a table as columns, unless it is wide.

    Nobody asked for them: those that cannot be shown as colours are left out.
    """
    X = as_array(X) if torch.is_tensor(X) else X
    table = X if isinstance(X, pd.DataFrame) else np.asarray(X)
    if table.ndim != 2 or table.shape[1] > MOST_COLUMNS:
        return []
    if len(table) != len(y):
        raise ValueError(
            f"X must have one row for each of {len(y)} samples. Got {len(table)}."
        )
    if not isinstance(table, pd.DataFrame):
        table = pd.DataFrame(table).add_prefix("x")
    columns = []
    for name, values in table.items():
        with suppress(TypeError, ValueError):
            columns.append(_make_column(str(name), column_or_1d(values)))
    return columns


def _make_columns(columns, y):
    return [
        _make_column(str(name), _one_each(columns[name], f"column {name!r}", y))
        for name in list(columns)
    ]


def _make_column(name, values):
    if values.dtype.kind in "biuf":
        values = values.astype(np.float64)
        _refuse(np.isinf(values), values, f"The column {name!r} must hold numbers")
        return Column(name, values)
    codes, categories = pd.factorize(values, sort=True)
    if len(categories) > _MOST_CATEGORIES:
        raise ValueError(
            f"The column {name!r} must hold numbers, or at most {_MOST_CATEGORIES} "
            f"categories. Got {len(categories)} categories."
        )
    values = np.where(codes < 0, np.nan, codes)
    return Column(name, values, [str(category) for category in categories])


def _make_view(view, prediction, image_shape, clean_bytes):
    n_samples = len(prediction)
    # Those of a layer that keeps the shape of images become rows, too.
    activations, _ = flat_samples(view.activations)
    with np.errstate(over="ignore"):
        # Values that overflow are rejected as infinity.
        activations = check_array(
            activations, dtype=np.float32, order="C", input_name="activations"
        )
    check_consistent_length(activations, prediction)
    confidence, regions, images = view.confidence, view.regions, None
    if confidence is None:
        confidence = np.full(n_samples, np.nan)
    else:
        confidence = _one_each(
            confidence, f"'confidence' of view {view.model!r}", prediction
        )
        _refuse(
            (confidence < 0) | (confidence > 1 + LARGEST_ERROR), confidence,
            f"The 'confidence' of view {view.model!r} must hold numbers from 0 to 1",
        )  # fmt: skip
    if regions is not None:
        regions = _one_each(regions, f"'regions' of view {view.model!r}", prediction)
        _refuse(
            ~(np.equal(np.mod(regions, 1), 0)), regions,
            f"The 'regions' of view {view.model!r} must hold integers",
        )  # fmt: skip
        regions = regions.astype(np.int64)
    if view.X is not None and image_shape is not None:
        images = _as_bytes(
            view.X, image_shape, n_samples, "X of a view",
            is_attacked=True, clean_bytes=clean_bytes,
        )  # fmt: skip
    return RunView(
        str(view.model), float(view.level), activations, prediction,
        confidence.astype(np.float32), images, regions, str(view.layer),
    )  # fmt: skip


def check_level(level: float) -> float:
    """Validate the size of a perturbation: finite and not negative."""
    if not (isinstance(level, Real) and np.isfinite(level) and level >= 0):
        raise ValueError(
            f"The 'level' of a view must be a number from 0. Got {level!r}."
        )
    return float(level)


def _labels(values, what) -> np.ndarray:
    values = column_or_1d(values)
    if values.dtype.kind == "f":
        _refuse(np.isnan(values), values, f"{what} must hold labels")
    return values


def _refuse(is_wrong, values, what):
    if is_wrong.any():
        raise ValueError(f"{what}. Got {values[is_wrong.argmax()]!r}.")


def _one_each(values, what, y):
    values = column_or_1d(as_array(values) if torch.is_tensor(values) else values)
    if len(values) != len(y):
        raise ValueError(
            f"The {what} must have one entry for each of {len(y)} samples. Got "
            f"{len(values)}."
        )
    return values


def _encode(values, labels):
    return np.searchsorted(labels, values).astype(np.int32)


def _name_classes(names, views, *labels):
    """Return all labels, ascending, and the name of each."""
    labels = np.unique(np.concatenate(labels))
    given = [column_or_1d(v.classes) for v in views if v.classes is not None]
    known = known_classes(labels, np.concatenate(given)) if given else labels
    if names is None:
        return known, [str(label) for label in known]
    names = [str(name) for name in names]
    if len(names) == len(known):
        return known, names
    if len(names) < len(labels):
        raise ValueError(
            f"The 'class_names' parameter must name {len(labels)} classes. Got "
            f"{len(names)} names."
        )
    is_number = labels.dtype.kind in "iu"
    if len(names) > len(labels):
        # Of a class that no sample has, too: then labels are places in the list.
        if not is_number or labels[0] < 0 or labels[-1] >= len(names):
            raise ValueError(
                "The 'class_names' parameter must hold one name for each label, or the "
                f"labels be integers from 0 to {len(names) - 1}. Got {len(names)} "
                f"names and the labels {labels.tolist()}."
            )
        labels = np.arange(len(names))
    return labels, names


def _channels_first(image_shape):
    shape = tuple(int(side) for side in image_shape)
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise ValueError(
            "The 'image_shape' parameter must be (height, width) or (channels, height, "
            f"width) with 1 or 3 channels. Got {image_shape!r}."
        )
    return shape


def _is_bytes(X):
    return X is not None and np.asarray(X).dtype == np.uint8


def _as_bytes(X, image_shape, n_samples, name, *, is_attacked=False, clean_bytes=None):
    """Return images as bytes, one row per sample.

    An attack without `clip` may leave the range of the pixels, and is cut off there.
    `clean_bytes` are the clean images, where those were given as bytes.
    """
    X = as_array(X) if torch.is_tensor(X) else np.asarray(X)
    X = X.reshape(len(X), prod(X.shape[1:]))
    if X.shape != (n_samples, prod(image_shape)):
        raise ValueError(
            f"{name} must have the shape ({n_samples}, {prod(image_shape)}) to show "
            f"images of shape {image_shape}. Got {X.shape}."
        )
    if X.dtype == np.uint8:
        return np.ascontiguousarray(X)
    is_number = X.dtype.kind in "biuf"
    if not is_number or np.isnan(X).any():
        got = "NaN" if is_number else f"an array of dtype {X.dtype}"
        raise ValueError(f"{name} must hold numbers from 0 to 1, or bytes. Got {got}.")
    if not is_attacked:
        _refuse(
            ((X < -LARGEST_ERROR) | (X > 1 + LARGEST_ERROR)).ravel(), X.ravel(),
            f"{name} must hold numbers from 0 to 1, or bytes",
        )  # fmt: skip
    unit = 255 if clean_bytes is None else _unit_of(X, clean_bytes)
    return np.rint(np.clip(X, 0, 255 // unit) * unit).astype(np.uint8)


def _unit_of(X, clean_bytes):
    """Return what makes bytes of attacked images whose clean ones are bytes.

    A flat table of bytes is attacked as it is, and images of bytes as numbers from 0 to
    1: the unit is that in which the attacked images are nearer to the clean ones.
    """
    # A sample of the rows tells as much, and takes no room.
    some = slice(None, None, 1 + len(X) // 1000)
    X, clean = X[some], clean_bytes[some]
    return min((1, 255), key=lambda unit: np.abs(X * float(unit) - clean).mean())


def demo_run(
    random_state: int = 0, levels: Sequence[float] = (0.0, 0.05, 0.1, 0.15, 0.2)
) -> Run:
    """Train a network on digits without and with adversarial training, and attack both.

    All 1,797 images are shown. The same `random_state` gives the same run.
    """
    # Imported here: showing a run needs neither attacks nor classifiers.
    from robustkit.attacks import PGDAttack
    from robustkit.classifiers import MLPNetClassifier
    from robustkit.datasets import load_digits_images

    train, digits = load_digits_images(split="train"), load_digits_images()
    adversary = PGDAttack(eps=0.1, max_iter=7)
    nets = {
        name: MLPNetClassifier(
            (64, 64),
            max_epochs=30,
            batch_size=128,
            adversary=against,
            random_state=random_state,
        ).fit(train.data, train.target)
        for name, against in (("M_clean", None), ("M_adv", adversary))
    }
    attack = PGDAttack(max_iter=20, random_state=random_state)
    views = make_views(nets, digits.data, digits.target, attack, levels)
    run = make_run(
        data=digits,
        views=views,
        title="Digits: a clean and an adversarially trained net",
    )
    # The clean net without and with an attack that fools it more often than not.
    attacked = [i for i, view in enumerate(views) if view.level == _OPENING_LEVEL]
    return replace(run, opening=(0, *attacked[:1]))
