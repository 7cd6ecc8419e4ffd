"""Draw the pictures of the home page: ``python docs/make_home_picture.py``.

A graph drawn from a prior, the network built from it, trained with and without attacks;
how accuracy falls under attack; and what shape the activations of the training samples
have. And the page that an example of the gallery exports, if the documentation was
built: a browser (playwright and Chromium) takes a picture of it.
"""

import shutil
from io import BytesIO
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import torch
from PIL import Image
from playwright.sync_api import sync_playwright
from sklearn.frozen import FrozenEstimator

from robustkit import (
    ActivationExtractor,
    GraphPrior,
    LayeredGraphDisplay,
    MapperGraph,
    MapperGraphDisplay,
    PGDAttack,
    RobustnessCurveDisplay,
    SparseNetClassifier,
    load_digits_images,
)

HERE = Path(__file__).parent
EXPORTED = HERE / "_exported" / "plot_explorer_explorer.html"
# The plain network, without and with an attack, and a node of the second graph.
VIEWS = "#panes=2&left.view=0&right.view=2&focus=right"


def take_explorer_picture():
    """Open the page, select the weakest node, and save what is seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        page = browser.new_page(
            viewport={"width": 1280, "height": 760}, color_scheme="light"
        )
        page.goto(f"{EXPORTED.as_uri()}{VIEWS}")
        page.get_by_role("button", name="Select the weakest node").click()
        for side in ("left", "right"):
            # Room for the graphs.
            page.get_by_test_id(f"parameters-{side}").locator("summary").click()
        # Nodes glide to their places.
        page.wait_for_timeout(2000)
        seen = Image.open(BytesIO(page.screenshot())).convert("RGB")
        # In 256 colours: a third of the bytes.
        seen = seen.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        seen.save(HERE / "_static" / "explorer_digits.png", optimize=True)
        browser.close()


def draw():
    """Train the two networks and draw."""
    torch.set_num_threads(1)
    X, y = load_digits_images(split="train", return_X_y=True)
    X_test, y_test = load_digits_images(split="test", return_X_y=True)
    prior = GraphPrior(n_nodes=120, rewiring=0.9, random_state=1)
    settings = {"max_epochs": 30, "batch_size": 128, "lr": 0.005, "random_state": 0}
    plain = SparseNetClassifier(prior, **settings).fit(X, y)
    hardened = SparseNetClassifier(
        prior, adversary=PGDAttack(eps=0.1, max_iter=7), **settings
    ).fit(X, y)

    figure, axes = plt.subplots(
        1, 3, figsize=(13, 3.8), dpi=150, layout="constrained", width_ratios=(4, 3, 4)
    )
    LayeredGraphDisplay.from_graph(plain.structure_, views=("layers",), ax=axes[0])
    axes[0].set_title("a random graph becomes a network")
    for name, net in (("standard training", plain), ("adversarial training", hardened)):
        attack = PGDAttack(FrozenEstimator(net), random_state=0).fit(X, y)
        RobustnessCurveDisplay.from_estimator(
            attack,
            X_test,
            y_test,
            eps=(0, 0.02, 0.05, 0.1, 0.15, 0.2),
            name=name,
            ax=axes[1],
        )
    axes[1].set_title("how robust it is to PGD")
    activations = ActivationExtractor(FrozenEstimator(plain)).fit(X, y).transform(X)
    mapper = MapperGraph(n_intervals=12).fit(activations)
    MapperGraphDisplay.from_mapper(mapper, y, ax=axes[2])
    axes[2].set_title("the shape of its outputs")
    figure.savefig(HERE / "_static" / "home.png")


if __name__ == "__main__":
    draw()
    if EXPORTED.exists():
        take_explorer_picture()
