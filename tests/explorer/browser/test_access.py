"""The page for all: by keyboard, read aloud, in the dark, on a phone."""

import re

import pytest

NAMES = "(all) => all.map((e) => e.outerHTML)"


def test_every_control_has_a_name(seen):
    seen("panes-two").click()
    seen.settled("right")
    page = seen.page
    nameless = []
    for role in ("button", "combobox", "slider", "checkbox", "radio", "spinbutton"):
        controls = page.get_by_role(role)
        assert controls.count() > 0
        named = page.get_by_role(role, name=re.compile(r"\w"))
        nameless += sorted(
            set(controls.evaluate_all(NAMES)) - set(named.evaluate_all(NAMES))
        )
    assert nameless == []
    for role, name in [
        ("combobox", "Filter"), ("combobox", "Cover"), ("slider", "Intervals"),
        ("slider", "Overlap"), ("slider", "Attack level"), ("combobox", "Model"),
        ("spinbutton", "Radius"), ("slider", "Min. samples"), ("listbox", "Nodes of"),
        ("button", "Zoom in"), ("tab", "Weak regions"), ("combobox", "Theme"),
    ]:  # fmt: skip
        assert page.get_by_role(role, name=re.compile(name)).count() > 0, name


def test_tab_reaches_every_control_and_shows_where_it_is(seen):
    wanted = {
        "panes-one", "panes-two", "theme", "help", "model-left", "level-left",
        "colour-left", "filter-left", "cover-left", "intervals-left", "overlap-left",
        "eps-left", "eps-auto-left", "min-samples-left", "nodes-left",
        "tool-move-left", "zoom-in-left", "zoom-out-left", "fit-left",
        "put-back-left", "curve-level-0", "curve-level-2", "tab-selection",
        "select-weakest",
    }  # fmt: skip
    reached, invisible = set(), []
    look = """() => {
        const at = document.activeElement;
        const ringed = (e) => {
            const style = getComputedStyle(e);
            return style.outlineStyle !== "none" || style.boxShadow !== "none";
        };
        return [at.dataset.testid ?? "", ringed(at) || ringed(at.parentElement)
            || (at.nextElementSibling !== null && ringed(at.nextElementSibling))];
    }"""
    for _ in range(70):
        seen.page.keyboard.press("Tab")
        name, ringed = seen.page.evaluate(look)
        reached.add(name)
        if name and not ringed:
            invisible.append(name)
    assert wanted <= reached
    # The graph's list shows its place in the graph itself: a ring on the canvas.
    assert set(invisible) <= {"nodes-left"}


def test_the_node_the_keyboard_is_at_is_seen_and_told(seen):
    before = seen.canvas_pixels()
    node = seen.go("Home")
    seen.expect(seen("hint-left")).to_contain_text(f"Node {node.id}:")
    assert (seen.canvas_pixels() != before).any()
    moved = seen.go("ArrowLeft")
    assert moved != node
    seen.expect(seen("hint-left")).to_contain_text(f"Node {moved.id}:")


def test_what_happens_is_read_aloud(seen):
    seen.expect(seen("selection-title")).to_have_attribute("aria-live", "polite")
    for name in ("status-left", "images-position", "search-result"):
        seen.expect(seen(name)).to_have_attribute("role", "status")
    seen.expect(seen("error-left")).to_have_attribute("role", "alert")


def test_single_keys_do_what_the_help_says(seen):
    press = seen.page.keyboard.press
    press("2")
    seen.expect(seen("pane-right")).to_be_visible()
    seen.settled("right")
    press("1")
    seen.expect(seen("pane-right")).to_be_hidden()
    press("]")
    seen.expect(seen("level-left-value")).to_have_text("eps 0.1")
    press("[")
    seen.expect(seen("level-left-value")).to_have_text("eps 0")
    press("c")
    seen.expect(seen("colour-left")).to_have_value("accuracy")
    press("w")
    seen.expect(seen("panel-weak")).to_be_visible()
    press("s")
    seen.expect(seen("panel-selection")).to_be_visible()
    press("/")
    seen.expect(seen("search-sample")).to_be_focused()


def test_help_opens_closes_and_turns_single_keys_off(seen):
    seen.page.keyboard.press("?")
    dialog = seen("help-dialog")
    seen.expect(dialog).to_be_visible()
    seen.expect(dialog).to_contain_text("Purity is 1")
    seen("shortcuts-on").uncheck()
    seen("help-close").click()
    seen.expect(dialog).to_be_hidden()
    seen.page.keyboard.press("2")
    seen.expect(seen("panes-one")).to_have_attribute("aria-pressed", "true")
    seen.expect(seen("pane-right")).to_be_hidden()


def test_tabs_move_by_arrows(seen):
    seen("tab-selection").focus()
    seen.page.keyboard.press("ArrowRight")
    seen.expect(seen("tab-weak")).to_be_focused()
    seen.expect(seen("panel-weak")).to_be_visible()


def lightness(seen):
    """Of the page's ground and of the graph's."""
    text = seen.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    x, y = seen.corner()
    ground = [int(n) for n in re.findall(r"\d+", text)[:3]]
    return sum(ground) / 3, sum(seen.colour_at(x, y)) / 3


def test_light_and_dark_follow_the_system_and_the_reader(open_page):
    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    assert min(lightness(light)) > 200
    assert max(lightness(dark)) < 60
    dark("theme").select_option("light")
    assert min(lightness(dark)) > 200
    # The choice outlasts the visit.
    dark.page.reload()
    dark.settled()
    assert min(lightness(dark)) > 200


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_shows_all_without_scrolling_sideways(open_page, width):
    seen = open_page(viewport={"width": width, "height": 844}, has_touch=True)
    seen("panes-two").click()
    seen.settled("right")
    seen("parameters-left").locator("summary").click()
    seen.expect(seen("filter-left")).to_be_visible()
    seen("select-weakest").click()
    seen.expect(seen("image-card").first).to_be_visible()
    wide = "() => document.documentElement.scrollWidth - innerWidth"
    for tab in ("selection", "weak", "search"):
        seen(f"tab-{tab}").click()
        assert seen.page.evaluate(wide) <= 0
    canvas = seen("canvas-left").bounding_box()
    assert canvas["height"] > 200
    assert canvas["width"] > 0.8 * width
