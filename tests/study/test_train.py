"""Training one by one, together and step by step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone

from robustkit.attacks import MinimalDistanceAttack, PGDAttack, SquareAttack
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.graphs import GraphPrior
from robustkit.study import _run, _train
from robustkit.study._plan import Data, Task
from robustkit.study._train import (
    needed_bytes,
    networks_that_fit,
    small_groups,
    train_and_prune,
    train_one,
    train_together,
)
from tests.study.studies import assert_same_table, small_data, small_study

DATA = Data(*small_data())
X, y, X_test, y_test = small_data()


def networks(n, **params):
    """Networks of one seed."""
    quick = {"max_epochs": 2, "batch_size": 50, "lr": 0.01, "device": "cpu"}
    return [
        SparseNetClassifier(
            GraphPrior(n_nodes=40 + k, random_state=k),
            random_state=3,
            **{**quick, **params},
        )
        for k in range(n)
    ]


def weights_of(model):
    return np.concatenate(
        [w.detach().numpy().ravel() for w in model.module_.parameters()]
    )


@pytest.mark.parametrize("pieces", [[5], [2, 3], [1, 1, 3]])
def test_a_model_does_not_depend_on_those_trained_with_it(pieces):
    alone = [train_one(network, DATA)[0] for network in networks(5)]
    together = networks(5)
    start, found = 0, []
    for n in pieces:
        found += train_together(together[start : start + n], DATA)
        start += n
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_allclose(
            weights_of(one.model), weights_of(other.model), rtol=1e-4, atol=1e-6
        )


def test_a_study_has_the_same_table_with_either_engine():
    single = small_study(engine="single").fit(*small_data()).results_
    batched = small_study(engine="batched").fit(*small_data()).results_
    assert batched["engine"].unique().tolist() == ["batched"]
    assert_same_table(single, batched, rtol=1e-4)


def test_adversarial_training_and_attacks_are_the_same_with_either_engine():
    network = SparseNetClassifier(
        max_epochs=2,
        batch_size=50,
        lr=0.01,
        adversary=PGDAttack(eps=0.05, max_iter=2),
        device="cpu",
    )
    attacks = {
        "pgd": PGDAttack(eps=0.1, max_iter=3),
        "few": (MinimalDistanceAttack(max_iter=10), 4),
        "square": (SquareAttack(eps=0.1, max_queries=10), 3),
    }
    how = {"estimator": network, "attacks": attacks, "inits": ["he_uniform"]}
    single, batched = (
        small_study(engine=engine, **how).fit(*small_data()).results_
        for engine in ("single", "batched")
    )
    # How long a row stays in the search may depend on the others of its batch.
    tables = [t.drop(columns="few_n_queries") for t in (single, batched)]
    assert_same_table(*tables, rtol=1e-4)


def test_more_networks_than_are_attacked_together(monkeypatch):
    tables = [small_study(engine="batched").fit(*small_data()).results_]
    monkeypatch.setattr(_run, "_MEASURED_TOGETHER", 3)
    tables.append(small_study(engine="batched").fit(*small_data()).results_)
    assert_same_table(*tables, rtol=1e-6)


def tasks_of(seeds, n_parameters=1000, **params):
    """One task for each seed."""
    return [
        Task(k, k, k, "normal", seed, 0, params, 50, n_parameters)
        for k, seed in enumerate(seeds)
    ]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80))
def test_small_groups_are_of_one_seed_and_hold_every_task_once(seeds):
    tasks = tasks_of(seeds)
    groups = small_groups(tasks, SparseNetClassifier(), 100)
    assert sorted(groups) == list(range(len(tasks)))
    for number, group in groups.items():
        assert number in [task.number for task in group]
        assert all(groups[task.number] is group for task in group)
        assert len({task.seed for task in group}) == 1
        n_alike = seeds.count(group[0].seed)
        n_groups = -(-n_alike // 16)
        assert n_alike // n_groups <= len(group) <= min(16, -(-n_alike // n_groups))


@pytest.mark.parametrize(
    ("estimator", "n_parameters", "n_samples", "params", "size"),
    [
        (SparseNetClassifier(max_epochs=30), 50_000, 60_000, {}, 3),
        (SparseNetClassifier(max_epochs=30), 500_000, 60_000, {}, 1),
        (SparseNetClassifier(max_epochs=90), 50_000, 20_000, {"max_epochs": 30}, 10),
        (SparseNetClassifier(max_epochs="auto"), 50_000, 20_000, {}, 3),
        (
            SparseNetClassifier(max_epochs=10, adversary=PGDAttack(max_iter=2)),
            50_000,
            60_000,
            {},
            3,
        ),
        (SparseNetClassifier(max_epochs=90), 2000, 1500, {}, 15),
        (SparseNetClassifier(max_epochs=2), 5_000_000, 100, {}, 5),
    ],
)
def test_what_trains_for_long_is_trained_with_few_others(
    estimator, n_parameters, n_samples, params, size
):
    """A study that is killed loses a group; and large networks need much memory."""
    tasks = tasks_of([0] * 30, n_parameters, **params)
    groups = small_groups(tasks, estimator, n_samples)
    assert len(groups[0]) == size


def test_one_that_fails_does_not_take_the_others_with_it():
    together = networks(3)
    make = together[1]._make_module

    def spoilt(*args):
        module = make(*args)
        with torch.no_grad():
            module.bias.fill_(torch.inf)
        return module

    together[1]._make_module = spoilt
    found = train_together(together, DATA)
    assert [bool(one.error) for one in found] == [False, True, False]
    assert [one.model is None for one in found] == [False, True, False]
    alone = train_one(networks(3)[2], DATA)[0]
    np.testing.assert_allclose(
        weights_of(found[2].model), weights_of(alone.model), rtol=1e-4, atol=1e-6
    )


def test_where_memory_is_short_half_as_many_are_trained_together(monkeypatch):
    sizes = []

    def short(classifiers, X, y):
        sizes.append(len(classifiers))
        if len(classifiers) > 2:
            raise torch.OutOfMemoryError("short")
        for classifier in classifiers:
            classifier.fit(X, y)

    monkeypatch.setattr(_train, "fit_many", short)
    found = train_together(networks(5), DATA)
    assert sizes == [5, 2, 3, 1, 2]
    assert [one.structure.n_nodes for one in found] == [40, 41, 42, 43, 44]


def test_bad_parameters_are_no_failure_of_a_model():
    with pytest.raises(ValueError, match="'lr' parameter"):
        train_one(networks(1, lr=-1.0)[0], DATA)[0]


@pytest.fixture(scope="module")
def pruner():
    quick = {"max_epochs": 2, "batch_size": 50, "lr": 0.01, "device": "cpu"}
    dense = MLPNetClassifier((12, 10, 8), random_state=1, **quick)
    return PrunedNetClassifier(
        dense, amount=0.3, n_steps=3, retrain_epochs=1, random_state=2
    )


def test_pruning_gives_the_dense_network_and_every_step(pruner):
    dense, *steps = train_and_prune(pruner, DATA)
    assert [one.step for one in (dense, *steps)] == [0, 1, 2, 3]
    assert dense.density == 1
    assert dense.structure.n_edges == 12 * 10 + 10 * 8
    assert dense.n_parameters == 64 * 12 + 120 + 80 + 80 + 12 + 10 + 8 + 10
    alone = pruner.estimator.fit(X, y)
    assert_array_equal(weights_of(dense.model), weights_of(alone))
    expected = pruner.fit(X, y).steps_
    for one, step in zip(steps, expected, strict=True):
        assert one.density == step.density
        assert one.n_parameters == step.n_parameters
        assert_array_equal(weights_of(one.model), weights_of(step.estimator))


def test_a_dense_network_that_fails_is_one_row(pruner):
    network = clone(pruner.estimator).set_params(lr=1e30)
    bad = PrunedNetClassifier(network, n_steps=2)
    (only,) = train_and_prune(bad, DATA)
    assert "Use a smaller 'lr'" in only.error
    assert only.model is None


def test_a_study_of_pruning(pruner):
    study = small_study(
        estimator=pruner,
        param_space={"amount": [0.2, 0.4]},
        population="pruning",
        n_graphs=2,
    )
    table = study.fit(*small_data()).results_
    assert table["model"].tolist() == list(range(16))
    assert table["step"].tolist() == [0, 1, 2, 3] * 4
    assert table["seed"].nunique() == 4
    first = table.query("graph == 0 and init == 'normal'")
    (amount,) = first["amount"].unique()
    assert first["density"].round(1).tolist() == [
        round((1 - amount) ** k, 1) for k in range(4)
    ]
    # Density is a function of the parameters; every model is one of its own.
    values = study.correlator_.values_
    assert len(values) == 16
    assert "n_parameters" in values
    assert "density" not in values
    for number in (4, 9, 14):
        row = table.iloc[number]
        rebuilt = study.rebuild(number).fit(X, y)
        assert rebuilt.score(X_test, y_test) == row["clean_accuracy"]


def test_graphs_of_pruning_are_not_chosen_by_size(pruner):
    study = small_study(
        estimator=pruner, population="pruning", param_space={}, n_parameters=(1, 2)
    )
    with pytest.raises(ValueError, match="chooses among graphs"):
        study.fit(*small_data())


def test_the_dense_network_needs_initialisations():
    pruner = PrunedNetClassifier(TorchClassifier("mlp"))
    study = small_study(estimator=pruner, population="pruning", param_space={})
    with pytest.raises(ValueError, match="must have a parameter 'init'"):
        study.fit(*small_data())


def test_seconds_are_shared_among_those_trained_together(monkeypatch):
    """By a clock that goes on by twelve seconds whenever it is looked at."""
    clock = iter(range(100, 1000, 12))
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(_train, "time", fake)
    assert train_one(*networks(1), DATA)[0].seconds == 12
    assert [one.seconds for one in train_together(networks(3), DATA)] == [4, 4, 4]
    dense = MLPNetClassifier((10, 10), max_epochs=1, random_state=0)
    pruner = PrunedNetClassifier(dense, n_steps=3, retrain_epochs=1, random_state=0)
    assert [one.seconds for one in train_and_prune(pruner, DATA)] == [3, 3, 3, 3]


def test_memory_grows_with_weights_and_with_vertices_times_samples():
    """In floats of four bytes: ten a weight, eight a vertex and sample."""
    assert needed_bytes(3, 0, 7) == 3 * needed_bytes(1, 0, 1) == 3 * 40
    assert needed_bytes(0, 2, 5) == 10 * needed_bytes(0, 1, 1) == 10 * 32
    assert needed_bytes(3, 2, 5) == 3 * 40 + 10 * 32


def test_half_of_the_free_memory_is_filled(monkeypatch):
    settings = {}, {"batch_size": 512}
    tasks = [Task(0, 0, 0, "normal", 0, 0, params, 100, 1000) for params in settings]
    largest = needed_bytes(1000, 100, 512)
    monkeypatch.setattr(_train, "_free", lambda: 20 * largest + 1)
    assert networks_that_fit(tasks, 128, "cpu") == 10
    monkeypatch.setattr(_train, "_free", lambda: 0)
    assert networks_that_fit(tasks, 128, "cpu") == 1


def test_where_the_system_does_not_tell_a_little_is_free(monkeypatch):
    assert _train._free() > 0
    monkeypatch.setattr(_train.os, "sysconf", None, raising=False)
    monkeypatch.delattr(_train.os, "sysconf")
    assert _train._free() == 2**30
