"""Models come back from a file as they were saved, by whatever saves them."""

import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch import nn

from robustkit.attacks import PGDAttack
from robustkit.classifiers import SparseNetClassifier, TorchClassifier
from robustkit.correlation import RobustnessCorrelator
from robustkit.graphs import GraphPrior
from tests.bridge.converted import blobs
from tests.processes import PATIENCE, started


@pytest.fixture(scope="module")
def data():
    X, y = blobs(3)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def attack(data):
    net = SparseNetClassifier(
        GraphPrior(n_nodes=20, random_state=0),
        max_epochs=2,
        device="cpu",
        random_state=0,
    )
    pipeline = make_pipeline(MinMaxScaler(clip=True), net).fit(*data)
    return PGDAttack(FrozenEstimator(pipeline), eps=0.1, random_state=0).fit(*data)


def assert_same_attack(found, attack, X, y):
    np.testing.assert_array_equal(found.predict(X), attack.predict(X))
    before, after = attack.perturb(X, y), found.perturb(X, y)
    np.testing.assert_array_equal(after.X_adv, before.X_adv)
    np.testing.assert_array_equal(after.prediction, before.prediction)


@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_joblib_restores_an_attack_also_from_mapped_memory(
    mode, attack, data, tmp_path
):
    joblib.dump(attack, tmp_path / "attack.joblib")
    found = joblib.load(tmp_path / "attack.joblib", mmap_mode=mode)
    assert_same_attack(found, attack, *data)


@pytest.mark.slow
def test_cloudpickle_takes_a_network_of_a_notebook_to_another_process(data, tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is missing")

    # As in a notebook: no module from which the other process could import it.
    class Net(nn.Module):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.last = nn.Linear(n_features, n_classes)

        def forward(self, x):
            return self.last(x)

    X, y = data
    model = TorchClassifier(Net, max_epochs=2, device="cpu", random_state=0)
    model.fit(X, y)
    saved, said = tmp_path / "model.pkl", tmp_path / "said.npy"
    saved.write_bytes(cloudpickle.dumps((model, X)))
    code = (
        "import pickle, sys, numpy; "
        "model, X = pickle.load(open(sys.argv[1], 'rb')); "
        "numpy.save(sys.argv[2], model.predict_proba(X))"
    )
    with started(sys.executable, "-c", code, str(saved), str(said)) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    np.testing.assert_allclose(np.load(said), model.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("as_frame", [False, True])
def test_skops_restores_a_correlator(as_frame, grouped):
    io = pytest.importorskip("skops.io", reason="skops is missing")
    rng = np.random.RandomState(0)
    X = pd.DataFrame(rng.normal(size=(40, 3)), columns=["a", "b", "c"])
    y = (X["a"] + 0.2 * rng.normal(size=40)).rename("a")
    if not as_frame:
        X, y = X.to_numpy(), y.to_numpy()
    groups = np.repeat(list("abcdefghijklmnopqrst"), 2) if grouped else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        correlator = RobustnessCorrelator().fit(X, y, groups=groups)
    saved = io.dumps(correlator)
    own = ["robustkit.correlation._correlator.RobustnessCorrelator"]
    assert io.get_untrusted_types(data=saved) == own
    found = io.loads(saved, trusted=own)
    for name in ("correlations_", "values_"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(correlator, name))
    assert list(found.get_feature_names_out()) == list(
        correlator.get_feature_names_out()
    )
    np.testing.assert_array_equal(found.transform(X), correlator.transform(X))


@pytest.mark.filterwarnings("ignore")
def test_mlflow_restores_an_attack(attack, data, tmp_path):
    mlflow = pytest.importorskip("mlflow.sklearn", reason="mlflow is missing")
    path = str(tmp_path / "attack")
    mlflow.save_model(
        attack,
        path,
        serialization_format="cloudpickle",
        # What it would otherwise find out by asking a package index.
        pip_requirements=["robustkit"],
    )
    assert_same_attack(mlflow.load_model(path), attack, *data)
