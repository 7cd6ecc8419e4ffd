"""
=============================
Continue a study on a cluster
=============================

A study of hundreds of models takes hours, and something always comes between: a reboot,
a full queue, Ctrl-C. With a `store`, a file in which every finished model is safe at
once, nothing is lost. Here a study is begun on one core, stopped, and finished by a
cluster of worker processes.
"""

# %%
# Begin
# -----
#
# The study is made by a function, since it will be made twice, as in two sessions.
# What a cluster does stands below ``if __name__ == "__main__"``: its workers read this
# very file when they start, and are not to start a study of their own.

from robustkit.attacks import FGSMAttack
from robustkit.classifiers import SparseNetClassifier
from robustkit.correlation import RobustnessCorrelator
from robustkit.datasets import load_digits_images
from robustkit.study import RobustnessStudy

X, y = load_digits_images(return_X_y=True, split="train")
X_test, y_test = load_digits_images(return_X_y=True, split="test")


def make_study(store):
    """Make the same study each time: the store would refuse another."""
    return RobustnessStudy(
        SparseNetClassifier(max_epochs=20, batch_size=128, lr=0.01),
        {"prior__n_nodes": [60, 90, 120, 150], "prior__rewiring": [0.5, 0.7, 0.9]},
        n_graphs=24,
        inits=["he_uniform", "normal"],
        attacks={"fgsm": FGSMAttack(eps=0.1)},
        analyses={},
        correlator=RobustnessCorrelator(random_state=0),
        store=store,
        random_state=0,
    )


# %%
# Stop
# ----
#
# Somebody presses Ctrl-C after a second. The study ends cleanly, says how far it came
# and how to continue, and `results_` has what is finished. A process that is killed
# says nothing, but loses no more than that.

import threading
from _thread import interrupt_main
from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    folder = TemporaryDirectory()
    store = Path(folder.name) / "study.store"
    begun = make_study(store)
    somebody = threading.Timer(1.0, interrupt_main)
    somebody.start()
    try:
        begun.fit(X, y, X_test, y_test)
    except KeyboardInterrupt as stopped:
        print(str(stopped).replace(folder.name, "..."))
    finally:
        somebody.cancel()

# %%
# Go on, elsewhere
# ----------------
#
# joblib hands the work to whatever `parallel_config` names. Here it is two processes of
# this machine; with ``Client("scheduler:8786")`` it is as many machines as there are.
# This process draws the same graphs again, leaves out what is in the store, and alone
# writes to it; the data travel to each worker once, and a worker that dies is replaced.

from joblib import parallel_config

if __name__ == "__main__":
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
        parallel_config("dask"),
    ):
        study = make_study(store).fit(X, y, X_test, y_test)
    print(f"{len(begun.results_)} models before, {len(study.results_)} now")

# %%
# The same table
# --------------
#
# Nothing depends on who trained a model, when, or together with which others: the rows
# of the first session are those that the cluster would have made, and the other way
# round. Two of each, trained once more on their own:

if __name__ == "__main__":
    for number in (0, 1, 46, 47):
        row = study.results_.iloc[number]
        again = study.rebuild(number).fit(X, y).score(X_test, y_test)
        print(number, f"{row['clean_accuracy']:.4f}", f"{again:.4f}")

# %%
# Finally, a result of the study.

import matplotlib.pyplot as plt

from robustkit.plotting import CorrelationDisplay

if __name__ == "__main__":
    CorrelationDisplay.from_estimator(
        study, kind="scatter", pair=("n_parameters", "fgsm_error_rate")
    )
    plt.show()
    folder.cleanup()
