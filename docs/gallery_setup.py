"""What the gallery needs: a fresh start for each example, an order, and web pages."""

import shutil
import warnings
from pathlib import Path

import torch
from sphinx_gallery.scrapers import matplotlib_scraper

# In which order the examples of a section are read. One not named here comes last.
ORDER = (
    "plot_graph_prior.py",
    "plot_rewiring.py",
    "plot_how_robust.py",
    "plot_choose_by_robustness.py",
    "plot_one_pixel.py",
    "plot_nearest_error.py",
    "plot_trees_and_neighbors.py",
    "plot_digits.py",
    "plot_inside_a_network.py",
    "plot_how_many_regions.py",
    "plot_low_ratio.py",
    "plot_clean_and_adversarial.py",
    "plot_attack_levels.py",
    "plot_choose_parameters.py",
    "plot_explorer.py",
    "plot_correlate.py",
    "plot_study_from_scratch.py",
    "plot_continue_on_cluster.py",
)
# Where pages that examples export are kept; Sphinx copies what lies there.
PAGES = Path(__file__).parent / "_exported"

EMBEDDED = """\
.. raw:: html

    <iframe class="exported-page" src="../../{name}" title="The exported page"
            loading="lazy"></iframe>
    <p><a href="../../{name}">Open it in full size</a></p>

"""


def place(filename):
    """Where an example stands in its section."""
    return (ORDER.index(filename) if filename in ORDER else len(ORDER), filename)


def scrape(block, block_vars, gallery_conf):
    """Show the figures of a block, and a web page that it names `page`."""
    shown = matplotlib_scraper(block, block_vars, gallery_conf)
    page = block_vars["example_globals"].get("page")
    if page is None or "\npage = " not in block[1]:
        return shown
    name = f"{Path(block_vars['src_file']).stem}_{page.name}"
    PAGES.mkdir(exist_ok=True)
    shutil.copyfile(page, PAGES / name)
    return shown + EMBEDDED.format(name=name)


def reset(gallery_conf, fname):
    """Give each example one thread, and let none of them warn unseen."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    # matplotlib's own way of telling that a figure has no window to appear in.
    warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
