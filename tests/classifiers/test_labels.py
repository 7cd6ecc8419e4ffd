"""Labels become indices, and come back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robustkit.classifiers import MLPNetClassifier
from robustkit.classifiers._base import check_classes, check_logits, encode, hold_out

label_types = st.sampled_from([st.integers(-9, 9), st.text("abc", max_size=3)])


def told(classes, **params):
    classifier = MLPNetClassifier(**params)
    classifier.classes_ = classes
    return classifier


@given(label_types.flatmap(lambda labels: st.lists(labels, min_size=1)))
def test_encode_is_inverted_by_classes(labels):
    y = np.array(labels)
    classes = np.unique(y)
    assert np.array_equal(classes[encode(told(classes), y)], y)


def test_encode_of_unknown_label_raises():
    with pytest.raises(ValueError, match=r"y holds \['c'\].* classes are \['a', 'b'\]"):
        encode(told(np.array(["a", "b"])), np.array(["a", "c"]))


def test_check_classes_with_one_class_raises():
    with pytest.raises(ValueError, match=r"MLPNetClassifier needs at least 2 classes"):
        check_classes(MLPNetClassifier(), np.array([1]))
    assert check_classes(MLPNetClassifier(), np.array([1, 2])).tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(4,), (4, 2), (3, 3), (4, 3, 1)])
def test_check_logits_of_wrong_shape_raises(shape):
    check_logits(torch.empty(4, 3), 4, 3)
    with pytest.raises(ValueError, match="one logit for each of the 3 classes"):
        check_logits(torch.empty(shape), 4, 3)


@given(arrays(int, st.integers(40, 80), elements=st.integers(0, 2)), st.integers(0, 99))
def test_hold_out_is_stratified(y, seed):
    y = np.concatenate([y, [0, 1, 2] * 5])
    kept, held_out = hold_out(told([0, 1, 2], validation_fraction=0.2), y, seed=seed)
    assert sorted([*kept, *held_out]) == list(range(len(y)))
    counts, all_counts = np.bincount(y[held_out], minlength=3), np.bincount(y)
    # The fraction is rounded up to whole samples; those are shared out, and a class
    # gets its share rounded up or down.
    assert len(held_out) == np.ceil(0.2 * len(y))
    assert (abs(counts - len(held_out) / len(y) * all_counts) < 1).all()
