"""
====================================
Choosing a model by robust accuracy
====================================

Parameters chosen by accuracy give an accurate model, not a robust one. But robust
accuracy is a score like any other, for cross-validation and for a grid search. Nothing
else has to change.
"""

# %%
# Two scores
# ----------
#
# :func:`~robustkit.attacks.robust_scorer` makes a scorer of an attack.

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate

from robustkit.attacks import FGSMAttack, PGDAttack, robust_scorer
from robustkit.datasets import load_digits_images

X, y = load_digits_images(return_X_y=True)
X, y = X[:800], y[:800]
robust = robust_scorer(PGDAttack(eps=0.08, max_iter=10, random_state=0))
scores = cross_validate(
    LogisticRegression(max_iter=1000),
    X,
    y,
    cv=3,
    scoring={"clean": "accuracy", "robust": robust},
)
for name in ("clean", "robust"):
    print(f"{name}: {scores[f'test_{name}'].mean():.3f}")

# %%
# A grid search
# -------------
#
# A strong penalty makes the weights of a logistic regression small, and with small
# weights a perturbation changes little. But a penalty can be too strong: the weights of
# all classes become alike. Accuracy and robust accuracy do not agree on the best one.

import numpy as np
from sklearn.model_selection import GridSearchCV

grid = {"C": np.logspace(-3, 2, 9)}
search = GridSearchCV(
    LogisticRegression(max_iter=2000),
    grid,
    cv=3,
    scoring={"clean": "accuracy", "robust": robust},
    refit="robust",
).fit(X, y)

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, style in (("clean", "o--"), ("robust", "o-")):
    mean = search.cv_results_[f"mean_test_{name}"]
    (line,) = ax.semilogx(grid["C"], mean, style, label=name)
    best = mean.argmax()
    ax.plot(grid["C"][best], mean[best], "*", ms=16, color=line.get_color())
ax.set(xlabel="C (a small one is a strong penalty)", ylabel="accuracy", ylim=(0, 1))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, title="star: the best")
plt.show()

# %%
# Training against an attack
# --------------------------
#
# A network is more accurate here, and less robust, until it is trained on attacked
# images. It takes an attack as its `adversary`; each batch is perturbed before the
# network learns from it.

from robustkit.classifiers import MLPNetClassifier

plain = MLPNetClassifier((64,), max_epochs=60, batch_size=128, lr=3e-3, random_state=0)
adversary = PGDAttack(eps=0.08, max_iter=5)
candidates = {
    "best logistic regression": search.best_estimator_,
    "network": plain,
    "network trained against FGSM": MLPNetClassifier(
        **plain.get_params() | {"adversary": FGSMAttack(eps=0.08)}
    ),
    "network trained against PGD": MLPNetClassifier(
        **plain.get_params() | {"adversary": adversary}
    ),
}
scoring = {"clean": "accuracy", "robust": robust}
for name, model in candidates.items():
    scores = cross_validate(model, X, y, cv=3, scoring=scoring)
    clean, hard = (scores[f"test_{kind}"].mean() for kind in ("clean", "robust"))
    print(f"{name}: clean {clean:.3f}, robust {hard:.3f}")
