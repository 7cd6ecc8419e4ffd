"""Classifiers take images and tensors as they are, and data sets batch by batch."""

import copy
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from robustkit._randomness import seeded_torch
from robustkit.bridge import as_module
from robustkit.classifiers import (
    TorchClassifier,
    _base,
    fit_classifier,
    fit_many,
    fit_on_stream,
    unfitted_classifier,
)
from tests.classifiers.conftest import (
    QUICK,
    TRAINED,
    anything,
    every_kind,
    every_trained_kind,
    sparse,
    weights,
)
from tests.processes import PATIENCE, started


def convolutional(n_features, n_classes):
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, n_classes)
    )


def recurrent_like(n_features, n_classes):
    """Takes (n, rows, columns) and no channels."""
    return nn.Sequential(nn.Conv1d(8, 4, 3), nn.Flatten(), nn.Linear(24, n_classes))


def rows_only(n_features, n_classes):
    return nn.Linear(n_features, n_classes)


def normalized(n_features, n_classes):
    return nn.Sequential(
        nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, n_classes)
    )


def lazy(n_features, n_classes):
    """Takes (n, 1, 8, 8); two images without a channel look like one of two."""
    return nn.Sequential(
        nn.LazyConv2d(3, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(n_classes)
    )


def answers(classifier, X):
    return classifier.predict_proba(X), classifier.decision_function(X)


def expect_same(ours, theirs):
    assert (weights(ours) == weights(theirs)).all()
    assert ours.loss_curve_ == theirs.loss_curve_


@every_kind
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("shape", [(-1, 1, 8, 8), (-1, 8, 8), (-1, 64)])
def test_images_and_tensors_are_learned_as_their_rows(make, kind, shape, digits):
    X, y = digits
    images, labels = kind(X.reshape(shape)), kind(y)
    rows = make().fit(X, y)
    ours = make().fit(images, labels)
    for own, other in zip(answers(ours, images), answers(rows, X), strict=True):
        np.testing.assert_array_equal(own, other)
    for own, other in zip(answers(ours, X), answers(rows, images), strict=True):
        np.testing.assert_array_equal(own, other)
    assert ours.score(images, labels) == rows.score(X, y)


@every_kind
def test_images_whose_values_are_in_another_order_are_refused(make, digits):
    X, y = digits
    images = X.reshape(-1, 1, 8, 8)
    classifier = make().fit(images, y)
    with pytest.raises(ValueError, match=r"images of shape \(8, 8, 1\)"):
        classifier.predict(np.moveaxis(images, 1, 3))
    # Only a channel may be missing.
    found = classifier.predict(images[:, 0])
    np.testing.assert_array_equal(found, classifier.predict(X))


def test_networks_fitted_together_know_the_order_of_images(digits):
    X, y = digits
    for classifier in fit_many([sparse(), sparse()], X.reshape(-1, 1, 8, 8), y):
        with pytest.raises(ValueError, match=r"images of shape \(8, 8, 1\)"):
            classifier.predict(X.reshape(-1, 8, 8, 1))


@every_kind
def test_pixels_are_divided_by_255_and_tables_are_not(make, digits):
    X, y = digits
    pixels = np.round(X * 255).astype(np.uint8)
    scaled = pixels.astype(np.float32) / np.float32(255)
    ours = make().fit(pixels.reshape(-1, 8, 8), y)
    theirs = make().fit(scaled, y)
    for own, other in zip(
        answers(ours, pixels.reshape(-1, 1, 8, 8)), answers(theirs, scaled), strict=True
    ):
        np.testing.assert_array_equal(own, other)
    table = make(lr=1e-4).fit(pixels, y)
    floats = make(lr=1e-4).fit(pixels.astype(np.float32), y)
    np.testing.assert_array_equal(
        table.predict_proba(pixels), floats.predict_proba(pixels)
    )


@pytest.mark.parametrize("module", ["cnn6", convolutional, recurrent_like])
def test_image_shape_is_inferred_and_remembered(module, digits):
    X, y = (array[:100] for array in digits)
    # Conv1d takes (n, 8, 8); the others have one channel.
    shape = (8, 8) if module is recurrent_like else (1, 8, 8)
    images = X.reshape(-1, *shape)
    params = {**QUICK, "max_epochs": 1}
    ours = TorchClassifier(module, **params).fit(images, y)
    assert ours.image_shape_ == (1, 8, 8)
    assert ours.image_shape is None
    assert ours.n_features_in_ == 64
    for later in (ours, pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        np.testing.assert_array_equal(
            later.predict_proba(X), ours.predict_proba(images)
        )
    if module is not recurrent_like:
        named = TorchClassifier(module, image_shape=(8, 8), **params).fit(X, y)
        expect_same(ours, named)
        assert named.image_shape_ == (1, 8, 8)
    logits = as_module(ours)(torch.from_numpy(X))
    assert logits.shape == (100, 10)
    assert not hasattr(clone(ours), "image_shape_")


def test_module_that_takes_rows_gets_rows_of_images(digits):
    X, y = digits
    ours = TorchClassifier(rows_only, **QUICK).fit(X.reshape(-1, 1, 8, 8), y)
    expect_same(ours, TorchClassifier(rows_only, **QUICK).fit(X, y))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (rows_only, (1, 8, 8)),
        (rows_only, (8, 8)),
        (convolutional, (1, 8, 8)),
        (convolutional, (8, 8)),
        (recurrent_like, (8, 8)),
        ("cnn6", (8, 8)),
    ],
)
def test_meta_estimators_fit_a_network_to_images_as_it_fits_itself(
    module, shape, digits
):
    X, y = (array[:100] for array in digits)
    images = X.reshape(-1, *shape)
    classifier = TorchClassifier(module, **QUICK | {"max_epochs": 1})
    ours = unfitted_classifier(classifier, X, y, owner=None, image_shape=shape)
    assert ours is not classifier
    ours = fit_classifier(ours, X, y, image_shape=shape)
    theirs = clone(classifier).fit(images, y)
    expect_same(ours, theirs)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(images))
    data = TensorDataset(torch.from_numpy(images), torch.from_numpy(y))
    streamed = fit_on_stream(clone(classifier), data, X, y, image_shape=shape)
    expect_same(streamed, theirs)


def test_meta_estimators_do_not_tell_a_wrapped_module_what_they_fit(digits):
    X, y = digits
    with seeded_torch(0):
        wrapped = TorchClassifier.from_module(rows_only(64, 10), range(10))
    assert fit_classifier(wrapped, X, y, image_shape=(1, 8, 8)) is wrapped
    assert wrapped.image_shape_ is None


@pytest.mark.parametrize("module", [recurrent_like, convolutional, lazy])
def test_shape_of_two_sides_gets_a_channel_only_where_the_module_needs_it(
    module, digits
):
    X, y = (array[:100] for array in digits)
    params = QUICK | {"max_epochs": 1}
    ours = TorchClassifier(module, image_shape=(8, 8), **params).fit(X, y)
    theirs = TorchClassifier(module, **params).fit(X.reshape(-1, 8, 8), y)
    expect_same(ours, theirs)
    assert ours.image_shape_ == theirs.image_shape_ == (1, 8, 8)
    trained = ours.module_
    shape = (8, 8) if module is recurrent_like else (1, 8, 8)
    inputs = torch.from_numpy(X.reshape(-1, *shape))
    wrapped = TorchClassifier.from_module(trained, range(10), image_shape=(8, 8))
    assert wrapped.image_shape_ == (1, 8, 8)
    for classifier in (ours, theirs, wrapped):
        np.testing.assert_allclose(
            classifier.decision_function(X), trained(inputs).detach(), atol=1e-5
        )


@pytest.mark.parametrize("told", [(1, 4, 16), (4, 16), (64, 1)])
@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8), (8, 8, 1)])
def test_images_of_another_shape_than_image_shape_are_not_cut_up(told, shape, digits):
    X, y = digits

    def flat(n_features, n_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(n_features, n_classes))

    classifier = TorchClassifier(flat, image_shape=told, **QUICK)
    images = X.reshape(-1, *shape)
    message = rf"shape \{shape}.*, but TorchClassifier was made for image_shape=\{told}"
    message = message.replace(")", r"\)")
    for fit in (
        lambda: classifier.fit(images, y),
        lambda: classifier.partial_fit(images, y, classes=range(10)),
        lambda: classifier.fit(TensorDataset(*map(torch.from_numpy, (images, y)))),
    ):
        with pytest.raises(ValueError, match=message):
            fit()
        assert not hasattr(classifier, "module_")
    classifier.fit(X, y)


def test_first_images_may_be_passed_by_several_threads(digits):
    X, _ = digits
    images = X.reshape(-1, 1, 8, 8)
    began, may_go_on = Event(), Event()

    class Slow(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = convolutional(64, 10)

        def forward(self, images):
            began.set()
            assert may_go_on.wait(PATIENCE)
            return self.inner(images)

    with seeded_torch(0):
        module = Slow().eval()
    wrapped = TorchClassifier.from_module(module, classes=range(10))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(wrapped.decision_function, images)
        has_begun = began.wait(PATIENCE)
        second = pool.submit(wrapped.decision_function, images)
        may_go_on.set()
        assert has_begun
        np.testing.assert_array_equal(first.result(), second.result())
    assert wrapped.image_shape_ == (1, 8, 8)


def test_fit_again_forgets_the_shape_of_the_images(digits):
    X, y = digits
    classifier = anything().fit(X.reshape(-1, 1, 8, 8), y)
    assert classifier.image_shape_ == (1, 8, 8)
    assert classifier.fit(X, y).image_shape_ is None


def test_images_of_another_shape_raise(digits):
    X, y = digits
    classifier = TorchClassifier(convolutional, **QUICK).fit(X.reshape(-1, 1, 8, 8), y)
    with pytest.raises(ValueError, match=r"shape \(1, 4, 16\), .* image_shape=\(1, 8"):
        classifier.predict(X.reshape(-1, 1, 4, 16))
    with pytest.raises(ValueError, match="features"):
        classifier.predict(np.zeros((2, 63)))


def test_module_that_takes_neither_images_nor_rows_raises_what_is_wrong_with_images(
    digits,
):
    X, y = digits

    def wrong(n_features, n_classes):
        return nn.Conv2d(3, n_classes, 3)

    with pytest.raises(ValueError, match=r"Conv2d cannot .* \(n, 1, 8, 8\)"):
        TorchClassifier(wrong, **QUICK).fit(X.reshape(-1, 1, 8, 8), y)


def test_cnn6_without_images_says_how_to_pass_them(digits):
    with pytest.raises(ValueError, match=r"or X of shape \(n_samples, channels"):
        TorchClassifier("cnn6", **QUICK).fit(*digits)


@pytest.mark.parametrize("method", ["fit", "predict", "predict_proba", "score"])
def test_from_module_infers_image_shape_at_first_use(method, digits):
    X, y = digits
    images = X.reshape(-1, 1, 8, 8)
    with seeded_torch(0):
        module = convolutional(64, 10)
    wrapped = TorchClassifier.from_module(module, classes=range(10))
    assert wrapped.image_shape_ is None
    arguments = (images, y) if method in ("fit", "score") else (images,)
    getattr(wrapped, method)(*arguments)
    assert wrapped.image_shape_ == (1, 8, 8)
    told = TorchClassifier.from_module(module, range(10), image_shape=(1, 8, 8))
    np.testing.assert_array_equal(wrapped.predict_proba(X), told.predict_proba(X))
    np.testing.assert_array_equal(told.predict_proba(images), told.predict_proba(X))
    np.testing.assert_allclose(
        wrapped.decision_function(images),
        module(torch.from_numpy(images)).detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )


# Streams


class Generated(Dataset):
    """Samples that exist only while they are looked at."""

    def __init__(self, n_samples=300, n_features=6):
        self.n_samples, self.n_features = n_samples, n_features

    def __len__(self):
        return self.n_samples

    def __getitem__(self, i):
        if not 0 <= i < self.n_samples:
            raise IndexError
        label = i % 3
        X = np.sin((i + 1) * np.arange(1, 1 + self.n_features)).astype(np.float32)
        X[label] += 3
        return X, label


class Endless(IterableDataset):
    def __iter__(self):
        data = Generated()
        return (data[i] for i in range(len(data)))


def in_memory(data):
    X, y = zip(*(data[i] for i in range(len(data))), strict=True)
    return np.stack(X), np.array(y)


@pytest.mark.parametrize("make", [*TRAINED, lambda **params: dropout(**params)])
@pytest.mark.parametrize("batch_size", [50, "auto"])
def test_fit_of_a_dataset_equals_fit_of_its_arrays(make, batch_size):
    data = Generated()
    ours = make(batch_size=batch_size).fit(data)
    X, y = in_memory(data)
    theirs = make(batch_size=batch_size).fit(X, y)
    expect_same(ours, theirs)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict_proba(data), theirs.predict_proba(X))
    assert ours.predict(data).tolist() == theirs.predict(X).tolist()
    assert ours.score(data) == theirs.score(X, y)
    assert ours.score(DataLoader(data, batch_size=7)) == theirs.score(X, y)
    # Both continue with the same random numbers.
    expect_same(ours.partial_fit(data), theirs.partial_fit(X, y))


def test_single_last_sample_of_a_dataset_joins_another_batch():
    data = Generated(101)
    ours = TorchClassifier(normalized, **QUICK).fit(data)
    expect_same(ours, TorchClassifier(normalized, **QUICK).fit(*in_memory(data)))


def dropout(**params):
    def build(n_features, n_classes):
        return nn.Sequential(
            nn.Linear(n_features, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, n_classes)
        )

    return TorchClassifier(build, **QUICK | params)


class Once(IterableDataset):
    """Keeps an iterator, which each pass continues."""

    def __init__(self, n_samples=300):
        data = Generated(n_samples)
        self.pairs = (data[i] for i in range(n_samples))

    def __iter__(self):
        return self.pairs


def in_batches(source):
    return DataLoader(source, batch_size=50)


@every_trained_kind
@pytest.mark.parametrize("wrap", [lambda stream: stream, in_batches])
def test_stream_that_is_read_once_trains_on_all_of_it(make, wrap):
    expected = make(max_epochs=1).fit(in_batches(Generated()), classes=range(3))
    ours = make().partial_fit(wrap(Once()), classes=range(3))
    expect_same(ours, expected)
    expect_same(make(max_epochs=1).fit(wrap(Once()), classes=range(3)), expected)
    # It trains on any later stream as on any other.
    ours.partial_fit(wrap(Once()))
    expect_same(ours, expected.partial_fit(in_batches(Generated())))


@pytest.mark.parametrize("classes", [None, range(3)])
def test_stream_that_is_read_once_lasts_no_second_pass(classes):
    for stream, name in ((Once(), "Once"), (in_batches(Once()), "DataLoader")):
        message = f"The {name} passed as X gave no sample.* give its samples each time"
        with pytest.raises(ValueError, match=message):
            anything().fit(stream, classes=classes)


@every_trained_kind
def test_fit_of_a_loader_trains_on_its_batches(make):
    data = Generated()
    X, y = in_memory(data)
    classifier = make(max_epochs=4).fit(DataLoader(data, batch_size=30, shuffle=True))
    assert classifier.n_iter_ == 4
    assert classifier.score(X, y) > 0.8
    # In its own order, one pass is one call.
    plain = DataLoader(data, batch_size=30)
    ours = make(max_epochs=1).fit(plain, classes=range(3))
    theirs = make().partial_fit(plain, classes=range(3))
    expect_same(ours, theirs)


@every_trained_kind
def test_shuffled_loader_is_reproducible_and_moves_no_global_stream(make):
    loader = DataLoader(Generated(), batch_size=30, shuffle=True)
    before = torch.random.get_rng_state()
    ours = make().fit(loader, classes=range(3))
    theirs = make().fit(loader, classes=range(3))
    expect_same(ours, theirs)
    assert ours.score(loader) > 0.5
    assert torch.equal(before, torch.random.get_rng_state())


def test_stream_without_a_length_is_learned():
    classifier = anything(max_epochs=10).fit(Endless())
    X, y = in_memory(Generated())
    assert classifier.score(X, y) > 0.8
    assert classifier.score(Endless()) == classifier.score(X, y)


def test_stream_of_images_infers_their_shape(digits):
    X, y = (torch.from_numpy(array[:100]) for array in digits)
    data = TensorDataset(X.view(-1, 1, 8, 8), y)
    params = {**QUICK, "max_epochs": 1}
    ours = TorchClassifier("cnn6", **params).fit(data)
    assert ours.image_shape_ == (1, 8, 8)
    expect_same(ours, TorchClassifier("cnn6", **params).fit(X.view(-1, 1, 8, 8), y))


def test_stream_trains_until_it_converges(monkeypatch):
    rule = {"max_epochs": "auto", "tol": 0.3, "n_iter_no_change": 2}
    data = Generated()
    expect_same(anything(**rule).fit(data), anything(**rule).fit(*in_memory(data)))
    monkeypatch.setattr(_base, "_MOST_EPOCHS", 2)
    with pytest.warns(ConvergenceWarning, match="still improving"):
        anything(max_epochs="auto", lr=1e-4).fit(data)


class Shift:
    def perturb_module(self, module, X, y):
        return X + 0.1


class Shrink:
    def penalty(self, module, X, y):
        return 0.01 * sum((weight**2).sum() for weight in module.parameters())


@every_trained_kind
def test_adversary_and_regularizer_see_the_batches_of_a_stream(make):
    data, params = Generated(), {"adversary": Shift(), "regularizer": Shrink()}
    expect_same(make(**params).fit(data), make(**params).fit(*in_memory(data)))


class Labelled(Generated):
    """Gives other labels: as they are in a mapping."""

    def __init__(self, names, n_samples=300):
        super().__init__(n_samples)
        self.names = names

    def __getitem__(self, i):
        X, label = super().__getitem__(i)
        return X, self.names[label]


def test_score_of_a_stream_is_that_of_its_arrays():
    data = Generated()
    X, y = in_memory(data)
    classifier = anything(lr=1e-4).fit(X, y)
    columns = TensorDataset(torch.from_numpy(X), torch.from_numpy(y)[:, None])
    assert 0 < classifier.score(X, y) < 1
    assert classifier.score(columns) == classifier.score(X, y)
    expect_same(anything(lr=1e-4).fit(columns), classifier)
    words = Labelled(["0", "1", "2"])
    for call in (
        lambda: classifier.score(X, y.astype(str)),
        lambda: classifier.score(words),
        lambda: anything().fit(words).score(data),
    ):
        with pytest.raises(ValueError, match="Mix of label input types"):
            call()
    words = ["zero", "one", "two"]
    named = anything().fit(Labelled(words))
    assert named.score(Labelled(words)) == named.score(X, np.array(words)[y])


def test_many_classes_on_a_stream_warn_of_the_first_batch_at_most():
    # Of few samples in a batch most are of a class of their own.
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(200, 3)).astype(np.float32))
    data = TensorDataset(X, torch.arange(200) % 50)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        anything(batch_size=10).fit(data, classes=range(50))
    assert sum("number of unique classes" in str(w.message) for w in told) <= 1
    with pytest.raises(ValueError, match="Unknown label type"):
        anything().fit(TensorDataset(X, X[:, 0]), classes=range(50))


@every_trained_kind
def test_warm_start_on_some_classes_asks_for_all_of_them(make):
    some = Labelled([0, 2, 2])
    X, y = in_memory(some)
    classifier = make(warm_start=True).fit(Generated())
    message = r"first fit, \[0, 1, 2\]\. Got \[0, 2\] in y.* Pass them all as 'classes'"
    for arguments in ((some,), (X, y)):
        with pytest.raises(ValueError, match=message):
            classifier.fit(*arguments)
    other = copy.deepcopy(classifier)
    expect_same(
        classifier.fit(some, classes=range(3)), other.fit(X, y, classes=range(3))
    )
    assert classifier.n_iter_ == 2 * QUICK["max_epochs"]


@every_trained_kind
def test_fit_that_refuses_its_labels_leaves_what_was_learned(make):
    data = Generated()
    X, y = in_memory(data)
    classifier = make().fit(X, y)
    before = copy.deepcopy(classifier)
    with pytest.raises(ValueError, match=r"y holds \[2\]"):
        classifier.fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y holds \[2\]"):
        classifier.fit(data, classes=[0, 1])
    np.testing.assert_array_equal(classifier.classes_, before.classes_)
    expect_same(classifier, before)
    with pytest.raises(ValueError, match=r"y holds \[2\]"):
        make().partial_fit(X, y, classes=[0, 1])


def test_partial_fit_on_a_stream_ignores_early_stopping():
    data = Generated()
    ours, theirs = anything(early_stopping=True), anything()
    for _ in range(2):
        for classifier in (ours, theirs):
            classifier.partial_fit(data, classes=range(3))
        expect_same(ours, theirs)


@every_trained_kind
def test_warm_start_continues_on_a_stream(make):
    data = Generated()
    twice = make(warm_start=True).fit(data).fit(data)
    X, y = in_memory(data)
    expect_same(twice, make(warm_start=True).fit(X, y).fit(X, y))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, d: c.fit(d, [0] * 300), "y must be None where X is a Generated"),
        (lambda c, d: c.fit(d, classes=[0, 1]), r"y holds \[2\]"),
        (lambda c, d: c.partial_fit(d), "classes must be passed on the first call"),
        (
            lambda c, d: c.set_params(early_stopping=True).fit(d),
            "early_stopping=True holds samples of an array out. Got a Generated",
        ),
        (
            lambda c, d: c.fit(d).score(d, sample_weight=[1] * 300),
            "sample_weight must be None where X is a Generated",
        ),
        (
            lambda c, d: c.fit(d).partial_fit(d, classes=[1, 2]),
            r"classes=\[1, 2\] are not those of the first call",
        ),
        (
            lambda c, d: c.set_params(warm_start=True).fit(d).fit(d, [0] * 300),
            "y must be None where X is a Generated",
        ),
        (
            lambda c, d: c.fit(TensorDataset(torch.zeros(3, 2))),
            r"must give pairs \(X, y\)",
        ),
    ],
)
def test_wrong_calls_with_streams_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call(anything(), Generated())


def test_fit_many_takes_images_and_refuses_streams(digits):
    X, y = digits
    ours, theirs = (
        fit_many([sparse(), sparse(random_state=1)], samples, y)
        for samples in (X.reshape(-1, 8, 8), X)
    )
    for own, other in zip(ours, theirs, strict=True):
        expect_same(own, other)
        assert own.n_features_in_ == 64
    with pytest.raises(TypeError, match=r"fit_many takes arrays\. Got a Generated"):
        fit_many([sparse()], Generated(), None)


def test_regularizer_that_needs_all_samples_refuses_a_stream():
    class Whole(Shrink):
        def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
            raise AssertionError

    with pytest.raises(ValueError, match="'on_epoch_begin' is given all samples"):
        anything(regularizer=Whole()).fit(Generated())


@every_trained_kind
def test_classes_may_be_more_than_those_in_y(make, digits):
    X, y = digits
    few = y < 5
    classifier = make().fit(X[few], y[few], classes=range(10))
    assert classifier.classes_.tolist() == list(range(10))
    assert classifier.predict_proba(X).shape == (500, 10)


LARGER_THAN_MEMORY = """
import resource
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from robustkit.classifiers import TorchClassifier, _base

class Large(Dataset):
    def __init__(self, n_samples):
        self.n_samples = n_samples
    def __len__(self):
        return self.n_samples
    def __getitem__(self, i):
        return torch.full((3, 64, 64), i % 2, dtype=torch.float32), i % 2

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

torch.set_num_threads(1)
params = {"module_params": {"hidden_layer_sizes": ()}, "batch_size": 64}
classifier = TorchClassifier(max_epochs=1, device="cpu", random_state=0, **params)
data = Large(5000)
size = len(data) * 3 * 64 * 64 * 4 / 2**20
classifier.fit(Large(128)).score(Large(128))
before = peak()
classifier.fit(data)
loader = DataLoader(data, batch_size=64)
classifier.set_params(warm_start=True).fit(loader)
assert classifier.score(loader) > 0.9
grown = peak() - before
assert grown < size / 2, (grown, size)
print(size)
"""


@pytest.mark.slow
def test_data_larger_than_the_memory_used_are_learned():
    with started(sys.executable, "-c", LARGER_THAN_MEMORY) as program:
        out, errors = program.communicate(timeout=PATIENCE)
    assert program.returncode == 0, errors
    assert float(out) > 230
