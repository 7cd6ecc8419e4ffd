"""Two thousand nodes, 60,000 samples: the page keeps up."""

import csv
import io
import re
import time

import numpy as np
import pytest

from benchmarks.explorer_page import crowded_run, gesture
from robustkit.explorer._explore import Explorer
from robustkit.explorer._graphs import GraphParameters
from robustkit.topology import MapperGraph
from tests.explorer.conftest import samples_of
from tests.explorer.test_load import EPS, Watched
from tests.processes import PATIENCE

pytestmark = pytest.mark.slow

N_FRAMES = 20


@pytest.fixture(scope="module")
def graphs():
    """The graphs of a run that has 2,000 nodes at first."""
    mapper = MapperGraph(0, n_intervals=200, overlap=0.3, eps=EPS, min_samples=3)
    return Watched(crowded_run(60_000), mapper)


@pytest.fixture(scope="module")
def explorer(graphs):
    """The page, served."""
    explorer = Explorer(graphs.run, graphs)
    explorer.start()
    yield explorer
    explorer.close()


@pytest.mark.parametrize("ratio", [1, 2])
def test_2_000_nodes_are_drawn_once_a_frame(open_page, ratio):
    """What a frame costs is measured by benchmarks/explorer_page.py."""
    seen = open_page(device_scale_factor=ratio)
    assert seen.shape()[0] == 2000
    places = {"drag": seen.place("Home"), "zoom": middle(seen), "pan": seen.corner()}
    seen.page.mouse.move(*seen.corner())
    # On a busy machine, a picture comes to rest between two frames, and is drawn again.
    seen.page.evaluate("() => { window.setTimeout = () => 0; }")
    for kind, place in places.items():
        n_drawn = gesture(seen.page, kind, place, N_FRAMES)
        # The first steps are too short to be more than a click.
        assert N_FRAMES - 3 <= n_drawn <= N_FRAMES + 1, kind


def middle(seen):
    box = seen("canvas-left").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_picture_that_moves_is_coarse_and_sharp_when_it_rests(open_page):
    seen = open_page(device_scale_factor=2)
    seen.go("Home", "Enter")
    seen("tab-search").focus()
    sharp = seen.canvas_pixels()
    x, y = seen.corner()
    # A pointer that is held down and trembles: the picture never rests.
    tremble = """([x, y]) => {
        const canvas = document.querySelector('[data-testid="canvas-left"]');
        const fire = (name, by) => canvas.dispatchEvent(new PointerEvent(name, {
            clientX: x + by, clientY: y, pointerId: 1, bubbles: true,
            pointerType: "mouse", button: 0,
        }));
        fire("pointerdown", 0);
        fire("pointermove", 9);
        let k = 0;
        const step = () => {
            fire("pointermove", 0);
            k = requestAnimationFrame(step);
        };
        step();
        window.stopTrembling = () => {
            cancelAnimationFrame(k);
            fire("pointerup", 0);
        };
    }"""
    seen.page.evaluate(tremble, [x, y])
    # Where a frame takes long, the picture comes to rest in between, too.
    coarse = pixels_once(seen, lambda pixels: (pixels != sharp).any())
    seen.page.evaluate("() => window.stopTrembling()")
    # The same nodes, in the same colours, at the same places.
    assert np.abs(coarse - sharp).mean() < 10
    pixels_once(seen, lambda pixels: (pixels == sharp).all())


def pixels_once(seen, is_so):
    """The picture, as soon as something is so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        pixels = seen.canvas_pixels()
        if is_so(pixels):
            return pixels
    raise AssertionError("the picture does not become so")


def test_the_slider_moves_over_60_000_samples(open_page, graphs):
    """One press a graph: slower than a hand, and still the page never falls behind."""
    seen = open_page()
    seen("intervals-left").focus()
    seen.page.keyboard.press("End")
    graphs.log.clear()
    for _ in range(20):
        seen.page.keyboard.press("ArrowLeft")
        # The page itself waits 120 ms for a slider to come to rest.
        seen.page.wait_for_timeout(130)
    seen.expect_shape((1800, 1790))
    begun = [n for what, n in graphs.log if what == "begin"]
    assert begun == sorted(begun, reverse=True)
    assert begun[-1] == 180
    assert graphs.most_at_once() == 1


def test_all_nodes_are_selected_paged_through_and_taken_away(open_page, graphs):
    seen = open_page()
    seen("zoom-out-left").click()
    seen.select_all()
    seen.expect(seen("selection-title")).to_contain_text("2,000 nodes")
    graph = graphs.compute(GraphParameters(0, **graphs.defaults))
    held = samples_of(graph, range(2000))
    last = (len(held) - 1) // 24 * 24
    seen("images-last").click()
    seen.expect(seen("images-position")).to_have_text(
        f"{last + 1:,}–{len(held):,} of {len(held):,}"
    )
    table = csv.DictReader(io.StringIO(seen.download("export-csv").read_text("utf-8")))
    assert [int(row["sample"]) for row in table] == held.tolist()
    # The link is short, and brings all of them back.
    seen.expect(seen.page).to_have_url(re.compile(r"left\.nodes=0-1999&"))
    seen.page.reload()
    seen.settled()
    seen.expect(seen("selection-title")).to_contain_text("2,000 nodes")
