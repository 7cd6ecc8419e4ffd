"""A run of several layers, with columns, that opens in two panes."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from robustkit.explorer import View
from robustkit.explorer._explore import Explorer
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._run import make_run
from robustkit.plotting import class_colors
from robustkit.topology import MapperGraph
from tests.explorer.browser.test_graph import legend_colours

pytestmark = pytest.mark.slow

N = 90
NAMES = ["airplane", "automobile", "bird"]
MAPPER = MapperGraph(n_intervals=4, eps=1.5, min_samples=2)


@pytest.fixture(scope="module")
def run():
    """Two layers at two levels; the clean and the attacked one open side by side."""
    rng = np.random.RandomState(0)
    y = np.arange(N) % 3
    views = [
        View(
            "net", level, rng.normal(size=(N, width)) + 3 * y[:, None],
            np.where(rng.rand(N) < 0.2 + 10 * level, (y + 1) % 3, y), rng.rand(N),
            layer=layer,
        )
        for level in (0.0, 8 / 255)
        for layer, width in (("features.6", 3), ("logits", 2))
    ]  # fmt: skip
    columns = {
        "age": np.where(np.arange(N) % 5 == 0, np.nan, rng.rand(N) * 80),
        "site": np.array(["Rome", "Oslo", None])[rng.randint(3, size=N)],
    }
    run = make_run(y=y, views=views, class_names=NAMES, columns=columns)
    return replace(run, opening=(1, 3))


@pytest.fixture(scope="module")
def explorer(run):
    explorer = Explorer(run, Graphs(run, MAPPER))
    explorer.start()
    yield explorer
    explorer.close()


@pytest.fixture
def two(seen):
    """Both panes are there without a click."""
    seen.settled("right")
    return seen


def graph_of(run, view):
    return clone(MAPPER).fit(run.views[view].activations)


def shape_of(mapper):
    return mapper.membership_.shape[1], len(mapper.edges_)


def test_a_run_opens_in_the_panes_that_it_names(two, run):
    two.expect(two("level-left-value")).to_have_text("eps 0")
    two.expect(two("level-right-value")).to_have_text("eps 8/255")
    for side, view in (("left", 1), ("right", 3)):
        two.expect(two(f"layer-{side}")).to_have_value("logits")
        two.expect_shape(shape_of(graph_of(run, view)), side)
    # One pane, and a link to it: what the run names does not come back.
    two("panes-one").click()
    two.expect(two.page).to_have_url(re.compile("panes=1"))
    two.page.reload()
    two.settled()
    two.expect(two("pane-right")).to_be_hidden()


def test_another_layer_is_another_graph_at_the_same_level(two, run):
    two("layer-right").select_option("features.6")
    two.expect_shape(shape_of(graph_of(run, 2)), "right")
    two.expect(two("level-right-value")).to_have_text("eps 8/255")
    two("pane-right").get_by_role("listbox").focus()
    title = two("selection-title")
    two.expect(title).to_have_text("Right · net · features.6 · eps 8/255")


def test_class_names_and_their_colours_are_those_of_the_displays(two):
    two.expect(two("legend-left").get_by_role("button")).to_have_text(NAMES)
    expected = [tuple(bytes.fromhex(color[1:])) for color in class_colors(3)]
    assert legend_colours(two) == expected


def test_nodes_are_coloured_by_a_column_of_numbers(two, run):
    """The legend ends at the smallest and the largest mean; NaN does not count."""
    two("colour-left").select_option("column 0")
    (age, _), held = run.columns, graph_of(run, 1).membership_.toarray() > 0
    means = [np.nanmean(age.values[nodes]) for nodes in held.T]
    texts = [f"{value:.3g}" for value in (min(means), max(means))]
    two.expect(two("legend-left")).to_have_text(f"age (mean){''.join(texts)}")


def test_nodes_are_coloured_by_a_column_of_categories_and_by_predictions(two, run):
    two("colour-left").select_option("column 1")
    legend = two("legend-left").get_by_role("button")
    two.expect(legend).to_have_text(["Oslo", "Rome"])
    two("colour-left").select_option("prediction")
    two.expect(legend).to_have_text(NAMES)
    two("colour-left").select_option("confidence")
    two.expect(two("legend-left")).to_have_text("Confidence (mean)0 %100 %")
    # The colours come with the next graph, and with a link.
    two("colour-left").select_option("column 1")
    two.expect(two.page).to_have_url(re.compile(r"left\.colour=column\+1"))
    two.page.reload()
    two.settled()
    two.expect(legend).to_have_text(["Oslo", "Rome"])
    two.set_slider("intervals-left", 6)
    two.expect(legend).to_have_text(["Oslo", "Rome"])


@pytest.mark.parametrize("chosen", ["labels", "prediction"])
def test_colours_chosen_while_a_graph_comes_are_those_that_are_drawn(two, chosen):
    two("colour-left").select_option("column 1")
    legend = two("legend-left").get_by_role("button")
    two.expect(legend).to_have_text(["Oslo", "Rome"])
    waiting = []
    two.page.route("**/api/members*", lambda route: waiting.append(route))
    with two.page.expect_request("**/api/members*"):
        two.set_slider("intervals-left", 6)
    two("colour-left").select_option(chosen)
    for route in waiting:
        route.continue_()
    two.page.unroute("**/api/members*")
    two.settled()
    two.expect(legend).to_have_text(NAMES)
    # Oslo is no class: each of these says something of its own nodes.
    legend.first.click()
    two.expect(legend.first).to_have_attribute("aria-pressed", "true")
    two("colour-left").select_option("column 1")
    two.expect(legend).to_have_text(["Oslo", "Rome"])
    two.expect(legend.first).to_have_attribute("aria-pressed", "false")


def test_a_sample_without_an_image_cannot_be_enlarged(two):
    two.go("Home", "Enter")
    card = two("image-card").first
    two.expect(card).to_have_attribute(
        "title", "Mark the nodes that contain this sample"
    )
