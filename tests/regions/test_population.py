"""Counts by class and region, against dictionaries."""

from collections import Counter

import joblib
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robustkit.regions import _population
from robustkit.regions._population import Population


@st.composite
def labelled(draw):
    """Activations of few patterns, features and labels of some samples."""
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    n_samples, n_units = draw(st.integers(1, 60)), draw(st.sampled_from([1, 3, 64, 70]))
    patterns = rng.choice([-1.0, 0.0, 1.0], size=(draw(st.integers(1, 9)), n_units))
    activations = patterns[rng.randint(len(patterns), size=n_samples)]
    features = rng.standard_normal((n_samples, 4)).astype(np.float32)
    return activations, features, rng.randint(3, size=n_samples)


@given(labelled(), st.integers(1, 60))
def test_agrees_with_dictionaries(data, size):
    activations, features, y = data
    population = Population(4)
    ids = []
    for start in range(0, len(y), size):
        piece = slice(start, start + size)
        ids.extend(population.add(activations[piece], features[piece], y[piece]))
    ids = np.array(ids)
    assert population.n_samples == len(y)
    assert population.n_regions == len(np.unique(activations > 0, axis=0))
    counts, majority, of_majority = population.census()
    for region, members in enumerate(y[ids == i] for i in range(population.n_regions)):
        assert counts[region] == len(members)
        assert of_majority[region] == max(Counter(members).values())
        assert Counter(members)[majority[region]] == of_majority[region]
    for label in range(4):
        of_class = Counter(ids[y == label].tolist())
        if not of_class:
            assert population.major_regions()[label] == -1
            assert np.isnan(population.major_shares()[label])
            assert np.isnan(population.major_vectors()[label]).all()
            assert np.isnan(population.major_signs()[label]).all()
            continue
        # A Counter keeps the order of first appearance among equals.
        major, n_major = of_class.most_common(1)[0]
        home = (ids == major) & (y == label)
        assert population.major_regions()[label] == major
        assert population.major_shares()[label] == n_major / sum(of_class.values())
        np.testing.assert_allclose(
            population.major_vectors()[label],
            features[home].astype(np.float64).mean(axis=0),
            atol=1e-12,
        )
        np.testing.assert_array_equal(
            population.major_signs()[label],
            np.where(activations[home][0] > 0, 1, -1),
        )


def test_nothing_was_met_before_the_first_sample():
    population = Population(3)
    assert (population.n_regions, population.n_samples) == (0, 0)


def test_many_regions_outgrow_the_first_arrays():
    rng = np.random.RandomState(0)
    activations = rng.standard_normal((3000, 30))
    population = Population(1)
    for piece in np.array_split(activations, 7):
        population.add(piece, piece, np.zeros(len(piece), dtype=int))
    counts, _, _ = population.census()
    np.testing.assert_array_equal(counts, 1)
    np.testing.assert_array_equal(population.major_vectors()[0], activations[0])


def test_goes_on_after_it_was_mapped_from_a_file(tmp_path):
    activations = np.random.RandomState(0).standard_normal((200, 30))
    labels = np.zeros(200, dtype=int)
    population = Population(1)
    population.add(activations, activations, labels)
    joblib.dump(population, tmp_path / "population")
    mapped = joblib.load(tmp_path / "population", mmap_mode="r")
    mapped.add(activations, activations, labels)
    np.testing.assert_array_equal(mapped.census()[0], 2)


def test_compiled_code_is_the_code_that_is_read():
    rows = np.array([0, 1, 0, 2])
    features = np.arange(8.0).reshape(4, 2)
    counts, sums = np.zeros(3, dtype=np.int64), np.zeros((2, 2))
    _population._count_and_sum.py_func(rows, features, counts, sums)
    np.testing.assert_array_equal(counts, [2, 1, 1])
    # There is no room for the third row's sum, which is left out.
    np.testing.assert_array_equal(sums, [[4, 6], [2, 3]])
