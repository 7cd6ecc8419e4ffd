"""The table of a study against a loop that a user could write."""

import numpy as np
import pytest
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score

from robustkit.attacks import FGSMAttack, GrowingEpsilonAttack
from robustkit.classifiers import SparseNetClassifier
from robustkit.graphs import GraphPrior, LayeredGraph, graph_properties
from robustkit.study import RobustnessStudy
from tests.study.studies import small_data

X, Y, X_TEST, Y_TEST = small_data(n_train=120, n_test=40)

SPACE = {"prior__n_nodes": [30, 45], "lr": stats.uniform(0.005, 0.02)}


@pytest.fixture(scope="module")
def table():
    """What the study finds of three graphs, each trained from two initialisations."""
    network = SparseNetClassifier(max_epochs=2, batch_size=40, device="cpu")
    return (
        RobustnessStudy(
            network,
            SPACE,
            n_graphs=3,
            inits=["normal", "he_uniform"],
            attacks={"fgsm": FGSMAttack(eps=0.2), "few": (GrowingEpsilonAttack(), 5)},
            analyses={"own": lambda model, *_: {"depth": model.structure_.n_layers}},
            device="cpu",
            random_state=7,
        )
        .fit(X, Y, X_TEST, Y_TEST)
        .results_
    )


def measured_by_hand(row):
    """Every figure of a row, from its parameters and seeds."""
    prior = GraphPrior(n_nodes=row["prior__n_nodes"])
    graph = prior.sample(row["graph_seed"])
    model = SparseNetClassifier(
        graph,
        init=row["init"],
        lr=row["lr"],
        max_epochs=2,
        batch_size=40,
        random_state=row["seed"],
    ).fit(X, Y)
    predicted = model.predict(X_TEST)
    fgsm = FGSMAttack(FrozenEstimator(model), eps=0.2).fit(X, Y)
    moved = model.predict(fgsm.perturb(X_TEST, Y_TEST).X_adv)
    first_right = np.flatnonzero(predicted == Y_TEST)[:5]
    growing = GrowingEpsilonAttack(FrozenEstimator(model)).fit(X, Y)
    report = growing.report(X_TEST[first_right], Y_TEST[first_right], diagnostics=False)
    right = predicted == Y_TEST
    return {
        **graph_properties(graph),
        "n_parameters": graph.n_parameters(64, 10),
        "directed_path_length": graph.properties(directed=True)["average_path_length"],
        "own_depth": graph.n_layers,
        "clean_accuracy": right.mean(),
        "f1_macro": f1_score(Y_TEST, predicted, average="macro", zero_division=0),
        "fgsm_robust_accuracy": (right & (moved == Y_TEST)).mean(),
        "fgsm_error_rate": (moved[right] != Y_TEST[right]).mean(),
        "few_average_eps": report["average_eps"],
        "few_n_samples": len(first_right),
    }


@pytest.mark.parametrize("model", range(6))
def test_every_row_is_what_a_loop_by_hand_finds(table, model):
    row = table.loc[model]
    by_hand = measured_by_hand(row)
    found = row[list(by_hand)].astype(float).to_numpy()
    np.testing.assert_allclose(found, [*by_hand.values()], rtol=1e-12)


def test_every_graph_is_trained_from_every_initialisation(table):
    assert table["model"].tolist() == [0, 1, 2, 3, 4, 5]
    assert table["graph"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["init"].tolist() == ["normal", "he_uniform"] * 3
    for name in ("prior__n_nodes", "lr", "graph_seed", "n_edges"):
        assert (table.groupby("graph")[name].nunique() == 1).all()
    assert table["lr"].nunique() == table["graph_seed"].nunique() == 3
    assert table["lr"].between(0.005, 0.025).all()
    assert set(table["prior__n_nodes"]) <= {30, 45}


def test_a_study_of_one_graph_varies_what_is_left():
    graph = LayeredGraph([[0, 0, 1], [1, 2, 3]], 4)
    network = SparseNetClassifier(graph, max_epochs=1, device="cpu")
    space = {"lr": [0.01, 0.02], "batch_size": [40, 60]}
    study = RobustnessStudy(
        network, space, n_graphs=4, inits=["normal"], attacks={}, analyses={},
        device="cpu", random_state=0,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="squeeze"):
        table = study.fit(X, Y, X_TEST, Y_TEST).results_
    settings = {*zip(table["lr"], table["batch_size"], strict=True)}
    assert settings == {(0.01, 40), (0.01, 60), (0.02, 40), (0.02, 60)}
    assert set(table["n_edges"]) == {3}
