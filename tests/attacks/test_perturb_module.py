"""The hook of the training loop: strong points, cheaply, and nothing disturbed."""

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.attacks import FGSMAttack, PGDAttack
from robustkit.classifiers import (
    MLPNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.graphs import GraphPrior
from tests.attacks.victims import (
    GRADIENT_ATTACKS,
    aim,
    digits,
    digits_module,
    radius,
)


def batch(n_samples=64):
    X, y = digits()
    return torch.from_numpy(X[:n_samples]), torch.from_numpy(y[:n_samples])


def fresh_module(seed=0):
    module = nn.Sequential(
        nn.utils.skip_init(nn.Linear, 64, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.utils.skip_init(nn.Linear, 16, 10),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(generator=generator)
    return module.train()


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_perturb_module_stays_in_ball_and_raises_loss(name):
    x, y = batch()
    attack, module = GRADIENT_ATTACKS[name], digits_module()
    x_adv = attack.perturb_module(module, x, y)
    norm, eps = radius(attack)
    length = np.linalg.norm((x_adv - x).double().numpy(), ord=norm, axis=1)
    assert (length <= eps + 1e-6).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert not x_adv.requires_grad
    with torch.no_grad():
        loss = [nn.functional.cross_entropy(module(p), y) for p in (x, x_adv)]
    assert loss[1] > loss[0]


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_perturb_module_leaves_module_as_it_was(name):
    x, y = batch()
    module = fresh_module()
    module[1].eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    given = x.clone()
    GRADIENT_ATTACKS[name].perturb_module(module, x, y)
    assert module.training
    assert module[0].training
    assert not module[1].training
    assert all(weight.grad is None for weight in module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(x, given)


def test_perturb_module_of_pgd_takes_every_step():
    x, y = batch()
    module = digits_module()
    attack = PGDAttack(eps=0.1, step_size=0.04, max_iter=5, random_start=False)
    points = x.clone()
    for _ in range(5):
        points.requires_grad_(True)
        loss = nn.functional.cross_entropy(module(points), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, points)
        points = points.detach() + 0.04 * gradient.sign()
        points = torch.minimum(torch.maximum(points, x - 0.1), x + 0.1).clamp(0, 1)
    torch.testing.assert_close(attack.perturb_module(module, x, y), points)


def test_perturb_module_random_start_depends_on_weights():
    x, y = batch()
    attack = PGDAttack(eps=0.1, step_size=1e-6, max_iter=1, random_state=0)
    module = fresh_module()
    one = attack.perturb_module(module, x, y)
    assert torch.equal(one, attack.perturb_module(module, x, y))
    with torch.no_grad():
        module[-1].bias.add_(1e-3)
    assert not torch.isclose(one, attack.perturb_module(module, x, y), atol=1e-4).all()


def test_random_starts_of_a_training_depend_on_epoch_and_batch_but_not_on_weights():
    x, y = batch()
    attack = PGDAttack(eps=0.1, step_size=1e-6, max_iter=1, random_state=0)
    module, other = fresh_module(0), fresh_module(1)

    def start(module, epoch, number):
        return attack.perturb_batch(module, x, y, epoch=epoch, batch=number)

    first = start(module, 2, 5)
    torch.testing.assert_close(first, start(other, 2, 5), rtol=0, atol=1e-5)
    for place in ((2, 6), (3, 5), (5, 2)):
        assert not torch.isclose(first, start(module, *place), atol=1e-4).all()
    assert attack._place is None


class Noting(PGDAttack):
    """Notes where in the training it is called."""

    def perturb_batch(self, module, X, y, *, epoch, batch):
        self.places = [*getattr(self, "places", []), (epoch, batch)]
        return super().perturb_batch(module, X, y, epoch=epoch, batch=batch)


def test_epochs_are_numbered_over_all_calls_of_partial_fit():
    X, y = digits(70)
    net = MLPNetClassifier(
        max_epochs=2,
        batch_size=40,
        adversary=Noting(eps=0.1, max_iter=1),
        random_state=0,
    ).fit(X, y)
    assert net.adversary_.places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    net.partial_fit(X, y)
    assert net.adversary_.places == [(2, 0), (2, 1)]


@pytest.mark.parametrize("clip", [(0.2, 0.8), None])
def test_perturb_module_clips_to_parameter_or_fit(clip):
    x, y = batch()
    x = x * 0.6 + 0.2
    attack = FGSMAttack(eps=0.5, clip=clip)
    moved = attack.perturb_module(digits_module(), x, y)
    low, high = clip or (-0.3, 1.3)
    assert moved.min() >= low - 1e-6
    assert moved.max() <= high + 1e-6
    X, labels = digits(30)
    from tests.attacks.victims import torch_net

    fitted = aim(FGSMAttack(eps=0.5), torch_net(), X, labels)
    assert fitted.perturb_module(digits_module(), 3 * x - 1, y).max() <= 1


def test_perturb_module_does_not_clip_batch_outside_unit_range():
    x, y = batch()
    moved = FGSMAttack(eps=0.5).perturb_module(digits_module(), 2 * x, y)
    assert moved.max() > 2
    assert moved.min() < 0


def test_perturb_module_keeps_shape_of_images():
    x, y = batch()
    module = nn.Sequential(nn.Flatten(), digits_module())
    for name in ("FGSM", "PGD", "PGD-l2", "growing"):
        attack = GRADIENT_ATTACKS[name]
        flat = attack.perturb_module(digits_module(), x, y)
        image = attack.perturb_module(module, x.view(-1, 1, 8, 8), y)
        torch.testing.assert_close(image.flatten(1), flat)


NETS = {
    "sparse": SparseNetClassifier(GraphPrior(n_nodes=150)),
    "mlp": MLPNetClassifier((30,)),
    "torch": TorchClassifier("mlp", module_params={"hidden_layer_sizes": (30,)}),
}


@pytest.mark.parametrize("name", NETS)
def test_adversarial_training_makes_a_net_more_robust(name):
    X, y = digits(300)
    net = NETS[name].set_params(
        max_epochs=15, batch_size=32, lr=0.01, random_state=0, device="cpu"
    )
    adversary = PGDAttack(eps=0.05, max_iter=3)
    test = PGDAttack(eps=0.05, max_iter=10, random_state=0)
    scores = {}
    for who in (None, adversary):
        model = net.set_params(adversary=who).fit(X, y)
        scores[who] = aim(test, model, X, y).score(X, y)
        if who is not None:
            again = net.fit(X, y)
            np.testing.assert_array_equal(
                again.predict_proba(X), model.predict_proba(X)
            )
    assert scores[adversary] > scores[None] + 0.03
