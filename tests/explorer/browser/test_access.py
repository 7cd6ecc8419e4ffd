"""The page for all: by keyboard, read aloud, in the dark, on a phone."""

import re

import pytest

pytestmark = pytest.mark.slow

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
    seen.expect(seen("colour-left")).to_have_value("prediction")
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


def read_aloud(seen):
    """What Chromium tells a screen reader: role, name and properties of elements."""
    session = seen.page.context.new_cdp_session(seen.page)
    session.send("Accessibility.enable")
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        {
            "role": node["role"]["value"],
            "name": node.get("name", {}).get("value", ""),
            "children": node.get("childIds", []),
            "id": node["nodeId"],
            **{p["name"]: p["value"].get("value") for p in node["properties"]},
        }
        for node in nodes
        if not node["ignored"]
    ]


def said(nodes, node):
    """All text within a node."""
    by_id = {node["id"]: node for node in nodes}
    if node["role"] == "StaticText":
        return node["name"]
    inside = (by_id[child] for child in node["children"] if child in by_id)
    return "".join(said(nodes, child) for child in inside)


USED = {
    "button", "checkbox", "combobox", "dialog", "listbox", "option", "radio", "slider",
    "spinbutton", "tab", "link", "table", "tabpanel", "image", "radiogroup",
}  # fmt: skip


def test_a_screen_reader_has_a_name_for_everything(seen):
    seen("panes-two").click()
    seen.settled("right")
    node = seen.go("Home", "Enter")
    seen.expect(seen("image-card").first).to_be_visible()
    for tab in ("selection", "weak", "search"):
        seen(f"tab-{tab}").click()
        nodes = read_aloud(seen)
        used = [n for n in nodes if n["role"] in USED]
        assert [n for n in used if not n["name"].strip()] == []
        regions = {n["name"] for n in nodes if n["role"] == "region"}
        assert {"Left pane", "Right pane", "Details"} <= regions
    (chosen,) = [n for n in nodes if n["role"] == "option" and n.get("selected")
                 and n["name"].startswith("Node")]  # fmt: skip
    assert chosen["name"].startswith(f"Node {node.id}: {node.size} samples, mostly")
    groups = {n["name"] for n in nodes if n["role"] == "group"}
    assert {"Legend", "View", "Attack levels", "Panes"} <= groups


def test_what_changes_is_announced_once(seen):
    """A slider tells its value itself; of a graph, its pane's status tells."""
    status = status_of(seen)
    assert len(status) == 1
    seen("intervals-left").focus()
    seen.page.keyboard.press("ArrowRight")
    seen.expect(seen("intervals-left")).to_have_attribute("aria-valuetext", "11")
    assert status_of(seen) != status
    seen.go("Home", "Enter")
    seen.expect(seen("images-position")).to_contain_text("of")
    nodes = read_aloud(seen)
    live = [n for n in nodes if n.get("live") in ("polite", "assertive")]
    told = [said(nodes, n) for n in live]
    assert [text for text in told if text.startswith("1 node ·")]
    assert [text for text in told if re.match(r"1–\d+ of \d+", text)]


def status_of(seen):
    """What is announced while nothing is selected."""
    seen.expect(seen("computing-left")).to_be_hidden()
    nodes = read_aloud(seen)
    live = [n for n in nodes if n["role"] == "status"]
    return [text for text in (said(nodes, n) for n in live) if text]


def test_the_keyboard_place_is_told(seen):
    node = seen.go("Home")
    focused = [n["role"] for n in read_aloud(seen) if n.get("focused")]
    assert focused[-1] == "listbox"
    option = seen.page.locator(f"#{seen('nodes-left').get_attribute(ACTIVE)}")
    assert option.inner_text().startswith(f"Node {node.id}:")


ACTIVE = "aria-activedescendant"


def test_all_is_done_by_keys(seen, graph_of):
    """What a person can do, without a pointer."""
    press = seen.page.keyboard.press

    def tab_to(testid, key="Tab"):
        for _ in range(90):
            if seen(testid).evaluate("(e) => e === document.activeElement"):
                return
            press(key)
        raise AssertionError(f"Tab does not reach {testid}")

    # Another graph.
    tab_to("intervals-left")
    press("ArrowRight")
    mapper = graph_of(n_intervals=11)
    seen.expect_shape((mapper.membership_.shape[1], len(mapper.edges_)))
    # Several nodes, their images, page by page.
    tab_to("nodes-left")
    for keys in ("Home", "Enter", "Shift+ArrowLeft", "Shift+ArrowLeft"):
        press(keys)
    seen.expect(seen("selection-title")).to_contain_text("3 nodes")
    tab_to("images-next")
    press("Enter")
    seen.expect(seen("images-position")).to_contain_text("25–")
    # One image, followed.
    press("Tab")
    press("Tab")
    press("Enter")
    seen.expect(seen("marks-left")).to_contain_text("1 of 1 sample (sample")
    seen.expect(seen("enlarged")).to_be_visible()
    press("Escape")
    seen.expect(seen("enlarged")).to_be_hidden()
    # The weakest region.
    tab_to("tab-selection", "Shift+Tab")
    press("ArrowRight")
    seen.expect(seen("panel-weak")).to_be_visible()
    tab_to("weak-order")
    press("Tab")
    press("Enter")
    seen.expect(seen("weak-item").first).to_have_attribute("aria-pressed", "true")
    # A search.
    press("/")
    seen.page.keyboard.type("17")
    press("Enter")
    seen.expect(seen("search-result")).to_contain_text("1 sample (sample 17)")
    # Two panes, and the level of the attack, also by the curve.
    tab_to("panes-two", "Shift+Tab")
    press("Space")
    seen.settled("right")
    tab_to("level-right")
    press("End")
    seen.expect(seen("level-right-value")).to_have_text("eps 0.3")
    tab_to("curve-level-1")
    press("Enter")
    seen.expect(seen("level-right-value")).to_have_text("eps 0.1")
    # Take it away.
    menu = seen("export-menu").locator("summary")
    menu.focus()
    press("Enter")
    press("Tab")
    press("Tab")
    with seen.page.expect_download() as waiting:
        press("Enter")
    assert waiting.value.suggested_filename == "graph.svg"
    seen.expect(menu).to_be_focused()
