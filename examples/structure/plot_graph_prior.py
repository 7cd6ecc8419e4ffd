"""
==================================
What does a graph prior look like?
==================================

A graph prior is a distribution over graphs. One draw of it decides which unit of a
network is connected to which: its structure, before any weight is known. Here we look
at such draws, and at how the parameters of the prior change them.
"""

# sphinx_gallery_thumbnail_number = 3

# %%
# From a ring to a network
# ------------------------
#
# The default prior draws a *small world*: vertices on a ring, each joined to its two
# nearest on each side, and then both ends of each edge moved to random places with
# probability `rewiring`. Every edge is directed from the lower to the higher number, so
# that there is no way round in a circle. A vertex that nothing leads to is a source; it
# will see the whole input. Any other stands one layer after the last vertex that leads
# to it. A vertex that leads nowhere is a sink, and feeds the output.

from robustkit.graphs import GraphPrior
from robustkit.plotting import LayeredGraphDisplay

prior = GraphPrior(n_nodes=16, rewiring=0.5, random_state=1)
display = LayeredGraphDisplay.from_prior(prior)

# %%
# The same at the size of a network for handwritten digits. Most edges skip layers; each
# is one weight of the network.

prior = GraphPrior(n_nodes=500, rewiring=0.7, random_state=0)
display = LayeredGraphDisplay.from_prior(prior)

# %%
# The number of parameters of the network follows from the graph, here for 784 inputs
# and 10 outputs.

graph = prior.sample()
print(graph)
print(f"{len(graph.sources)} sources, {len(graph.sinks)} sinks")
print(f"{graph.n_parameters(n_features=784, n_outputs=10)} parameters")

# %%
# Rewiring makes the network shallow and wide
# -------------------------------------------
#
# An intact ring is a chain: almost as many layers as vertices, and the whole input has
# to pass through one source. The more ends move, the fewer the layers and the more the
# sources.

import matplotlib.pyplot as plt

rewirings = [0.0, 0.1, 0.4, 1.0]
figure, axes = plt.subplots(2, 2, figsize=(8, 6), layout="constrained")
for rewiring, ax in zip(rewirings, axes.flat, strict=True):
    prior = GraphPrior(n_nodes=100, rewiring=rewiring, random_state=0)
    display = LayeredGraphDisplay.from_prior(prior, views="layers", ax=ax)
    ax.set_title(f"rewiring={rewiring}: {display.graph.n_layers} layers")

# %%
# Seven generators
# ----------------
#
# Each generator has its own idea of a graph. All of these have 100 vertices and about
# 200 edges.

import pandas as pd

priors = {
    "watts_strogatz": GraphPrior(rewiring=0.7, random_state=0),
    "watts_strogatz_networkx": GraphPrior(
        "watts_strogatz_networkx", rewiring=0.7, random_state=0
    ),
    "erdos_renyi": GraphPrior("erdos_renyi", edge_probability=0.04, random_state=0),
    "barabasi_albert": GraphPrior("barabasi_albert", n_attachments=2, random_state=0),
    "random_regular": GraphPrior("random_regular", n_neighbors=2, random_state=0),
    "stochastic_block": GraphPrior(
        "stochastic_block", edge_probability=0.14, rewiring=0.05, random_state=0
    ),
    "geometric": GraphPrior("geometric", edge_probability=0.04, random_state=0),
}

figure, axes = plt.subplots(2, 4, figsize=(14, 7), layout="constrained")
for (name, prior), ax in zip(priors.items(), axes.flat, strict=False):
    LayeredGraphDisplay.from_prior(prior, views="layers", ax=ax)
    ax.set_title(name)
    ax.get_legend().remove()
axes.flat[-1].set_axis_off()

# %%
# The properties of the draws differ, and that is the point: which of them correlate
# with the robustness of the network?

properties = pd.DataFrame({name: p.sample().properties() for name, p in priors.items()})
names = [
    "n_edges",
    "n_layers",
    "n_sources",
    "average_path_length",
    "average_clustering",
]
properties.loc[names].T.round(2)

# %%
# Which ends are rewired matters
# ------------------------------
#
# Two flavours of the small world are in use. With `"watts_strogatz"` both ends of an
# edge may move, with `"watts_strogatz_networkx"` the far one only, so that every vertex
# keeps at least two edges. That leaves fewer sources and more layers: the same
# parameters, but not the same distribution.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained", sharey=True)
for name, color in [("watts_strogatz", "C0"), ("watts_strogatz_networkx", "C1")]:
    prior = GraphPrior(name, n_nodes=500, rewiring=0.7)
    draws = [prior.sample(random_state=seed) for seed in range(60)]
    axes[0].hist([len(g.sources) for g in draws], color=color, alpha=0.7, label=name)
    axes[1].hist([g.n_layers for g in draws], color=color, alpha=0.7, label=name)
axes[0].set(xlabel="sources", ylabel="draws")
axes[1].set(xlabel="layers")
_ = axes[1].legend(frameon=False)
