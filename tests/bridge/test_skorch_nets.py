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
def test_as_module_keeps_the_mode_of_a_skorch_net(case):
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


def test_skorch_net_with_unknown_criterion_raises():
    net, X, y = make_net("logits")
    net.set_params(criterion=nn.MultiMarginLoss)
    with seeded_torch(0):
        net.fit(X, y.astype(np.int64))
    with pytest.raises(TypeError, match="trained with MultiMarginLoss"):
        as_module(net)


def test_unfitted_skorch_net_raises():
    net, _, _ = make_net("logits")
    with pytest.raises(skorch.exceptions.NotInitializedError, match="not initialized"):
        as_module(net)


@pytest.fixture(scope="module")
def binary_net():
    net, X, y = make_net("one logit")
    with seeded_torch(0):
        return net.fit(X, y)


class Given(nn.Module):
    """Returns its input: a net whose logits are chosen."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x[:, 0] * self.weight


THRESHOLDS = [-0.5, 0.0, 1e-30, 0.1, 0.5, 0.9, 1 - 1e-7, 1.0, 1.5]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_larger_logit_follows_the_threshold(threshold):
    net = skorch.NeuralNetBinaryClassifier(Given, threshold=threshold).initialize()
    rng = np.random.RandomState(0)
    near = np.log(max(threshold, 1e-30) / max(1 - threshold, 1e-8))
    f = [rng.normal(size=5000) * 10.0 ** rng.randint(-9, 3, 5000), [0.0, -0.0, 200.0]]
    f += [near + rng.normal(size=5000) * 10.0 ** rng.randint(-8, 1, 5000), [-200.0]]
    f = np.concatenate(f).astype(np.float32)[:, None]
    x = torch.from_numpy(f).requires_grad_()
    logits = as_module(net)(x)
    assert torch.isfinite(logits).all()
    with torch.random.fork_rng():
        expected = net.predict(f)
    np.testing.assert_array_equal(logits.detach().argmax(dim=1).numpy(), expected)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), x)
    # Also where the rounding of the probability decided.
    assert (gradient == 1).all()


def test_softmax_is_the_probability_only_of_the_threshold_one_half(binary_net):
    X = make_net("one logit")[1]
    with torch.random.fork_rng():
        expected = binary_net.predict_proba(X)
    for threshold in (0.5, 0.75):
        binary_net.threshold = threshold
        with torch.no_grad():
            found = as_module(binary_net)(torch.from_numpy(X))[:, 1].numpy()
        odds = np.log(expected[:, 1] / expected[:, 0])
        moved = odds - np.log(threshold / (1 - threshold))
        np.testing.assert_allclose(found, moved, atol=1e-5)


@pytest.mark.parametrize("labels", [[1, 2, 3], [0, 2, 3], [-1, 0, 1]])
def test_skorch_net_with_other_labels_raises(labels):
    net, _, _ = make_net("logits")
    net.set_params(module__n_outputs=4)
    with seeded_torch(0):
        net.initialize()
    net.module_.eval()
    net.classes_inferred_ = np.array(labels)
    with pytest.raises(ValueError, match=r"0, 1, 2.*LabelEncoder"):
        as_module(net)
    net.classes_inferred_ = np.array([0, 1, 2])
    assert as_module(net) is net.module_


class Own(skorch.dataset.Dataset):
    """A dataset that may do anything to its samples."""


def test_nets_with_a_dataset_of_their_own_are_refused():
    X, y = make_classification(30, 5, n_informative=3, n_classes=3, random_state=0)
    for dataset, is_known in ((skorch.dataset.Dataset, True), (Own, False)):
        with seeded_torch(0):
            net = skorch.NeuralNetClassifier(
                Net, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0,
                train_split=None, dataset=dataset,
            ).fit(X.astype(np.float32), y)  # fmt: skip
        if is_known:
            as_module(net)
            continue
        with pytest.raises(TypeError, match="the dataset"):
            as_module(net)
