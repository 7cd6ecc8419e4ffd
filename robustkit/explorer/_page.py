"""The data of the page, and the page as one self-contained file.

The JavaScript of the page answers all questions about samples and nodes from arrays.
The server sends these on request; an exported file contains all of them.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from robustkit.explorer._graphs import Graph, GraphParameters, Graphs
from robustkit.explorer._layout import Picture, next_picture
from robustkit.explorer._run import Run, View, feature_columns, make_run
from robustkit.explorer._run_folder import as_run
from robustkit.plotting import class_colors
from robustkit.topology import MapperGraph

__all__ = [
    "COLUMNS",
    "LIMITS",
    "column_as_bytes",
    "describe_graph",
    "describe_run",
    "export_html",
    "members_as_bytes",
    "open_run",
    "page_as_html",
    "page_of_a_cell",
    "static_files",
]

# Smallest and largest values of the parameters of a graph.
LIMITS = {
    "n_intervals": (2, 200),
    "overlap": (0.01, 0.9),
    "min_samples": (1, 50),
    "second_intervals": (1, 50),
}

# Columns with one number per sample, in the types that questions.js expects. Region ids
# may exceed 32 bits. All but `y` belong to a view. The user's are "column 0" and so on.
COLUMNS = {"y": "<i4", "prediction": "<i4", "confidence": "<f4", "regions": "<f8"}

# Maximum number of bytes of images in a file; if there are more, an evenly spaced
# subset of the samples is embedded.
_IMAGE_BUDGET = 24_000_000

_SUFFIXES = (".html", ".css", ".js", ".svg")

_STYLE = '<link rel="stylesheet" href="static/style.css">'
_SCRIPT = '<script type="module" src="static/app.js"></script>'

# Where a page has its data from, one of these; and what shows a page in a notebook.
_SOURCES = ("data_from_server.js", "data_in_page.js", "data_from_notebook.js")
_WIDGET = "widget.js"

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; img-src data: blob:; "
    "style-src 'unsafe-inline'"
)


def describe_run(run: Run, graphs: Graphs) -> dict:
    """Describe a run for JSON: its samples, models, views and parameters."""
    categories = [column.categories or [] for column in run.columns]
    n_colors = max(map(len, [run.class_names, *categories]))
    return {
        "title": run.title,
        "n_samples": run.n_samples,
        "class_names": run.class_names,
        "image_shape": run.image_shape,
        "has_images": run.images is not None,
        "models": run.models,
        "views": [
            {
                "id": i,
                "model": view.model,
                "level": view.level,
                "layer": view.layer,
                "accuracy": run.accuracy(i),
                "has_confidence": bool(np.isfinite(view.confidence).any()),
                "has_regions": view.regions is not None,
            }
            for i, view in enumerate(run.views)
        ],
        "columns": [
            {"name": column.name, "categories": column.categories}
            for column in run.columns
        ],
        "opening": list(run.opening),
        "class_colors": {
            "light": class_colors(n_colors),
            "dark": class_colors(n_colors, dark=True),
        },
        "defaults": graphs.defaults,
        "limits": LIMITS,
        "filters": graphs.filters,
        "covers": graphs.covers,
        "has_stability": graphs.has_stability,
        "can_match": find_spec("ot") is not None,
        "embedded": False,
    }


def describe_graph(run: Run, picture: Picture, seconds: float) -> dict:
    """Describe a graph and its layout for JSON."""
    graph, layout = picture.graph, picture.layout
    described = {
        "graph": graph.parameters.key,
        "parameters": asdict(graph.parameters),
        "eps": round(graph.eps, 12) if np.isfinite(graph.eps) else None,
        "n_noise": graph.n_samples - graph.n_in_nodes,
        "n_in_nodes": graph.n_in_nodes,
        "seconds": round(seconds, 4),
        "purity": graph.mean_purity,
        "accuracy": run.accuracy(graph.parameters.view),
        "note": graph.note,
        "nodes": {
            "id": picture.ids.tolist(),
            "x": np.round(layout.x, 6).tolist(),
            "y": np.round(layout.y, 6).tolist(),
            "size": graph.size.tolist(),
            "interval": graph.interval.tolist(),
            "filter_mean": graph.filter_mean.tolist(),
            "purity": np.round(graph.purity, 6).tolist(),
            "accuracy": np.round(graph.accuracy, 6).tolist(),
            "counts": graph.counts.tolist(),
        },
        "edges": {
            "source": graph.edges[:, 0].tolist(),
            "target": graph.edges[:, 1].tolist(),
            "shared": graph.n_shared.tolist(),
        },
    }
    if graph.second_interval is not None and graph.second_filter_mean is not None:
        described["nodes"] |= {
            "second_interval": graph.second_interval.tolist(),
            "second_filter_mean": graph.second_filter_mean.tolist(),
        }
    if graph.stability is not None and graph.edge_stability is not None:
        described["nodes"]["stability"] = np.round(graph.stability, 6).tolist()
        described["edges"]["stability"] = np.round(graph.edge_stability, 6).tolist()
    if picture.beside is not None:
        described["beside"] = {
            "graph": picture.beside.other.parameters.key,
            "other_nodes": picture.beside.other_nodes.tolist(),
            "nodes": picture.beside.nodes.tolist(),
        }
    return described


def column_as_bytes(run: Run, name: str, view: int | None = None) -> bytes:
    """Return one of `COLUMNS`, which all but `y` need a view, or one of the user's."""
    if name.startswith("column "):
        column, dtype = run.columns[int(name.removeprefix("column "))].values, "<f8"
    else:
        column = run.y if view is None else getattr(run.views[view], name)
        dtype = COLUMNS[name]
    return np.ascontiguousarray(column, dtype=dtype).tobytes()


def members_as_bytes(graph: Graph) -> bytes:
    """Return the samples of each node, ascending, node after node."""
    return np.ascontiguousarray(graph.members, dtype="<i4").tobytes()


def static_files() -> dict[str, Traversable]:
    """Return the static files of the page by name.

    Names from requests are looked up here, never on the disk.
    """
    folder = files("robustkit.explorer").joinpath("static")
    return {
        path.name: path for path in folder.iterdir() if path.name.endswith(_SUFFIXES)
    }


def open_run(
    run: Run | str | PathLike | MapperGraph,
    mapper: MapperGraph | None = None,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    y_pred: ArrayLike | None = None,
    images: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[Run, MapperGraph | None]:
    """Return a run, and the mapper whose parameters it is shown with first.

    A mapper in place of a run is both: its points are the run. The parameters are those
    of :func:`explore`.
    """
    if isinstance(run, MapperGraph):
        if mapper is not None:
            raise ValueError(
                "The 'mapper' parameter goes with a run; a MapperGraph is shown with "
                "its own parameters first."
            )
        return _run_of_mapper(run, X, y, y_pred, images, class_names), run
    if any(given is not None for given in (X, y, y_pred, images, class_names)):
        raise ValueError(
            "The parameters 'X', 'y', 'y_pred', 'images' and 'class_names' go with a "
            "MapperGraph; a run holds its own."
        )
    return as_run(run), mapper


def _run_of_mapper(mapper, X, y, y_pred, images, class_names):
    if X is None:
        check_is_fitted(mapper)
        X = mapper._fit_X
        if hasattr(mapper, "feature_names_in_"):
            X = pd.DataFrame(X, columns=mapper.feature_names_in_, copy=False)
    if y is None:
        if y_pred is not None:
            raise ValueError("The 'y_pred' parameter needs 'y' to compare with.")
        y = np.zeros(len(X), dtype=int)
    if images is not None and np.ndim(images) not in (3, 4):
        raise ValueError(
            "The 'images' parameter must have the shape (n_samples, height, width) "
            f"or (n_samples, channels, height, width). Got {np.shape(images)}."
        )
    view = View("model", 0.0, X, y if y_pred is None else y_pred)
    run = make_run(
        y=y, views=[view], X=images, class_names=class_names, title="MapperGraph"
    )
    return replace(run, columns=feature_columns(X, run.y))


def export_html(
    run: Run | str | PathLike | MapperGraph,
    path: str | PathLike,
    *,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    y_pred: ArrayLike | None = None,
    images: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    mapper: MapperGraph | None = None,
) -> Path:
    """Write a run as one page that needs neither a server nor the network.

    Parameters
    ----------
    run : Run, path-like, str or MapperGraph
        A run, the folder of one, or a mapper.

    path : str or path-like
        The file; one that exists is replaced.

    X : array-like of shape (n_samples, n_features), default=None
        The points of a mapper, as in :func:`explore`.

    y : array-like of shape (n_samples,), default=None
        True labels of the points of a mapper.

    y_pred : array-like of shape (n_samples,), default=None
        Labels that a model predicts for them. None takes `y`.

    images : array-like of shape (n_samples, height, width) or (n_samples, channels, \
            height, width), default=None
        What the points of a mapper look like: bytes, or numbers from 0 to 1.

    class_names : list of str, default=None
        Names of the classes of `y`, as in :func:`save_run`.

    mapper : MapperGraph, default=None
        Its parameters are those of the graphs of a run, one for each view; a mapper is
        shown with its own. None is
        :class:`~robustkit.topology.MapperGraph` with 40 intervals.

    Returns
    -------
    path : Path
        The file.

    See Also
    --------
    explore : The same page with a server, where the parameters can be changed.
    load_run : Reads a run.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from robustkit.explorer import View, export_html, save_run
    >>> view = View("M", 0.0, [[0.2, 1.3], [2.1, 0.4]] * 9, [1, 0] * 9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = save_run(Path(folder) / "run", y=[1, 0] * 9, views=[view])
    ...     page = export_html(saved, Path(folder) / "page.html")
    ...     page.read_text("utf-8")[:15]
    '<!doctype html>'
    """
    run, mapper = open_run(run, mapper, X, y, y_pred, images, class_names)
    graphs, path = Graphs(run, mapper), Path(path)
    parameters = GraphParameters(view=0, **graphs.defaults)
    path.write_text(page_as_html(run, graphs, parameters), "utf-8")
    return path


def page_as_html(run: Run, graphs: Graphs, parameters: GraphParameters) -> str:
    """Return the page with its style, scripts and data as one HTML text.

    All graphs have the same parameters, except for the view.
    """
    data = json.dumps(
        page_data(run, graphs, parameters), allow_nan=False, separators=(",", ":")
    )
    return _whole_page(
        "data_in_page.js",
        '<script type="application/json" id="robustkit-data">'
        # No name can end the element.
        + data.replace("<", "\\u003c")
        + "</script>",
    )


def page_of_a_cell() -> str:
    """Return the page for a cell of a notebook, which asks the kernel for its data."""
    return _whole_page("data_from_notebook.js")


def _whole_page(source, data=""):
    """Return the page, whose data come from the module `source`, as one HTML text."""
    parts = {name: path.read_text("utf-8") for name, path in static_files().items()}
    imports = json.dumps({"imports": _imports(parts, source)})
    script = "\n".join(
        [
            f'<script type="importmap">{imports}</script>',
            data,
            '<script type="module">import "robustkit/app.js";</script>',
        ]
    )
    page = parts["index.html"]
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    for old, new in (
        ("<head>", f"<head>\n{policy}"),
        (_STYLE, f"<style>\n{parts['style.css']}</style>"),
        (_SCRIPT, script),
    ):
        page = _replaced(page, old, new)
    return page


def _imports(parts, source):
    """Map names of modules to their texts, in the form of an import map."""
    modules = {name: text for name, text in parts.items() if name.endswith(".js")}
    # The same arrays, from elsewhere than a server.
    modules["app.js"] = _replaced(modules["app.js"], _SOURCES[0], source)
    return {
        f"robustkit/{name}": "data:text/javascript;base64,"
        + _base64(text.replace('from "./', 'from "robustkit/').encode())
        for name, text in modules.items()
        if name == source or name not in (*_SOURCES, _WIDGET)
    }


def _replaced(text, old, new):
    if text.count(old) != 1:
        raise RuntimeError(f"the page must hold {old} once")
    return text.replace(old, new)


def page_data(run: Run, graphs: Graphs, parameters: GraphParameters) -> dict:
    """Collect the data that `data_in_page.js` reads, for JSON."""
    shared = asdict(parameters)
    del shared["view"]
    pictures = _pictures(run, graphs, parameters)
    shared_columns = ["y", *(f"column {k}" for k in range(len(run.columns)))]
    columns = {name: _base64(column_as_bytes(run, name)) for name in shared_columns}
    for i, view in enumerate(run.views):
        for name in ("prediction", "confidence", "regions"):
            if getattr(view, name) is not None:
                columns[f"{name} {i}"] = _base64(column_as_bytes(run, name, i))
    return {
        # The levels of a model have their nodes matched already.
        "run": describe_run(run, graphs)
        | {"defaults": shared, "embedded": True, "can_match": True},
        "columns": columns,
        "graphs": {
            str(i): describe_graph(run, picture, 0.0)
            for i, picture in sorted(pictures.items())
        },
        "members": {
            picture.graph.parameters.key: _base64(members_as_bytes(picture.graph))
            for picture in pictures.values()
        },
        "images": _images(run),
    }


def _pictures(run, graphs, parameters):
    """Return the graph of every view; nodes persist from level to level of a model."""
    pictures, last = {}, {}
    for i in sorted(range(len(run.views)), key=lambda i: run.views[i].level):
        shown = run.views[i].model, run.views[i].layer
        graph = graphs.compute(replace(parameters, view=i), soon=True)
        pictures[i] = last[shown] = next_picture(graph, last.get(shown))
    return pictures


def _images(run):
    if run.images is None:
        return None
    own = {str(i): v.images for i, v in enumerate(run.views) if v.images is not None}
    most = _IMAGE_BUDGET // (run.images.shape[1] * (1 + len(own)))
    ids = np.arange(run.n_samples)
    if run.n_samples > most:
        ids = np.unique(np.linspace(0, run.n_samples - 1, max(1, most)).astype(int))
    return {
        "ids": _base64(ids.astype("<i4").tobytes()),
        "bytes": {
            name: _base64(images[ids].tobytes())
            for name, images in [("clean", run.images), *own.items()]
        },
    }


def _base64(content):
    return b64encode(content).decode()
