"""The commands `robustkit study` and `robustkit report`, as a user meets them."""

import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robustkit.cli import _tell, main
from robustkit.study import PRESETS, RobustnessStudy
from tests.processes import PATIENCE
from tests.study.studies import forget, small_data, small_study
from tests.test_cli import run, start

FILE = str(Path(__file__).parent / "study" / "small.toml")
SMALL = (FILE, "--n-graphs", "6", "--inits", "he_normal", "--n-jobs", "1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a small study that was carried out."""
    folder = tmp_path_factory.mktemp("study")
    assert main(["study", *SMALL, "--out", str(folder)]) == 0
    return folder


def lasting(path):
    """The table of a study, without what differs from run to run."""
    table = pd.read_csv(path)
    return table.drop(columns=[c for c in table if c.startswith("seconds_")])


def test_a_study_writes_a_table_and_a_report(finished):
    table = lasting(finished / "results.csv")
    assert table["graph"].tolist() == list(range(6))
    assert table["init"].eq("he_normal").all()
    assert table["fgsm_error_rate"].between(0, 1).all()
    report = (finished / "report.html").read_text("utf-8")
    assert "<title>" in report
    assert f"robustkit study {' '.join(SMALL)} --out {finished}" in report


def test_a_finished_study_is_not_carried_out_again(capsys, finished):
    before = (finished / "results.csv").read_bytes()
    status, out, err = run(capsys, "study", *SMALL, "--out", str(finished))
    assert (status, err) == (0, "")
    assert "6 models, 6 in the store" in out
    # The seconds that training took stand in it, too.
    assert (finished / "results.csv").read_bytes() == before


def test_a_report_is_written_anew_from_the_store_alone(capsys, finished, tmp_path):
    store = str(finished / "study.store")
    status, out, err = run(capsys, "report", store, "--out", str(tmp_path / "new"))
    assert (status, err) == (0, "")
    assert "Spearman" in out
    for name in ("results.csv", "report.html"):
        assert (tmp_path / "new" / name).read_bytes() == (finished / name).read_bytes()


def test_models_that_are_left_out_are_counted(capsys, finished, tmp_path):
    study = RobustnessStudy.from_store(finished / "study.store")
    study.set_params(max_accuracy_gap=0.25)
    study.results_["clean_accuracy"] = [0.9, 0.9, 0.9, 0.9, 0.8, 0.6]
    study.report = lambda path: path
    _tell(study, tmp_path / "report.html", tmp_path / "results.csv")
    said = (
        "1 of 6 models are left out: their clean accuracy is more than 0.25 below the "
        "median."
    )
    assert said in capsys.readouterr().out
    study.set_params(max_accuracy_gap=None)
    _tell(study, tmp_path / "report.html", tmp_path / "results.csv")
    assert "left out" not in capsys.readouterr().out


def test_the_help_names_every_preset(capsys):
    status, out, _ = run(capsys, "study", "--help")
    assert status == 0
    for name in PRESETS:
        # argparse breaks lines after hyphens.
        assert name in "".join(out.split())


@pytest.fixture
def no_report(monkeypatch):
    """Leave the report out: that takes half of the time."""
    monkeypatch.setattr(RobustnessStudy, "report", lambda *args, **kwargs: None)


def test_a_store_alone_continues_the_study(capsys, finished, tmp_path, no_report):
    """From another folder, and with half of the models gone."""
    store = tmp_path / "elsewhere" / "study.store"
    store.parent.mkdir()
    shutil.copytree(finished / "study.store", store)
    forget(store, {3, 4, 5})
    status, out, err = run(capsys, "study", "--store", str(store), "--n-jobs", "1")
    assert (status, err) == (0, "")
    assert "6 models, 3 in the store" in out
    pd.testing.assert_frame_equal(
        lasting(store.parent / "results.csv"), lasting(finished / "results.csv")
    )
    status, _, err = run(capsys, "study", "--store", str(store), "--n-graphs", "5")
    assert status == 2
    assert "holds another study: n_graphs is 6 there and 5 here" in err


def test_a_study_is_run_from_a_file(capsys, monkeypatch, tmp_path, no_report):
    rng = np.random.RandomState(0)
    y = np.arange(80) % 2
    np.savez(tmp_path / "few.npz", X=rng.uniform(size=(80, 9)) + y[:, None] / 2, y=y)
    (tmp_path / "mine.toml").write_text(
        """
        n_graphs = 4
        inits = ["normal"]
        analyses = {}
        data = {dataset = "few.npz"}
        estimator = {class = "SparseNetClassifier", max_epochs = 2, lr = 0.01}
        param_space = {prior__n_nodes = [40, 50]}
        attacks.fgsm = {class = "FGSMAttack", eps = 0.2}
        """
    )
    monkeypatch.chdir(tmp_path.parent)
    words = ("--out", str(tmp_path / "out"), "--n-jobs", "1")
    status, out, err = run(capsys, "study", str(tmp_path / "mine.toml"), *words)
    assert (status, err) == (0, "")
    assert "few" in out
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert set(table["prior__n_nodes"]) == {40, 50}
    assert table["fgsm_error_rate"].between(0, 1).all()
    # The store says which file of images it was.
    store = str(tmp_path / "out" / "study.store")
    status, out, err = run(capsys, "study", "--store", store)
    assert (status, err) == (0, "")
    assert "4 models, 4 in the store" in out


def test_a_store_that_does_not_name_its_images_asks_for_them(capsys, tmp_path):
    store = tmp_path / "study.store"
    small_study(store).fit(*small_data())
    status, _, err = run(capsys, "study", "--store", str(store))
    assert status == 2
    assert "does not say which images it is of. Name them with --dataset." in err


def test_the_seed_makes_another_study(capsys, finished, tmp_path, no_report):
    words = ("study", *SMALL, "--seed", "1")
    status, _, err = run(capsys, *words, "--out", str(finished))
    assert status == 2
    assert "holds another study: random_state is 0 there and 1 here" in err
    assert run(capsys, *words, "--out", str(tmp_path))[0] == 0
    first, other = (lasting(f / "results.csv") for f in (finished, tmp_path))
    assert set(first["graph_seed"]).isdisjoint(other["graph_seed"])


@pytest.mark.slow
def test_ctrl_c_tells_how_to_continue_and_the_study_continues(
    capsys, finished, tmp_path, no_report
):
    words = ("study", *SMALL, "--out", str(tmp_path))
    with start(*words, unbuffered="1") as process:
        _wait_for_a_model(tmp_path / "study.store", process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == (
        f"robustkit: interrupted: what is finished is safe in "
        f"{tmp_path}/study.store; give the same command again to continue\n"
    )
    assert not (tmp_path / "results.csv").exists()
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert re.search(r"6 models, [1-5] in the store", out)
    pd.testing.assert_frame_equal(
        lasting(tmp_path / "results.csv"), lasting(finished / "results.csv")
    )


def _wait_for_a_model(store, process):
    while process.poll() is None:
        if any(store.glob("*.rows")):
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("study --preset quick {}/mine.toml", "argument FILE.toml: not allowed with"),
        ("study {}/none.toml", "No such file or directory: '{}/none.toml'"),
        ("study {}/mine.toml", "{}/mine.toml: there is no key 'n_graph', did you mean"),
        ("study --store {}/foreign", "{}/foreign is not the store of a study, or dama"),
        ("study --preset quikc", "Got 'quikc' instead, did you mean 'quick'?"),
        ("study --n-graphs 0", "--n-graphs: must be an integer of at least 1. Got '0'"),
        ("study --inits he_nromal", "did you mean 'he_normal'?"),
        ("study --engine bathced", "'bathced', did you mean 'batched'?"),
        ("study --dataset {}/none.npz", "No such file or directory: '{}/none.npz'"),
        ("report {}/none.store", "There is no store of a study at {}/none.store."),
        ("report {}/foreign", "{}/foreign is not the store of a study, or damaged"),
        ("report", "arguments are required: STORE"),
    ],
)
def test_a_mistake_ends_with_one_line_and_status_2(capsys, tmp_path, words, message):
    (tmp_path / "foreign").write_text("no database" * 100)
    (tmp_path / "mine.toml").write_text("n_graph = 3")
    words = [word.format(tmp_path) for word in words.split()]
    extra = ["--out", str(tmp_path / "out")] if words[0] == "study" else []
    status, _, err = run(capsys, *words, *extra)
    assert status == 2
    assert err.startswith("robustkit: error: ")
    assert err.count("\n") == 1
    assert message.format(tmp_path) in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.empty((0, 9)), "y": np.empty(0, int)}, "X has no rows"),
        ({"y": np.zeros(30, int)}, "y holds one class, 0"),
        ({"y": np.arange(29) % 2}, "inconsistent numbers of samples: [30, 29]"),
        ({"X": np.full((30, 9), np.nan)}, "Input contains NaN"),
        ({"X": np.arange(270.0).reshape(30, 9) * 1e30}, "Scale them"),
        ({"X_test": np.ones((6, 9)), "y_test": np.full(6, 7)}, "y_test holds 7"),
    ],
)
def test_images_that_cannot_be_studied_leave_nothing_behind(
    capsys, tmp_path, change, message
):
    X = np.random.RandomState(0).uniform(size=(30, 9))
    path = tmp_path / "own.npz"
    np.savez(path, **{"X": X, "y": np.arange(30) % 2, **change})
    words = ["study", "--dataset", str(path), "--out", str(tmp_path / "out")]
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"robustkit: error: {path}: ")
    assert message in err
    assert err.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["own.npz"]
