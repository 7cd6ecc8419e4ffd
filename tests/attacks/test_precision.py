"""An attack computes in the model's precision, and says where it is too coarse."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    ModuleAttack,
    PGDAttack,
)
from robustkit.bridge import as_module
from robustkit.classifiers import TorchClassifier
from robustkit.exceptions import InputRoundingWarning
from tests.attacks.victims import aim, digits, digits_module


class Centered(ClassifierMixin, BaseEstimator):
    """A linear model of what is left when a large offset is subtracted."""

    def __init__(self, offset=0.0, net_dtype="float64"):
        self.offset = offset
        self.net_dtype = net_dtype

    def fit(self, X, y):
        self.coef_ = np.random.default_rng(0).normal(size=X.shape[1])
        self.classes_ = np.array([0, 1])
        return self

    def decision_function(self, X):
        return (X.astype(np.float64) - self.offset) @ self.coef_

    def predict(self, X):
        return (self.decision_function(X) > 0).astype(int)


class Subtract(nn.Module):
    def __init__(self, offset):
        super().__init__()
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float64))

    def forward(self, x):
        return x - self.offset


class To(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, x):
        return x.to(self.dtype)


@as_module.register(Centered)
def _centered(model):
    dtype = getattr(torch, model.net_dtype)
    layer = nn.utils.skip_init(nn.Linear, len(model.coef_), 2, dtype=dtype)
    weight = np.stack([np.zeros_like(model.coef_), model.coef_])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.zero_()
    # The net may come first in the list of parameters.
    return nn.Sequential(Subtract(model.offset), To(dtype), layer)


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(1).normal(size=(400, 5))


ATTACKS = {
    "FGSM": FGSMAttack(),
    "BIM": BIMAttack(),
    "LeastLikely": LeastLikelyAttack(),
    "PGD": PGDAttack(random_state=0),
    "rotate": PGDAttack(loss="rotate", random_state=0),
    "l2": PGDAttack(norm="l2", random_state=0),
}


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8])
@pytest.mark.parametrize("net_dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_offset_changes_nothing_in_float64(points, name, net_dtype, offset):
    X = points + offset
    model = Centered(offset, net_dtype).fit(X, None)
    y = model.predict(X)
    dual = np.linalg.norm(model.coef_, ord=2 if name == "l2" else 1)
    distance = np.abs(model.decision_function(X)) / dual
    eps = np.median(distance)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = aim(ATTACKS[name], model, X, y, eps=eps, clip=None).perturb(X, y)
    clear = np.abs(distance / eps - 1) > 2e-3
    np.testing.assert_array_equal(result.success[clear], (distance < eps)[clear])
    assert result.X_adv.dtype == np.float64
    order = 2 if name == "l2" else np.inf
    length = np.linalg.norm(result.X_adv - X, ord=order, axis=1)
    assert length.max() <= eps + 1e-7
    np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8])
def test_growing_eps_in_float64(points, offset):
    X = points + offset
    model = Centered(offset).fit(X, None)
    y = model.predict(X)
    attack = GrowingEpsilonAttack(start=0, step=0.001, stop=2, clip=None)
    result = aim(attack, model, X, y).perturb(X, y)
    distance = np.abs(model.decision_function(X)) / np.abs(model.coef_).sum()
    assert (distance < 1.99).all()
    assert (result.eps >= distance - 1e-6).all()
    assert (result.eps <= distance + 0.001 + 1e-6).all()


@pytest.mark.parametrize("name", ["FGSM", "rotate", "l2"])
def test_offset_beyond_float32_gives_rounding_warning(points, name):
    X = (points + 1e8).astype(np.float32)
    model = Centered(1e8).fit(X, None)
    y = model.predict(X)
    attack = aim(ATTACKS[name], model, X, y, clip=None)
    with pytest.warns(
        InputRoundingWarning,
        match=r"times 8, the spacing of float32 numbers near 1e\+08",
    ):
        result = attack.perturb(X, y)
    # Nothing in the ball can be written in float32.
    np.testing.assert_array_equal(result.X_adv, X)


@pytest.mark.parametrize(
    "attack", [GrowingEpsilonAttack(), GrowingEpsilonAttack(start=0), FGSMAttack()]
)
def test_rounding_warning_considers_precision_of_model(attack):
    X, y = digits(30)
    X = X.astype(np.float64) + 1e6
    model = TorchClassifier.from_module(digits_module(), classes=np.arange(10))
    attack = aim(attack, model, X, y, clip=(1e6, 1e6 + 1))
    with pytest.warns(InputRoundingWarning, match="spacing of float32 numbers near"):
        attack.perturb(X)


class Idle(ModuleAttack):
    def perturb_module(self, module, X, y):
        return X


@pytest.mark.parametrize("eps", [None, 0.0, 8 * 2.0**-20])
def test_no_rounding_warning_without_reason(eps):
    """The spacing of float32 between 8 and 16 is 2 ** -20."""
    X, y = digits(30)
    model = TorchClassifier.from_module(digits_module(), classes=np.arange(10))
    attack = aim(Idle(eps=eps), model, 15 * X, y, clip=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = attack.perturb(15 * X)
    np.testing.assert_array_equal(result.X_adv, 15 * X)


@pytest.mark.parametrize("clip", [None, (0, 15)])
def test_rounding_warning_starts_at_eight_spacings(clip):
    X, y = digits(30)
    model = TorchClassifier.from_module(digits_module(), classes=np.arange(10))
    attack = aim(Idle(eps=7.9 * 2.0**-20), model, 15 * X, y, clip=clip)
    with pytest.warns(InputRoundingWarning, match="less than 8 times"):
        attack.perturb(15 * X)
    # In l2 a feature moves by a share of eps: one over the root of their number, 8.
    attack = aim(Idle(eps=7.9 * 2.0**-17, norm="l2"), model, 15 * X, y, clip=clip)
    with pytest.warns(InputRoundingWarning, match="less than 8 times"):
        attack.perturb(15 * X)


class Mixed(nn.Module):
    """A float32 net with a float64 number in it that its input never meets."""

    def __init__(self):
        super().__init__()
        self.module = digits_module()
        self.register_buffer("seen", torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return self.module(x)


def test_a_float64_buffer_does_not_make_a_float32_net_float64():
    X, y = digits(60)
    plain = TorchClassifier.from_module(digits_module(), classes=np.arange(10))
    mixed = TorchClassifier.from_module(Mixed(), classes=np.arange(10))
    attack = PGDAttack(max_iter=4, random_state=0)
    for given in (X, X.astype(np.float64)):
        one, other = (
            aim(attack, m, given, y).perturb(given, y) for m in (plain, mixed)
        )
        np.testing.assert_array_equal(one.X_adv, other.X_adv)


class MixedModel(Centered):
    """The same, of an estimator of its own."""


@as_module.register(MixedModel)
def _mixed(model):
    module = _centered(model)[2]
    module.register_buffer("seen", torch.zeros(1, dtype=torch.float64))
    return module


@pytest.mark.parametrize("net_dtype", ["float64", "float32"])
def test_attack_computes_in_most_precise_dtype_of_module(points, net_dtype):
    model = MixedModel(0.0, net_dtype).fit(points, None)
    y = model.predict(points)
    result = aim(FGSMAttack(eps=0.2), model, points, y).perturb(points, y)
    side = np.where(y == 1, -1, 1)[:, None]
    expected = points + 0.2 * side * np.sign(model.coef_)
    tolerance = 1e-15 if net_dtype == "float64" else 1e-6
    np.testing.assert_allclose(result.X_adv, expected, atol=tolerance)


def test_random_start_of_float64_samples_differs():
    """Two samples that only float64 can tell apart are two samples."""
    from robustkit.attacks._geometry import random_point

    x = torch.full((2, 6), 1e8, dtype=torch.float64)
    x[1] += 1e-3
    one, other = random_point(x, 0.1, "linf", 0, 0) - x
    assert not torch.isclose(one, other).any()


def test_a_float64_net_of_the_package_keeps_float64():
    X, y = digits(40)
    X = X.astype(np.float64)
    module = nn.Sequential(To(torch.float64), *digits_module_64())
    model = TorchClassifier.from_module(module.eval(), classes=np.arange(10))
    result = aim(PGDAttack(random_state=0), model, X, y).perturb(X, y)
    # `predict` of these classifiers rounds X to float32, and so does the attack.
    np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))
    assert result.success.any()


def digits_module_64():
    import copy

    return copy.deepcopy(digits_module()).double()
