"""What the page may ask, and the answers."""

import time

import numpy as np
from starlette.responses import Response

from robustkit.explorer._fields import Fields
from robustkit.explorer._graphs import GraphParameters
from robustkit.explorer._layout import lay_out
from robustkit.explorer._newest import NewestOnly
from robustkit.explorer._queries import (
    as_number,
    found_in_nodes,
    list_members,
    samples_confused,
)

__all__ = ["Api", "Gone"]

_N_INTERVALS = (2, 200)
_OVERLAP = (0.01, 0.9)
_MIN_SAMPLES = (1, 50)
_EPS = (1e-12, 1e12)
_LARGEST_SEQ = 2**53

_PARAMETERS = (
    "view", "filter", "cover", "n_intervals", "overlap", "eps", "min_samples"
)  # fmt: skip
_MOST_IMAGES = 500
_MOST_FOUND = 5000


class Gone(LookupError):
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
        self._newest = NewestOnly()
        self.gets = {
            "run": self.describe_run,
            "members": self.members,
            "search": self.search,
            "images": self.images,
        }
        self.posts = {"graph": self.graph, "where": self.where}

    async def describe_run(self, values):
        """Say what there is to see."""
        Fields(values, [])
        run = self.run
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
                    "accuracy": float((view.prediction == run.y).mean()),
                    "has_regions": view.regions is not None,
                }
                for i, view in enumerate(run.views)
            ],
            "defaults": self.graphs.defaults,
            "limits": {
                "n_intervals": _N_INTERVALS,
                "overlap": _OVERLAP,
                "min_samples": _MIN_SAMPLES,
            },
            "filters": self.graphs.filters,
            "covers": self.graphs.covers,
        }

    async def graph(self, values):
        """Compute a graph and lay it out."""
        fields = Fields(values, ["tab", "pane", "seq", *_PARAMETERS])
        pane = fields.text("tab", 64), fields.choice("pane", ["left", "right"])
        seq = fields.integer("seq", 0, _LARGEST_SEQ)
        parameters = self._parameters(fields)

        def compute(cancelled):
            start = time.perf_counter()
            graph = self.graphs.compute(parameters, cancelled)
            places = lay_out(graph)
            return graph, places, time.perf_counter() - start

        return self._show(*await self._newest.run(pane, seq, compute))

    def _parameters(self, fields):
        eps = "auto"
        if not fields.is_text("eps", "auto"):
            eps = fields.number("eps", *_EPS)
        return GraphParameters(
            view=fields.integer("view", 0, len(self.run.views) - 1),
            filter=fields.choice("filter", self.graphs.filters),
            cover=fields.choice("cover", self.graphs.covers),
            n_intervals=fields.integer("n_intervals", *_N_INTERVALS),
            overlap=fields.number("overlap", *_OVERLAP),
            eps=eps,
            min_samples=fields.integer("min_samples", *_MIN_SAMPLES),
        )

    def _show(self, graph, places, seconds):
        view = self.run.views[graph.parameters.view]
        x, y, radius = places
        return {
            "graph": graph.parameters.key,
            "eps": as_number(graph.eps, 12),
            "n_noise": graph.n_samples - graph.n_in_nodes,
            "n_in_nodes": graph.n_in_nodes,
            "seconds": round(seconds, 4),
            "purity": graph.mean_purity,
            "accuracy": float((view.prediction == self.run.y).mean()),
            "note": graph.note,
            "nodes": {
                "id": list(range(graph.n_nodes)),
                "x": np.round(x, 5).tolist(),
                "y": np.round(y, 5).tolist(),
                "radius": np.round(radius, 5).tolist(),
                "size": graph.size.tolist(),
                "interval": graph.interval.tolist(),
                "filter_mean": graph.filter_mean.tolist(),
                "purity": np.round(graph.purity, 5).tolist(),
                "accuracy": np.round(graph.accuracy, 5).tolist(),
                "counts": graph.counts.tolist(),
            },
            "edges": {
                "source": graph.edges[:, 0].tolist(),
                "target": graph.edges[:, 1].tolist(),
                "shared": graph.n_shared.tolist(),
            },
        }

    def _graph(self, fields, name="graph"):
        graph = self.graphs.find(fields.text(name, 64))
        if graph is None:
            raise Gone("the graph was forgotten; ask for it anew")
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
            raise Gone("this run has no images")
        images = self.run.images
        if not fields.is_text("view", "clean"):
            view = self.run.views[fields.integer("view", 0, len(self.run.views) - 1)]
            images = images if view.images is None else view.images
        ids = fields.integers("ids", self.run.n_samples, _MOST_IMAGES)
        content = images[np.array(ids, dtype=np.int64)].tobytes()
        return Response(content, media_type="application/octet-stream")
