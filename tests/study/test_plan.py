"""What a study is given, and the graphs that are drawn from it."""

import warnings
from collections import Counter
from itertools import islice, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.model_selection import ParameterGrid

from robustkit.attacks import FGSMAttack
from robustkit.classifiers import SparseNetClassifier
from robustkit.graphs import GraphPrior, LayeredGraph, draw_structure
from robustkit.study import RobustnessStudy, _plan
from robustkit.study._plan import (
    Draw,
    check_design,
    check_param_space,
    draw_graphs,
    draw_settings,
    split_params,
)

SPACE = {"prior__n_nodes": [40, 60, 80], "prior__rewiring": [0.2, 0.6]}
SHAPE = (64, 10)


def first_settings(space, n, seed=0):
    return list(islice(draw_settings(space, np.random.RandomState(seed)), n))


@given(seed=st.integers(0, 100), n_rounds=st.integers(1, 3))
def test_a_grid_is_gone_through_round_after_round(seed, n_rounds):
    points = first_settings(SPACE, 6 * n_rounds, seed)
    assert points == points[:6] * n_rounds

    def key(point):
        return sorted(point.items())

    assert sorted(points[:6], key=key) == sorted(ParameterGrid(SPACE), key=key)


def test_an_empty_space_has_one_point():
    assert first_settings({}, 2) == [{}, {}]


def test_distributions_and_lists_are_drawn_from():
    space = {"prior__rewiring": stats.uniform(0, 1), "prior__n_nodes": [40, 60]}
    points = first_settings(space, 200)
    assert {point["prior__n_nodes"] for point in points} == {40, 60}
    rewiring = [point["prior__rewiring"] for point in points]
    assert stats.kstest(rewiring, "uniform").pvalue > 0.01
    # Numbers that a store can keep.
    assert {type(value) for value in rewiring} == {float}


@settings(max_examples=10)
@given(seed=st.integers(0, 100))
def test_every_graph_has_the_size_wanted_and_none_is_passed_over(seed):
    low, high = 1000, 2000
    draws = draw_graphs(GraphPrior(), SPACE, 5, (low, high), SHAPE, seed)
    everything = draw_graphs(GraphPrior(), SPACE, 60, None, SHAPE, seed)
    right = [draw for draw in everything if low <= draw.n_parameters <= high]
    assert draws == right[:5]
    for draw in draws:
        params, others = split_params(draw.params)
        graph = GraphPrior(**params).sample(draw.seed)
        assert graph.n_parameters(*SHAPE) == draw.n_parameters
        assert (graph.n_nodes, len(graph.sources)) == (draw.n_nodes, draw.n_sources)
        assert not others


def test_an_impossible_size_says_what_was_tried():
    message = (
        r"outside n_parameters=\(1, 2\)\. 1,000 graphs were tried, with [\d,]+ to "
        r"[\d,]+ parameters, and 0 of the 3 wanted were found"
    )
    with pytest.raises(ValueError, match=message):
        draw_graphs(GraphPrior(), SPACE, 3, (1, 2), SHAPE, 0)


def test_a_prior_that_is_a_graph_is_that_graph():
    graph = LayeredGraph(np.array([[0, 0], [1, 2]]), 3)
    assert draw_structure(graph, 3, replace_seed=True) == graph


def test_the_seed_of_a_prior_does_not_make_all_graphs_the_same():
    prior = GraphPrior(random_state=0)
    assert draw_structure(prior, 1, replace_seed=True) != draw_structure(
        prior, 2, replace_seed=True
    )


def test_names_and_values_are_checked():
    estimator = SparseNetClassifier(GraphPrior())
    check_param_space({"prior__n_nodes": [3], "lr": stats.uniform()}, estimator)
    with pytest.raises(ValueError, match="did you mean 'lr'"):
        check_param_space({"lrr": [0.1]}, estimator)
    with pytest.raises(ValueError, match="the study sets itself"):
        check_param_space({"random_state": [0]}, estimator)
    with pytest.raises(ValueError, match=r"Got 'abc' instead"):
        check_param_space({"lr": "abc"}, estimator)
    # The order of a set of words is another in every session.
    for values in ({"a", "b"}, frozenset("ab"), {"a": 1}, iter("ab"), [], 3):
        with pytest.raises(ValueError, match="must be a list of values, not empty"):
            check_param_space({"fan": values}, estimator)
    for values in ((1,), range(1, 3), np.array([1, 2]), pd.Series([1], index=[7])):
        check_param_space({"batch_size": values}, estimator)


def test_values_are_taken_by_their_place():
    space = {
        "prior__n_nodes": pd.Series([40, 60], index=[7, 9]),
        "prior__rewiring": stats.uniform(0, 1),
    }
    points = first_settings(space, 50)
    assert {point["prior__n_nodes"] for point in points} == {40, 60}


class Die:
    """A distribution that is none of scipy's."""

    def __init__(self, n_sides):
        self.n_sides = n_sides

    def rvs(self, random_state):
        return random_state.randint(self.n_sides)


def test_any_object_with_rvs_is_a_distribution():
    points = first_settings({"prior__n_attachments": Die(3)}, 100)
    assert {point["prior__n_attachments"] for point in points} == {0, 1, 2}


@pytest.mark.parametrize("n_graphs", [1, 5, 6, 7, 13])
def test_as_many_graphs_as_wanted_from_a_grid_of_six(n_graphs):
    draws = draw_graphs(GraphPrior(), SPACE, n_graphs, None, SHAPE, 0)
    assert len(draws) == n_graphs
    times = Counter(tuple(sorted(draw.params.items())) for draw in draws)
    # Every point of the grid has its turn before any has another.
    assert max(times.values()) - min([*times.values()] + [0] * (6 - len(times))) <= 1
    assert len({draw.seed for draw in draws}) == n_graphs
    # Fewer graphs are the first of more.
    assert draws == draw_graphs(GraphPrior(), SPACE, 20, None, SHAPE, 0)[:n_graphs]


def test_both_ends_of_a_size_are_wanted():
    sizes = [d.n_parameters for d in draw_graphs(GraphPrior(), {}, 5, None, SHAPE, 0)]
    size = min(sizes), max(sizes)
    found = draw_graphs(GraphPrior(), {}, 5, size, SHAPE, 0)
    assert [draw.n_parameters for draw in found] == sizes


def test_patience_begins_anew_with_every_graph_found(monkeypatch):
    """Ten in a row may be in vain, not ten altogether."""
    everything = draw_graphs(GraphPrior(), {}, 40, None, SHAPE, 0)
    sizes = np.array([draw.n_parameters for draw in everything])
    limit = int(np.sort(sizes)[len(sizes) // 3])
    is_right = sizes <= limit
    gaps = np.diff(np.flatnonzero(np.r_[True, is_right])) - 1
    n_wanted = int(is_right.sum())
    assert gaps.sum() > gaps.max() + 1
    monkeypatch.setattr(_plan, "_PATIENCE", int(gaps.max()) + 1)
    found = draw_graphs(GraphPrior(), {}, n_wanted, (0, limit), SHAPE, 0)
    assert [draw.n_parameters for draw in found] == sizes[is_right].tolist()
    monkeypatch.setattr(_plan, "_PATIENCE", int(gaps.max()))
    with pytest.raises(ValueError, match=f"{gaps.max()} graphs in a row"):
        draw_graphs(GraphPrior(), {}, n_wanted, (0, limit), SHAPE, 0)


@pytest.mark.parametrize(
    ("n_sources", "n_features", "n_narrow"),
    [([1, 2, 3], 3, 2), ([2], 3, 1), ([3], 64, 0), ([1, 2], 2, 0), ([0, 2, 9], 9, 2)],
)
def test_two_sources_are_narrow_for_three_features(n_sources, n_features, n_narrow):
    draws = [Draw({}, 0, n_sources=n) for n in n_sources]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _plan._warn_of_narrow_graphs(draws, n_features)
    told = [str(w.message).partition(" graphs")[0] for w in caught]
    assert told == ([f"{n_narrow} of {len(draws)}"] if n_narrow else [])


def test_a_study_that_names_nothing_has_the_documented_design():
    design = check_design(RobustnessStudy())
    assert set(design.attacks) == {"fgsm", "pgd", "growing"}
    attacks = {name: attack for name, (attack, _) in design.attacks.items()}
    assert attacks["fgsm"].eps == attacks["pgd"].eps == 0.1
    assert attacks["pgd"].max_iter == 10
    assert all(n_images is None for _, n_images in design.attacks.values())
    assert set(design.analyses) == {"regions", "mapper"}
    assert set(design.param_space) == {"prior__n_nodes", "prior__rewiring"}
    for values, ends in zip(
        design.param_space.values(), [(100, 300), (0.5, 0.9)], strict=True
    ):
        np.testing.assert_allclose(values, np.linspace(*ends, 5))
    assert design.n_parameters is None
    assert len(design.inits) == 6
    assert check_design(RobustnessStudy(population="pruning")).param_space == {}


def test_a_size_may_be_one_number_and_a_number_of_images_one():
    for one in (1, np.int64(1)):
        study = RobustnessStudy(n_parameters=(5, 5), attacks={"a": (FGSMAttack(), one)})
        design = check_design(study)
        assert design.n_parameters == (5, 5)
        assert design.attacks["a"][1] == 1


@pytest.mark.parametrize("size", [(5, 4), (1, 2, 3), [1], ("a", "b"), (None, 2)])
def test_a_size_is_a_pair_in_order(size):
    with pytest.raises(ValueError, match=r"None or a pair \(low, high\) with low"):
        check_design(RobustnessStudy(n_parameters=size))


@given(seed=st.integers(0, 20), n_graphs=st.integers(1, 8))
@settings(max_examples=10)
def test_graphs_that_are_drawn_later_are_the_same(seed, n_graphs):
    prior, args = GraphPrior(), (SPACE, n_graphs, None, SHAPE, seed)
    whole = draw_graphs(prior, *args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plan, "_DRAWN_AHEAD", 3)
        few = draw_graphs(prior, *args)
        # Where the size matters, all are drawn.
        assert draw_graphs(prior, SPACE, n_graphs, (1, 10**6), SHAPE, seed) == whole
    assert few[:3] == whole[:3]
    assert [draw[:2] for draw in few] == [draw[:2] for draw in whole]
    assert all(draw[2:] == (0, 0, 0) for draw in few[3:])


def test_several_seeds_are_the_same_for_all_initialisations():
    study = RobustnessStudy(n_graphs=3, inits=["he_normal", "uniform"], n_seeds=4)
    design = check_design(study)
    tasks = design.population.tasks(design, SHAPE, 0)
    cells = [(task.graph, task.init, task.seed) for task in tasks]
    seeds = {task.seed for task in tasks}
    assert len(seeds) == 4
    assert sorted(cells) == sorted(product(range(3), study.inits, seeds))
    assert [task.number for task in tasks] == [task.model for task in tasks]
