"""
================================================
How the shape changes as the attack grows
================================================

Which classes does a network confuse first, and do they stay confused? We draw the
mapper graphs of one network at four attack levels, measure how far apart they are, and
list the confusions that persist, as [1]_ describe them in words.
"""

# %%
# The same images at four levels
# ------------------------------
#
# A small perceptron, and its outputs for the training images as projected gradient
# descent changes them. Row i is the same image at every level.

from sklearn.frozen import FrozenEstimator

from robustkit.attacks import PGDAttack
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.topology import MapperGraph

X, y = load_digits_images(split="train", return_X_y=True)
training = {"max_epochs": 30, "batch_size": 128, "lr": 5e-3, "random_state": 0}
model = FrozenEstimator(MLPNetClassifier(**training).fit(X, y))
logits = ActivationExtractor(model).fit(X)

levels = [0.0, 0.05, 0.1, 0.2]
mappers, predictions = [], []
for eps in levels:
    images = X
    if eps:
        attack = PGDAttack(model, eps=eps, random_state=0).fit(X, y)
        images = attack.perturb(X, y).X_adv
    mapper = MapperGraph(n_intervals=20, n_bootstrap=30, random_state=0)
    mappers.append(mapper.fit(logits.transform(images)))
    predictions.append(model.predict(images))

# %%
# A picture and a number
# ----------------------
#
# A node lies where its samples lay at the level before; what is faint comes back in few
# resamples. Without an attack, most digits are chains of their own. At 0.05 one end of
# these chains holds, but the other, where the network is less sure, has joined those of
# other digits; at 0.2 nothing is left of them. The lines say how much changes: the weak
# attack alone goes most of the way, 0.52, that the strongest one goes, 0.70.

from robustkit.plotting import MapperEvolutionDisplay

display = MapperEvolutionDisplay.from_mappers(mappers, y, predictions, levels=levels)

# %%
# The distance is that of :func:`~robustkit.topology.compare_mappers`, between 0 (the
# same graph) and 1.

print(display.evolution.distances.round(3).to_string())

# %%
# Which confusions persist
# ------------------------
#
# How many images of one digit are taken for another one at each level. `kept` is the
# share of those confused at one level that are confused the same way at the next.

confusions = display.evolution.confusions
print(confusions.head(10).round(2).to_string())

# %%
# Most confusions that a weak attack causes are there at all stronger levels, and most
# images stay confused the same way: the attack does not stir the classes at random.

lasting = confusions[confusions["first"] < 0.2]
print(f"{lasting['persists'].mean():.0%} of {len(lasting)} confusions persist")

# %%
# Where nodes go
# --------------
#
# From no attack to the weakest one: the largest flows from nodes of one digit to nodes
# in which another one is the most frequent.

import numpy as np

flows = display.evolution.steps[0].label_flows.stack()
moved = flows[flows.index.get_level_values(0) != flows.index.get_level_values(1)]
print(moved.sort_values(ascending=False).head(5).round(4).to_string())
print(f"stays with its digit: {np.trace(flows.unstack()):.0%}")

# %%
# And how far is each graph to be trusted? Under attack, more depends on which images
# were drawn than without.

for eps, mapper in zip(levels, mappers, strict=True):
    print(f"eps {eps}: instability {mapper.stability_.instability:.2f}")

# %%
# .. [1] Y. Zhou, Y. Zhou, J. Ding, B. Wang, "Visualizing and analyzing the topology of
#    neuron activations in deep adversarial training", PMLR 221, 2023.
