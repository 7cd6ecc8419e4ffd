"""No certificate is false: whatever a module computes, and down to the rounding."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import OnePixelAttack
from robustkit.attacks.one_pixel._certify import PixelCertifier, _Boxes
from robustkit.attacks.one_pixel._query import PixelSpace
from robustkit.bridge import Clamp, ElementwiseScale
from robustkit.classifiers import TorchClassifier
from tests.attacks.odd_modules import (
    N_CLASSES,
    ODD,
    PLAIN,
    SCALING,
    WIDTH,
    odd_network,
)

U = 2.0**-24
DTYPES = [np.float32, np.float64]
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
def test_no_certificate_is_false_whatever_the_module_computes(names, seed, dtype, ends):
    # A skorch net draws from the global stream whenever it predicts.
    with seeded_torch(0):
        check(odd_network(names, seed, dtype), seed, *ends)


@pytest.mark.parametrize("place", ["first", "later"])
@pytest.mark.parametrize("name", ODD)
def test_certificate_refuses_an_odd_part_by_name(name, place):
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
def test_certificate_decides_networks_of_plain_parts(name):
    names = [name, "linear", "relu"]
    if name not in SCALING:
        names.insert(0, "linear")
    proofs = [check(odd_network(names, seed), seed) for seed in (0, 1)]
    assert all(proof is not None for proof in proofs)
    decided = np.concatenate([proof.certified | proof.success for proof in proofs])
    assert decided.all()


@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_certificate_refuses_a_hook_of_all_modules(kind):
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


def test_certificate_refuses_a_forward_replaced_on_a_class(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x.abs())
    assert check(odd_network(["linear", "relu"])) is None


def boxes_of(low, high):
    low, high = np.array(low, float), np.array(high, float)
    n = len(low)
    return _Boxes(np.arange(n), np.arange(n) + 10, low, high)


def test_boxes_are_cut_in_their_widest_channel_at_a_level():
    boxes = boxes_of(
        [[0, 0], [0, 2], [4, 0], [1, 3], [0.5, 0]],
        [[255, 7], [1, 3], [5, 9], [2, 5], [1, 0.25]],
    )
    middle, halves = boxes.halve()
    np.testing.assert_array_equal(
        middle, [[127, 3], [0.5, 2.5], [4.5, 4], [1.5, 4], [0.75, 0.125]]
    )
    np.testing.assert_array_equal(halves.image, [*range(5)] * 2)
    np.testing.assert_array_equal(halves.pixel, [*range(10, 15)] * 2)
    np.testing.assert_array_equal(
        halves.high[:5], [[127, 7], [0.5, 3], [5, 4], [2, 4], [0.75, 0.25]]
    )
    np.testing.assert_array_equal(
        halves.low[5:], [[127, 0], [0.5, 2], [4, 4], [1, 4], [0.75, 0]]
    )
    np.testing.assert_array_equal(halves.low[:5], boxes.low)
    np.testing.assert_array_equal(halves.high[5:], boxes.high)
    np.testing.assert_array_equal(boxes.middles().low, (boxes.low + boxes.high) / 2)
    np.testing.assert_array_equal(boxes.middles().width(), np.zeros((5, 2)))


def test_certifier_begins_with_whole_ranges():
    module = nn.utils.skip_init(nn.Linear, 12, 2)
    space = PixelSpace(12, (3, 2, 2), np.zeros(12), np.ones(12), 8)
    certifier = PixelCertifier(module, space)
    boxes = certifier._all_boxes(2)
    np.testing.assert_array_equal(boxes.image, np.repeat([0, 1], 4))
    np.testing.assert_array_equal(boxes.pixel, np.tile(np.arange(4), 2))
    np.testing.assert_array_equal(boxes.low, np.zeros((8, 3)))
    np.testing.assert_array_equal(boxes.high, np.full((8, 3), 7.0))


def layer_of(weight, bias):
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer.double()


def certifier_of(scaling, weight, bias, n_levels=2):
    linear = layer_of(weight, bias).float()
    d = weight.shape[1]
    space = PixelSpace(d, None, np.zeros(d), np.ones(d), n_levels)
    return PixelCertifier(nn.Sequential(*scaling, linear).eval(), space)


def size_of(x, center=0.0, scale=1.0, offset=0.0):
    return (np.abs(x) + np.abs(center)) * np.abs(scale) + np.abs(offset)


@pytest.mark.parametrize("n_scalers", [0, 1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_certifier_covers_the_rounding_of_scalers(n_scalers, dtype):
    """Values, parameters and operations of scalers; weights, products and sums."""
    rng = np.random.default_rng(0)
    d = 11
    x = rng.uniform(0.1, 1, size=(6, d))
    scaling, size = [], x
    for _ in range(n_scalers):
        numbers = rng.normal(size=(3, d)).astype(np.float32)
        scaling.append(ElementwiseScale(*numbers))
        size = size_of(size, *numbers.astype(np.float64))
    weight = rng.normal(size=(2, d)).astype(np.float32).astype(np.float64)
    certifier = certifier_of(scaling, weight, np.zeros(2))
    clean = certifier._clean(x, np.zeros(6, dtype=int))
    terms = size @ np.abs(weight).T
    n_roundings = d + 2 + 6 * n_scalers
    exact = clean.units[np.float64]
    np.testing.assert_allclose(clean.units[dtype], exact, rtol=1e-6, atol=1e-5)
    off = np.abs(clean.units[dtype] - exact)
    assert (clean.radius[dtype] >= n_roundings * U * terms + off).all()
    single, double = (clean.radius[kind] for kind in DTYPES)
    assert (single >= double + 2 * U * np.abs(exact)).all()
    # Not by much more: a wide radius would prove nothing.
    assert (clean.radius[np.float64] <= 3 * (n_roundings + 8) * U * terms).all()


def test_certifier_covers_the_rounding_of_the_first_bias():
    certifier = certifier_of([], np.zeros((2, 3)), np.array([1.0, -3.0]))
    clean = certifier._clean(np.zeros((1, 3)), np.zeros(1, dtype=int))
    for dtype in DTYPES:
        assert (clean.radius[dtype] >= 2 * U * np.array([1.0, 3.0])).all()


def test_certifier_covers_products_flushed_to_zero():
    d = 50
    certifier = certifier_of([], np.full((2, d), 2.0**-63), np.zeros(2))
    clean = certifier._clean(np.full((1, d), 2.0**-63), np.zeros(1, dtype=int))
    for dtype in DTYPES:
        assert (clean.radius[dtype] >= d * np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", ["new", "old"])
def test_certifier_covers_the_rounding_of_the_changed_pixel(dtype, value):
    """Its product is rounded as often as there are others, and with its own size."""
    d = 400
    x = np.full((1, d), 1e-6)
    weight = np.zeros((2, d))
    weight[0, 0] = -1.0
    if value == "old":
        x[0, 0], weight[0, 0] = 1.0, 1.0
    certifier = certifier_of([], weight, np.array([2.0, 0.0]))
    clean = certifier._clean(x, np.zeros(1, dtype=int))
    box = certifier._all_boxes(1).take(np.array([0]))
    (bound,) = certifier._bound(dtype, clean, box)
    exact = 1.0 if value == "new" else 2.0
    n_roundings = d + 2
    # The bias of 2 is a term as well.
    assert bound <= exact - n_roundings * U * (1 + 2)
    assert bound > exact - 20 * n_roundings * U


def test_certifier_sums_the_sizes_of_the_terms_of_a_scaling():
    rng = np.random.default_rng(0)
    center, scale, offset = rng.normal(size=(3, 5)).astype(np.float32)
    x = rng.normal(size=(4, 5))
    scaling = [ElementwiseScale(center, scale, offset), Clamp(-0.2, 3.0)]
    certifier = certifier_of(scaling, np.ones((2, 5)), np.zeros(2))
    features = np.arange(5)[None]
    values, size = certifier._scaled(x, features)
    center, scale, offset = (
        part.astype(np.float64) for part in (center, scale, offset)
    )
    np.testing.assert_allclose(
        values, ((x - center) * scale + offset).clip(-0.2, 3.0), rtol=1e-12
    )
    expected = size_of(x, center, scale, offset)
    np.testing.assert_allclose(size, np.maximum(expected, np.abs(values)), rtol=1e-12)
    # Clipping can make a number larger.
    certifier = certifier_of([Clamp(0.5, 1.0)], np.ones((2, 5)), np.zeros(2))
    _, size = certifier._scaled(np.zeros((1, 5)), features)
    np.testing.assert_array_equal(size, np.full((1, 5), 0.5))


def linear_model(weight, bias, scaler=None):
    """A fitted logistic regression of two classes with given weights."""
    model = LogisticRegression()
    model.coef_, model.intercept_ = weight[None], np.array([bias])
    model.classes_, model.n_features_in_ = np.array([0, 1]), len(weight)
    model.n_iter_ = np.array([1])
    return model if scaler is None else make_pipeline(scaler, model)


def exact_score(model, x):
    """The decision function in exact arithmetic."""
    return sum(exact_terms(model, x))


def exact_terms(model, x):
    x = [Fraction(float(value)) for value in x]
    if hasattr(model, "steps"):
        scaler, model = model[0], model[-1]
        pairs = zip(x, scaler.mean_, scaler.scale_, strict=True)
        x = [(v - Fraction(float(m))) / Fraction(float(s)) for v, m, s in pairs]
    weights = [Fraction(float(w)) for w in model.coef_[0]]
    terms = [w * v for w, v in zip(weights, x, strict=True)]
    return [*terms, Fraction(float(model.intercept_[0]))]


def smallest_score(model, x):
    """Over all pixels and values: a linear score is smallest at an end."""
    terms = exact_terms(model, x)
    ends = [exact_terms(model, np.full_like(x, value)) for value in (0.0, 1.0)]
    moves = [end[k] - terms[k] for end in ends for k in range(len(x))]
    return sum(terms) + min(moves)


@pytest.mark.filterwarnings("ignore::robustkit.exceptions.UndecidedSamplesWarning")
@pytest.mark.parametrize("scaled", [False, True])
def test_no_certificate_of_a_linear_model_is_false_in_exact_arithmetic(scaled):
    """Its float32 copy is right everywhere, and the model itself is fooled."""
    d = 300
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.uniform(0.4, 0.6, size=d)
        single = rng.choice([-1, 1], size=d) * rng.uniform(1, 2, size=d)
        # Pixels that are asked about before anything is bounded have no say.
        single[::8] = 0
        single = single.astype(np.float32).astype(np.float64)
        # Nearly half a spacing below: all roundings raise the score.
        weight = single - 0.45 * 2.0**-23 * (single != 0)
        scaler = StandardScaler().fit(rng.normal(size=(7, d))) if scaled else None
        if scaled:
            scaler.mean_[:] = -0.25
            scaler.scale_[:] = 0.5
        model = linear_model(weight, 0.0, scaler)
        last = model[-1] if scaled else model
        last.intercept_ = np.array([float(-smallest_score(model, x)) - 1e-7])
        assert smallest_score(model, x) < 0 < exact_score(model, x)
        attack = OnePixelAttack(
            FrozenEstimator(model), method="certified", levels=2, clip=(0, 1)
        )
        X, y = x[None], np.array([1])
        assert not attack.fit(X, y).perturb(X, y).certified.any()


def of_second_feature(weight, bias, *before, after=()):
    """A network of two classes that ignores the first of its two features."""
    layer = nn.utils.skip_init(nn.Linear, 2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, w] for w in weight]))
        layer.bias.copy_(torch.tensor(bias))
    module = nn.Sequential(*before, layer, *after)
    return TorchClassifier.from_module(module, classes=[0, 1])


def test_certifier_covers_values_that_are_rounded_to_subnormal_numbers():
    """In single precision 0.6 times the smallest number is the smallest number."""
    step, weight = 2.0**-149, 3e38
    model = of_second_feature([0.0, weight], [0.75 * step * weight, 0.0])
    X, high = np.zeros((1, 2)), 0.6 * step
    assert model.predict(X) == 0
    assert model.predict(np.array([[0.0, high]])) == 1
    result = perturbed(model, X, [0], "certified", clip=(0.0, high))
    assert not result.certified.any()


def test_certifier_covers_scalers_that_overflow_in_single_precision():
    parameters = {"center": [0, 3e38], "scale": [1, 1e-35]}
    scale = ElementwiseScale(**parameters, dtype=torch.float32)
    last = nn.utils.skip_init(nn.Linear, 2, 2)
    with torch.no_grad():
        last.weight.copy_(torch.eye(2))
        last.bias.copy_(torch.tensor([0.0, 1.0]))
    # Minus infinity, where 4 is right, becomes zero.
    after = [nn.ReLU(), last]
    model = of_second_feature([1e-3, 1e-30], [10.0, 0.0], scale, after=after)
    X = np.full((1, 2), 3e38)
    assert model.predict(X) == 0
    assert model.predict(X * [1, -1]) == 1
    result = perturbed(model, X, [0], "certified", clip=(-3e38, 3e38))
    assert not result.certified.any()


def test_certificate_refuses_products_in_less_than_single_precision():
    model, X = of_second_feature([1.0, 0.0], [0.0, 0.5]), np.zeros((1, 2))
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    try:
        settings.fp32_precision = "bf16"
        said = "fp32_precision is 'bf16': set it to 'ieee'"
        with pytest.raises(TypeError, match=said):
            perturbed(model, X, [1], "certified")
    finally:
        settings.fp32_precision = before
    assert perturbed(model, X, [1], "certified").success.all()
