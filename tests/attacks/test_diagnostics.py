"""A model that only hides its gradient is found out."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.attacks import BIMAttack, FGSMAttack, LeastLikelyAttack, PGDAttack
from robustkit.classifiers import TorchClassifier
from robustkit.exceptions import GradientMaskingWarning
from tests.attacks.victims import aim, digits, digits_module, torch_net

DIAGNOSTICS = [
    "zero_gradient_share",
    "median_logit_margin",
    "robust_accuracy_ce",
    "robust_accuracy_margin",
]


class Scaled(nn.Module):
    def __init__(self, module, factor):
        super().__init__()
        self.module, self.factor = module, factor

    def forward(self, x):
        return self.factor * self.module(x)


def masked():
    return TorchClassifier.from_module(
        Scaled(digits_module(), 1000.0).eval(), classes=np.arange(10)
    )


@pytest.mark.parametrize("attack", [PGDAttack(max_iter=8, random_state=0), BIMAttack()])
def test_logits_times_thousand_are_found_out(attack):
    X, y = digits(200)
    with pytest.warns(GradientMaskingWarning, match="hides its gradient"):
        report = aim(attack, masked(), X, y).report(X, y)
    assert report["zero_gradient_share"] > 0.5
    plain = aim(attack, torch_net(), X, y).score(X, y)
    # Where the cross-entropy is flat the margin is climbed.
    assert report["robust_accuracy"] == pytest.approx(plain, abs=0.02)
    assert report["robust_accuracy_ce"] == report["robust_accuracy"]
    assert report["robust_accuracy_margin"] == pytest.approx(plain, abs=0.02)
    # A search that only compares margins needs no gradient.
    assert report["robust_accuracy_gradient_free"] == pytest.approx(plain, abs=0.04)


def test_margin_loss_is_not_deceived():
    X, y = digits(200)
    attack = PGDAttack(max_iter=8, loss="margin", random_state=0)
    plain = aim(attack, torch_net(), X, y).score(X, y)
    assert aim(attack, masked(), X, y).score(X, y) == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "rotate"])
def test_honest_model_is_not_accused(loss):
    X, y = digits(100)
    attack = aim(PGDAttack(loss=loss, max_iter=8, random_state=0), torch_net(), X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = attack.report(X, y)
    assert report["zero_gradient_share"] == 0
    for loss in ("ce", "margin"):
        alone = aim(PGDAttack(loss=loss, max_iter=8, random_state=0), torch_net(), X, y)
        assert report[f"robust_accuracy_{loss}"] == alone.score(X, y)


def test_margin_and_zero_gradients_are_counted():
    X, y = digits(150)
    report = aim(FGSMAttack(), torch_net(), X, y).report(X, y)
    with torch.no_grad():
        logits = digits_module()(torch.from_numpy(X)).numpy()
    true = logits[np.arange(len(y)), y]
    others = logits.copy()
    others[np.arange(len(y)), y] = -np.inf
    np.testing.assert_allclose(
        report["median_logit_margin"], np.median(true - others.max(axis=1)), rtol=1e-5
    )


@pytest.mark.parametrize("attack", [FGSMAttack(), LeastLikelyAttack(max_iter=3)])
def test_diagnostics_can_be_left_out(attack):
    X, y = digits(50)
    attack = aim(attack, torch_net(), X, y)
    short = attack.report(X, y, diagnostics=False)
    long = attack.report(X, y)
    assert list(long.index) == [*short.index, *DIAGNOSTICS]
    assert long[short.index].equals(short)
