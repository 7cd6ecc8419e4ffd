"""Perceptrons and convolutional networks."""

import pytest
import torch
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.networks._architectures import ToImages, cnn6, mlp, resnet18


def n_parameters(module):
    return sum(weight.numel() for weight in module.parameters())


def build(factory, *args, **kwargs):
    with seeded_torch(0):
        return factory(*args, **kwargs).eval()


def test_to_images_reshapes_flat_samples_only():
    images = torch.arange(24.0).reshape(2, 3, 2, 2)
    layer = ToImages((3, 2, 2))
    assert torch.equal(layer(images), images)
    assert torch.equal(layer(images.flatten(1)), images)
    assert repr(layer) == "ToImages(image_shape=(3, 2, 2))"


def test_mlp_equals_its_matrices():
    module = build(mlp, 6, 3, hidden_layer_sizes=(5, 4))
    X = torch.linspace(-1, 1, 12).reshape(2, 6)
    h = torch.relu(X @ module.hidden1.weight.T + module.hidden1.bias)
    h = torch.relu(h @ module.hidden2.weight.T + module.hidden2.bias)
    expected = h @ module.output.weight.T + module.output.bias
    torch.testing.assert_close(module(X), expected)
    torch.testing.assert_close(module(X.reshape(2, 3, 2)), expected)


def test_mlp_without_hidden_layers_is_linear():
    assert n_parameters(build(mlp, 6, 3, hidden_layer_sizes=())) == 6 * 3 + 3


def test_cnn6_has_the_published_layers():
    module = build(cnn6, 784, 10, image_shape=(1, 28, 28))
    widths = [part.out_channels for part in module if isinstance(part, nn.Conv2d)]
    assert widths == [32, 64, 128, 128, 64, 64]
    dense = [part for part in module if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in dense] == [
        (64 * 3 * 3, 512),
        (512, 128),
        (128, 10),
    ]
    kinds = [name.rstrip("123456") for name, _ in module.named_children()]
    pools_before = [kinds[:i].count("conv") for i, k in enumerate(kinds) if k == "pool"]
    assert pools_before == [2, 4, 5]


def test_cnn6_refuses_images_smaller_than_8_pixels():
    with pytest.raises(ValueError, match=r"8 x 8 pixels.*\(1, 7, 28\)"):
        cnn6(196, 10, image_shape=(1, 7, 28))


def test_resnet18_matches_the_published_network():
    module = build(resnet18, 3072, 10, image_shape=(3, 32, 32))
    # 11,173,962 parameters is the figure known for 32 x 32 images and ten classes.
    assert n_parameters(module) == 11_173_962
    convolutions = [
        part
        for part in module.modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)
    ]
    assert len(convolutions) == 17
    X = torch.linspace(0, 1, 3072).reshape(1, 3072)
    features = module[: list(dict(module.named_children())).index("pool")](X)
    assert features.shape == (1, 512, 4, 4)


def test_residual_block_adds_its_input():
    block = build(resnet18, 48, 2, image_shape=(3, 4, 4), width=4).layer1[0]
    nn.init.zeros_(block.bn2.weight)
    images = torch.linspace(-1, 1, 64).reshape(1, 4, 4, 4)
    torch.testing.assert_close(block(images), torch.relu(images))


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (mlp, {"hidden_layer_sizes": (20, 20)}),
        (cnn6, {"image_shape": (1, 8, 8)}),
        (resnet18, {"image_shape": (1, 8, 8), "width": 4}),
    ],
)
def test_architectures_have_no_in_place_layers(factory, options):
    module = build(factory, 64, 3, **options)
    seen = []
    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(
                lambda m, inputs, out: seen.append((inputs[0], inputs[0].clone()))
            )
    flat = torch.linspace(-1, 1, 128).reshape(2, 64)
    logits = module(flat)
    assert logits.shape == (2, 3)
    assert all(torch.equal(now, then) for now, then in seen)
    # What a layer said is still there when all others have spoken: hooks get no clones.
    outputs = []
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
            part.register_forward_hook(
                lambda m, inputs, out: outputs.append((out, out.clone()))
            )
    module(flat)
    assert all(torch.equal(now, then) for now, then in outputs)
