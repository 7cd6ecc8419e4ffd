"""A classifier whose graph changes while it is trained is a classifier as any other."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from robustkit.attacks import FGSMAttack
from robustkit.bounds import CertifiedRadius
from robustkit.bridge import as_module
from robustkit.classifiers import SparseNetClassifier, fit_many
from robustkit.graphs import GraphPrior
from robustkit.regions import PopulatedRegionRegularizer
from robustkit.study import RobustnessStudy
from tests.classifiers.conftest import QUICK, weights
from tests.classifiers.test_skops import stored, through_arrays

DENSER = GraphPrior("erdos_renyi", n_nodes=40, edge_probability=0.3)

each_method = pytest.mark.parametrize("rewire", ["set", "rigl"])


def rewired(rewire="set", **params):
    return SparseNetClassifier(DENSER, rewire=rewire, **QUICK | params)


@each_method
def test_every_epoch_has_its_graph_and_all_have_as_many_weights(rewire, digits):
    classifier = rewired(rewire, max_epochs=6).fit(*digits)
    first, *others = graphs = classifier.structures_
    assert len(graphs) == classifier.n_iter_ == 6
    assert first == SparseNetClassifier(DENSER, **QUICK).fit(*digits).structure_
    assert graphs[-1] == classifier.structure_ == classifier.module_.structure
    assert len(set(graphs[:3])) == 3
    # The last of six epochs is in the last quarter, in which RigL rewires no more.
    assert (graphs[-2] == graphs[-1]) == (rewire == "rigl")
    for graph in others:
        assert graph.n_edges == first.n_edges
        assert graph.n_parameters(64, 10) == classifier.n_parameters_
        for name in ("layer", "sources", "sinks"):
            np.testing.assert_array_equal(getattr(graph, name), getattr(first, name))
    assert classifier.properties_.equals(graphs[-1].properties())


def test_without_rewire_no_graphs_are_kept(digits):
    classifier = rewired().fit(*digits)
    assert len(classifier.structures_) == 3
    classifier.set_params(rewire=None).fit(*digits)
    assert not hasattr(classifier, "structures_")


def test_first_epoch_is_that_of_the_static_graph(digits):
    static = SparseNetClassifier(DENSER, **QUICK).fit(*digits)
    assert rewired().fit(*digits).loss_curve_[0] == static.loss_curve_[0]


@each_method
def test_one_seed_is_one_model(rewire, digits):
    first, again, other = (
        rewired(rewire, random_state=seed).fit(*digits) for seed in (0, 0, 1)
    )
    assert first.structures_ == again.structures_ != other.structures_
    assert (weights(first) == weights(again)).all()


@each_method
def test_early_stopping_brings_back_the_graph_of_the_best_weights(rewire, digits):
    X, y = digits
    # The accuracy of so few steps rises and falls.
    classifier = rewired(
        rewire, early_stopping=True, max_epochs=12, n_iter_no_change=3, lr=0.05
    ).fit(X, y)
    best = int(np.argmax(classifier.validation_scores_))
    assert best < len(classifier.structures_) - 1
    assert classifier.structure_ == classifier.structures_[best]
    assert classifier.module_.structure == classifier.structure_
    # The same epochs without a choice among them.
    shorter = rewired(rewire, early_stopping=True, max_epochs=best + 1, lr=0.05)
    if rewire == "set":
        assert (weights(shorter.fit(X, y)) == weights(classifier)).all()
    classifier.partial_fit(X, y)
    assert len(classifier.structures_) == classifier.n_iter_


def test_partial_fits_rewire_too(digits):
    classifier = rewired()
    for _ in range(3):
        classifier.partial_fit(*digits, classes=range(10))
    assert len(set(classifier.structures_)) == 3
    assert classifier.structure_ == classifier.structures_[-1]


@pytest.mark.parametrize(
    "again", [stored, through_arrays, lambda net: pickle.loads(pickle.dumps(net))]
)
@each_method
def test_copy_from_a_file_predicts_and_trains_on(rewire, again, digits):
    X, y = digits
    classifier = rewired(rewire).fit(X, y)
    twin = again(classifier)
    np.testing.assert_array_equal(twin.predict_proba(X), classifier.predict_proba(X))
    assert twin.structures_ == classifier.structures_
    for net in (twin, classifier):
        net.partial_fit(X, y)
    assert twin.structure_ == classifier.structure_
    assert (weights(twin) == weights(classifier)).all()


def test_clone_searches_over_both_parameters(digits):
    grid = {"rewire": [None, "set", "rigl"], "rewire_fraction": [0.1, 0.5]}
    search = GridSearchCV(clone(rewired()), grid, cv=2).fit(*digits)
    assert len(search.cv_results_["params"]) == 6


@each_method
def test_rewired_network_is_seen_attacked_and_certified(rewire, digits):
    X, y = digits
    classifier = rewired(rewire, max_epochs=15).fit(X, y)
    logits = as_module(classifier)(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(logits, classifier.decision_function(X), atol=1e-4)
    frozen = FrozenEstimator(classifier)
    attack = FGSMAttack(frozen, eps=0.1).fit(X, y)
    assert attack.score(X, y) < classifier.score(X, y)
    radii = CertifiedRadius(frozen, method="interval").fit(X, y).radii(X[:20], y[:20])
    assert radii.max() > 0


@each_method
def test_regularizer_and_adversary_train_a_rewired_network(rewire, digits):
    classifier = rewired(
        rewire,
        regularizer=PopulatedRegionRegularizer(),
        adversary=FGSMAttack(eps=0.05),
    ).fit(*digits)
    assert len(set(classifier.structures_)) > 1


def test_stream_is_rewired_as_an_array_is(digits):
    X, y = digits
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    streamed, whole = rewired().fit(data), rewired().fit(X, y)
    assert streamed.structures_ == whole.structures_


def test_fit_many_refuses_and_a_study_trains_one_by_one(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"needs rewire=None\. Got .*'set'"):
        fit_many([rewired()], X, y)
    wide = SparseNetClassifier(GraphPrior(n_nodes=60, rewiring=1.0), rewire="set")
    space = {"prior__n_nodes": [60]}
    together = RobustnessStudy(
        wide, space, n_graphs=2, engine="batched", random_state=0
    )
    with pytest.raises(ValueError, match=r"has 'rewire'.*Use engine='single'"):
        together.fit(X, y)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("rewire", "SET"), ("rewire_fraction", 0), ("rewire_fraction", 1)],
)
def test_invalid_rewiring_raises(parameter, value, digits):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of Sparse"):
        rewired().set_params(**{parameter: value}).fit(*digits)
