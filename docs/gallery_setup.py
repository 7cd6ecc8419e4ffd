"""What every example of the gallery starts from."""

import warnings

import torch


def reset(gallery_conf, fname):
    """Give each example one thread, and let none of them warn unseen."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    # matplotlib's own way of telling that a figure has no window to appear in.
    warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
