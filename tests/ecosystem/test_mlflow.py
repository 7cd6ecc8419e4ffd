"""Studies and trainings in MLflow, in a folder of its own."""

import random

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from robustkit.classifiers import MLflowCallback, MLPNetClassifier
from robustkit.study import Store
from tests.bridge.converted import blobs
from tests.study.test_export import IDENTITY, row
from tests.test_cli import run

mlflow = pytest.importorskip("mlflow", reason="mlflow is missing")

# It says that folders will be gone one day, and what its own packages do.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def stream_of_mlflow_is_put_back(global_random_streams_stay_put):
    """MLflow itself draws from Python's global stream."""
    state = random.getstate()
    yield
    random.setstate(state)


@pytest.fixture
def client(tmp_path, monkeypatch):
    """What reads the folder."""
    # Without it MLflow refuses folders.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return mlflow.MlflowClient((tmp_path / "runs").as_uri())


def runs_of(client, name):
    """All runs of an experiment, the first first."""
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    return sorted(runs, key=lambda run: run.info.start_time)


def test_a_study_is_a_run_with_a_child_for_every_model(capsys, client, tmp_path):
    store = Store(tmp_path / "study.store")
    store.open_study(identity=IDENTITY, settings={**IDENTITY, "n_models": 3})
    for model in range(2):
        store.add(model, [row(model, fgsm_error_rate=0.1 * model)])
    store.add(2, [row(2, error="not finite")])
    uri = (tmp_path / "runs").as_uri()
    status, out, err = run(capsys, "export", str(store.path), "--mlflow", uri)
    assert status == 0, err
    assert f"3 models to {uri} (experiment {tmp_path.name}, run " in out
    runs = runs_of(client, tmp_path.name)
    (study,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert study.info.run_id in out
    assert study.data.params["n_graphs"] == "2"
    assert study.data.params["attacks.fgsm.0.robustkit.FGSMAttack.eps"] == "0.1"
    assert study.data.metrics == {"n_models": 3}
    models = {run.info.run_name: run for run in runs if run is not study}
    assert sorted(models) == ["model 0", "model 1", "model 2"]
    for child in models.values():
        assert child.data.tags["mlflow.parentRunId"] == study.info.run_id
    first, failed = models["model 1"], models["model 2"]
    assert first.data.metrics == {
        "n_edges": 80,
        "density": 0.1,
        "fgsm_error_rate": 0.1,
        "seconds_train": 0.5,
    }
    assert first.data.params["prior__n_nodes"] == "40"
    assert first.data.params["init"] == "normal"
    assert first.info.status == "FINISHED"
    assert failed.info.status == "FAILED"
    assert failed.data.tags["error"] == "not finite"


def test_a_study_may_have_more_of_everything_than_one_call_takes(
    capsys, client, monkeypatch, tmp_path
):
    """A server of MLflow takes 100 parameters a call, and 1,000 numbers."""
    log_batch = mlflow.MlflowClient.log_batch

    def as_a_server(self, run_id, metrics=(), params=(), tags=()):
        assert len(params) <= 100
        assert len(tags) <= 100
        assert len(metrics) + len(params) + len(tags) <= 1000
        return log_batch(self, run_id, metrics, params, tags)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", as_a_server)
    settings = {f"setting {k}": k for k in range(130)}
    store = Store(tmp_path / "study.store")
    store.open_study(identity=IDENTITY, settings={**settings, "n_models": 1})
    store.add(0, [row(0, **{f"measure_{k}": float(k) for k in range(1100)})])
    uri = (tmp_path / "runs").as_uri()
    status, _, err = run(capsys, "export", str(store.path), "--mlflow", uri)
    assert status == 0, err
    model, study = sorted(
        runs_of(client, tmp_path.name), key=lambda one: len(one.data.params)
    )
    assert {f"setting {k}" for k in range(130)} <= set(study.data.params)
    assert model.data.metrics["measure_1099"] == 1099
    assert len(model.data.metrics) == 1103


def test_what_mlflow_refuses_is_told_in_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    Store(tmp_path / "study.store").add(0, [row(0)])
    words = ("export", str(tmp_path / "study.store"), "--mlflow")
    status, _, err = run(capsys, *words, (tmp_path / "runs").as_uri())
    assert status == 2
    assert err.startswith(
        f"robustkit: error: MLflow cannot keep runs at file://{tmp_path}"
    )
    assert len(err.splitlines()) == 1


@pytest.fixture
def callback(client, tmp_path):
    return MLflowCallback(tracking_uri=(tmp_path / "runs").as_uri(), experiment="nets")


def net(**params):
    defaults = {"max_epochs": 4, "batch_size": 16, "lr": 0.02, "device": "cpu"}
    return MLPNetClassifier((8,), random_state=0, **{**defaults, **params})


def test_a_training_is_logged_epoch_by_epoch(client, callback):
    X, y = blobs(3)
    fitted = net(early_stopping=True).set_callbacks(callback).fit(X, y)
    (run_id,) = callback.run_ids_
    logged = client.get_run(run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.params["lr"] == "0.02"
    for name, expected in {
        "loss": fitted.loss_curve_,
        "validation_accuracy": fitted.validation_scores_,
    }.items():
        history = client.get_metric_history(run_id, name)
        assert [metric.step for metric in history] == list(range(1, len(expected) + 1))
        np.testing.assert_array_equal([metric.value for metric in history], expected)


def test_logging_changes_no_weight(callback):
    X, y = blobs(3)
    plain, logged = net().fit(X, y), net().set_callbacks(callback).fit(X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), logged.predict_proba(X))


def test_a_training_that_fails_is_a_failed_run(client, callback):
    X, y = blobs(3)
    with pytest.raises(ValueError, match="smaller 'lr'"):
        net(lr=1e30).set_callbacks(callback).fit(X, y)
    (run_id,) = callback.run_ids_
    assert client.get_run(run_id).info.status == "FAILED"
    # The next one is a run of its own.
    net().set_callbacks(callback).fit(X, y)
    assert client.get_run(callback.run_ids_[1]).info.status == "FINISHED"


def test_every_fit_of_a_grid_search_is_a_run(client, callback):
    X, y = blobs(3)
    GridSearchCV(net().set_callbacks(callback), {"lr": [0.01, 0.02]}, cv=2).fit(X, y)
    runs = runs_of(client, "nets")
    assert len(runs) == 5
    assert {run.data.params["lr"] for run in runs} == {"0.01", "0.02"}
    assert all("loss" in run.data.metrics for run in runs)


def test_it_is_a_child_of_the_run_that_is_active(client, callback, tmp_path):
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    X, y = blobs(3)
    with mlflow.start_run() as outer:
        net().set_callbacks(MLflowCallback()).fit(X, y)
    (child,) = [
        run
        for run in client.search_runs([outer.info.experiment_id])
        if run.info.run_id != outer.info.run_id
    ]
    assert child.data.tags["mlflow.parentRunId"] == outer.info.run_id
