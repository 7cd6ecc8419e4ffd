"""
=====================================
Look inside networks in the browser
=====================================

A mapper graph of 1,797 images has more to show than one picture can. The explorer is a
page in the browser: click a node to see its images, with and without an attack, in two
networks side by side. This example saves a run, exports the page as a single HTML file,
and embeds it below.
"""

# sphinx_gallery_thumbnail_path = "_static/explorer_digits.png"

# %%
# Two networks
# ------------
#
# One is trained plainly, the other on images that PGD has perturbed.

from robustkit import MLPNetClassifier, PGDAttack, load_digits_images

X, y = load_digits_images(split="train", return_X_y=True)
X_test, y_test = load_digits_images(split="test", return_X_y=True)
settings = {"max_epochs": 30, "batch_size": 128, "lr": 0.005, "random_state": 0}
models = {
    "plain": MLPNetClassifier((64, 32), **settings),
    "hardened": MLPNetClassifier(
        (64, 32), adversary=PGDAttack(eps=0.1, max_iter=5), **settings
    ),
}
for name, model in models.items():
    model.fit(X, y)
    print(f"{name}: {model.score(X_test, y_test):.3f} of the test images correct")

# %%
# A run
# -----
#
# :func:`~robustkit.explorer.make_views` computes the outputs and predictions of each
# network for the images, at each size of the attack.
# :func:`~robustkit.explorer.save_run` stores them in a folder. ``robustkit explore
# FOLDER`` opens that folder in the browser, where the parameters of the graphs can be
# changed.

from pathlib import Path
from tempfile import TemporaryDirectory

from robustkit.explorer import load_run, make_views, save_run

attack = PGDAttack(max_iter=10, random_state=0)
views = make_views(models, X, y, attack, levels=[0, 0.05, 0.1])
folder = TemporaryDirectory()
path = save_run(
    Path(folder.name) / "run",
    X=X,
    y=y,
    views=views,
    image_shape=(8, 8),
    title="Digits: a plain and a hardened network",
)
run = load_run(path)
for view in range(len(run.views)):
    model, level = run.views[view].model, run.views[view].level
    print(f"{model:8} eps={level}: accuracy {run.accuracy(view):.2f}")

# %%
# One HTML file
# -------------
#
# :func:`~robustkit.explorer.export_html` writes the whole page to one file, which needs
# neither a server nor the network: send it to a colleague, or put it on a website, as
# here. Its graphs are computed in advance, with these parameters.

from robustkit import MapperGraph
from robustkit.explorer import export_html

page = export_html(
    run, Path(folder.name) / "explorer.html", mapper=MapperGraph(n_intervals=12)
)
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")

# %%
# Click a node to see its images. Choose the plain network at eps 0.1 and look for nodes
# of several colours. *Weak regions* lists the nodes on which the network is most often
# wrong. :doc:`/guide/explorer` walks through such a page step by step.

folder.cleanup()
