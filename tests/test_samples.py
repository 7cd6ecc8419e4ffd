"""Images, tensors and streams of batches become rows, and come back as they were."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from robustkit._samples import (
    flat_samples,
    is_read_once,
    is_stream,
    places_of,
    shaped_like,
    stream_batches,
)
from tests.common.test_import_direction import loads_torch

images = st.lists(st.integers(1, 3), min_size=3, max_size=5).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-1, 1, width=32))
)


@given(images, st.booleans())
def test_images_become_rows_and_come_back(X, is_tensor):
    given_X = torch.from_numpy(X) if is_tensor else X
    rows, image_shape = flat_samples(given_X)
    assert isinstance(rows, np.ndarray)
    assert rows.shape == (len(X), X[0].size)
    assert image_shape == X.shape[1:]
    for row, image in zip(rows, X, strict=True):
        np.testing.assert_array_equal(row, image.ravel())
    back = shaped_like(rows, given_X)
    assert type(back) is type(given_X)
    np.testing.assert_array_equal(np.asarray(back), X)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_images_of_uint8_are_pixels_up_to_255(make):
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    rows, _ = flat_samples(make(pixels))
    assert rows.dtype == np.float32
    expected = [np.float32(pixel) / np.float32(255) for pixel in range(256)]
    np.testing.assert_array_equal(rows.ravel(), expected)


def test_flat_table_of_uint8_is_taken_as_it_is():
    X = np.arange(6, dtype=np.uint8).reshape(2, 3)
    rows, image_shape = flat_samples(X)
    assert rows is X
    assert image_shape is None


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint16, bool])
def test_images_of_other_numbers_keep_them(dtype):
    X = np.array([[[[0, 1], [100, 0]]]]).astype(dtype)
    rows, _ = flat_samples(X)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, X.reshape(1, 4))


@pytest.mark.parametrize(
    "X", [pd.DataFrame({"a": [1.0]}), [[1.0]], [[[1.0]]], None, np.zeros(3)]
)
def test_what_is_neither_image_nor_tensor_is_left_alone(X):
    rows, image_shape = flat_samples(X)
    assert rows is X
    assert image_shape is None
    assert shaped_like(rows, X) is X


def test_stream_is_no_array():
    """Numpy would make one of its pairs, or fail to say why it cannot."""
    stream = TensorDataset(torch.zeros(4, 3), torch.zeros(4))
    for X in (stream, DataLoader(stream)):
        with pytest.raises(TypeError, match=f"Got a {type(X).__name__}"):
            flat_samples(X)


def test_rows_share_the_memory_of_images():
    tensor = torch.zeros(2, 3, 4, 4)
    assert np.shares_memory(flat_samples(tensor)[0], tensor.numpy())


def test_tensor_with_gradient_is_detached():
    X = torch.ones(2, 3, requires_grad=True)
    rows, image_shape = flat_samples(X)
    assert image_shape is None
    assert not shaped_like(rows, X).requires_grad


def test_no_image_keeps_its_shape():
    rows, image_shape = flat_samples(np.empty((0, 3, 4, 4)))
    assert rows.shape == (0, 48)
    assert image_shape == (3, 4, 4)


class Numbers(Dataset):
    """Sample i is filled with i, of class i % 3."""

    def __len__(self):
        return 7

    def __getitem__(self, i):
        return torch.full((1, 2, 2), float(i)), i % 3


class Counting(IterableDataset):
    def __iter__(self):
        return ((torch.full((4,), float(i)), str(i % 2)) for i in range(5))


def loader(dataset, **params):
    return DataLoader(dataset, generator=torch.Generator(), **params)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_dataset_is_read_in_its_order_by_batches(batch_size):
    batches = list(stream_batches(Numbers(), batch_size=batch_size))
    assert [len(y) for _, y in batches[:-1]] == [batch_size] * (len(batches) - 1)
    X = torch.cat([X for X, _ in batches])
    assert X.shape == (7, 1, 2, 2)
    assert X[:, 0, 0, 0].tolist() == list(range(7))
    assert np.concatenate([y for _, y in batches]).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_loader_keeps_its_batch_size_and_order():
    order = [6, 0, 3, 1, 2, 4, 5]
    stream = loader(Numbers(), batch_size=2, sampler=order)
    X = [X[:, 0, 0, 0].tolist() for X, _ in stream_batches(stream, batch_size=100)]
    assert X == [[6, 0], [3, 1], [2, 4], [5]]


def test_labels_of_strings_become_an_array():
    (_, first), (_, second) = stream_batches(Counting(), batch_size=3)
    assert first.tolist() == ["0", "1", "0"]
    assert second.tolist() == ["1", "0"]


@pytest.mark.parametrize("labels", [torch.arange(7)[:, None], np.arange(7)[:, None]])
def test_a_column_of_labels_becomes_one_label_per_sample(labels):
    data = list(zip(torch.zeros(7, 2), labels, strict=True))
    y = [y for _, y in stream_batches(loader(data, batch_size=3), batch_size=1)]
    assert [labels.shape for labels in y] == [(3,), (3,), (1,)]
    assert np.concatenate(y).tolist() == list(range(7))


def test_several_numbers_per_sample_are_no_label():
    data = TensorDataset(torch.zeros(3, 2), torch.eye(3))
    with pytest.raises(ValueError, match=r"should be a 1d array, .* shape \(2, 3\)"):
        next(stream_batches(data, batch_size=2))


class Once(IterableDataset):
    """Keeps an iterator, which each pass continues."""

    def __init__(self, pairs=()):
        self.pairs = iter(pairs)

    def __iter__(self):
        return self.pairs


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (Numbers(), False),
        (Counting(), False),
        (loader(Numbers(), shuffle=True), False),
        (loader(Counting(), batch_size=2), False),
        (loader([(0.0, 1)]), False),
        (Once(), True),
        (loader(Once()), True),
        (loader(Numbers(), sampler=iter([1, 2])), True),
        (loader(Numbers(), batch_sampler=iter([[1, 2]])), True),
    ],
)
def test_is_read_once(stream, expected):
    assert is_read_once(stream) == expected


def test_errors_name_what_a_stream_was_made_of():
    with pytest.raises(ValueError, match="The Numbers passed as X gave no sample"):
        list(stream_batches(loader([]), batch_size=1, source=Numbers()))


def test_datasets_and_loaders_are_streams():
    assert is_stream(Numbers())
    assert is_stream(Counting())
    assert is_stream(loader(Numbers()))


@pytest.mark.parametrize("X", [np.zeros((2, 2)), torch.zeros(2, 2), [], None])
def test_arrays_are_no_streams(X):
    assert not is_stream(X)


@pytest.mark.parametrize(
    ("stream", "y", "message"),
    [
        (Numbers(), [0], "y must be None where X is a Numbers"),
        (TensorDataset(torch.zeros(3, 2)), None, "Got a list of length 1"),
        (loader(Numbers(), batch_size=None), None, "'batch_size'"),
        (TensorDataset(torch.zeros(0, 2), torch.zeros(0)), None, "gave no sample"),
        ([], None, "gave no sample"),
    ],
)
def test_stream_that_gives_no_pairs_says_so(stream, y, message):
    with pytest.raises(ValueError, match=message):
        list(stream_batches(stream, y, batch_size=2))


def test_samples_load_no_torch():
    assert not loads_torch("import robustkit._samples")


@pytest.mark.parametrize("known", [(2, 3, 4), (4, 3, 2), (6, 4)])
def test_images_of_another_layout_are_refused(known):
    X = np.zeros((2, 3, 2, 4))
    message = rf"shape \({known[0]}, .* fitted on\. Got images of shape \(3, 2, 4\)"
    with pytest.raises(ValueError, match=message):
        flat_samples(X, known)
    # What is counted elsewhere, what is alike, and what has no layout.
    flat_samples(X, (3, 2, 5))
    flat_samples(X, (3, 2, 4))
    flat_samples(X.reshape(2, -1), known)


@pytest.mark.parametrize("shapes", [((4, 3), (1, 4, 3)), ((1, 4, 3), (4, 3))])
def test_a_missing_channel_is_no_other_layout(shapes):
    given_shape, known = shapes
    rows, image_shape = flat_samples(np.zeros((2, *given_shape)), known)
    assert rows.shape == (2, 12)
    assert image_shape == given_shape


@pytest.mark.parametrize("classes", [["c", "a", "b"], [7, -1, 3], [2.5]])
def test_places_are_those_of_the_labels_among_classes_in_any_order(classes):
    known = np.array(classes)
    labels = np.concatenate([known[::-1], known[:1]])
    expected = [classes.index(label) for label in labels.tolist()]
    assert places_of(labels, known).tolist() == expected
    beyond = {"U": ["", "aa", "z"], "i": [-9, 0, 9], "f": [0.0, 2.0, 3.0]}
    unknown = np.array(beyond[known.dtype.kind])
    assert places_of(unknown, known).tolist() == [-1, -1, -1]
    # As pandas keeps strings, and what cannot be sorted.
    of_any_kind = np.array([*labels.tolist(), None, ("a",), "no"], dtype=object)
    assert places_of(of_any_kind, known).tolist() == [*expected, -1, -1, -1]
