"""
============================
One pixel: search or proof?
============================

Can a single pixel change the prediction of a model? Differential evolution searches at
random, and where it finds none, nothing is known: there may be one that it missed. An
image has few pixels, though, and along one of them a network of ReLUs is a simple
function. So the question can be answered exactly, for every real value of every pixel,
and faster than by a random search.
"""

# %%
# Images on which a pixel matters
# -------------------------------
#
# Small digits, each somewhere on a larger canvas. What a model sees of such a digit are
# a few bright pixels, so one more can matter.

import numpy as np
from sklearn.neural_network import MLPClassifier

from robustkit.datasets import load_digits_images

digits, labels = load_digits_images(return_X_y=True)
rng = np.random.default_rng(0)


def place(images, repeats):
    """Put each image at random places of a 16 x 16 canvas."""
    canvas = np.zeros((len(images) * repeats, 16, 16), dtype=np.float32)
    for k, field in enumerate(canvas):
        top, left = rng.integers(0, 9, size=2)
        field[top : top + 8, left : left + 8] = images[k % len(images)].reshape(8, 8)
    return canvas.reshape(len(canvas), -1)


X, y = place(digits[:1500], 6), np.tile(labels[:1500], 6)
X_test, y_test = place(digits[1500:], 1), labels[1500:]
model = MLPClassifier(
    (64, 32), learning_rate_init=3e-3, early_stopping=True, random_state=0
).fit(X, y)
print(f"accuracy {model.score(X_test, y_test):.3f}")

# %%
# Search, trying everything, and proof
# ------------------------------------
#
# The three methods attack the same 100 images. The search has a budget of 50
# candidates and 20 generations. Trying everything asks about 256 levels of each of 256
# pixels. The proof goes by branch and bound: it bounds the outputs of the network over
# a whole interval of values, and divides it only where that does not decide.

import time

import pandas as pd
from sklearn.frozen import FrozenEstimator

from robustkit.attacks import OnePixelAttack

rows, results = {}, {}
for method in ("differential_evolution", "exhaustive", "certified"):
    attack = OnePixelAttack(
        FrozenEstimator(model),
        method=method,
        image_shape=(16, 16),
        pop_size=50,
        max_iter=20,
        random_state=0,
    ).fit(X, y)
    start = time.perf_counter()
    results[method] = result = attack.perturb(X_test[:100], y_test[:100])
    right = result.clean_prediction == result.y
    rows[method] = {
        "seconds": time.perf_counter() - start,
        "questions": result.n_queries[right].mean(),
        "fooled": result.success.sum(),
        "proved": 0 if result.certified is None else result.certified.sum(),
        "open": (right & ~result.success).sum(),
    }
table = pd.DataFrame(rows).T
table.loc["certified", "open"] -= table.loc["certified", "proved"]
table.loc["exhaustive", "open"] = np.nan
print(table.round(2))

# %%
# The proof leaves nothing open. Trying everything is exact too, but only on its grid of
# levels. What the search finds is real; what it does not find may still be there.

missed = results["certified"].success & ~results["differential_evolution"].success
print(f"{missed.sum()} images that can be fooled were not by the search")

# %%
# The pixels
# ----------

import matplotlib.pyplot as plt

from robustkit.plotting import AdversarialExamplesDisplay

AdversarialExamplesDisplay.from_result(
    results["certified"], X_test[:100], n_examples=3, image_shape=(16, 16)
)
plt.show()

# %%
# Which pixels are dangerous?
# ---------------------------
#
# For every pixel, the share of images that it fools when it is switched on or off. It
# is the background that is dangerous: a bright pixel where no digit should be.

right = model.predict(X_test) == y_test
images, truth = X_test[right][:60], y_test[right][:60]
fooled = np.zeros((len(images), 256), dtype=bool)
for value in (0.0, 1.0):
    candidates = np.repeat(images, 256, axis=0)
    pixel = np.tile(np.arange(256), len(images))
    candidates[np.arange(len(candidates)), pixel] = value
    said = model.predict(candidates).reshape(len(images), 256)
    fooled |= said != truth[:, None]

fig, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for ax, values, title in zip(
    axes, (images, fooled), ("mean image", "share of images fooled"), strict=True
):
    shown = ax.imshow(values.mean(axis=0).reshape(16, 16), cmap="magma")
    ax.set_title(title)
    ax.set_axis_off()
    fig.colorbar(shown, ax=ax)
plt.show()
