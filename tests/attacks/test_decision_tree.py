"""The nearest point of another class, for one decision tree."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from robustkit.attacks import MinimalDistanceAttack
from robustkit.attacks._decision_tree import nearest_in_other_leaf


def nearest_by_trying_all(tree, x, label, norm, clip, target):
    """Try every combination of numbers next to a threshold.

    In each feature the nearest point of a box is the sample's own value, or the last
    one before a threshold.
    """
    features, thresholds = tree.tree_.feature, tree.tree_.threshold
    choices = []
    for j, value in enumerate(x):
        numbers = {np.float64(value)}
        for threshold in thresholds[features == j]:
            near = np.float32(threshold)
            for step in (-np.inf, np.inf):
                numbers |= {np.float64(near), np.float64(np.nextafter(near, step))}
        if clip is not None:
            numbers = {v for v in numbers if clip[0] <= v <= clip[1]}
        choices.append(sorted(numbers))
    points = np.array(list(product(*choices)))
    said = np.searchsorted(tree.classes_, tree.predict(points))
    wanted = points[said != label if target is None else said == target]
    moves = wanted - x
    ord_ = np.inf if norm == "linf" else 2
    return np.linalg.norm(moves, ord=ord_, axis=1).min(initial=np.inf)


@given(
    seed=st.integers(0, 2**31 - 1),
    n_features=st.integers(1, 3),
    n_classes=st.integers(2, 3),
    norm=st.sampled_from(["linf", "l2"]),
    clip=st.sampled_from([None, (0.0, 1.0)]),
    dtype=st.sampled_from([np.float32, np.float64]),
    targeted=st.booleans(),
)
def test_nearest_leaf_is_the_nearest_of_all(
    seed, n_features, n_classes, norm, clip, dtype, targeted
):
    rng = np.random.RandomState(seed)
    # Few levels, so that samples lie on thresholds too.
    X = (rng.randint(9, size=(30, n_features)) / 8).astype(dtype)
    tree = DecisionTreeClassifier(max_leaf_nodes=6, random_state=0)
    tree.fit(X, rng.randint(n_classes, size=30))
    samples = X[:5]
    label = np.searchsorted(tree.classes_, tree.predict(samples))
    target = (label + 1) % len(tree.classes_) if targeted else None
    near, distance = nearest_in_other_leaf(
        tree, samples, label, norm=norm, clip=clip, target=target
    )
    assert near.dtype == dtype
    for i, x in enumerate(samples):
        wanted = None if target is None else target[i]
        least = nearest_by_trying_all(
            tree, x.astype(np.float64), label[i], norm, clip, wanted
        )
        if targeted and wanted == label[i]:
            # One class only: it is there already.
            least = 0.0
        np.testing.assert_allclose(distance[i], least, rtol=1e-12)
    found = np.isfinite(distance)
    said = np.searchsorted(tree.classes_, tree.predict(near))
    assert ((said != label) if target is None else (said == target))[found].all()
    np.testing.assert_array_equal(near[~found], samples[~found])
    length = np.linalg.norm(near - samples, ord=np.inf if norm == "linf" else 2, axis=1)
    np.testing.assert_allclose(length[found], distance[found], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_leaf_stays_in_a_clip_range_that_single_precision_rounds(dtype):
    X = np.array([[0.0], [0.05], [0.1]], dtype)
    tree = DecisionTreeClassifier(random_state=0).fit(X, [0, 0, 1])
    near, distance = nearest_in_other_leaf(
        tree, X[:2], np.array([0, 0]), clip=(0.0, 0.1)
    )
    assert (near <= dtype(0.1)).all()
    assert (tree.predict(near) == 1).all()
    assert np.isfinite(distance).all()


def test_a_tree_of_one_leaf_has_no_other_class():
    X = np.zeros((3, 2))
    tree = DecisionTreeClassifier(random_state=0).fit(X, [0, 0, 0])
    near, distance = nearest_in_other_leaf(tree, X, np.zeros(3, int))
    assert np.isinf(distance).all()
    np.testing.assert_array_equal(near, X)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("make", [DecisionTreeClassifier, ExtraTreeClassifier])
def test_minimal_distance_of_a_tree_is_exact(norm, targeted, make):
    X, y = load_iris(return_X_y=True)
    X = ((X - X.min(axis=0)) / np.ptp(X, axis=0))[:, :3]
    names = np.array(["a", "b", "c"])[y]
    tree = make(max_leaf_nodes=6, random_state=0).fit(X[::2], names[::2])
    attack = MinimalDistanceAttack(FrozenEstimator(tree), norm=norm, targeted=targeted)
    attack.fit(X, names)
    target = np.roll(names, 40) if targeted else None
    result = attack.perturb(X, names, target)
    np.testing.assert_array_equal(tree.predict(result.X_adv), result.prediction)
    for i in range(0, len(X), 3):
        label = np.searchsorted(tree.classes_, names[i])
        wanted = None if target is None else np.searchsorted(tree.classes_, target[i])
        if result.clean_prediction[i] != names[i]:
            assert result.distance[i] == 0
        elif wanted != label:
            least = nearest_by_trying_all(tree, X[i], label, norm, (0, 1), wanted)
            np.testing.assert_allclose(result.distance[i], least, rtol=1e-6)
    if not targeted:
        assert 0 < attack.score(X, names) < 0.5
