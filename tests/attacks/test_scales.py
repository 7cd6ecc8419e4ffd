"""One eps per feature, per sample or in standard deviations, and what fit learns."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader

from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    MinimalDistanceAttack,
    ModuleAttack,
    OnePixelAttack,
    PGDAttack,
    SquareAttack,
)
from robustkit.attacks._geometry import keep_inside
from robustkit.attacks._scales import Extent
from robustkit.exceptions import GradientMaskingWarning, InputRoundingWarning
from tests.attacks.victims import aim, digits, linear_net, torch_net

LINF = {
    "FGSM": FGSMAttack(clip=None),
    "BIM": BIMAttack(max_iter=20, clip=None),
    "least likely": LeastLikelyAttack(max_iter=20, clip=None),
    "PGD": PGDAttack(max_iter=20, clip=None, random_state=0),
}


class Stay(ModuleAttack):
    """Move nothing."""

    def perturb_module(self, module, X, y):
        return X


def problem(seed, n_samples=12, n_features=5):
    """Samples, sides of a plane, their distance to it, and widths of the features."""
    rng = np.random.default_rng(seed)
    width = 10.0 ** rng.uniform(-1, 0.9, n_features)
    X = rng.normal(size=(n_samples, n_features)) * width
    w, b = rng.normal(size=n_features) / width, rng.normal() / 10
    margin = X @ w + b
    model = linear_net(np.stack([-w / 2, w / 2]), [-b / 2, b / 2])
    return model, X, (margin > 0).astype(int), margin, w, width


@pytest.mark.parametrize("name", LINF)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.9, 1.1]))
def test_eps_per_feature_takes_a_linear_margin_to_its_closed_form(name, seed, share):
    """Within a box of half sides e the margin falls by the sum of e |w|, exactly."""
    model, X, y, margin, w, width = problem(seed)
    for i in range(2):
        eps = width * share * np.abs(margin[i]) / (width @ np.abs(w))
        attack = aim(LINF[name].set_params(eps=eps), model, X, y)
        result = attack.perturb(X[i : i + 1], y[i : i + 1])
        assert result.success[0] == (share > 1)
        assert (np.abs(result.X_adv - X[i]) <= eps * (1 + 1e-6)).all()
        # A move as far as allowed has size 1.
        assert result.eps[0] <= 1
        if share < 1:
            left = np.abs(margin[i] + (result.X_adv[0] - X[i]) @ w)
            best = np.abs(margin[i]) - eps @ np.abs(w)
            assert left == pytest.approx(best, abs=2e-3 * np.abs(margin[i]))
            assert result.eps[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", LINF)
def test_standard_deviations_are_those_of_fit(name):
    model, X, y, *_ = problem(3)
    std = X.std(axis=0)
    in_std = aim(LINF[name].set_params(eps=0.2, eps_unit="std"), model, X, y)
    np.testing.assert_allclose(in_std.feature_std_, std, rtol=1e-12)
    raw = aim(LINF[name].set_params(eps=0.2 * std, eps_unit="raw"), model, X, y)
    a, b = in_std.perturb(X[:5], y[:5]), raw.perturb(X[:5], y[:5])
    np.testing.assert_allclose(a.X_adv, b.X_adv, rtol=1e-9, atol=1e-9)
    # Of a size of standard deviations, not of shares of the eps.
    np.testing.assert_allclose(a.eps, 0.2 * b.eps, rtol=1e-6)
    assert a.settings["eps"] == 0.2
    assert a.settings["eps_unit"] == "std"


def test_steps_count_in_standard_deviations_too():
    model, X, y, *_ = problem(4)
    shared = {"max_iter": 1, "clip": None}
    attack = BIMAttack(eps=9.0, step_size=0.1, eps_unit="std", **shared)
    result = aim(attack, model, X, y).perturb(X, y)
    moved = np.abs(result.X_adv - X) / X.std(axis=0)
    np.testing.assert_allclose(moved, 0.1, rtol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_eps_per_sample_is_that_of_each_alone(norm):
    X, y = digits(30)
    eps = np.linspace(0, 0.2, 30)[:, None] * (1 if norm == "linf" else 5)
    params = {"norm": norm, "max_iter": 5, "random_state": 0, "batch_size": 7}
    result = aim(PGDAttack(eps=eps, **params), torch_net(), X, y).perturb(X, y)
    for i in range(0, 30, 7):
        one = PGDAttack(eps=float(eps[i, 0]), **params)
        alone = aim(one, torch_net(), X, y).perturb(X[i : i + 1], y[i : i + 1])
        np.testing.assert_allclose(result.X_adv[i], alone.X_adv[0], atol=1e-6)
        assert result.eps[i] == pytest.approx(alone.eps[0], abs=1e-6)


def test_feature_whose_eps_is_zero_never_moves():
    X, y = digits(40)
    eps = np.where(np.arange(64) % 2, 0.1, 0.0)
    for attack in (FGSMAttack(eps=eps), PGDAttack(eps=eps, max_iter=3, random_state=0)):
        result = aim(attack, torch_net(), X, y).perturb(X, y)
        np.testing.assert_array_equal(result.X_adv[:, ::2], X[:, ::2])
        assert (result.X_adv[:, 1::2] != X[:, 1::2]).any()


def test_constant_feature_has_no_standard_deviation_and_never_moves():
    model, X, y, *_ = problem(5)
    X[:, 1] = 0.1
    attack = FGSMAttack(eps=0.5, eps_unit="std", clip=None)
    result = aim(attack, model, X, y).perturb(X, y)
    assert (result.X_adv[:, 1] == X[:, 1]).all()
    assert np.isfinite(result.eps).all()


def test_eps_of_an_image_has_one_number_per_pixel():
    X, y = digits(20)
    eps = np.linspace(0, 0.2, 64)
    expected = aim(FGSMAttack(eps=eps), torch_net(), X, y).perturb(X, y)
    images = X.reshape(-1, 1, 8, 8)
    module = nn.Sequential(nn.Flatten(), torch_net().module_)
    attack = FGSMAttack(module, eps=eps.reshape(1, 8, 8)).fit(images, y)
    result = attack.perturb(images, y)
    np.testing.assert_array_equal(result.X_adv.reshape(20, 64), expected.X_adv)


def test_report_and_diagnostics_work_with_eps_per_feature():
    X, y = digits(60)
    eps = np.linspace(0.01, 0.2, 64)
    attack = aim(PGDAttack(eps=eps, max_iter=3, random_state=0), torch_net(), X, y)
    report = attack.report(X, y)
    np.testing.assert_array_equal(report["eps"], eps)
    assert report["average_eps"] <= 1
    assert "eps=0.01 to 0.2 (64)" in repr(attack.perturb(X[:3]))

    class Flat(nn.Module):
        def forward(self, x):
            return torch_net().module_(torch.round(x * 4) / 4 + 0 * x)

    blind = FGSMAttack(Flat().eval(), eps=eps).fit(X, y)
    with pytest.warns(GradientMaskingWarning, match="exactly zero"):
        assert "robust_accuracy_gradient_free" in blind.report(X, y)


def test_training_takes_eps_per_feature_and_fitted_standard_deviations():
    X, y = digits(10)
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    module, eps = torch_net().module_, np.linspace(0, 0.2, 64)
    moved = FGSMAttack(eps=eps, clip=None).perturb_module(module, *tensors) - tensors[0]
    np.testing.assert_allclose(moved.abs().amax(dim=0), eps, atol=1e-6)
    images = tensors[0].view(-1, 1, 8, 8)
    flat = nn.Sequential(nn.Flatten(), module)
    attack = PGDAttack(eps=eps, clip=None, max_iter=2, random_state=0)
    assert attack.perturb_module(flat, images, tensors[1]).shape == images.shape
    attack = FGSMAttack(eps=0.1, eps_unit="std", clip=None)
    with pytest.raises(ValueError, match="needs an attack that was fitted"):
        attack.perturb_module(module, *tensors)
    moved = aim(attack, torch_net(), X, y).perturb_module(module, *tensors) - tensors[0]
    np.testing.assert_allclose(moved.abs().amax(dim=0), 0.1 * X.std(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"eps": np.ones(3)},
            r"\(64,\), one number per feature.* Got the shape \(3,\)",
        ),
        (
            {"eps": np.ones((4, 1))},
            r"or \(20, 1\), one per sample\. Got the shape \(4, 1\)",
        ),
        ({"eps": np.ones(3), "eps_unit": "std"}, r"Got the shape \(3,\)"),
        (
            {"eps": np.linspace(0.2, -0.1, 64)},
            r"at least 0, or an array of such numbers\. Got -0.0\d+ at \[43\] instead",
        ),
        ({"eps": np.full((20, 64), np.nan)}, r"Got nan at \[0, 0\] instead"),
        ({"eps": []}, r"Got \[\] instead"),
        ({"eps": {"digits": 0.1}}, "must be a number of at least 0, or an array"),
        ({"eps": "large"}, "must be a float in the range .* or an array-like"),
        ({"eps": -1.0}, "The 'eps' parameter of PGDAttack must be"),
        ({"eps": np.ones(64), "norm": "l2"}, r"or one per sample .* Got 64 numbers"),
        ({"eps": 1.0, "norm": "l2", "eps_unit": "std"}, "eps_unit='raw'"),
        ({"eps_unit": "iqr"}, "The 'eps_unit' parameter of PGDAttack must be"),
    ],
)
def test_eps_that_does_not_fit_says_what_would(params, message):
    X, y = digits(20)
    with pytest.raises(ValueError, match=message) as caught:
        aim(PGDAttack(random_state=0, **params), torch_net(), X, y).perturb(X, y)
    assert "\n" not in str(caught.value)


def test_one_eps_for_features_of_different_scale_warns():
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    with_units = [PGDAttack(model), FGSMAttack(model)]
    without = [
        GrowingEpsilonAttack(model), PGDAttack(model, norm="l2"), SquareAttack(model),
        SquareAttack(model, norm="l2"), MinimalDistanceAttack(model), Stay(model),
    ]  # fmt: skip
    for attack in (*with_units, *without):
        name = type(attack).__name__
        with pytest.warns(UserWarning, match=rf"{name}.* from 0\.124 to 314") as w:
            attack.fit(X, y)
        assert w[0].filename == __file__
        # It advises what there is.
        assert ("eps_unit='std'" in str(w[0].message)) == (attack in with_units)
        assert "cale X first" in str(w[0].message)


def test_warnings_name_the_line_of_the_user_also_for_streams():
    X, y = load_wine(return_X_y=True)
    model = FrozenEstimator(
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    )
    generator = torch.Generator().manual_seed(0)
    pairs = list(zip(X, y, strict=True))
    loader = DataLoader(pairs, batch_size=50, generator=generator)
    attack = FGSMAttack(model)
    with pytest.warns(UserWarning, match="Scale X first|scale X first") as w:
        attack.fit(loader)
    assert w[0].filename == __file__
    far = (StandardScaler().fit_transform(X)[:50] + 1e5).astype(np.float32)
    attack = FGSMAttack(
        linear_net(np.eye(3, 13), np.zeros(3)), eps=1e-3, clip=None
    ).fit(far, y[:50])
    for ask in (attack.perturb, attack.score, attack.report, attack.transform):
        with pytest.warns(InputRoundingWarning, match="less than 8 times") as w:
            ask(far, y[:50]) if ask != attack.transform else ask(far)
        assert {warning.filename for warning in w} == {__file__}


def test_scales_that_are_no_problem_do_not_warn():
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    scaled = StandardScaler().fit_transform(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FGSMAttack(model, eps_unit="std").fit(X, y)
        FGSMAttack(model, eps=X.std(axis=0)).fit(X, y)
        FGSMAttack(model).fit(scaled, y)
        FGSMAttack(model, clip=(0, 2000)).fit(X, y)
        OnePixelAttack(model).fit(X, y)
        # One of two features is constant: nothing to compare.
        FGSMAttack(model).fit(np.column_stack([X[:, 0], np.ones(len(X))]), y)
    assert not caught


def test_in_standard_deviations_all_features_matter():
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    weak = FGSMAttack(model, eps=0.5, eps_unit="std").fit(X, y).score(X, y)
    scaled = StandardScaler().fit_transform(X)
    plain = FGSMAttack(LogisticRegression(), eps=0.5).fit(scaled, y).score(scaled, y)
    assert weak == pytest.approx(plain)


def test_rounding_is_noticed_in_the_feature_that_suffers_from_it():
    model, X, y, *_ = problem(1)
    X[:, 2] += 1e8
    eps = np.full(5, 1e-2)
    attack = aim(FGSMAttack(eps=eps, clip=None), model, X, y)
    with pytest.warns(InputRoundingWarning, match=r"A move of 0\.01 .* near 1e\+08"):
        attack.perturb(X, y)
    eps[2] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aim(FGSMAttack(eps=eps, clip=None), model, X, y).perturb(X, y)


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 9), min_size=1))
def test_extent_of_pieces_is_that_of_the_whole(seed, sizes):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(sum(sizes), 3))
    X[:, 1] += 1e6
    X[:, 2] = 0.1
    extent = Extent()
    for rows in np.split(X, np.cumsum(sizes)[:-1]):
        extent.add(rows)
    np.testing.assert_array_equal(extent.low, X.min(axis=0))
    np.testing.assert_array_equal(extent.high, X.max(axis=0))
    np.testing.assert_allclose(extent.std, X.std(axis=0), rtol=1e-9, atol=1e-9)
    assert extent.std[2] == 0


@given(seed=st.integers(0, 1000), per_sample=st.booleans(), clipped=st.booleans())
def test_boxes_hold_what_is_brought_back_into_them(seed, per_sample, clipped):
    """Row by row and feature by feature, as one would do it by hand."""
    rng = np.random.default_rng(seed)
    center = rng.uniform(0, 1, (4, 3))
    points = center + rng.normal(size=(4, 3))
    radius = rng.uniform(0, 1, (4 if per_sample else 1, 3)) * (rng.random(3) > 0.2)
    clip = (0.0, 1.0) if clipped else None
    out = np.empty_like(center)
    sizes = keep_inside(points.copy(), center, radius, "linf", clip, out, radius)
    for i in range(4):
        size = 0.0
        for j in range(3):
            r = radius[i if per_sample else 0, j]
            expected = min(max(points[i, j], center[i, j] - r), center[i, j] + r)
            expected = min(max(expected, 0.0), 1.0) if clipped else expected
            assert out[i, j] == expected
            if r > 0:
                size = max(size, abs(expected - center[i, j]) / r)
        assert sizes[i] == pytest.approx(size)
