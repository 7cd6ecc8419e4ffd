"""Every parameter changes the graph to the one that the mapper gives."""

import json
import re

import pytest

from robustkit.topology import UniformCover
from tests.explorer.browser.seen import colours_of

pytestmark = pytest.mark.slow


def shape_of(mapper):
    return mapper.membership_.shape[1], len(mapper.edges_)


CHANGES = {
    "filter-left": ("pca", {"filter": "pca"}),
    "filter-left column": ("column 1", {"filter": 1}),
    "second-filter-left": (
        "pc2",
        {"filter": ("l2norm", "pc2"), "n_intervals": (10, 10)},
    ),
    "cover-left": ("balanced", {"cover": "balanced"}),
    "cover-left kepler": ("kepler", {"cover": UniformCover(10, 0.3, "kepler")}),
    "intervals-left": ("16", {"n_intervals": 16}),
    "overlap-left": ("0.5", {"overlap": 0.5}),
    "eps-left": ("1.4", {"eps": 1.4}),
    "min-samples-left": ("5", {"min_samples": 5}),
    "model-left": ("M_adv", {"view": 3}),
    "level-left": ("2", {"view": 2}),
}


@pytest.mark.parametrize("control", CHANGES)
def test_every_control_changes_the_graph(seen, graph_of, control):
    value, changes = CHANGES[control]
    before, after = shape_of(graph_of()), shape_of(graph_of(**changes))
    assert before != after
    seen.expect_shape(before)
    field = seen(control.split()[0])
    if field.evaluate("(field) => field.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill(value)
        field.press("Tab")
    seen.expect_shape(after)


@pytest.mark.slow
def test_a_second_filter_makes_a_grid_which_the_address_keeps(seen, graph_of):
    seen.expect(seen("second-intervals-left")).to_be_hidden()
    seen("second-filter-left").select_option("pc2")
    grid = graph_of(filter=("l2norm", "pc2"), n_intervals=10)
    seen.expect_shape(shape_of(grid))
    seen.set_slider("second-intervals-left", 4)
    grid = graph_of(filter=("l2norm", "pc2"), n_intervals=(10, 4))
    seen.expect_shape(shape_of(grid))
    nodes = json.loads(seen.download("export-json").read_text("utf-8"))["nodes"]
    described = grid.describe()
    for ours, column in (
        ("interval", "first_interval"), ("second_interval", "second_interval"),
    ):  # fmt: skip
        assert [node[ours] for node in nodes] == described[column].tolist()
    seen.expect(seen.page).to_have_url(re.compile("left.second_intervals=4"))
    seen.page.reload()
    seen.expect_shape(shape_of(grid))
    seen.expect(seen("second-filter-left")).to_have_value("pc2")
    seen("second-filter-left").select_option("none")
    seen.expect_shape(shape_of(graph_of()))


def test_the_radius_can_be_left_to_the_mapper(seen, graph_of):
    mapper = graph_of(eps="auto")
    seen("eps-auto-left").check()
    seen.expect_shape(shape_of(mapper))
    seen.expect(seen("eps-left")).to_be_disabled()
    seen.expect(seen("eps-left")).to_have_value(f"{mapper.eps_:.4g}")
    # Unticked, it can be moved from there.
    seen("eps-auto-left").uncheck()
    seen.expect(seen("eps-left")).to_be_enabled()
    seen.expect(seen("eps-left")).to_have_value(f"{mapper.eps_:.4g}")


def test_the_status_tells_the_measures_of_the_view(seen, graph_of, run):
    seen.set_slider("level-left", 2)
    mapper = graph_of(view=2)
    seen.expect_shape(shape_of(mapper))
    accuracy = (run.views[2].prediction == run.y).mean()
    noise = (mapper.membership_.sum(axis=1) == 0).mean()
    measures = seen("measures-left")
    seen.expect(measures).to_contain_text(f"Accuracy {100 * accuracy:.1f} %")
    seen.expect(seen("noise-left")).to_have_text(
        f"{100 * noise:.1f} % ({noise * len(run.y):.0f} samples) in no node"
    )


def test_nodes_that_persist_keep_their_place(seen):
    # Once zoomed by hand, the view no longer follows the graph's extent.
    seen("zoom-out-left").click()
    ids = {node.id for node in seen.nodes()}
    before = {}
    for keys in (["Home"], ["Home", "ArrowLeft"], ["Home", "ArrowRight"]):
        place = seen.place(*keys)
        before[seen.active().id] = place
    shape = seen.shape()
    seen.page.mouse.move(*seen.corner())
    seen("eps-left").fill("1.03")
    seen("eps-left").press("Tab")
    seen.expect(seen("status-left")).not_to_contain_text(
        f"{shape[0]} nodes, {shape[1]} edges"
    )
    seen.settled()
    assert ids & {node.id for node in seen.nodes()}
    for node, place in before.items():
        seen.page.mouse.move(*place)
        seen.expect(seen("hint-left")).to_contain_text(f"Node {node}:")


def test_a_computation_that_fails_leaves_the_last_graph(seen, watch):
    shape, nodes, colours = seen.shape(), seen.nodes(), colours_of(seen.canvas_pixels())
    watch.expect("status of 500")
    answer = {"status": 500, "json": {"error": "Memory ran out"}}
    seen.page.route("**/api/graph", lambda route: route.fulfill(**answer))
    seen.set_slider("intervals-left", 20)
    seen.expect(seen("error-left")).to_have_text(
        "Memory ran out. The last graph is left in place."
    )
    seen.expect_shape(shape)
    assert seen.nodes() == nodes
    often = {colour for colour, n in colours.items() if n > 200}
    assert often <= set(colours_of(seen.canvas_pixels()))
    # The next one that succeeds takes its place, and the message away.
    seen.page.unroute("**/api/graph")
    seen.set_slider("intervals-left", 21)
    seen.expect(seen("error-left")).to_be_hidden()
    seen.settled()
    assert seen.shape() != shape


def test_a_radius_that_makes_everything_noise_is_explained(seen):
    seen("eps-left").fill("0.0001")
    seen("eps-left").press("Tab")
    seen.expect_shape((0, 0))
    seen.expect(seen("pane-left")).to_contain_text("No node: every sample is noise")


def test_a_slider_moved_fast_asks_little_and_ends_on_its_last_value(
    seen, graph_of, watch
):
    before = len(watch.asked("graph"))
    # Within one step of the page, so that it cannot rest in between.
    move = """(slider) => {
        for (let value = 11; value <= 30; value += 1) {
            slider.value = String(value);
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        }
    }"""
    seen("intervals-left").evaluate(move)
    seen.expect_shape(shape_of(graph_of(n_intervals=30)))
    seen.expect(seen("intervals-left-value")).to_have_text("30")
    assert len(watch.asked("graph")) - before == 1


def test_sliders_move_by_keys(seen, graph_of):
    seen("intervals-left").focus()
    seen.page.keyboard.press("ArrowRight")
    seen.expect_shape(shape_of(graph_of(n_intervals=11)))
    seen.page.keyboard.press("Home")
    seen.expect_shape(shape_of(graph_of(n_intervals=2)))


def test_while_it_computes_the_page_says_so(seen):
    waiting = []
    seen.page.route("**/api/graph", lambda route: waiting.append(route))
    with seen.page.expect_request("**/api/graph"):
        seen.set_slider("intervals-left", 12)
    seen.expect(seen("status-left")).to_have_text("Computing…")
    seen.expect(seen("computing-left")).to_be_visible()
    waiting[0].continue_()
    seen.settled()
    seen.expect(seen("computing-left")).to_be_hidden()


def test_a_number_that_is_no_radius_is_not_asked_for(seen, watch):
    shape, before = seen.shape(), len(watch.asked("graph"))
    seen("eps-left").fill("-1")
    seen("eps-left").press("Tab")
    seen.expect(seen("status-left")).to_have_text(re.compile(rf"^{shape[0]} nodes"))
    assert len(watch.asked("graph")) == before


# Move a slider, and wait for the graph: so often as is asked.
RECOMPUTE = """async (n) => {
    const find = (name) => document.querySelector(`[data-testid="${name}-left"]`);
    for (let k = 0; k < n; k += 1) {
        find("intervals").value = String(20 + (k % 10));
        find("intervals").dispatchEvent(new Event("input", { bubbles: true }));
        do await new Promise((resolve) => setTimeout(resolve, 10));
        while (!find("computing").hidden);
    }
}"""


def held(session):
    """What the page's process keeps: elements, listeners and bytes."""
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    values = {metric["name"]: metric["value"] for metric in metrics}
    return [values[k] for k in ("Nodes", "JSEventListeners", "JSHeapUsedSize")]


def test_the_page_keeps_nothing_of_graphs_that_are_gone(open_page):
    """Twenty graphs of some 60 nodes: lists of nodes that stay would be seen."""
    seen = open_page()
    seen.go("Home", "Enter")
    session = seen.page.context.new_cdp_session(seen.page)
    session.send("Performance.enable")
    seen.page.evaluate(RECOMPUTE, 10)
    elements, listeners, size = held(session)
    seen.page.evaluate(RECOMPUTE, 20)
    more_elements, more_listeners, more_size = held(session)
    assert more_elements - elements < 200
    assert more_listeners - listeners < 200
    assert more_size - size < 5e5
