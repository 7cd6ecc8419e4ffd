"""Open a run in the browser."""

import secrets
import socket
import threading
import webbrowser
from html import escape

from robustkit.explorer._graphs import Graphs
from robustkit.explorer._run import Run
from robustkit.explorer._run_folder import load_run

__all__ = ["Explorer", "explore"]


class Explorer:
    """A page that is being served, on this computer, to whoever knows its address.

    Parameters
    ----------
    run : Run
        What it shows.

    graphs : Graphs
        What computes its graphs.

    port : int, default=0
        Where it listens; 0 takes any free port.

    in_notebook : bool, default=False
        Whether pages of this computer may show it in a frame.

    Attributes
    ----------
    url : str
        Its address.
    """

    def __init__(self, run, graphs, port=0, in_notebook=False):
        uvicorn = _import_server()
        from robustkit.explorer._guard import Guard
        from robustkit.explorer._server import make_app

        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        token = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{self.port}/{token}/"
        ancestors = "'none'"
        if in_notebook:
            # A notebook is a page of this computer, on whatever port.
            ancestors = "'self' http://127.0.0.1:* http://localhost:* vscode-webview:"
        app = Guard(make_app(run, graphs), token, self.port, ancestors)
        config = uvicorn.Config(
            app, log_level="critical", lifespan="off", ws="none", http="h11",
            loop="asyncio", access_log=False, server_header=False,
            # Whoever still listens to an answer does not keep Ctrl-C from ending it.
            timeout_graceful_shutdown=0,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = None

    def serve(self):
        """Serve until Ctrl-C."""
        self._server.run(sockets=[self._socket])

    def start(self):
        """Serve in a thread."""
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()

    def close(self):
        """Stop serving."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def _repr_html_(self):
        return (
            f'<iframe src="{escape(self.url)}" title="robustkit explorer" '
            'width="100%" height="760" style="border: 0"></iframe>'
        )

    def __repr__(self):
        return f"Explorer({self.url})"


def _import_server():
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ImportError(
            f"The explorer needs {error.name}, which is not installed. "
            'Do: pip install "robustkit[explorer]"'
        ) from error
    return uvicorn


def explore(run, *, port=0, open_browser=True, block=None):
    """Look at a run in the browser."""
    run = run if isinstance(run, Run) else load_run(run)
    explorer = Explorer(run, Graphs(run), port)
    print(explorer.url, flush=True)
    if open_browser:
        webbrowser.open(explorer.url)
    explorer.serve()
