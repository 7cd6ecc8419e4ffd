"""What is taken away: pictures, data, a link, and the page as one file."""

import csv
import io
import json
import re
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from PIL import Image

from tests.explorer.browser.conftest import CLASS_NAMES, MARKUP, Watch, context_of
from tests.explorer.browser.seen import Seen, colours_of

pytestmark = pytest.mark.slow


def test_the_picture_shows_the_graph(seen):
    on_screen = colours_of(seen.canvas_pixels())
    pixels = np.asarray(Image.open(seen.download("export-png")).convert("RGB"))
    width = seen("canvas-left").bounding_box()["width"]
    assert pixels.shape[1] == pytest.approx(2 * width, abs=2)
    often = {colour for colour, n in on_screen.items() if n > 200}
    assert len(often) > 5
    drawn = colours_of(pixels)
    assert sum(drawn.get(colour, 0) > 200 for colour in often) >= 0.8 * len(often)


def test_the_drawing_is_well_formed_and_names_the_classes_as_text(seen):
    root = ElementTree.parse(seen.download("export-svg")).getroot()
    assert root.tag.endswith("svg")
    texts = ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("text")]
    assert any("M_clean" in text for text in texts)
    assert any(text.startswith("<b>") for text in texts)
    shapes = [e for e in root.iter() if e.tag.endswith(("path", "circle"))]
    assert len(shapes) >= seen.shape()[0]


def test_the_graph_is_downloaded_as_json(seen, graph_of):
    data = json.loads(seen.download("export-json").read_text("utf-8"))
    membership = graph_of().membership_.tocsc()
    assert (len(data["nodes"]), len(data["edges"])) == seen.shape()
    for node in data["nodes"]:
        members = np.flatnonzero(membership[:, [node["id"]]].toarray())
        assert node["samples"] == members.tolist()
    assert data["class_names"] == CLASS_NAMES


def test_networkx_reads_the_graph(seen):
    graph = nx.read_graphml(seen.download("export-graphml"))
    assert (len(graph), graph.number_of_edges()) == seen.shape()
    sizes = sorted((size for _, size in graph.nodes(data="size")), reverse=True)
    assert sizes == [node.size for node in seen.nodes()]


def test_the_selected_samples_are_a_table(seen, graph_of, run):
    node = seen.go("Home", "Enter")
    text = seen.download("export-csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    members = np.flatnonzero(graph_of().membership_[:, [node.id]].toarray())
    assert [int(row["sample"]) for row in rows] == members.tolist()
    assert [row["true"] for row in rows] == [CLASS_NAMES[run.y[i]] for i in members]


def test_a_table_of_nothing_is_explained(seen):
    seen("export-menu").locator("summary").click()
    seen("export-csv").click()
    seen.expect(seen.page.locator("#messages")).to_contain_text("Select a node first")


def arrange(seen):
    """Set much, and return what the page then says."""
    seen("panes-two").click()
    seen.settled("right")
    seen.set_slider("intervals-left", 14)
    seen.settled()
    seen.settled("right")
    seen.set_slider("level-right", 2)
    seen("colour-left").select_option("purity")
    seen.settled("right")
    seen.go("Home", "Enter", "ArrowLeft", "Shift+Enter")
    seen.expect(seen("selection-title")).to_contain_text("2 nodes")
    seen.expect(seen("marks-right")).not_to_have_text("")


def said(seen):
    """What the page says of its view; the time a graph took is no part of it."""
    names = ("model", "colour", "filter", "cover", "intervals", "overlap", "level")
    return {
        "shapes": [seen.shape(side) for side in ("left", "right")],
        "values": [
            seen(f"{name}-{side}").input_value()
            for name in names
            for side in ("left", "right")
        ],
        "selected": [node.size for node in seen.selected()],
        "title": seen("selection-title").inner_text(),
        "marks": seen("marks-right").inner_text(),
    }


@pytest.mark.parametrize("by", ["reload", "link"])
def test_a_link_restores_the_view(open_page, explorer, by):
    seen = open_page(permissions=["clipboard-read", "clipboard-write"])
    arrange(seen)
    before = said(seen)
    seen("export-menu").locator("summary").click()
    seen("export-link").click()
    seen.expect(seen.page.locator("#messages")).to_contain_text("The link is copied.")
    link = seen.page.evaluate("() => navigator.clipboard.readText()")
    seen.expect(seen.page).to_have_url(link)
    if by == "reload":
        seen.page.reload()
    else:
        seen = open_page(link.removeprefix(explorer.url))
    seen.settled()
    seen.settled("right")
    seen.expect(seen("selection-title")).to_have_text(before["title"])
    seen.expect(seen("marks-right")).to_have_text(before["marks"])
    assert said(seen) == before


@pytest.mark.parametrize("by", ["hand", "fit"])
def test_a_link_restores_where_everything_lies(open_page, graph_of, by):
    """Also what depends on the graphs before, and what was dragged."""
    seen = open_page()
    for intervals in (12, 14):
        seen.set_slider("intervals-left", intervals)
        mapper = graph_of(n_intervals=intervals)
        seen.expect_shape((mapper.membership_.shape[1], len(mapper.edges_)))
    if by == "hand":
        seen.go("Home", "Control+ArrowUp", "Control+ArrowUp", "+")
        seen.go("Control+Shift+ArrowLeft")
    seen("tab-selection").focus()
    # The address is written 300 ms after the last change.
    seen.page.evaluate("() => new Promise((done) => setTimeout(done, 400))")
    link = re.compile(r"left\.n_intervals=14&.*left\.places=")
    seen.expect(seen.page).to_have_url(link)
    if by == "hand":
        seen.expect(seen.page).to_have_url(re.compile("left.moved="))
    before = seen.canvas_pixels()
    other = open_page("#" + seen.page.url.partition("#")[2])
    other.settled()
    other("tab-selection").focus()
    differ = (np.abs(other.canvas_pixels() - before).max(axis=2) > 60).mean()
    assert differ < 0.002
    # The same parameters without the link's places lie elsewhere.
    plain = re.sub(r"&left\.(places|moved|camera)=[^&]*", "", other.page.url)
    fresh = open_page("#" + plain.partition("#")[2])
    fresh("tab-selection").focus()
    assert (np.abs(fresh.canvas_pixels() - before).max(axis=2) > 60).mean() > 0.01


@pytest.fixture(scope="module")
def page_file(explorer, browser, tmp_path_factory):
    """The page as one file, taken from the menu."""
    with context_of(browser) as context:
        page = context.new_page()
        page.goto(explorer.url)
        seen = Seen(page)
        seen.settled()
        path = tmp_path_factory.mktemp("file") / "explorer.html"
        path.write_bytes(seen.download("export-html").read_bytes())
    return path


@pytest.fixture
def alone(page_file, browser):
    """The file, opened without a network."""
    watch = Watch(page_file.as_uri())
    with context_of(browser, offline=True) as context, watch.following(context):
        page = context.new_page()
        page.goto(page_file.as_uri())
        seen = Seen(page)
        seen.settled()
        yield seen
    watch.check()
    assert [r.url for r in watch.requests if r.url.startswith("file:")] == [watch.home]


def test_the_file_shows_graphs_images_and_levels_by_itself(alone, graph_of, run):
    mapper = graph_of()
    alone.expect_shape((mapper.membership_.shape[1], len(mapper.edges_)))
    node = alone.go("Home", "Enter")
    alone.expect(alone("images-position")).to_contain_text(f"of {node.size}")
    alone.expect(alone("image-card").first.get_by_role("img")).to_have_count(1)
    alone.set_slider("level-left", 2)
    mapper = graph_of(view=2)
    alone.expect_shape((mapper.membership_.shape[1], len(mapper.edges_)))
    alone.expect(alone("filter-left")).to_be_disabled()
    alone("tab-search").click()
    alone("search-true").select_option(label=MARKUP)
    alone("search-predicted").select_option(label="zero")
    alone("search-confusion-find").click()
    n_found = ((run.y == 9) & (run.views[2].prediction == 0)).sum()
    alone.expect(alone("search-result")).to_contain_text(f"{n_found} samples")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_the_file_exports_what_the_server_does(seen, alone, kind):
    for page in (seen, alone):
        page.go("Home", "Enter")
    theirs, ours = (
        page.download(f"export-{kind}").read_text("utf-8") for page in (seen, alone)
    )
    if kind == "json":
        theirs, ours = json.loads(theirs), json.loads(ours)
    assert ours == theirs


def test_the_file_compares_and_exports_by_itself(alone):
    alone("panes-two").click()
    alone.settled("right")
    alone.go("Home", "Enter")
    alone.expect(alone("marks-right")).to_have_text(re.compile(r"\d+ of \d+ samples"))
    graph = nx.read_graphml(alone.download("export-graphml"))
    assert (len(graph), graph.number_of_edges()) == alone.shape()
    assert (
        alone.download("export-csv")
        .read_text("utf-8")
        .startswith("sample,true,predicted")
    )
