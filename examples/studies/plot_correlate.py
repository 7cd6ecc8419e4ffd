"""
================================
What correlates with robustness?
================================

Forty networks, forty random graphs, one question: which property of a graph correlates
with how easily its network is fooled? A table of coefficients is quickly made. That a
coefficient is no accident, and means what it seems to, takes more: corrected p-values,
intervals, and a look at what the properties have to do with each other.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# A population
# ------------
#
# Graphs of several sizes, more or less rewired. Each becomes a network;
# :func:`~robustkit.classifiers.fit_many` trains all of them together.

from sklearn.model_selection import ParameterGrid, train_test_split

from robustkit.classifiers import SparseNetClassifier, fit_many
from robustkit.datasets import load_digits_images
from robustkit.graphs import GraphPrior

X, y = load_digits_images(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
grid = ParameterGrid(
    {
        "n_nodes": [80, 100, 120, 140, 160, 180, 200, 220],
        "rewiring": [0.5, 0.6, 0.7, 0.8, 0.9],
    }
)
models = [
    SparseNetClassifier(
        GraphPrior(**parameters, random_state=seed),
        max_epochs=15,
        batch_size=128,
        lr=0.005,
        random_state=seed,
    )
    for seed, parameters in enumerate(grid)
]
models = fit_many(models, X_train, y_train)

# %%
# Properties and measures
# -----------------------
#
# One row per model. The properties describe its graph, the measures its robustness to
# FGSM: the share of its right answers that become wrong, and how confident it is in
# the wrong ones.

import pandas as pd
from sklearn.frozen import FrozenEstimator

from robustkit.attacks import FGSMAttack

properties = pd.DataFrame([model.properties_ for model in models])[
    ["density", "average_path_length", "average_eccentricity", "n_layers", "n_sources"]
]
properties.insert(0, "n_parameters", [model.n_parameters_ for model in models])
attacks = [
    FGSMAttack(FrozenEstimator(model), eps=0.1).fit(X_train, y_train)
    for model in models
]
reports = [attack.report(X_test, y_test, diagnostics=False) for attack in attacks]
measures = pd.DataFrame(reports)[["clean_accuracy", "error_rate", "average_confidence"]]
print(measures.describe().round(2))

# %%
# What correlates with robustness
# -------------------------------
#
# :class:`~robustkit.correlation.RobustnessCorrelator` drops the outliers of each
# measure and correlates all pairs. By default it corrects the p-values with Holm's
# method: 18 pairs and two methods are 36 chances of a false discovery. A star says that
# a pair passed.

import matplotlib.pyplot as plt

from robustkit.correlation import RobustnessCorrelator
from robustkit.plotting import CorrelationDisplay

correlator = RobustnessCorrelator(
    methods=["spearman", "partial"], n_bootstrap=300, random_state=0
).fit(properties, measures)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
CorrelationDisplay.from_estimator(correlator, ax=left)
CorrelationDisplay.from_estimator(correlator, method="partial", ax=right)
plt.show()

# %%
# On the left, networks with more parameters and more sources are more accurate, and
# fooled less often. On the right is what is left of each property when the other five
# are held fixed: no star. In this population parameters, sources and density rise and
# fall together, and forty models cannot tell which of them it is. Vary them
# independently of each other, or train more, before you call one of them the cause.
#
# How sure is it?
# ---------------
#
# The table has the interval of each coefficient, from models drawn again with
# replacement, the number of models it is of, and the outliers dropped.

columns = ["property", "coefficient", "ci_low", "ci_high", "p_adjusted", "n"]
table = correlator.correlations_.query(
    "measure == 'error_rate' and method == 'spearman'"
)
print(table[[*columns, "strength"]].round(3).to_string(index=False))

# %%
# A coefficient is a summary. Always look at the points.

CorrelationDisplay.from_estimator(
    correlator, kind="scatter", pair=("n_parameters", "error_rate")
)
plt.show()

# %%
# Select
# ------
#
# The correlator is a transformer, too: it keeps the properties that correlate with some
# measure.

print(correlator.get_feature_names_out())
