"""The searches, step by step, against what is written down in numpy."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.attacks._attacked_model import AttackedModel
from robustkit.attacks._geometry import sample_keys
from robustkit.attacks._one_pixel import _module_or_none
from robustkit.attacks._pixel_certificate import PixelCertifier, _Boxes
from robustkit.attacks._pixel_evaluators import images_of, make_evaluator
from robustkit.attacks._pixel_searches import (
    Found,
    _draw,
    _first_generation,
    _mutate,
    _partners,
    evolve,
    try_everything,
)
from robustkit.attacks._pixel_space import PixelSpace
from tests.attacks.pixel_victims import fitted, images


class Recorder:
    """A model of one feature: it says how far a candidate is from a secret one."""

    def __init__(self, space, secret, fools=(), lies=()):
        self.space, self.secret = space, np.array(secret, dtype=float)
        self.fools, self.lies = set(fools), set(lies)
        self.asked = []

    def __call__(self, rows, pixel, level):
        rows, pixel, level = (part.numpy() for part in (rows, pixel, level))
        self.asked += list(zip(rows, pixel, map(tuple, level), strict=True))
        here = np.stack(np.unravel_index(pixel, self.space.grid), axis=1)
        point = np.hstack([here, level])
        distance = np.abs(point - self.secret).sum(axis=1)
        claims = [
            self._key(*c) in self.fools | self.lies
            for c in zip(pixel, level, strict=True)
        ]
        return torch.from_numpy(distance), torch.tensor(claims, dtype=torch.bool)

    def confirm(self, rows, pixel, level):
        assert len(rows) == len(pixel) == len(level)
        return np.array(
            [self._key(p, v) in self.fools for p, v in zip(pixel, level, strict=True)]
        )

    @staticmethod
    def _key(pixel, level):
        return int(pixel), *map(int, level)


def space_of(shape, levels, n=None):
    n = int(np.prod(shape)) if n is None else n
    return PixelSpace(n, shape, np.zeros(n), np.ones(n), levels)


@pytest.mark.parametrize(("shape", "levels"), [((2, 3), 4), ((2, 1, 3), 3)])
def test_everything_is_tried_once_ends_first(shape, levels):
    space = space_of(shape, levels)
    model = Recorder(space, [0] * (2 + space.n_channels))
    device = torch.device("cpu")
    found = try_everything(model, model.confirm, space, 2, device)
    assert not found.fooled.any()
    assert (found.pixel == -1).all()
    ends = list(itertools.product((0, levels - 1), repeat=space.n_channels))
    grid = list(itertools.product(range(levels), repeat=space.n_channels))
    expected = [
        (row, pixel, tuple(map(float, value)))
        for values in (ends, grid)
        for row in range(2)
        for pixel in range(space.n_pixels)
        for value in values
    ]
    assert model.asked == expected
    assert (found.n_queries == space.n_pixels * (len(ends) + len(grid))).all()


@pytest.mark.parametrize("lies", [(), [(0, 0), (0, 3), (1, 0)]])
def test_the_first_that_predict_confirms_is_kept(lies):
    space = space_of((2, 3), 4)
    model = Recorder(space, [0, 0, 0], fools=[(1, 3), (2, 0), (0, 1)], lies=lies)
    device = torch.device("cpu")
    found = try_everything(model, model.confirm, space, 3, device)
    assert found.fooled.all()
    assert (found.pixel == 1).all()
    assert (found.level == 3).all()
    # Ends only; all of one chunk are asked about.
    assert (found.n_queries == 12).all()
    lone = Recorder(space, [0, 0, 0], fools=[(5, 2)])
    found = try_everything(lone, lone.confirm, space, 1, device)
    assert (found.pixel[0], found.level[0, 0], found.n_queries[0]) == (5, 2, 36)


def test_candidates_beyond_one_chunk_are_tried_as_well():
    space = space_of((30, 50), 3)
    last = Recorder(space, [0, 0, 0], fools=[(1499, 1)])
    found = try_everything(last, last.confirm, space, 1, torch.device("cpu"))
    assert found.pixel[0] == 1499
    assert found.n_queries[0] == 1500 * 2 + 1500 * 3
    early = Recorder(space, [0, 0, 0], fools=[(0, 0)])
    found = try_everything(early, early.confirm, space, 1, torch.device("cpu"))
    assert found.n_queries[0] == 2048


@pytest.mark.parametrize("levels", [10**4, 10**4 + 1])
def test_so_many_candidates_are_refused(levels):
    space = space_of((1, 10**4), levels)
    model = Recorder(space, [0, 0, 0], fools=[(0, 0)])
    arguments = model, model.confirm, space, 1, torch.device("cpu")
    if levels == 10**4:
        assert try_everything(*arguments).fooled.all()
    else:
        with pytest.raises(
            ValueError, match=r"levels=10001 and 1 channels has 1.0e\+08"
        ):
            try_everything(*arguments)


def test_notes_ask_about_one_then_three_then_twelve():
    asked = []

    def confirm(rows, pixel, level):
        asked.append((rows.tolist(), pixel.tolist()))
        return pixel == 7

    found = Found(3, 1, confirm)
    rows = np.array([1] * 8 + [0] * 3 + [2])
    pixel = np.array([*range(8), 7, 1, 2, 5])
    found.note(rows, pixel, pixel[:, None] / 2)
    assert asked == [
        ([0, 1, 2], [7, 0, 5]),
        ([1, 1, 1], [1, 2, 3]),
        ([1, 1, 1, 1], [4, 5, 6, 7]),
    ]
    np.testing.assert_array_equal(found.fooled, [True, True, False])
    np.testing.assert_array_equal(found.pixel, [7, 7, -1])
    np.testing.assert_array_equal(found.level[:, 0], [3.5, 3.5, 0])
    asked.clear()
    # What is known is not asked again, and what is kept stays.
    found.note(np.array([0, 1]), np.array([7, 7]), np.ones((2, 1)))
    assert asked == []
    assert found.level[0, 0] == 3.5
    found.note(np.array([2, 2]), np.array([6, 7]), np.ones((2, 1)), most=1)
    assert asked == [([2], [6])]
    assert not found.fooled[2]
    found.note(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 1)))


def test_the_first_generation_is_uniform_in_place_and_normal_in_value():
    space = space_of((5, 4), 256)
    keys = sample_keys(
        torch.rand(40, 20, generator=torch.Generator().manual_seed(0)), 0
    )
    genes = _first_generation(space, keys, 200).double()
    assert genes.shape == (40, 200, 3)
    assert genes.min() >= 0
    assert genes.max() <= 1
    # Places and values are drawn apart.
    related = np.corrcoef(genes.flatten(0, 1).T.numpy())
    assert np.abs(related - np.eye(3)).max() < 0.03
    place, value = genes[..., :2].flatten(), genes[..., 2].flatten()
    assert abs(place.mean() - 0.5) < 0.01
    assert abs(place.var() - 1 / 12) < 0.002
    assert abs(value.mean() - 0.5) < 0.02
    # Normal of deviation 1/2 around the middle: a third of it is beyond the ends.
    for end in (0, 1):
        assert abs((value == end).double().mean() - 0.1587) < 0.01
    inside = (value > 0.25) & (value < 0.75)
    assert abs(inside.double().mean() - 0.3829) < 0.015


def reference_mutation(population, fitness, noise, n_places):
    """Storn and Price's, written for one member at a time."""
    n_images, size, n_genes = population.shape
    trial = np.empty_like(population)
    for i in range(n_images):
        scale = 0.5 + 0.5 * noise[i, -1]
        draws = noise[i, :-1].reshape(size, 2 + n_genes)
        best = population[i, fitness[i].argmin()]
        for k in range(size):
            others = [(k + step) % size for step in range(1, size)]
            a = min(int(draws[k, 0] * (size - 1)), size - 2)
            one = others.pop(a)
            two = others[min(int(draws[k, 1] * (size - 2)), size - 3)]
            base = best if k % 2 == 0 else population[i, k]
            gene = base + scale * (population[i, one] - population[i, two])
            for place in range(n_places):
                if not 0 <= gene[place] <= 1:
                    gene[place] = draws[k, 2 + place]
            gene[n_places:] = gene[n_places:].clip(0, 1)
            trial[i, k] = gene
    return trial


@pytest.mark.parametrize(("size", "n_places", "n_genes"), [(3, 1, 2), (8, 2, 5)])
def test_mutation_is_that_of_the_definition(size, n_places, n_genes):
    rng = np.random.default_rng(0)
    population = rng.random((30, size, n_genes))
    fitness, noise = rng.random((30, size)), rng.random((30, size * (2 + n_genes) + 1))
    noise[0], noise[1] = 0, 1
    expected = reference_mutation(population, fitness, noise, n_places)
    given = [torch.from_numpy(part.copy()) for part in (population, fitness, noise)]
    found = _mutate(*given, n_places).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # Some were outside.
    assert (found[..., n_places:] == 0).any()
    # The parents are as they were.
    np.testing.assert_array_equal(given[0].numpy(), population)


@pytest.mark.parametrize("size", [3, 6])
def test_partners_are_those_of_the_definition(size):
    draws = np.random.default_rng(0).random((20, size, 2))
    one, two = (part.numpy() for part in _partners(torch.from_numpy(draws)))
    for i, k in itertools.product(range(20), range(size)):
        others = [(k + step) % size for step in range(1, size)]
        assert one[i, k] == others.pop(int(draws[i, k, 0] * (size - 1)))
        assert two[i, k] == others[int(draws[i, k, 1] * (size - 2))]


def reference_evolution(model, space, x, pop_size, max_iter, seed):
    """Differential evolution as it is written down, one image at a time."""
    keys = sample_keys(x, seed)
    n_places = len(space.grid)
    parents = _first_generation(space, keys, pop_size)
    fitness = reference_ask(model, space, parents.numpy())
    for generation in range(1, max_iter + 1):
        turn = (generation - 1) % 8
        if turn == 0:
            noise = _draw(keys, parents, generation).numpy()
        trial = reference_mutation(parents.numpy(), fitness, noise[:, turn], n_places)
        new = reference_ask(model, space, trial)
        better = new < fitness
        parents = torch.from_numpy(np.where(better[..., None], trial, parents.numpy()))
        fitness = np.where(better, new, fitness)
    return fitness


def reference_ask(model, space, genes):
    """A share of the height, of the width, and of the levels."""
    n_places = len(space.grid)
    place = [
        np.minimum((genes[..., k] * length).astype(int), length - 1)
        for k, length in enumerate(space.grid)
    ]
    pixel = np.ravel_multi_index(place, space.grid)
    level = np.round(genes[..., n_places:] * (space.levels - 1))
    rows = np.repeat(np.arange(len(genes)), genes.shape[1])
    asked = rows, pixel.ravel(), level.reshape(len(rows), -1)
    return model(*map(torch.from_numpy, asked))[0].numpy().reshape(pixel.shape)


@pytest.mark.parametrize(
    ("shape", "levels"), [((6, 7), 101), ((3, 2, 4), 11), (None, 5)]
)
def test_evolution_is_that_of_the_definition(shape, levels):
    space = space_of(shape, levels, 42 if shape is None or len(shape) == 2 else 24)
    n = space.n_pixels * space.n_channels
    x = torch.rand(3, n, generator=torch.Generator().manual_seed(0))
    secret = [length - 1 for length in space.grid] + [levels // 2] * space.n_channels
    ours, theirs = Recorder(space, secret), Recorder(space, secret)
    size = {"pop_size": 20, "max_iter": 19}
    found = evolve(ours, ours.confirm, space, x, **size, seed=5)
    reference_evolution(theirs, space, x, **size, seed=5)
    assert ours.asked == theirs.asked
    assert (found.n_queries == 20 * 20).all()
    pixels = np.array([pixel for _, pixel, _ in ours.asked])
    values = np.array([level for *_, level in ours.asked])
    assert set(pixels) == set(range(space.n_pixels))
    assert (values.min(axis=0) == 0).all()
    assert (values.max(axis=0) == levels - 1).all()


def test_evolution_ends_where_it_is_fooled_and_goes_on_where_predict_is_not():
    space = space_of((2, 2), 11)
    x = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    everything = list(itertools.product(range(4), range(11)))
    size = {"pop_size": 6, "max_iter": 5}
    easy = Recorder(space, [0, 0, 0], fools=everything)
    found = evolve(easy, easy.confirm, space, x, **size, seed=0)
    assert found.fooled.all()
    assert (found.n_queries == 6).all()
    liar = Recorder(space, [0, 0, 0], lies=everything)
    found = evolve(liar, liar.confirm, space, x, **size, seed=0)
    assert not found.fooled.any()
    assert (found.n_queries == 6 * 6).all()
    one = evolve(liar, liar.confirm, space, x, pop_size=6, max_iter=1, seed=0)
    assert (one.n_queries == 12).all()


def test_evolution_keeps_the_member_that_fools_best():
    space = space_of((3, 3), 21)
    x = torch.rand(2, 9, generator=torch.Generator().manual_seed(0))
    model = Recorder(
        space, [1, 1, 15], fools=list(itertools.product(range(9), range(10, 21)))
    )
    found = evolve(model, model.confirm, space, x, pop_size=40, max_iter=1, seed=0)
    for i in range(2):
        mine = [(p, v[0]) for row, p, v in model.asked if row == i and v[0] >= 10]
        distance = [
            abs(p // 3 - 1) + abs(p % 3 - 1) + abs(v - 15) for p, v in mine[:40]
        ]
        kept = found.pixel[i], found.level[i, 0]
        assert distance[mine.index(kept)] == min(distance)


def boxes_of(low, high):
    low, high = np.array(low, float), np.array(high, float)
    n = len(low)
    return _Boxes(np.arange(n), np.arange(n) + 10, low, high)


def test_boxes_are_cut_in_their_widest_channel_at_a_level_while_there_is_one():
    boxes, middle = boxes_of(
        [[0, 0], [0, 2], [4, 0], [1, 3], [0.5, 0]],
        [[255, 7], [1, 3], [5, 9], [2, 5], [1, 0.25]],
    ).halve()
    np.testing.assert_array_equal(
        middle, [[127, 3], [0.5, 2.5], [4.5, 4], [1.5, 4], [0.75, 0.125]]
    )
    halves = boxes.both()
    np.testing.assert_array_equal(halves.image, [*range(5)] * 2)
    np.testing.assert_array_equal(halves.pixel, [*range(10, 15)] * 2)
    np.testing.assert_array_equal(
        halves.high[:5], [[127, 7], [0.5, 3], [5, 4], [2, 4], [0.75, 0.25]]
    )
    np.testing.assert_array_equal(
        halves.low[5:], [[127, 0], [0.5, 2], [4, 4], [1, 4], [0.75, 0]]
    )
    np.testing.assert_array_equal(halves.low[:5], boxes.low)
    np.testing.assert_array_equal(halves.high[5:], boxes.high)
    np.testing.assert_array_equal(boxes.middles().low, (boxes.low + boxes.high) / 2)
    np.testing.assert_array_equal(boxes.middles().width(), np.zeros((5, 2)))


def test_the_certifier_begins_with_whole_ranges():
    module = nn.utils.skip_init(nn.Linear, 12, 2)
    space = space_of((3, 2, 2), 8)
    certifier = PixelCertifier(module, space)
    boxes = certifier._all_boxes(2)
    np.testing.assert_array_equal(boxes.image, np.repeat([0, 1], 4))
    np.testing.assert_array_equal(boxes.pixel, np.tile(np.arange(4), 2))
    np.testing.assert_array_equal(boxes.low, np.zeros((8, 3)))
    np.testing.assert_array_equal(boxes.high, np.full((8, 3), 7.0))


@pytest.mark.parametrize("name", ["mlp", "forest", "tanh"])
def test_a_candidate_is_asked_about_as_it_would_be_returned(name):
    X, y = images()
    model = fitted(name)
    judge = AttackedModel(model, _module_or_none(model), torch.device("cpu"))
    space = PixelSpace(25, (5, 5), np.full(25, -3.0), np.full(25, 7.0), 11)
    rng = np.random.default_rng(0)
    rows, pixel = rng.integers(len(X), size=(2, 400))
    pixel, level = pixel % 25, rng.integers(11, size=(400, 1)).astype(float)
    asked = [torch.from_numpy(part) for part in (rows, pixel, level)]
    with judge.at_work(X, 400):
        _, errs = make_evaluator(judge, space, X, y)(*asked)
    tried = X[rows].copy()
    tried[np.arange(400), pixel] = -3 + level[:, 0]
    np.testing.assert_allclose(
        images_of(space, X[rows], pixel, level), tried, atol=1e-6
    )
    np.testing.assert_array_equal(errs.numpy(), model.predict(tried) != y[rows])
