"""
============================================
The shape of every layer, and how pure it is
============================================

A network takes apart, layer by layer, what is mixed in its inputs. Mapper graphs of all
layers show it: the same images, as each layer sees them. How mixed the nodes are is one
number per layer, the *purity*, as in [1]_.
"""

# %%
# A network
# ---------
#
# Four hidden layers, for images of digits.

from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images

X, y = load_digits_images(split="train", return_X_y=True)
X_test, y_test = load_digits_images(split="test", return_X_y=True)
net = MLPNetClassifier((64, 32, 32, 16), max_epochs=30, random_state=0).fit(X, y)
print(f"accuracy {net.score(X_test, y_test):.3f}")

# %%
# All graphs at once
# ------------------
#
# The images pass through the network once, and a copy of the mapper is fitted to what
# each layer makes of them. ``eps="auto"``, the default, is chosen for each layer by
# itself: its units have a scale of their own.

from robustkit.topology import MapperGraph, mapper_graphs

graphs = mapper_graphs(net, X, y, mapper=MapperGraph(n_intervals=15))
print(graphs.table.round(2).to_string())

# %%
# The graphs themselves are in ``graphs.mappers``, under the names of the layers.

first, *_, last = graphs.mappers
print(graphs.mappers[last].describe(y)[["size", "purity", "majority"]].head())

# %%
# Their pictures, and the purity
# ------------------------------

import matplotlib.pyplot as plt

from robustkit.plotting import MapperLayersDisplay

MapperLayersDisplay.from_graphs(graphs, y)
plt.show()

# %%
# *Purity* is the average over the nodes of a layer, weighted by the samples in them: 1
# if all samples of each node have one label. *Pure nodes* is the share of the nodes for
# which this is so. *Noise* is the share of the images that lie in no node: look at it
# first, because a layer may seem pure only since its mixed images are left out.
#
# Is the increase more than that of any network?
# ----------------------------------------------
#
# A network that was hardly trained, with the same layers:

untrained = MLPNetClassifier(
    (64, 32, 32, 16), max_epochs=1, lr=1e-6, random_state=0
).fit(X, y)
before = mapper_graphs(untrained, X, y, mapper=MapperGraph(n_intervals=15)).table

_, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(graphs.table["purity"].to_numpy(), "o-", label="trained")
ax.plot(before["purity"].to_numpy(), "s--", label="not trained")
ax.set(ylim=(0, 1.03), ylabel="purity")
ax.set_xticks(range(len(before)), before.index)
ax.legend()
plt.show()

# %%
# .. [1] E. Purvine, D. Brown, B. Jefferson, C. Joslyn, B. Praggastis, A. Rathore,
#    M. Shapiro, B. Wang, Y. Zhou, "Experimental observations of the topology of
#    convolutional neural network activations", AAAI 37(8), 2023.
