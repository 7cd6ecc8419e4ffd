"""The explorer as a widget: the page in a cell, and the selection in Python.

The page is the one that the server serves. Its requests come as messages to the kernel,
so that it is seen wherever a notebook is, on a computer far away, too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustkit.explorer._graphs import GraphParameters, Graphs
from robustkit.explorer._page import (
    describe_run,
    open_run,
    page_of_a_cell,
    static_files,
)
from robustkit.explorer._requests import Api, Fields, Reply, refusal, reply
from robustkit.explorer._run import Run
from robustkit.topology import MapperGraph, graph_as_svg

try:
    import traitlets
    from anywidget import AnyWidget
except ImportError as error:
    # The class is there, so that it can be imported and read about.
    AnyWidget = object
    _missing: str | None = error.name
else:
    _missing = None

__all__ = ["MapperWidget"]

# The picture is for notebooks that are read without a kernel: where the page is seen,
# JupyterLab and Jupyter Notebook hide it.
_STYLE = (
    ".jp-OutputArea-child:has(.robustkit-widget) + .jp-OutputArea-child "
    "{ display: none; }"
)

# Larger graphs have no picture before the page has drawn them.
_MOST_NODES = 400

_LONGEST_FRAGMENT = 2**20

# Requests that are being answered: a loop itself would forget them.
_TASKS: set[asyncio.Task] = set()


class MapperWidget(AnyWidget):
    """Look inside models in a notebook, and take what is selected back to Python.

    It shows the page of :func:`explore` below the cell. It needs no server: the page
    speaks with the kernel of the notebook, wherever that runs. A saved notebook keeps
    a picture of it. anywidget must be installed (``pip install
    'robustkit[notebook]'``).

    Parameters
    ----------
    run : Run, path-like, str or MapperGraph
        A run, the folder of one, or a mapper.

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
        Its parameters are those that a run is shown with first; a mapper is
        shown with its own. None is
        :class:`~robustkit.topology.MapperGraph` with 40 intervals.

    height : int, default=640
        Height in pixels.

    Attributes
    ----------
    selection : ndarray of shape (n_selected,)
        The samples in the nodes that are selected in the page, in the pane in focus:
        their indices, each once, ascending. ``observe(function, "selection")`` calls
        a function whenever it changes.

    See Also
    --------
    explore : The same page with a server, in a window of its own.
    export_html : The page as one file, without Python.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from robustkit.explorer import MapperWidget
    >>> from robustkit.topology import MapperGraph
    >>> X, y = load_iris(return_X_y=True)
    >>> mapper = MapperGraph(n_intervals=8, eps=0.6).fit(X)
    >>> widget = MapperWidget(mapper, y=y)
    >>> widget  # in a notebook, the page
    MapperWidget(0 of 150 samples selected)
    >>> X[widget.selection].shape
    (0, 4)
    """

    selection: NDArray

    # Closing must work where __init__ failed.
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(
        self,
        run: Run | str | PathLike | MapperGraph,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        y_pred: ArrayLike | None = None,
        images: ArrayLike | None = None,
        *,
        class_names: Sequence[str] | None = None,
        mapper: MapperGraph | None = None,
        height: int = 640,
    ) -> None:
        if _missing is not None:
            raise ImportError(
                f"MapperWidget needs {_missing}, which is not installed. Do: pip "
                "install 'robustkit[notebook]'"
            )
        run, mapper = open_run(run, mapper, X, y, y_pred, images, class_names)
        self._run, self._graphs = run, Graphs(run, mapper)
        self._api = Api(run, self._graphs)
        self._answers = self._api.gets | self._api.posts | {"run": self._describe_run}
        self._fragment: str | None = None
        self._picture: tuple[bytes, int] | None = None
        self._displays: list[Any] = []
        self._esm = static_files()["widget.js"].read_text("utf-8")
        self._css = _STYLE
        self.add_traits(
            _page=traitlets.Unicode(page_of_a_cell()).tag(sync=True),
            _height=traitlets.Int(height).tag(sync=True),
            selection=traitlets.Any(np.empty(0, np.int64), read_only=True),
        )
        super().__init__()
        self.on_msg(self._hear)

    def __repr__(self) -> str:
        n_samples = self._run.n_samples
        return (
            f"MapperWidget({len(self.selection):,} of {n_samples:,} samples selected)"
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle, metadata = self._repr_mimebundle_()
        display(bundle, metadata=metadata, raw=True)
        picture, metadata = self._picture_bundle()
        handle = display(picture, metadata=metadata, raw=True, display_id=True)
        self._displays.append(handle)

    def _picture_bundle(self):
        """Return what notebooks show without a kernel, and its metadata."""
        if self._picture is not None:
            content, width = self._picture
            return {"image/png": content}, {"image/png": {"width": width}}
        first = GraphParameters(view=self._run.opening[0], **self._graphs.defaults)
        graph = self._graphs.compute(first, soon=True)
        bundle = {"text/plain": f"Mapper graph of {graph.n_nodes} nodes"}
        if 0 < graph.n_nodes <= _MOST_NODES:
            bundle["image/svg+xml"] = graph_as_svg(
                graph.interval, graph.size, graph.edges
            )
        return bundle, {}

    def _hear(self, _, content, buffers):
        """Take a message of the page: something to know, or a request."""
        route, values = content["route"], content["values"]
        if route == "select":
            self._select(np.frombuffer(buffers[0], "<i4"))
        elif route == "picture":
            self._keep_picture(bytes(buffers[0]), round(values["width"]))
        elif route == "keep":
            self._fragment = Fields(values, ["fragment"]).text(
                "fragment", _LONGEST_FRAGMENT
            )
        else:
            self._start(self._answer(content["id"], route, values))

    def _select(self, samples):
        samples = samples.astype(np.int64)
        if not np.array_equal(samples, self.selection):
            self.set_trait("selection", samples)

    def _keep_picture(self, content, width):
        self._picture = content, width
        bundle, metadata = self._picture_bundle()
        for handle in self._displays:
            handle.update(bundle, metadata=metadata, raw=True)

    def _start(self, answering):
        """Let a request be answered after this message, or, without a loop, now."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(answering)
        else:
            task = loop.create_task(answering)
            _TASKS.add(task)
            task.add_done_callback(_TASKS.discard)

    async def _answer(self, id, route, values):
        """Answer a request in the loop in which it came."""
        if route in self._answers:
            # Requests may come in several loops, and wait for each other.
            answering = asyncio.run_coroutine_threadsafe(
                reply(self._answers[route], values), self._own_loop()
            )
            answer = await asyncio.wrap_future(answering)
        else:
            answer = refusal(404, f"there is no {route!r}")
        self._send_reply(id, answer)

    def _send_reply(self, id: str, answer: Reply) -> None:
        content = {"id": id, "status": answer.status, "type": answer.media_type}
        self.send(content, buffers=[answer.body])

    def _own_loop(self):
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_run, args=(self._loop,), daemon=True
            )
            self._thread.start()
        return self._loop

    async def _describe_run(self, values: object) -> dict:
        Fields(values, [])
        described = describe_run(self._run, self._graphs)
        if self._fragment is not None:
            described["fragment"] = self._fragment
        return described

    def close(self) -> None:
        """Take the page away, and stop answering it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = None
        super().close()


def _run(loop):
    try:
        loop.run_forever()
        # Whoever waits for an answer waits no longer.
        answering = asyncio.all_tasks(loop)
        for task in answering:
            task.cancel()
        if answering:
            loop.run_until_complete(asyncio.wait(answering))
    finally:
        loop.close()
