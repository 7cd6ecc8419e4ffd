"""How often nodes come back in resamples is seen and told."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.base import clone

from robustkit.explorer import explore
from tests.explorer.browser.conftest import Watch, context_of
from tests.explorer.browser.seen import Seen

pytestmark = pytest.mark.slow


@pytest.fixture
def doubted(browser, run_folder, mapper):
    """The explorer of a mapper with resamples, and what they say."""
    mapper = clone(mapper).set_params(n_bootstrap=4, random_state=0)
    explorer = explore(run_folder, mapper=mapper, open_browser=False, block=False)
    watch = Watch(explorer.url)
    with context_of(browser) as context, watch.following(context):
        page = context.new_page()
        page.goto(explorer.url)
        view = Seen(page)
        view.settled()
        yield view, mapper
    explorer.close()
    watch.check()


def test_unstable_nodes_are_faint_and_told(doubted, run):
    view, mapper = doubted
    nodes = mapper.fit(run.views[0].activations).describe()
    assert nodes["stability"].min() < nodes["stability"].max() == 1
    texts = view("nodes-left").get_by_role("option").all_inner_texts()
    told = [re.search(r"in ([\d.]+) % of resamples", text)[1] for text in texts]
    assert sorted(map(float, told)) == sorted(100 * nodes["stability"])
    # The drawing has as many opacities as there are stabilities.
    root = ElementTree.parse(view.download("export-svg")).getroot()
    opacities = {float(e.get("opacity")) for e in root.iter() if e.get("opacity")}
    expected = {0.12 + 0.88 * s for s in nodes["stability"].unique() if s < 1}
    assert all(np.isclose(list(opacities), s, atol=0.03).any() for s in expected)
    data = json.loads(view.download("export-json").read_text("utf-8"))
    of_nodes = [node["stability"] for node in data["nodes"]]
    np.testing.assert_allclose(of_nodes, nodes["stability"], atol=1e-6)
    of_edges = [edge["stability"] for edge in data["edges"]]
    np.testing.assert_allclose(of_edges, mapper.stability_.edges, atol=1e-6)


def test_nodes_can_be_coloured_by_stability(doubted):
    view, _ = doubted
    view("colour-left").select_option("stability")
    view.expect(view.page.get_by_text("Stability (share of resamples)")).to_be_visible()
    # What the colour says is not said again.
    root = ElementTree.parse(view.download("export-svg")).getroot()
    shapes = [e for e in root.iter() if e.get("fill", "none") != "none"]
    assert not [e for e in shapes if e.get("opacity")]


def test_without_resamples_nothing_is_said_of_stability(seen):
    options = seen("colour-left").locator("option").all_inner_texts()
    assert "Stability" not in options
    assert "resamples" not in seen("nodes-left").inner_text()
