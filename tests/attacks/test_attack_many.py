"""Classifiers that are attacked together are attacked as if each were alone."""

from functools import cache

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch.utils.data import TensorDataset

from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    MinimalDistanceAttack,
    PGDAttack,
    SquareAttack,
    _many,
    attack_many,
    fit_to_each,
    report_each,
)
from robustkit.bounds import CertifiedRadius
from robustkit.classifiers import SparseNetClassifier, fit_many
from robustkit.graphs import GraphPrior
from robustkit.networks import NetworkUnion
from tests.attacks.victims import digits

QUICK = {"lr": 0.01, "max_epochs": 4, "batch_size": 32, "device": "cpu"}


@cache
def classifiers():
    """Three networks that are mostly right, and one that has no gradient."""
    X, y = digits()
    made = [
        SparseNetClassifier(GraphPrior(n_nodes=n), random_state=0, **QUICK)
        for n in (30, 40, 50, 35)
    ]
    fitted = fit_many(made, X, y)
    with torch.no_grad():
        fitted[3].module_.bias[:] = -100.0
    return fitted


def few(n=20):
    X, y = digits()
    return X[:n], y[:n]


def one_by_one(attack, models, X, y):
    return [
        clone(attack).set_params(estimator=FrozenEstimator(model)).fit(X, y)
        for model in models
    ]


def expect_equal(results, expected, *, same_queries=True):
    for ours, theirs in zip(results, expected, strict=True):
        assert_allclose(ours.X_adv, theirs.X_adv, atol=1e-5)
        assert_allclose(ours.eps, theirs.eps, atol=1e-5)
        assert_allclose(ours.confidence, theirs.confidence, atol=1e-4)
        for name in ("y", "clean_prediction", "prediction", "success"):
            assert_array_equal(getattr(ours, name), getattr(theirs, name))
        if same_queries:
            assert_array_equal(ours.n_queries, theirs.n_queries)
        assert (ours.target is None) == (theirs.target is None)
        assert ours.name == theirs.name
        assert repr(ours.settings) == repr(theirs.settings)


SEARCHES = [
    FGSMAttack(eps=0.1),
    BIMAttack(eps=0.1),
    LeastLikelyAttack(eps=0.2),
    GrowingEpsilonAttack(),
    *(
        PGDAttack(eps=0.08, loss=loss, max_iter=6, n_restarts=2, random_state=3)
        for loss in ("ce", "margin", "dlr", "rotate")
    ),
    PGDAttack(norm="l2", eps=0.5, max_iter=6, random_state=3),
]


@pytest.fixture
def unions(monkeypatch):
    """How many networks each union had."""
    sizes, put_together = [], _many.unions_of

    def noted(*args):
        groups = put_together(*args)
        sizes.extend(len(places) for places, union in groups if union is not None)
        return groups

    monkeypatch.setattr(_many, "unions_of", noted)
    return sizes


@pytest.mark.parametrize("attack", SEARCHES, ids=repr)
def test_results_are_those_of_one_by_one(attack, unions):
    X, y = few()
    expected = [a.perturb(X, y) for a in one_by_one(attack, classifiers(), X, y)]
    expect_equal(attack_many(attack, classifiers(), X, y), expected)
    assert unions == [4]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_minimal_distances_are_those_of_one_by_one(norm, unions):
    attack, (X, y) = MinimalDistanceAttack(norm=norm, max_iter=20), few()
    expected = [a.perturb(X, y) for a in one_by_one(attack, classifiers(), X, y)]
    found = attack_many(attack, classifiers(), X, y)
    # How long a row stays in the search may depend on the others of its batch.
    expect_equal(found, expected, same_queries=False)
    for ours, theirs in zip(found, expected, strict=True):
        assert_allclose(ours.distance, theirs.distance, rtol=1e-4)
    assert unions == [4]
    assert np.isinf(found[3].distance).any()


def test_no_more_samples_go_together_than_a_batch_or_the_cache_holds(
    unions, monkeypatch
):
    X, y = few()
    monkeypatch.setattr(_many, "_NUMBERS_AT_ONCE", 44 * 64)
    attack = PGDAttack(eps=0.1, max_iter=3, batch_size=45, random_state=0)
    expected = [a.perturb(X, y) for a in one_by_one(attack, classifiers(), X, y)]
    expect_equal(attack_many(attack, classifiers(), X, y), expected)
    assert unions == [2, 2]
    monkeypatch.setattr(_many, "_NUMBERS_AT_ONCE", 60 * 64)
    expect_equal(attack_many(attack, classifiers(), X, y), expected)
    monkeypatch.setattr(_many, "_MOST_ON_A_CPU", 40)
    expect_equal(attack_many(attack, classifiers(), X, y), expected)
    assert unions[2:] == [3, 2, 2]


def test_one_eps_per_sample_or_feature():
    X, y = few()
    eps = np.linspace(0.01, 0.2, len(X))
    for attack in (
        FGSMAttack(eps=eps[:, None]),
        PGDAttack(eps=np.linspace(0, 0.2, 64), max_iter=3, random_state=0),
        PGDAttack(eps=np.linspace(0, 0.2, 64)[None], max_iter=3, random_state=0),
        FGSMAttack(eps=0.5, eps_unit="std"),
    ):
        expected = [a.perturb(X, y) for a in one_by_one(attack, classifiers(), X, y)]
        expect_equal(attack_many(attack, classifiers(), X, y), expected)


def test_images_keep_their_shape():
    X, y = few()
    found = attack_many(FGSMAttack(), classifiers(), X.reshape(-1, 1, 8, 8), y)
    rows = attack_many(FGSMAttack(), classifiers(), X, y)
    for ours, flat in zip(found, rows, strict=True):
        assert ours.X_adv.shape == (len(X), 1, 8, 8)
        assert_array_equal(ours.X_adv.reshape(X.shape), flat.X_adv)


class Subclass(PGDAttack):
    """May search in a way of its own."""


def test_what_cannot_be_joined_is_attacked_by_itself(unions):
    X, y = few()
    double = clone(classifiers()[0]).fit(*digits())
    double.module_.double()
    models = [
        classifiers()[0],
        LogisticRegression(max_iter=1000).fit(*digits()),
        FrozenEstimator(classifiers()[1]),
        double,
    ]
    attack = PGDAttack(eps=0.1, max_iter=3, random_state=0)
    expected = [a.perturb(X, y) for a in one_by_one(attack, models, X, y)]
    expect_equal(attack_many(attack, models, X, y), expected)
    assert unions == [2]
    for other in (Subclass(max_iter=3, random_state=0), SquareAttack(max_queries=20)):
        other.set_params(random_state=0)
        expected = [a.perturb(X, y) for a in one_by_one(other, models, X, y)]
        expect_equal(attack_many(other, models, X, y), expected)
    assert unions == [2]


def test_lists_and_samples_that_do_not_fit_are_taken_as_by_one_classifier():
    X, y = few(5)
    attack, models = FGSMAttack(eps=0.1), classifiers()[:2]
    alone = one_by_one(attack, models, X, y)
    found = attack_many(attack, models, X.tolist(), y.tolist())
    for ours, one in zip(found, alone, strict=True):
        theirs = one.perturb(X.tolist(), y.tolist())
        assert ours.X_adv.dtype == theirs.X_adv.dtype
        assert_array_equal(ours.X_adv, theirs.X_adv)
    with pytest.raises(ValueError, match="64"):
        attack_many(attack, models, X[:, :40], y)


def test_classifiers_of_other_labels_are_not_put_together(unions):
    X, y = few(60)
    named = clone(classifiers()[0]).fit(X, np.char.add("d", y.astype(str)))
    with pytest.raises(ValueError, match="must hold classes of the model"):
        attack_many(FGSMAttack(), [classifiers()[0], named], X, y)
    assert unions == []


def test_certified_radii_of_many():
    X, y = few(6)
    proof = CertifiedRadius()
    expected = [a.radii(X, y) for a in one_by_one(proof, classifiers(), X, y)]
    for ours, theirs in zip(
        attack_many(proof, classifiers(), X, y), expected, strict=True
    ):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "attack",
    [
        PGDAttack(eps=0.1, max_iter=3, random_state=0),
        FGSMAttack(eps=0.1),
        GrowingEpsilonAttack(),
        MinimalDistanceAttack(max_iter=10),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Robust accuracy is")
def test_reports_are_those_of_one_by_one(attack, unions):
    """Each with samples of its own, and all diagnostics."""
    X, y = digits()
    models = classifiers()
    pieces = [(X[k : k + 15 + k], y[k : k + 15 + k]) for k in range(len(models))]
    alone = one_by_one(attack, models, X, y)
    for ours, one, (rows, labels) in zip(
        report_each(fit_to_each(attack, models, X, y), pieces),
        alone,
        pieces,
        strict=True,
    ):
        theirs = one.report(rows, labels)
        assert ours.index.tolist() == theirs.index.tolist()
        for name, value in theirs.items():
            if name == "n_queries" and isinstance(attack, MinimalDistanceAttack):
                continue
            if isinstance(value, float):
                assert_allclose(ours[name], value, rtol=1e-4, err_msg=name)
            else:
                assert ours[name] == value
    assert unions == [4]


def test_neither_attack_nor_classifiers_change():
    X, y = few()
    attack, before = PGDAttack(max_iter=2, random_state=0), X.copy()
    weights = [c.module_.edge_weight.clone() for c in classifiers()]
    attack_many(attack, classifiers(), X, y)
    assert attack.estimator is None
    assert not hasattr(attack, "estimator_")
    assert_array_equal(X, before)
    for classifier, weight in zip(classifiers(), weights, strict=True):
        assert torch.equal(classifier.module_.edge_weight, weight)


@pytest.mark.parametrize(
    ("attack", "models", "error", "message"),
    [
        (FGSMAttack(), [], ValueError, "at least one fitted classifier. Got none"),
        (FGSMAttack(), LogisticRegression(), ValueError, "must be a list"),
        (LogisticRegression(), [1], TypeError, "'attack' must be an attack.*Logistic"),
        (FGSMAttack, [1], TypeError, "'attack' must be an attack"),
    ],
)
def test_bad_input_is_refused(attack, models, error, message):
    with pytest.raises(error, match=message):
        attack_many(attack, models, *few())


def test_streams_are_refused():
    X, y = map(torch.from_numpy, few())
    with pytest.raises(TypeError, match=r"takes arrays\. Got a TensorDataset"):
        attack_many(FGSMAttack(), classifiers(), TensorDataset(X, y), None)


@pytest.mark.parametrize("eps", [0.1, np.linspace(0, 0.2, 64)])
def test_adversaries_of_networks_in_training_draw_their_own_starts(eps):
    """Each from its own seed, and from its own weights."""
    X, y = few()
    modules = [c.module_ for c in classifiers()[:3]]
    attacks = [PGDAttack(eps=eps, max_iter=3, random_state=k) for k in range(3)]
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    union = NetworkUnion(modules, [len(X)] * 3)
    joint = attacks[0].perturb_union(
        union, tensors[0].repeat(3, 1), tensors[1].repeat(3), attacks
    )
    for attack, module, points in zip(
        attacks, modules, joint.view(3, *X.shape), strict=True
    ):
        alone = attack.perturb_module(module, *tensors)
        torch.testing.assert_close(points, alone)


@pytest.mark.parametrize(
    "other", [PGDAttack(eps=0.2), FGSMAttack(), Subclass(), PGDAttack(max_iter=3)]
)
def test_adversaries_that_differ_are_not_made_one(other):
    first = PGDAttack(eps=0.1)
    X, y = map(torch.from_numpy, few(2))
    assert first.perturb_union(None, X, y, [first, other]) is None


def test_adversaries_with_one_eps_per_sample_are_not_made_one():
    """The batches of the union have the samples of each network once more."""
    X, y = map(torch.from_numpy, few(4))
    attack = PGDAttack(eps=np.full((4, 1), 0.1))
    assert attack.perturb_union(None, X, y, [attack, attack]) is None
