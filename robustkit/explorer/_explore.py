"""Open a run in the browser."""

from __future__ import annotations

import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from html import escape
from os import PathLike
from types import ModuleType

from numpy.typing import ArrayLike

from robustkit.explorer._graphs import Graphs
from robustkit.explorer._page import open_run
from robustkit.explorer._run import Run
from robustkit.topology import MapperGraph

__all__ = ["Explorer", "explore"]

# A notebook is a page on any port of this computer, or of Visual Studio Code. It cannot
# read the page in its frame, which has another origin.
_FRAMES_OF_NOTEBOOKS = "http://127.0.0.1:* http://localhost:* vscode-webview:"


class Explorer:
    """The server of the page, for this computer only.

    Port 0 takes any free port. In a notebook, pages of this computer may show the page
    in a frame.

    Attributes
    ----------
    url : str
        Its address.
    """

    url: str

    def __init__(
        self, run: Run, graphs: Graphs, port: int = 0, in_notebook: bool = False
    ):
        uvicorn = import_server()
        from robustkit.explorer._server import Guard, make_app

        self._socket = socket.create_server(("127.0.0.1", port))
        # asyncio does not set it on sockets made elsewhere; without it, each response
        # waits 40 ms for the browser to acknowledge its first part.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = self._socket.getsockname()[1]
        token = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{port}/{token}/"
        app = Guard(
            make_app(run, graphs),
            token,
            port,
            _FRAMES_OF_NOTEBOOKS if in_notebook else "'none'",
        )
        config = uvicorn.Config(
            app, log_level="critical", lifespan="off", ws="none", http="h11",
            loop="asyncio", access_log=False, server_header=False,
            # Open requests do not delay Ctrl-C.
            timeout_graceful_shutdown=0,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        # Not only when it serves: meanwhile a browser takes its time to open.
        graphs.prepare()

    def serve(self) -> None:
        """Serve until Ctrl-C."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def start(self) -> None:
        """Serve in the background."""
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{escape(self.url)}" title="robustkit explorer" '
            'width="100%" height="760" style="border: 0" '
            'allow="clipboard-write"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Explorer({self.url})"


def import_server() -> ModuleType:
    """Import uvicorn, which runs the server, or say what to install."""
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ImportError(
            f"The explorer needs {error.name}, which is not installed. "
            'Do: pip install "robustkit[explorer]"'
        ) from error
    return uvicorn


def explore(
    run: Run | str | PathLike | MapperGraph,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    y_pred: ArrayLike | None = None,
    images: ArrayLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    mapper: MapperGraph | None = None,
    port: int = 0,
    open_browser: bool = True,
    block: bool | None = None,
) -> Explorer:
    """Look inside models in the browser.

    Parameters
    ----------
    run : Run, path-like, str or MapperGraph
        A run, the folder of one, or a mapper.

    X : array-like of shape (n_samples, n_features), default=None
        The points of a mapper, for example activations. None takes those that it was
        fitted to. Where there are at most 32 features, nodes can be coloured by each.

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

    port : int, default=0
        Where to listen, on this computer alone; 0 takes any free port.

    open_browser : bool, default=True
        Whether to open the page in the browser; a notebook shows it inline instead.

    block : bool, default=None
        Whether to go on serving until Ctrl-C. None does so in a script, and serves in
        the background in an interactive session.

    Returns
    -------
    explorer : Explorer
        The page: its `url`, and `close` to stop it.

    See Also
    --------
    save_run : Stores a run for later.
    export_html : The page as one file, without a server.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from robustkit.explorer import explore
    >>> from robustkit.topology import MapperGraph
    >>> X, y = load_iris(return_X_y=True)
    >>> mapper = MapperGraph(n_intervals=8, eps=0.6).fit(X)
    >>> explorer = explore(mapper, y=y, open_browser=False, block=False)
    http://127.0.0.1:.../.../
    >>> explorer.close()
    """
    run, mapper = open_run(run, mapper, X, y, y_pred, images, class_names)
    in_notebook = _in_notebook()
    explorer = Explorer(run, Graphs(run, mapper), port, in_notebook)
    # On a line of its own, so that other programs can read it.
    sys.stdout.write(f"{explorer.url}\n")
    sys.stdout.flush()
    if open_browser and not in_notebook:
        webbrowser.open(explorer.url)
    if block if block is not None else not _is_interactive():
        explorer.serve()
    else:
        explorer.start()
    return explorer


def _ipython_shell():
    """Return the shell that runs this, if it is one of IPython."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _in_notebook():
    """Whether this runs in a notebook, of Jupyter or of another kind."""
    return getattr(_ipython_shell(), "kernel", None) is not None


def _is_interactive():
    return hasattr(sys, "ps1") or _ipython_shell() is not None
