"""Small models that are attacked in the tests, and the data that they know."""

import itertools
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits, make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    PGDAttack,
)
from robustkit.classifiers import TorchClassifier


@cache
def digits(n_samples=400):
    """Digits in [0, 1], float32, rows in a random order."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:n_samples]
    return (X[order] / 16).astype(np.float32), y[order]


@cache
def digits_mlp():
    """A scikit-learn network that is right about most digits."""
    X, y = digits()
    return MLPClassifier(
        (20,), learning_rate_init=0.01, tol=0.01, n_iter_no_change=2, random_state=0
    ).fit(X, y)


@cache
def digits_module():
    """The same network as a torch module in float32."""
    return _sequential(digits_mlp())


def torch_net():
    """The same network as a classifier of the package."""
    return TorchClassifier.from_module(digits_module(), classes=np.arange(10))


@cache
def digits_pipeline():
    """A linear model in another space than the input's."""
    X, y = digits()
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(X, y)


@cache
def blobs():
    """Data that do not lie in [0, 1], and labels that are words."""
    X, y = make_blobs(80, n_features=4, centers=3, cluster_std=3, random_state=0)
    return X, np.array(["one", "two", "three"])[y]


def linear_net(weight, bias):
    """A classifier that is one linear map."""
    weight = torch.as_tensor(np.asarray(weight), dtype=torch.float32)
    with seeded_torch(0):
        module = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.copy_(torch.as_tensor(np.asarray(bias), dtype=torch.float32))
    return TorchClassifier.from_module(module.eval(), classes=np.arange(len(weight)))


def _sequential(mlp):
    sizes = [mlp.coefs_[0].shape[0], *(coef.shape[1] for coef in mlp.coefs_)]
    layers = []
    with seeded_torch(0):
        for k, (n_inputs, n_outputs) in enumerate(itertools.pairwise(sizes)):
            layer = nn.Linear(n_inputs, n_outputs)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(mlp.coefs_[k].T.copy()))
                layer.bias.copy_(torch.from_numpy(mlp.intercepts_[k].copy()))
            layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


# Every gradient attack, in a form that a test can afford.
GRADIENT_ATTACKS = {
    "FGSM": FGSMAttack(),
    "BIM": BIMAttack(max_iter=4),
    "LeastLikely": LeastLikelyAttack(max_iter=4),
    "PGD": PGDAttack(max_iter=4, random_state=0),
    "PGD-l2": PGDAttack(norm="l2", eps=1.0, max_iter=4, random_state=0),
    "PGD-rotate": PGDAttack(loss="rotate", max_iter=3, random_state=0),
    "PGD-clean-start": PGDAttack(random_start=False, max_iter=3, loss="margin"),
    "PGD-restarts": PGDAttack(n_restarts=3, max_iter=3, loss="dlr", random_state=0),
    "growing": GrowingEpsilonAttack(step=0.05),
}


def aim(attack, model, X, y, **params):
    """A copy of the attack, pointed at a fitted model."""
    params = {**attack.get_params(deep=False), **params}
    params["estimator"] = FrozenEstimator(model)
    return type(attack)(**params).fit(X, y)


def radius(attack):
    """Norm and radius that the attack may use."""
    if isinstance(attack, GrowingEpsilonAttack):
        return np.inf, attack.stop
    return (2 if getattr(attack, "norm", "linf") == "l2" else np.inf), attack.eps
