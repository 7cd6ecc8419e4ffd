"""Networks without a graph: a perceptron, a small and a residual convnet.

Each takes flat samples as well as images, so that a scikit-learn estimator can hold it
without reshaping. None works in place, so that hooks see the actual output of a layer.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

__all__ = [
    "ARCHITECTURES",
    "ResidualBlock",
    "ToImages",
    "cnn6",
    "flat_input",
    "mlp",
    "resnet18",
]


class ToImages(nn.Module):
    """Reshape flat samples to images of shape (channels, height, width)."""

    def __init__(self, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)

    def forward(self, X: Tensor) -> Tensor:
        """Reshape a batch."""
        return X.reshape(-1, *self.image_shape)

    def extra_repr(self) -> str:
        """Show the shape in the module's repr."""
        return f"image_shape={self.image_shape}"


def flat_input(module: nn.Module, image_shape: Sequence[int] | None) -> nn.Module:
    """Let a module that takes images take rows; None leaves it as it is.

    It becomes the part "module" of a wrapper, which shares its weights and its mode.
    """
    if image_shape is None:
        return module
    images = ToImages(image_shape)
    network = nn.Sequential(OrderedDict(images=images, module=module))
    # The parts of the module keep modes of their own.
    network.training = images.training = module.training
    return network


def mlp(
    n_features: int, n_classes: int, *, hidden_layer_sizes: Sequence[int] = (100,)
) -> nn.Sequential:
    """Build a perceptron with ReLU after every hidden layer.

    Its layers are "hidden1", "relu1", "hidden2", ..., "output".
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    width = n_features
    for number, size in enumerate(hidden_layer_sizes, start=1):
        layers[f"hidden{number}"] = nn.Linear(width, size)
        layers[f"relu{number}"] = nn.ReLU()
        width = size
    layers["output"] = nn.Linear(width, n_classes)
    return nn.Sequential(layers)


def cnn6(
    n_features: int, n_classes: int, *, image_shape: Sequence[int]
) -> nn.Sequential:
    """Build six convolutions and three dense layers, without batch normalisation.

    Images have at least 8 by 8 pixels. The convolutions "conv1" to "conv6" have pooling
    after the second, fourth and fifth; "hidden1", "hidden2" and "output" follow.
    """
    channels, height, width = image_shape
    if min(height, width) < 8:
        raise ValueError(
            "module='cnn6' halves its images three times and needs at least 8 x 8 "
            f"pixels. Got image_shape={tuple(image_shape)!r} instead."
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict(images=ToImages(image_shape))
    for number, n_filters in enumerate((32, 64, 128, 128, 64, 64), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, n_filters, 3, padding=1)
        layers[f"conv_relu{number}"] = nn.ReLU()
        if number in (2, 4, 5):
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        channels = n_filters
    layers["flatten"] = nn.Flatten()
    layers["hidden1"] = nn.Linear(channels * (height // 8) * (width // 8), 512)
    layers["relu1"] = nn.ReLU()
    layers["hidden2"] = nn.Linear(512, 128)
    layers["relu2"] = nn.ReLU()
    layers["output"] = nn.Linear(128, n_classes)
    return nn.Sequential(layers)


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False),
                nn.BatchNorm2d(n_out),
            )
        self.relu2 = nn.ReLU()

    def forward(self, X: Tensor) -> Tensor:
        """Apply the block to a batch of images."""
        inner = self.relu1(self.bn1(self.conv1(X)))
        return self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(X))


def resnet18(
    n_features: int, n_classes: int, *, image_shape: Sequence[int], width: int = 64
) -> nn.Sequential:
    """Build the 18-layer residual network for small images [1]_.

    The first convolution is 3 by 3 and nothing is pooled before the blocks, as is usual
    for 32 by 32 pixels, where the last block's output is 512 x 4 x 4. `width` is the
    number of channels of the first block; the others have 2, 4 and 8 times as many.

    References
    ----------
    .. [1] He, K., Zhang, X., Ren, S., & Sun, J. (2016). Deep residual learning for
       image recognition. CVPR. https://doi.org/10.1109/CVPR.2016.90
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        images=ToImages(image_shape),
        conv1=nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu1=nn.ReLU(),
    )
    n_in = width
    for number, stride in enumerate((1, 2, 2, 2), start=1):
        n_out = width * 2 ** (number - 1)
        layers[f"layer{number}"] = nn.Sequential(
            ResidualBlock(n_in, n_out, stride), ResidualBlock(n_out, n_out, 1)
        )
        n_in = n_out
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(n_in, n_classes)
    return nn.Sequential(layers)


# The names that a user may give instead of a callable. "mlp" needs no image shape.
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn6": cnn6,
    "resnet18": resnet18,
}
