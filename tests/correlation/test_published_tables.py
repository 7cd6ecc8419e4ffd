"""Tables of others are read as JSON, checked, and ready for the correlator."""

import json
import pickle
from itertools import pairwise, product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.correlation import RobustnessCorrelator, load_nas_robustness
from robustkit.correlation._published_tables import _describe

OPERATIONS = ["nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "none"]
ENDS = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
CONV, SKIP, NONE = "nor_conv_3x3", "skip_connect", "none"


def cell(operations):
    names = [f"{op}~{u}" for op, (u, _) in zip(operations, ENDS, strict=True)]
    groups = names[:1], names[1:3], names[3:]
    return "+".join(f"|{'|'.join(group)}|" for group in groups)


CELLS = {
    "0": cell([CONV] * 6),
    "4": cell([CONV, NONE, SKIP, NONE, NONE, "nor_conv_1x1"]),
    "12": cell([NONE] * 6),
}
META = {
    "ids": {i: {"nb201-string": c, "isomorph": i} for i, c in CELLS.items()},
    "epsilons": {"pgd@Linf": [0.1, 1.0]},
}
JUNG = {
    "clean": {"0": 0.9, "4": 0.8, "12": 0.1},
    "pgd@Linf": {"0": [0.5, 0.2], "4": [0.4, 0.1], "12": [0.1, None]},
    "fog": {"0": [0.7, 0.6, 0.5], "4": [0.6, 0.5, 0.4], "12": [0.1, 0.1, 0.1]},
}
ROBBENCH = {
    "cifar10": {
        "12": {"val_acc": {"0": 0.1}, "val_pgd_3.0_acc": {"0": 0.1}},
        "4": {
            "val_acc": {"0": 0.8, "1": 0.7},
            "val_pgd_3.0_acc": {"0": 0.4, "1": 0.3},
        },
    }
}


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest.fixture
def jung(tmp_path):
    write(tmp_path / "meta.json", META)
    for attack, accuracy in JUNG.items():
        content = {"cifar10": {attack: {"accuracy": accuracy}}}
        write(tmp_path / "cifar10" / f"{attack}_accuracy.json", content)
    # Other measures are not read.
    (tmp_path / "cifar10" / "clean_cm.json").write_text("[", "utf-8")
    return tmp_path


@pytest.fixture
def robbench(tmp_path):
    write(tmp_path / "meta.json", META)
    return write(tmp_path / "NAS-RobBench-201_all.json", ROBBENCH)


def test_folder_of_jung_has_one_row_per_network(jung):
    table = load_nas_robustness(jung)
    assert table.groups.tolist() == ["0", "4", "12"]
    assert table.cells == list(CELLS.values())
    assert table.y.to_dict("list") == {
        "clean": [0.9, 0.8, 0.1],
        "fog_severity1": [0.7, 0.6, 0.1],
        "fog_severity2": [0.6, 0.5, 0.1],
        "fog_severity3": [0.5, 0.4, 0.1],
        "pgd@Linf_eps0.1": [0.5, 0.4, 0.1],
        "pgd@Linf_eps1.0": [0.2, 0.1, pytest.approx(np.nan, nan_ok=True)],
    }


def test_file_of_robbench_has_one_row_per_network_and_seed(robbench):
    table = load_nas_robustness(robbench)
    assert table.groups.tolist() == ["4", "4", "12"]
    assert table.y.to_dict("list") == {
        "val_acc": [0.8, 0.7, 0.1],
        "val_pgd_3.0_acc": [0.4, 0.3, 0.1],
    }


def test_meta_may_be_elsewhere(robbench, tmp_path):
    elsewhere = tmp_path / "meta.json"
    moved = elsewhere.rename(tmp_path / "cells.json")
    with pytest.raises(FileNotFoundError, match=r"meta\.json"):
        load_nas_robustness(robbench)
    assert len(load_nas_robustness(robbench, meta=moved).X) == 3


def test_properties_of_three_cells(jung):
    X = load_nas_robustness(jung).X
    assert X["n_conv_3x3"].tolist() == [6, 1, 0]
    assert X["n_conv_1x1"].tolist() == [0, 1, 0]
    assert X["n_skip"].tolist() == [0, 1, 0]
    assert X["n_paths"].tolist() == [4, 1, 0]
    assert X["longest_path"].tolist()[:2] == [3, 3]
    assert X["shortest_path"].tolist()[:2] == [1, 3]
    assert X["conv_depth"].tolist()[:2] == [3, 2]
    assert X.loc[2, ["longest_path", "shortest_path", "conv_depth"]].isna().all()


@given(st.tuples(*[st.sampled_from(OPERATIONS)] * 6))
def test_properties_equal_those_of_all_simple_paths(operations):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(4))
    for (u, v), operation in zip(ENDS, operations, strict=True):
        if operation != "none":
            graph.add_edge(u, v, operation=operation)
    paths = [list(pairwise(path)) for path in nx.all_simple_paths(graph, 0, 3)]
    used = [graph.edges[e]["operation"] for e in {e for path in paths for e in path}]
    found = _describe(cell(operations))
    names = ["n_conv_3x3", "n_conv_1x1", "n_avg_pool", "n_skip"]
    for name, operation in zip(names, OPERATIONS, strict=False):
        assert found[name] == used.count(operation)
    assert found["n_paths"] == len(paths)
    if paths:
        assert found["longest_path"] == max(map(len, paths))
        assert found["shortest_path"] == nx.shortest_path_length(graph, 0, 3)
        assert found["conv_depth"] == max(
            sum("conv" in graph.edges[e]["operation"] for e in path) for path in paths
        )


def test_correlator_finds_what_was_planted(tmp_path):
    cells = [cell(c) for c in product([CONV, SKIP, NONE], [CONV, NONE], *[[SKIP]] * 4)]
    ids = {str(i): {"nb201-string": c, "isomorph": str(i)} for i, c in enumerate(cells)}
    planted = {
        str(i): {"val_acc": {s: c.count("3x3") / 4 + int(s) / 100 for s in "012"}}
        for i, c in enumerate(cells)
    }
    write(tmp_path / "meta.json", {"ids": ids})
    table = load_nas_robustness(write(tmp_path / "all.json", {"cifar10": planted}))
    table.X = table.X[["n_conv_3x3"]]
    correlator = RobustnessCorrelator(
        methods="spearman", n_bootstrap=20, random_state=0
    )
    (found,) = correlator.fit(table.X, table.y, table.groups).correlations_.itertuples()
    assert found.coefficient == pytest.approx(1)
    assert found.n == len(cells)


def changed(content, *keys, to):
    """A copy in which one entry is another."""
    content = json.loads(json.dumps(content))
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return content


BAD_RESULTS = {
    "no object": ([1], r"it must be an object, and is \[1\]"),
    "other data set": ({"cifar100": {}}, r"there is no 'cifar10', but \['cifar100'\]"),
    "empty": ({"cifar10": {}}, "cifar10 must be an object with entries"),
    "list": (
        changed(ROBBENCH, "cifar10", "4", to=[1]),
        r"network '4' must be an object with entries, not \[1\]",
    ),
    "percent": (
        changed(ROBBENCH, "cifar10", "4", "val_acc", "0", to=80.0),
        r"'val_acc' of network '4' must be an accuracy in \[0, 1\], and is 80.0",
    ),
    "large": (
        changed(ROBBENCH, "cifar10", "4", "val_acc", "0", to=10**400),
        r"must be an accuracy in \[0, 1\], and is 1000",
    ),
    "text": (
        changed(ROBBENCH, "cifar10", "4", "val_acc", "0", to="high"),
        r"must be an accuracy in \[0, 1\], and is 'high'",
    ),
    "truth": (
        changed(ROBBENCH, "cifar10", "4", "val_acc", "0", to=True),
        r"must be an accuracy in \[0, 1\], and is True",
    ),
    "unknown network": (
        changed(ROBBENCH, "cifar10", "9999", to={"val_acc": {"0": 0.5}}),
        "network '9999' is not in ",
    ),
}


@pytest.mark.parametrize(
    ("content", "message"), BAD_RESULTS.values(), ids=list(BAD_RESULTS)
)
def test_malformed_results_are_named(content, message, robbench):
    write(robbench, content)
    with pytest.raises(ValueError, match=message) as caught:
        load_nas_robustness(robbench)
    assert str(robbench) in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_META = {
    "no ids": ({"epsilons": {}}, "there is no 'ids'"),
    "no cell": (
        changed(META, "ids", "4", to={"isomorph": "4"}),
        r"ids\['4'\] has no 'nb201-string', but \['isomorph'\]",
    ),
    "no text": (changed(META, "ids", "4", "nb201-string", to=3), "is not a cell"),
    "five edges": (
        changed(META, "ids", "4", "nb201-string", to="|none~0|+|none~0|none~1|"),
        "is not a cell of NAS-Bench-201",
    ),
    "unknown operation": (
        changed(META, "ids", "4", "nb201-string", to=cell(["conv"] * 6)),
        "is not a cell of NAS-Bench-201",
    ),
    "strengths": (changed(META, "epsilons", to=[1]), r"'epsilons' must be an object"),
}


@pytest.mark.parametrize(("content", "message"), BAD_META.values(), ids=list(BAD_META))
def test_malformed_meta_is_named(content, message, robbench, tmp_path):
    write(tmp_path / "meta.json", content)
    with pytest.raises(ValueError, match=message):
        load_nas_robustness(robbench)


def test_other_number_of_strengths_is_named(jung):
    content = {"cifar10": {"pgd@Linf": {"accuracy": {"0": [0.1, 0.2, 0.3]}}}}
    write(jung / "cifar10" / "pgd@Linf_accuracy.json", content)
    with pytest.raises(ValueError, match=r"'0'\] has 3 numbers, but 'epsilons'"):
        load_nas_robustness(jung)


def test_other_data_set_of_the_folder_is_named(jung):
    with pytest.raises(FileNotFoundError, match=r"There are some in \['cifar10'\]"):
        load_nas_robustness(jung, dataset="cifar100")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("was unpickled",))


@pytest.mark.parametrize(
    "content", [pickle.dumps(Bomb()), b'{"cifar10": {', b"\xff\xfe\x00", b"[" * 100_000]
)
def test_only_json_is_read(content, robbench):
    robbench.write_bytes(content)
    with pytest.raises(ValueError, match="must be a file of JSON, which alone is read"):
        load_nas_robustness(robbench)
