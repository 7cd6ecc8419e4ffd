"""What lies in the folder that a page is run in: a reader has it, or makes it."""

import shutil

import numpy as np
from sklearn.datasets import load_digits

from robustkit.explorer import View, save_run
from tests.docs_snippets.pages import REPOSITORY, snippets, text_of

TINY = """\
from benchmarks.harness import Case

def cases():
    yield Case("add", "itself", lambda: 1 + 1, lambda: 1 + 1, repeats=2, seconds=0)
"""


def lay_out(folder):
    """Put everything there."""
    X, y = load_digits(return_X_y=True)
    np.savez(folder / "few.npz", **few_images(X, y, [0.06, 0.06, 0.06, 0.6, 0.8, 1]))
    np.savez(folder / "pale.npz", **few_images(X, y, [0.06] * 6))
    views = [View("model", 0.0, X[:50], y[:50])]
    save_run(folder / "run", y=y[:50], views=views)
    # Commands of a checkout write into it: into this copy. Their results are not there
    # yet, and every room takes long but one.
    shutil.copytree(REPOSITORY / "benchmarks", folder / "benchmarks")
    (folder / "benchmarks" / "bench_tiny.py").write_text(TINY)
    without_results = shutil.ignore_patterns("results")
    shutil.copytree(REPOSITORY / "papers", folder / "papers", ignore=without_results)
    # What a reader saves, word for word.
    files = (s.source for s in snippets(text_of("guide/study")) if s.kind == "toml")
    (folder / "mine.toml").write_text("".join(files))


def few_images(X, y, shades):
    """Digits of the size of MNIST, so pale that one pixel soon changes their class.

    That of the images to test is given: if all are pale, all attacks do the same to all
    networks.
    """
    n_test, n_images = len(shades), 300 + len(shades)
    images = np.kron(X[:n_images].reshape(-1, 8, 8) / 16, np.ones((3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.float32)
    images *= np.concatenate([[0.06] * 300, shades])[:, None, None]
    return {
        "X": images[:-n_test],
        "y": y[: n_images - n_test],
        "X_test": images[-n_test:],
        "y_test": y[n_images - n_test : n_images],
    }
