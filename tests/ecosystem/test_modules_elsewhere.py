"""Tools that take a torch module take that of a model, and find the same."""

import contextlib

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import FGSMAttack, PGDAttack
from robustkit.bridge import as_module
from tests.bridge.converted import CLASSIFIERS, blobs, fitted

EPS = 0.8
MODELS = ["logistic regression", "net", "rbf svc", "soft vote", "calibrated bayes"]


@contextlib.contextmanager
def streams_kept():
    """Peers draw from the global streams."""
    state = np.random.get_state()
    with seeded_torch(0):
        yield
    np.random.set_state(state)


class InSingle(nn.Module):
    """A module that takes and returns float32, as peers want it."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x).float()


@pytest.fixture(scope="module", params=MODELS)
def victim(request):
    X, y = blobs(3)
    model = fitted(CLASSIFIERS[request.param], X.astype(np.float32), y)
    X, y = blobs(3, seed=1)
    return model, InSingle(as_module(model)).eval(), X.astype(np.float32), y


def accuracy_under(attack, model, X, y):
    attack.set_params(estimator=FrozenEstimator(model), eps=EPS, clip=None)
    return attack.fit(X, y).score(X, y)


@pytest.mark.filterwarnings("ignore")
def test_foolbox_finds_the_same_accuracy(victim):
    foolbox = pytest.importorskip("foolbox", reason="foolbox is missing")
    model, module, X, y = victim
    with streams_kept():
        fmodel = foolbox.PyTorchModel(module, bounds=(-50, 50), device="cpu")
        pair = torch.from_numpy(X), torch.from_numpy(y)
        fast = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        _, _, fooled = fast(fmodel, *pair, epsilons=EPS)
        # So many steps that both find what there is.
        pgd = foolbox.attacks.LinfPGD(steps=100, rel_stepsize=0.05)
        _, _, fooled_pgd = pgd(fmodel, *pair, epsilons=EPS)
    # One step has one answer; the climbs of several losses find at least as much.
    survived = (~fooled.numpy()).mean()
    assert accuracy_under(FGSMAttack(), model, X, y) == survived
    found = accuracy_under(PGDAttack(loss="rotate", random_state=0), model, X, y)
    assert found <= (~fooled_pgd.numpy()).mean()


@pytest.mark.filterwarnings("ignore")
def test_adversarial_robustness_toolbox_finds_the_same_accuracy(victim):
    pytest.importorskip("art", reason="adversarial-robustness-toolbox is missing")
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    model, module, X, y = victim
    with streams_kept():
        classifier = PyTorchClassifier(
            module,
            nn.CrossEntropyLoss(),
            input_shape=X.shape[1:],
            nb_classes=3,
            device_type="cpu",
        )
        fast = FastGradientMethod(classifier, eps=EPS).generate(X, y)
        pgd = ProjectedGradientDescent(
            classifier, eps=EPS, eps_step=0.05, max_iter=60, verbose=False
        ).generate(X, y)
    assert accuracy_under(FGSMAttack(), model, X, y) == model.score(fast, y)
    found = accuracy_under(PGDAttack(loss="rotate", random_state=0), model, X, y)
    assert found <= model.score(pgd, y)


@pytest.mark.filterwarnings("ignore")
def test_captum_attributes_to_the_raw_features(victim):
    attr = pytest.importorskip("captum.attr", reason="captum is missing")
    _, module, X, y = victim
    x, zero = torch.from_numpy(X), torch.zeros(1, 2)
    with streams_kept():
        target = torch.from_numpy(y)
        given = attr.IntegratedGradients(module).attribute(
            x, baselines=zero, target=target, n_steps=200, internal_batch_size=4096
        )
        saliency = attr.Saliency(module).attribute(x, target=target)
    difference = (module(x) - module(zero)).detach()
    difference = difference.gather(1, target[:, None]).squeeze(1)
    # Integrated gradients add up to the difference; a kinked path does so coarsely.
    error = (given.sum(dim=1) - difference).abs() / difference.abs().clamp_min(1)
    assert error.median() < 0.02
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(module(x).gather(1, target[:, None]).sum(), x)
    torch.testing.assert_close(saliency, gradient.abs(), rtol=1e-4, atol=1e-6)
    assert (saliency > 0).any()


def test_integrated_gradients_of_a_linear_pipeline_are_exact():
    attr = pytest.importorskip("captum.attr", reason="captum is missing")
    X, y = blobs(2)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    x = torch.from_numpy(X)
    with streams_kept():
        given = attr.IntegratedGradients(as_module(model)).attribute(
            x, baselines=torch.from_numpy(X.mean(axis=0, keepdims=True)), target=1
        )
    slopes = model[-1].coef_[0] / model[0].scale_
    expected = (X - X.mean(axis=0)) * slopes
    np.testing.assert_allclose(given.numpy(), expected, atol=1e-10)
