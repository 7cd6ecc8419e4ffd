"""What is in a store is safe, and what is not a store is left alone.

Equal studies have equal descriptions, others do not.
"""

import json
import os
import sqlite3
import stat
import sys
from functools import partial

import numpy as np
import pytest
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
from robustkit.study._store import Store, canonical, differences, digest

as_root = hasattr(os, "geteuid") and os.geteuid() == 0


def row(model, **measures):
    return {"place": {"model": model}, "measures": measures}


def fill(path, n_rows=3):
    """A store with some finished tasks."""
    with Store(path) as store:
        store.open_study(identity={"n_graphs": 2, "attacks": {"fgsm": {"eps": 0.1}}})
        store.plan(range(5))
        for task in range(n_rows):
            store.add(task, [row(task, error=0.1 * task)])
    return path


def fill_up(store, n_rows):
    """Add more, and larger, rows than there is room for."""
    for task in range(3, n_rows):
        store.add(task, [row(task, error=list(range(500)))])


@given(value=st.floats(allow_infinity=False))
def test_numbers_come_back_bit_by_bit(value):
    with Store(None) as store:
        store.add(0, [row(0, plain=value, numpy=np.float64(value))])
        (back,) = store.rows()
    assert np.array([back["measures"]["plain"]]).tobytes() == (
        np.array([value]).tobytes()
    ) or np.isnan(value)
    assert np.isnan(value) or back["measures"]["numpy"] == value
    assert not np.isnan(value) or np.isnan(back["measures"]["numpy"])


def test_numpy_numbers_are_kept_as_numbers():
    with Store(None) as store:
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
    with Store(tmp_path / "study.db") as store:
        store.add(0, [row(0, **{"it": value, "Größe": 1})])
    with Store(tmp_path / "study.db") as store:
        (back,) = store.rows()
    expected = value if expected is None else expected
    assert back["measures"] == {"it": expected, "Größe": 1}
    assert type(back["measures"]["it"]) is type(expected)


def test_rows_are_there_when_the_file_is_opened_again(tmp_path):
    path = fill(tmp_path / "study.db")
    with Store(path) as store:
        assert [r["place"]["model"] for r in store.rows()] == [0, 1, 2]
        assert store.done() == {0, 1, 2}
        assert store.n_models() == 3


def test_the_first_row_of_a_model_stays(tmp_path):
    with Store(fill(tmp_path / "study.db")) as store:
        store.add(0, [row(0, error=9.0)])
        assert store.rows()[0]["measures"]["error"] == 0.0


def test_rows_of_a_task_come_all_or_not_at_all(tmp_path):
    with Store(fill(tmp_path / "study.db")) as store:
        with pytest.raises(KeyError, match="place"):
            store.add(3, [row(3), {}])
        assert store.done() == {0, 1, 2}
        store.add(3, [row(3), row(4)])
        assert store.n_models() == 5


def test_tasks_that_nobody_claimed_come_first(tmp_path):
    path = fill(tmp_path / "study.db", n_rows=1)
    with Store(path) as one, Store(path) as other:
        assert one.claim(set()) == 1
        assert other.claim(set()) == 2
        assert one.claim({1}) == 3
        assert other.claim({2}) == 4
        # All are claimed: take from the other what it has not finished.
        one.add(1, [row(1)])
        assert other.claim({2, 4}) == 3
        assert one.claim({1, 3}) == 2
        one.add(2, [row(2)])
        assert other.claim({2, 4, 3}) is None


def test_a_claim_can_be_restricted(tmp_path):
    with Store(fill(tmp_path / "study.db")) as store:
        assert store.claim(set(), among={4}) == 4
        assert store.claim({4}, among={4}) is None


def test_what_was_kept_first_stays():
    with Store(None) as store:
        assert store.keep_first("seed", 3) == 3
        assert store.keep_first("seed", 4) == 3
        assert store.read("seed") == 3
        assert store.read("settings") is None


def test_another_study_is_refused_and_named(tmp_path):
    with Store(fill(tmp_path / "study.db")) as store:
        other = {"n_graphs": 3, "attacks": {"fgsm": {"eps": 0.1}, "pgd": {}}}
        message = (
            r"study\.db holds another study: attacks\.pgd is not set there and "
            r"\{\} here; n_graphs is 2 there and 3 here"
        )
        with pytest.raises(ValueError, match=message):
            store.open_study(identity=other)
        assert store.n_models() == 3


def test_a_foreign_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "foreign.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(CorruptFileError, match="not the store of a study"):
        Store(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)
    before = path.read_bytes()
    with pytest.raises(CorruptFileError, match="left as it is"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_damaged_store_is_refused_and_left_alone(tmp_path, place):
    path = tmp_path / "study.db"
    with Store(path) as store:
        store.open_study(identity={})
        fill_up(store, 20)
    content = bytearray(path.read_bytes())
    at = int(place * len(content)) // 4096 * 4096
    content[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"damaged: .*bring a copy back"):
        Store(path)
    assert path.read_bytes() == content


def test_a_damaged_row_is_refused(tmp_path):
    path = fill(tmp_path / "study.db")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE models SET record = '{' WHERE model = 1")
    connection.commit()
    connection.close()
    with Store(path) as store, pytest.raises(CorruptFileError, match="model 1"):
        store.rows()


def test_a_newer_format_is_refused(tmp_path):
    path = fill(tmp_path / "study.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ValueError, match=r"has format 99, .*Update robustkit"):
        Store(path)


def test_a_store_that_must_exist_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store of a study"):
        Store(tmp_path / "study.db", must_exist=True)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(PermissionError, match="Its folder must exist"):
        Store(tmp_path / "missing" / "study.db")


@pytest.mark.skipif(as_root, reason="root may write everywhere")
def test_a_read_only_file_is_named(tmp_path):
    path = fill(tmp_path / "study.db")
    path.chmod(stat.S_IRUSR)
    with (
        pytest.raises(PermissionError, match="must be writable"),
        Store(path) as store,
    ):
        store.add(4, [row(4)])


def test_sqlite_saying_read_only_is_translated(tmp_path):
    """As with a file that may only be read, also where root runs the tests."""
    with Store(fill(tmp_path / "study.db")) as store:
        store._connection.execute("PRAGMA query_only = 1")
        with pytest.raises(PermissionError, match="must be writable"):
            store.add(4, [row(4)])


def test_a_full_disk_loses_nothing(tmp_path):
    path = fill(tmp_path / "study.db")
    with Store(path) as store:
        (n_pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {n_pages + 2}")
        with pytest.raises(OSError, match=r"is full.*make room and call fit again"):
            fill_up(store, 100)
        n_models = store.n_models()
        assert 3 <= n_models < 100
    with Store(path) as store:
        assert store.n_models() == n_models
        store.add(99, [row(99)])


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_file_that_may_not_grow_loses_nothing(tmp_path):
    """The same, with the operating system saying no."""
    import resource
    import signal

    path = fill(tmp_path / "study.db")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    usual = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Store(path) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
            with pytest.raises(OSError, match="The models before are safe"):
                fill_up(store, 1000)
            n_models = store.n_models()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    with Store(path) as store:
        assert 3 <= store.n_models() == n_models
        store.add(999, [row(999)])


def test_nothing_in_a_store_is_ever_executed(tmp_path):
    path = fill(tmp_path / "study.db")
    connection = sqlite3.connect(path)
    records = connection.execute("SELECT record FROM models").fetchall()
    connection.close()
    assert [json.loads(record)["place"]["model"] for (record,) in records] == [0, 1, 2]


@pytest.mark.parametrize("n_statements", range(4))
def test_another_process_may_make_the_store_in_between(
    monkeypatch, tmp_path, n_statements
):
    """However many statements the slower one has carried out by then."""
    path, statements, connect = tmp_path / "study.db", [], sqlite3.connect

    class Slower(sqlite3.Connection):
        def execute(self, statement, *values):
            statements.append(statement)
            if len(statements) == n_statements + 1:
                monkeypatch.setattr(sqlite3, "connect", connect)
                with Store(path) as store:
                    store.add(0, [row(0)])
            return super().execute(statement, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(connect, factory=Slower))
    with Store(path) as store:
        assert [found["place"]["model"] for found in store.rows()] == [0]
    assert len(statements) > n_statements


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
