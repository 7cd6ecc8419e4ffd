"""
====================================
Choosing mapper parameters by purity
====================================

How many intervals, how much overlap, which cover? A mapper graph has parameters, and
each choice draws another picture. If the samples have labels, a good graph keeps them
apart: its *purity* is high. As :class:`~robustkit.topology.MapperGraph` is an estimator
with a score, scikit-learn's grid search can choose.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# A pipeline from images to a graph
# ---------------------------------
#
# The points are the outputs of a small network, trained with 300 images only, so that
# there is something to see. It is frozen: the search does not train it again.

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.topology import MapperGraph

X, y = load_digits_images(return_X_y=True)
model = MLPNetClassifier((32,), lr=5e-3, max_epochs=20, batch_size=128, random_state=0)
model.fit(X[:300], y[:300])
pipeline = Pipeline(
    [
        ("activations", ActivationExtractor(FrozenEstimator(model))),
        ("mapper", MapperGraph(warm_start=True)),
    ]
)

# %%
# What is good?
# -------------
#
# The more intervals, the smaller the nodes, and the purer; in the end each sample is
# alone, or noise, which lies in no node and does not count. So we look at what is lost
# as well: the share of the test samples that lie in some node. A scorer may be any
# function of a fitted pipeline.


def purity(pipeline, X, y):
    return pipeline.score(X, y)


def coverage(pipeline, X, y):
    return (pipeline.transform(X).getnnz(axis=1) > 0).mean()


def n_nodes(pipeline, X, y):
    return len(pipeline[-1].graph_)


# %%
# The search
# ----------
#
# With ``warm_start=True`` the neighbours, which cost most of the time, are searched for
# once for each part of the data, not once for each point of the grid.

import pandas as pd
from sklearn.model_selection import GridSearchCV

grid = {
    "mapper__cover": ["uniform", "balanced"],
    "mapper__n_intervals": [5, 10, 20, 40],
    "mapper__overlap": [0.1, 0.3, 0.5],
}
scoring = {"purity": purity, "coverage": coverage, "nodes": n_nodes}
search = GridSearchCV(pipeline, grid, scoring=scoring, refit="purity", cv=3).fit(X, y)
print(search.best_params_)

results = pd.DataFrame(search.cv_results_)
results.columns = results.columns.str.replace("param_mapper__", "")
for measure in ("purity", "coverage"):
    table = results.pivot_table(
        f"mean_test_{measure}", ["cover", "overlap"], "n_intervals"
    )
    print(f"\n{measure}\n{table.round(2).to_string()}")

# %%
# Purity alone would choose the most intervals and lose most of the samples. The same
# numbers as curves; each runs from 5 to 40 intervals.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained", sharey=True)
styles = {"uniform": ("#0072B2", "o-"), "balanced": ("#D55E00", "s--")}
for ax, measure in zip(axes, ("coverage", "nodes"), strict=True):
    for (cover, overlap), part in results.groupby(["cover", "overlap"]):
        color, style = styles[cover]
        ax.plot(
            part[f"mean_test_{measure}"], part["mean_test_purity"], style,
            color=color, alpha=0.4 + overlap, label=f"{cover}, {overlap:.0%} overlap",
        )  # fmt: skip
    ax.set_xlabel(measure)
axes[0].set_ylabel("purity of test samples")
axes[1].legend(fontsize="small")

# %%
# The graph chosen
# ----------------
#
# Far to the upper right of the left picture lie intervals that overlap by half; twenty
# of them keep most samples, and keep most nodes pure.

from robustkit.plotting import MapperGraphDisplay

chosen = pipeline.set_params(mapper__n_intervals=20, mapper__overlap=0.5).fit(X, y)
display = MapperGraphDisplay.from_estimator(chosen[-1], y=y)
display.ax_.set_title(f"purity {chosen.score(X, y):.2f}")
