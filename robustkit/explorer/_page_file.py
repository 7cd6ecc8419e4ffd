"""The page as one file that needs neither a server nor the network."""

import json
from base64 import b64encode
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from robustkit.explorer._graphs import GraphParameters, Graphs
from robustkit.explorer._persistence import next_picture
from robustkit.explorer._queries import describe_run, show

__all__ = ["export_html", "page_as_html", "static_files"]

# Bytes of images in a file; beyond, samples spread evenly over the run have theirs.
_IMAGE_BUDGET = 24_000_000

_SUFFIXES = (".html", ".css", ".js", ".svg")

_STYLE = '<link rel="stylesheet" href="static/style.css">'
_SCRIPT = '<script type="module" src="static/app.js"></script>'

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; img-src data: blob:; "
    "style-src 'unsafe-inline'"
)


def static_files():
    """List the files of the page.

    Returns
    -------
    files : dict
        Name -> path of all there are. What a request names is looked up here, never on
        the disk.
    """
    folder = files("robustkit.explorer").joinpath("static")
    return {
        path.name: path for path in folder.iterdir() if path.name.endswith(_SUFFIXES)
    }


def export_html(run, path, *, mapper=None):
    """Write a run as one page that needs neither a server nor the network.

    Parameters
    ----------
    run : Run
        The samples and views, from :func:`load_run`.

    path : str or path-like
        The file; one that exists is replaced.

    mapper : MapperGraph, default=None
        Its parameters are those of the graphs, one for each view. None is
        :class:`~robustkit.topology.MapperGraph` with its defaults.

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
    >>> from robustkit.explorer import View, export_html, load_run, save_run
    >>> view = View("M", 0.0, [[0.2, 1.3], [2.1, 0.4]] * 9, [1, 0] * 9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = save_run(Path(folder) / "run", y=[1, 0] * 9, views=[view])
    ...     page = export_html(load_run(saved), Path(folder) / "page.html")
    ...     page.read_text("utf-8")[:15]
    '<!doctype html>'
    """
    graphs, path = Graphs(run, mapper), Path(path)
    parameters = GraphParameters(view=0, **graphs.defaults)
    path.write_text(page_as_html(run, graphs, parameters), "utf-8")
    return path


def page_as_html(run, graphs, parameters):
    """Put the page, its parts and all data into one text.

    Parameters
    ----------
    run : Run
        The samples and views.

    graphs : Graphs
        Computes the graphs.

    parameters : GraphParameters
        Those of all graphs, but for the view.

    Returns
    -------
    text : str
        HTML.
    """
    parts = {name: path.read_text("utf-8") for name, path in static_files().items()}
    data = json.dumps(
        page_data(run, graphs, parameters), allow_nan=False, separators=(",", ":")
    )
    imports = json.dumps({"imports": _imports(parts)})
    script = "\n".join(
        [
            f'<script type="importmap">{imports}</script>',
            # No name can end the element.
            '<script type="application/json" id="robustkit-data">'
            + data.replace("<", "\\u003c")
            + "</script>",
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
        if page.count(old) != 1:
            raise RuntimeError(f"index.html must hold {old} once")
        page = page.replace(old, new)
    return page


def _imports(parts):
    """Map names of modules to their texts, in the form of an import map."""
    modules = {name: text for name, text in parts.items() if name.endswith(".js")}
    # The same calls, answered from the data in the page.
    modules["transport.js"] = modules.pop("transport_embedded.js")
    return {
        f"robustkit/{name}": "data:text/javascript;base64,"
        + b64encode(text.replace('from "./', 'from "robustkit/').encode()).decode()
        for name, text in modules.items()
    }


def page_data(run, graphs, parameters):
    """Collect all that a page without a server shows.

    Parameters
    ----------
    run : Run
        The samples and views.

    graphs : Graphs
        Computes the graphs.

    parameters : GraphParameters
        Those of all graphs, but for the view.

    Returns
    -------
    data : dict
        For JSON.
    """
    shared = asdict(parameters)
    del shared["view"]
    pictures = _pictures(run, graphs, parameters)
    return {
        "run": {**describe_run(run, graphs), "embedded": True},
        "parameters": shared,
        "y": _base64(run.y, "<i4"),
        "views": {str(i): _view_data(run, i, pictures[i]) for i in sorted(pictures)},
        "images": None if run.images is None else _images(run),
    }


def _pictures(run, graphs, parameters):
    """Return the graph of every view; nodes persist from level to level of a model."""
    pictures, last = {}, {}
    for i in sorted(range(len(run.views)), key=lambda i: run.views[i].level):
        model = run.views[i].model
        graph = graphs.compute(replace(parameters, view=i))
        pictures[i] = last[model] = next_picture(graph, last.get(model))
    return pictures


def _view_data(run, i, picture):
    view, graph = run.views[i], picture.graph
    regions = None if view.regions is None else _base64(view.regions, "<i4")
    return {
        "prediction": _base64(view.prediction, "<i4"),
        "confidence": _base64(view.confidence, "<f4"),
        "regions": regions,
        "graph": show(run, picture, 0.0),
        "offsets": _base64(graph.indptr, "<i4"),
        "members": _base64(graph.members, "<i4"),
    }


def _images(run):
    own = {i: v.images for i, v in enumerate(run.views) if v.images is not None}
    most = _IMAGE_BUDGET // (run.images.shape[1] * (1 + len(own)))
    ids = np.arange(run.n_samples)
    if run.n_samples > most:
        ids = np.unique(np.linspace(0, run.n_samples - 1, max(1, most)).astype(int))
    return {
        "ids": _base64(ids, "<i4"),
        "clean": _base64(run.images[ids], "u1"),
        "views": {str(i): _base64(images[ids], "u1") for i, images in own.items()},
    }


def _base64(array, dtype):
    return b64encode(np.ascontiguousarray(array, dtype=dtype)).decode()
