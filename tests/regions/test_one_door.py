"""Regions and activations of bare modules, of images, and of streams of batches."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from robustkit._randomness import seeded_torch
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import TorchClassifier
from robustkit.regions import PopulatedRegionScorer, _counting
from tests.common.callers_things import state_of

FITTED = (
    "n_samples_seen_",
    "n_regions_",
    "prs_ratio_",
    "major_regions_",
    "major_region_shares_",
    "layers_",
    "classes_",
)


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(n_class=3, return_X_y=True)
    return (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)[:200], y[:200]


@pytest.fixture(scope="module")
def module():
    with seeded_torch(0):
        features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten())
        head = nn.Sequential(nn.Linear(108, 6), nn.ReLU(), nn.Linear(6, 3))
    net = nn.Sequential()
    net.add_module("features", features)
    net.add_module("head", head)
    return net.eval()


def wrapped(module):
    return TorchClassifier.from_module(module, range(3), image_shape=(1, 8, 8))


def loader(X, y, batch_size=33, **params):
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    return DataLoader(data, batch_size=batch_size, generator=generator, **params)


def assert_same_scorer(found, expected):
    for name in FITTED:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(
        found.major_region_vectors_, expected.major_region_vectors_, rtol=1e-5
    )
    assert found.regions_.equals(expected.regions_)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_bare_module_and_images_are_the_classifier_around_it_and_rows(
    module, images, make
):
    (X, y), before = images, state_of(module)
    scorer = PopulatedRegionScorer(module, layer="all")
    expected = PopulatedRegionScorer(wrapped(module), layer="all")
    scorer.fit(make(X), y)
    expected.fit(X.reshape(-1, 64), y)
    assert_same_scorer(scorer, expected)
    rows = X.reshape(-1, 64)
    np.testing.assert_array_equal(scorer.transform(make(X)), expected.transform(rows))
    assert scorer.score(make(X)) == expected.score(rows)
    assert scorer.inclusion_ratio(make(X)) == 1
    assert scorer.report(make(X), y).equals(expected.report(rows, y))
    assert scorer(module, make(X)) == expected(wrapped(module), rows)
    assert clone(scorer).estimator is module
    assert state_of(module)["modes"] == before["modes"]
    assert "Conv2d" not in repr(scorer)


@pytest.mark.parametrize("layer", ["penultimate", "all"])
def test_stream_gives_what_the_whole_gives(module, images, layer):
    X, y = images
    whole = PopulatedRegionScorer(module, layer=layer).fit(X, y)
    for stream in (loader(X, y), loader(X, y).dataset):
        scorer = PopulatedRegionScorer(module, layer=layer).fit(stream)
        assert_same_scorer(scorer, whole)
        assert scorer.report(stream).equals(whole.report(X, y))
        assert scorer.score(stream) == whole.score(X)
        assert scorer.inclusion_ratio(stream) == 1
        assert scorer.layer_report(stream).equals(whole.layer_report(X))
    twice = PopulatedRegionScorer(module, layer=layer).partial_fit(loader(X, y))
    twice.partial_fit(loader(X, y))
    assert twice.n_samples_seen_ == 400
    assert twice.n_regions_ == whole.n_regions_


def test_major_regions_not_kept_track_of_in_a_stream_have_their_vectors(
    module, images, monkeypatch
):
    last = [np.flatnonzero(images[1] == label)[-1] for label in range(3)]
    X, y = (np.concatenate([part, np.repeat(part[last], 5, axis=0)]) for part in images)
    whole = PopulatedRegionScorer(module, layer="all").fit(X, y)
    # Of each class only the first region is kept track of.
    monkeypatch.setattr(_counting, "_MAX_SUMS", 1)
    scorer = PopulatedRegionScorer(module, layer="all").fit(loader(X, y, batch_size=9))
    assert np.isnan(scorer._counts.major_vectors()).any()
    assert_same_scorer(scorer, whole)


def test_stream_without_samples_of_a_class_is_refused(module, images):
    X, y = images
    with pytest.raises(ValueError, match=r"no sample of the classes \[2\]"):
        PopulatedRegionScorer(module).fit(loader(X[y < 2], y[y < 2]))
    with pytest.raises(TypeError, match="MLPClassifier cannot be trained on a"):
        PopulatedRegionScorer().fit(loader(X, y))


@pytest.mark.parametrize("streams", [False, True])
def test_a_refused_fit_leaves_nothing_that_partial_fit_would_count_again(
    module, images, streams
):
    X, y = images[0][images[1] < 2], images[1][images[1] < 2]
    given = (loader(X, y),) if streams else (X, y)
    scorer = PopulatedRegionScorer(module).fit(*images)
    with pytest.raises(ValueError, match="or use partial_fit"):
        scorer.fit(*given)
    with pytest.raises(NotFittedError, match="PopulatedRegionScorer"):
        scorer.transform(X)
    scorer.partial_fit(*given)
    alone = PopulatedRegionScorer(module).partial_fit(*given)
    assert scorer.n_samples_seen_ == alone.n_samples_seen_ == len(y)
    assert scorer.regions_.equals(alone.regions_)


def test_a_stream_that_breaks_off_in_fit_leaves_no_counts(module, images):
    X, y = images
    bad = X.copy()
    bad[-1] = np.nan
    scorer = PopulatedRegionScorer(module)
    with pytest.raises(ValueError, match="NaN"):
        scorer.fit(loader(bad, y, batch_size=50))
    assert scorer.partial_fit(X, y).n_samples_seen_ == len(y)


def test_images_of_another_layout_are_refused():
    X = np.random.default_rng(0).random((20, 3, 4, 4), dtype=np.float32)
    y, other = np.arange(20) % 2, X.transpose(0, 2, 3, 1)
    with seeded_torch(0):
        net = nn.Sequential(
            nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
        )
    scorer = PopulatedRegionScorer(net).fit(X, y)
    asks = [
        scorer.transform, scorer.inclusion_ratio, scorer.score, scorer.layer_report,
        lambda X: scorer.report(X, y), lambda X: scorer.partial_fit(X, y),
        lambda X: scorer.report(loader(X, y)),
    ]  # fmt: skip
    known = TorchClassifier.from_module(net, [0, 1], image_shape=(3, 4, 4))
    frozen = FrozenEstimator(known)
    # It knows the shape itself where the scorer was fitted on rows.
    of_rows = PopulatedRegionScorer(frozen).fit(X.reshape(20, -1), y)
    asks += [
        of_rows.transform, lambda X: PopulatedRegionScorer(frozen).fit(X, y),
        lambda X: PopulatedRegionScorer()(known, X),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(
            ValueError, match=r"\(3, 4, 4\).*Got images of .*\(4, 4, 3\)"
        ):
            ask(other)
    np.testing.assert_array_equal(of_rows.transform(X), scorer.transform(X))


def test_transform_of_a_stream_says_what_to_do_instead(module, images):
    scorer = PopulatedRegionScorer(module).fit(*images)
    with pytest.raises(
        TypeError, match="Use report, score or inclusion_ratio, or call"
    ):
        scorer.transform(loader(*images))


def test_notebook_shows_ratio_regions_and_the_largest(module, images):
    X, y = images
    scorer = PopulatedRegionScorer(module)
    assert "PRS ratio" not in scorer._repr_html_()
    html = scorer.fit(X, y)._repr_html_()
    for fact in ("PRS ratio", str(scorer.n_regions_), "largest region", "Sequential"):
        assert fact in html


def test_fitted_model_that_is_not_frozen_warns(images):
    X, y = images[0].reshape(-1, 64), images[1]
    model = MLPClassifier((5,), solver="lbfgs", tol=0.1, random_state=0).fit(X, y)
    for meta in (PopulatedRegionScorer(model), ActivationExtractor(model)):
        with pytest.warns(UserWarning, match=r"FrozenEstimator\(model\)") as caught:
            meta.fit(X, y)
        assert caught[0].filename == __file__


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_extractor_takes_bare_modules_and_images(module, images, make):
    X, _ = images
    bare = ActivationExtractor(module, layer="features.1", spatial="flatten")
    found = bare.fit(make(X)).transform(make(X))
    with torch.no_grad():
        expected = module.features[:2](torch.from_numpy(X)).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert bare.estimator_ is module
    assert clone(bare).estimator is module
    rows = ActivationExtractor(wrapped(module), layer="features.1", spatial="flatten")
    found = rows.fit(X.reshape(-1, 64)).transform(X.reshape(-1, 64))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    untold = TorchClassifier.from_module(module, range(3))
    frozen = ActivationExtractor(FrozenEstimator(untold), spatial="mean")
    assert frozen.fit(make(X)).transform(make(X)).shape == (200, 3)


def test_layers_go_by_the_names_of_the_module_or_by_whole_ones(module, images):
    X, y = images
    for layer in ("features.1", "module.features.1"):
        scorer = PopulatedRegionScorer(module, layer=layer).fit(X, y)
        assert scorer.layers_ == ["module.features.1"]
    scorer = PopulatedRegionScorer(module, layer=["features.1", "head.1"]).fit(X, y)
    assert scorer.layers_ == ["module.features.1", "module.head.1"]
    with pytest.raises(ValueError, match=r"layer='1' may be any of \['module"):
        PopulatedRegionScorer(module, layer="1").fit(X, y)


@pytest.mark.parametrize("layer", ["feature.1", "features.7", "haed.1"])
def test_wrong_layer_lists_the_names_that_resemble_it(module, images, layer):
    X, y = images
    with pytest.raises(ValueError, match=r"is unknown, did you mean .*module\.") as e:
        PopulatedRegionScorer(module, layer=layer).fit(X, y)
    assert "The layers are ['logits'" in str(e.value)


def test_classes_of_a_module_may_come_in_any_order():
    """Each is that of an output, whatever it is called."""
    X, y = np.random.default_rng(0).random((60, 4), dtype=np.float32), np.arange(60) % 3
    with seeded_torch(0):
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    found = []
    for names in (["a", "b", "c"], ["c", "a", "b"], ["b", "a", "c"]):
        names = np.array(names)
        model = TorchClassifier.from_module(net, names)
        scorer = PopulatedRegionScorer(FrozenEstimator(model)).fit(X, names[y])
        regions = scorer.regions_
        for region, majority in regions["majority"].items():
            inside = names[y][scorer.transform(X)[:, 0] == region]
            assert (inside == majority).mean() == regions["purity"][region]
        found.append(
            (scorer.major_regions_, scorer.major_region_shares_, regions["purity"])
        )
    for other in found[1:]:
        for mine, its in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(mine, its)
