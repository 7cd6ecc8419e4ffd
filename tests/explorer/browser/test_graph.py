"""The graph as it is drawn: colours, legend, and moving about in it."""

import re

import numpy as np
import pytest

from tests.explorer.browser.conftest import CLASS_NAMES
from tests.explorer.browser.seen import colours_of

pytestmark = pytest.mark.slow


def legend_colours(seen):
    """The colours of the classes, as the legend shows them."""
    swatches = seen("legend-left").locator(".swatch")
    read = "(all) => all.map((s) => getComputedStyle(s).backgroundColor)"
    return [rgb(text) for text in swatches.evaluate_all(read)]


def rgb(text):
    return tuple(int(n) for n in re.findall(r"\d+", text)[:3])


def scale_ends(seen):
    """The colours at the two ends of the legend's scale."""
    scale = seen("legend-left").locator(".scale")
    text = scale.evaluate("(bar) => getComputedStyle(bar).backgroundImage")
    stops = re.findall(r"rgb\([^)]*\)", text)
    return rgb(stops[0]), rgb(stops[-1])


def near(a, b, tolerance=12):
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= tolerance


def test_nodes_are_pies_of_true_labels(seen):
    colours = legend_colours(seen)
    assert len(set(colours)) == 10
    drawn = colours_of(seen.canvas_pixels())
    assert all(drawn.get(colour, 0) > 20 for colour in colours)
    seen.expect(seen("legend-left").get_by_role("button")).to_have_text(CLASS_NAMES)


def test_a_pie_has_a_slice_for_each_class(seen, graph_of, run):
    node = seen.go("Home")
    members = np.flatnonzero(graph_of().membership_[:, [node.id]].toarray())
    shares = np.bincount(run.y[members], minlength=10) / len(members)
    seen.go("+", "+", "+")
    x, y = seen.place("ArrowLeft", "Home")
    seen.page.mouse.move(*seen.corner())
    # Half a pie's radius away from its middle, where no name is written.
    inner = set(seen.colours_at((x + dx, y + dy) for dx, dy in around(40)))
    colours = legend_colours(seen)
    large = [colours[k] for k in np.flatnonzero(shares > 0.1)]
    absent = [colours[k] for k in np.flatnonzero(shares == 0)]
    assert set(large) <= inner
    assert not inner & set(absent)


def around(radius, n=48):
    angles = 2 * np.pi * np.arange(n) / n
    return zip(radius * np.cos(angles), radius * np.sin(angles), strict=True)


@pytest.mark.parametrize(
    ("colouring", "words"),
    [
        ("accuracy", "Accuracy 0 % 100 %"),
        ("purity", "Purity 0 1"),
        ("size", "Size (logarithmic) 3 samples"),
    ],
)
def test_nodes_are_coloured_by_a_measure(seen, colouring, words):
    seen("colour-left").select_option(colouring)
    seen.expect(seen("legend-left")).to_contain_text(
        re.compile(r"\s*".join(map(re.escape, words.split())))
    )
    low, high = scale_ends(seen)
    x, y = seen.place("End")
    node = seen.active()
    seen.page.mouse.move(*seen.corner())
    value = {"accuracy": node.accuracy, "purity": node.purity, "size": 0}[colouring]
    # The smallest node is pure, and classified rightly.
    assert value in (0, 1)
    assert near(seen.colour_at(x, y), high if value else low)
    assert not near(high, low, 60)


def test_a_class_of_the_legend_is_pointed_out(seen):
    colours = legend_colours(seen)
    before = colours_of(seen.canvas_pixels())
    face = seen("legend-left").get_by_role("button", name="zero")
    face.click()
    seen.expect(face).to_have_attribute("aria-pressed", "true")
    during = colours_of(seen.canvas_pixels())
    # What holds no such sample steps back: the other classes lose their full colour.
    assert during[colours[0]] == pytest.approx(before[colours[0]], rel=0.2)
    assert during.get(colours[1], 0) < before[colours[1]] / 2
    face.click()
    seen.expect(face).to_have_attribute("aria-pressed", "false")
    assert colours_of(seen.canvas_pixels())[colours[1]] == before[colours[1]]


def test_a_hint_does_not_outlive_its_graph(seen):
    x, y = seen.place("Home")
    seen("intervals-left").focus()
    seen.page.mouse.move(x, y)
    seen.expect(seen("hint-left")).to_be_visible()
    shape = seen.shape()
    seen.page.keyboard.press("End")
    seen.expect(seen("status-left")).not_to_contain_text(f"{shape[0]} nodes, ")
    seen.settled()
    seen.expect(seen("hint-left")).to_be_hidden()


def test_dragging_the_ground_pans(seen):
    x, y = seen.place("Home")
    node, start = seen.active().id, seen.corner()
    seen.drag(start, (start[0] + 60, start[1] + 40))
    seen.page.mouse.move(x + 60, y + 40)
    assert seen.pointed_at() == node
    seen.page.mouse.move(*seen.corner())
    seen("fit-left").click()
    seen.page.mouse.move(x, y)
    assert seen.pointed_at() == node


@pytest.mark.parametrize("by", ["wheel", "buttons", "keys"])
def test_zooming_spreads_the_nodes(seen, by):
    def apart():
        (x1, y1), (x2, y2) = seen.place("Home"), seen.place("Home", "ArrowLeft")
        return np.hypot(x1 - x2, y1 - y2)

    before, (x, y) = apart(), seen.place("Home")
    if by == "wheel":
        seen.page.mouse.move(x, y)
        seen.page.mouse.wheel(0, -200)
    elif by == "buttons":
        seen("zoom-in-left").click()
    else:
        seen.go("+")
    after = apart()
    assert after > 1.2 * before
    seen.go("0")
    assert apart() == pytest.approx(before, abs=8)


def test_a_node_is_dragged_and_put_back(seen):
    x, y = seen.place("End")
    node = seen.active().id
    empty = seen.corner()[0] + 30, seen.corner()[1] + 30
    seen.drag((x, y), empty)
    seen.page.mouse.move(empty[0] + 1, empty[1])
    assert seen.pointed_at() == node
    seen.page.mouse.move(x, y)
    assert seen.pointed_at() != node
    seen("put-back-left").click()
    seen.page.mouse.move(x, y)
    assert seen.pointed_at() == node


# Each frame comes 20 ms after the one before, however long the machine takes for it,
# and the middles of the discs that it shows are written down.
WATCHED = """
let time = 0;
performance.now = () => time;
const next = requestAnimationFrame;
requestAnimationFrame = (draw) => next(() => draw((time += 20)));
globalThis.drawn = [[]];
const { arc, clearRect } = CanvasRenderingContext2D.prototype;
const isGraph = ({ canvas }) => canvas.dataset.frames === undefined;
Object.assign(CanvasRenderingContext2D.prototype, {
  clearRect(...box) {
    if (isGraph(this)) drawn.push([]);
    clearRect.apply(this, box);
  },
  arc(x, y, ...rest) {
    if (isGraph(this)) drawn.at(-1).push([x, y]);
    arc.call(this, x, y, ...rest);
  },
});
"""


def places_drawn(seen, since=0):
    """In every frame of the graph, the middles of the nodes; once it stands still."""
    still = """async () => {
        for (let n = -1; n < drawn.length; await new Promise(requestAnimationFrame)) {
            n = drawn.length;
            for (let k = 0; k < 5; k += 1) await new Promise(requestAnimationFrame);
        }
    }"""
    seen.page.evaluate(still)
    frames = seen.page.evaluate("(since) => drawn.slice(since)", since)
    return [{(round(x, 2), round(y, 2)) for x, y in frame} for frame in frames]


def lies_between(place, one, other):
    way = np.subtract(other, one)
    apart = [np.hypot(*np.subtract(place, end)) for end in (one, other)]
    return min(apart) > 0 and sum(apart) < np.hypot(*way) + 0.05


def test_nodes_glide_to_their_places_only_for_those_who_like_motion(open_page):
    for motion in ("reduce", "no-preference"):
        seen = open_page(reduced_motion=motion)
        seen.page.add_init_script(WATCHED)
        seen.page.reload()
        seen.settled()
        corner = seen.corner()
        seen.drag(seen.place("End"), (corner[0] + 30, corner[1] + 30))
        frames = places_drawn(seen)
        before, since = frames[-1], len(frames)
        seen("put-back-left").click()
        frames = places_drawn(seen, since)
        after = frames[-1]
        # One node moves, and all others stay.
        (start,), (end,) = before - after, after - before
        on_the_way = set().union(*frames) - before - after
        assert all(lies_between(place, start, end) for place in on_the_way)
        assert bool(on_the_way) == (motion == "no-preference")
