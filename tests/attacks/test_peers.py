"""Trusted peers, where they are installed, find the same.

They are optional. foolbox is in the extra `bench`; torchattacks asks for packages older
than ours and works without them (``pip install --no-deps torchattacks``); AutoAttack is
not on the package index.
"""

import importlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from robustkit._randomness import seeded_torch
from robustkit.attacks import FGSMAttack, GrowingEpsilonAttack, PGDAttack
from robustkit.classifiers import TorchClassifier
from tests.attacks.victims import aim, digits, digits_module


def peer(name):
    """Import a peer that warns of things of its own."""
    pytest.importorskip(name, exc_type=ImportError)
    return importlib.import_module(name)


pytestmark = pytest.mark.filterwarnings("ignore")


class Image(nn.Module):
    """Peers want images, and logits of them."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x.flatten(1))


def victim():
    X, y = digits(300)
    x, labels = torch.from_numpy(X).view(-1, 1, 8, 8), torch.from_numpy(y)
    return TorchClassifier.from_module(digits_module(), np.arange(10)), X, y, x, labels


@pytest.fixture(scope="module")
def robust_victim():
    """Five CE restarts are most wrong about a model that was trained to resist."""
    X, y = digits(1500)
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))
        adversary = PGDAttack(eps=0.15, max_iter=7, random_state=0)
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        x, labels = torch.from_numpy(X), torch.from_numpy(y)
        for _ in range(25):
            for rows in torch.randperm(1000).split(64):
                moved = adversary.perturb_module(module, x[rows], labels[rows])
                optimizer.zero_grad()
                functional.cross_entropy(module(moved), labels[rows]).backward()
                optimizer.step()
    model = TorchClassifier.from_module(module.eval(), np.arange(10))
    return model, X[1000:], y[1000:]


def robust_accuracy(x_adv, labels):
    with torch.no_grad():
        right = Image(digits_module())(x_adv).argmax(dim=1) == labels
    return right.double().mean().item()


def test_fgsm_equals_foolbox():
    foolbox = peer("foolbox")
    model, X, y, x, labels = victim()
    theirs = foolbox.PyTorchModel(Image(digits_module()), bounds=(0, 1))
    _, moved, _ = foolbox.attacks.FGSM()(theirs, x, labels, epsilons=0.06)
    result = aim(FGSMAttack(eps=0.06), model, X, y).perturb(X, y)
    right = result.clean_prediction == y
    np.testing.assert_array_equal(result.X_adv[right], moved.flatten(1).numpy()[right])


def test_growing_eps_equals_foolbox_grid():
    foolbox = peer("foolbox")
    model, X, y, x, labels = victim()
    grid = 0.01 + 0.02 * np.arange(8)
    theirs = foolbox.PyTorchModel(Image(digits_module()), bounds=(0, 1))
    _, _, fooled = foolbox.attacks.FGSM()(theirs, x, labels, epsilons=list(grid))
    fooled = fooled.numpy()
    expected = np.where(fooled.any(0), grid[fooled.argmax(0)], np.nan)
    attack = GrowingEpsilonAttack(start=0.01, step=0.02, stop=grid[-1])
    result = aim(attack, model, X, y).perturb(X, y)
    right = result.clean_prediction == y
    np.testing.assert_array_equal(result.eps[right], expected[right])


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("linf", 0.1), ("l2", 0.5)])
def test_pgd_is_as_strong_as_foolbox(norm, eps):
    foolbox = peer("foolbox")
    model, X, y, x, labels = victim()
    theirs = foolbox.PyTorchModel(Image(digits_module()), bounds=(0, 1))
    cls = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    attack = cls(steps=40, abs_stepsize=2.5 * eps / 40)
    with seeded_torch(0):
        _, moved, _ = attack(theirs, x, labels, epsilons=eps)
    ours = aim(PGDAttack(norm=norm, eps=eps, random_state=0), model, X, y).score(X, y)
    assert ours == pytest.approx(robust_accuracy(moved, labels), abs=0.01)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("linf", 0.1), ("l2", 0.5)])
def test_pgd_is_as_strong_as_torchattacks(norm, eps):
    torchattacks = peer("torchattacks")
    model, X, y, x, labels = victim()
    cls = {"linf": torchattacks.PGD, "l2": torchattacks.PGDL2}[norm]
    attack = cls(Image(digits_module()), eps=eps, alpha=2.5 * eps / 40, steps=40)
    with seeded_torch(0):
        moved = attack(x, labels)
    ours = aim(PGDAttack(norm=norm, eps=eps, random_state=0), model, X, y).score(X, y)
    assert ours == pytest.approx(robust_accuracy(moved, labels), abs=0.01)


def test_rotated_losses_are_as_strong_as_autoattack(robust_victim):
    autoattack = peer("autoattack")
    model, X, y = robust_victim
    x = torch.from_numpy(X).view(-1, 1, 8, 8)
    attack = autoattack.AutoAttack(
        Image(model.module_),
        norm="Linf",
        eps=0.15,
        version="custom",
        device="cpu",
        verbose=False,
    )
    attack.attacks_to_run = ["apgd-ce", "apgd-t"]
    attack.apgd_targeted.n_restarts = 1
    attack.apgd_targeted.n_target_classes = 9
    attack.apgd.n_restarts = 1
    with seeded_torch(0):
        moved = attack.run_standard_evaluation(x, torch.from_numpy(y), bs=500)
    theirs = np.mean(model.predict(moved.flatten(1).numpy()) == y)
    rotate = PGDAttack(eps=0.15, loss="rotate", random_state=0)
    assert aim(rotate, model, X, y).score(X, y) <= theirs + 0.005
