"""What is trained further with, what is kept of a graph, and what a table says."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from papers.topology import experiment as topology
from papers.topology import figures
from papers.topology import page as pages
from robustkit.topology import MapperGraph


def test_control_is_as_large_as_what_it_controls(global_random_seed):
    weak = np.array([7, 3, 11])
    chosen = topology.further_samples(weak, 100, global_random_seed)
    refined, control = chosen[f"replay {topology.REPLAY}"], chosen["random"]
    assert len(np.unique(refined)) == len(np.unique(control)) == len(refined) == 15
    assert set(weak) < set(refined)
    assert np.array_equal(chosen["replay 0"], weak)


def test_control_is_all_samples_where_there_are_no_more():
    chosen = topology.further_samples(np.arange(30), 100, 0)
    assert set(chosen["random"]) == set(range(100))


def test_stored_graph_is_the_graph(tmp_path, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X, y, y_pred = rng.normal(size=(200, 2)), rng.randint(3, size=200), np.zeros(200)
    mapper = MapperGraph(n_intervals=5, eps=0.5).fit(X)
    topology.save_graph(tmp_path / "a" / "graph.json", mapper, y, y_pred)
    graph, nodes, labels = figures.stored_graph(tmp_path / "a" / "graph.json")
    assert set(map(frozenset, graph.edges)) == set(map(frozenset, mapper.graph_.edges))
    assert labels == [0, 1, 2]
    expected = mapper.describe(y, y_pred)[list(nodes)].reset_index(drop=True)
    pd.testing.assert_frame_equal(nodes, expected, atol=1e-4)


def test_small_components_are_left_out():
    nodes = pd.DataFrame({"size": [1, 2, 3, 4]})
    graph = nx.Graph([(1, 2), (2, 3)])
    graph.add_node(0)
    graph, nodes = figures.without_crumbs(graph, nodes, smallest=2)
    assert nodes["size"].tolist() == [2, 3, 4]
    assert set(graph.edges) == {(0, 1), (1, 2)}


def test_gain_is_paired_by_seed():
    level = {"attack": "full", "norm": "linf", "eps": 0.1, "weak uniform": 10}
    rows = [
        level | {"seed": seed, "M_adv": robust, "weak balanced": 10}
        | {f"{cover}, {name}": robust + gain
           for cover in topology.COVERS
           for name, gain in (("replay 4", 0.02), ("replay 0", -0.1), ("random", 0.01))}
        for seed, robust in enumerate([0.5, 0.7])
    ]  # fmt: skip
    first, *_ = pages.gain_rows(pd.DataFrame(rows), "mnist", "full", "linf")
    assert first["refined"] == "+2.00\u00a0±\u00a00.00"
    assert first["with weak samples alone"] == "-10.00\u00a0±\u00a00.00"
    assert first["refined - random"] == "+1.00\u00a0±\u00a00.00"
    assert first["published gain"] == "+0.27 (0.30)"


def test_network_and_images_change_purity_apart():
    # Purity is .9, .2 less by the network and .1 less by the images; seeds differ.
    rows = [
        {
            "eps": 0.1, "seed": seed, "network": network, "data": data,
            "purity uniform 1": 0.9 + 0.01 * seed
            - 0.2 * (network == "adversarial") - 0.1 * (data == "attacked"),
        }
        for seed in range(3)
        for network in ("clean", "adversarial")
        for data in ("clean", "attacked")
    ]  # fmt: skip
    # Seed 3 is not finished.
    unfinished = rows[0] | {"seed": 3}
    (row,) = pages.apart_rows(pd.DataFrame([*rows, unfinished]))
    assert row["n"] == 3
    assert row["changed by the network"] == "-20.00\u00a0±\u00a00.00"
    assert row["changed by the images"] == "-10.00\u00a0±\u00a00.00"
    assert row["clean network, clean images"].startswith("91.00")
    assert row["adversarial network, attacked images"].startswith("61.00")


def test_only_confusions_common_at_every_level_persist(monkeypatch):
    monkeypatch.setattr(pages, "N_COMMONEST", 2)
    numbers = {
        # (eps, seed): errors by (class, predicted).
        (0.1, 0): {(4, 9): 60, (9, 4): 30, (3, 5): 10},
        (0.1, 1): {(4, 9): 20, (9, 4): 70, (3, 5): 10},
        (0.2, 0): {(4, 9): 500, (3, 5): 400, (9, 4): 100},
        (0.2, 1): {(4, 9): 400, (3, 5): 600},
    }
    kinds = (("adversarial", "attacked", 1), ("clean", "clean", 9))
    rows = [
        {"eps": eps, "seed": seed, "network": network, "data": data,
         "class": pair[0], "predicted": pair[1], "number": n * factor}
        for (eps, seed), pairs in numbers.items()
        for pair, n in pairs.items()
        for network, data, factor in kinds
    ]  # fmt: skip
    found = list(pages.persisting_rows(pd.DataFrame(rows)))
    # At .2 a network made no error of 9 for 4: a share of zero, not a gap.
    assert found == [
        {"class": 4, "taken for": 9, "eps 0.1": "40.0 %", "eps 0.2": "45.0 %"}
    ]


def test_a_confusion_that_a_level_lacks_does_not_persist():
    numbers = [(0.1, 4, 9, 6), (0.1, 3, 5, 4), (0.2, 4, 9, 5)]
    rows = [
        {"eps": eps, "seed": 0, "network": "adversarial", "data": "attacked",
         "class": true, "predicted": predicted, "number": n}
        for eps, true, predicted, n in numbers
    ]  # fmt: skip
    assert list(pages.persisting_rows(pd.DataFrame(rows))) == [
        {"class": 4, "taken for": 9, "eps 0.1": "60.0 %", "eps 0.2": "100.0 %"}
    ]


def coloured(n_samples, seed):
    """Images of 8 x 8 pixels, each mostly of one of three colours."""
    rng = np.random.RandomState(seed)
    y = rng.randint(3, size=n_samples)
    images = rng.uniform(0, 0.2, size=(n_samples, 3, 8, 8))
    images[np.arange(n_samples), y] += 0.8
    return images.reshape(n_samples, -1).astype(np.float32), y


# So few samples, hardly trained with, may well be all noise.
@pytest.mark.filterwarnings("ignore:No cluster was found:UserWarning")
@pytest.mark.parametrize(
    ("dataset", "network"),
    [
        pytest.param(*key, marks=[pytest.mark.slow] if "resnet18" in key else [])
        for key in topology.SETTINGS
        if key[0] != "digits"
    ],
)
def test_every_network_goes_the_whole_way(tmp_path, dataset, network):
    X, y = coloured(60, seed=0)
    data = Bunch(
        name=dataset, X_train=X[:40], y_train=y[:40], X_test=X[40:], y_test=y[40:],
        image_shape=(3, 8, 8),
    )  # fmt: skip
    settings = topology.SETTINGS[dataset, network] | {
        "epochs": 2, "parts": ["linf"], "linf": (2 / 255,), "n_intervals": 3,
        "steps": 1, "measure_steps": 2,
    }  # fmt: skip
    for _ in range(2):
        topology.run(dataset, network, settings, data, 1, tmp_path)
    name = topology.name_of(dataset, network)
    rows = topology.ResultTable(tmp_path / f"{name}.csv", topology.KEYS).read()
    assert rows["attack"].tolist() == ["none", "full"]
    shares = ["clean", "train", *(f"purity {cover} 1" for cover in topology.COVERS)]
    assert rows[shares].stack().between(0, 1).all()
    robust = ["M_adv", "uniform, replay 4", "balanced, random"]
    assert rows.loc[1, robust].between(0, 1).all()
    assert (tmp_path / "graphs" / f"{name}_full_linf_0.007843.json").exists()


def test_fall_is_paired_by_seed_and_needs_both_ends_only():
    purity = {(0.0, 0): 0.9, (0.1, 0): 0.5, (0.2, 0): 0.6, (0.0, 1): 0.8, (0.2, 1): 0.5}
    rows = [
        {"attack": "full" if eps else "none", "norm": "l2" if eps else "none"}
        | {"eps": eps, "seed": seed}
        | {f"purity {kind}": value for kind in pages.GRAPH_KINDS}
        for (eps, seed), value in purity.items()
    ]
    (row,) = pages.fall_rows(pd.DataFrame(rows))
    assert row["largest eps"] == "0.2"
    assert row["n"] == 2
    assert row["uniform 1"] == "-30.00\u00a0±\u00a00.00; 0\u00a0of\u00a01"


def test_levels_are_written_as_in_papers():
    assert [pages.radius(eps) for eps in (0.0, 0.05, 0.3)] == ["0", "0.05", "0.3"]
    assert pages.radius(8 / 255) == pages.radius(0.0313725) == "8/255"
