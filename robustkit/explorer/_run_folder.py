"""A run as a folder: a manifest in JSON and arrays in `.npz` files.

Reading a folder executes no code, every array is validated against the manifest, and a
folder is written under a temporary name until it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from robustkit.datasets import read_arrays
from robustkit.exceptions import CorruptFileError
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._run import (
    LARGEST_ERROR,
    MANY_SAMPLES,
    Column,
    FirstGraph,
    Run,
    RunView,
    View,
    automatic_eps,
    make_run,
)

__all__ = ["as_run", "load_run", "save_run"]

FORMAT = "robustkit-run"
VERSION = 2
_MANIFEST = "manifest.json"
_SAMPLES = "samples.npz"
_LARGEST_MANIFEST = 2**24

# Of a view's first graph, with their types and numbers of axes; what else it holds is
# in the manifest.
_ARRAYS_OF_GRAPH = {
    "indptr": ("iu", 1),
    "members": ("iu", 1),
    "interval": ("iu", 1),
    "filter_mean": ("f", 1),
    "edges": ("iu", 2),
    "n_shared": ("iu", 1),
}


def save_run(
    path: str | os.PathLike,
    run: Run | str | os.PathLike | None = None,
    *,
    views: Sequence[View] | None = None,
    y: ArrayLike | None = None,
    X: ArrayLike | None = None,
    image_shape: tuple[int, ...] | None = None,
    class_names: Sequence[str] | None = None,
    columns: Mapping[str, ArrayLike] | pd.DataFrame | None = None,
    data: Bunch | None = None,
    title: str | None = None,
) -> Path:
    """Store samples, and the outputs of models for them, for the explorer.

    From 10,000 samples on, what would be waited for later is computed here: the graphs
    that the page opens with, and the distance of the first graph of every view.

    Parameters
    ----------
    path : str or path-like
        The folder. If it exists, it must be a run, which is replaced.

    run : Run, path-like or str, default=None
        A run to store as it is, or the folder of one. None makes one of what follows.

    views : list of View, default=None
        The outputs of the models, at least one view.

    y : array-like of shape (n_samples,), default=None
        True labels. None takes those of `data`.

    X : array-like or tensor of shape (n_samples, n_features) or (n_samples, channels, \
            height, width), default=None
        The samples. Images, with values from 0 to 1 or bytes, are shown; of a table
        with at most 32 features, each feature that is a number or a category is a
        column to colour by. None takes those of `data`.

    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width) of flat images. None takes that of
        `X` or `data`; where there is none, no images are shown.

    class_names : list of str, default=None
        Names of the classes in ascending order of their labels; with more names than
        labels, labels are places in the list. None takes those of `data`, or else the
        labels.

    columns : DataFrame or dict of str to array-like, default=None
        What else is known of each sample, to colour by: numbers or categories.

    data : Bunch, default=None
        A data set, as the functions of :mod:`robustkit.datasets` return it without
        ``return_X_y=True``: `y`, `X`, `image_shape` and `class_names` in one.

    title : str, default=None
        What the page is called. None is the title of `run`, or else the name of the
        folder.

    Returns
    -------
    path : Path
        The folder.

    See Also
    --------
    make_views : Views of fitted models under an attack.
    load_run : Reads the folder.
    explore : Shows it in the browser.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from robustkit.explorer import View, load_run, save_run
    >>> view = View("M_clean", 0.0, [[0.2, 1.3], [2.1, 0.4]], [1, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = load_run(save_run(Path(folder) / "run", y=[1, 1], views=[view]))
    >>> run.n_samples, run.models
    (2, ['M_clean'])
    """
    path = Path(path)
    given = {
        "views": views, "y": y, "X": X, "image_shape": image_shape,
        "class_names": class_names, "columns": columns, "data": data,
    }  # fmt: skip
    if run is not None:
        names = [name for name, value in given.items() if value is not None]
        if names:
            raise ValueError(
                f"The parameters {names} go without 'run', which holds its own."
            )
        run = as_run(run)
        run = run if title is None else replace(run, title=str(title))
    else:
        run = make_run(**given, title=path.name if title is None else title)
    if path.exists() and _why_no_run(path) is not None:
        raise FileExistsError(
            f"{path} exists and is no run: it would be lost. Choose another folder."
        )
    if run.n_samples >= MANY_SAMPLES:
        run = replace(run, views=[_with_eps(view) for view in run.views])
        run = replace(run, views=_with_first_graphs(run))
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same directory, so that renaming is atomic.
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _write(unfinished, run)
        # mkdtemp makes a private folder; this one has the usual permissions.
        unfinished.chmod(0o777 & ~_umask())
        _replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return path


def _with_eps(view):
    """Choose the distance of the first graph."""
    if view.eps is not None:
        return view
    # Whoever asks for the graph is told why there is none.
    with suppress(ValueError):
        return replace(view, eps=automatic_eps(view.activations))
    return view


def _with_first_graphs(run):
    """Return the views, and compute the graphs that the page opens with."""
    graphs, views = Graphs(run), list(run.views)
    for i in run.opening:
        # As above; without a distance there is no graph either.
        with suppress(ValueError):
            views[i] = replace(views[i], first=graphs.first_graph(i))
    return views


def as_run(run: Run | str | os.PathLike) -> Run:
    """Return a run, which may be given by its folder."""
    if isinstance(run, Run):
        return run
    if isinstance(run, str | os.PathLike):
        return load_run(run)
    raise TypeError(
        "The 'run' parameter must be a run, the folder of one, or a MapperGraph. Got "
        f"{type(run).__name__}."
    )


def _umask():
    # The mask can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _replace(new, path):
    if path.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        path.rename(old / path.name)
        new.rename(path)
        shutil.rmtree(old)
    else:
        new.rename(path)


def _write(folder, run):
    columns = {f"column_{k}": column.values for k, column in enumerate(run.columns)}
    np.savez(folder / _SAMPLES, **_present(y=run.y, images=run.images), **columns)
    for i, view in enumerate(run.views):
        np.savez(
            folder / _view_file(i),
            **_present(
                activations=view.activations,
                prediction=view.prediction,
                confidence=view.confidence,
                images=view.images,
                regions=view.regions,
            ),
            **_arrays_of_graph(view.first),
        )
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "title": run.title,
        "n_samples": run.n_samples,
        "n_classes": len(run.class_names),
        "class_names": run.class_names,
        "image_shape": None if run.image_shape is None else list(run.image_shape),
        "columns": [
            {"name": column.name, "categories": column.categories}
            for column in run.columns
        ],
        "opening": list(run.opening),
        "views": [
            {
                "id": i,
                "model": view.model,
                "level": view.level,
                "layer": view.layer,
                "file": _view_file(i),
                "eps": view.eps,
                "graph": _entry_of_graph(view.first),
            }
            for i, view in enumerate(run.views)
        ],
    }
    # Last: a folder without it is half-written.
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")


def _arrays_of_graph(graph):
    """Name the arrays of a first graph as a view's file holds them."""
    if graph is None:
        return {}
    return {_in_file(name): getattr(graph, name) for name in _ARRAYS_OF_GRAPH}


def _in_file(name):
    return f"graph_{name}"


def _entry_of_graph(graph):
    if graph is None:
        return None
    entry = vars(graph)
    return {name: entry[name] for name in entry if name not in _ARRAYS_OF_GRAPH}


def _present(**arrays):
    return {name: array for name, array in arrays.items() if array is not None}


def _view_file(i):
    return f"view_{i}.npz"


def load_run(path: str | os.PathLike) -> Run:
    """Read a run, and validate every part of it.

    Parameters
    ----------
    path : str or path-like
        A folder written by :func:`save_run`.

    Returns
    -------
    run : Run
        Its samples and views, for :func:`explore` and :func:`export_html`.

    See Also
    --------
    save_run : Writes such folders.

    Examples
    --------
    >>> from robustkit.explorer import load_run
    >>> load_run("no_such_folder")
    Traceback (most recent call last):
    FileNotFoundError: No run at no_such_folder: there is no such folder.
    """
    path = Path(path)
    reason = _why_no_run(path)
    if reason is not None:
        error = FileNotFoundError if not path.exists() else CorruptFileError
        raise error(f"No run at {path}: {reason}.")
    manifest = _read_manifest(path / _MANIFEST)
    arrays = _Arrays(path, manifest)
    return Run(
        title=manifest["title"],
        y=arrays.classes(_SAMPLES, "y"),
        class_names=manifest["class_names"],
        image_shape=arrays.image_shape,
        images=arrays.images(_SAMPLES),
        views=[_read_view(arrays, view) for view in manifest["views"]],
        columns=[
            Column(column["name"], arrays.column(k, column), column["categories"])
            for k, column in enumerate(manifest.get("columns", ()))
        ],
        opening=tuple(manifest.get("opening", (0,))),
    )


def _read_view(arrays, view):
    file = view["file"]
    return RunView(
        model=view["model"],
        level=float(view["level"]),
        activations=arrays.activations(file),
        prediction=arrays.classes(file, "prediction"),
        confidence=arrays.confidence(file),
        images=arrays.images(file),
        regions=arrays.regions(file),
        layer=view.get("layer", ""),
        eps=view.get("eps"),
        first=arrays.first_graph(file, view.get("graph")),
    )


def _why_no_run(path):
    """Return why a folder is not a run, from a quick look; None if it may be one."""
    if not path.exists():
        return "there is no such folder"
    if not path.is_dir():
        return "it is a file, not a folder"
    if not (path / _MANIFEST).is_file():
        if (path / _SAMPLES).exists():
            return "it is half-written (manifest.json is missing)"
        return "the folder is not one written by save_run (no manifest.json)"
    return None


def _read_manifest(path):
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise CorruptFileError(f"{path} is too large to be a manifest.")
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(
            f"{path} is corrupt or half-written: {error}."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CorruptFileError(f"{path} does not describe a run of robustkit.")
    version = manifest.get("version")
    if _is_int(version) and version > VERSION:
        raise ValueError(
            f"{path} has version {version} and was written by a newer robustkit; this "
            f"one reads versions up to {VERSION}."
        )
    wrong = _wrong_entry(manifest)
    if wrong is not None:
        raise CorruptFileError(f"{path}: {wrong}.")
    return manifest


def _wrong_entry(manifest):
    """Return what is wrong in a manifest; None if nothing is."""
    if manifest.get("version") not in range(1, VERSION + 1):
        return f"'version' must be from 1 to {VERSION}"
    if not isinstance(manifest.get("title"), str):
        return "'title' must be a string"
    for name in ("n_samples", "n_classes"):
        if not _is_int(manifest.get(name)) or manifest[name] < 1:
            return f"{name!r} must be an integer from 1"
    names = manifest.get("class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return "'class_names' must be a list of strings"
    if len(names) != manifest["n_classes"]:
        return "'class_names' must hold 'n_classes' names"
    shape = manifest.get("image_shape")
    if shape is not None and not _is_image_shape(shape):
        return "'image_shape' must be null or [1 or 3, height, width]"
    views = manifest.get("views")
    if not isinstance(views, list) or not views:
        return "'views' must be a list of at least one view"
    for i, view in enumerate(views):
        if not _is_view(view, i):
            return f"view {i} must have its 'id', 'model', 'level' and 'file'"
        eps = view.get("eps")
        if eps is not None and not (_is_number(eps) and 0 < eps < float("inf")):
            return f"the 'eps' of view {i} must be null or a number above 0"
        if not _is_graph(view.get("graph")):
            return f"the 'graph' of view {i} must be null or say how it was computed"
    shown = {(view["model"], view["level"], view.get("layer", "")) for view in views}
    if len(shown) < len(views):
        return "'views' must hold each model, level and layer once"
    columns = manifest.get("columns", [])
    if not isinstance(columns, list) or not all(map(_is_column, columns)):
        return "'columns' must be a list of entries with 'name' and 'categories'"
    opening = manifest.get("opening", [0])
    if not isinstance(opening, list) or len(opening) not in (1, 2):
        return "'opening' must hold one or two views"
    if not all(_is_int(i) and 0 <= i < len(views) for i in opening):
        return "'opening' must hold one or two views"
    return None


def _is_column(column):
    if not isinstance(column, dict) or not isinstance(column.get("name"), str):
        return False
    categories = column.get("categories")
    return categories is None or (
        isinstance(categories, list)
        and all(isinstance(category, str) for category in categories)
    )


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_image_shape(shape):
    return (
        isinstance(shape, list)
        and len(shape) == 3
        and all(_is_int(side) and 1 <= side <= 4096 for side in shape)
        and shape[0] in (1, 3)
    )


def _is_view(view, i):
    if not isinstance(view, dict):
        return False
    level = view.get("level")
    return (
        view.get("id") == i
        # A name of our own: what the manifest says opens no other file.
        and view.get("file") == _view_file(i)
        and isinstance(view.get("model"), str)
        and isinstance(view.get("layer", ""), str)
        and _is_number(level)
        and 0 <= level < float("inf")
    )


def _is_graph(entry):
    if entry is None:
        return True
    return (
        isinstance(entry, dict)
        and set(entry) == {"parameters", "samples", "version", "eps", "n_intervals"}
        and isinstance(entry["parameters"], dict)
        and isinstance(entry["samples"], str)
        and isinstance(entry["version"], str)
        and _is_number(entry["eps"])
        and 0 < entry["eps"] < float("inf")
        and _is_int(entry["n_intervals"])
        and entry["n_intervals"] >= 1
    )


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Arrays:
    """Reads the arrays of a run, and rejects those that do not match the manifest."""

    def __init__(self, folder, manifest):
        self.folder = folder
        self.n_samples, self.n_classes = manifest["n_samples"], manifest["n_classes"]
        shape = manifest["image_shape"]
        self.image_shape = None if shape is None else tuple(shape)
        self._file, self._arrays = None, {}

    def _get(self, file, name, kinds, n_columns=None, *, optional=False):
        arrays = self._open(file)
        path = self.folder / file
        if name not in arrays:
            if optional:
                return None
            raise CorruptFileError(f"{path} must hold the array {name!r}.")
        array = arrays[name]
        shape = (self.n_samples,) if n_columns is None else (self.n_samples, n_columns)
        fits = len(array.shape) == len(shape) and all(
            want in (side, -1) for side, want in zip(array.shape, shape, strict=True)
        )
        if not fits or array.dtype.kind not in kinds or 0 in array.shape:
            raise CorruptFileError(
                f"{path}: the array {name!r} does not fit the manifest: it has the "
                f"shape {array.shape} and the type {array.dtype}."
            )
        return array

    def _open(self, file):
        if self._file != file:
            self._file, self._arrays = file, _read_npz(self.folder / file)
        return self._arrays

    def _refuse(self, file, name, what):
        raise CorruptFileError(f"{self.folder / file}: {name!r} holds {what}.")

    def classes(self, file, name):
        """Read indices of classes."""
        values = self._get(file, name, "iu")
        if values.min() < 0 or values.max() >= self.n_classes:
            self._refuse(file, name, f"classes outside 0 to {self.n_classes - 1}")
        return values.astype(np.int32, copy=False)

    def activations(self, file):
        """Read finite numbers, one row per sample."""
        values = self._get(file, "activations", "f", -1)
        if not np.isfinite(values).all():
            self._refuse(file, "activations", "NaN or infinity")
        return np.ascontiguousarray(values, dtype=np.float32)

    def confidence(self, file):
        """Read numbers from 0 to 1; NaN where unknown."""
        values = self._get(file, "confidence", "f").astype(np.float32, copy=False)
        if (values < 0).any() or (values > 1 + LARGEST_ERROR).any():
            self._refuse(file, "confidence", "numbers outside 0 to 1")
        return values

    def regions(self, file):
        """Read ids, if there are any."""
        values = self._get(file, "regions", "iu", optional=True)
        return None if values is None else values.astype(np.int64, copy=False)

    def column(self, k, entry):
        """Read numbers, or indices of categories; NaN where unknown."""
        name, categories = f"column_{k}", entry["categories"]
        values = self._get(_SAMPLES, name, "f").astype(np.float64, copy=False)
        if np.isinf(values).any():
            self._refuse(_SAMPLES, name, "infinity")
        known = values[~np.isnan(values)]
        if categories is not None and not np.isin(known, range(len(categories))).all():
            self._refuse(_SAMPLES, name, "categories that are not listed")
        return values

    def first_graph(self, file, entry):
        """Read the graph that the manifest has an entry for, if there is one."""
        if entry is None:
            return None
        stored, found = self._open(file), {}
        for name, (kinds, n_axes) in _ARRAYS_OF_GRAPH.items():
            array = stored.get(_in_file(name))
            if array is None or array.dtype.kind not in kinds or array.ndim != n_axes:
                self._refuse(file, _in_file(name), "no array that fits a graph")
            found[name] = array if kinds == "f" else array.astype(np.int64)
        graph = FirstGraph(**entry, **found)
        for name, is_right, what in _parts_of_graph(graph, self.n_samples):
            if not is_right:
                self._refuse(file, _in_file(name), f"something else than {what}")
        return graph

    def images(self, file):
        """Read bytes, one row per image, if there are any."""
        if self.image_shape is None:
            return None
        return self._get(
            file, "images", "u", prod(self.image_shape), optional=file != _SAMPLES
        )


def _parts_of_graph(graph, n_samples):
    """Say of one array after the other if it is right, and what that is.

    Later ones rely on what was said of earlier ones.
    """
    indptr, members, edges = graph.indptr, graph.members, graph.edges
    sizes = np.diff(indptr)
    is_split = len(sizes) > 0 and indptr[0] == 0 and (sizes > 0).all()
    yield "indptr", is_split, "the bounds of the nodes"
    is_sample = (members >= 0) & (members < n_samples)
    is_whole = len(members) == indptr[-1] and is_sample.all()
    yield "members", is_whole, f"samples from 0 to {n_samples - 1}, for each node"
    place = members + n_samples * np.repeat(np.arange(len(sizes)), sizes)
    yield "members", (np.diff(place) > 0).all(), "ascending samples of each node"
    is_interval = (graph.interval >= 0) & (graph.interval < graph.n_intervals)
    is_whole = len(is_interval) == len(sizes) and is_interval.all()
    yield "interval", is_whole, f"a number below {graph.n_intervals} for each node"
    is_finite = np.isfinite(graph.filter_mean)
    is_whole = len(is_finite) == len(sizes) and is_finite.all()
    yield "filter_mean", is_whole, "a finite number for each node"
    yield "edges", edges.shape[1] == 2, "pairs of nodes"
    smaller, larger = edges.T
    is_pair = (smaller >= 0) & (smaller < larger) & (larger < len(sizes))
    yield "edges", is_pair.all(), "pairs of nodes, the smaller first"
    is_whole = len(graph.n_shared) == len(edges) and (graph.n_shared > 0).all()
    yield "n_shared", is_whole, "a number from 1 for each edge"


def _read_npz(path):
    if not path.is_file():
        raise CorruptFileError(f"{path} is missing: the run is not whole.")
    return read_arrays(path, may_be_compressed=False)
