"""A small run, and a server that shows it."""

from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks.explorer_page import crowded_run
from robustkit.explorer import View
from robustkit.explorer._explore import Explorer
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._run import make_run
from tests.processes import PATIENCE

# Markup, quotes, a formula and a character that XML does not know.
NASTY = '<img src=x onerror="alert(1)">'
CLASS_NAMES = [NASTY, "=1+1", "nul\x00", "three", "-4", "5", "6", "7", "8", "9"]
TITLE = "</script><b>run</b>"


def small_run(n_samples=400):
    """Digits, as two models see them at two levels; the second model errs more."""
    X, y = load_digits(return_X_y=True)
    X, y = (X / 16)[:n_samples], y[:n_samples]
    rng = np.random.RandomState(0)
    projection = rng.normal(size=(64, 6))

    def view(model, level, share_wrong, **further):
        activations = X @ projection + 0.2 * level * rng.normal(size=(n_samples, 6))
        is_wrong = rng.rand(n_samples) < share_wrong
        prediction = np.where(is_wrong, (y + 1) % 10, y)
        confidence = rng.rand(n_samples)
        return View(model, level, activations, prediction, confidence, **further)

    views = [
        view("M_clean", 0.0, 0.05, regions=rng.randint(9, size=n_samples)),
        view("M_clean", 0.5, 0.5, X=np.clip(X + 0.1, 0, 1)),
        view("M_adv", 0.0, 0.1),
        view("M_adv", 0.5, 0.3, X=np.clip(X - 0.1, 0, 1)),
    ]
    return make_run(
        y=y, views=views, X=X, image_shape=(8, 8), class_names=CLASS_NAMES, title=TITLE
    )


# Points of a strand are 1,000 / n_samples apart.
CROWDED = {
    "filter": "column 0", "cover": "uniform", "n_intervals": 200, "overlap": 0.3,
    "eps": 0.5, "min_samples": 3,
}  # fmt: skip


PARAMETERS = {
    "filter": "l2norm", "cover": "uniform", "n_intervals": 8, "overlap": 0.3,
    "eps": 2.0, "min_samples": 3,
}  # fmt: skip


CURVE = {"tab": "c", "seq": 0, "views": [2, 3], **PARAMETERS}


@pytest.fixture(scope="session")
def run():
    return small_run()


@pytest.fixture(scope="session")
def large_run():
    """60,000 samples."""
    return crowded_run(60_000)


@pytest.fixture(scope="session")
def graphs(run):
    return Graphs(run)


@pytest.fixture(scope="session")
def explorer(run, graphs):
    """The page, served."""
    explorer = Explorer(run, graphs)
    explorer.start()
    yield explorer
    explorer.close()


@pytest.fixture(scope="session")
def client(explorer):
    """Asks it."""
    with httpx.Client(base_url=explorer.url, timeout=PATIENCE) as client:
        yield client


@contextmanager
def served(run, graphs=None, **params):
    """Serve a run, and ask it."""
    explorer = Explorer(run, Graphs(run) if graphs is None else graphs, **params)
    explorer.start()
    try:
        with httpx.Client(base_url=explorer.url, timeout=PATIENCE) as client:
            yield client
    finally:
        explorer.close()


def samples_of(graph, nodes):
    """The samples of some nodes, each once, ascending."""
    parts = [graph.members[graph.indptr[j] : graph.indptr[j + 1]] for j in nodes]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def ask_graph(client, **params):
    """Ask for a graph, the way the page does."""
    body = {"tab": "t", "pane": "left", "seq": 0, "view": 0, **PARAMETERS, **params}
    return client.post("api/graph", json=body)


def expect_error(response, status):
    """The one line that says why."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    ((name, message),) = response.json().items()
    assert name == "error"
    assert "\n" not in message
    return message


@pytest.fixture
def answer(client):
    """The graph of the first view, as it comes."""
    return ask_graph(client, tab="answer").json()
