"""The page by fingers, and on a phone."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow


class Fingers:
    """Fingers on the glass."""

    def __init__(self, page):
        self.page = page
        self.session = page.context.new_cdp_session(page)

    def _send(self, kind, places):
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        body = {"type": f"touch{kind}", "touchPoints": points}
        self.session.send("Input.dispatchTouchEvent", body)

    def move(self, *ways):
        """Put fingers down, move each from its first place to its last, lift them."""
        self._send("Start", [way[0] for way in ways])
        for share in np.linspace(0.2, 1, 5):
            places = [np.add(a, share * np.subtract(b, a)).tolist() for a, b in ways]
            self._send("Move", places)
        # Lifted on the way, they would fling, and the next tap would end the fling.
        self.page.wait_for_timeout(100)
        self._send("Move", places)
        self._send("End", [])

    def tap(self, place):
        """Touch one place, and lift the finger."""
        self._send("Start", [place])
        self._send("End", [])


@pytest.fixture
def touched(open_page):
    """The explorer on a screen that is touched, and the fingers."""
    seen = open_page(has_touch=True)
    return seen, Fingers(seen.page)


def apart(seen):
    """How far two nodes lie from each other."""
    (x1, y1), (x2, y2) = seen.place("Home"), seen.place("Home", "ArrowLeft")
    return np.hypot(x1 - x2, y1 - y2)


@pytest.mark.parametrize("way", ["apart", "together"])
def test_two_fingers_zoom(touched, way):
    seen, fingers = touched
    before = apart(seen)
    x, y = seen.place("Home")
    ways = [((x - 30, y), (x - 60, y)), ((x + 30, y), (x + 60, y))]
    if way == "together":
        ways = [(b, a) for a, b in ways]
    fingers.move(*ways)
    after = apart(seen)
    # Twice as far apart, or half; nodes between the fingers stay there.
    factor = 2 if way == "apart" else 1 / 2
    assert after == pytest.approx(factor * before, rel=0.1, abs=6)
    assert np.hypot(*np.subtract(seen.place("Home"), (x, y))) < 12
    # Nothing was selected on the way.
    assert seen.selected() == []


def test_a_finger_on_the_ground_pans(touched):
    seen, fingers = touched
    x, y = seen.place("Home")
    node, (left, top) = seen.active().id, seen.corner()
    fingers.move(((left + 4, top + 4), (left + 64, top + 44)))
    assert seen.points_at(seen.active(), x + 60, y + 40)
    assert seen.pointed_at() == node


def test_a_finger_drags_a_node(touched):
    seen, fingers = touched
    place = seen.place("End")
    node = seen.active()
    empty = np.add(seen.corner(), 40).tolist()
    fingers.move((place, empty))
    assert seen.points_at(node, *empty)
    assert not seen.points_at(node, *place)
    seen("put-back-left").tap()
    seen.page.mouse.move(*seen.corner())
    assert seen.points_at(node, *place)


def test_a_tap_selects_and_another_lets_go(touched):
    seen, fingers = touched
    place = seen.place("Home")
    node = seen.active()
    fingers.tap(place)
    seen.expect(seen("selection-title")).to_contain_text("1 node ·")
    assert seen.selected() == [node]
    fingers.tap(np.add(seen.corner(), 4).tolist())
    seen.expect(seen("panel-selection")).to_contain_text("Nothing is selected.")


def test_fingers_draw_a_lasso(touched):
    seen, fingers = touched
    box = seen("canvas-left").bounding_box()
    seen.page.locator("label:has([data-testid='tool-box-left'])").tap()
    (x, y) = seen.corner()
    fingers.move(((x, y), (x + box["width"] - 60, y + box["height"] - 4)))
    seen.expect(seen("selection-title")).to_contain_text(f"{seen.shape()[0]} nodes ·")


# Controls that a finger would miss: each is scrolled to, and its middle is looked at.
OUT_OF_REACH = """() => {
    const all = document.querySelectorAll(
        "button, summary, select, input:not(.visually-hidden), label:has(> input)");
    const missed = [];
    let seen = 0;
    for (const control of all) {
        if (control.closest("dialog") || !control.checkVisibility()) continue;
        seen += 1;
        control.scrollIntoView({ block: "center", inline: "nearest" });
        const box = control.getBoundingClientRect();
        const hit = document.elementFromPoint(
            box.left + box.width / 2, box.top + box.height / 2);
        const within = box.left >= 0 && box.right <= innerWidth;
        const hits = control.contains(hit) || hit?.contains(control);
        if (within && (hits || control.disabled)) continue;
        missed.push(control.outerHTML.slice(0, 200));
    }
    return [seen, missed];
}"""


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_shows_all_without_scrolling_sideways(open_page, width):
    """Nothing lies beyond the edge, or beneath something else."""
    seen = open_page(viewport={"width": width, "height": 844}, has_touch=True)
    seen("panes-two").tap()
    seen.settled("right")
    for side in ("left", "right"):
        seen(f"parameters-{side}").locator("summary").tap()
    seen("select-weakest").tap()
    seen.expect(seen("image-card").first).to_be_visible()
    for tab in ("selection", "weak", "search"):
        seen(f"tab-{tab}").tap()
        wide = seen.page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= width
        n_controls, missed = seen.page.evaluate(OUT_OF_REACH)
        assert missed == []
        assert n_controls > 60
    canvas = seen("canvas-left").bounding_box()
    assert canvas["height"] > 200
    assert canvas["width"] > 0.8 * width


def test_the_menu_of_a_phone_lies_within_it(open_page):
    seen = open_page(viewport={"width": 320, "height": 640}, has_touch=True)
    seen("export-menu").locator("summary").tap()
    for item in seen("export-menu").get_by_role("button").all():
        box = item.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 320
