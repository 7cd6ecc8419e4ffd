"""Nothing that a caller owns is changed, and no answer is made of what is no number."""

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.classifiers import TorchClassifier, fit_many
from tests.classifiers.conftest import (
    QUICK,
    anything,
    every_kind,
    every_trained_kind,
    sparse,
    weights,
)


class WritesToItsInput(nn.Module):
    """Moves what it is given, in place."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, X):
        with torch.no_grad():
            X -= 0.3
        return self.linear(X)


class MovesACopy(WritesToItsInput):
    """Computes the same, and writes to nothing."""

    def forward(self, X):
        return self.linear(X - 0.3)


class WritesOnEpochBegin:
    """An adversary or a regularizer that takes all samples for its own."""

    writes = True

    def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
        if self.writes:
            X *= 0
            y *= 0

    def perturb_module(self, module, X, y):
        return X + 0

    def penalty(self, module, X, y):
        # Depends on the samples, so that a module that moves them would be seen.
        return X.sum() * 1e-3 * next(module.parameters()).pow(2).sum()


class WritesNothing(WritesOnEpochBegin):
    writes = False


@pytest.mark.parametrize("role", ["adversary", "regularizer"])
@every_trained_kind
def test_regularizer_that_writes_in_place_does_not_change_samples(make, role, digits):
    X, y = digits
    own_X, own_y = X.copy(), y.copy()
    found = make(**{role: WritesOnEpochBegin()}).fit(own_X, own_y)
    np.testing.assert_array_equal(own_X, X)
    np.testing.assert_array_equal(own_y, y)
    expected = make(**{role: WritesNothing()}).fit(X, y)
    torch.testing.assert_close(weights(found), weights(expected), rtol=0, atol=0)


@pytest.mark.parametrize(
    "params",
    [{}, {"early_stopping": True}, {"regularizer": WritesNothing()}],
    ids=["alone", "early stopping", "regularizer"],
)
def test_module_that_writes_to_its_input_learns_equally(params, digits):
    X, y = digits
    own = X.copy()
    params = QUICK | params | {"max_epochs": 6}
    found = TorchClassifier(WritesToItsInput, **params).fit(own, y)
    expected = TorchClassifier(MovesACopy, **params).fit(X, y)
    np.testing.assert_array_equal(
        found.decision_function(own), expected.decision_function(X)
    )
    np.testing.assert_array_equal(own, X)
    assert found.loss_curve_ == expected.loss_curve_
    if "early_stopping" in params:
        assert found.validation_scores_ == expected.validation_scores_


@pytest.mark.parametrize("n_samples", [1, 16, 500])
@pytest.mark.parametrize("order", ["C", "F"])
def test_module_that_writes_to_its_input_does_not_change_x(n_samples, order, digits):
    X = np.array(digits[0][:n_samples], order=order)
    before = X.copy()
    with torch.random.fork_rng():
        model = TorchClassifier.from_module(WritesToItsInput(64, 10), range(10))
    first = model.predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), first)
    np.testing.assert_array_equal(X, before)


def state_of(module):
    return (
        [part.training for part in module.modules()],
        [weight.requires_grad for weight in module.parameters()],
        [weight.grad for weight in module.parameters()],
        [len(part._forward_hooks) for part in module.modules()],
        [weight.clone() for weight in module.state_dict().values()],
    )


def expect_the_same(found, expected):
    assert found[:4] == expected[:4]
    for ours, theirs in zip(found[4], expected[4], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_from_module_leaves_the_module_unchanged(digits):
    X, y = digits
    with torch.random.fork_rng():
        module = nn.Sequential(
            nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Dropout(), nn.Linear(20, 10)
        )
    module[0].weight.requires_grad_(False)
    module[2].eval()
    module[3].register_forward_hook(lambda *arguments: None)
    before = state_of(module)
    model = TorchClassifier.from_module(module, range(10))
    expect_the_same(state_of(module), before)
    for call in (model.predict, model.predict_proba, model.decision_function):
        call(X)
        expect_the_same(state_of(module), before)
    model.score(X, y)
    model.fit(X, y)
    expect_the_same(state_of(module), before)


@every_kind
def test_predict_leaves_the_network_unchanged(make, digits):
    X, y = digits
    model = make().fit(X, y)
    module = model.module_ if hasattr(model, "module_") else model.estimator_.module_
    before = state_of(module)
    for call in (model.predict, model.predict_proba, model.decision_function):
        call(X)
    expect_the_same(state_of(module), before)


@every_kind
def test_logits_of_nan_raise_instead_of_a_prediction(make, digits):
    """Finite samples whose sums are not: of NaN, the first would be the largest."""
    X, y = digits
    model = make().fit(X, y)
    large = np.full_like(X[:3], 3e38)
    large[0] = X[0]
    for call in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(ValueError, match=r"no number for 2 of 3 samples.*Scale X"):
            call(large)


def test_weights_of_nan_raise_at_predict(digits):
    with torch.random.fork_rng():
        module = nn.Linear(64, 10)
    nn.init.constant_(module.weight, float("nan"))
    model = TorchClassifier.from_module(module, range(10))
    with pytest.raises(ValueError, match="no number for 500 of 500 samples"):
        model.predict(digits[0])


class NeverTheFirst(nn.Module):
    """Rules a class out, which is an answer."""

    def forward(self, X):
        return torch.cat([X[:, :1] * 0 - torch.inf, X[:, :2]], dim=1)


def test_logit_of_minus_infinity_has_probability_zero(digits):
    model = TorchClassifier.from_module(NeverTheFirst(), range(3))
    assert (model.predict_proba(digits[0])[:, 0] == 0).all()
    assert (model.predict(digits[0]) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_from_module_computes_in_its_own_precision(dtype, digits):
    X = digits[0].astype(np.float64) + 1e-9
    with torch.random.fork_rng():
        module = nn.Linear(64, 10).to(dtype)
    model = TorchClassifier.from_module(module, range(10))
    expected = module(torch.from_numpy(X).to(dtype)).detach().double().numpy()
    # Half precision is rounded by the product itself, as torch chooses to do it.
    tolerance = 1e-12 if dtype == torch.float64 else 0.05
    np.testing.assert_allclose(model.decision_function(X), expected, atol=tolerance)


@every_kind
def test_predict_under_autocast(make, digits):
    X, y = digits
    model = make().fit(X, y)
    expected = model.predict_proba(X)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=0.1)


@every_kind
def test_samples_of_any_scale_give_finite_weights_or_raise(make, digits):
    X, y = digits
    model = make().fit(X * np.float32(1e30), y)
    module = getattr(model, "module_", None) or model.estimator_.module_
    assert all(torch.isfinite(weight).all() for weight in module.parameters())
    with pytest.raises(ValueError, match="or scale X"):
        make().fit(np.where(X > 0.5, np.float32(3e38), 0), y)


# Numpy says it, too, when scikit-learn casts.
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@every_kind
def test_samples_beyond_float32_raise(make, digits):
    X, y = digits
    with pytest.raises(ValueError, match="too large for dtype"):
        make().fit(X.astype(float) * 1e40, y)


@every_kind
def test_empty_x_raises(make, digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        make().fit(X[:0], y[:0])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        make().fit(X, y).predict(X[:0])


def test_fit_many_raises_where_fit_does(digits):
    X, y = digits
    with pytest.raises(ValueError, match="Use a smaller 'lr', or scale X"):
        fit_many([sparse(lr=1e30), sparse(lr=1e30)], X, y)
    own = X.copy()
    fit_many([sparse(), sparse()], own, y)
    np.testing.assert_array_equal(own, X)


def test_module_trains_in_its_own_precision(digits):
    X, y = digits

    def build(n_features, n_classes):
        return nn.Linear(n_features, n_classes).double()

    model = anything(module=build).fit(X, y)
    assert model.module_.weight.dtype == torch.float64
    assert model.score(X, y) > 0.5
