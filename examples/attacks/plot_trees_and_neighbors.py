"""
==================================
Forests, boosting and neighbors
==================================

Trees and nearest neighbors have no gradient that an attack could follow. That
does not make them more robust. A random search that only uses scores finds images that
they misclassify, close to images that they classify correctly.
"""

# %%
# Four models, one attack
# -----------------------
#
# All are trained on the same digits, and attacked on digits that they have not seen. A
# pixel may change by 0.1 of its range.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from robustkit.attacks import PGDAttack, SquareAttack

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=200, random_state=0
)
models = {
    "random forest": RandomForestClassifier(50, random_state=0),
    "gradient boosting": HistGradientBoostingClassifier(max_iter=30, random_state=0),
    "nearest neighbors": KNeighborsClassifier(5),
    "multilayer perceptron": MLPClassifier(max_iter=300, random_state=0),
}
for model in models.values():
    model.fit(X_train, y_train)

# %%
# More queries find more
# ----------------------
#
# The budget is the number of points at which the model is evaluated for one image. A
# figure that still falls with the budget says how long was searched, not how robust the
# model is: with twenty queries the random forest would seem robust. Five neighbors have
# few different scores, so most moves change none, and the search is slow.

budgets = [5, 20, 50, 200, 500]
rows = {}
for name, model in models.items():
    rows[name] = {}
    for budget in budgets:
        attack = SquareAttack(
            FrozenEstimator(model),
            eps=0.1,
            max_queries=budget,
            image_shape=(8, 8),
            random_state=0,
        ).fit(X_train, y_train)
        rows[name][budget] = attack.score(X_test, y_test)
table = pd.DataFrame(rows).rename_axis("queries")
clean = pd.Series({name: m.score(X_test, y_test) for name, m in models.items()})
print("clean accuracy", clean.round(3).to_string(), sep="\n")
print(table.round(3).to_string())

# %%

figure, ax = plt.subplots(layout="constrained")
table.plot(ax=ax, marker="o", logx=True)
ax.set(
    xlabel="queries per image",
    ylabel="robust accuracy, eps 0.1",
    ylim=(0, 1),
    xticks=budgets,
    xticklabels=budgets,
)
ax.minorticks_off()
ax.grid(alpha=0.3)

# %%
# Where there is a gradient, follow it
# ------------------------------------
#
# For the perceptron the gradient is known, and an attack that follows it is stronger at
# a fraction of the cost.

pgd = PGDAttack(
    FrozenEstimator(models["multilayer perceptron"]),
    eps=0.1,
    loss="rotate",
    n_restarts=4,
    random_state=0,
).fit(X_train, y_train)
print(f"PGD:                 {pgd.score(X_test, y_test):.3f}")
print(f"square, 500 queries: {table.loc[500, 'multilayer perceptron']:.3f}")

# %%
# What an adversarial image looks like
# ------------------------------------
#
# Above the clean image, below the one that the forest gets wrong, each with the share
# of trees that agree.

forest = models["random forest"]
attack = SquareAttack(
    FrozenEstimator(forest),
    eps=0.1,
    max_queries=500,
    image_shape=(8, 8),
    random_state=0,
).fit(X_train, y_train)
result = attack.perturb(X_test, y_test)
fooled = result.success.nonzero()[0][:6]
figure, axes = plt.subplots(2, len(fooled), figsize=(9, 3.4), layout="constrained")
for (above, below), i in zip(axes.T, fooled, strict=True):
    for axis, image in ((above, X_test[i]), (below, result.X_adv[i])):
        label = forest.predict(image[None])[0]
        share = forest.predict_proba(image[None]).max()
        axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axis.set(title=f"{label}: {share:.0%} of trees", xticks=[], yticks=[])
