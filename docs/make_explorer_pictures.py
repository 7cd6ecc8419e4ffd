"""Draw the pictures of the explorer's page: ``python docs/make_explorer_pictures.py``.

Two nets are trained on MNIST, one of them under attack. The page is opened on them in
Chromium, as a person would open it, and what it shows becomes a picture. The numbers
that the text beside the pictures tells are printed. Needs playwright and Chromium.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import sync_playwright

from robustkit import MapperGraph, MLPNetClassifier, PGDAttack, fetch_mnist
from robustkit.explorer import explore, load_run, make_views, save_run
from robustkit.explorer._graphs import GraphParameters, Graphs

PICTURES = Path(__file__).parent / "_static"
LEVELS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
COVER = {
    "cover": "balanced", "n_intervals": 16, "overlap": 0.3, "min_samples": 10
}  # fmt: skip
# The activations of the two nets differ in scale, so the distances do, too.
EPS = {"M_clean": 9.0, "M_adv": 3.3}
SIZE = {"width": 1280, "height": 800}
# What is told of a selection.
PANEL = {"x": 888, "y": 274, "width": 392, "height": 526}


def train(folder):
    """Train the nets, attack them, and store what they make of the test images."""
    X, y = fetch_mnist("train", subset=20_000, return_X_y=True)
    X_test, y_test = fetch_mnist("test", return_X_y=True)
    nets = {
        name: MLPNetClassifier(
            (128, 64), adversary=adversary, max_epochs=20, device="cpu", random_state=0
        ).fit(X, y)
        for name, adversary in (
            ("M_clean", None),
            ("M_adv", PGDAttack(eps=0.1, max_iter=7)),
        )
    }
    attack = PGDAttack(max_iter=20, random_state=0)
    views = make_views(nets, X_test, y_test, attack, LEVELS)
    save_run(
        folder, X=X_test, y=y_test, views=views, image_shape=(28, 28),
        title="MNIST: a clean and an adversarially trained net",
    )  # fmt: skip


def samples_of(graph, nodes):
    """The samples of some nodes, each once, ascending."""
    parts = [graph.members[graph.indptr[j] : graph.indptr[j + 1]] for j in nodes]
    return np.unique(np.concatenate(parts))


def say(text):
    """Print a line."""
    sys.stdout.write(f"{text}\n")


class Look:
    """A view of a run and its graph, and the fragment that shows them in a pane."""

    def __init__(self, run, graphs, model, level):
        shown = [(view.model, view.level) for view in run.views]
        self.run, self.view = run, shown.index((model, level))
        self.parameters = {**COVER, "eps": EPS[model]}
        self.graph = graphs.compute(
            GraphParameters(self.view, "l2norm", **self.parameters)
        )
        self.predicted = run.views[self.view].prediction
        say(
            f"{model} at {level}: accuracy {run.accuracy(self.view):.3f}, "
            f"{self.graph.n_nodes} nodes hold {self.graph.n_in_nodes} samples, "
            f"purity {self.graph.mean_purity:.3f}"
        )

    def fragment(self, side="left", nodes=(), **further):
        """Say in a link what a pane shows."""
        values = {"view": self.view, **self.parameters, **further}
        if len(nodes) > 0:
            values["nodes"] = ",".join(map(str, nodes))
        return {f"{side}.{name}": value for name, value in values.items()}

    def tell(self, name, node):
        """Print what the text says of a node."""
        graph, samples = self.graph, samples_of(self.graph, [node])
        wrong = samples[self.run.y[samples] != self.predicted[samples]]
        pairs = list(zip(self.run.y[wrong], self.predicted[wrong], strict=True))
        confusions = {
            f"{a} as {b}": pairs.count((a, b))
            for a, b in sorted(set(pairs), key=pairs.count, reverse=True)[:4]
        }
        n_wrong = np.bincount(self.run.y[wrong], minlength=10)
        counts = {
            c: f"{n_wrong[c]} of {n} wrong"
            for c, n in enumerate(graph.counts[node])
            if n > 0
        }
        say(
            f"{name}: node {node}, {len(samples)} samples, {counts}, purity "
            f"{graph.purity[node]:.2f}, accuracy {graph.accuracy[node]:.2f}, "
            f"{confusions}"
        )
        return node

    def taken_for(self, true, predicted):
        """The node with most samples of a class misclassified, nearly all alike."""
        graph, y, shares = self.graph, self.run.y, []
        for j in self.nodes:
            samples = samples_of(graph, [j])
            wrong = samples[(y[samples] == true) & (self.predicted[samples] != true)]
            alike = (self.predicted[wrong] == predicted).sum()
            shares.append(alike if alike >= 0.8 * len(wrong) else 0)
        return int(np.argmax(shares))

    @property
    def nodes(self):
        """Indices of the nodes."""
        return range(self.graph.n_nodes)


class Camera:
    """Opens the page, and takes pictures of it."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def open(self, *parts, **settings):
        """A new page, as a link restores it."""
        for part in parts:
            settings |= part
        page = self.browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{self.url}#{urlencode(settings)}")
        page.wait_for_load_state("networkidle")
        if "panes" in settings:
            # Room for the graphs; the pane clicked last is the one in focus.
            for side in ("right", "left"):
                page.get_by_test_id(f"parameters-{side}").locator("summary").click()
        if "left.nodes" in settings and "tab" not in settings:
            page.get_by_test_id("images-sort").select_option("wrong")
        # Nodes glide to their places.
        page.wait_for_timeout(1500)
        return page

    def take(self, page, name, clip=None):
        """Save what is seen, in 256 colours: a third of the bytes."""
        picture = Image.open(BytesIO(page.screenshot(clip=clip))).convert("RGB")
        file = PICTURES / f"explorer_{name}.png"
        # Each colour of the scales keeps its place, however few pixels have it.
        picture.quantize(
            256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
        ).save(file, optimize=True)
        say(f"{file.name}: {file.stat().st_size:,} bytes")
        page.close()


def take_pictures(run, camera):
    """Look for what the paper found, and show it."""
    graphs = Graphs(run)
    clean, hardened, attacked, hit = (
        Look(run, graphs, *view)
        for view in (
            ("M_clean", 0.0), ("M_adv", 0.0), ("M_adv", 0.15), ("M_clean", 0.05)
        )
    )  # fmt: skip
    graph = clean.graph
    pure = max(clean.nodes, key=lambda j: (graph.purity[j] > 0.999) * graph.size[j])
    big = [j for j in clean.nodes if graph.size[j] >= 50]
    impure = min(big, key=lambda j: graph.purity[j])
    two = {"panes": 2, "linked": 0}
    right = hardened.fragment("right")

    camera.take(camera.open(two, clean.fragment(), right), "overview")
    node = clean.tell("pure", pure)
    camera.take(camera.open(clean.fragment(nodes=[node])), "pure")
    node = clean.tell("impure", impure)
    page = camera.open(two, clean.fragment(nodes=[node]), right)
    say(page.get_by_test_id("marks-right").inner_text())
    camera.take(page, "impure")

    graph = attacked.graph
    big = [j for j in attacked.nodes if graph.size[j] >= 20]
    weak = attacked.tell("weak", min(big, key=lambda j: graph.accuracy[j]))
    part = attacked.fragment(nodes=[weak], colour="accuracy")
    camera.take(camera.open(part, tab="weak"), "weak")
    page = camera.open(attacked.fragment(nodes=[weak]))
    camera.take(page, "weak_node", PANEL)
    others = {
        other: attacked.tell(f"9 as {other}", attacked.taken_for(9, other))
        for other in (4, 7, 8)
    }
    page = camera.open(attacked.fragment(nodes=others.values(), **{"class": 9}))
    camera.take(page, "nines", page.get_by_test_id("canvas-left").bounding_box())
    for other, node in others.items():
        page = camera.open(attacked.fragment(nodes=[node]))
        camera.take(page, f"nine_as_{other}", PANEL)
    part = hit.fragment(colour="accuracy")
    part |= Look(run, graphs, "M_adv", 0.05).fragment("right", colour="accuracy")
    camera.take(camera.open(two, part), "attacked")


def main(folder):
    """Make the run, if it is not there, and all pictures."""
    torch.set_num_threads(1)
    if not (folder / "manifest.json").exists():
        train(folder)
    run = load_run(folder)
    mapper = MapperGraph(**COVER)
    explorer = explore(run, mapper=mapper, open_browser=False, block=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        take_pictures(run, Camera(browser, explorer.url))
        browser.close()
    explorer.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as temporary:
            main(Path(temporary) / "run")
