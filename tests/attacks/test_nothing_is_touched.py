"""What the caller owns is the same before and after every public call."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from robustkit._randomness import seeded_torch
from robustkit.attacks import FGSMAttack, PGDAttack, robust_scorer
from robustkit.classifiers import TorchClassifier
from tests.attacks.victims import GRADIENT_ATTACKS, aim, digits


class Twice(nn.Module):
    """One layer that is used two times, and an operation in place."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer(x).relu_()
        x = self.layer(x)
        x += 0.1
        return self.last(torch.relu_(x))


def hooked():
    module = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    module.register_forward_pre_hook(lambda _, given: (given[0] * 1.1,))
    module[0].register_forward_hook(lambda _, given, said: said + 0.1)
    module[2].register_full_backward_hook(lambda _, into, out: None)
    return module


def parametrized():
    layer = parametrizations.weight_norm(nn.Linear(64, 20))
    return nn.Sequential(
        layer, nn.Tanh(), parametrizations.orthogonal(nn.Linear(20, 10))
    )


def normalized():
    module = nn.Sequential(
        nn.Linear(64, 20),
        nn.BatchNorm1d(20),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(20, 10),
    )
    # The caller trains it, with one part frozen.
    module.train()
    module[1].eval()
    return module


def with_gradients():
    module = nn.Sequential(nn.Linear(64, 20), nn.ReLU(True), nn.Linear(20, 10))
    for weight in module.parameters():
        weight.grad = torch.ones_like(weight)
    module[0].weight.requires_grad_(False)
    return module


class Overwrites(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(64, 10)

    def forward(self, x):
        x -= 0.3
        return self.net(x)


MODULES = {
    "hooks": hooked,
    "parametrizations": parametrized,
    "shared layer": Twice,
    "modes": normalized,
    "gradients": with_gradients,
    "overwrites its input": Overwrites,
}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")


def state_of(module):
    """All that a call could change in a module."""
    tensors = {name: t.detach().clone() for name, t in module.state_dict().items()}
    grads = {
        name: None if w.grad is None else w.grad.clone()
        for name, w in module.named_parameters()
    }
    facts = [
        (part.training, *(list(getattr(part, hooks)) for hooks in HOOKS))
        for part in module.modules()
    ]
    wants = [w.requires_grad for w in module.parameters()]
    return tensors, grads, facts, wants


def assert_same(before, after):
    for one, other in zip(before[:2], after[:2], strict=True):
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            assert (tensor is None) == (other[name] is None)
            assert tensor is None or torch.equal(tensor, other[name])
    assert before[2:] == after[2:]


def streams():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()


@pytest.fixture(scope="module", params=sorted(MODULES))
def module(request):
    with seeded_torch(0):
        return MODULES[request.param]()


@pytest.mark.filterwarnings("ignore::robustkit.exceptions.GradientMaskingWarning")
@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_arrays_modules_and_streams_stay_as_they_were(name, module):
    X, y = (part.copy() for part in digits(40))
    model = TorchClassifier.from_module(module, classes=np.arange(10))
    before, arrays, drawn = state_of(module), (X.copy(), y.copy()), streams()
    attack = aim(GRADIENT_ATTACKS[name], model, X, y, batch_size=16)

    def unchanged():
        assert_same(before, state_of(module))
        np.testing.assert_array_equal(X, arrays[0])
        np.testing.assert_array_equal(y, arrays[1])
        assert random.getstate() == drawn[0]
        assert np.random.get_state()[1].tolist() == drawn[1]
        assert torch.equal(torch.get_rng_state(), drawn[2])
        return True

    assert unchanged()
    attack.perturb(X, y)
    assert unchanged()
    attack.transform(X)
    assert unchanged()
    attack.report(X, y)
    assert unchanged()
    assert attack.score(X, y) == robust_scorer(attack)(model, X, y)
    assert unchanged()
    attack.perturb_module(module, torch.from_numpy(X), torch.from_numpy(y))
    assert unchanged()


def test_attack_works_in_any_gradient_mode():
    X, y = digits(40)
    with seeded_torch(0):
        model = TorchClassifier.from_module(hooked(), classes=np.arange(10))
    attack = aim(PGDAttack(max_iter=3, random_state=0), model, X, y)
    expected = attack.perturb(X, y).X_adv
    with torch.no_grad():
        np.testing.assert_array_equal(attack.perturb(X, y).X_adv, expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        np.testing.assert_array_equal(attack.perturb(X, y).X_adv, expected)
        assert list(attack.report(X, y).index)
        assert torch.is_inference_mode_enabled()


def test_failing_module_is_left_as_it_was():
    class Fails(Overwrites):
        def forward(self, x):
            if x.requires_grad or torch.is_grad_enabled():
                raise RuntimeError("no memory, say")
            return super().forward(x)

    with seeded_torch(0):
        module = Fails().train()
    before = state_of(module)
    x, y = torch.zeros(3, 64), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="no memory, say"):
        FGSMAttack().perturb_module(module, x, y)
    assert_same(before, state_of(module))
    assert not x.any()


def test_attack_restores_number_of_threads():
    X, y = digits(40)
    with seeded_torch(0):
        model = TorchClassifier.from_module(hooked(), classes=np.arange(10))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        aim(FGSMAttack(), model, X, y).perturb(X, y)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)


class WritesToMany(nn.Module):
    """It moves its input in place, but not the two samples that it is probed with."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_features, n_classes)

    def forward(self, x):
        if len(x) > 2:
            x.sub_(0.01)
        return self.layer(x)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_samples_that_were_not_probed_are_not_written_to(name):
    X, y = digits()
    X = X.astype(np.float32)
    model = TorchClassifier(WritesToMany, max_epochs=1, device="cpu", random_state=0)
    attack = {"fgsm": FGSMAttack(), "pgd": PGDAttack(random_state=0)}[name]
    attack.set_params(estimator=model, eps=0.05, device="cpu").fit(X.copy(), y)
    kept = X.copy()
    attack.perturb(kept, y)
    np.testing.assert_array_equal(kept, X)
