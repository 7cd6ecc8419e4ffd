"""How the documentation is built: ``sphinx-build -W docs docs/_build/html``."""

import inspect
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
# Behind all that is installed: only `benchmarks` is looked for there.
sys.path.append(str(HERE.parent))
# Small networks: several threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import edit_links
import write_api
import write_benchmarks
import write_changelog
from docutils import nodes

import robustkit

write_api.write(HERE / "api")
write_changelog.write(HERE.parent / "CHANGELOG.md", HERE / "_changelog.rst")
(HERE / "_exported").mkdir(exist_ok=True)
write_benchmarks.write(
    HERE.parent / "benchmarks" / "results.json",
    HERE / "_benchmark_tables.rst",
    HERE / "_benchmark_pictures",
)

project = "robustkit"
author = "the robustkit developers"
project_copyright = "2026, the robustkit developers"
version = release = robustkit.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.mathjax",
    # Formulas are drawn without asking anybody on the network.
    "sphinx-mathjax-offline",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "**/GALLERY_HEADER.rst",
    "_benchmark_tables.rst",
    "_changelog.rst",
]
default_role = "literal"
# Beside a page about a class, its methods need no surname.
toc_object_entries_show_parents = "hide"
# The docstrings say which type a parameter has, with what it means.
autodoc_typehints = "none"
# A name of ours that a page links to is there. Those of others are on pages of their
# own, which are not asked for while building.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(joblib|numpy|pandas|scipy|sklearn|torch)\..*|pickle"),
]

# What is copied are the lines that a reader types, without their prompts.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# The gallery's blocks show code without prompts; what they print is not copied.
copybutton_selector = "div.highlight:not(.sphx-glr-script-out *) > pre"

extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}

autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_validation_checks = set()

html_theme = "pydata_sphinx_theme"
html_title = "robustkit"
html_favicon = "_static/favicon.svg"
# Light or dark, as the reader's system is.
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["robustkit.css"]
# Pages that examples of the gallery export.
html_extra_path = ["_exported"]
html_theme_options = {
    "navbar_end": ["version", "theme-switcher"],
    "secondary_sidebar_items": ["page-toc", "edit-this-page"],
    "footer_end": [],
}
html_sidebars = {
    page: []
    for page in (
        "index",
        "quickstart",
        "glossary",
        "architecture",
        "benchmarks",
        "changelog",
        "what_robust_accuracy_does_not_tell",
        # Their tables need the room.
        "results/*",
    )
}
# The formulas are set by the reader's browser; nothing is fetched while building.
suppress_warnings = ["config.cache"]
# Without the gallery there are no pictures of its examples, which other pages show.
HAS_GALLERY = os.environ.get("ROBUSTKIT_GALLERY", "1") == "1"
if not HAS_GALLERY:
    suppress_warnings += ["image.not_readable"]


sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    # A page that no reader needs, with a table that asks the network.
    "write_computation_times": False,
    "download_all_examples": False,
    "plot_gallery": HAS_GALLERY,
    "subsection_order": [
        f"../examples/{section}"
        for section in ("structure", "attacks", "inside", "studies")
    ],
    "within_subsection_order": "gallery_setup.place",
    "image_scrapers": ("gallery_setup.scrape",),
    "reset_modules": ("matplotlib", "gallery_setup.reset"),
    "doc_module": ("robustkit",),
    "backreferences_dir": None,
    "min_reported_time": 1,
}


# A table of more columns gets smaller letters; with still more, "0.5 ± 0.1" is broken.
MANY_COLUMNS, TOO_MANY_COLUMNS = 8, 10


def narrow(app, doctree):
    """Let tables of many columns fit into a page."""
    for table in doctree.findall(nodes.table):
        (group,) = table.findall(nodes.tgroup)
        if group["cols"] > MANY_COLUMNS:
            table["classes"].append("many-columns")
        if group["cols"] > TOO_MANY_COLUMNS:
            for text in list(table.findall(nodes.Text)):
                text.parent.replace(text, nodes.Text(text.replace("\u00a0", " ")))


def skip_member(app, what, name, thing, skip, options):
    """Leave out what is inherited: other packages document it."""
    module = getattr(getattr(thing, "fget", thing), "__module__", None) or ""
    others = ("sklearn.", "torch.", "anywidget.", "ipywidgets.", "traitlets.")
    return skip or module.startswith(others)


def sign_widget(app, what, name, thing, options, signature, returned):
    """Give a widget the signature of its `__init__`; Sphinx takes that of `__new__`."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    own = inspect.signature(thing.__init__)
    _, *given = own.parameters.values()
    given = [one.replace(annotation=one.empty) for one in given]
    return str(own.replace(parameters=given, return_annotation=own.empty)), returned


def find_results(app, path, docname, content):
    """Let an included page of papers/ name its results as seen from its own folder."""
    place = f"/{path.parent.as_posix()}/results/"
    content[0] = re.sub(r"(?<=[ <])results/(?=[\w/]+\.\w+)", place, content[0])


def setup(app):
    """Tell sphinx."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-signature", sign_widget)
    app.connect("include-read", find_results)
    app.connect("doctree-read", narrow)
    app.connect("html-page-context", edit_links.add)
