"""The searches, step by step, against what is written down in numpy."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from robustkit._randomness import draw_seed, seeded_torch
from robustkit._tensors import evaluating
from robustkit.attacks import OnePixelAttack
from robustkit.attacks._geometry import sample_keys
from robustkit.attacks.functional import Trace, one_pixel
from robustkit.attacks.one_pixel._query import Found, PixelSpace
from robustkit.attacks.one_pixel._search import (
    _draw,
    _evaluate,
    _first_generation,
    _mutate,
    _partners,
    evolve,
    try_everything,
)
from robustkit.classifiers import TorchClassifier
from tests.attacks.pixel_victims import convolutional


class Recorder:
    """A query whose margin is the distance of a candidate from a secret one."""

    device = torch.device("cpu")

    def __init__(self, space, secret, X, fools=(), lies=()):
        self.space, self.secret = space, np.array(secret, dtype=float)
        self.X = np.zeros((X, len(space.low))) if isinstance(X, int) else X
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
def test_exhaustive_search_tries_everything_ends_first(shape, levels):
    space = space_of(shape, levels)
    model = Recorder(space, [0] * (2 + space.n_channels), 2)
    found = try_everything(model)
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
def test_exhaustive_search_keeps_the_first_that_predict_confirms(lies):
    space = space_of((2, 3), 4)
    model = Recorder(space, [0, 0, 0], 3, fools=[(1, 3), (2, 0), (0, 1)], lies=lies)
    found = try_everything(model)
    assert found.fooled.all()
    assert (found.pixel == 1).all()
    assert (found.level == 3).all()
    # Ends only; all of one chunk are asked about.
    assert (found.n_queries == 12).all()
    found = try_everything(Recorder(space, [0, 0, 0], 1, fools=[(5, 2)]))
    assert (found.pixel[0], found.level[0, 0], found.n_queries[0]) == (5, 2, 36)


def test_exhaustive_search_goes_on_beyond_one_chunk():
    space = space_of((30, 50), 3)
    found = try_everything(Recorder(space, [0, 0, 0], 1, fools=[(1499, 1)]))
    assert found.pixel[0] == 1499
    assert found.n_queries[0] == 1500 * 2 + 1500 * 3
    found = try_everything(Recorder(space, [0, 0, 0], 1, fools=[(0, 0)]))
    assert found.n_queries[0] == 2048


@pytest.mark.parametrize("levels", [10**4, 10**4 + 1])
def test_exhaustive_search_refuses_too_many_candidates(levels):
    space = space_of((1, 10**4), levels)
    model = Recorder(space, [0, 0, 0], 1, fools=[(0, 0)])
    if levels == 10**4:
        assert try_everything(model).fooled.all()
    else:
        with pytest.raises(
            ValueError, match=r"levels=10001 and 1 channels has 1.0e\+08"
        ):
            try_everything(model)


def test_found_confirms_one_then_three_then_twelve():
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


def test_first_generation_is_uniform_in_place_and_normal_in_value():
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
def test_mutation_equals_its_definition(size, n_places, n_genes):
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
def test_mutation_partners_equal_their_definition(size):
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
def test_evolution_equals_its_definition(shape, levels):
    space = space_of(shape, levels, 42 if shape is None or len(shape) == 2 else 24)
    n = space.n_pixels * space.n_channels
    x = torch.rand(3, n, generator=torch.Generator().manual_seed(0))
    secret = [length - 1 for length in space.grid] + [levels // 2] * space.n_channels
    ours, theirs = (Recorder(space, secret, x.numpy()) for _ in range(2))
    size = {"pop_size": 20, "max_iter": 19}
    found = evolve(ours, **size, seed=5)
    reference_evolution(theirs, space, x, **size, seed=5)
    assert ours.asked == theirs.asked
    assert (found.n_queries == 20 * 20).all()
    pixels = np.array([pixel for _, pixel, _ in ours.asked])
    values = np.array([level for *_, level in ours.asked])
    assert set(pixels) == set(range(space.n_pixels))
    assert (values.min(axis=0) == 0).all()
    assert (values.max(axis=0) == levels - 1).all()


@pytest.mark.parametrize("shape", [(6, 7), (3, 2, 4)])
def test_the_far_end_of_every_axis_is_its_last_pixel(shape):
    """What is drawn inside the range may be rounded to its end."""
    space = space_of(shape, 11, int(np.prod(shape)))
    n_axes = len(space.grid)
    genes = np.random.default_rng(0).random((2, 5, n_axes + space.n_channels))
    genes = torch.from_numpy(genes)
    genes[0, 0], genes[1, 1, :n_axes] = 1, 1
    model = Recorder(space, [0] * genes.shape[-1], np.zeros((2, np.prod(shape))))
    fitness, _, (pixel, _) = _evaluate(model, torch.arange(2), genes)
    assert pixel[0, 0] == pixel[1, 1] == space.n_pixels - 1
    np.testing.assert_allclose(fitness, reference_ask(model, space, genes.numpy()))


def test_evolution_stops_only_where_predict_is_fooled():
    space = space_of((2, 2), 11)
    x = np.random.default_rng(0).random((4, 4))
    everything = list(itertools.product(range(4), range(11)))
    size = {"pop_size": 6, "max_iter": 5}
    easy = Recorder(space, [0, 0, 0], x, fools=everything)
    found = evolve(easy, **size, seed=0)
    assert found.fooled.all()
    assert (found.n_queries == 6).all()
    liar = Recorder(space, [0, 0, 0], x, lies=everything)
    found = evolve(liar, **size, seed=0)
    assert not found.fooled.any()
    assert (found.n_queries == 6 * 6).all()
    one = evolve(liar, pop_size=6, max_iter=1, seed=0)
    assert (one.n_queries == 12).all()


def test_evolution_keeps_the_member_that_fools_best():
    space = space_of((3, 3), 21)
    x = np.random.default_rng(0).random((2, 9))
    fools = list(itertools.product(range(9), range(10, 21)))
    model = Recorder(space, [1, 1, 15], x, fools=fools)
    found = evolve(model, pop_size=40, max_iter=1, seed=0)
    for i in range(2):
        mine = [(p, v[0]) for row, p, v in model.asked if row == i and v[0] >= 10]
        distance = [
            abs(p // 3 - 1) + abs(p % 3 - 1) + abs(v - 15) for p, v in mine[:40]
        ]
        kept = found.pixel[i], found.level[i, 0]
        assert distance[mine.index(kept)] == min(distance)


@pytest.mark.parametrize("size", [3, 5, 30])
def test_mutation_partners_are_two_other_members(size):
    noise = torch.from_numpy(np.random.default_rng(0).random((50, size, 2)))
    noise[0] = 0.0
    noise[1] = 1.0
    one, two = _partners(noise)
    itself = torch.arange(size).expand_as(one)
    for left, right in ((one, two), (one, itself), (two, itself)):
        assert (left != right).all()
    # All of them are drawn.
    assert len(torch.stack([one, two])[:, 2:, 0].unique()) == size - 1


def flat_network(n_features=16, dtype=torch.float32):
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Flatten(),
            nn.Linear(n_features, 12),
            nn.ReLU(),
            nn.Dropout(0.9),
            nn.Linear(12, 3),
        )
    return module.to(dtype)


def predicted(module, X):
    with torch.no_grad(), evaluating(module):
        return module(X.clone()).argmax(dim=1)


SETTINGS = {
    "differential_evolution": {"pop_size": 20, "max_iter": 5},
    "exhaustive": {"levels": 5},
    "certified": {"levels": 5},
}


@pytest.mark.parametrize("n_channels", [None, 1, 3])
@pytest.mark.parametrize("method", SETTINGS)
def test_one_pixel_function_equals_the_estimator(method, n_channels):
    image_shape = None if n_channels is None else (n_channels, 4, 4)
    module, rng = flat_network(16 * (n_channels or 1)), np.random.default_rng(0)
    X = rng.random((30, 16 * (n_channels or 1))).astype(np.float32)
    y = predicted(module, torch.from_numpy(X)).numpy()
    # Some samples are predicted wrongly.
    y[:3] = (y[:3] + 1) % 3
    settings = SETTINGS[method] | {"method": method}
    if n_channels == 3 and method == "exhaustive":
        settings["levels"] = 3
    attack = OnePixelAttack(
        FrozenEstimator(TorchClassifier.from_module(module, classes=np.arange(3))),
        image_shape=image_shape,
        random_state=np.random.RandomState(0),
        device="cpu",
        **settings,
    ).fit(X, y)
    seed = draw_seed(np.random.RandomState(0))
    result, trace = attack.perturb(X, y), Trace()
    images = torch.from_numpy(X).view(30, *(image_shape or (-1,)))
    before, module = images.clone(), module.train()
    X_adv = one_pixel(
        module, images, torch.from_numpy(y), seed=seed, trace=trace, **settings
    )
    assert result.success.any()
    assert not result.success.all()
    assert X_adv.shape == images.shape
    np.testing.assert_array_equal(X_adv.flatten(1).numpy(), result.X_adv)
    np.testing.assert_array_equal(trace.n_queries.numpy(), result.n_queries)
    if method == "certified":
        np.testing.assert_array_equal(trace.certified.numpy(), result.certified)
    else:
        assert trace.certified is None
    assert torch.equal(images, before)
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize("method", ["differential_evolution", "exhaustive"])
def test_one_pixel_queries_a_convolution_and_a_function_alike(method):
    model, X, y = convolutional(3)
    flat, images = torch.from_numpy(X), torch.from_numpy(X).view(-1, 3, 4, 4)
    module, labels = model.module_, torch.from_numpy(y)

    def predict_proba(images):
        return torch.softmax(module[1:](images), dim=1).detach().numpy()

    settings = {"pop_size": 20, "max_iter": 5, "levels": 3, "method": method}
    by_module = one_pixel(module[1:], images, labels, **settings)
    by_function = one_pixel(predict_proba, images, labels, **settings)
    by_estimator = (
        OnePixelAttack(
            FrozenEstimator(model), image_shape=(3, 4, 4), random_state=0, **settings
        )
        .fit(X, y)
        .perturb(X, y)
    )
    assert by_estimator.success.any()
    if method == "exhaustive":
        np.testing.assert_array_equal(by_module.flatten(1), by_estimator.X_adv)
    assert torch.equal(by_function, by_module)
    changed = (by_module != images).any(dim=1).flatten(1).sum(dim=1)
    fooled = predicted(module, by_module.flatten(1)) != labels
    assert torch.equal(changed.bool(), fooled)
    assert changed.max() == 1
    with pytest.raises(TypeError, match=r"needs a torch\.nn\.Module"):
        one_pixel(predict_proba, flat, labels, method="certified")
    with pytest.raises(TypeError, match="begins with a linear map"):
        one_pixel(module[1:], images, labels, method="certified")


def test_one_pixel_does_not_take_a_linear_map_along_rows_for_a_first_map():
    """Without flattening, a linear layer sees the rows of an image one by one."""
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(12, 3))
    X = torch.rand(40, 4, 4, generator=torch.Generator().manual_seed(0))
    y, trace = predicted(module, X), Trace()
    X_adv = one_pixel(module, X, y, method="exhaustive", levels=5, trace=trace)
    tried = X[:, None, None].repeat(1, 16, 5, 1, 1).flatten(3)
    for pixel in range(16):
        tried[:, pixel, :, pixel] = torch.linspace(0, 1, 5)
    wrong = predicted(module, tried.view(-1, 4, 4)).view(40, -1) != y[:, None]
    assert wrong.any(dim=1).any()
    assert torch.equal(predicted(module, X_adv) != y, wrong.any(dim=1))
    with pytest.raises(TypeError, match="Unflatten"):
        one_pixel(module, X, y, method="certified")


@pytest.mark.parametrize("method", SETTINGS)
def test_one_pixel_stays_in_a_range_of_its_own_for_each_feature(method):
    module = flat_network(dtype=torch.float64)
    low, high = torch.linspace(-1, 0, 16), torch.linspace(1, 3, 16)
    X = low + (high - low) * torch.rand(
        40, 16, generator=torch.Generator().manual_seed(0)
    )
    X = X.double()
    y = predicted(module, X)
    settings = SETTINGS[method] | {"method": method}
    X_adv = one_pixel(module, X, y, clip=(low, high), **settings)
    fooled = predicted(module, X_adv) != y
    assert fooled.any()
    assert X_adv.dtype == torch.float64
    assert ((X_adv >= low) & (X_adv <= high)).all()
    assert torch.equal((X_adv != X).sum(dim=1), fooled.long())


def test_one_pixel_leaves_samples_that_are_all_wrong_as_they_are():
    module = flat_network()
    X = torch.rand(5, 16, generator=torch.Generator().manual_seed(0))
    y, trace = (predicted(module, X) + 1) % 3, Trace()
    for method in SETTINGS:
        assert torch.equal(one_pixel(module, X, y, method=method, trace=trace), X)
        assert not trace.n_queries.any()
    assert not trace.certified.any()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"method": "magic"}, "'method' parameter must be"),
        ({"pop_size": 2}, "at least 3. Got 2"),
    ],
)
def test_one_pixel_refuses_bad_parameters(params, words):
    X = torch.zeros(2, 16)
    with pytest.raises(ValueError, match=words):
        one_pixel(flat_network(), X, torch.zeros(2, dtype=int), **params)
