"""Two panes, and the attack level."""

import re

import numpy as np
import pytest

from robustkit.topology import compare_mappers

pytestmark = pytest.mark.slow


@pytest.fixture
def two(seen):
    """Both panes: M_clean on the left and M_adv on the right, without an attack."""
    seen("panes-two").click()
    seen.settled("right")
    return seen


def shape_of(mapper):
    return mapper.membership_.shape[1], len(mapper.edges_)


def members_of(graph, node):
    return np.flatnonzero(graph.membership_[:, [node.id]].toarray())


def told(graph, samples, label):
    """Where samples lie in a graph, in the page's words."""
    held = graph.membership_[samples, :].toarray()
    inside, nodes = held.any(axis=1).sum(), held.any(axis=0).sum()
    return (
        f"{inside} of {len(samples)} {label} lie in {nodes} node"
        f"{'' if nodes == 1 else 's'} here; {len(samples) - inside} in none."
    )


def test_the_other_pane_shows_the_other_model(two, graph_of):
    two.expect(two("model-left")).to_have_value("M_clean")
    two.expect(two("model-right")).to_have_value("M_adv")
    two.expect_shape(shape_of(graph_of(view=0)))
    two.expect_shape(shape_of(graph_of(view=3)), "right")
    two("panes-one").click()
    two.expect(two("pane-right")).to_be_hidden()


def test_the_attack_slider_moves_one_pane(two, graph_of):
    two.set_slider("level-right", 2)
    two.expect(two("level-right-value")).to_have_text("eps 0.3")
    two.expect_shape(shape_of(graph_of(view=5)), "right")
    two.expect(two("level-left-value")).to_have_text("eps 0")
    two.expect_shape(shape_of(graph_of(view=0)))


def test_two_levels_of_one_model_stand_side_by_side(two, graph_of):
    two("model-right").select_option("M_clean")
    two.set_slider("level-right", 1)
    two.expect_shape(shape_of(graph_of(view=1)), "right")
    two.expect_shape(shape_of(graph_of(view=0)))


def test_parameters_are_the_same_unless_unlinked(two, graph_of):
    two.set_slider("intervals-left", 14)
    two.expect_shape(shape_of(graph_of(n_intervals=14)))
    two.expect_shape(shape_of(graph_of(view=3, n_intervals=14)), "right")
    two("link-parameters").uncheck()
    two.set_slider("intervals-left", 20)
    two.expect_shape(shape_of(graph_of(n_intervals=20)))
    two.expect_shape(shape_of(graph_of(view=3, n_intervals=14)), "right")


@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_what_is_selected_is_marked_in_the_other_pane(two, graph_of, side, other):
    views = {"left": 0, "right": 3}
    before = two.canvas_pixels(other)
    node = two.go("Home", "Enter", side=side)
    samples = members_of(graph_of(view=views[side]), node)
    words = told(graph_of(view=views[other]), samples, f"samples selected {side}")
    two.expect(two(f"marks-{other}")).to_have_text(words)
    ring = two.page.evaluate(
        "() => getComputedStyle(document.documentElement).getPropertyValue('--mark')"
    )
    colour = tuple(int(ring.strip()[k : k + 2], 16) for k in (1, 3, 5))

    def rings(pixels):
        return (pixels == colour).all(axis=2).sum()

    assert rings(before) == 0
    assert rings(two.canvas_pixels(other)) > 20
    two("selection-clear").click()
    two.expect(two(f"marks-{other}")).to_have_text("")


def test_one_image_is_followed_into_both_panes(two, graph_of):
    two.go("Home", "Enter")
    card = two("image-card").first
    i = int(re.search(r"#(\d+)", card.inner_text())[1])
    card.click()
    two.expect(two("marks-left")).to_contain_text(f"1 of 1 sample (sample {i}) lies in")
    inside = graph_of(view=3).membership_[[i], :].sum() > 0
    two.expect(two("marks-right")).to_contain_text(
        f"{int(inside)} of 1 sample (sample {i})"
    )


def test_the_curve_tells_accuracy_and_purity_at_each_level(seen, run):
    for k, view in enumerate(run.views[:3]):
        accuracy = (view.prediction == run.y).mean()
        face = seen("curve").get_by_role("button").nth(k)
        seen.expect(face).to_have_accessible_name(
            re.compile(
                rf"^eps {view.level:g}: accuracy {100 * accuracy:.1f} %, purity 0\.\d+"
            )
        )


def test_the_curve_is_a_control(seen, graph_of):
    seen.expect(seen("curve-level-0")).to_have_attribute("aria-pressed", "true")
    seen("curve-level-2").click()
    seen.expect(seen("level-left-value")).to_have_text("eps 0.3")
    seen.expect_shape(shape_of(graph_of(view=2)))
    seen.expect(seen("curve-level-2")).to_have_attribute("aria-pressed", "true")
    seen.expect(seen("curve-level-0")).to_have_attribute("aria-pressed", "false")


def test_a_curve_that_is_computed_says_so_and_the_newest_one_is_shown(seen):
    waiting = []
    seen.page.route("**/api/purities", lambda route: waiting.append(route))
    names = seen("curve").get_by_role("button")
    before = names.first.get_attribute("aria-label")
    seen.set_slider("intervals-left", 14)
    seen.expect(seen("curve")).to_have_attribute("aria-busy", "true")
    # Back to what is known: the older question is of no use any more.
    seen.set_slider("intervals-left", 10)
    seen.expect(seen("curve")).not_to_have_attribute("aria-busy", "true")
    assert names.first.get_attribute("aria-label") == before
    seen.set_slider("intervals-left", 14)
    seen.expect(seen("curve")).to_have_attribute("aria-busy", "true")
    waiting[-1].continue_()
    seen.expect(seen("curve")).not_to_have_attribute("aria-busy", "true")
    assert names.first.get_attribute("aria-label") != before


def count_matches(a, b):
    """Nodes that are matched by samples that they share."""
    return (compare_mappers(a, b, alpha=0).matches["feature_distance"] < 1).sum()


def test_matched_nodes_of_two_levels_are_pointed_out_together(two, graph_of):
    two("model-right").select_option("M_clean")
    two.set_slider("level-right", 1)
    two.expect_shape(shape_of(graph_of(view=1)), "right")
    two("match-nodes").check()
    n_nodes = graph_of(view=1).membership_.shape[1]
    measures = two("measures-right")
    two.expect(measures).to_contain_text(re.compile(rf"Matched \d+ of {n_nodes} nodes"))
    n_matched = count_matches(graph_of(view=0), graph_of(view=1))
    two.expect(measures).to_contain_text(f"Matched {n_matched} of")
    # Matched nodes have one number.
    ids = {node.id: node.size for node in two.nodes()}
    others = {node.id: node.size for node in two.nodes("right")}
    assert len(set(ids) & set(others)) == n_matched
    # The ring around the match of the node that the keyboard is at.
    before = two.canvas_pixels("right")
    node = two.go("Home")
    assert node.id in others
    two.expect(two("hint-left")).to_contain_text(f"Node {node.id}:")
    assert (two.canvas_pixels("right") != before).any()
    # An address holds it, and a new graph at the left is matched anew.
    two.set_slider("intervals-left", 14)
    two.expect_shape(shape_of(graph_of(view=1, n_intervals=14)), "right")
    again = [graph_of(view=v, n_intervals=14) for v in (0, 1)]
    two.expect(measures).to_contain_text(f"Matched {count_matches(*again)} of")
    two.page.wait_for_url(re.compile("matched=1"))
    two("match-nodes").uncheck()
    two.expect(measures).not_to_contain_text("Matched")
