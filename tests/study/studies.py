"""Small studies, and what two tables must have in common."""

from pathlib import Path

import numpy as np
from pandas.testing import assert_frame_equal

from robustkit.attacks import FGSMAttack
from robustkit.classifiers import SparseNetClassifier
from robustkit.correlation import RobustnessCorrelator
from robustkit.datasets import load_digits_images
from robustkit.study import RobustnessStudy, Store


def small_data(n_train=200, n_test=50):
    """Some digits to train on, and others to test."""
    X, y = load_digits_images(return_X_y=True)
    test = slice(n_train, n_train + n_test)
    return X[:n_train], y[:n_train], X[test], y[test]


def small_study(store=None, **params):
    """A study whose models take some hundredths of a second each."""
    network = SparseNetClassifier(max_epochs=2, batch_size=50, lr=0.01, device="cpu")
    defaults = {
        "estimator": network,
        "param_space": {"prior__n_nodes": [40, 50, 60]},
        "n_graphs": 4,
        "inits": ["he_uniform", "normal"],
        "attacks": {"fgsm": FGSMAttack(eps=0.1)},
        "analyses": {},
        "correlator": RobustnessCorrelator(n_bootstrap=0),
        "device": "cpu",
        "random_state": 0,
    }
    return RobustnessStudy(store=store, **{**defaults, **params})


def what_was_found(table):
    """The table without what depends on the machine and the moment."""
    of_the_moment = ("seconds_", "version_")
    names = [
        name
        for name in table
        if not name.startswith(of_the_moment) and name not in ("device", "engine")
    ]
    return table[names]


def assert_same_table(one, other, rtol=0.0):
    """Every figure is the same, bit by bit if `rtol` is 0."""
    assert_frame_equal(
        what_was_found(one),
        what_was_found(other),
        check_exact=rtol == 0,
        rtol=rtol,
        atol=rtol,
    )


def forget(store, tasks):
    """Take some tasks out of a store, as if nobody had done them."""
    kept = [(task, rows) for task, rows in Store(store).finished() if task not in tasks]
    for ending in ("rows", "index"):
        for shard in Path(store).glob(f"*.{ending}"):
            shard.unlink()
    opened = Store(store)
    for task, rows in kept:
        opened.add(task, rows)


def is_first_at(log, n_lines):
    """Whether a log has so many lines and none of its writers was told so before.

    Several processes write at the same time: none of them may see this very number.
    """
    if len(Path(log).read_text().splitlines()) < n_lines:
        return False
    try:
        Path(f"{log}.{n_lines}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def n_sources_of(model, X, y, X_test, y_test):
    """An analysis as a user may write one."""
    return {"n_sources": len(model.structure_.sources), "mean": np.mean(X)}
