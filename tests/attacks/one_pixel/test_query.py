"""Asking the fast way gives what asking about whole images gives."""

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.attacks._attacked_model import AttackedModel
from robustkit.attacks._one_pixel import _as_seen_by, _module_or_none
from robustkit.attacks.one_pixel._query import (
    FirstMap,
    PixelSpace,
    query_about,
    split_first_map,
)
from robustkit.bridge import ElementwiseScale, as_module
from tests.attacks.pixel_victims import (
    MODELS,
    WITHOUT_PROOF,
    convolutional,
    fitted,
    images,
)


def candidates(n_samples, n_pixels, n_channels, levels, n=300):
    rng = np.random.default_rng(0)
    return (
        torch.from_numpy(rng.integers(n_samples, size=n)),
        torch.from_numpy(rng.integers(n_pixels, size=n)),
        torch.from_numpy(rng.uniform(0, levels - 1, size=(n, n_channels))),
    )


def whole_images(space, X, rows, pixel, level):
    out = np.empty((len(rows), X.shape[1]))
    space.write(X[rows].astype(np.float64), pixel.numpy(), level.numpy(), out)
    return out


@pytest.mark.parametrize("name", [*MODELS, *WITHOUT_PROOF])
def test_query_returns_the_margin_of_the_whole_image(name):
    X, y = images()
    model = fitted(name)
    module = _module_or_none(model)
    judge = AttackedModel(model, module, torch.device("cpu"))
    space = PixelSpace(25, (5, 5), np.zeros(25), np.ones(25), 256)
    asked = candidates(len(X), 25, 1, 256)
    fitness, fooled = query_about(_as_seen_by(judge), space, X, y)(*asked)
    tried = whole_images(space, X, *asked)
    if module is None:
        scores = model.predict_proba(tried)
    else:
        with torch.no_grad():
            scores = module(torch.from_numpy(tried).float()).numpy()
    labels = y[asked[0].numpy()]
    true = scores[np.arange(300), labels]
    fooled_slowly = scores.argmax(axis=1) != labels
    scores = scores.copy()
    scores[np.arange(300), labels] = -np.inf
    margin = true - scores.max(axis=1)
    np.testing.assert_allclose(fitness.numpy(), margin, atol=2e-4, rtol=1e-4)
    sure = np.abs(margin) > 1e-3
    np.testing.assert_array_equal(fooled.numpy()[sure], fooled_slowly[sure])


@pytest.mark.parametrize("n_channels", [1, 3])
def test_query_gives_whole_images_to_a_convolution(n_channels):
    model, X, y = convolutional(n_channels)
    judge = AttackedModel(model, as_module(model), torch.device("cpu"))
    assert split_first_map(judge.module) is None
    n = 16 * n_channels
    space = PixelSpace(n, (n_channels, 4, 4), np.zeros(n), np.ones(n), 11)
    asked = candidates(len(X), 16, n_channels, 11)
    _, fooled = query_about(_as_seen_by(judge), space, X, y)(*asked)
    said = model.predict(whole_images(space, X, *asked))
    np.testing.assert_array_equal(fooled.numpy(), said != y[asked[0].numpy()])


def test_first_map_is_found_behind_parts_that_do_nothing():
    layer = nn.utils.skip_init(nn.Linear, 4, 3)
    module = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Identity(), layer), nn.ReLU())
    first = split_first_map(module)
    assert first.weight.data_ptr() == layer.weight.data_ptr()
    assert [type(m) for m in first.modules] == [nn.ReLU]
    without_bias = nn.utils.skip_init(nn.Linear, 4, 3, bias=False)
    assert not split_first_map(without_bias).bias.any()
    for stranger in (nn.ReLU(), nn.Sequential(), nn.Sequential(nn.Tanh(), layer)):
        assert split_first_map(stranger) is None


def test_pixel_space_reaches_both_ends_of_the_range():
    low, high = np.array([0.1, -3.0]), np.array([0.3, 7.0])
    space = PixelSpace(2, None, low, high, 7)
    pixel = np.array([0, 0, 1, 1])
    level = np.array([0, 6, 0, 6])[:, None]
    np.testing.assert_array_equal(
        space.values(pixel, level)[:, 0], [0.1, 0.3, -3.0, 7.0]
    )


def test_pixel_of_a_colour_image_is_three_features():
    space = PixelSpace(12, (3, 2, 2), np.zeros(12), np.ones(12), 2)
    assert space.n_pixels == 4
    np.testing.assert_array_equal(space.features[1], [1, 5, 9])
    X = np.full((2, 12), 0.5)
    out = np.empty_like(X)
    space.write(X, np.array([1, -1]), np.array([[0, 1, 0], [1, 1, 1]]), out)
    np.testing.assert_array_equal(out[0, [1, 5, 9]], [0, 1, 0])
    assert (out[0] != 0.5).sum() == 3
    np.testing.assert_array_equal(out[1], X[1])


@pytest.mark.parametrize("name", ["mlp", "forest", "tanh"])
def test_query_gives_candidates_as_they_would_be_returned(name):
    X, y = images()
    model = fitted(name)
    judge = AttackedModel(model, _module_or_none(model), torch.device("cpu"))
    space = PixelSpace(25, (5, 5), np.full(25, -3.0), np.full(25, 7.0), 11)
    rng = np.random.default_rng(0)
    rows, pixel = rng.integers(len(X), size=(2, 400))
    pixel, level = pixel % 25, rng.integers(11, size=(400, 1)).astype(float)
    asked = [torch.from_numpy(part) for part in (rows, pixel, level)]
    with judge.at_work(X, 400):
        query = query_about(_as_seen_by(judge), space, X, y)
        _, errs = query(*asked)
    tried = X[rows].copy()
    tried[np.arange(400), pixel] = -3 + level[:, 0]
    np.testing.assert_allclose(query.images(rows, pixel, level), tried, atol=1e-6)
    np.testing.assert_array_equal(errs.numpy(), model.predict(tried) != y[rows])


@pytest.mark.parametrize("scales", [[1e6], [1e-3, 1e6], [1e6, 1e-3], [1e3, 1e3, 1e3]])
def test_the_loss_covers_small_values_that_become_zero(scales):
    """Arithmetic that has no subnormal numbers makes each of them zero."""
    first = FirstMap(
        [ElementwiseScale(scale=s, dtype=torch.float32) for s in scales],
        torch.ones(1, 1),
        torch.zeros(1),
        nn.Identity(),
        [],
    )
    loss = float(first.scaled_loss(torch.tensor([0])))
    tiny = torch.finfo(torch.float32).tiny
    # The largest pixel that is lost wherever it falls below the smallest number.
    lost = max(tiny * np.prod(scales[k:], initial=1.0) for k in range(len(scales) + 1))
    assert lost <= loss < 10 * lost
