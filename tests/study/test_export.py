"""What leaves a study for other programs is what its table says."""

import json

import numpy as np
import pandas as pd
import pytest

from robustkit.study import Store, to_csv, to_mlflow, to_parquet
from robustkit.study._export import _numbers
from robustkit.study._table import table_of
from tests.test_cli import run

IDENTITY = {
    "n_graphs": 2,
    "inits": ["normal", "uniform"],
    "attacks": {"fgsm": [{"robustkit.FGSMAttack": {"eps": 0.1}}, None]},
}


def row(model, error="", **measures):
    """A row as a study makes it, with what is awkward elsewhere."""
    return {
        "place": {"model": model, "graph": model // 2, "init": "normal", "seed": 3},
        "parameters": {"prior__n_nodes": 40, "batch_size": "auto" if model else 32},
        "properties": {"n_edges": 80, "density": 0.1, "flat": float("nan")},
        "measures": measures,
        "seconds": {"train": 0.5},
        "made": {"version_robustkit": "0.1", "device": "cpu", "error": error},
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Four models, one of which failed."""
    store = Store(tmp_path_factory.mktemp("mine") / "study.store")
    store.open_study(identity=IDENTITY, settings={**IDENTITY, "n_models": 4})
    for model in range(3):
        store.add(model, [row(model, fgsm_error_rate=0.1 * model)])
    store.add(3, [row(3, error="the weights are not finite")])
    return store


def test_a_csv_file_holds_the_table(capsys, store, tmp_path):
    status, out, err = run(
        capsys, "export", str(store.path), "--csv", str(tmp_path / "table.csv")
    )
    assert (status, err) == (0, "")
    assert out == f"Written   4 models to {tmp_path / 'table.csv'}\n"
    found = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert list(found["model"]) == [0, 1, 2, 3]
    assert list(found["batch_size"]) == ["32", "auto", "auto", "auto"]
    assert float(found["fgsm_error_rate"][1]) == 0.1
    to_csv(store, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (
        (tmp_path / "table.csv").read_bytes()
    )


def test_a_parquet_file_holds_the_table_with_its_types(capsys, store, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is missing")
    path = str(tmp_path / "table.parquet")
    assert run(capsys, "export", str(store.path), "--parquet", path)[0] == 0
    found, expected = pd.read_parquet(path), table_of(store.rows())
    assert list(found) == list(expected)
    # Numbers and words in one column: as JSON.
    assert list(map(json.loads, found["batch_size"])) == list(expected["batch_size"])
    for name in set(expected) - {"batch_size"}:
        pd.testing.assert_series_equal(
            found[name], expected[name], check_dtype=expected[name].dtype != object
        )
    assert found["density"].dtype == np.float64


def without(monkeypatch, package):
    """As if a package were not installed."""
    monkeypatch.setitem(__import__("sys").modules, package, None)


@pytest.mark.parametrize(
    ("package", "write"),
    [
        ("pyarrow", lambda store: to_parquet(store, "x")),
        ("mlflow", lambda store: to_mlflow(store, "x", "y")),
    ],
)
def test_a_missing_package_is_named(monkeypatch, store, package, write):
    without(monkeypatch, package)
    with pytest.raises(ImportError, match=rf"needs {package}: pip install robustkit"):
        write(store)


def test_a_store_of_before_is_copied(capsys, tmp_path):
    from tests.study.test_store import old_store

    old = old_store(tmp_path / "study.sqlite")
    new = str(tmp_path / "study.store")
    status, out, err = run(capsys, "export", str(old), "--store", new)
    assert (status, err, out) == (0, "", f"Written   3 models to {new}\n")
    assert Store(new).rows() == Store(old).rows()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{}/none", "--csv", "x"), "There is no store of a study at {}/none."),
        (("{}/empty", "--csv", "x"), "No model in {}/empty is finished yet."),
        (("{}/empty",), "one of the arguments --csv --parquet --mlflow --store"),
        (("{}/empty", "--csv", "x", "--store", "y"), "not allowed with argument"),
    ],
)
def test_bad_use_ends_in_one_line(capsys, tmp_path, words, message):
    Store(tmp_path / "empty")
    words = [word.format(tmp_path) for word in words]
    status, _, err = run(capsys, "export", *words)
    assert status == 2
    assert message.format(tmp_path) in err
    assert len(err.splitlines()) == 1


def test_what_is_no_number_is_not_logged_as_one():
    of_model = row(0, a=1, b=None, c=float("nan"), d=float("inf"), e=True)
    of_model["seconds"]["measure"] = None
    assert dict(_numbers(of_model)) == {
        "n_edges": 80.0,
        "density": 0.1,
        "a": 1.0,
        "e": 1.0,
        "seconds_train": 0.5,
    }
