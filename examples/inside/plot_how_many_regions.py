"""
=========================================
How many regions do training samples use?
=========================================

A network of ReLUs is made of linear pieces. Which piece a sample is on depends on the
units: a unit is active if its input is greater than zero, and otherwise its ReLU gives
zero. Which units of a layer are active is the *region* of the sample. A layer of 32
units has four billion patterns. How many of them do the samples use?
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# Count them
# ----------
#
# :class:`~robustkit.regions.PopulatedRegionScorer` takes a model, fits it, and counts
# the regions of its training samples. The *PRS ratio* is the number of these regions
# divided by the number of samples.

from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.regions import PopulatedRegionScorer

X, y = load_digits_images(return_X_y=True)
model = MLPNetClassifier(
    (64, 64, 32), max_epochs=30, batch_size=128, lr=3e-3, random_state=0
)
scorer = PopulatedRegionScorer(model).fit(X, y)
print(f"{len(X)} samples, {scorer.n_regions_} regions, ratio {scorer.prs_ratio_:.2f}")

# %%
# Each region has a number. The table says how many samples live there, which class most
# of them are of, and which share of them is.

print(scorer.regions_.sort_values("count", ascending=False).head(8))

# %%
# Large and small
# ---------------
#
# A few regions hold many samples, and many hold one: sorted by size, the regions lie
# near a line between two logarithmic axes. The most frequent region of a class is its
# *major region*, and most of the class lives elsewhere. The deeper the layer, the more
# samples share their pattern. In the first, nearly every image has one of its own.

import matplotlib.pyplot as plt

from robustkit.plotting import PopulatedRegionsDisplay

fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for ax, kind in zip(axes, ("sizes", "classes", "layers"), strict=True):
    PopulatedRegionsDisplay.from_estimator(scorer, X, kind=kind, ax=ax)
plt.show()

# %%
# What a ratio depends on
# -----------------------
#
# On the number of samples: the first sample always has a region of its own, and each
# further one is more likely to meet a known one. So two ratios can only be compared
# at the same number of samples. :meth:`~robustkit.regions.PopulatedRegionScorer.report`
# says what a part of the samples would have had, on average over all such parts.

report = scorer.report(X, y)
curve = report[report.index.str.startswith("prs_ratio[n=")]
sizes = curve.index.str.extract(r"(\d+)", expand=False).astype(int)

fig, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
ax.plot(sizes, curve, "o-")
ax.set(xscale="log", ylim=(0, 1.03), xlabel="number of samples", ylabel="PRS ratio")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# And on the training. Here the same network learns for longer and longer, in small and
# in large batches. As it begins to learn, samples of one class move together, and the
# ratio falls; with small batches that is over after the first epoch. Later it rises
# again, slowly.

import pandas as pd

rows = []
for max_epochs in (1, 3, 10, 30):
    for batch_size in (32, 512):
        model.set_params(max_epochs=max_epochs, batch_size=batch_size)
        scorer.fit(X, y)
        rows.append(
            {
                "epochs": max_epochs,
                "batch_size": batch_size,
                "ratio": scorer.prs_ratio_,
                "accuracy": scorer.estimator_.score(X, y),
            }
        )
print(pd.DataFrame(rows).round(2).to_string(index=False))

# %%
# New samples
# -----------
#
# A sample that was not in the training set may fall into a region where no training
# sample lives: `transform` gives it the number -1. The share of the others is the
# *inclusion ratio*. A pattern is known without any label, so it can be asked of every
# new sample whether the network has been there before. One might expect it to be wrong
# more often where it has not; with so few mistakes as here, that cannot be said.

from sklearn.model_selection import train_test_split

X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
scorer.fit(X_train, y_train)
homes = scorer.transform(X_test)[:, 0]
right = scorer.estimator_.predict(X_test) == y_test
print(f"inclusion ratio {scorer.inclusion_ratio(X_test):.2f}")
print(f"accuracy where training samples live {right[homes >= 0].mean():.3f}")
print(f"accuracy elsewhere                   {right[homes < 0].mean():.3f}")
