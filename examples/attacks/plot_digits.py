"""
=============================
How far apart are the digits?
=============================

Everything in robustkit can be tried on scikit-learn's digits: they need no download and
are small enough for a slow computer. This example looks at them, and at the size of
perturbation that could turn one digit into another.
"""

# %%
# A loader gives a table, one flat image per row, with values from 0 (background) to 1
# (ink). The split into training and test images never changes.
from robustkit.datasets import load_digits_images

digits = load_digits_images(split="test")
print(digits.data.shape, digits.image_shape)

# %%
# `image_shape` turns a row back into a picture. Here are five images of every class.
import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots(5, 10, figsize=(8, 4.4), layout="constrained")
for label, column in enumerate(axes.T):
    column[0].set_title(digits.target_names[label])
    images = digits.data[digits.target == label].reshape(-1, *digits.image_shape)
    for image, ax in zip(images, column, strict=False):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.set_axis_off()

# %%
# How far is it from one class to another?
# ----------------------------------------
#
# An attack may change every pixel a little. How little is little? A measure is the
# distance to the nearest image of another class, counted as attacks count: by the pixel
# that changes most.
distances = np.abs(digits.data[:, None] - digits.data).max(axis=2)
distances[digits.target[:, None] == digits.target] = np.inf
nearest = distances.min(axis=1)

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.hist(nearest, bins=np.arange(7.5, 16.5) / 16, rwidth=0.9)
ax.set_xlabel("largest change of a pixel to the nearest image of another class")
ax.set_ylabel("test images")

# %%
# No two test images of different classes are nearer than this:
print(f"{nearest.min():.2f}")

# %%
# An image that was changed by 0.1 is still far nearer to the original than to any image
# of another class. A network that then predicts another class is clearly wrong.
