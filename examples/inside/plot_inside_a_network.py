"""
============================================
Follow a gradient, and look inside a network
============================================

Two questions about a trained model. Which pixels would have to change for the
prediction to change? And how does the network represent an image on its way to the
prediction? For the first one needs the gradient of a scikit-learn model, for the second
the layers of a network. The bridge gives both.
"""

# %%
# The gradient of a pipeline
# --------------------------
#
# A pipeline has no gradient of its own. :func:`~robustkit.bridge.as_module` makes a
# torch module of it, scaler and all, that takes raw pixels. Torch then says by how much
# the *margin* changes with each pixel: the lead of the true class over the next one.

import matplotlib.pyplot as plt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robustkit.bridge import as_module
from robustkit.datasets import load_digits_images

X, y = load_digits_images(split="train", return_X_y=True)
X_test, y_test = load_digits_images(split="test", return_X_y=True)
scaler = StandardScaler(with_std=False)
pipeline = make_pipeline(scaler, LogisticRegression(max_iter=1000)).fit(X, y)

module = as_module(pipeline)
images = torch.tensor(X_test[:5], requires_grad=True)
labels = torch.tensor(y_test[:5])[:, None]
logits = module(images)
others = logits.scatter(1, labels, -torch.inf).amax(dim=1)
margin = logits.gather(1, labels).squeeze(1) - others
(gradient,) = torch.autograd.grad(margin.sum(), images)

_, axes = plt.subplots(2, 5, figsize=(8, 3.4), layout="constrained")
gradient = gradient.numpy()
limit = abs(gradient).max()
for column, (image, slope, label) in enumerate(
    zip(X_test[:5], gradient, y_test[:5], strict=True)
):
    axes[0, column].imshow(image.reshape(8, 8), cmap="gray_r")
    axes[0, column].set_title(label)
    axes[1, column].imshow(slope.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
for ax in axes.ravel():
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("image")
axes[1, 0].set_ylabel("gradient")

# %%
# More ink on a red pixel speaks for the true digit, more ink on a blue one against it.
# This is what an attack follows: downhill, on all pixels at once.
#
# The layers of a network
# -----------------------
#
# A network turns an image into numbers, layer by layer, until only the answer is left.
# :class:`~robustkit.bridge.ActivationExtractor` is a transformer, from images to what a
# layer makes of them. So it goes into a pipeline, here before a projection to two
# dimensions.

from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import FunctionTransformer

from robustkit.attacks import PGDAttack
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import MLPNetClassifier

net = MLPNetClassifier((64, 32), lr=5e-3, max_epochs=20, random_state=0).fit(X, y)
net = FrozenEstimator(net)
attack = PGDAttack(net, eps=0.15, random_state=0).fit(X, y)


def look_at(layer):
    """Make a transformer of a layer; the pixels are the layer before the first."""
    if layer == "pixels":
        return FunctionTransformer()
    return ActivationExtractor(net, layer=layer).fit(X, y)


layers = {"pixels": "pixels", "first hidden layer": 0, "last hidden layer": -1}
_, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
shown = y_test < 3
for ax, (name, layer) in zip(axes, layers.items(), strict=True):
    look = make_pipeline(look_at(layer), PCA(2)).fit(X[y < 3])
    clean = look.transform(X_test[shown])
    attacked = look.transform(attack.transform(X_test[shown]))
    for digit, color in zip(range(3), ("#0072b2", "#e69f00", "#009e73"), strict=True):
        rows = y_test[shown] == digit
        ax.plot(*clean[rows].T, "o", color=color, ms=4, label=digit)
        ax.plot(*attacked[rows].T, "x", color=color, ms=4)
    ax.set(title=name, xticks=[], yticks=[])
axes[0].legend(title="digit", frameon=False)

# %%
# Dots are images as they are, crosses the same images under attack: they leave their
# group, and the groups come near each other. How far does an image move, compared with
# the distance of a 0 and a 1?

import numpy as np

X_adv = attack.perturb(X_test, y_test).X_adv
for name, layer in layers.items():
    before, after = look_at(layer).transform(X_test), look_at(layer).transform(X_adv)
    moved = np.linalg.norm(after - before, axis=1).mean()
    zeros, ones = before[y_test == 0], before[y_test == 1]
    apart = np.linalg.norm(zeros[:, None] - ones, axis=2).mean()
    print(f"{name}: {moved / apart:.0%}")

# %%
# The change grows from layer to layer.
