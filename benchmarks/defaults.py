"""What classifiers learn with their default parameters, and how long they take.

``python -m benchmarks.defaults`` cross-validates each with no argument but its seed, 5
seeds times 5 folds, next to scikit-learn's MLPClassifier, on four small tables with two
scalers. CPU times are those of `fit`, added up, taken in turn in one process. The last
column says whether the goal is met: an accuracy at most 0.02 below that of
MLPClassifier, in no more CPU time.
"""

import os

# Set before numpy or torch are loaded.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from robustkit.classifiers import MLPNetClassifier, SparseNetClassifier, TorchClassifier

TABLES = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
SCALERS = (MinMaxScaler, StandardScaler)
PEER = MLPClassifier
OURS = (SparseNetClassifier, MLPNetClassifier, TorchClassifier)
BELOW = 0.02


def cross_validate(load, scaler, n_seeds, n_folds):
    """Return, for each class, accuracies, CPU times, epochs, and who warned."""
    X, y = load(return_X_y=True)
    results = {cls: [] for cls in (PEER, *OURS)}
    for seed in range(n_seeds):
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        for train, test in folds.split(X, y):
            scaled = clone(scaler).fit(X[train])
            seen, new = scaled.transform(X[train]), scaled.transform(X[test])
            for cls, rows in results.items():
                model, start = cls(random_state=seed), time.process_time()
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", ConvergenceWarning)
                    model.fit(seen, y[train])
                seconds = time.process_time() - start
                accuracy = model.score(new, y[test])
                rows.append((accuracy, seconds, model.n_iter_, bool(caught)))
    return {cls: np.transpose(rows) for cls, rows in results.items()}


def rows_of(name, scaler, results):
    """Yield the lines of the table for one data set and scaler."""
    accuracy, seconds, *_ = results[PEER]
    goal, budget = accuracy.mean() - BELOW, seconds.sum()
    for cls, (accuracies, times, epochs, warned) in results.items():
        ratio, mean = times.sum() / budget, accuracies.mean()
        met = "" if cls is PEER else "yes" if mean >= goal and ratio <= 1 else "no"
        yield (
            f"| {name} | {type(scaler).__name__} | {cls.__name__} | {mean:.3f} | "
            f"{mean - accuracy.mean():+.3f} | {1000 * times.mean():.0f} | {ratio:.2f} |"
            f" {epochs.mean():.0f} | {warned.mean():.0%} | {met} |"
        )


def main(arguments=None):
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.defaults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    titles = (
        "data",
        "scaler",
        "classifier",
        "accuracy",
        "difference",
        "ms per fit",
        "CPU time / MLPClassifier",
        "epochs",
        "warned",
        "goal met",
    )
    print("|", " | ".join(titles), "|")
    print("|---" * len(titles) + "|")
    # Compiled code is loaded at the first fit of a process.
    X, y = load_iris(return_X_y=True)
    for cls in OURS:
        cls(max_epochs=1).fit(X, y)
    for name, load in TABLES.items():
        for scaler in SCALERS:
            results = cross_validate(load, scaler(), options.seeds, options.folds)
            print(*rows_of(name, scaler(), results), sep="\n", flush=True)


if __name__ == "__main__":
    main()
