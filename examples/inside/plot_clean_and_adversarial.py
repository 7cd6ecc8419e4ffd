"""
==========================================================
The shape of a clean and of an adversarially trained model
==========================================================

The outputs of a network for many images are a cloud of points in too many dimensions to
be seen. A mapper graph shows its shape: a node is a group of similar points, and two
nodes are joined if they share some. We draw the graphs of two networks that recognise
digits: one trained as usual, one trained against an attack.
"""

# %%
# Two models
# ----------
#
# Both are small perceptrons. The second one, in each batch, sees the worst images that
# projected gradient descent finds around those of the batch.

from sklearn.frozen import FrozenEstimator

from robustkit.attacks import PGDAttack
from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images

X, y = load_digits_images(split="train", return_X_y=True)
X_test, y_test = load_digits_images(split="test", return_X_y=True)


def train(eps):
    adversary = PGDAttack(eps=eps, max_iter=5) if eps else None
    model = MLPNetClassifier(lr=5e-3, adversary=adversary, random_state=0)
    return model.fit(X, y)


def attack_on(model, eps):
    return PGDAttack(FrozenEstimator(model), eps=eps, random_state=0).fit(X, y)


clean, robust = train(0), train(0.1)
for name, model in (("clean", clean), ("adversarially trained", robust)):
    print(
        f"{name}: accuracy {model.score(X_test, y_test):.3f}, "
        f"under attack {attack_on(model, 0.1).score(X_test, y_test):.3f}"
    )

# %%
# Their shapes
# ------------
#
# The points are the ten outputs of the network for each training image. The filter is
# their norm: far from zero lie the images of which the network is sure. Of the clean
# model we look at the images as they are; of the other one, at the images as the attack
# made them, as in [1]_.

import matplotlib.pyplot as plt

from robustkit.bridge import ActivationExtractor
from robustkit.plotting import MapperGraphDisplay
from robustkit.topology import MapperGraph


def shape_of(model, images):
    logits = ActivationExtractor(FrozenEstimator(model)).fit_transform(images)
    return MapperGraph(n_intervals=20).fit(logits), logits


X_adv = attack_on(robust, 0.1).perturb(X, y).X_adv
shapes = {"clean": shape_of(clean, X), "adversarial": shape_of(robust, X_adv)}

_, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
places = {}
for ax, (name, (mapper, logits)) in zip(axes, shapes.items(), strict=True):
    display = MapperGraphDisplay.from_mapper(mapper, y, ax=ax)
    places[name] = display.positions_
    ax.set_title(f"{name}: purity {mapper.score(logits, y):.2f}")
    ax.set_anchor("N")
axes[0].get_legend().remove()

# %%
# Of the clean model, nearly every chain of nodes is one digit. In the other graph the
# chains meet in nodes that hold several: these images have become neighbours. The
# *purity* of a node is 1 if all its samples bear one label, and 0 if all labels are
# equally frequent; the title gives its average, weighted by the sizes of the nodes.
#
# Where is it wrong?
# ------------------
#
# The same graphs in the same places, coloured by the share of right predictions. One
# scale for both: the darkest node of the clean model is nearly as bright as the others.

_, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
predictions = {"clean": clean.predict(X), "adversarial": robust.predict(X_adv)}
for ax, (name, (mapper, _)) in zip(axes, shapes.items(), strict=True):
    MapperGraphDisplay.from_mapper(
        mapper, y, predictions[name], positions=places[name], ax=ax
    )
    ax.set_title(name)
    ax.set_anchor("N")
lowest = mapper.describe(y, predictions["adversarial"])["accuracy"].min()
for ax in axes:
    ax.collections[-1].set_clim(lowest, 1)

# %%
# The dark nodes are the *weak regions*: groups of images that look alike to the network
# and that it often gets wrong. Here are the weakest, with what is in them.

mapper, _ = shapes["adversarial"]
nodes = mapper.describe(y, predictions["adversarial"])
print(nodes.sort_values("accuracy").head(5).T.to_string())

# %%
# Purity and the strength of the attack
# -------------------------------------
#
# The stronger the attack that a model is trained against, the less its outputs keep the
# digits apart.

levels = [0.0, 0.05, 0.1, 0.2]
purities = []
for eps in levels:
    model = {0.0: clean, 0.1: robust}.get(eps) or train(eps)
    images = attack_on(model, eps).perturb(X, y).X_adv if eps else X
    mapper, logits = shape_of(model, images)
    purities.append(mapper.score(logits, y))

_, ax = plt.subplots(layout="constrained")
ax.plot(levels, purities, "o-")
ax.set(xlabel="eps of the attack", ylabel="weighted average purity", ylim=(0, 1))

# %%
# Does it help to train on with the weak regions?
# -----------------------------------------------
#
# :class:`~robustkit.defenses.WeakRegionRefiner` trains the model further with the
# misclassified images of the weakest nodes, and some others, so that nothing is
# forgotten.

from robustkit.defenses import WeakRegionRefiner

refiner = WeakRegionRefiner(
    FrozenEstimator(robust),
    MapperGraph(n_intervals=20),
    attack=PGDAttack(eps=0.1, random_state=0),
    random_state=0,
).fit(X, y)
for name, model in (("before", robust), ("after", refiner.estimator_)):
    print(f"{name}: {attack_on(model, 0.1).score(X_test, y_test):.3f} under attack")
print(f"{len(refiner.refined_indices_)} images of weak regions")

# %%
# One model and 360 test images prove nothing: a difference of one point is four images.
# ``python -m papers.topology`` repeats this with several seeds, at six
# levels, next to a control that trains on with images drawn at random.
#
# .. [1] Y. Zhou, Y. Zhou, J. Ding, B. Wang, "Visualizing and analyzing the topology of
#    neuron activations in deep adversarial training", PMLR 221, 2023.
