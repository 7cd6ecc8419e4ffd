"""Selecting nodes, and what is told and shown of their samples."""

import json
import re

import numpy as np
import pytest
from scipy.optimize import brentq

from tests.explorer.browser.conftest import CLASS_NAMES


def members_of(graph, *nodes):
    """Samples of some nodes, ascending, computed without the explorer."""
    held = graph.membership_[:, list(nodes)].toarray().any(axis=1)
    return np.flatnonzero(held)


def card_of(run, view, i):
    """What the card of a sample says."""
    y, p = run.y[i], run.views[view].prediction[i]
    told = f"✓ Right: {CLASS_NAMES[y]}"
    if y != p:
        told = f"✗ Wrong: true, then predicted: {CLASS_NAMES[y]} → {CLASS_NAMES[p]}"
    confidence, region = run.views[view].confidence[i], run.views[view].regions[i]
    return f"{told} #{i} confidence {100 * confidence:.1f} % region {region}"


def numbers(cards):
    return [int(re.search(r"#(\d+)", text)[1]) for text in cards]


def title_says(seen, words):
    seen.expect(seen("selection-title")).to_contain_text(words)


def position_says(seen, words):
    seen.expect(seen("images-position")).to_have_text(words)


def test_a_click_shows_what_a_node_holds(seen, graph_of, run):
    x, y = seen.place("Home")
    node = seen.active()
    seen.page.mouse.click(x, y)
    title_says(seen, "1 node · M_clean · eps 0")
    assert seen.selected() == [node]
    members = members_of(graph_of(), node.id)
    is_wrong = run.views[0].prediction[members] != run.y[members]
    assert (node.size, node.accuracy) == (
        len(members),
        pytest.approx(1 - is_wrong.mean(), abs=6e-4),
    )
    position_says(seen, f"1–{min(24, len(members))} of {len(members)}")
    summary = " ".join(seen("selection-summary").inner_text().split())
    assert f"Samples {len(members)} Misclassified {is_wrong.sum()} " in summary
    assert f"Accuracy {100 * (1 - is_wrong.mean()):.1f} %" in summary
    assert f"Purity {node.purity:.3f}" in summary
    assert seen.cards() == [card_of(run, 0, i) for i in members[:24]]


def test_the_table_counts_true_and_predicted_labels(seen, graph_of, run):
    seen.go("Home", "Enter")
    members = members_of(graph_of(), seen.active().id)
    rows = seen("class-table").locator("tbody tr")
    true = np.bincount(run.y[members], minlength=10)
    predicted = np.bincount(run.views[0].prediction[members], minlength=10)
    seen.expect(rows).to_have_text(
        [
            re.compile(
                rf"^\s*{re.escape(CLASS_NAMES[k])}\s*{true[k]}\s*{predicted[k]}\s*$"
            )
            for k in np.flatnonzero(true + predicted)
        ]
    )


def test_a_shift_click_adds_and_takes_away(seen):
    first, second = seen.place("Home"), seen.place("Home", "ArrowLeft")
    kept = seen.active()
    seen.page.mouse.click(*first)
    title_says(seen, "1 node ·")
    seen.page.keyboard.down("Shift")
    seen.page.mouse.click(*second)
    title_says(seen, "2 nodes ·")
    assert len(seen.selected()) == 2
    seen.page.mouse.click(*first)
    seen.page.keyboard.up("Shift")
    title_says(seen, "1 node ·")
    assert seen.selected() == [kept]


def test_a_box_selects_what_lies_in_it(seen):
    n_nodes = seen.shape()[0]
    seen.select_all()
    title_says(seen, f"{n_nodes} nodes ·")
    # With the tool, no key is held.
    seen("tool-box-left").check(force=True)
    box, (x, y) = seen("canvas-left").bounding_box(), seen.corner()
    seen.drag((x, y), (x + box["width"] / 2, y + box["height"] - 4))
    seen.expect(seen("selection-title")).not_to_contain_text(f"{n_nodes} nodes")
    left = {node.id for node in seen.selected()}
    assert 0 < len(left) < n_nodes
    x1, _ = seen.place("Home")
    assert (seen.active().id in left) == (x1 < x + box["width"] / 2)


def test_a_lasso_selects_what_lies_in_it(seen):
    x, y = seen.place("End")
    node = seen.active()
    seen("tool-lasso-left").check(force=True)
    mouse = seen.page.mouse
    mouse.move(x - 12, y - 12)
    mouse.down()
    for dx, dy in ((12, -12), (12, 12), (-12, 12), (-12, -10)):
        mouse.move(x + dx, y + dy)
    mouse.up()
    title_says(seen, "1 node ·")
    assert seen.selected() == [node]


def test_keys_select_nodes(seen):
    first = seen.go("Home", "Enter")
    title_says(seen, "1 node ·")
    assert seen.selected() == [first]
    second = seen.go("ArrowLeft", "Shift+Enter")
    title_says(seen, "2 nodes ·")
    assert {node.id for node in seen.selected()} == {first.id, second.id}
    seen.go("Space")
    assert seen.selected() == [second]
    seen.go("Shift+ArrowRight")
    title_says(seen, "2 nodes ·")


@pytest.mark.parametrize("by", ["button", "Escape", "ground"])
def test_the_selection_is_cleared(seen, by):
    seen.go("Home", "Enter")
    seen.expect(seen("image-card")).not_to_have_count(0)
    if by == "button":
        seen("selection-clear").click()
    elif by == "Escape":
        seen.page.keyboard.press("Escape")
    else:
        seen.page.mouse.click(*seen.corner())
    seen.expect(seen("panel-selection")).to_contain_text("Nothing is selected.")
    seen.expect(seen("image-card")).to_have_count(0)
    assert seen.selected() == []


def test_one_pages_through_hundreds(seen, graph_of):
    seen.select_all()
    graph = graph_of()
    members = members_of(graph, *range(graph.membership_.shape[1]))
    total = len(members)
    assert total > 100
    position_says(seen, f"1–24 of {total}")
    assert numbers(seen.cards()) == members[:24].tolist()
    seen("images-next").click()
    position_says(seen, f"25–48 of {total}")
    assert numbers(seen.cards()) == members[24:48].tolist()
    last = (total - 1) // 24 * 24
    seen("images-last").click()
    position_says(seen, f"{last + 1}–{total} of {total}")
    assert numbers(seen.cards()) == members[last:].tolist()
    seen.expect(seen("images-next")).to_be_disabled()
    seen("images-previous").click()
    position_says(seen, f"{last - 23}–{last} of {total}")
    seen("images-first").click()
    position_says(seen, f"1–24 of {total}")
    seen.expect(seen("images-previous")).to_be_disabled()


def test_samples_are_sorted(seen, graph_of, run):
    seen.select_all()
    graph, view = graph_of(), run.views[0]
    members = members_of(graph, *range(graph.membership_.shape[1]))
    wrong = members[view.prediction[members] != run.y[members]]
    seen("images-sort").select_option("wrong")
    seen.expect(seen("image-card").first).to_contain_text("✗")
    cards = seen.cards()
    n_wrong = min(24, len(wrong))
    assert set(numbers(cards)[:n_wrong]) <= set(wrong.tolist())
    seen("images-sort").select_option("confidence")
    least = members[np.argsort(view.confidence[members], kind="stable")]
    seen.expect(seen("image-card").first).to_contain_text(f"#{least[0]}")
    assert numbers(seen.cards()) == least[:24].tolist()


def pixels_of(image):
    """The grey values that an image on the page shows."""
    text = image.evaluate(
        "(c) => JSON.stringify([...c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data].filter((_, k) => k % 4 === 0))"
    )
    return json.loads(text)


def test_perturbed_images_stand_beside_clean_ones(seen, run, watch):
    watch.expect("willReadFrequently")  # The test reads pixels, not the page.
    seen.set_slider("level-left", 2)
    seen.expect(seen("level-left-value")).to_have_text("eps 0.3")
    seen.settled()
    seen("select-weakest").click()
    card = seen("image-card").first
    i = numbers([card.inner_text()])[0]
    images = card.get_by_role("img")
    seen.expect(images).to_have_count(2)
    perturbed = card.get_by_role("img", name=f"attacked image of sample {i}")
    clean = card.get_by_role("img", name=f"clean image of sample {i}")
    assert pixels_of(perturbed) == run.views[2].images[i].ravel().tolist()
    assert pixels_of(clean) == run.images[i].ravel().tolist()
    assert pixels_of(perturbed) != pixels_of(clean)
    # Side by side, and large enough to be seen.
    left, right = perturbed.bounding_box(), clean.bounding_box()
    assert left["x"] + left["width"] <= right["x"]
    assert min(left["width"], right["width"]) >= 40


def test_without_an_attack_there_is_one_image(seen, run):
    seen("select-weakest").click()
    card = seen("image-card").first
    seen.expect(card.get_by_role("img")).to_have_count(1)
    i = numbers([card.inner_text()])[0]
    assert pixels_of(card.get_by_role("img")) == run.images[i].ravel().tolist()


def test_an_image_is_enlarged_beside_the_attacked_one_and_their_difference(
    seen, run, watch
):
    watch.expect("willReadFrequently")
    seen.set_slider("level-left", 2)
    seen.expect(seen("level-left-value")).to_have_text("eps 0.3")
    seen.settled()
    seen("select-weakest").click()
    seen.expect(seen("image-card").nth(1)).to_be_visible()
    cards = numbers(seen.cards())
    seen("image-card").first.click()
    images = seen("enlarged-figures").get_by_role("img")
    for i, step in ((cards[0], "next"), (cards[1], "previous"), (cards[0], "close")):
        seen.expect(seen("enlarged")).to_contain_text(f"#{i}: ")
        clean, attacked, difference = (pixels_of(images.nth(k)) for k in range(3))
        assert clean == run.images[i].ravel().tolist()
        assert attacked == run.views[2].images[i].ravel().tolist()
        moves = np.subtract(attacked, clean)
        most = np.abs(moves).max()
        expected = (128 + 127 * moves / max(1, most)).astype(int)
        assert difference == expected.tolist()
        seen.expect(seen("enlarged")).to_contain_text(f"at most {most}/255")
        assert images.first.bounding_box()["width"] > 150
        seen(f"enlarged-{step}").click()
    seen.expect(seen("enlarged")).to_be_hidden()
    seen.expect(seen("marks-left")).to_contain_text(f"(sample {cards[0]})")


def test_what_lies_in_no_node_is_shown_and_explained(seen, graph_of, run):
    noise = graph_of().noise_
    share = f"{100 * len(noise) / 480:.1f} %"
    bar = seen("noise-left")
    seen.expect(bar).to_have_text(f"{share} ({len(noise)} samples) in no node")
    bar.click()
    title_says(seen, "In no node · M_clean · eps 0")
    position_says(seen, f"1–24 of {len(noise)}")
    assert numbers(seen.cards()) == noise[:24].tolist()
    summary = seen("selection-summary")
    seen.expect(summary).to_contain_text(f"{share} of the samples lie in no node")
    seen.expect(summary).to_contain_text(
        "have 3 samples of their interval within the radius (1)"
    )
    n_wrong = (run.views[0].prediction[noise] != run.y[noise]).sum()
    seen.expect(summary).to_contain_text(f"Misclassified{n_wrong}")
    # Of another graph it is told anew.
    seen.set_slider("overlap-left", 0.5)
    noise = graph_of(overlap=0.5).noise_
    position_says(seen, f"1–24 of {len(noise)}")
    seen("selection-clear").click()
    seen.expect(seen("panel-selection")).to_contain_text("Nothing is selected.")


def weak_accuracies(seen):
    texts = seen("weak-item").locator("b").all_inner_texts()
    return [float(text.removesuffix(" %")) for text in texts]


def upper_bound(node):
    """Where the accuracies end at which so few right ones are not rare (Wilson)."""
    n_right = round(node.accuracy * node.size)

    def excess(p):
        return (p * node.size - n_right) ** 2 - 1.96**2 * node.size * p * (1 - p)

    return 1.0 if n_right == node.size else brentq(excess, node.accuracy, 1)


def test_weak_regions_come_in_order_and_are_one_click_away(seen):
    seen("tab-weak").click()
    seen.expect(seen("weak-item")).to_have_count(seen.shape()[0])
    accuracies = weak_accuracies(seen)
    names = seen("weak").locator(".weak-name").all_inner_texts()
    nodes = {f"Node {node.id}": node for node in seen.nodes()}
    # By the upper end of Wilson's interval, as statsmodels would compute it.
    bounds = [upper_bound(nodes[name]) for name in names]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]
    expected = [100 * nodes[name].accuracy for name in names]
    np.testing.assert_allclose(accuracies, expected, atol=1e-9)
    texts = seen("weak-item").all_inner_texts()
    for text, bound in zip(texts, bounds, strict=True):
        assert f"accuracy at most {100 * bound:.1f} % (95 % interval)" in text
    n_weak = sum(bound < 465 / 480 for bound in bounds)
    seen.expect(seen("panel-weak")).to_contain_text(
        f"{n_weak} of {len(nodes)} nodes are significantly less accurate than the view "
        "(accuracy 96.9 %)"
    )
    item = seen("weak-item").first
    name = item.locator(".weak-name").inner_text()
    item.click()
    seen.expect(item).to_have_attribute("aria-pressed", "true")
    assert [f"Node {node.id}" for node in seen.selected()] == [name]
    seen("tab-selection").click()
    title_says(seen, "1 node ·")
    seen.expect(seen("selection-summary")).to_contain_text(f"{accuracies[0]:.1f} %")


@pytest.mark.parametrize("order", ["accuracy", "purity", "size", "wrong"])
def test_weak_regions_have_other_orders(seen, order):
    seen("tab-weak").click()
    seen("weak-order").select_option(order)
    names = seen("weak").locator(".weak-name").all_inner_texts()
    by_id = {f"Node {node.id}": node for node in seen.nodes()}
    keys = {
        "accuracy": lambda node: node.accuracy,
        "purity": lambda node: node.purity,
        "size": lambda node: -node.size,
        "wrong": lambda node: -round(node.size * (1 - node.accuracy)),
    }
    values = [keys[order](by_id[name]) for name in names]
    assert values == sorted(values)
    assert len(set(values)) > 1


def test_a_sample_is_searched_by_its_index(seen, graph_of):
    graph = graph_of()
    held = graph.membership_.sum(axis=1)
    i = int(np.flatnonzero(np.asarray(held).ravel() == 2)[0])
    nodes = np.flatnonzero(graph.membership_[[i], :].toarray())
    seen("tab-search").click()
    seen("search-sample").fill(str(i))
    seen("search-sample").press("Enter")
    seen.expect(seen("search-result")).to_contain_text(
        f"1 sample (sample {i}), in 2 nodes; 0 in none."
    )
    found = seen("search-node").all_inner_texts()
    assert {int(re.search(r"Node (\d+)", t)[1]) for t in found} == set(nodes.tolist())
    seen("search-node").first.click()
    seen("tab-selection").click()
    title_says(seen, "1 node ·")
    assert seen.selected()[0].id in nodes


def test_samples_are_searched_by_what_they_are_taken_for(seen, run, graph_of):
    seen.set_slider("level-left", 2)
    seen.settled()
    prediction = run.views[2].prediction
    samples = np.flatnonzero((run.y == 9) & (prediction == 0))
    lost = np.asarray(graph_of(view=2).membership_.sum(axis=1)).ravel()[samples] == 0
    assert len(samples) > 2
    seen("tab-search").click()
    seen("search-true").select_option(label=CLASS_NAMES[9])
    seen("search-predicted").select_option(label=CLASS_NAMES[0])
    seen("search-confusion-find").click()
    seen.expect(seen("search-result")).to_contain_text(
        re.compile(
            rf"^{len(samples)} samples \(<b>nine</b> predicted as zero\), "
            rf"in \d+ nodes?; {lost.sum()} in none\."
        )
    )
    seen("search-images").click()
    position_says(seen, f"1–{len(samples)} of {len(samples)}")
    assert seen.cards() == [card_of(run, 2, i) for i in samples]


def test_a_search_that_finds_nothing_says_so(seen, run):
    assert not ((run.y == 0) & (run.views[0].prediction == 7)).any()
    seen("tab-search").click()
    seen("search-true").select_option("0")
    seen("search-predicted").select_option("7")
    seen("search-confusion-find").click()
    seen.expect(seen("search-result")).to_contain_text("No sample")


def test_a_sample_that_does_not_exist_is_not_searched(seen):
    seen("tab-search").click()
    seen("search-sample").fill("480")
    seen("search-sample-find").click()
    seen.expect(seen("search-sample-form").locator(":invalid")).to_have_count(1)
    seen.expect(seen("search-result")).to_have_text("")
