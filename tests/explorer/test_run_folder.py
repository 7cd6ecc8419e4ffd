"""A run is stored whole or not at all, and only a whole one is read."""

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils import Bunch

from robustkit.exceptions import CorruptFileError
from robustkit.explorer import View, load_run, save_run
from robustkit.explorer import _graphs as graphs_module
from robustkit.explorer import _run_folder as module
from robustkit.explorer._graphs import GraphParameters, Graphs
from robustkit.topology import MapperGraph

FIRST = GraphParameters(0, "l2norm", "uniform", 20, 0.3, "auto", 5)

VIEWS = [
    View("M", 0.0, np.arange(12.0).reshape(6, 2), [0, 1, 2, 0, 1, 1], np.full(6, 0.5)),
    View("M", 0.1, np.ones((6, 3)), [2, 1, 2, 0, 1, 1], X=np.ones((6, 4)),
         regions=[0, 1, -1, 3, 4, 5]),
]  # fmt: skip
Y = [0, 1, 2, 0, 1, 2]
X = np.linspace(0, 1, 24).reshape(6, 4)


@pytest.fixture
def folder(tmp_path):
    return save_run(tmp_path / "run", X=X, y=Y, views=VIEWS, image_shape=(2, 2))


def test_save_and_load_round_trip(folder):
    run = load_run(folder)
    assert (run.title, run.n_samples, run.image_shape) == ("run", 6, (1, 2, 2))
    assert run.class_names == ["0", "1", "2"]
    assert run.models == ["M"]
    np.testing.assert_array_equal(run.y, Y)
    np.testing.assert_array_equal(run.images, np.rint(X * 255))
    for mine, given in zip(run.views, VIEWS, strict=True):
        assert (mine.model, mine.level) == (given.model, given.level)
        np.testing.assert_array_equal(mine.activations, given.activations)
        np.testing.assert_array_equal(mine.prediction, given.prediction)
    assert run.views[0].images is None
    assert run.views[0].regions is None
    np.testing.assert_array_equal(run.views[1].images, 255)
    np.testing.assert_array_equal(run.views[1].regions, VIEWS[1].regions)
    np.testing.assert_array_equal(run.views[0].confidence, 0.5)
    assert np.isnan(run.views[1].confidence).all()
    assert run.accuracy(1) == 4 / 6


def test_layers_and_columns_are_kept(tmp_path):
    columns = {"site": ["b", "a", None], "age": [3.5, np.nan, 1.0], "old": [1, 0, 1]}
    columns["old"] = np.array(columns["old"], dtype=bool)
    views = [
        View("M", 0.0, np.ones((3, width)), [0, 1, 1], layer=layer)
        for layer, width in (("features.6", 4), ("logits", 2))
    ]
    run = load_run(
        save_run(tmp_path / "run", y=[0, 1, 1], views=views, columns=columns)
    )
    assert [(view.layer, view.activations.shape[1]) for view in run.views] == [
        ("features.6", 4), ("logits", 2)
    ]  # fmt: skip
    site, age, old = run.columns
    assert (site.name, site.categories) == ("site", ["a", "b"])
    np.testing.assert_array_equal(site.values, [1, 0, np.nan])
    np.testing.assert_array_equal(age.values, columns["age"])
    np.testing.assert_array_equal(old.values, columns["old"])
    assert (age.name, age.categories, old.categories) == ("age", None, None)


def test_features_of_a_table_are_columns_and_pixels_are_not(tmp_path):
    view = View("M", 0.0, np.ones((6, 1)), Y)
    frame = pd.DataFrame(X, columns=list("abcd"))
    wide, image = np.ones((6, 33)), {"image_shape": (2, 2)}
    names = [
        [c.name for c in load_run(save_run(tmp_path / "run", **given)).columns]
        for given in (
            {"y": Y, "views": [view], "X": table, **shape}
            for table, shape in ((X, {}), (frame, {}), (wide, {}), (X, image))
        )
    ]
    assert names == [["x0", "x1", "x2", "x3"], ["a", "b", "c", "d"], [], []]


def test_a_run_is_stored_from_a_run_and_from_its_folder(folder, tmp_path):
    run = load_run(folder)
    for given in (run, folder, str(folder)):
        copy = load_run(save_run(tmp_path / "copy", given, title="copy"))
        assert copy.title == "copy"
        np.testing.assert_array_equal(copy.images, run.images)
        np.testing.assert_array_equal(copy.views[1].regions, run.views[1].regions)
    with pytest.raises(ValueError, match=r"parameters \['y'\] go without 'run'"):
        save_run(tmp_path / "copy", run, y=Y)
    with pytest.raises(TypeError, match=r"'run' parameter must be .* Got int"):
        save_run(tmp_path / "copy", 3)
    with pytest.raises(ValueError, match=r"'views' parameter .* Got None"):
        save_run(tmp_path / "copy", y=Y)


def test_distance_of_the_first_graph_of_many_samples_is_stored(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    views = [View("M", 0.0, rng.normal(size=(10_000, 2)), np.zeros(10_000))]
    kept = load_run(save_run(tmp_path / "run", y=np.zeros(10_000), views=views))
    fresh = replace(kept, views=[replace(kept.views[0], eps=None)])
    mapper = MapperGraph(n_intervals=20)
    expected = Graphs(fresh, mapper).compute(FIRST)
    assert kept.views[0].eps == expected.eps
    again = load_run(save_run(tmp_path / "again", kept))
    assert again.views[0].eps == expected.eps
    kept = replace(kept, views=[replace(kept.views[0], first=None)])

    def refuse(*args):
        raise AssertionError("it is known")

    monkeypatch.setattr(graphs_module, "automatic_eps", refuse)
    graph = Graphs(kept, mapper).compute(FIRST)
    np.testing.assert_array_equal(graph.members, expected.members)
    np.testing.assert_array_equal(graph.edges, expected.edges)
    for other in ({"min_samples": 6}, {"metric": "manhattan"}):
        graphs = Graphs(kept, clone(mapper).set_params(**other))
        with pytest.raises(AssertionError, match="it is known"):
            graphs.compute(replace(FIRST, **graphs.defaults))


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A run of 600 samples, which are many here, stored with its first graph."""
    monkeypatch.setattr(module, "MANY_SAMPLES", 600)
    rng = np.random.default_rng(0)
    y, along = rng.integers(3, size=600), np.linspace(1, 10, 600)
    views = [
        View(
            "M", level, np.column_stack([along, rng.normal(0, 0.1, 600)]), y.clip(max=1)
        )
        for level in (0.0, 0.1)
    ]
    return save_run(tmp_path / "stored", y=y, views=views)


def refuse_to_fit(*args):
    raise AssertionError("it is computed")


def same_graphs(a, b):
    return all(np.array_equal(vars(a)[name], vars(b)[name]) for name in vars(a))


def test_first_graph_is_stored_and_shown_without_another_search(stored, monkeypatch):
    run = load_run(stored)
    assert [view.first is None for view in run.views] == [False, True]
    fresh = replace(run, views=[replace(view, first=None) for view in run.views])
    graphs = Graphs(fresh)
    first = GraphParameters(0, **graphs.defaults)
    expected = graphs.compute(first)
    assert expected.n_nodes > 1
    assert len(expected.edges) > 0
    monkeypatch.setattr(graphs_module._QuietMapper, "fit", refuse_to_fit)
    assert same_graphs(Graphs(run).compute(first, soon=True), expected)
    assert same_graphs(Graphs(run).compute(first), expected)


def test_stored_graph_is_not_shown_in_the_place_of_another(stored, monkeypatch):
    run = load_run(stored)
    first = GraphParameters(0, **Graphs(run).defaults)
    moved = replace(run.views[0], activations=run.views[0].activations + 1)
    old = replace(run.views[0].first, version="0.0")
    monkeypatch.setattr(graphs_module._QuietMapper, "fit", refuse_to_fit)
    others = [
        (Graphs(run), replace(first, n_intervals=41)),
        (Graphs(run), replace(first, min_samples=4)),
        (Graphs(run), replace(first, view=1)),
        (Graphs(run, MapperGraph(n_intervals=40, n_bootstrap=2)), first),
        (Graphs(replace(run, views=[moved, run.views[1]])), first),
        (Graphs(replace(run, views=[replace(run.views[0], first=old)])), first),
    ]
    for graphs, parameters in others:
        with pytest.raises(AssertionError, match="it is computed"):
            graphs.compute(parameters)


def test_classes_of_a_stored_graph_are_those_of_the_run(stored):
    run = load_run(stored)
    first = GraphParameters(0, **Graphs(run).defaults)
    relabelled = replace(run, y=(run.y + 1) % 3)
    graph, other = (Graphs(one).compute(first) for one in (run, relabelled))
    np.testing.assert_array_equal(other.counts, np.roll(graph.counts, 1, axis=1))


def test_a_graph_without_nodes_is_not_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MANY_SAMPLES", 4)
    view = View("M", 0.0, [[0.0], [1.0], [2.0], [3.0]], [0, 0, 0, 0])
    run = load_run(save_run(tmp_path / "run", y=[0, 0, 0, 0], views=[view]))
    assert run.views[0].first is None
    graphs = Graphs(run)
    graph = graphs.compute(GraphParameters(0, **graphs.defaults))
    assert (graph.n_nodes, graph.note != "") == (0, True)


@pytest.mark.parametrize("opening", [(1,), (1, 0)])
def test_graphs_that_the_page_opens_with_are_stored(stored, tmp_path, opening):
    run = replace(load_run(stored), opening=opening)
    run = load_run(save_run(tmp_path / "again", run))
    assert all(run.views[i].first is not None for i in opening)


BROKEN_GRAPHS = {
    "graph_indptr": [
        lambda a: None, lambda a: a.astype(float), lambda a: a[:0], lambda a: a[::-1],
        lambda a: a + 1, lambda a: np.insert(a, 1, 0), lambda a: a[:-1],
    ],
    "graph_members": [
        lambda a: a[:-1], lambda a: a[::-1], lambda a: a - 1, lambda a: a + 600,
        lambda a: a[:, None],
    ],
    "graph_interval": [lambda a: a[1:], lambda a: a - 40, lambda a: a + 40],
    "graph_filter_mean": [
        lambda a: a[1:], lambda a: a * np.nan, lambda a: np.ones(len(a), int)
    ],
    "graph_edges": [
        lambda a: a[:, :1], lambda a: np.zeros((0, 0), int), lambda a: a[:, ::-1],
        lambda a: a - 1, lambda a: a + 1, lambda a: a.ravel(),
    ],
    "graph_n_shared": [lambda a: a[1:], lambda a: 0 * a, lambda a: a.astype(float)],
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_GRAPHS)
def test_a_broken_graph_is_refused_by_name(stored, name):
    with np.load(stored / "view_0.npz") as arrays:
        right = arrays[name]
    for spoil in BROKEN_GRAPHS[name]:
        rewrite(stored, "view_0.npz", **{name: spoil(right)})
        with pytest.raises(CorruptFileError, match=r"view_0.npz: 'graph_\w+' holds"):
            load_run(stored)
    rewrite(stored, "view_0.npz", **{name: right})
    assert load_run(stored).views[0].first is not None


@pytest.mark.parametrize(
    "entry",
    [
        3, {}, {"eps": 0}, {"eps": "1"}, {"n_intervals": 0}, {"n_intervals": 2.0},
        {"parameters": []}, {"samples": 1}, {"version": None}, {"more": 1},
    ],
)  # fmt: skip
def test_a_broken_entry_of_a_graph_is_refused(stored, entry):
    views = json.loads((stored / "manifest.json").read_text())["views"]
    is_part = isinstance(entry, dict) and entry
    views[0]["graph"] = views[0]["graph"] | entry if is_part else entry
    change(stored, views=views)
    with pytest.raises(CorruptFileError, match="the 'graph' of view 0 must be null"):
        load_run(stored)


def test_nothing_is_computed_ahead_of_few_samples(folder):
    views = load_run(folder).views
    assert [(view.eps, view.first) for view in views] == [(None, None)] * 2


def test_samples_too_far_apart_are_stored_without_a_graph(tmp_path, monkeypatch):
    def refuse(*args):
        raise ValueError("no finite distance")

    monkeypatch.setattr(module, "automatic_eps", refuse)
    monkeypatch.setattr(graphs_module, "automatic_eps", refuse)
    monkeypatch.setattr(module, "MANY_SAMPLES", 6)
    run = load_run(save_run(tmp_path / "run", y=Y, views=VIEWS))
    assert [(view.eps, view.first) for view in run.views] == [(None, None)] * 2


def test_runs_of_the_first_version_are_read(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | {"version": 1}
    del manifest["columns"], manifest["opening"]
    for view in manifest["views"]:
        del view["layer"], view["eps"], view["graph"]
    path.write_text(json.dumps(manifest))
    run = load_run(folder)
    assert (run.columns, run.opening) == ([], (0,))
    assert [view.layer for view in run.views] == ["", ""]


def test_class_names_and_images_come_from_the_data_set(tmp_path):
    names = np.array(["T-shirt", "Trouser", "Pullover", "Dress"])
    data = Bunch(data=X, target=np.array(Y), image_shape=(2, 2), target_names=names)
    run = load_run(save_run(tmp_path / "run", data=data, views=VIEWS))
    assert run.class_names == names.tolist()
    np.testing.assert_array_equal(run.y, Y)
    assert run.image_shape == (1, 2, 2)
    with pytest.raises(TypeError, match="'data' parameter must be a data set with"):
        save_run(tmp_path / "run", data=X, views=VIEWS)


def test_names_of_classes_that_no_sample_has_do_not_shift_the_others(tmp_path):
    view = View("M", 0.0, np.ones((2, 1)), [3, 1])
    names = ["zero", "one", "two", "three"]
    run = load_run(
        save_run(tmp_path / "run", y=[1, 1], views=[view], class_names=names)
    )
    assert [run.class_names[k] for k in run.views[0].prediction] == ["three", "one"]
    assert [run.class_names[k] for k in run.y] == ["one", "one"]
    # Names that are not of the integers from 0: one for each label.
    view, names = View("M", 0.0, np.ones((2, 1)), [7, 5]), ["five", "seven"]
    path = save_run(tmp_path / "run", y=[7, 7], views=[view], class_names=names)
    run = load_run(path)
    assert [run.class_names[k] for k in run.y] == ["seven", "seven"]


def test_labels_may_be_words_and_need_no_images(tmp_path):
    view = View("M", 0, np.ones((3, 1)), ["b", "a", "c"])
    folder = save_run(tmp_path / "run", y=["b", "b", "b"], views=[view], title="T")
    run = load_run(folder)
    assert (run.class_names, run.images, run.title) == (["a", "b", "c"], None, "T")
    np.testing.assert_array_equal(run.y, [1, 1, 1])


def test_a_run_is_replaced_but_nothing_else_is(folder, tmp_path):
    save_run(folder, y=Y, views=VIEWS[:1])
    assert len(load_run(folder).views) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="mine exists and is no run"):
        save_run(tmp_path / "mine", y=Y, views=VIEWS)


def test_failed_write_leaves_no_files(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(module.np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save_run(tmp_path / "run", y=Y, views=VIEWS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": []}, "'views' parameter must hold at least one view"),
        ({"views": [View("M", -1, X, Y)]}, "'level' of a view .* Got -1"),
        ({"views": [View("M", np.nan, X, Y)]}, "'level' of a view .* Got nan"),
        ({"views": [View("M", 0, X, Y[:2])]}, "'prediction' of view 'M' .* Got 2"),
        ({"views": [View("M", 0, X[:2], Y)]}, "inconsistent numbers of samples"),
        ({"views": [View("M", 0, X * np.nan, Y)]}, "activations contains NaN"),
        ({"views": VIEWS[:1] * 2}, "must hold each model, level and layer once"),
        ({"class_names": ["a"]}, "must name 3 classes. Got 1 names"),
        ({"image_shape": (3, 3)}, r"\(6, 9\) to show images .* Got \(6, 4\)"),
        ({"image_shape": (2, 1, 2)}, "with 1 or 3 channels"),
        ({"y": None}, "'y' parameter is missing"),
        (
            {"class_names": list("abcde"), "y": [0, 1, 2, 0, 1, 9]},
            "integers from 0 to 4",
        ),
        ({"columns": {"a": [1, 2]}}, "column 'a' must have one entry .* 6 .* Got 2"),
        ({"columns": {"a": [np.inf] * 6}}, "column 'a' must hold numbers. Got .*inf"),
    ],
)
def test_invalid_runs_are_not_stored(tmp_path, changes, message):
    given = {"X": X, "y": Y, "views": VIEWS, "image_shape": (2, 2)} | changes
    with pytest.raises(ValueError, match=message):
        save_run(tmp_path / "run", **given)
    assert list(tmp_path.iterdir()) == []


def change(folder, **entries):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | entries
    path.write_text(json.dumps(manifest))


def rewrite(folder, file, **arrays):
    with np.load(folder / file) as old:
        arrays = {**old, **arrays}
    np.savez(folder / file, **{k: v for k, v in arrays.items() if v is not None})


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


def plant_pickle(folder, file):
    np.savez(folder / file, y=np.array([{}] * 6, dtype=object), allow_pickle=True)


def plant_column(folder, values, categories):
    rewrite(folder, "samples.npz", column_0=values)
    change(folder, columns=[{"name": "a", "categories": categories}])


MISTAKES = {
    "no folder": (shutil.rmtree, "there is no such folder"),
    "half-written": (
        lambda f: (f / "manifest.json").unlink(), r"half-written \(manifest.json is"
    ),
    "foreign folder": (
        lambda f: [p.unlink() for p in f.iterdir()], "not one written by save_run"
    ),
    "no JSON": (lambda f: (f / "manifest.json").write_text("{"), "corrupt or half"),
    "deep JSON": (
        lambda f: (f / "manifest.json").write_text("[" * 99999), "corrupt or half"
    ),
    "binary manifest": (
        lambda f: (f / "manifest.json").write_bytes(b"\xff\x00"), "corrupt or half"
    ),
    "a list": (lambda f: (f / "manifest.json").write_text("[]"), "does not describe"),
    "foreign": (lambda f: change(f, format="other"), "does not describe a run"),
    "newer": (lambda f: change(f, version=3), "version 3 and was written by a newer"),
    "older": (lambda f: change(f, version=0), "'version' must be from 1 to 2"),
    "odd version": (lambda f: change(f, version="x"), "'version' must be from 1 to 2"),
    "title": (lambda f: change(f, title=3), "'title' must be a string"),
    "n_samples": (lambda f: change(f, n_samples=-6), "'n_samples' must be an integer"),
    "true": (lambda f: change(f, n_classes=True), "'n_classes' must be an integer"),
    "names": (lambda f: change(f, class_names=[1, 2, 3]), "must be a list of strings"),
    "few names": (lambda f: change(f, class_names=["a"]), "must hold 'n_classes'"),
    "shape": (lambda f: change(f, image_shape=[1, 2]), "'image_shape' must be null"),
    "no views": (lambda f: change(f, views=[]), "at least one view"),
    "odd view": (lambda f: change(f, views=[3]), "view 0 must have its 'id'"),
    "path": (
        lambda f: change(
            f, views=[{"id": 0, "model": "M", "level": 0, "file": "../view_0.npz"}]
        ),
        "view 0 must have its",
    ),
    **{
        f"eps {eps}": (
            lambda f, eps=eps: change(
                f,
                views=[
                    {"id": 0, "model": "M", "level": 0, "file": "view_0.npz"}
                    | {"eps": eps}
                ],
            ),
            "the 'eps' of view 0 must be null or a number above 0",
        )
        for eps in (0, -1.0, 1e999, "2", True)
    },
    "twice": (
        lambda f: change(
            f,
            views=[
                {"id": i, "model": "M", "level": 0, "file": f"view_{i}.npz"}
                for i in (0, 1)
            ],
        ),
        "'views' must hold each model, level and layer once",
    ),
    "odd columns": (lambda f: change(f, columns=[{"categories": []}]), "'columns' mus"),
    "odd categories": (
        lambda f: change(f, columns=[{"name": "a", "categories": [1]}]),
        "'columns' must be a list",
    ),
    "a column that is not there": (
        lambda f: change(f, columns=[{"name": "a", "categories": None}]),
        "hold the array 'column_0'",
    ),
    "an infinite column": (
        lambda f: plant_column(f, np.full(6, np.inf), None), "'column_0' holds infinity"
    ),
    "an unknown category": (
        lambda f: plant_column(f, np.full(6, 2.0), ["a", "b"]),
        "'column_0' holds categories that are not listed",
    ),
    "no opening": (lambda f: change(f, opening=[]), "'opening' must hold one or two"),
    "opening beyond": (lambda f: change(f, opening=[0, 2]), "'opening' must hold one"),
    "infinite level": (
        lambda f: change(
            f, views=[{"id": 0, "model": "M", "level": 1e999, "file": "view_0.npz"}]
        ),
        "view 0 must have its",
    ),
    "other n_samples": (lambda f: change(f, n_samples=7), "'y' does not fit the mani"),
    "other shape": (
        lambda f: change(f, image_shape=[1, 3, 3]), "'images' does not fit"
    ),
    "missing file": (lambda f: (f / "view_1.npz").unlink(), "view_1.npz is missing"),
    "cut file": (lambda f: cut(f / "view_0.npz"), "view_0.npz is corrupt"),
    "flipped bits": (lambda f: flip(f / "samples.npz"), "samples.npz is corrupt"),
    "empty file": (
        lambda f: (f / "view_1.npz").write_bytes(b""), "view_1.npz is corrupt"
    ),
    "pickle": (
        lambda f: (f / "view_1.npz").write_bytes(pickle.dumps({})),
        "view_1.npz is corrupt",
    ),
    "objects": (lambda f: plant_pickle(f, "samples.npz"), "samples.npz is corrupt"),
    "compressed": (
        lambda f: np.savez_compressed(f / "view_1.npz", a=np.zeros(9)),
        "view_1.npz is corrupt .* it is compressed",
    ),
    "one bare array": (
        lambda f: (f / "view_1.npz").write_bytes(np.lib.format.magic(1, 0)),
        "view_1.npz is corrupt",
    ),
    "no array": (
        lambda f: rewrite(f, "view_0.npz", prediction=None), "hold the array 'predic"
    ),
    "negative class": (
        lambda f: rewrite(f, "samples.npz", y=np.full(6, -1)), "classes outside 0 to 2"
    ),
    "large class": (
        lambda f: rewrite(f, "view_0.npz", prediction=np.full(6, 3)),
        "'prediction' holds classes outside",
    ),
    "classes as numbers": (
        lambda f: rewrite(f, "samples.npz", y=np.ones(6)), "'y' does not fit"
    ),
    "NaN": (
        lambda f: rewrite(f, "view_0.npz", activations=np.full((6, 2), np.nan)),
        "'activations' holds NaN",
    ),
    "no columns": (
        lambda f: rewrite(f, "view_0.npz", activations=np.ones((6, 0))),
        "'activations' does not fit",
    ),
    "sure": (
        lambda f: rewrite(f, "view_0.npz", confidence=np.full(6, 1.5)),
        "'confidence' holds numbers outside",
    ),
    "regions": (
        lambda f: rewrite(f, "view_1.npz", regions=np.ones((6, 2), int)),
        "'regions' does not fit",
    ),
    "no images": (
        lambda f: rewrite(f, "samples.npz", images=None), "hold the array 'images'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_corrupt_folder_is_a_one_line_error(folder, mistake):
    spoil, message = MISTAKES[mistake]
    spoil(folder)
    with pytest.raises((ValueError, OSError), match=message) as error:
        load_run(folder)
    assert "\n" not in str(error.value)


def test_file_is_not_a_run(tmp_path):
    path = tmp_path / "run"
    path.write_text("")
    with pytest.raises(CorruptFileError, match="it is a file, not a folder"):
        load_run(path)


def test_a_manifest_that_is_too_large_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(module, "_LARGEST_MANIFEST", 10)
    with pytest.raises(CorruptFileError, match="too large to be a manifest"):
        load_run(folder)
