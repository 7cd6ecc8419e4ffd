"""The networks of classifiers, exported, say the same elsewhere.

Those of graphs are exported in tests/networks/test_traced_and_transformed.
"""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robustkit.bridge import as_module
from robustkit.classifiers import MLPNetClassifier, PrunedNetClassifier
from tests.bridge.converted import CLASSIFIERS, blobs, fitted

SETTINGS = {"max_epochs": 2, "device": "cpu", "random_state": 0}
NETS = {
    "mlp": MLPNetClassifier((8,), **SETTINGS),
    "pruned": PrunedNetClassifier(MLPNetClassifier((8, 6), **SETTINGS)),
}


def network(name):
    X, y = blobs(3)
    model = fitted(NETS[name], X.astype(np.float32), y)
    return as_module(model), torch.from_numpy(X.astype(np.float32))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore")
def test_exported_network_gives_the_same_logits(name):
    module, x = network(name)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(module, (x[:5],), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(exported.module()(x), module(x))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore")
def test_onnx_network_gives_the_same_logits(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is missing")
    pytest.importorskip("onnxscript", reason="onnxscript is missing")
    module, x = network(name)
    path = str(tmp_path / "network.onnx")
    torch.onnx.export(
        module,
        (x[:5],),
        path,
        input_names=["x"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x.numpy()})
    expected = module(x).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["logistic regression", "bayes", "rbf svc"])
def test_exported_model_of_scikit_learn_gives_the_same_logits(name):
    X, y = blobs(3)
    model = make_pipeline(StandardScaler(), CLASSIFIERS[name])
    module, x = as_module(fitted(model, X, y)), torch.from_numpy(X)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(module, (x[:5],), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(exported.module()(x), module(x))
