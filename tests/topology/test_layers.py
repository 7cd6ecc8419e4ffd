"""The graphs of all layers are those of each layer by itself."""

import networkx as nx
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from robustkit.bridge import ActivationExtractor
from robustkit.topology import MapperGraph, mapper_graphs, node_purity

X, y = load_iris(return_X_y=True)
MAPPER = MapperGraph(n_intervals=6)


@pytest.fixture(scope="module")
def model():
    return MLPClassifier((8, 6), solver="lbfgs", random_state=0).fit(X, y)


def test_each_graph_is_that_of_its_layer(model):
    graphs = mapper_graphs(model, X, y, mapper=MAPPER)
    assert list(graphs.mappers) == list(graphs.table.index)
    assert list(graphs.table["n_units"]) == [8, 6, 3]
    for name, mapper in graphs.mappers.items():
        extractor = ActivationExtractor(FrozenEstimator(model), layer=name)
        values = extractor.fit_transform(X)
        alone = MapperGraph(n_intervals=6).fit(values)
        assert (mapper.membership_ != alone.membership_).nnz == 0
        row = graphs.table.loc[name]
        purity = node_purity(alone.membership_, y)
        sizes = alone.describe()["size"]
        assert row["purity"] == pytest.approx(np.average(purity, weights=sizes))
        assert row["pure_nodes"] == pytest.approx(np.mean(purity == 1))
        assert row["eps"] == alone.eps_
        assert row["noise"] == alone.n_noise_ / len(X)
        assert row["n_nodes"] == len(alone.graph_)
        assert row["n_edges"] == len(alone.edges_)
        assert row["n_loops"] == len(nx.cycle_basis(alone.graph_))
        assert row["n_components"] == len(list(nx.connected_components(alone.graph_)))
    # The mapper given is a model for others, and stays as it is.
    assert not hasattr(MAPPER, "graph_")


def test_some_layers_without_labels(model):
    graphs = mapper_graphs(model, X, mapper=MAPPER, layers=["logits", 0])
    assert list(graphs.table["n_units"]) == [3, 8]
    assert "purity" not in graphs.table


def test_triangles_of_nodes_that_share_a_sample_are_no_loops():
    line = np.linspace(0, 1, 100)[:, None]
    model = LogisticRegression().fit(line, line[:, 0] > 0.5)
    mapper = MapperGraph("pca", n_intervals=6, overlap=0.7)
    table = mapper_graphs(model, line, mapper=mapper).table
    assert table["n_edges"].item() > table["n_nodes"].item() > 3
    assert table["n_loops"].item() == 0


def test_a_model_without_hidden_layers_has_logits():
    model = LogisticRegression(max_iter=1000).fit(X, y)
    for layers in ("all", "logits"):
        graphs = mapper_graphs(model, X, y, mapper=MAPPER, layers=layers)
        assert list(graphs.mappers) == ["logits"]


def test_bad_input_is_refused(model):
    with pytest.raises(NotFittedError, match="MLPClassifier instance is not fitted"):
        mapper_graphs(MLPClassifier(), X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        mapper_graphs(model, X, y[:-1])
    with pytest.raises(ValueError, match="layer='relu9' is unknown"):
        mapper_graphs(model, X, y, layers="relu9")
