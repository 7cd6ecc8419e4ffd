"""Models that are not what an attack expects: right figures, or one clear line."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    ModuleAttack,
    PGDAttack,
    SquareAttack,
)
from robustkit.bridge import as_module
from robustkit.classifiers import TorchClassifier
from robustkit.regions import PopulatedRegionScorer
from tests.attacks.victims import GRADIENT_ATTACKS, aim, digits, digits_module


class Sure(ClassifierMixin, BaseEstimator):
    """Says 1 only where a linear score exceeds a bar; the module does not know it."""

    def __init__(self, bar=2.0, dtype="float64"):
        self.bar = bar
        self.dtype = dtype

    def fit(self, X, y):
        rng = np.random.default_rng(0)
        self.coef_ = rng.normal(size=X.shape[1])
        self.coef_ *= 3 / np.linalg.norm(self.coef_)
        self.classes_ = np.array([0, 1])
        return self

    def decision_function(self, X):
        return X.astype(np.float64) @ self.coef_

    def predict(self, X):
        return (self.decision_function(X) > self.bar).astype(int)


class Score(nn.Module):
    def __init__(self, coef, dtype):
        super().__init__()
        self.register_buffer("coef", torch.from_numpy(coef).to(dtype))

    def forward(self, x):
        score = x @ self.coef
        return torch.stack([torch.zeros_like(score), score], dim=1)


@as_module.register(Sure)
def _sure(model):
    return Score(model.coef_, getattr(torch, model.dtype))


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(1).normal(size=(300, 5))


def exact_distance(model, X, norm):
    """How far the score is from the bar, in the norm of the move."""
    dual = np.abs(model.coef_).sum() if norm == "linf" else np.linalg.norm(model.coef_)
    return np.abs(model.decision_function(X) - model.bar) / dual


@pytest.mark.parametrize("bar", [-2.0, 2.0])
@pytest.mark.parametrize(
    "attack",
    [
        PGDAttack(loss="ce", random_state=0),
        PGDAttack(loss="margin", random_start=False),
        PGDAttack(loss="rotate", n_restarts=2, random_state=0),
        PGDAttack(norm="l2", loss="rotate", max_iter=60, random_state=0),
        BIMAttack(),
        LeastLikelyAttack(),
        FGSMAttack(),
    ],
    ids=["ce", "margin", "rotate", "l2", "BIM", "LeastLikely", "FGSM"],
)
def test_the_climb_goes_on_until_predict_errs(points, attack, bar):
    """The module errs at 0, `predict` at the bar: before it nothing is won."""
    model = Sure(bar).fit(points, None)
    y = model.predict(points)
    norm = getattr(attack, "norm", "linf")
    eps = {"linf": 0.4, "l2": 0.8}[norm]
    result = aim(attack, model, points, y, eps=eps, clip=None).perturb(points, y)
    distance = exact_distance(model, points, norm)
    clear = np.abs(distance / eps - 1) > 1e-3
    np.testing.assert_array_equal(result.success[clear], (distance < eps)[clear])
    np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))
    assert 0.2 < result.success.mean() < 0.8
    # Those between the two boundaries tell the two apart.
    zero = np.abs(model.decision_function(points)) / np.abs(model.coef_).sum()
    assert ((zero < eps) != (distance < eps)).mean() > 0.1


@pytest.mark.parametrize("bar", [-2.0, 2.0])
def test_growing_eps_is_the_first_that_predict_errs_at(points, bar):
    model = Sure(bar).fit(points, None)
    y = model.predict(points)
    attack = GrowingEpsilonAttack(start=0, step=0.01, stop=1, clip=None)
    result = aim(attack, model, points, y).perturb(points, y)
    distance = exact_distance(model, points, "linf")
    assert (np.isfinite(result.eps) == result.success).all()
    hit = result.success
    np.testing.assert_array_equal(hit, distance < 1)
    assert (result.eps[hit] >= distance[hit] - 1e-9).all()
    assert (result.eps[hit] <= distance[hit] + 0.01 + 1e-9).all()


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_success_is_what_predict_returns_also_for_ties(name):
    """Rounded scores tie everywhere, and the two break ties in opposite ways."""

    class Tied(Sure):
        def predict(self, X):
            return (np.round(self.decision_function(X)) > self.bar).astype(int)

    X = np.random.default_rng(0).random((200, 5))
    model = Tied(1.0).fit(X, None)
    y = model.predict(X)
    attack = aim(GRADIENT_ATTACKS[name], model, X, y)
    result = attack.perturb(X, y)
    said = model.predict(result.X_adv)
    np.testing.assert_array_equal(result.success, said != y)
    assert result.success.any()
    if name == "growing":
        np.testing.assert_array_equal(result.success, np.isfinite(result.eps))


def test_a_class_made_by_hand_may_have_no_module(points):
    def predict(self, X):
        return Sure.predict(self, X)

    predict.__module__ = None
    model = type("Made", (Sure,), {"predict": predict})(0.0).fit(points, None)
    y = model.predict(points)
    assert aim(FGSMAttack(), model, points, y).score(points, y) < 1


class Contrary(TorchClassifier):
    """A network whose answers are not those of its module."""

    def predict(self, X):
        return (super().predict(X) + 1) % 10


def test_overwritten_predict_of_network_has_the_last_word():
    X, y = digits(60)
    by_class = Contrary.from_module(digits_module(), classes=np.arange(10))
    by_hand = TorchClassifier.from_module(digits_module(), classes=np.arange(10))
    by_hand.predict = by_class.predict
    for model in (by_class, by_hand):
        result = aim(PGDAttack(random_state=0), model, X, y).perturb(X)
        np.testing.assert_array_equal(result.clean_prediction, model.predict(X))
        np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))


def test_predict_is_asked_only_about_candidates(points):
    rows = []

    class Counted(Sure):
        def predict(self, X):
            rows.append(len(X))
            return super().predict(X)

    model = Counted(0.0).fit(points, None)
    y = model.predict(points)
    attack = aim(PGDAttack(eps=0.2, max_iter=10, random_state=0), model, points, y)
    rows.clear()
    result = attack.perturb(points, y)
    # All before, all after, and each error once.
    assert sum(rows) <= 2 * len(points) + result.success.sum() + 5


class Greedy(nn.Module):
    """Moves the bar by 0.3, in a way that overwrites what it is given."""

    def __init__(self, module, how):
        super().__init__()
        self.module, self.how = module, how

    def forward(self, x):
        if self.how == "in place":
            x -= 0.3
        elif self.how == "part":
            x[:, ::2].mul_(0.5)
        elif self.how == "detached":
            x.detach().sub_(0.3)
        elif self.how == "data":
            x.data.clamp_(max=0.5)
        elif self.how == "sometimes" and bool((x > 0.95).any()):
            x.clamp_(max=0.95)
        return self.module(x)


class Polite(nn.Module):
    """The same without overwriting anything."""

    def __init__(self, module, how):
        super().__init__()
        self.greedy = Greedy(module, how)

    def forward(self, x):
        return self.greedy(x.clone())


HOW = ["in place", "part", "detached", "data", "sometimes"]


class Own(ModuleAttack):
    """A step as a user writes it."""

    def perturb_module(self, module, X, y):
        leaf = X.clone().requires_grad_()
        loss = nn.functional.cross_entropy(module(leaf), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        return X + self.eps * gradient.sign()


ATTACKS = {**GRADIENT_ATTACKS, "own": Own()}


# With what a user's own attack calls a module that "sometimes" writes, is up to it.
@pytest.mark.parametrize(
    ("name", "how"),
    [pair for pair in product(ATTACKS, HOW) if pair != ("own", "sometimes")],
)
def test_a_module_that_writes_to_its_input(name, how):
    X, y = digits(120)
    X, before = X.copy(), X
    # The first samples do not show what happens "sometimes".
    order = np.argsort((X > 0.95).any(axis=1), kind="stable")
    X, before, y = X[order], before[order], y[order]
    found = []
    for kind in (Greedy, Polite):
        module = kind(digits_module(), how).eval()
        model = TorchClassifier.from_module(module, classes=np.arange(10))
        attack = aim(ATTACKS[name], model, X, y)
        found.append(attack.perturb(X, y))
        np.testing.assert_array_equal(X, before)
        assert not module._forward_pre_hooks
        x, labels = torch.from_numpy(X), torch.from_numpy(y)
        moved = attack.perturb_module(module, x, labels) if name != "own" else x
        found.append(moved)
        np.testing.assert_array_equal(X, before)
    result, moved, polite, polite_moved = found
    assert polite.success.any()
    for field in ("X_adv", "prediction", "success", "eps", "n_queries"):
        np.testing.assert_array_equal(getattr(result, field), getattr(polite, field))
    assert torch.equal(moved, polite_moved)


def test_a_step_of_a_pipeline_that_overwrites_what_it_is_given():
    X, y = digits(100)
    X = X.astype(np.float64)
    model = make_pipeline(StandardScaler(copy=False), LogisticRegression(C=0.01))
    model.fit(X.copy(), y)
    before = X.copy()
    result = aim(PGDAttack(eps=0.1, random_state=0), model, X, y).perturb(X, y)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv.copy()))
    assert np.abs(result.X_adv - X).max() <= 0.1 + 1e-12


class Hidden(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.module = how, digits_module()

    def forward(self, x):
        if self.how == "detached input":
            return self.module(x.detach())
        if self.how == "detached output":
            return self.module(x).detach()
        with torch.no_grad() if self.how == "no_grad" else torch.inference_mode():
            return self.module(x)


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
@pytest.mark.parametrize(
    "how", ["no_grad", "inference_mode", "detached output", "detached input"]
)
def test_a_module_without_a_gradient_is_named(name, how):
    X, y = digits(20)
    model = TorchClassifier.from_module(Hidden(how), classes=np.arange(10))
    attack = aim(GRADIENT_ATTACKS[name], model, X, y)
    with pytest.raises(ValueError, match="has no gradient with respect to its input"):
        attack.perturb(X, y)


@pytest.mark.parametrize(
    ("factor", "dtype"), [(1e30, np.float32), (1e30, np.float64), (1e300, np.float64)]
)
def test_numbers_that_overflow_are_named(factor, dtype):
    X, y = digits(30)
    squares = nn.Sequential(Squares(), digits_module())
    model = TorchClassifier.from_module(squares.eval(), classes=np.arange(10))
    attack = aim(PGDAttack(max_iter=2, clip=None, random_state=0), model, X, y)
    huge = np.clip(X, 0.1, 1).astype(dtype) * dtype(factor)
    with (
        pytest.warns(UserWarning, match="spacing of float32"),
        pytest.raises(ValueError, match=r"logits .* finite.*up to 1e\+30"),
    ):
        attack.perturb(huge, y)


class Squares(nn.Module):
    def forward(self, x):
        return x * x


class OtherLabels(Sure):
    """Answers with the index of a class, whatever the labels were."""

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = np.array([3, 7])
        return self


def test_a_predicted_label_that_is_no_class_is_refused(points):
    model = OtherLabels(0.0).fit(points, None)
    said = model.predict(points)
    # The first of several is named.
    points = points[np.argsort(said, kind="stable")]
    for X, first in ((points, 0), (points[::-1], 1)):
        y = model.classes_[model.predict(X)]
        named = rf"predict gives the label {first}, which is not in its classes_"
        with pytest.raises(ValueError, match=named):
            aim(FGSMAttack(), model, X, y).perturb(X, y)


def test_a_skorch_net_with_a_nonlinearity_of_its_own_is_asked():
    """It predicts the least likely class, which the module cannot know."""
    skorch = pytest.importorskip("skorch")
    X, y = digits(60)
    net = skorch.NeuralNetClassifier(
        digits_module(),
        criterion=nn.CrossEntropyLoss,
        classes=np.arange(10),
        predict_nonlinearity=torch.neg,
        train_split=None,
    ).initialize()
    attack = FGSMAttack(FrozenEstimator(net), eps=0.05).fit(X, y)
    result = attack.perturb(X)
    # A skorch net draws from the global stream whenever it predicts.
    with seeded_torch(0):
        expected = net.predict(X), net.predict(result.X_adv)
    np.testing.assert_array_equal(result.clean_prediction, expected[0])
    np.testing.assert_array_equal(result.prediction, expected[1])


def negated(pairs):
    X, y = torch.utils.data.default_collate(pairs)
    return -X, y


@pytest.mark.parametrize("where", ["dataset", "loader", "neither"])
def test_a_skorch_net_that_changes_its_samples_is_asked(where):
    skorch = pytest.importorskip("skorch", reason="attacks skorch nets")

    class Negated(skorch.dataset.Dataset):
        def transform(self, X, y):
            X, y = super().transform(X, y)
            return -X, y

    X, y = digits(60)
    own = {
        "dataset": {"dataset": Negated},
        "loader": {"iterator_valid__collate_fn": negated},
        "neither": {"iterator_valid__shuffle": False},
    }[where]
    with seeded_torch(0):
        net = skorch.NeuralNetClassifier(
            digits_module(),
            criterion=nn.CrossEntropyLoss,
            classes=np.arange(10),
            train_split=None,
            **own,
        ).initialize()
    frozen, images = FrozenEstimator(net), X.reshape(-1, 1, 8, 8)
    if where != "neither":
        for attack, samples in ((FGSMAttack, X), (SquareAttack, images)):
            with pytest.raises(TypeError, match="which may change them"):
                attack(frozen).fit(samples, y)
        with pytest.raises(TypeError, match="which may change them"):
            PopulatedRegionScorer(frozen).fit(X, y)
    attack = SquareAttack(frozen, eps=0.05, max_queries=5, random_state=0).fit(X, y)
    result = attack.perturb(X)
    with seeded_torch(0):
        expected = net.predict(X), net.predict(result.X_adv)
        differs = net.module_(torch.from_numpy(X).float()).argmax(dim=1).numpy()
    assert (differs == expected[0]).all() == (where == "neither")
    np.testing.assert_array_equal(result.clean_prediction, expected[0])
    np.testing.assert_array_equal(result.prediction, expected[1])


def test_a_skorch_net_that_answers_with_indices_is_refused():
    skorch = pytest.importorskip("skorch")
    X, y = digits(60)
    for loss in (nn.CrossEntropyLoss, nn.NLLLoss):
        net = skorch.NeuralNetClassifier(
            nn.Sequential(digits_module(), nn.Softmax(dim=1)),
            criterion=loss,
            classes=np.arange(10) + 100,
            train_split=None,
        ).initialize()
        attack = FGSMAttack(FrozenEstimator(net), clip=None)
        with pytest.raises(ValueError, match=r"predicts the numbers 0, 1, 2, \.\.\."):
            attack.fit(X, y + 100)


class Wide(Sure):
    """Its module has three logits for two classes."""


@as_module.register(Wide)
def _wide(model):
    return nn.Sequential(_sure(model), nn.ZeroPad1d((0, 1)))


@pytest.mark.parametrize("attack", [FGSMAttack(), PGDAttack(random_state=0)])
def test_logits_of_another_number_of_classes_are_refused(points, attack):
    model = Wide(0.0).fit(points, None)
    y = model.predict(points)
    message = r"one logit for each of the 2 classes. It returned shape \(\d+, 3\)"
    with pytest.raises(ValueError, match=message):
        aim(attack, model, points, y).perturb(points, y)
    X, y = digits(40)
    net = TorchClassifier.from_module(digits_module(), classes=range(11))
    with pytest.raises(ValueError, match="one logit for each of the 11 classes"):
        aim(attack, net, X, y).perturb(X, y)


class Bright(nn.Module):
    """Only the sum of its input counts: torch gives its gradient as one number."""

    def forward(self, x):
        total = x.sum(dim=1)
        return torch.stack([total - 30, 30 - total], dim=1)


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_a_gradient_that_is_one_number_for_all_features(name):
    X = np.linspace(0.3, 0.65, 200, dtype=np.float32).reshape(-1, 1) * np.ones(64)
    X = X.astype(np.float32)
    model = TorchClassifier.from_module(Bright().eval(), classes=[0, 1])
    y = model.predict(X)
    result = aim(GRADIENT_ATTACKS[name], model, X, y).perturb(X, y)
    eps = 0.251 if name == "growing" else 0.1
    eps = 1 / 8 if name == "PGD-l2" else eps
    distance = np.abs(X.sum(axis=1, dtype=np.float64) - 30) / 64
    clear = np.abs(distance - eps) > 1e-2
    np.testing.assert_array_equal(result.success[clear], (distance < eps)[clear])
