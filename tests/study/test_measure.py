"""What is measured of a model, and what a user's own analysis may give."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    PGDAttack,
    SquareAttack,
    best_of,
)
from robustkit.classifiers import SparseNetClassifier
from robustkit.regions import PopulatedRegionScorer
from robustkit.study import _measure
from robustkit.study._measure import analyse, attacked, make_recipe, shape_of, timed
from robustkit.study._plan import Data, check_design
from robustkit.topology import MapperGraph
from tests.study.images import small_images
from tests.study.studies import small_data, small_study

NO_DATA = Data(*(np.empty(0) for _ in range(4)))


def found(value):
    return analyse("own", lambda *_: {"v": value}, None, NO_DATA, "cpu")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (True, True),
        (np.int8(3), 3),
        (np.float16(0.5), 0.5),
        (np.longdouble(1) / 4, 0.25),
        (Fraction(1, 4), 0.25),
        (-np.inf, -np.inf),
        (2**80, 2**80),
    ],
)
def test_any_real_number_becomes_a_plain_one(value, expected):
    assert found(value) == {"own_v": expected}
    assert type(found(value)["own_v"]) is type(expected)


def test_nan_is_a_number():
    assert np.isnan(found(np.float32("nan"))["own_v"])


@pytest.mark.parametrize("value", ["good", None, 1j, [1], np.ones(1), 10**400])
def test_anything_else_is_told_at_once(value):
    with pytest.raises(TypeError, match=r"\['own'\] must return a dict of names and"):
        found(value)


def test_a_block_takes_as_long_as_the_clock_says(monkeypatch):
    clock = iter([10.0, 13.5])
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(_measure, "time", fake)
    seconds = {}
    with timed(seconds, "it"):
        assert seconds == {}
    assert seconds == {"it": 3.5}


def test_everything_computes_where_the_study_does():
    study = small_study(
        attacks={"fgsm": FGSMAttack()},
        analyses={
            "regions": PopulatedRegionScorer(device="cpu"),
            "mapper": (MapperGraph(n_intervals=7), "scaled"),
            "other": PopulatedRegionScorer(SparseNetClassifier()),
        },
    )
    design = check_design(study)
    recipe = make_recipe(design, seed=0, device="cuda", engine="single")
    assert recipe.attacks["fgsm"][0].device == "cuda"
    other = recipe.analyses["other"]
    assert (other.device, other.estimator.device) == ("cuda", "cuda")
    mapper, unit = recipe.analyses["mapper"]
    assert (mapper.n_intervals, unit) == (7, "scaled")
    # What names a device of its own keeps it.
    assert recipe.analyses["regions"].device == "cpu"


def test_scaled_shape_does_not_depend_on_the_scale_of_the_logits():
    images = small_images()
    X, y = images.X_train, images.y_train
    data = Data(X, y, X, y)
    network = SparseNetClassifier(max_epochs=3, random_state=0).fit(X, y)
    scaled, fixed = (MapperGraph(eps=0.22), "scaled"), MapperGraph(eps=0.22)
    before = analyse("mapper", scaled, network, data, "cpu")
    before_fixed = analyse("mapper", fixed, network, data, "cpu")
    module = network.module_
    # Powers of two, so that rounding is the same.
    module.output_weight.data *= 4
    module.output_bias.data *= 4
    assert analyse("mapper", scaled, network, data, "cpu") == before
    assert analyse("mapper", fixed, network, data, "cpu") != before_fixed


@pytest.mark.parametrize(("n_right", "weak_mass"), [(10, 0), (9, 0), (8, 1), (0, 1)])
def test_a_node_is_weak_below_nine_in_ten(n_right, weak_mass):
    """Ten points in one place are one node."""
    y, y_pred = np.zeros(10, int), (np.arange(10) >= n_right).astype(int)
    mapper = MapperGraph(n_intervals=1, eps=1.0, min_samples=2)
    activations = np.zeros((10, 3)) + np.linspace(0, 1e-3, 10)[:, None]
    found = shape_of(mapper, activations, y, y_pred)
    assert (found["n_nodes"], found["n_edges"], found["noise"]) == (1, 0, 0)
    assert (found["weak_mass"], found["purity"]) == (weak_mass, 1)


def test_points_of_no_cluster_are_noise():
    activations = np.arange(40.0).reshape(10, 4) * 1000
    activations[:4] = np.linspace(0, 1e-3, 4)[:, None]
    mapper = MapperGraph(n_intervals=1, eps=1.0, min_samples=2)
    found = shape_of(mapper, activations, np.zeros(10, int), np.zeros(10, int))
    assert found["noise"] == 0.6
    assert found["weak_mass"] == 0


def test_an_attack_on_images_of_which_none_is_right_has_no_error_rate():
    X, y, X_test, _ = small_data()
    model = SparseNetClassifier(max_epochs=1, random_state=0).fit(X, y)
    wrong = (model.predict(X_test) + 1) % 10
    found = attacked("few", FGSMAttack(), 3, model, Data(X, y, X_test, wrong))
    assert list(found) == ["few_error_rate"]
    assert np.isnan(found["few_error_rate"])


ATTACKS = {
    "step": FGSMAttack(),
    "ball": PGDAttack(norm="l2", max_iter=2, random_state=0),
    "growing": GrowingEpsilonAttack(step=0.05),
    "square": SquareAttack(max_queries=5, random_state=0),
    "of radii": best_of([FGSMAttack(), PGDAttack(max_iter=2, random_state=0)]),
    "of distances": best_of([MinimalDistanceAttack(max_iter=20)]),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_of_the_report_of_any_attack_only_numbers_are_kept(name):
    data = Data(*small_data())
    model = SparseNetClassifier(max_epochs=2, device="cpu", random_state=0)
    model.fit(data.X, data.y)
    row = attacked("a", ATTACKS[name], None, model, data)
    assert "a_robust_accuracy" in row
    assert {type(value) for value in row.values()} <= {int, float}
    assert not row.keys() & {"a_norm", "a_loss", "a_stronger", "a_best_of", "a_eps"}
    # Nor those of the attacks that are joined.
    assert not any("__" in name for name in row)
    # With a radius an attack goes as far as it may.
    assert ("a_average_eps" in row) == (name in ("growing", "of distances"))


def test_study_of_joined_attacks_is_correlated():
    joined = best_of([FGSMAttack(), PGDAttack(max_iter=2, random_state=0)])
    study = small_study(attacks={"joined": joined}, n_graphs=3).fit(*small_data())
    assert "joined_robust_accuracy" in study.columns_.measures
    assert len(study.correlator_.correlations_)
