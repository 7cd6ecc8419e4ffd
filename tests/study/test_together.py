"""Which engine, and how many at once."""

import pytest
import torch

from robustkit.classifiers import SparseNetClassifier
from robustkit.regions import PopulatedRegionRegularizer
from robustkit.study import _together
from robustkit.study._plan import GraphPopulation, PrunedPopulation, Task
from robustkit.study._together import choose_engine, how_many_together, needed_bytes


class Own(SparseNetClassifier):
    """Trains in a way that nobody knows."""

    def fit(self, X, y):
        return super().fit(X + 1, y)


PLAIN = GraphPopulation(None)


def test_what_is_asked_for_is_done():
    assert choose_engine("single", PLAIN, {}, "cpu") == "single"
    assert choose_engine("batched", PLAIN, {}, "cpu") == "batched"
    assert choose_engine("auto", PLAIN, {}, "cpu") == "single"


def test_on_a_gpu_auto_is_batched_where_that_is_possible(monkeypatch):
    monkeypatch.setattr(_together, "resolve_device", torch.device)
    stopping = GraphPopulation(SparseNetClassifier(early_stopping=True))
    assert choose_engine("auto", PLAIN, {}, "cuda") == "batched"
    assert choose_engine("auto", stopping, {}, "cuda") == "single"


@pytest.mark.parametrize(
    ("population", "space", "message"),
    [
        (GraphPopulation(Own()), {}, "the estimator is a Own"),
        (PrunedPopulation(None), {}, "prunes each network by itself"),
        (PLAIN, {"early_stopping": [True]}, "has 'early_stopping'"),
        (
            GraphPopulation(
                SparseNetClassifier(regularizer=PopulatedRegionRegularizer())
            ),
            {},
            "has 'regularizer'",
        ),
    ],
)
def test_what_can_not_be_batched_is_refused(population, space, message):
    with pytest.raises(ValueError, match=f"{message}.*Use engine='single'"):
        choose_engine("batched", population, space, "cpu")


def test_memory_grows_with_weights_and_with_vertices_times_samples():
    """In floats of four bytes: ten a weight, eight a vertex and sample."""
    assert needed_bytes(3, 0, 7) == 3 * needed_bytes(1, 0, 1) == 3 * 40
    assert needed_bytes(0, 2, 5) == 10 * needed_bytes(0, 1, 1) == 10 * 32
    assert needed_bytes(3, 2, 5) == 3 * 40 + 10 * 32


def test_half_of_the_free_memory_is_filled(monkeypatch):
    settings = {}, {"batch_size": 512}
    tasks = [Task(0, 0, 0, "normal", 0, 0, params, 100, 1000) for params in settings]
    largest = needed_bytes(1000, 100, 512)
    monkeypatch.setattr(_together, "_free", lambda: 20 * largest + 1)
    assert how_many_together(tasks, 128, "cpu") == 10
    monkeypatch.setattr(_together, "_free", lambda: 0)
    assert how_many_together(tasks, 128, "cpu") == 1


def test_where_the_system_does_not_tell_a_little_is_free(monkeypatch):
    assert _together._free() > 0
    monkeypatch.setattr(_together.os, "sysconf", None, raising=False)
    monkeypatch.delattr(_together.os, "sysconf")
    assert _together._free() == 2**30
