"""Torch modules of what puts other estimators together: in a row, or side by side."""

from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import RFE, SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from robustkit._sklearn_private import BaseSearchCV
from robustkit.bridge._as_module import as_module
from robustkit.bridge._sklearn_transformers import (
    ElementwiseScale,
    in_double,
    linear,
    named_chain,
)

__all__ = ["SelectColumns", "SideBySide", "as_transform", "part_of"]


class SelectColumns(nn.Module):
    """Keep some columns, in a given order."""

    columns: Tensor

    def __init__(self, columns: NDArray) -> None:
        super().__init__()
        places = np.array(columns, dtype=np.int64)
        self.register_buffer("columns", torch.from_numpy(places))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the columns of a batch."""
        return x.index_select(1, self.columns)


class SideBySide(nn.Module):
    """Give the same batch to several modules, and join what they return.

    Parameters
    ----------
    parts : sequence of torch.nn.Module
        They may compute in different dtypes: each gets the batch in its own, and the
        result has the most precise.

    stack : bool, default=False
        False joins columns; True puts the results along a new second axis.
    """

    def __init__(self, parts: Sequence[nn.Module], stack: bool = False) -> None:
        super().__init__()
        self.parts = nn.ModuleList([with_cast(part) for part in parts])
        self.stack = stack

    def forward(self, x: Tensor) -> Tensor:
        """Join the results for a batch."""
        results = [part(x) for part in self.parts]
        return torch.stack(results, dim=1) if self.stack else torch.cat(results, dim=1)


def part_of(
    owner: str, name: Any, part: Any, convert: Callable[[Any], nn.Module] = as_module
) -> nn.Module:
    """Convert a part of an estimator; an error says which part it is about."""
    try:
        return convert(part)
    except TypeError as error:
        raise TypeError(f"{owner.format(repr(name))}: {error}") from error


@singledispatch
def as_transform(estimator: Any) -> nn.Module:
    """Convert what is a step before another one, to the module of its `transform`."""
    if hasattr(estimator, "__sklearn_tags__") and is_classifier(estimator):
        name = type(estimator).__name__
        raise TypeError(f"as_module knows {name} as a classifier, not as a transformer")
    return as_module(estimator)


@as_module.register(FrozenEstimator)
def _frozen(frozen: FrozenEstimator) -> nn.Module:
    return as_module(frozen.estimator)


@as_transform.register(FrozenEstimator)
def _frozen_transform(frozen: FrozenEstimator) -> nn.Module:
    return as_transform(frozen.estimator)


@as_module.register(BaseSearchCV)
def _search(search: BaseSearchCV) -> nn.Module:
    return as_module(best_of(search))


@as_transform.register(BaseSearchCV)
def _search_transform(search: BaseSearchCV) -> nn.Module:
    return as_transform(best_of(search))


def best_of(search: BaseSearchCV) -> Any:
    """Return the refitted estimator of a finished search."""
    if not search.refit:
        name = type(search).__name__
        raise TypeError(
            f"{name}(refit=False) keeps no fitted model. "
            "Use refit=True, or fit the best parameters yourself."
        )
    check_is_fitted(search)
    return search.best_estimator_


@as_module.register(Pipeline)
def _pipeline(pipeline: Pipeline) -> nn.Module:
    return chain_of(pipeline, as_module)


@as_transform.register(Pipeline)
def _pipeline_transform(pipeline: Pipeline) -> nn.Module:
    return chain_of(pipeline, as_transform)


def chain_of(pipeline: Pipeline, convert_last: Callable[[Any], nn.Module]) -> nn.Module:
    """Chain the steps; the last one is converted by a function of its own."""
    check_is_fitted(pipeline)
    last = len(pipeline.steps) - 1
    parts = [
        part_of(
            "Step {} of the pipeline",
            name,
            step,
            convert_last if place == last else as_transform,
        )
        for place, (name, step) in enumerate(pipeline.steps)
        if step is not None and step != "passthrough"
    ]
    if len(parts) == 1:
        return parts[0]
    return named_chain(*_joined(parts))


def _joined(parts: list[nn.Module]) -> Iterator[tuple[str | int, nn.Module]]:
    """Name the steps, with a cast before one that computes in another dtype."""
    dtype = None
    for position, part in enumerate(parts):
        dtypes = _float_dtypes(part)
        if dtypes and dtypes[0] == dtype:
            part = _without_cast(part)
        elif position > 0 and _needs_cast(part):
            yield f"cast_{position}", ElementwiseScale(dtype=dtypes[0])
        yield position, part
        if any(isinstance(inner, SideBySide) for inner in part.modules()):
            # It returns the most precise of several dtypes.
            dtype = None
        else:
            dtype = dtypes[-1] if dtypes else dtype


def with_cast(part: nn.Module) -> nn.Module:
    """Put a cast before a module that takes only the dtype of its weights."""
    if not _needs_cast(part):
        return part
    return named_chain(
        ("cast", ElementwiseScale(dtype=_float_dtypes(part)[0])), ("0", part)
    )


def _needs_cast(part: nn.Module) -> bool:
    first = next(m for m in part.modules() if not isinstance(m, nn.Sequential))
    takes_any = isinstance(first, ElementwiseScale | SideBySide | SelectColumns)
    return bool(_float_dtypes(part)) and not takes_any


def _float_dtypes(module: nn.Module) -> list[torch.dtype]:
    tensors = chain(module.parameters(), module.buffers())
    return [tensor.dtype for tensor in tensors if tensor.is_floating_point()]


def _without_cast(part: nn.Module) -> nn.Module:
    if not isinstance(part, nn.Sequential) or "cast" not in dict(part.named_children()):
        return part
    kept = [child for child in part.named_children() if child[0] != "cast"]
    return kept[0][1] if len(kept) == 1 else named_chain(*kept)


@as_module.register(SelectorMixin)
def _selector(selector: SelectorMixin) -> nn.Module:
    return SelectColumns(selector.get_support(indices=True))


@as_module.register(RFE)
def _recursive_elimination(selector: RFE) -> nn.Module:
    if not is_classifier(selector):
        return _selector(selector)
    return of_selected(selector, as_module)


def of_selected(selector: RFE, convert: Callable[[Any], nn.Module]) -> nn.Module:
    """Put the estimator of a selector, converted somehow, on what it selects."""
    return nn.Sequential(_selector(selector), with_cast(convert(selector.estimator_)))


as_transform.register(RFE)(_selector)


@as_transform.register(LinearDiscriminantAnalysis)
def _discriminant_axes(analysis: LinearDiscriminantAnalysis) -> nn.Module:
    check_is_fitted(analysis)
    if analysis.solver == "lsqr":
        raise TypeError("LinearDiscriminantAnalysis(solver='lsqr') has no transform.")
    axes = analysis.scalings_[:, : analysis._max_components]
    if analysis.solver == "svd":
        return nn.Sequential(
            ElementwiseScale(center=analysis.xbar_),
            linear(axes.T, np.zeros(axes.shape[1])),
        )
    return in_double(linear(axes.T, np.zeros(axes.shape[1])))


@as_module.register(FeatureUnion)
def _feature_union(union: FeatureUnion) -> nn.Module:
    check_is_fitted(union)
    weights = union.transformer_weights or {}
    owner = "Part {} of FeatureUnion"
    return _side_by_side(
        [
            _weighted(_transform_or_passthrough(owner, name, part), weights.get(name))
            for name, part in union.transformer_list
            if part != "drop"
        ]
    )


@as_module.register(ColumnTransformer)
def _column_transformer(transformer: ColumnTransformer) -> nn.Module:
    check_is_fitted(transformer)
    weights = transformer.transformer_weights or {}
    owner, parts = "Part {} of ColumnTransformer", []
    for name, part, columns in transformer.transformers_:
        columns = _as_indices(columns, transformer)
        if len(columns) == 0 or (isinstance(part, str) and part == "drop"):
            continue
        module = _transform_or_passthrough(owner, name, part)
        module = nn.Sequential(SelectColumns(columns), with_cast(module))
        parts.append(_weighted(module, weights.get(name)))
    return _side_by_side(parts)


def _side_by_side(parts: list[nn.Module]) -> nn.Module:
    """Join parts; if all were dropped, no feature is left."""
    return SideBySide(parts) if parts else SelectColumns(np.array([]))


def _as_indices(columns: Any, transformer: ColumnTransformer) -> NDArray:
    """Turn an index, names, a slice or a mask into the places of columns.

    A callable was already called by `fit`.
    """
    places = np.arange(transformer.n_features_in_)
    names = list(getattr(transformer, "feature_names_in_", []))
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            start = None if columns.start is None else names.index(columns.start)
            # A slice of names includes its end.
            stop = None if columns.stop is None else names.index(columns.stop) + 1
            columns = slice(start, stop, columns.step)
        return places[columns]
    columns = np.atleast_1d(np.array(columns))
    if columns.dtype.kind in "OUT":
        return np.array([names.index(name) for name in columns], dtype=np.int64)
    return places[columns] if len(columns) else places[:0]


def _transform_or_passthrough(owner: str, name: Any, part: Any) -> nn.Module:
    if isinstance(part, str):
        return nn.Identity()
    return part_of(owner, name, part, as_transform)


def _weighted(module: nn.Module, weight: float | None) -> nn.Module:
    if weight is None:
        return module
    return nn.Sequential(with_cast(module), Times(weight))


class Times(nn.Module):
    """Multiply by a number, in the dtype of what it gets."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = float(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply a batch."""
        return x * self.factor
