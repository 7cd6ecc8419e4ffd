"""Equal studies have equal descriptions, others do not."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from robustkit.attacks import FGSMAttack, PGDAttack
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.graphs import GraphPrior, LayeredGraph
from robustkit.study._identity import canonical, differences, digest


class Die:
    """A distribution that is none of scipy's."""

    def __init__(self, n_sides):
        self.n_sides = n_sides

    def rvs(self, random_state):
        return random_state.randint(self.n_sides)


def chain(n_nodes):
    steps = np.arange(n_nodes - 1)
    return LayeredGraph(np.stack([steps, steps + 1]), n_nodes)


SAME = [
    (FGSMAttack(eps=0.1), FGSMAttack(eps=0.1, device="cpu", verbose=1)),
    (SparseNetClassifier(GraphPrior()), SparseNetClassifier(GraphPrior())),
    (stats.uniform(0, 2), stats.uniform(0, 2)),
    (chain(4), chain(4)),
    ([1, 2], (1, 2)),
    (np.int64(3), 3),
    (np.arange(3), np.arange(3)),
    (np.mean, np.mean),
    (Die(6), Die(6)),
    (
        PrunedNetClassifier(MLPNetClassifier(device="cpu")),
        PrunedNetClassifier(MLPNetClassifier(device="auto", verbose=1)),
    ),
    (float("nan"), np.float64("nan")),
    # Their order depends on the session, or on how they came to be.
    (set("abcdefgh"), set("hgfedcba")),
    ({1, "a", None}, {None, "a", 1}),
    (frozenset([8, 0]), frozenset([0, 8])),
]

DIFFERENT = [
    (FGSMAttack(eps=0.1), FGSMAttack(eps=0.2)),
    (FGSMAttack(eps=0.1), PGDAttack(eps=0.1)),
    (SparseNetClassifier(GraphPrior()), SparseNetClassifier(GraphPrior(n_nodes=3))),
    (stats.uniform(0, 2), stats.uniform(0, 3)),
    (stats.uniform(0, 1), stats.norm(0, 1)),
    (chain(4), chain(5)),
    (np.arange(3), np.arange(3.0)),
    (np.mean, np.median),
    (FGSMAttack, PGDAttack),
    (Die(6), Die(8)),
    ({1, 2}, {1, 3}),
    (stats.uniform(loc=1), stats.uniform(scale=1)),
    (1, 1.0),
    (1, True),
    ({"a": 1}, {"b": 1}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_things_have_one_description(one, other):
    assert json.dumps(canonical(one)) == json.dumps(canonical(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_things_have_another_description(one, other):
    assert json.dumps(canonical(one)) != json.dumps(canonical(other))


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=4)))
def test_a_digest_knows_the_content_and_not_the_memory(array):
    assert digest(array) == digest(np.asfortranarray(array.copy()))
    assert digest(array) != digest(array[np.newaxis])
    changed = array.copy()
    changed.flat[0] = 1 if changed.flat[0] != 1 else 2
    assert digest(array) != digest(changed)


def test_labels_of_any_type_have_a_digest():
    words = np.array(["yes", "no"], dtype=object)
    assert digest(words) == digest(words.copy()) != digest(words[::-1])
    # Equal words that lie elsewhere in the memory.
    again = np.array(["".join(["y", "es"]), "".join(["n", "o"])], dtype=object)
    assert again[0] is not words[0]
    assert digest(again) == digest(words)


TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text("ab", min_size=1, max_size=2), children, max_size=3)
    ),
    max_leaves=8,
)


@given(TREES, TREES)
def test_trees_differ_somewhere_unless_they_are_equal(one, other):
    one, other = {"root": one}, {"root": other}
    assert not differences(one, one)
    if one != other:
        assert differences(one, other)


def test_differences_name_the_place_and_both_values():
    one = {"n": 3, "attacks": [{"eps": 0.1}, [1, 2]], "long": "x" * 100}
    other = {"n": 3, "attacks": [{"eps": 0.2}, [1, 2]], "long": "y" * 100}
    first, second = differences(one, other)
    assert first == "attacks.0.eps is 0.1 there and 0.2 here"
    assert second.startswith('long is "xxx')
    assert "x..." in second


@pytest.mark.parametrize(("length", "is_whole"), [(57, True), (58, True), (59, False)])
def test_a_value_of_sixty_letters_is_told_whole(length, is_whole):
    """Two of the letters are its quotation marks."""
    (difference,) = differences({"a": "x" * length}, {"a": ""})
    value = difference.removeprefix("a is ").partition(" there")[0]
    assert len(value) == min(length + 2, 60)
    assert value.endswith("..." if not is_whole else "x" + '"')
