"""
=========================================
What is between two images?
=========================================

A network of ReLUs cuts its input space into regions, in each of which it is one affine
map. Between a few images one can look at all of them: a plane through three images is
cut into polygons, exactly, and the decision boundary runs along straight pieces.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# The first layers cut, the last ones decide
# ------------------------------------------
#
# In two dimensions the plane is the whole space. Thin lines are the walls of regions,
# where a unit changes its sign; thick ones are the decision boundary. Far from the
# samples regions are large. The boundary bends only where it crosses a wall.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from robustkit.classifiers import MLPNetClassifier
from robustkit.plotting import RegionPlaneDisplay

X, y = make_moons(200, noise=0.15, random_state=0)
X = X.astype(np.float32)
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
for ax, layers in zip(axes, ((8,), (16, 16)), strict=True):
    model = MLPNetClassifier(layers, max_epochs=150, lr=0.01, random_state=0).fit(X, y)
    display = RegionPlaneDisplay.from_estimator(
        model,
        [0.5, 0.25],
        [1, 0],
        [0, 1],
        extent=(-2.2, 2.2, -1.6, 1.6),
        X=X,
        y=y,
        ax=ax,
    )
    ax.set_title(f"{layers}: {len(display.regions.region)} regions in the plane")
plt.show()

# %%
# Through three digits
# --------------------
#
# A plane through three images of digits: one of them is the origin, the ways to the
# other two are the directions, so that the images lie at (0, 0), (1, 0) and (0, 1).
# Everything else in the plane is a mixture of the three.

from robustkit.datasets import load_digits_images

X, y = load_digits_images(return_X_y=True)
model = MLPNetClassifier((64, 32), max_epochs=30, lr=3e-3, random_state=0).fit(X, y)
is_right = model.predict(X) == y
three = X[[np.flatnonzero(is_right & (y == digit))[0] for digit in (3, 8, 5)]]
origin, u, v = three[0], three[1] - three[0], three[2] - three[0]
display = RegionPlaneDisplay.from_estimator(
    model, origin, u, v, extent=(-0.4, 1.4, -0.4, 1.4), X=three, y=[3, 8, 5]
)
display.figure_.set_size_inches(5.5, 4.4)
plt.show()

# %%
# The way from one to another
# ---------------------------
#
# :func:`~robustkit.regions.regions_along` gives the same along a line: the interval of
# every region, and the logits, which are straight lines there. So the place where one
# logit overtakes the other is known exactly.

from robustkit.regions import regions_along

found = regions_along(model, three[:1], three[1:2])
print(f"{len(found.start)} regions from the 3 to the 8")
intercept = found.intercept[:, 8] - found.intercept[:, 3]
slope = found.slope[:, 8] - found.slope[:, 3]
crossing = -intercept / slope
inside = (crossing >= found.start) & (crossing <= found.stop)
print(f"equal logits at {crossing[inside].round(4).tolist()}")

at_start = found.intercept + found.slope * found.start[:, np.newaxis]
at_end = found.intercept[-1:] + found.slope[-1:]
places = np.append(found.start, 1.0)
logits = np.concatenate([at_start, at_end])[:, [3, 8]]
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(places, logits, label=["logit of 3", "logit of 8"])
walls = found.start[1:]
floor = np.full(len(walls), logits.min())
ax.plot(walls, floor, "|", color="black", label="walls")
ax.set(xlabel="from the 3 to the 8", ylabel="logit")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, bbox_to_anchor=(1, 1))
plt.show()

# %%
# Where the nearest errors lie
# ----------------------------
#
# How far is a sample from the wall of its region, and how far from its nearest error?
# If errors lay in the own region, the network would make them where it is one affine
# map, and a look at that map would find them.

from sklearn.frozen import FrozenEstimator

from robustkit.attacks import MinimalDistanceAttack
from robustkit.regions import wall_distances

attack = MinimalDistanceAttack(FrozenEstimator(model), random_state=0).fit(X, y)
result = attack.perturb(X[:100], y[:100])
walls = wall_distances(model, X[:100], result.X_adv)
fooled = walls[result.success]
print(
    f"median distance to a wall {fooled['linf'].median():.4f}, to the nearest error "
    f"{np.median(result.eps[result.success]):.4f}"
)
print(
    f"regions on the way: median {fooled['n_regions'].median():.0f}; errors in the "
    f"own region: {(fooled['n_regions'] == 1).mean():.0%}"
)

# %%
# Hardly any lies there: the nearest wall is many times nearer than the nearest error,
# and the way to the error crosses several walls. A study measures the same for many
# networks, with ``RobustnessStudy(walls=100)``.
