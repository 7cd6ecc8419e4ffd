"""What is in a store is safe, whoever writes, and what is not a store is left alone.

Equal studies have equal descriptions, others do not.
"""

import json
import os
import shutil
import sqlite3
import stat
import sys
import warnings
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from robustkit.attacks import FGSMAttack, PGDAttack
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.exceptions import CorruptFileError
from robustkit.graphs import GraphPrior, LayeredGraph
from robustkit.study import _store
from robustkit.study._store import Store, canonical, differences, digest

as_root = hasattr(os, "geteuid") and os.geteuid() == 0

IDENTITY = {"n_graphs": 2, "attacks": {"fgsm": {"eps": 0.1}}}


def row(model, **measures):
    return {"place": {"model": model}, "measures": measures}


def fill(path, tasks=range(3), **changes):
    """A store with some finished tasks, all in the shard of one process."""
    store = Store(path)
    store.open_study(identity=IDENTITY | changes)
    for task in tasks:
        store.add(task, [row(task, error=0.1 * task)])
    return path


def fill_up(store, n_rows):
    """Add more, and larger, rows than there is room for."""
    for task in range(3, n_rows):
        store.add(task, [row(task, error=list(range(500)))])


def shards(path, ending=".rows"):
    """The files of all processes, oldest first."""
    return sorted(path.glob(f"*{ending}"))


def old_store(path, n_rows=3):
    """A store as it was before there were shards: one SQLite file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        run = connection.execute
        run("PRAGMA application_id = 1919052660")
        run("CREATE TABLE study (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        run("CREATE TABLE models (model INTEGER PRIMARY KEY, task, record TEXT)")
        run("INSERT INTO study VALUES ('identity', ?)", (json.dumps(IDENTITY),))
        for model in range(n_rows):
            made = {"made": {"version_robustkit": _store.__version__}}
            record = json.dumps(row(model, error=0.1 * model) | made)
            run("INSERT INTO models VALUES (?, ?, ?)", (model, model, record))
    return path


@given(value=st.floats(allow_infinity=False))
def test_numbers_come_back_bit_by_bit(value):
    store = Store(None)
    store.add(0, [row(0, plain=value, numpy=np.float64(value))])
    (back,) = store.rows()
    assert np.array([back["measures"]["plain"]]).tobytes() == (
        np.array([value]).tobytes()
    ) or np.isnan(value)
    assert np.isnan(value) or back["measures"]["numpy"] == value
    assert not np.isnan(value) or np.isnan(back["measures"]["numpy"])


def test_numpy_numbers_are_kept_as_numbers():
    store = Store(None)
    store.add(0, [row(0, count=np.int64(3), small=np.float32(0.1))])
    (back,) = store.rows()
    assert back["measures"] == {"count": 3, "small": float(np.float32(0.1))}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.inf, np.inf),
        (-np.inf, -np.inf),
        (10**400, 10**400),
        (-(2**63) - 1, -(2**63) - 1),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.True_, True),
        (np.longdouble(1) / 4, 0.25),
        (np.arange(3), [0, 1, 2]),
        (np.array(0.5), 0.5),
        ((1, (2.5, None)), [1, [2.5, None]]),
        ("Größe 🙂 \udc80 \x00 '; DROP TABLE models; --", None),
        (np.mean, "mean"),
        (FGSMAttack, "FGSMAttack"),
        (range(3), "range(0, 3)"),
    ],
)
def test_odd_values_come_back(value, expected, tmp_path):
    """Of the settings of a user, who may choose anything."""
    Store(tmp_path / "study").add(0, [row(0, **{"it": value, "Größe": 1})])
    (back,) = Store(tmp_path / "study").rows()
    expected = value if expected is None else expected
    assert back["measures"] == {"it": expected, "Größe": 1}
    assert type(back["measures"]["it"]) is type(expected)


def test_rows_are_there_when_the_store_is_opened_again(tmp_path):
    store = Store(fill(tmp_path / "study"))
    assert [found["place"]["model"] for found in store.rows()] == [0, 1, 2]
    assert store.done() == {0, 1, 2}
    assert store.n_models() == 3


def test_a_reader_writes_nothing(tmp_path):
    path = fill(tmp_path / "study")
    before = {file: file.read_bytes() for file in path.iterdir()}
    Store(path, must_exist=True).rows()
    assert {file: file.read_bytes() for file in path.iterdir()} == before


def test_the_first_row_of_a_model_stays(tmp_path):
    store = Store(fill(tmp_path / "study"))
    store.add(0, [row(0, error=9.0)])
    for opened in (store, Store(store.path)):
        assert opened.rows()[0]["measures"]["error"] == 0.0


def test_rows_of_a_task_come_all_or_not_at_all(tmp_path):
    store = Store(fill(tmp_path / "study"))
    with pytest.raises(KeyError, match="place"):
        store.add(3, [row(3), {}])
    assert store.done() == {0, 1, 2}
    store.add(3, [row(3), row(4)])
    assert store.n_models() == Store(store.path).n_models() == 5


def test_every_process_writes_to_a_shard_of_its_own(tmp_path):
    path = fill(tmp_path / "study")
    one, other = Store(path), Store(path)
    one.add(3, [row(3)])
    other.add(4, [row(4)])
    one.add(5, [row(5)])
    assert len(shards(path)) == 3
    for store in (one, other, Store(path)):
        assert store.done() == set(range(6))
        assert [found["place"]["model"] for found in store.rows()] == list(range(6))


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["add", "claim", "open"]), st.integers(0, 9)
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_readers_merge_what_any_processes_did_in_any_order(steps, tmp_path_factory):
    """Compared with a dictionary: the first rows of a task, by the age of shards."""
    path = fill(tmp_path_factory.mktemp("any") / "study", tasks=[])
    stores, expected = [Store(path) for _ in range(3)], {}
    for k, (who, what, task) in enumerate(steps):
        if what == "open":
            stores[who] = Store(path)
        elif what == "claim":
            chosen = stores[who].claim(range(10), 2)
            assert set(chosen).isdisjoint(expected)
            assert bool(chosen) == (len(expected) < 10)
        else:
            stores[who].add(task, [row(task, step=k)])
            expected.setdefault(task, []).append(k)
    for store in (*stores, Store(path)):
        assert store.done() == expected.keys()
        for found in store.rows():
            model = found["place"]["model"]
            assert found["measures"]["step"] in expected[model]


def test_without_its_index_a_shard_says_the_same(tmp_path):
    path = fill(tmp_path / "study", tasks=range(20))
    expected = Store(path).rows()
    (index,) = shards(path, ".index")
    content = index.read_bytes()
    for n_bytes in (0, 1, 31, 32, 100, len(content) - 1):
        index.write_bytes(content[:n_bytes])
        store = Store(path)
        assert store.rows() == expected
        assert store.n_models() == 20
    index.unlink()
    assert Store(path).rows() == expected


@pytest.mark.parametrize("n_torn", [1, 2, 30])
def test_a_torn_last_line_alone_is_lost_and_told(tmp_path, n_torn):
    path = fill(tmp_path / "study")
    (shard,) = shards(path)
    os.truncate(shard, shard.stat().st_size - n_torn)
    with pytest.warns(UserWarning, match=rf"last line of the shard {shard.name} in"):
        store = Store(path)
    assert store.done() == {0, 1}
    store.add(2, [row(2, error=0.2)])
    assert [found["measures"]["error"] for found in store.rows()] == [0.0, 0.1, 0.2]


def test_a_line_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
    path = fill(tmp_path / "study")
    (shard,) = shards(path)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-5])
    monkeypatch.setattr(_store.time, "sleep", lambda _: shard.write_bytes(whole))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = Store(path)
    assert store.done() == {0, 1, 2}


def test_a_reader_that_a_writer_overtakes_loses_no_task(tmp_path, monkeypatch):
    path = fill(tmp_path / "study.store", tasks=[0])
    reader, writer, usual = Store(path), Store(path), _store._content
    writer.add(1, [row(1)])
    assert reader.done() == {0, 1}

    def overtaken(file, *args):
        # Between a look at how long the lines are and one at the index.
        if file.name == f"{writer._shard}.index" and 2 not in writer._done:
            writer.add(2, [row(2)])
        return usual(file, *args)

    monkeypatch.setattr(_store, "_content", overtaken)
    reader.done()
    assert 2 in writer._done
    writer.add(3, [row(3)])
    assert reader.done() == {0, 1, 2, 3}
    assert [found["place"]["model"] for found in reader.rows()] == [0, 1, 2, 3]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_line_that_the_index_passes_over_is_found(tmp_path, lost):
    path = fill(tmp_path / "study.store")
    (index,) = shards(path, ".index")
    content = index.read_bytes()
    index.write_bytes(content[: 32 * lost] + content[32 * (lost + 1) :])
    assert Store(path).rows() == Store(fill(tmp_path / "whole")).rows()


def test_two_that_make_one_folder_at_once_share_it(tmp_path, monkeypatch):
    path, usual = tmp_path / "study.store", os.listdir

    def overtaken(folder):
        monkeypatch.setattr(os, "listdir", usual)
        Store(path).open_study(identity=IDENTITY)
        return usual(folder)

    monkeypatch.setattr(os, "listdir", overtaken)
    second = Store(path)
    second.open_study(identity=IDENTITY)
    assert second.home() == Store(path).home()


def test_a_copy_into_another_study_is_refused(tmp_path):
    one, other = fill(tmp_path / "one"), fill(tmp_path / "other", [0], n_graphs=9)
    with pytest.raises(ValueError, match="another study: n_graphs is 9 there and 2"):
        Store(one).copy_to(other)
    assert Store(other).done() == {0}


def test_tasks_that_nobody_claimed_come_first(tmp_path):
    path = fill(tmp_path / "study", tasks=[0])
    one, other = Store(path), Store(path)
    assert one.claim(range(5), 1) == [1]
    (second,) = other.claim(range(5), 1)
    assert second in (2, 3, 4)
    rest = [task for task in (2, 3, 4) if task != second]
    assert sorted(one.claim(rest, 1) + other.claim(rest, 1)) == rest
    # All are claimed: take from the other what it has not finished, one by one.
    (stolen,) = other.claim([1], 4)
    assert stolen == 1
    one.add(1, [row(1)])
    assert other.claim([1], 4) == []


def test_whoever_is_alone_goes_in_order():
    store = Store(None)
    assert store.claim(range(6), 2) == [0, 1]
    assert store.claim(range(2, 6), 3) == [2, 3, 4]


def test_claims_are_of_one_kind():
    store = Store(None)
    assert store.claim([1, 2, 3, 4, 5], 9, lambda task: task % 2) == [1, 3, 5]


def test_what_was_kept_first_stays(tmp_path):
    for path in (None, tmp_path / "study"):
        store = Store(path)
        assert store.keep_first("seed", 3) == 3
        assert store.keep_first("seed", 4) == 3
        assert store.read("seed") == 3
        assert store.read("settings") is None


def test_of_two_that_write_at_once_the_first_stays(tmp_path, monkeypatch):
    """The slower one has seen that nothing is there."""
    store, faster = Store(tmp_path / "study"), Store(tmp_path / "study")
    link = os.link

    def slow_link(new, path):
        monkeypatch.setattr(os, "link", link)
        faster.keep_first("seed", 3)
        link(new, path)

    monkeypatch.setattr(os, "link", slow_link)
    assert store.keep_first("seed", 4) == 3
    assert not list(store.path.glob(".*"))


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def no_link(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", no_link)
    store = Store(fill(tmp_path / "study"))
    assert store.read("identity") == IDENTITY
    assert store.keep_first("identity", {}) == IDENTITY
    assert not list(store.path.glob(".*"))


def test_another_study_is_refused_and_named(tmp_path):
    store = Store(fill(tmp_path / "study"))
    other = {"n_graphs": 3, "attacks": {"fgsm": {"eps": 0.1}, "pgd": {}}}
    message = (
        r"study holds another study: attacks\.pgd is not set there and "
        r"\{\} here; n_graphs is 2 there and 3 here"
    )
    with pytest.raises(ValueError, match=message):
        store.open_study(identity=other)
    assert store.n_models() == 3


def test_shards_of_two_studies_in_one_folder_are_refused_by_name(tmp_path):
    path = fill(tmp_path / "study")
    other = fill(tmp_path / "other", n_graphs=7)
    (shard,) = shards(other)
    shutil.copy(shard, path)
    message = (
        rf"shards of two studies: {shard.name} is not of that of identity\.json "
        r"\(n_graphs is 2 there and 7 here\)"
    )
    with pytest.raises(ValueError, match=message):
        Store(path)
    # Also where nothing says which is the right one.
    (path / "identity.json").unlink()
    with pytest.raises(ValueError, match="shards of two studies"):
        Store(path)


def test_another_version_of_the_package_is_refused_by_name(tmp_path, monkeypatch):
    path = fill(tmp_path / "study")
    here, home = Store(path), Store(path).home()
    monkeypatch.setattr(_store, "__version__", "9.9")
    with pytest.raises(ValueError, match=r"begun by robustkit .*-\d+ has 9\.9"):
        here.open_study(identity=IDENTITY)
    with pytest.raises(RuntimeError, match=r"worker .*-\d+ has robustkit 9\.9, and"):
        home.open()
    here.add(3, [row(3)])
    name = shards(path)[-1].name
    with pytest.raises(ValueError, match=rf"{name} .* robustkit 9\.9, and the study"):
        Store(path)


def test_a_worker_finds_the_store_where_it_shares_the_folder(tmp_path):
    path = fill(tmp_path / "study")
    home = Store(path).home()
    worker = home.open()
    assert worker is home.open()
    worker.add(3, [row(3)])
    assert Store(path).done() == {0, 1, 2, 3}
    # What is there is another study, or nothing.
    other = fill(tmp_path / "other", n_graphs=7)
    assert home._replace(path=other).open() is None
    assert home._replace(path=tmp_path / "nowhere").open() is None
    assert Store(None).home().open() is None


def test_a_worker_sees_that_the_store_was_begun_anew(tmp_path):
    """It has the store open for as long as it lives."""
    path = fill(tmp_path / "study")
    worker = Store(path).home().open()
    worker.add(3, [row(3)])
    shutil.rmtree(path)
    fill(path, tasks=[1])
    assert worker.done() == {1}
    worker.add(2, [row(2)])
    assert Store(path).done() == worker.done() == {1, 2}


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear Sir or Madam")
    for must_exist in (False, True):
        with pytest.raises(CorruptFileError, match="left as it is"):
            Store(tmp_path, must_exist=must_exist)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("content", [b"", b"Dear Sir or Madam, " * 100])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="left as it is"):
        Store(path)
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(CorruptFileError, match="not the store of a study"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_of_before_is_read_and_can_be_copied(tmp_path):
    path = old_store(tmp_path / "study.sqlite")
    before = path.read_bytes()
    old = Store(path, must_exist=True)
    assert old.read("identity") == IDENTITY
    assert old.done() == {0, 1, 2}
    message = r"one SQLite file.*robustkit export .*study\.sqlite --store FOLDER"
    for refused in (
        lambda: old.open_study(identity=IDENTITY),
        lambda: old.add(3, [row(3)]),
        lambda: old.keep_first("seed", 3),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    new = old.copy_to(tmp_path / "study")
    assert new.rows() == old.rows()
    new.open_study(identity=IDENTITY)
    new.add(3, [row(3)])
    assert Store(tmp_path / "study").done() == {0, 1, 2, 3}
    assert path.read_bytes() == before


def test_a_copy_keeps_the_version_that_made_the_models(tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "__version__", "0.0.9")
    old = old_store(tmp_path / "study.sqlite")
    path = fill(tmp_path / "study")
    monkeypatch.setattr(_store, "__version__", "0.1")
    for source in (old, path):
        copy = Store(source).copy_to(tmp_path / f"of_{source.name}").path
        assert Store(copy).rows() == Store(source).rows()
        with pytest.raises(ValueError, match=r"begun by robustkit 0\.0\.9"):
            Store(copy).open_study(identity=IDENTITY)
    with pytest.raises(ValueError, match="Choose another folder"):
        Store(path).copy_to(fill(tmp_path / "young"))


def test_tensors_are_told_apart_by_what_they_hold():
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert canonical(ones) == canonical(torch.ones(3, requires_grad=True))
    assert canonical(ones) != canonical(zeros)
    one, other = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    assert canonical(one) == canonical(other)
    torch.nn.init.zeros_(other.weight)
    assert canonical(one) != canonical(other)


def test_many_shards_are_copied_into_one(tmp_path):
    path = fill(tmp_path / "study")
    for task in range(3, 9):
        Store(path).add(task, [row(task)])
    assert len(shards(path)) == 7
    copy = Store(path).copy_to(tmp_path / "copy")
    assert copy.rows() == Store(path).rows()
    assert len(shards(tmp_path / "copy")) == 1


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_damaged_line_is_refused_and_left_alone(tmp_path, place):
    path = tmp_path / "study"
    store = Store(path)
    store.open_study(identity={})
    fill_up(store, 20)
    (shard,) = shards(path)
    content = bytearray(shard.read_bytes())
    content[int(place * len(content))] ^= 1
    shard.write_bytes(content)
    # The index has its place: it is read when it is needed.
    with pytest.raises(CorruptFileError, match=rf"{shard.name} .* damaged\. Bring"):
        Store(path).rows()
    shards(path, ".index")[0].unlink()
    with pytest.raises(CorruptFileError, match=rf"{shard.name} .* damaged\. Bring"):
        Store(path)
    assert shard.read_bytes() == content


def test_a_damaged_description_is_refused(tmp_path):
    path = fill(tmp_path / "study")
    (path / "identity.json").write_text("{")
    with pytest.raises(CorruptFileError, match=r"identity\.json is damaged"):
        Store(path).read("identity")


def test_a_newer_format_is_refused(tmp_path):
    path = fill(tmp_path / "study")
    (path / "robustkit-store.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match=r"has format 99, .*Update robustkit"):
        Store(path)


def test_a_store_that_must_exist_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store of a study"):
        Store(tmp_path / "study", must_exist=True)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(PermissionError, match="must exist, and both"):
        Store(tmp_path / "missing" / "study")


@pytest.mark.skipif(as_root, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path):
    path = fill(tmp_path / "study")
    path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(PermissionError, match="must be writable"):
            Store(path).add(4, [row(4)])
    finally:
        path.chmod(stat.S_IRWXU)


def test_the_system_saying_no_is_translated(tmp_path, monkeypatch):
    """As with a folder that may only be read, also where root runs the tests."""

    def read_only(*_):
        raise OSError(30, "Read-only file system")

    store = Store(fill(tmp_path / "study"))
    monkeypatch.setattr(_store, "_append", read_only)
    with pytest.raises(PermissionError, match="must be writable"):
        store.add(4, [row(4)])


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_file_that_may_not_grow_loses_nothing(tmp_path):
    """As a full disk: half a line is written, and taken back."""
    import resource
    import signal

    path = fill(tmp_path / "study")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        store = Store(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        with pytest.raises(OSError, match=r"safe: make room and call fit again"):
            fill_up(store, 1000)
        n_models = store.n_models()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    assert shards(path)[-1].read_bytes().endswith(b"\n")
    # The same process goes on where it was, too.
    store.add(999, [row(999)])
    assert 3 < Store(path).n_models() == n_models + 1


class Die:
    """A distribution that is none of scipy's."""

    def __init__(self, n_sides):
        self.n_sides = n_sides

    def rvs(self, random_state):
        return random_state.randint(self.n_sides)


def chain(n_nodes):
    steps = np.arange(n_nodes - 1)
    return LayeredGraph(np.stack([steps, steps + 1]), n_nodes)


SAME = [
    (FGSMAttack(eps=0.1), FGSMAttack(eps=0.1, device="cpu", verbose=1)),
    (SparseNetClassifier(GraphPrior()), SparseNetClassifier(GraphPrior())),
    (stats.uniform(0, 2), stats.uniform(0, 2)),
    (chain(4), chain(4)),
    ([1, 2], (1, 2)),
    (np.int64(3), 3),
    (np.arange(3), np.arange(3)),
    (np.mean, np.mean),
    (Die(6), Die(6)),
    (
        PrunedNetClassifier(MLPNetClassifier(device="cpu")),
        PrunedNetClassifier(MLPNetClassifier(device="auto", verbose=1)),
    ),
    (float("nan"), np.float64("nan")),
    # Their order depends on the session, or on how they came to be.
    (set("abcdefgh"), set("hgfedcba")),
    ({1, "a", None}, {None, "a", 1}),
    (frozenset([8, 0]), frozenset([0, 8])),
]

DIFFERENT = [
    (FGSMAttack(eps=0.1), FGSMAttack(eps=0.2)),
    (FGSMAttack(eps=0.1), PGDAttack(eps=0.1)),
    (SparseNetClassifier(GraphPrior()), SparseNetClassifier(GraphPrior(n_nodes=3))),
    (stats.uniform(0, 2), stats.uniform(0, 3)),
    (stats.uniform(0, 1), stats.norm(0, 1)),
    (chain(4), chain(5)),
    (np.arange(3), np.arange(3.0)),
    (np.mean, np.median),
    (FGSMAttack, PGDAttack),
    (Die(6), Die(8)),
    ({1, 2}, {1, 3}),
    (stats.uniform(loc=1), stats.uniform(scale=1)),
    (1, 1.0),
    (1, True),
    ({"a": 1}, {"b": 1}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_things_have_one_description(one, other):
    assert json.dumps(canonical(one)) == json.dumps(canonical(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_things_have_another_description(one, other):
    assert json.dumps(canonical(one)) != json.dumps(canonical(other))


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=4)))
def test_a_digest_knows_the_content_and_not_the_memory(array):
    assert digest(array) == digest(np.asfortranarray(array.copy()))
    assert digest(array) != digest(array[np.newaxis])
    changed = array.copy()
    changed.flat[0] = 1 if changed.flat[0] != 1 else 2
    assert digest(array) != digest(changed)


def test_labels_of_any_type_have_a_digest():
    words = np.array(["yes", "no"], dtype=object)
    assert digest(words) == digest(words.copy()) != digest(words[::-1])
    # Equal words that lie elsewhere in the memory.
    again = np.array(["".join(["y", "es"]), "".join(["n", "o"])], dtype=object)
    assert again[0] is not words[0]
    assert digest(again) == digest(words)


TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text("ab", min_size=1, max_size=2), children, max_size=3)
    ),
    max_leaves=8,
)


@given(TREES, TREES)
def test_trees_differ_somewhere_unless_they_are_equal(one, other):
    one, other = {"root": one}, {"root": other}
    assert not differences(one, one)
    if one != other:
        assert differences(one, other)


def test_differences_name_the_place_and_both_values():
    one = {"n": 3, "attacks": [{"eps": 0.1}, [1, 2]], "long": "x" * 100}
    other = {"n": 3, "attacks": [{"eps": 0.2}, [1, 2]], "long": "y" * 100}
    first, second = differences(one, other)
    assert first == "attacks.0.eps is 0.1 there and 0.2 here"
    assert second.startswith('long is "xxx')
    assert "x..." in second


@pytest.mark.parametrize(("length", "is_whole"), [(57, True), (58, True), (59, False)])
def test_a_value_of_sixty_letters_is_told_whole(length, is_whole):
    """Two of the letters are its quotation marks."""
    (difference,) = differences({"a": "x" * length}, {"a": ""})
    value = difference.removeprefix("a is ").partition(" there")[0]
    assert len(value) == min(length + 2, 60)
    assert value.endswith("..." if not is_whole else "x" + '"')


def test_a_younger_parameter_with_its_default_makes_no_other_study():
    (names,), (others,), (more,) = (
        canonical(SparseNetClassifier(**params)).values()
        for params in ({}, {"rewire": "set"}, {"rewire_fraction": 0.5})
    )
    assert set(others) - set(names) == {"rewire"}
    assert set(more) - set(names) == {"rewire_fraction"}
