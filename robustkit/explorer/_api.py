"""What the page may ask, and the answers."""

import json
import time
from collections import OrderedDict

import numpy as np
from starlette.responses import Response

from robustkit.explorer._export import (
    graph_as_dict,
    graph_as_graphml,
    selection_as_csv,
)
from robustkit.explorer._fields import Fields
from robustkit.explorer._graphs import GraphParameters
from robustkit.explorer._newest import NewestOnly, in_thread
from robustkit.explorer._page_file import page_as_html
from robustkit.explorer._persistence import next_picture
from robustkit.explorer._queries import (
    LIMITS,
    as_items,
    describe_run,
    found_in_nodes,
    list_members,
    samples_confused,
    show,
    trace_levels,
)

__all__ = ["Api", "GoneError"]

_EPS = (1e-12, 1e12)
_LARGEST_SEQ = 2**53
_FARTHEST = 1e6

_PARAMETERS = (
    "view", "filter", "cover", "n_intervals", "overlap", "eps", "min_samples"
)  # fmt: skip
_MOST_IMAGES = 500
_MOST_FOUND = 5000
_MOST_PANES = 64


class GoneError(LookupError):
    """A graph that was forgotten meanwhile."""


class Api:
    """Answers requests.

    Parameters
    ----------
    run : Run
        The samples and views.

    graphs : Graphs
        Computes and keeps the graphs.

    Attributes
    ----------
    gets, posts : dict
        Name -> coroutine function of the values of a request.
    """

    def __init__(self, run, graphs):
        self.run, self.graphs = run, graphs
        self._newest = NewestOnly(n_panes=_MOST_PANES)
        self._pictures = OrderedDict()
        self.gets = {
            "run": self.describe_run,
            "samples": self.samples,
            "search": self.search,
            "images": self.images,
            "export": self.export,
            "page.html": self.page,
        }
        # What can name thousands of nodes has no room in an address.
        self.posts = {
            "graph": self.graph,
            "members": self.members,
            "where": self.where,
            "curve": self.curve,
            "selection.csv": self.selection,
        }

    async def describe_run(self, values):
        """Say what there is to see."""
        Fields(values, [])
        return describe_run(self.run, self.graphs)

    async def graph(self, values):
        """Compute a graph and lay it out."""
        fields = Fields(values, ["tab", "pane", "seq", "x", "y", *_PARAMETERS])
        tab, seq = self._order(fields)
        places = None
        if "x" in fields or "y" in fields:
            places = fields.numbers("x", _FARTHEST), fields.numbers("y", _FARTHEST)
        pane = tab, fields.choice("pane", ["left", "right"])
        parameters = self._parameters(fields)

        def compute(cancelled):
            start = time.perf_counter()
            graph = self.graphs.compute(parameters, cancelled)
            picture = next_picture(graph, self._pictures.get(pane), places)
            return picture, time.perf_counter() - start

        picture, seconds = await self._newest.run(pane, seq, compute)
        self._pictures[pane] = picture
        self._pictures.move_to_end(pane)
        while len(self._pictures) > _MOST_PANES:
            self._pictures.popitem(last=False)
        return show(self.run, picture, seconds)

    @staticmethod
    def _order(fields):
        return fields.text("tab", 64), fields.integer("seq", 0, _LARGEST_SEQ)

    def _parameters(self, fields):
        eps = "auto"
        if not fields.is_text("eps", "auto"):
            eps = fields.number("eps", *_EPS)
        return GraphParameters(
            view=fields.integer("view", 0, len(self.run.views) - 1),
            filter=fields.choice("filter", self.graphs.filters),
            cover=fields.choice("cover", self.graphs.covers),
            n_intervals=fields.integer("n_intervals", *LIMITS["n_intervals"]),
            overlap=fields.number("overlap", *LIMITS["overlap"]),
            eps=eps,
            min_samples=fields.integer("min_samples", *LIMITS["min_samples"]),
        )

    def _graph(self, fields, name="graph"):
        graph = self.graphs.find(fields.text(name, 64))
        if graph is None:
            raise GoneError("the graph was forgotten; ask for it anew")
        return graph

    async def members(self, values):
        """List the samples of some nodes."""
        fields = Fields(values, ["graph", "nodes", "offset", "limit", "sort"])
        graph = self._graph(fields)
        return list_members(
            self.run,
            graph,
            fields.integers("nodes", graph.n_nodes, graph.n_nodes),
            offset=fields.integer("offset", 0, self.run.n_samples, default=0),
            limit=fields.integer("limit", 1, _MOST_IMAGES, default=60),
            sort=fields.choice(
                "sort", ["index", "confidence", "wrong"], default="index"
            ),
        )

    async def samples(self, values):
        """Describe some samples."""
        fields = Fields(values, ["graph", "ids"])
        view = self.run.views[self._graph(fields).parameters.view]
        ids = fields.integers("ids", self.run.n_samples, _MOST_IMAGES)
        return {"samples": as_items(self.run, view, np.array(ids, dtype=np.int64))}

    async def search(self, values):
        """Find a sample, or those of one class taken for another."""
        fields = Fields(values, ["graph", "sample", "true", "predicted"])
        graph = self._graph(fields)
        if "sample" in fields:
            last = self.run.n_samples - 1
            samples = np.array([fields.integer("sample", 0, last)])
        else:
            last = len(self.run.class_names) - 1
            samples = samples_confused(
                self.run,
                self.run.views[graph.parameters.view],
                fields.integer("true", 0, last),
                fields.integer("predicted", 0, last),
            )
        found = found_in_nodes(graph, samples)
        return found | {"samples": samples[:_MOST_FOUND].tolist()}

    async def where(self, values):
        """Find the samples of nodes of one graph in another."""
        fields = Fields(values, ["graph", "from", "nodes", "samples"])
        graph, n_samples = self._graph(fields), self.run.n_samples
        if "samples" in fields:
            samples = np.unique(fields.integers("samples", n_samples, n_samples))
            samples = samples.astype(np.int64)
        else:
            old = self._graph(fields, "from")
            samples = old.samples_of(fields.integers("nodes", old.n_nodes, old.n_nodes))
        return found_in_nodes(graph, samples)

    async def images(self, values):
        """Give images as bytes, one after the other."""
        fields = Fields(values, ["view", "ids"])
        if self.run.images is None:
            raise GoneError("this run has no images")
        images = self.run.images
        if not fields.is_text("view", "clean"):
            view = self.run.views[fields.integer("view", 0, len(self.run.views) - 1)]
            images = images if view.images is None else view.images
        ids = fields.integers("ids", self.run.n_samples, _MOST_IMAGES)
        content = images[np.array(ids, dtype=np.int64)].tobytes()
        return Response(content, media_type="application/octet-stream")

    async def curve(self, values):
        """Trace purity and accuracy of one model over its attack levels."""
        fields = Fields(values, ["tab", "seq", "model", *_PARAMETERS])
        tab, seq = self._order(fields)
        model = fields.choice("model", self.run.models)
        fields.default("view", 0)
        parameters = self._parameters(fields)

        def compute(cancelled):
            return trace_levels(self.run, self.graphs, parameters, model, cancelled)

        return await self._newest.run((tab, "curve"), seq, compute)

    async def export(self, values):
        """Give a graph as a file."""
        fields = Fields(values, ["graph", "format"])
        graph = self._graph(fields)
        if fields.choice("format", ["json", "graphml"]) == "json":
            text = json.dumps(graph_as_dict(self.run, graph), indent=1)
            return _download(text, "graph.json", "application/json")
        return _download(graph_as_graphml(self.run, graph), "graph.graphml", "text/xml")

    async def selection(self, values):
        """Give the samples of some nodes as a table."""
        fields = Fields(values, ["graph", "nodes"])
        graph = self._graph(fields)
        nodes = fields.integers("nodes", graph.n_nodes, graph.n_nodes)
        text = selection_as_csv(self.run, graph, nodes)
        return _download(text, "selection.csv", "text/csv; charset=utf-8")

    async def page(self, values):
        """Give everything at some parameters as one page that needs no server."""
        values = {name: _as_json(value) for name, value in values.items()}
        parameters = self._parameters(Fields({"view": 0} | values, _PARAMETERS))
        text = await in_thread(page_as_html, self.run, self.graphs, parameters)
        return _download(text, "robustkit.html", "text/html; charset=utf-8")


def _as_json(text):
    """Turn a value of a query into what it would be in JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _download(text, name, media_type):
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=media_type, headers=headers)
