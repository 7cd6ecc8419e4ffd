"""Questions about nodes and samples: the page's answers against plain Python's.

Each is asked in the page that is served, and in the page that is a file.
"""

import csv
import io
import json
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from robustkit.explorer import View
from robustkit.explorer._explore import Explorer
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._page import page_as_html
from robustkit.explorer._run import make_run
from robustkit.topology import node_purity
from tests.explorer.browser.conftest import context_of
from tests.explorer.conftest import NASTY, PARAMETERS, TITLE, small_run
from tests.explorer.test_graphs import BASE

# A source of its own: the page's later questions would supersede these.
ASK = """async ([where, view, parameters, method, args]) => {
    const load = (name) => import(where === "file"
        ? `robustkit/${name}` : new URL(`static/${name}`, document.baseURI));
    const { openData } = await load(
        where === "file" ? "data_in_page.js" : "data_from_server.js");
    const { Questions } = await load("questions.js");
    const source = openData();
    const questions = new Questions(source, await source.run());
    if (method === "curve") return questions.curve(...args);
    const graph = await source.graph("left", { view, ...parameters });
    const answer = await questions[method](graph, ...args);
    return answer instanceof Blob ? answer.text() : answer;
}"""


@pytest.fixture(scope="module")
def run():
    return small_run()


@pytest.fixture(scope="module")
def graphs(run):
    return Graphs(run)


@pytest.fixture(scope="module")
def graph(graphs):
    return graphs.compute(BASE)


@pytest.fixture(scope="module", params=["server", "file"])
def ask(request, browser, run, graphs, tmp_path_factory):
    """Ask a question of one graph."""
    if request.param == "server":
        explorer = Explorer(run, graphs)
        explorer.start()
        url = explorer.url
    else:
        path = tmp_path_factory.mktemp("page") / "page.html"
        path.write_text(page_as_html(run, graphs, BASE), "utf-8")
        url = path.as_uri()
    with context_of(browser) as context:
        page = context.new_page()
        page.goto(url)

        def asked(method, *args, view=0):
            arguments = [request.param, view, PARAMETERS, method, list(args)]
            return page.evaluate(ASK, arguments)

        yield asked
    if request.param == "server":
        explorer.close()


def samples_of(graph, nodes):
    found = set()
    for j in nodes:
        found |= set(graph.members[graph.indptr[j] : graph.indptr[j + 1]].tolist())
    return sorted(found)


def test_members_are_counted_and_listed(ask, run, graph):
    view = run.views[0]
    nodes = [0, 3, 4]
    answer = ask("members", nodes, {"limit": 7})
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
def test_pages_hold_every_member_once_and_in_order(ask, graph, sort):
    nodes, found = list(range(graph.n_nodes)), []
    total = ask("members", nodes, {"sort": sort})["total"]
    for offset in range(0, total, 150):
        page = {"offset": offset, "limit": 150, "sort": sort}
        found += ask("members", nodes, page)["samples"]
    assert sorted(item["i"] for item in found) == samples_of(graph, nodes)
    keys = {
        "index": lambda item: item["i"],
        "confidence": lambda item: item["c"],
        "wrong": lambda item: item["y"] == item["p"],
    }
    assert found == sorted(found, key=keys[sort])


def test_no_nodes_have_no_members(ask):
    answer = ask("members", [])
    assert (answer["total"], answer["accuracy"], answer["purity"]) == (0, None, None)


def test_samples_are_found_in_the_nodes_that_hold_them(ask, run, graph):
    samples = list(range(0, run.n_samples, 3))
    answer = ask("where", samples)
    held = {
        j: len(set(samples_of(graph, [j])) & set(samples)) for j in range(graph.n_nodes)
    }
    expected = {j: n for j, n in held.items() if n}
    assert dict(zip(answer["nodes"], answer["held"], strict=True)) == expected
    everywhere = samples_of(graph, range(graph.n_nodes))
    assert answer["noise"] == len(set(samples) - set(everywhere))
    assert answer["samples"] == samples


def test_samples_of_nodes_are_given_once_and_ascending(ask, graph):
    nodes = list(range(graph.n_nodes))
    assert ask("samplesOf", nodes) == samples_of(graph, nodes)


def test_samples_are_described_in_the_order_asked(ask, run):
    answer = ask("describe", [7, 3])
    assert [(item["i"], item["y"]) for item in answer] == [(7, run.y[7]), (3, run.y[3])]


def test_one_sample_is_found_and_an_unknown_one_is_refused(ask, graph):
    expected = [j for j in range(graph.n_nodes) if 5 in samples_of(graph, [j])]
    assert ask("findSample", 5)["nodes"] == expected
    for sample in (-1, 400, 1.5):
        with pytest.raises(Exception, match="they go from 0 to 399"):
            ask("findSample", sample)


def test_samples_of_one_class_predicted_as_another(ask, run):
    predicted = run.views[1].prediction
    expected = [i for i in range(run.n_samples) if (run.y[i], predicted[i]) == (3, 4)]
    assert ask("findConfused", 3, 4, view=1)["samples"] == expected
    assert expected


def test_curve_follows_the_levels_of_one_model(ask, run, graphs):
    answer = ask("curve", "M_adv", PARAMETERS)
    assert answer["views"] == [2, 3]
    assert answer["levels"] == [0.0, 0.5]
    assert answer["accuracy"] == [run.accuracy(2), run.accuracy(3)]
    assert answer["purity"] == [
        graphs.compute(replace(BASE, view=i)).mean_purity for i in (2, 3)
    ]


def test_json_holds_all_there_is(ask, run, graph):
    described = json.loads(ask("graphFile", "json"))
    assert (described["model"], described["level"]) == ("M_clean", 0.0)
    assert (described["eps"], described["n_intervals"]) == (2.0, 8)
    assert described["title"] == TITLE
    assert described["class_names"] == run.class_names
    for j, node in enumerate(described["nodes"]):
        assert node["id"] == j
        assert node["samples"] == samples_of(graph, [j])
        assert node["counts"] == graph.counts[j].tolist()
        assert node["purity"] == pytest.approx(graph.purity[j], abs=1e-6)
        assert node["accuracy"] == pytest.approx(graph.accuracy[j], abs=1e-6)
        assert node["filter_mean"] == graph.filter_mean[j]
    edges = [(e["source"], e["target"], e["shared"]) for e in described["edges"]]
    expected = zip(*graph.edges.T.tolist(), graph.n_shared.tolist(), strict=True)
    assert edges == list(expected)


def test_networkx_reads_the_graphml(ask, graph):
    plain = nx.parse_graphml(ask("graphFile", "graphml"), node_type=int)
    assert plain.graph["name"] == TITLE
    assert sorted(plain.edges) == sorted(map(tuple, graph.edges.tolist()))
    for j, node in plain.nodes(data=True):
        assert node["size"] == graph.size[j]
        assert [node[f"count_{i}"] for i in range(10)] == graph.counts[j].tolist()
    # Markup stays text, and XML has no null.
    assert {NASTY, "nul�"} <= {name for _, name in plain.nodes(data="majority")}


def test_csv_holds_the_samples_of_the_nodes(ask, run, graph):
    text = ask("samplesFile", [0, 1, 2])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["sample"]) for row in rows] == samples_of(graph, [0, 1, 2])
    view = run.views[0]
    for row in rows:
        i = int(row["sample"])
        name = run.class_names[run.y[i]]
        assert row["true"] == (f"'{name}" if name == "=1+1" else name)
        assert (row["wrong"] == "1") == (run.y[i] != view.prediction[i])
        assert float(row["confidence"]) == pytest.approx(view.confidence[i], abs=1e-4)
        assert int(row["region"]) == view.regions[i]


def test_no_cell_of_the_csv_is_a_formula(ask, graph):
    text = ask("samplesFile", list(range(graph.n_nodes)))
    cells = {cell for row in csv.reader(io.StringIO(text)) for cell in row}
    assert "-4" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_what_is_not_known_is_left_out(browser, tmp_path):
    """Confidences that are NaN, no regions, and ids of regions beyond 32 bits."""
    n, rng = 40, np.random.RandomState(0)
    y = np.arange(n) % 2
    confidence = np.where(np.arange(n) % 3 == 0, np.nan, rng.rand(n))
    regions = np.arange(n) + 2**40
    X = rng.normal(size=(n, 2))
    views = [
        View("M", 0.0, X, y, confidence, regions=regions),
        View("N", 0.0, X, y),
    ]
    run = make_run(y=y, views=views)
    p = replace(BASE, n_intervals=2, eps=9.0)
    page_file = tmp_path / "page.html"
    page_file.write_text(page_as_html(run, Graphs(run), p), "utf-8")
    with context_of(browser) as context:
        page = context.new_page()
        page.goto(page_file.as_uri())
        order = {"limit": n, "sort": "confidence"}
        known, unknown = (
            page.evaluate(ASK, ["file", view, {}, "members", [[0, 1], order]])
            for view in (0, 1)
        )
    samples = known["samples"]
    assert [item["r"] for item in samples] == [regions[item["i"]] for item in samples]
    expected = np.argsort(confidence, kind="stable").tolist()
    assert [item["i"] for item in samples] == expected
    n_unknown = np.isnan(confidence).sum()
    assert [item["c"] for item in samples[-n_unknown:]] == [None] * n_unknown
    assert {(item["c"], item["r"]) for item in unknown["samples"]} == {(None, None)}
