"""Questions about nodes, each answered again in plain Python."""

from dataclasses import replace

import numpy as np
import pytest

from robustkit.explorer._queries import (
    found_in_nodes,
    list_members,
    samples_confused,
    trace_levels,
)
from robustkit.topology import node_purity
from tests.explorer.test_graphs import BASE


@pytest.fixture
def graph(graphs):
    return graphs.compute(BASE)


def samples_of(graph, nodes):
    found = set()
    for j in nodes:
        found |= set(graph.members[graph.indptr[j] : graph.indptr[j + 1]].tolist())
    return sorted(found)


def test_members_are_counted_and_listed(run, graph):
    view = run.views[0]
    nodes = [0, 3, 4]
    answer = list_members(run, graph, nodes, limit=7)
    samples = samples_of(graph, nodes)
    assert answer["total"] == len(samples)
    assert [item["i"] for item in answer["samples"]] == samples[:7]
    for item in answer["samples"]:
        i = item["i"]
        assert (item["y"], item["p"]) == (run.y[i], view.prediction[i])
        assert item["c"] == pytest.approx(view.confidence[i], abs=1e-4)
        assert item["r"] == view.regions[i]
    wrong = [i for i in samples if run.y[i] != view.prediction[i]]
    assert answer["wrong"] == len(wrong)
    assert answer["accuracy"] == pytest.approx(1 - len(wrong) / len(samples))
    assert answer["counts"] == [int((run.y[samples] == k).sum()) for k in range(10)]
    predicted = view.prediction[samples]
    assert answer["predicted_counts"] == [
        int((predicted == k).sum()) for k in range(10)
    ]
    membership = np.isin(np.arange(run.n_samples), samples)[:, None]
    purity = node_purity(membership, run.y, labels=range(10))[0]
    assert answer["purity"] == pytest.approx(purity)


@pytest.mark.parametrize("sort", ["index", "confidence", "wrong"])
def test_pages_hold_every_member_once_and_in_order(run, graph, sort):
    nodes, found = list(range(graph.n_nodes)), []
    total = list_members(run, graph, nodes, sort=sort)["total"]
    for offset in range(0, total, 50):
        page = list_members(run, graph, nodes, offset=offset, limit=50, sort=sort)
        found += page["samples"]
    assert sorted(item["i"] for item in found) == samples_of(graph, nodes)
    keys = {
        "index": lambda item: item["i"],
        "confidence": lambda item: item["c"],
        "wrong": lambda item: item["y"] == item["p"],
    }
    assert found == sorted(found, key=keys[sort])


def test_no_nodes_have_no_members(run, graph):
    answer = list_members(run, graph, [])
    assert (answer["total"], answer["accuracy"], answer["purity"]) == (0, None, None)


def test_samples_are_found_in_the_nodes_that_hold_them(run, graph):
    samples = np.arange(0, run.n_samples, 3)
    answer = found_in_nodes(graph, samples)
    held = {
        j: len(set(samples_of(graph, [j])) & set(samples.tolist()))
        for j in range(graph.n_nodes)
    }
    expected = {j: n for j, n in held.items() if n}
    assert dict(zip(answer["nodes"], answer["held"], strict=True)) == expected
    everywhere = samples_of(graph, range(graph.n_nodes))
    assert answer["noise"] == len(set(samples.tolist()) - set(everywhere))
    assert answer["total"] == len(samples)


def test_one_class_taken_for_another(run):
    view = run.views[1]
    expected = [
        i for i in range(run.n_samples) if (run.y[i], view.prediction[i]) == (3, 4)
    ]
    assert samples_confused(run, view, 3, 4).tolist() == expected
    assert expected


def test_levels_of_one_model_are_traced_in_their_order(run, graphs):
    answer = trace_levels(run, graphs, BASE, "M_adv")
    assert answer["views"] == [2, 3]
    assert answer["levels"] == [0.0, 0.5]
    assert answer["accuracy"] == [run.accuracy(2), run.accuracy(3)]
    assert answer["purity"] == [
        graphs.compute(replace(BASE, view=i)).mean_purity for i in (2, 3)
    ]
