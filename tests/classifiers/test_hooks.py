"""What is handed to the training loop is copied and seeded."""

import pytest
from sklearn.ensemble import AdaBoostClassifier
from sklearn.tree import DecisionTreeClassifier

from robustkit.classifiers._hooks import seeded_clone


def test_none_stays_none():
    assert seeded_clone(None, 0) is None


def test_only_what_was_left_to_chance_is_seeded(global_random_seed):
    nested = AdaBoostClassifier(DecisionTreeClassifier(random_state=3))
    first, again, other = (
        seeded_clone(nested, seed)
        for seed in (global_random_seed, global_random_seed, global_random_seed + 1)
    )
    assert first.random_state == again.random_state != other.random_state
    assert first.estimator.random_state == 3
    assert nested.random_state is None


def test_parts_get_seeds_of_their_own():
    nested = seeded_clone(AdaBoostClassifier(DecisionTreeClassifier()), 0)
    assert nested.random_state != nested.estimator.random_state is not None


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="'n_estimators' parameter of AdaBoost"):
        seeded_clone(AdaBoostClassifier(n_estimators=0), 0)


def test_what_is_no_estimator_is_copied():
    thing = {"state": []}
    twin = seeded_clone(thing, 0)
    twin["state"].append(1)
    assert thing == {"state": []}
