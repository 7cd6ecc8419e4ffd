"""The browser tool: look inside a model."""

from robustkit.explorer._explore import explore
from robustkit.explorer._make_views import make_views
from robustkit.explorer._page_file import export_html
from robustkit.explorer._run import View
from robustkit.explorer._run_folder import load_run, save_run

__all__ = ["explore", "save_run", "load_run", "make_views", "View", "export_html"]
