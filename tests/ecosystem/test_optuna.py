"""The search of how_to/optuna, as it stands there."""

import random

import pytest
from sklearn.frozen import FrozenEstimator

from robustkit.attacks import MinimalDistanceAttack
from robustkit.classifiers import SparseNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.graphs import GraphPrior
from tests.docs_snippets.pages import snippets, text_of

optuna = pytest.importorskip("optuna", reason="optuna is missing")


@pytest.fixture(scope="module")
def names():
    """What the code of the page defines, on fewer samples."""
    X, y = load_digits_images(return_X_y=True)
    names = {
        "X": X[:400],
        "y": y[:400],
        "X_test": X[400:],
        "y_test": y[400:],
        "GraphPrior": GraphPrior,
        "SparseNetClassifier": SparseNetClassifier,
        "MinimalDistanceAttack": MinimalDistanceAttack,
    }
    (block,) = [p for p in snippets(text_of("how_to/optuna")) if p.kind == "python"]
    state = random.getstate()
    exec(block.source, names)
    random.setstate(state)
    return names


def test_the_best_trial_is_found_and_can_be_made_again(names):
    trials = names["search"].trials
    assert len(trials) == 10
    done = [t for t in trials if t.state == optuna.trial.TrialState.COMPLETE]
    best = max(done, key=lambda trial: trial.value)
    assert names["search"].best_trial.number == best.number
    net = SparseNetClassifier(GraphPrior(), batch_size=64, lr=0.01, random_state=0)
    net.set_params(**best.params)
    for _ in range(12):
        net.partial_fit(names["X"], names["y"], classes=range(10))
    attack = MinimalDistanceAttack(FrozenEstimator(net)).fit(names["X"], names["y"])
    score = attack.score(names["X_test"][:100], names["y_test"][:100])
    assert score == pytest.approx(best.value)


def test_trials_below_the_median_of_those_before_are_pruned(names):
    """By the rule itself, applied again to what the trials reported."""
    trials, n_pruned = names["search"].trials, 0
    for k, trial in enumerate(trials):
        pruned = trial.state == optuna.trial.TrialState.PRUNED
        n_pruned += pruned
        for step in trial.intermediate_values:
            before = sorted(
                other.intermediate_values[step]
                for other in trials[:k]
                if other.state == optuna.trial.TrialState.COMPLETE
            )
            is_last = step == max(trial.intermediate_values)
            if len(before) >= 3 and not (pruned and is_last):
                so_far = max(
                    v for s, v in trial.intermediate_values.items() if s <= step
                )
                middle = len(before) // 2
                median = (before[middle] + before[~middle]) / 2
                assert so_far >= median
    assert 0 < n_pruned < len(trials)
