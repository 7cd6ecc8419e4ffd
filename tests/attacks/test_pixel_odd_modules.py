"""Whatever a module computes: no proof is false, and no find is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import OnePixelAttack
from robustkit.classifiers import TorchClassifier
from tests.attacks.odd_modules import (
    N_CLASSES,
    ODD,
    PLAIN,
    SCALING,
    WIDTH,
    odd_network,
)

LEVELS = 5
# Every level is one of these values.
N_VALUES = 8 * (LEVELS - 1) + 1


def victim(module, seed=0, n_samples=6):
    """A classifier, and samples that it gets right."""
    X = np.random.default_rng(seed).random((n_samples, WIDTH)).astype(np.float32)
    # The module may write to what it is given.
    with torch.no_grad():
        y = module(torch.from_numpy(X.copy()).to(dtype_of(module))).argmax(dim=1)
    return classifier(module), X, y.numpy()


def classifier(module):
    """One that computes in the precision of its weights."""
    if dtype_of(module) == torch.float32:
        return TorchClassifier.from_module(module, classes=np.arange(N_CLASSES))
    net = NeuralNetClassifier(
        module, criterion=nn.CrossEntropyLoss, classes=range(N_CLASSES)
    )
    return net.initialize()


def dtype_of(module):
    return next(module.parameters()).dtype


def as_given(X, module):
    return X.astype(np.float32 if dtype_of(module) == torch.float32 else np.float64)


def perturbed(model, X, y, method, clip=(0, 1), levels=LEVELS):
    attack = OnePixelAttack(
        FrozenEstimator(model),
        method=method,
        levels=levels,
        clip=clip,
        pop_size=8,
        max_iter=3,
        random_state=0,
        device="cpu",
    )
    return attack.fit(X, y).perturb(X, y)


def brute_force(model, X, y, low=0.0, high=1.0):
    """Whether each sample is fooled by a level, and whether by any value tried."""
    values = np.linspace(low, high, N_VALUES)
    tried = np.broadcast_to(
        X[:, None, None, :], (len(X), WIDTH, N_VALUES, WIDTH)
    ).copy()
    for pixel in range(WIDTH):
        tried[:, pixel, :, pixel] = values
    said = model.predict(tried.reshape(-1, WIDTH)).reshape(tried.shape[:-1])
    errs = said != y[:, None, None]
    return errs[:, :, ::8].any(axis=(1, 2)), errs.any(axis=(1, 2))


def _refusal(error):
    """No proof, but a line that says so."""
    assert str(error).startswith("method='certified'")
    assert "\n" not in str(error)


def check(module, seed=0, low=0.0, high=1.0):
    model, X, y = victim(module, seed)
    X = as_given(low + (high - low) * X, module)
    y = model.predict(X)
    given_X = X.copy()
    at_levels, anywhere = brute_force(model, X, y, low, high)
    exact = perturbed(model, X, y, "exhaustive", (low, high))
    np.testing.assert_array_equal(exact.success, at_levels)
    search = perturbed(model, X, y, "differential_evolution", (low, high))
    assert not (search.success & ~at_levels).any()
    for result in (exact, search):
        np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))
    np.testing.assert_array_equal(X, given_X)
    try:
        proof = perturbed(model, X, y, "certified", (low, high))
    except TypeError as error:
        return _refusal(error)
    assert not (proof.certified & anywhere).any()
    assert not (at_levels & ~proof.success).any()
    np.testing.assert_array_equal(proof.prediction, model.predict(proof.X_adv))
    np.testing.assert_array_equal(proof.success, proof.prediction != y)
    return proof


@given(
    names=st.lists(st.sampled_from([*PLAIN, *ODD]), max_size=4),
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    ends=st.sampled_from([(0.0, 1.0), (-3.0, 7.0), (-0.5, 0.25)]),
)
def test_no_proof_is_false_whatever_the_module_computes(names, seed, dtype, ends):
    # A skorch net draws from the global stream whenever it predicts.
    with seeded_torch(0):
        check(odd_network(names, seed, dtype), seed, *ends)


@pytest.mark.parametrize("place", ["first", "later"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_part_is_refused_by_name_and_searched_as_a_whole(name, place):
    names = [name, "linear"] if place == "first" else ["linear", name, "relu"]
    module = odd_network(names)
    assert check(module) is None
    model, X, y = victim(module)
    part = module[0] if place == "first" else module[1]
    while type(part) is nn.Sequential and not part._forward_hooks:
        part = part[0]
    with pytest.raises(TypeError, match=type(part).__name__):
        perturbed(model, X, y, "certified")


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_part_is_taken_apart(name):
    names = [name, "linear", "relu"]
    if name not in SCALING:
        names.insert(0, "linear")
    proofs = [check(odd_network(names, seed), seed) for seed in (0, 1)]
    assert all(proof is not None for proof in proofs)
    decided = np.concatenate([proof.certified | proof.success for proof in proofs])
    assert decided.all()


@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_a_hook_of_all_modules_is_seen(kind):
    module = odd_network(["linear", "relu"])
    register = getattr(nn.modules.module, f"register_module_{kind}_hook")

    def flip(part, given, out=None):
        return (given[0] if out is None else out).flip(1)

    handle = register(flip)
    try:
        assert check(module) is None
    finally:
        handle.remove()
    assert check(module) is not None


def test_a_method_replaced_on_a_class_is_seen(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x.abs())
    assert check(odd_network(["linear", "relu"])) is None
