"""A run is stored whole or not at all, and only a whole one is read."""

import json
import pickle
import shutil

import numpy as np
import pytest

from robustkit.exceptions import CorruptFileError
from robustkit.explorer import View, load_run, save_run
from robustkit.explorer import _run_folder as module

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
        ({"views": VIEWS[:1] * 2}, "must hold each model and level once"),
        ({"class_names": ["a"]}, "must name 3 classes. Got 1 names"),
        ({"image_shape": (3, 3)}, r"\(6, 9\) to show images .* Got \(6, 4\)"),
        ({"image_shape": (2, 1, 2)}, "with 1 or 3 channels"),
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
    "newer": (lambda f: change(f, version=2), "version 2 and was written by a newer"),
    "older": (lambda f: change(f, version=0), "'version' must be 1"),
    "odd version": (lambda f: change(f, version="x"), "'version' must be 1"),
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
    "twice": (
        lambda f: change(
            f,
            views=[
                {"id": i, "model": "M", "level": 0, "file": f"view_{i}.npz"}
                for i in (0, 1)
            ],
        ),
        "'views' must hold each model and level once",
    ),
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
