"""The browser tool: look inside a model."""

from typing import Any

from robustkit.explorer._explore import explore
from robustkit.explorer._explore import import_server as import_server
from robustkit.explorer._page import export_html
from robustkit.explorer._run import View, make_views
from robustkit.explorer._run import demo_run as demo_run
from robustkit.explorer._run_folder import load_run, save_run

# `import_server` and `demo_run` are for the command line.
__all__ = [
    "explore",
    "save_run",
    "load_run",
    "make_views",
    "View",
    "export_html",
    "MapperWidget",
]


def __getattr__(name: str) -> Any:
    # Widgets take seconds to import, and only notebooks need them.
    if name == "MapperWidget":
        from robustkit.explorer._widget import MapperWidget

        return MapperWidget
    raise AttributeError(f"module 'robustkit.explorer' has no attribute {name!r}")
