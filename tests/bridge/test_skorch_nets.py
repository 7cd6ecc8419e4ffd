"""A skorch net is seen as it speaks: its criterion says what its output means."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bridge import as_module

skorch = pytest.importorskip("skorch")


class Net(nn.Module):
    def __init__(self, n_outputs=3, last=None):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, n_outputs))
        self.last = last or nn.Identity()

    def forward(self, x):
        return self.last(self.layers(x))


CASES = {
    "logits": (skorch.NeuralNetClassifier, nn.CrossEntropyLoss, Net, {}),
    "probabilities": (
        skorch.NeuralNetClassifier,
        nn.NLLLoss,
        Net,
        {"module__last": nn.Softmax(dim=1)},
    ),
    "one logit": (
        skorch.NeuralNetBinaryClassifier,
        nn.BCEWithLogitsLoss,
        Net,
        {"module__n_outputs": 1},
    ),
}


def make_net(case):
    kind, criterion, module, parameters = CASES[case]
    X, y = make_classification(
        60, n_features=5, n_informative=4, n_redundant=0, n_classes=3, random_state=0
    )
    X = X.astype(np.float32)
    if kind is skorch.NeuralNetBinaryClassifier:
        y = (y > 0).astype(np.float32)
    net = kind(
        module,
        criterion=criterion,
        max_epochs=2,
        verbose=0,
        train_split=None,
        **parameters,
    )
    return net, X, y


@pytest.mark.parametrize("case", CASES)
def test_softmax_of_the_logits_is_predict_proba(case):
    net, X, y = make_net(case)
    with seeded_torch(0):
        pipeline = make_pipeline(StandardScaler(), net).fit(X, y)
        expected = pipeline.predict_proba(X)
    with torch.no_grad():
        logits = as_module(pipeline)(torch.from_numpy(X))
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_mode_of_the_net_stays(case):
    net, X, y = make_net(case)
    with seeded_torch(0):
        net.fit(X, y)
    net.module_.train()
    assert not as_module(net).training
    assert net.module_.training


def test_probability_of_zero_has_a_finite_logit():
    net, X, y = make_net("probabilities")
    with seeded_torch(0):
        net.fit(X, y)
    with torch.no_grad():
        logits = as_module(net)(torch.from_numpy(1e6 * X))
    assert torch.isfinite(logits).all()


def test_criterion_of_unknown_meaning_is_refused():
    net, X, y = make_net("logits")
    net.set_params(criterion=nn.MultiMarginLoss)
    with seeded_torch(0):
        net.fit(X, y.astype(np.int64))
    with pytest.raises(TypeError, match="trained with MultiMarginLoss"):
        as_module(net)


def test_unfitted_is_refused():
    net, _, _ = make_net("logits")
    with pytest.raises(skorch.exceptions.NotInitializedError, match="not initialized"):
        as_module(net)
