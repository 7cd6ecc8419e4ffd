"""
=======================================
Do fewer regions make a network robust?
=======================================

Two ways of training change how many regions the samples of a network share: label
smoothing, a parameter of every classifier, and a regularizer that draws each class into
one region [1]_. Both can be searched over, as any parameter. A search by robust
accuracy is only as good as the attack behind it, however, and smooth labels are known
to mislead attacks that follow the gradient of the cross-entropy [2]_. So each candidate
is judged by three attacks.
"""

# %%
# One grid for both
# -----------------
#
# The scores of the search: accuracy without an attack, under PGD with the
# cross-entropy, under PGD with the margin loss, the median distance to the nearest
# error, and the PRS ratio of the samples held out, which is the number of their regions
# divided by their number.

import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit

from robustkit.attacks import MinimalDistanceAttack, PGDAttack, robust_scorer
from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.regions import PopulatedRegionRegularizer, PopulatedRegionScorer

X, y = load_digits_images(return_X_y=True)


def ratio(model, X, y):
    return PopulatedRegionScorer(FrozenEstimator(model)).fit(X, y).prs_ratio_


attacks = {
    loss: PGDAttack(eps=0.1, max_iter=10, loss=loss, random_state=0)
    for loss in ("ce", "margin")
}
nearest = MinimalDistanceAttack(random_state=0)
scoring = {
    "clean": "accuracy",
    "pgd_ce": robust_scorer(attacks["ce"]),
    "pgd_margin": robust_scorer(attacks["margin"]),
    "distance": robust_scorer(nearest, metric="median_distance"),
    "ratio": ratio,
}
grid = [
    {"label_smoothing": [0.0, 0.1, 0.3, 0.6]},
    {"regularizer": [PopulatedRegionRegularizer(s) for s in (0.05, 0.8)]},
]
model = MLPNetClassifier(
    (64, 32), max_epochs=20, batch_size=64, lr=3e-3, random_state=0
)
splits = StratifiedShuffleSplit(4, test_size=300, random_state=0)
search = GridSearchCV(model, grid, scoring=scoring, refit=False, cv=splits)
search.fit(X, y)

names = ["plain", "smooth 0.1", "smooth 0.3", "smooth 0.6", "PRS 0.05", "PRS 0.8"]
found = search.cv_results_
table = pd.DataFrame({s: found[f"mean_test_{s}"] for s in scoring}, index=names)
spread = pd.DataFrame({s: found[f"std_test_{s}"] for s in scoring}, index=names)
print(table.round(3))

# %%
# Fewer regions, more robust?
# ---------------------------
#
# Each candidate is a point, with its spread over the four splits: the PRS ratio across,
# how robust it is upwards. If fewer regions made a network robust, the points would
# fall from the upper left to the lower right.

import matplotlib.pyplot as plt

titles = {
    "pgd_ce": "accuracy, PGD on cross-entropy",
    "pgd_margin": "accuracy, PGD on margin",
    "distance": "median distance to an error",
}
colors = {"plain": "black", "smooth": "tab:blue", "PRS": "tab:orange"}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for ax, (score, title) in zip(axes, titles.items(), strict=True):
    for name in names:
        ax.errorbar(
            table.loc[name, "ratio"],
            table.loc[name, score],
            xerr=spread.loc[name, "ratio"],
            yerr=spread.loc[name, score],
            fmt="o",
            color=colors[name.split()[0]],
            elinewidth=0.8,
        )
        ax.annotate(
            name.split()[-1],
            (table.loc[name, "ratio"], table.loc[name, score]),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=8,
        )
    ax.set(xlabel="PRS ratio", title=title)
    ax.spines[["top", "right"]].set_visible(False)
handles = [
    plt.Line2D([], [], marker="o", ls="", color=color, label=label)
    for label, color in zip(
        ("plain", "label smoothing", "PRS regularizer"), colors.values(), strict=True
    )
]
axes[0].legend(handles=handles, frameon=False, fontsize=8)
plt.show()

# %%
# They do not, on these digits. The regularizer lowers the ratio to a quarter, and the
# network is less robust by all three measures. Label smoothing raises the ratio, and
# what it does to robustness depends on whom one asks: under PGD with the cross-entropy
# it looks as good as plain training, under PGD with the margin loss it is clearly
# worse, the more so the more one smooths, and the nearest errors are nearer, too. A
# search with the first score alone would have chosen a network for hiding its errors.
#
# So fewer regions and more robustness do not go together here, in either direction, and
# plain training is best by the two measures that smooth labels cannot mislead.
#
# A later variant, PaLS, smooths labels so that the ratio falls. Its definition is not
# published where we could read it; this is plain label smoothing, which spreads a share
# of the target over all classes.
#
# .. [1] Park, S., Jeong, H., Djanibekov, T., Jeon, G., Seol, J., & Choi, J. (2025). On
#    the relationship between populated regions and adversarial robustness in deep
#    neural networks. IEEE International Conference on Data Mining.
#    https://doi.org/10.48550/arXiv.2207.03400
# .. [2] Fu, C., Chen, H., Ruan, N., & Jia, W. (2020). Label smoothing and adversarial
#    robustness. https://doi.org/10.48550/arXiv.2009.08233
