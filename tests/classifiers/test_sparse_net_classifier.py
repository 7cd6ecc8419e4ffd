"""Networks whose structure is a graph."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from robustkit.bridge import as_module
from robustkit.classifiers import SparseNetClassifier
from robustkit.datasets import fetch_mnist
from robustkit.exceptions import NarrowInputWarning
from robustkit.graphs import GraphPrior, LayeredGraph
from robustkit.networks import SparseNetwork, initialize
from robustkit.networks._initialization import INITS
from tests.classifiers.conftest import QUICK, sparse


def graph(seed=0):
    return GraphPrior(n_nodes=30).sample(seed)


def test_network_has_the_drawn_structure(digits):
    X, y = digits
    classifier = sparse().fit(X, y)
    structure = classifier.structure_
    assert structure.n_nodes == 40
    assert isinstance(classifier.module_, SparseNetwork)
    assert classifier.module_.structure == structure
    assert classifier.n_parameters_ == structure.n_parameters(64, 10)
    assert classifier.properties_.equals(structure.properties())


@pytest.mark.parametrize(
    "given",
    [
        graph(),
        graph().to_networkx(),
        nx.to_numpy_array(graph().to_networkx()),
        sp.csr_array(nx.to_scipy_sparse_array(graph().to_networkx())),
        nx.to_numpy_array(graph().to_networkx()).tolist(),
    ],
    ids=["LayeredGraph", "networkx", "adjacency", "sparse adjacency", "lists"],
)
def test_prior_may_be_a_graph_in_any_form(given, digits):
    X, y = digits
    classifier = clone(SparseNetClassifier(given, **QUICK)).fit(X, y)
    assert classifier.structure_ == graph()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nx.DiGraph([(0, 1), (1, 0)]), "acyclic"),
        (np.eye(3), "cycle 0 -> 0"),
        (np.ones((2, 3)), "square"),
        (nx.MultiGraph([(0, 1), (0, 1)]), "parallel|multi"),
        (nx.Graph(), "at least one vertex"),
    ],
)
def test_prior_that_is_no_acyclic_graph_raises(given, message, digits):
    with pytest.raises((ValueError, TypeError), match=message):
        SparseNetClassifier(given, **QUICK).fit(*digits)


def test_prior_none_is_the_default_prior(digits):
    X, y = digits
    unset, default = (
        SparseNetClassifier(prior, **QUICK).fit(X, y)
        for prior in (None, GraphPrior(n_nodes=250))
    )
    assert unset.structure_ == default.structure_
    assert unset.loss_curve_ == default.loss_curve_
    assert unset.prior is None


def test_set_params_of_default_prior():
    classifier = SparseNetClassifier().set_params(prior__n_nodes=33, lr=0.1)
    assert classifier.prior.n_nodes == 33
    assert classifier.lr == 0.1
    classifier.set_params(prior__rewiring=0.9)
    assert (classifier.prior.n_nodes, classifier.prior.rewiring) == (33, 0.9)
    given = GraphPrior(n_nodes=20)
    classifier.set_params(prior=given, prior__rewiring=0.1)
    assert classifier.prior is given
    assert (given.n_nodes, given.rewiring) == (20, 0.1)
    classifier.set_params(prior=None, prior__n_nodes=44)
    assert classifier.prior.n_nodes == 44
    with pytest.raises(ValueError, match="Invalid parameter 'n_node' for estimator"):
        SparseNetClassifier().set_params(prior__n_node=33)


def test_prior_without_seed_uses_that_of_the_classifier(digits):
    X, y = digits
    first, again, other = (
        sparse(random_state=seed).fit(X, y).structure_ for seed in (0, 0, 1)
    )
    assert first == again != other


def test_prior_with_seed_fixes_the_graph_but_not_the_weights(digits):
    X, y = digits
    prior = GraphPrior(n_nodes=40, random_state=5)
    first, other = (
        SparseNetClassifier(prior, **QUICK | {"random_state": seed}).fit(X, y)
        for seed in (0, 1)
    )
    assert first.structure_ == other.structure_ == prior.sample(5)
    assert first.loss_curve_ != other.loss_curve_


def test_prior_may_be_any_object_with_sample(digits):
    class Path:
        def sample(self, random_state=None):
            return LayeredGraph([[0, 1], [1, 2]], n_nodes=10)

    assert SparseNetClassifier(Path(), **QUICK).fit(*digits).structure_.n_layers == 3


@pytest.mark.parametrize("init", list(INITS))
@pytest.mark.parametrize("fan", ["degree", "block"])
def test_sparse_net_initial_weights(init, fan, digits):
    X, y = digits
    classifier = sparse(init=init, fan=fan, lr=1e-30, max_epochs=1).fit(X, y)
    module = SparseNetwork(classifier.structure_, 64, 10)
    seeds = np.random.RandomState(0).randint(2**31 - 1, size=2)
    _, weights_seed = np.random.RandomState(seeds[0]).randint(2**31 - 1, size=2)
    initialize(module, init, fan=fan, random_state=int(weights_seed))
    for ours, expected in zip(
        classifier.module_.parameters(), module.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("parameter", "value"), [("init", "xavier"), ("fan", "in"), ("prior", "ring")]
)
def test_invalid_sparse_net_parameter_raises(parameter, value, digits):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of Sparse"):
        SparseNetClassifier(**{parameter: value}).fit(*digits)


def test_grid_search_over_default_prior(digits):
    X, y = digits
    grid = {
        "prior__n_nodes": [60, 90],
        "prior__n_neighbors": [1, 2],
        "prior__rewiring": [0.2, 0.8],
    }
    search = GridSearchCV(SparseNetClassifier(**QUICK), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 8
    best = search.best_estimator_
    assert best.structure_.n_nodes == search.best_params_["prior__n_nodes"]
    assert np.ptp(search.cv_results_["mean_test_score"]) > 0
    module = as_module(search)
    assert torch.equal(module.edge_weight, best.module_.edge_weight)


def test_grid_search_in_a_pipeline_and_two_processes(digits):
    X, y = digits
    pipeline = Pipeline(
        [("scale", MinMaxScaler()), ("net", SparseNetClassifier(**QUICK))]
    )
    grid = {"net__prior__n_nodes": [30, 60], "net__prior__rewiring": [0.3, 0.7]}
    results = [
        GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
        .fit(X, y)
        .cv_results_["mean_test_score"]
        for n_jobs in (None, 2)
    ]
    assert np.array_equal(*results)


def path_of(n_nodes):
    return LayeredGraph(
        np.stack([np.arange(n_nodes - 1), np.arange(1, n_nodes)]), n_nodes
    )


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_narrow_input_warning_points_to_the_caller(fit, digits):
    X, y = digits
    classifier = SparseNetClassifier(path_of(3), **QUICK)
    extra = {} if fit == "fit" else {"classes": range(10)}
    expected = r"All 64 features are squeezed through 1 unit\(s\)"
    with pytest.warns(NarrowInputWarning, match=expected) as record:
        getattr(classifier, fit)(X, y, **extra)
    assert record[0].filename == __file__


def test_no_narrow_input_warning_for_few_features(digits):
    X, y = digits
    two_sources = LayeredGraph([[0, 1], [2, 2]], n_nodes=3)
    # Warnings are errors here.
    assert SparseNetClassifier(two_sources, **QUICK).fit(X[:, :2], y).n_iter_ == 3


def test_hundreds_of_layers_train(digits):
    X, y = digits
    deep = SparseNetClassifier(
        GraphPrior(n_nodes=300, n_neighbors=20, rewiring=0.05), **QUICK
    )
    with pytest.warns(NarrowInputWarning, match="squeezed"):
        deep.fit(X, y)
    assert deep.structure_.n_layers > 150
    assert np.isfinite(deep.loss_curve_).all()
    assert np.isfinite(deep.predict_proba(X)).all()


def test_every_sink_of_sparse_net_affects_the_output(digits):
    # A graph of isolated vertices is a perceptron with one hidden layer: every vertex
    # is read out, though each of them is in the first layer.
    X, y = digits
    shallow = LayeredGraph([[], []], n_nodes=50)
    classifier = SparseNetClassifier(shallow, **QUICK | {"max_epochs": 15}).fit(X, y)
    assert classifier.score(X, y) > 0.95


@pytest.mark.real_data
def test_mnist_accuracy_matches_published(real_data_home):
    X, y = fetch_mnist(data_home=real_data_home, subset=8000, return_X_y=True)
    X_test, y_test = fetch_mnist(
        "test", data_home=real_data_home, subset=2000, return_X_y=True
    )
    prior = GraphPrior(n_nodes=500, n_neighbors=2, rewiring=0.7)
    classifier = SparseNetClassifier(prior, max_epochs=15, random_state=0).fit(X, y)
    # A readout of the last layer alone gets about 22 %.
    assert classifier.score(X_test, y_test) >= 0.94


class NoPenalty:
    """A regularizer that changes nothing, except that it needs autograd."""

    def penalty(self, module, X, y):
        return torch.zeros(())


def test_fused_and_autograd_training_are_equal(digits):
    X, y = digits
    settings = {"weight_decay": 0.01, "label_smoothing": 0.1}
    fused, autograd = (
        sparse(regularizer=regularizer, **settings).fit(X, y)
        for regularizer in (None, NoPenalty())
    )
    assert fused.loss_curve_ == pytest.approx(autograd.loss_curve_, rel=1e-4)
    np.testing.assert_allclose(
        fused.predict_proba(X), autograd.predict_proba(X), rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("order", [(None, NoPenalty()), (NoPenalty(), None)])
def test_training_continues_with_another_step(order, digits):
    X, y = digits
    changing, plain = sparse(warm_start=True), sparse(warm_start=True)
    for regularizer in order:
        changing.set_params(regularizer=regularizer).fit(X, y)
        plain.fit(X, y)
    assert changing.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-3)
