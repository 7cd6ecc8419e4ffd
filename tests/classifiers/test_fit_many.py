"""Classifiers fitted together are those that are fitted alone."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from robustkit._tensors import resolve_device
from robustkit.attacks import BIMAttack, FGSMAttack, ModuleAttack, PGDAttack
from robustkit.classifiers import MLPNetClassifier, SparseNetClassifier, fit_many
from robustkit.graphs import GraphPrior
from robustkit.networks import UnionStep
from robustkit.regions import PopulatedRegionRegularizer
from tests.classifiers.conftest import QUICK, sparse

PRIORS = [
    GraphPrior(n_nodes=40),
    GraphPrior(n_nodes=50, n_neighbors=3, rewiring=0.9),
    GraphPrior("erdos_renyi", n_nodes=30),
    GraphPrior(n_nodes=60, random_state=7),
]


def many(**params):
    return [SparseNetClassifier(prior, **QUICK | params) for prior in PRIORS]


def expect_equal(together, alone, X):
    assert together.structure_ == alone.structure_
    assert_allclose(together.loss_curve_, alone.loss_curve_, rtol=1e-4)
    assert_allclose(together.predict_proba(X), alone.predict_proba(X), atol=1e-3)
    assert together.n_iter_ == alone.n_iter_
    assert together.n_parameters_ == alone.n_parameters_
    assert together.n_features_in_ == alone.n_features_in_


@pytest.mark.parametrize(
    "params",
    [{}, {"label_smoothing": 0.2, "weight_decay": 0.01, "batch_size": 64}],
)
def test_fit_many_equals_separate_fits(params, digits):
    X, y = digits
    classifiers = many(**params)
    alone = [clone(classifier).fit(X, y) for classifier in classifiers]
    fitted = fit_many(classifiers, X, y)
    assert fitted == classifiers
    for ours, theirs in zip(fitted, alone, strict=True):
        expect_equal(ours, theirs, X)


class Noisy(ModuleAttack):
    """Draws from torch's stream, and is told of epochs."""

    def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
        self.sizes = len(X), epoch

    def perturb_module(self, module, X, y):
        return (X + self.eps * torch.randn_like(X).sign()).clamp(0, 1)


class Both(ModuleAttack):
    """Returns clean and perturbed samples, of which there are twice as many."""

    def perturb_module(self, module, X, y):
        return torch.cat([X, X + self.eps])


class AsArray(ModuleAttack):
    """Returns no tensor."""

    def perturb_module(self, module, X, y):
        return X.numpy()


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Both(), r"Both\.perturb_module must .* given, 64, .* Got shape \(128, 64\)"),
        (AsArray(), r"AsArray\.perturb_module must return a tensor .* Got ndarray"),
    ],
)
def test_an_adversary_returns_as_many_samples_as_it_gets(attack, message, digits):
    X, y = digits
    params = {"adversary": attack, "batch_size": 64}
    with pytest.raises(ValueError, match=message):
        many(**params)[0].fit(X, y)
    with pytest.raises(ValueError, match=message):
        fit_many(many(**params), X, y)
    with pytest.raises(ValueError, match=message):
        MLPNetClassifier((5,), **QUICK | params).fit(X, y)


REGULARIZER = PopulatedRegionRegularizer(strength=0.1, warm_up=0.4)


@pytest.mark.parametrize(
    "learners",
    [
        {"adversary": FGSMAttack(eps=0.1)},
        {"adversary": PGDAttack(eps=0.1, max_iter=3)},
        {"adversary": PGDAttack(norm="l2", eps=0.5, max_iter=3)},
        {"adversary": Noisy(eps=0.1)},
        {"regularizer": REGULARIZER},
        {"adversary": BIMAttack(eps=0.1, max_iter=2), "regularizer": REGULARIZER},
    ],
    ids=lambda learners: "-".join(map(repr, learners.values())),
)
def test_fit_many_with_an_adversary_or_a_regularizer(learners, digits):
    X, y = digits[0][:250], digits[1][:250]
    classifiers = many(**learners)
    alone = [clone(classifier).fit(X, y) for classifier in classifiers]
    for ours, theirs in zip(fit_many(classifiers, X, y), alone, strict=True):
        expect_equal(ours, theirs, X)
        for name in learners:
            assert type(getattr(ours, f"{name}_")) is type(learners[name])
        assert all(weight.requires_grad for weight in ours.module_.parameters())


def test_fit_many_with_adversaries_that_differ(digits):
    X, y = digits[0][:250], digits[1][:250]
    classifiers = [
        c for eps in (0.05, 0.2) for c in many(adversary=FGSMAttack(eps=eps))
    ]
    alone = [clone(classifier).fit(X, y) for classifier in classifiers]
    for ours, theirs in zip(fit_many(classifiers, X, y), alone, strict=True):
        expect_equal(ours, theirs, X)


def test_fit_many_with_different_settings(digits):
    X, y = digits
    classifiers = [
        clone(classifier)
        for params in ({"lr": 0.003}, {"max_epochs": 2}, {"batch_size": 128}, {})
        for classifier in many(**params)[:2]
    ]
    alone = [clone(classifier).fit(X, y) for classifier in classifiers]
    for ours, theirs in zip(fit_many(classifiers, X, y), alone, strict=True):
        expect_equal(ours, theirs, X)


def test_fit_many_with_another_seed_keeps_graph_and_initial_weights(digits):
    X, y = digits
    classifiers = fit_many([sparse(), sparse(random_state=1, lr=1e-9)], X, y)
    alone = sparse(random_state=1, lr=1e-9).fit(X, y)
    assert classifiers[1].structure_ == alone.structure_
    assert_allclose(classifiers[1].predict_proba(X), alone.predict_proba(X), atol=1e-5)
    # The batches are those of its group, in which it is the only one.
    assert_allclose(classifiers[1].loss_curve_, alone.loss_curve_, rtol=1e-5)


def test_fit_many_uses_the_batches_of_the_first(digits):
    X, y = digits
    first, second = fit_many([sparse(), sparse(random_state=1)], X, y)
    expect_equal(first, sparse().fit(X, y), X)
    alone = sparse(random_state=1).fit(X, y)
    assert second.structure_ == alone.structure_
    assert not np.allclose(second.loss_curve_, alone.loss_curve_, rtol=1e-4)


def test_partial_fit_after_fit_many_equals_after_fit(digits):
    X, y = digits
    together = fit_many([sparse(warm_start=True), sparse(warm_start=True)], X, y)[1]
    alone = sparse(warm_start=True).fit(X, y)
    for classifier in (together, alone):
        classifier.partial_fit(X, y).fit(X, y)
    expect_equal(together, alone, X)


def test_fit_many_groups_equal_settings_however_they_are_written(digits):
    X, y = digits
    settings = [
        {"weight_decay": 0.0, "lr": 0.01, "batch_size": 50},
        {"weight_decay": 0, "lr": np.float64(0.01), "batch_size": np.int64(50)},
        {"weight_decay": np.float32(0), "device": "cpu"},
    ]
    classifiers = [
        sparse(**QUICK | {"device": "auto", "random_state": i} | params)
        for i, params in enumerate(settings)
    ]
    alike = [sparse(device="cpu", random_state=i) for i in range(3)]
    if resolve_device("auto").type != "cpu":
        classifiers, alike = classifiers[:2], alike[:2]
    fit_many(classifiers, X, y)
    for ours, theirs in zip(classifiers, fit_many(alike, X, y), strict=True):
        expect_equal(ours, theirs, X)


def test_fit_many_judges_the_weights_that_it_keeps(digits, monkeypatch):
    """A network that has converged is trained on while others have not."""
    X, y = digits
    rule = {"max_epochs": "auto", "tol": 1e9, "n_iter_no_change": 2}
    alone = sparse(**rule).fit(X, y)

    def diverge(self):
        with torch.no_grad():
            for module in self.modules:
                for weight in module.parameters():
                    weight.fill_(np.nan)

    monkeypatch.setattr(UnionStep, "store", diverge)
    (ours,) = fit_many([sparse(**rule)], X, y)
    expect_equal(ours, alone, X)
    with pytest.raises(ValueError, match="index 0 are no longer finite"):
        fit_many([sparse(max_epochs=1)], X, y)


def test_fit_many_again_starts_anew(digits):
    X, y = digits
    classifiers = fit_many(many(), X, y)
    curves = [classifier.loss_curve_ for classifier in classifiers]
    again = fit_many(classifiers, X, y)
    assert curves == [classifier.loss_curve_ for classifier in again]


def test_fit_many_sets_feature_names_and_classes(two_digits):
    X, y = two_digits
    X = pd.DataFrame(X).add_prefix("pixel")
    for classifier in fit_many(many(), X, y):
        assert classifier.feature_names_in_.tolist() == X.columns.tolist()
        assert classifier.classes_.tolist() == ["one", "zero"]
        assert classifier.score(X, y) > 0.9


@pytest.mark.parametrize(
    ("classifiers", "error", "message"),
    [
        ([], ValueError, "at least one classifier"),
        ([sparse(), LogisticRegression()], TypeError, "at index 1"),
        ([sparse(early_stopping=True)], ValueError, "needs early_stopping=False"),
        ([sparse(), sparse(lr=-1)], ValueError, "'lr' parameter"),
        ([sparse()] * 2, ValueError, "different objects"),
    ],
)
def test_fit_many_with_unsupported_classifiers_raises(
    classifiers, error, message, digits
):
    with pytest.raises(error, match=message):
        fit_many(classifiers, *digits)


def test_fit_many_with_one_class_raises(digits):
    X, _ = digits
    with pytest.raises(ValueError, match="at least 2 classes"):
        fit_many(many(), X, np.zeros(len(X)))


def test_fit_many_names_the_diverged_classifier(digits):
    X, y = digits
    classifiers = many(max_epochs=1)
    classifiers[1].set_params(lr=1e30)
    with pytest.raises(ValueError, match="index 1 are no longer finite"):
        fit_many(classifiers, X, y)


@pytest.fixture
def double_precision():
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def test_fit_many_in_double_precision_equals_separate_fits(digits, double_precision):
    params = {**QUICK, "max_epochs": 1}
    (ours,) = fit_many([SparseNetClassifier(**params)], *digits)
    theirs = SparseNetClassifier(**params).fit(*digits)
    assert ours.module_.bias.dtype == torch.float64
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)


def test_adversaries_of_different_losses_differ_by_rounding_alone(
    digits, double_precision
):
    """In double precision no gradient is so near zero that rounding turns its sign.

    Random starts depend on no weight, which rounding would change.
    """
    X, y = digits[0][:250].astype(np.float64), digits[1][:250]
    classifiers = [
        SparseNetClassifier(
            prior,
            adversary=PGDAttack(eps=0.1, max_iter=3, loss=loss),
            **QUICK,
        )
        for prior, loss in zip(PRIORS, ("ce", "margin", "dlr", "ce"), strict=True)
    ]
    alone = [clone(classifier).fit(X, y) for classifier in classifiers]
    for ours, theirs in zip(fit_many(classifiers, X, y), alone, strict=True):
        assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        pairs = zip(ours.module_.parameters(), theirs.module_.parameters(), strict=True)
        for weight, other in pairs:
            torch.testing.assert_close(weight, other, rtol=1e-6, atol=1e-9)
