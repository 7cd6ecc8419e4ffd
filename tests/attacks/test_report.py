"""A model that only hides its gradient is found out."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from robustkit._randomness import draw_seed
from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    PGDAttack,
)
from robustkit.attacks._report import SecondAttack, climb_without_gradient
from robustkit.attacks.functional import pgd
from robustkit.classifiers import TorchClassifier
from robustkit.exceptions import GradientMaskingWarning
from tests.attacks.victims import (
    aim,
    digits,
    digits_mlp,
    digits_module,
    linear_net,
    torch_net,
)

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
def test_report_warns_of_saturated_cross_entropy(attack):
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


def test_margin_loss_is_not_masked_by_large_logits():
    X, y = digits(200)
    attack = PGDAttack(max_iter=8, loss="margin", random_state=0)
    plain = aim(attack, torch_net(), X, y).score(X, y)
    assert aim(attack, masked(), X, y).score(X, y) == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "rotate"])
def test_report_does_not_warn_for_unmasked_model(loss):
    X, y = digits(100)
    attack = aim(PGDAttack(loss=loss, max_iter=8, random_state=0), torch_net(), X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = attack.report(X, y)
    assert report["zero_gradient_share"] == 0
    for loss in ("ce", "margin"):
        alone = aim(PGDAttack(loss=loss, max_iter=8, random_state=0), torch_net(), X, y)
        assert report[f"robust_accuracy_{loss}"] == alone.score(X, y)


def test_report_median_logit_margin():
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
def test_report_without_diagnostics(attack):
    X, y = digits(50)
    attack = aim(attack, torch_net(), X, y)
    short = attack.report(X, y, diagnostics=False)
    long = attack.report(X, y)
    last = ["robust_accuracy_rotate", "robust_accuracy_worst", "stronger"]
    assert list(long.index) == [*short.index, *DIAGNOSTICS, *last]
    assert long[short.index].equals(short)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_report_tries_other_losses_on_what_is_left(norm, targeted):
    X, y = digits(60)
    eps = 0.06 if norm == "linf" else 0.4
    attack = PGDAttack(
        norm=norm, eps=eps, max_iter=1, random_start=False, targeted=targeted
    )
    attack = aim(attack.set_params(random_state=0), torch_net(), X, y)
    target = (y + 1) % 10 if targeted else None
    report = attack.report(X, y, target)
    # By hand: a sample is robust if none of all attacks fools it.
    x, labels = torch.from_numpy(X).float(), torch.from_numpy(y)
    rotating = pgd(
        digits_module(), x, labels, eps=eps, norm=norm, max_iter=20, loss="rotate",
        clip=(0, 1), target=None if target is None else torch.from_numpy(target),
        seed=attack._plan().seed,
    )  # fmt: skip
    robust = digits_module()(rotating).argmax(dim=1).numpy() == y
    for loss in ("ce", "margin"):
        result = attack._perturb(X, y, target, loss)
        robust &= (result.clean_prediction == y) & (result.prediction == y)
    assert report["robust_accuracy_rotate"] == robust.mean()
    assert report["robust_accuracy_worst"] < report["robust_accuracy"] - 0.02
    strongest = f"robust_accuracy_{report['stronger']}"
    assert report[strongest] == report["robust_accuracy_worst"]


class Rounded(nn.Module):
    """Sees its input in four grey levels only: flat everywhere, and not robust."""

    def __init__(self):
        super().__init__()
        self.module = digits_module()

    def forward(self, x):
        # Adding nothing times x keeps x in the graph.
        return self.module(torch.round(x * 4) / 4 + 0 * x)


@pytest.mark.parametrize(
    "attack",
    [
        PGDAttack(eps=0.2, loss="rotate", max_iter=5, random_state=0),
        PGDAttack(eps=1.6, norm="l2", max_iter=5, random_state=0),
        FGSMAttack(eps=0.2),
        GrowingEpsilonAttack(step=0.1, stop=0.21),
    ],
    ids=["rotate", "l2", "FGSM", "growing"],
)
def test_report_warns_of_zero_gradient_everywhere(attack):
    X, y = digits(150)
    model = TorchClassifier.from_module(Rounded().eval(), classes=np.arange(10))
    attack = aim(attack, model, X, y)
    with pytest.warns(GradientMaskingWarning, match="exactly zero for 100% of the"):
        report = attack.report(X, y)
    assert report["zero_gradient_share"] == 1
    last = ["robust_accuracy_gradient_free"]
    if getattr(attack, "loss", None) != "rotate":
        last.append("robust_accuracy_rotate")
    last += ["robust_accuracy_worst", "stronger"]
    assert list(report.index)[-4 - len(last) :] == [*DIAGNOSTICS, *last]
    assert report["stronger"] == "gradient_free"
    assert report["robust_accuracy_worst"] == report.filter(like="robust_acc").min()
    blind = report["robust_accuracy_gradient_free"]
    assert blind < report["robust_accuracy"] - 0.3
    # What the network without rounding lets through at the same radius is a guide.
    norm = getattr(attack, "norm", "linf")
    guide = PGDAttack(eps=attack._plan().radius, norm=norm, random_state=0)
    assert blind < aim(guide, torch_net(), X, y).score(X, y) + 0.15
    with pytest.warns(
        GradientMaskingWarning, match=f"{blind:.3f} for a search without"
    ):
        again = attack.report(X, y)
    assert again.equals(report)


class Dead(nn.Module):
    """No unit is ever on: the answer is the same for all samples."""

    def forward(self, x):
        hidden = torch.relu(x.sum(dim=1, keepdim=True) - 1e3)
        return hidden + torch.arange(10.0)


def test_report_of_a_shuffled_stream_aims_at_the_class_of_each_sample():
    """The stream is read again for the search without a gradient, in another order."""
    X, y = digits(60)
    order = np.random.default_rng(0).permutation(60)
    attack = LeastLikelyAttack(Rounded().eval(), eps=0.3, max_iter=3).fit(X, y)
    generator = torch.Generator().manual_seed(0)
    shuffled = DataLoader(
        [(X[i], y[i]) for i in order],
        batch_size=7, shuffle=True, generator=generator,
    )  # fmt: skip
    reports = []
    for given in ((X, y), (shuffled,)):
        with pytest.warns(GradientMaskingWarning, match="exactly zero for 100%"):
            reports.append(attack.report(*given))
    blind = [report["robust_accuracy_gradient_free"] for report in reports]
    assert blind[0] == blind[1] < reports[0]["robust_accuracy"]


@pytest.mark.parametrize("attack", [PGDAttack(), PGDAttack(loss="rotate")])
def test_looking_at_an_attack_draws_nothing_and_report_draws_once(attack):
    X, y = digits(40)
    found = []
    for look in (False, True):
        random = np.random.RandomState(0)
        one = aim(attack, digits_mlp(), X, y, random_state=random, max_iter=1)
        before = str(random.get_state())
        if look:
            one._repr_html_()
        assert str(random.get_state()) == before
        found.append(one.perturb(X, y).X_adv)
    np.testing.assert_array_equal(*found)
    # Itself and the other losses: two runs or three. For diagnostics one seed, if any.
    by_report, by_hand = np.random.RandomState(0), np.random.RandomState(0)
    one = aim(attack, digits_mlp(), X, y, random_state=by_report, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GradientMaskingWarning)
        one.report(X, y)
    for _ in range(3):
        draw_seed(by_hand)
    assert str(by_report.get_state()) == str(by_hand.get_state())


def test_report_does_not_warn_for_constant_model():
    X, y = digits(60)
    model = TorchClassifier.from_module(Dead().eval(), classes=np.arange(10))
    attack = aim(PGDAttack(max_iter=3, random_state=0), model, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = attack.report(X, y)
    assert report["zero_gradient_share"] == 1
    assert report["robust_accuracy_gradient_free"] == report["clean_accuracy"] > 0


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_gradient_free_search_stays_in_ball(norm, targeted):
    X, y = digits(120)
    eps = {"linf": 0.12, "l2": 1.0}[norm]
    attack = SecondAttack(
        search=climb_without_gradient, eps=eps, norm=norm, targeted=targeted
    )
    attack = aim(attack, digits_mlp(), X, y)
    target = (y + 1) % 10 if targeted else None
    result = attack.perturb(X, y, target)
    move = result.X_adv.astype(np.float64) - X
    length = np.linalg.norm(move, ord={"linf": np.inf, "l2": 2}[norm], axis=1)
    assert length.max() <= eps + 1e-6
    assert result.X_adv.min() >= 0
    assert result.X_adv.max() <= 1
    said = digits_mlp().predict(result.X_adv)
    np.testing.assert_array_equal(result.prediction, said)
    right = result.clean_prediction == y
    wanted = said == target if targeted else said != y
    np.testing.assert_array_equal(result.success, right & wanted)
    assert 0 < result.success.sum() < right.sum()
    # A sample leaves when it is fooled. 100 moves tell the slope, one follows it, and
    # 2 + 4 + ... + 64 turn a block of it.
    hit, stood = result.success, right & ~result.success
    assert result.n_queries[hit].min() == 1 or targeted
    assert (result.n_queries[hit] <= 100 + 1 + 126).all()
    assert (result.n_queries[stood] == 100 + 1 + 126).all()
    order = np.random.default_rng(0).permutation(120)[:50]
    part = attack.perturb(X[order], y[order], None if target is None else target[order])
    np.testing.assert_array_equal(part.success, result.success[order])
    np.testing.assert_allclose(part.X_adv, result.X_adv[order], atol=1e-4)


@pytest.mark.parametrize("factor", [1e3, 1e6])
@pytest.mark.parametrize(
    "attack",
    [
        FGSMAttack(eps=0.06),
        BIMAttack(eps=0.06),
        LeastLikelyAttack(eps=0.2),
        PGDAttack(eps=0.06, random_state=0),
        PGDAttack(eps=0.5, norm="l2", random_state=0),
        GrowingEpsilonAttack(step=0.02, stop=0.1),
    ],
    ids=["FGSM", "BIM", "LeastLikely", "PGD", "l2", "growing"],
)
def test_large_logits_mask_no_attack(attack, factor):
    """Logits a thousand times as large make the same decisions."""
    X, y = digits(150)
    loud = Scaled(digits_module(), factor).eval()
    loud = TorchClassifier.from_module(loud, classes=np.arange(10))
    results = [aim(attack, model, X, y).perturb(X, y) for model in (torch_net(), loud)]
    plain, shouted = results
    assert plain.success.mean() > 0.15
    assert shouted.success.mean() == pytest.approx(plain.success.mean(), abs=0.05)
    x, labels = torch.from_numpy(X), torch.from_numpy(y)
    with torch.no_grad():
        errors = [
            (model.module_(attack.perturb_module(model.module_, x, labels)).argmax(1))
            .ne(labels)
            .double()
            .mean()
            .item()
            for model in (torch_net(), loud)
        ]
    assert errors[1] == pytest.approx(errors[0], abs=0.07)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_gradient_free_search_finds_corner_of_linear_model(norm):
    """Turning features one by one must end at the best corner; l2 comes near."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=12)
    X = rng.uniform(-1, 1, size=(40, 12)).astype(np.float32)
    model = linear_net([-w / 2, w / 2], [0.0, 0.0])
    margin = X @ w
    y = (margin > 0).astype(int)
    attack = SecondAttack(search=climb_without_gradient, norm=norm, eps=0.05, clip=None)
    attack = aim(attack, model, X, y)
    result = attack.perturb(X, y)
    stood = ~result.success
    side = np.where(y == 1, -1, 1)[:, None]
    moved = ((result.X_adv - X) * side)[stood]
    assert stood.sum() > 20
    if norm == "linf":
        np.testing.assert_allclose(
            moved, 0.05 * np.sign(w) * np.ones_like(moved), atol=1e-6
        )
    else:
        np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 0.05, rtol=1e-4)
        assert (moved @ w).min() > 0.8 * 0.05 * np.linalg.norm(w)
    # 12 features: blocks of 6, 3, 2 and 1.
    assert (result.n_queries[stood] == 100 + 1 + 2 + 4 + 6 + 12).all()
