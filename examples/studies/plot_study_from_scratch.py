"""
================================
A correlation study from scratch
================================

Which property of a network correlates with its robustness? One network cannot say. A
study draws many graphs, trains a network on each, attacks them all, looks inside, and
correlates what it finds. Here in small: 30 graphs on digits, in some seconds.
"""

# %%
# What to study
# -------------
#
# A study needs a network, and what varies from graph to graph. Lists make a grid, whose
# points are used with new seeds until there are `n_graphs` graphs; here only graphs
# count whose network has 1,500 to 4,500 parameters. Each graph is trained once
# from each of two initialisations.

from robustkit.attacks import FGSMAttack, GrowingEpsilonAttack
from robustkit.classifiers import SparseNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.regions import PopulatedRegionScorer
from robustkit.study import RobustnessStudy
from robustkit.topology import MapperGraph

X, y = load_digits_images(return_X_y=True, split="train")
X_test, y_test = load_digits_images(return_X_y=True, split="test")

study = RobustnessStudy(
    SparseNetClassifier(max_epochs=15, batch_size=128, lr=0.01),
    {
        "prior__n_nodes": [80, 120, 160, 200],
        "prior__n_neighbors": [2, 3],
        "prior__rewiring": [0.5, 0.7, 0.9],
    },
    n_graphs=30,
    n_parameters=(1500, 4500),
    inits=["he_uniform", "glorot_normal"],
    attacks={"fgsm": FGSMAttack(eps=0.1), "growing": GrowingEpsilonAttack()},
    analyses={
        "regions": PopulatedRegionScorer(),
        "mapper": MapperGraph(n_intervals=15),
    },
    random_state=0,
).fit(X, y, X_test, y_test)

# %%
# The table
# ---------
#
# One row per model: its origin, its properties, its robustness, how long it took, and
# with which versions.

print(study.results_.shape)
columns = ["graph", "init", "prior__n_nodes", "n_parameters", "average_path_length"]
columns += ["regions_prs_ratio", "mapper_purity", "clean_accuracy", "fgsm_error_rate"]
print(study.results_[columns].head(6).round(3).to_string())

# %%
# What correlates with robustness
# -------------------------------
#
# The two models of a graph are averaged before they are correlated: training a graph
# twice does not make two graphs. Stars mark the pairs that pass a correction for the
# many tests. Properties that are functions of others, as the mean degree is of size
# and density, are left out: they would be the same finding again.

import matplotlib.pyplot as plt

from robustkit.plotting import CorrelationDisplay

fig, ax = plt.subplots(figsize=(9, 8), layout="constrained")
CorrelationDisplay.from_estimator(study, ax=ax)
plt.show()

# %%
# In this population, larger networks are more accurate and need larger steps to be
# fooled. But size, sources and density rise and fall together here, and thirty graphs
# cannot separate them; for that there is the method "partial" of
# :class:`~robustkit.correlation.RobustnessCorrelator`, and larger studies.
#
# Look at the points before you believe a coefficient.

CorrelationDisplay.from_estimator(
    study, kind="scatter", pair=("n_parameters", "growing_average_eps")
)
plt.show()

# %%
# One row again
# -------------
#
# Every row holds what it takes to make its model again.

row = study.results_.iloc[7]
model = study.rebuild(row["model"]).fit(X, y)
print(model)
score = model.score(X_test, y_test)
print(f"accuracy {score:.4f}; in the table {row['clean_accuracy']:.4f}")

# %%
# A report
# --------
#
# The report puts everything on one page, to keep or to send: a single HTML file with
# the figures, the tables and how they were made.

from pathlib import Path
from tempfile import TemporaryDirectory

folder = TemporaryDirectory()
page = study.report(Path(folder.name) / "report.html")
print(f"{page.name}: {page.stat().st_size / 1e3:.0f} kB")

# %%

folder.cleanup()
