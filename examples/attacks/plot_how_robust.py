"""
====================================
How robust is a scikit-learn model?
====================================

A model that classifies nine of ten images correctly may misclassify nearly all of them
after every pixel has been changed a little, by someone who knows the model. How little
is enough? Here three models that are about equally accurate are attacked: a logistic
regression behind a scaler, scikit-learn's own network, and a network whose structure is
a random graph. None of them was trained with attacks in mind.
"""

# %%
# Three models
# ------------

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robustkit.classifiers import SparseNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.graphs import GraphPrior

X, y = load_digits_images(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=400, random_state=0)
models = {
    "logistic regression": make_pipeline(
        StandardScaler(with_std=False), LogisticRegression(max_iter=1000)
    ),
    "MLPClassifier": MLPClassifier((100,), max_iter=500, random_state=0),
    "sparse net": SparseNetClassifier(
        GraphPrior(n_nodes=200), max_epochs=60, batch_size=128, lr=3e-3, random_state=0
    ),
}
for name, model in models.items():
    model.fit(X_train, y_train)
    print(f"{name}: {model.score(X_test, y_test):.3f} of the test images right")

# %%
# One number
# ----------
#
# A model that is already trained is handed to an attack as a
# :class:`~sklearn.frozen.FrozenEstimator`. The strongest setting,
# ``loss="rotate"``, tries a second loss wherever the usual one finds nothing.
# Each feature may move by `eps`, and stays in the range of the data.

import pandas as pd
from sklearn.frozen import FrozenEstimator

from robustkit.attacks import PGDAttack

attacks = {
    name: PGDAttack(
        FrozenEstimator(model), eps=0.1, max_iter=20, loss="rotate", random_state=0
    ).fit(X_train, y_train)
    for name, model in models.items()
}
reports = {name: attack.report(X_test, y_test) for name, attack in attacks.items()}
rows = ["clean_accuracy", "robust_accuracy", "error_rate", "average_confidence"]
print(pd.DataFrame(reports).loc[rows].round(3))

# %%
# A curve
# -------
#
# One number says what happens at one size. The curve says how the models differ. An
# image that a small perturbation fools counts as fooled at every larger size. The
# bands are what 400 images leave uncertain.

import matplotlib.pyplot as plt

from robustkit.plotting import RobustnessCurveDisplay

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
eps = [0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2]
for name, attack in attacks.items():
    RobustnessCurveDisplay.from_estimator(
        attack, X_test, y_test, eps=eps, name=name, ax=ax
    )
plt.show()

# %%
# Look at it
# ----------
#
# The images are still easy to read, and the predictions are wrong. In the middle is
# what was added: red is brighter, blue is darker.

from robustkit.plotting import AdversarialExamplesDisplay

AdversarialExamplesDisplay.from_estimator(
    attacks["MLPClassifier"], X_test, y_test, n_examples=3
)
plt.show()

# %%
# Can the figures be trusted?
# ---------------------------
#
# An attack that fails proves nothing by itself: the gradient may only be masked. So
# every report says what share of the gradients is exactly zero, and what the robust
# accuracy is under the same attack with the cross-entropy and with the margin loss. If
# the second is much smaller, a warning says so. Here the figures are close together.

rows = ["zero_gradient_share", "robust_accuracy_ce", "robust_accuracy_margin"]
print(pd.DataFrame(reports).loc[rows].round(3))
