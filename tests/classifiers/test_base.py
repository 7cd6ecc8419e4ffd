"""What all classifiers that train a network promise."""

import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.ensemble import AdaBoostClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from robustkit.bridge import as_module
from robustkit.classifiers import _base, seeded_clone
from tests.classifiers.conftest import (
    TRAINED,
    StopAfter,
    anything,
    dense,
    every_kind,
    every_trained_kind,
    weights,
)


class Shift(BaseEstimator):
    """An adversary that moves every sample, by a little of its own chance."""

    def __init__(self, by=0.5, random_state=None):
        self.by = by
        self.random_state = random_state

    def perturb_module(self, module, X, y):
        assert not module.training
        self.n_calls_ = getattr(self, "n_calls_", 0) + 1
        noise = np.random.RandomState(self.random_state).normal()
        return X + self.by + noise


class Shrink:
    """A regularizer that is no estimator, and counts the epochs."""

    n_epochs = 0

    def penalty(self, module, X, y):
        return sum((weight**2).sum() for weight in module.parameters())

    def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
        assert (len(X), epoch, max_epochs) == (500, self.n_epochs, 3)
        self.n_epochs += 1


@every_kind
def test_classifiers_learn_and_predict_consistently(make, digits):
    X, y = digits
    classifier = make(max_epochs=15).fit(X, y)
    assert classifier.score(X, y) > 0.9
    logits, probability = classifier.decision_function(X), classifier.predict_proba(X)
    assert np.array_equal(classifier.classes_, np.arange(10))
    assert np.array_equal(classifier.predict(X), logits.argmax(axis=1))
    expected = torch.softmax(torch.from_numpy(logits).double(), dim=1)
    np.testing.assert_allclose(probability, expected, rtol=1e-10)


@every_kind
def test_two_classes_follow_scikit_learn_shapes(make, two_digits):
    X, y = two_digits
    classifier = make().fit(X, y)
    assert classifier.classes_.tolist() == ["one", "zero"]
    margin, probability = classifier.decision_function(X), classifier.predict_proba(X)
    assert margin.shape == (len(X),)
    assert probability.shape == (len(X), 2)
    np.testing.assert_allclose(probability[:, 1], 1 / (1 + np.exp(-margin)), rtol=1e-5)
    assert np.array_equal(classifier.predict(X) == "zero", margin > 0)


@every_kind
def test_as_module_returns_the_logits(make, digits):
    X, y = digits
    classifier = make().fit(X, y)
    module = as_module(classifier)
    logits = module(torch.from_numpy(X)).detach()
    np.testing.assert_allclose(
        logits, classifier.decision_function(X), rtol=1e-4, atol=1e-5
    )
    assert not module.training


@every_trained_kind
def test_fitted_attributes(make, digits):
    X, y = digits
    classifier = make().fit(X, y)
    assert classifier.n_iter_ == 3 == len(classifier.loss_curve_)
    assert classifier.loss_curve_[-1] < classifier.loss_curve_[0]
    assert classifier.n_parameters_ == len(weights(classifier))
    assert not any(part.training for part in classifier.module_.modules())
    assert not hasattr(classifier, "validation_scores_")


@every_kind
def test_same_seed_gives_the_same_classifier(make, digits, global_random_seed):
    X, y = digits
    first, again = (
        make(random_state=global_random_seed).fit(X, y).predict_proba(X)
        for _ in range(2)
    )
    assert np.array_equal(first, again)


@every_trained_kind
def test_another_seed_gives_another_classifier(make, digits):
    X, y = digits
    first, other = (make(random_state=seed).fit(X, y) for seed in range(2))
    assert first.loss_curve_ != other.loss_curve_


IN_A_PROCESS_OF_ITS_OWN = """
import numpy as np, torch
from tests.classifiers import conftest
from sklearn.datasets import load_digits
torch.set_num_threads(1)
torch.rand(17)
X, y = load_digits(return_X_y=True)
X, y = (X[:500] / 16).astype(np.float32), y[:500]
for make in conftest.TRAINED:
    print(make().fit(X, y).loss_curve_)
"""


@pytest.mark.slow
def test_same_seed_gives_the_same_classifier_in_every_process(digits, request):
    X, y = digits
    printed = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN],
        check=True,
        capture_output=True,
        text=True,
        cwd=request.config.rootpath,
    ).stdout
    here = [str(make().fit(X, y).loss_curve_) for make in TRAINED]
    assert printed.splitlines() == here


@every_trained_kind
def test_same_seed_gives_the_same_classifier_in_every_thread(make, digits):
    X, y = digits
    classifier = make()
    if make is anything:
        # Dropout draws from the stream that all threads share.
        classifier.set_params(module=with_dropout)
    alone = cross_val_predict(classifier, X, y, cv=4, method="predict_proba")
    with joblib.parallel_config("threading", n_jobs=4):
        together = cross_val_predict(classifier, X, y, cv=4, method="predict_proba")
    assert np.array_equal(alone, together)


def with_dropout(n_features, n_classes):
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, 20),
        torch.nn.Dropout(0.5),
        torch.nn.ReLU(),
        torch.nn.Linear(20, n_classes),
    )


@every_trained_kind
def test_prediction_does_not_depend_on_neighbours(make, digits):
    X, y = digits
    classifier = make().fit(X, y)
    whole = classifier.decision_function(X)
    alone = np.vstack([classifier.decision_function(x) for x in np.split(X[:40], 40)])
    np.testing.assert_allclose(whole[:40], alone, rtol=1e-4, atol=1e-6)


@every_trained_kind
def test_prediction_does_not_depend_on_batch_size(make, digits, monkeypatch):
    X, y = digits
    classifier = make().fit(X, y)
    whole = classifier.predict_proba(X)
    monkeypatch.setattr(_base, "_PREDICT_BATCH", 64)
    np.testing.assert_allclose(classifier.predict_proba(X), whole, rtol=1e-5)


@every_trained_kind
def test_predict_restores_the_mode_of_the_module(make, digits):
    X, y = digits
    classifier = make().fit(X, y)
    expected = classifier.predict_proba(X)
    classifier.module_.train()
    assert np.array_equal(classifier.predict_proba(X), expected)
    assert classifier.module_.training


@every_trained_kind
def test_number_of_torch_threads_is_restored(make, digits):
    X, y = digits
    before = torch.get_num_threads()
    make().fit(X, y).predict(X)
    assert torch.get_num_threads() == before


@every_trained_kind
def test_partial_fit_and_warm_start_equal_one_long_fit(make, digits):
    X, y = digits
    parts = make()
    for _ in range(3):
        parts.partial_fit(X, y, classes=np.unique(y))
    warm = make(warm_start=True, max_epochs=1)
    for _ in range(3):
        warm.fit(X, y)
    assert parts.n_iter_ == warm.n_iter_ == 3
    assert torch.equal(weights(parts), weights(warm))
    # The optimizer remembers: without its moments the second epoch would differ.
    forgetful = make(warm_start=True, max_epochs=1).fit(X, y)
    forgetful._optimizer_state = None
    forgetful.fit(X, y)
    assert parts.loss_curve_[:1] == forgetful.loss_curve_[:1]
    assert parts.loss_curve_[1] != pytest.approx(forgetful.loss_curve_[1])


@every_trained_kind
def test_fit_without_warm_start_begins_anew(make, digits):
    X, y = digits
    classifier = make(early_stopping=True, adversary=Shift()).fit(X[:, :30], y)
    classifier.set_params(early_stopping=False, adversary=None).fit(X, y)
    fresh = make().fit(X, y)
    assert torch.equal(weights(classifier), weights(fresh))
    assert classifier.loss_curve_ == fresh.loss_curve_
    for name in ("validation_scores_", "adversary_", "regularizer_"):
        assert not hasattr(classifier, name)


@every_trained_kind
def test_partial_fit_accepts_chunks_without_all_classes(make, digits):
    X, y = digits
    order = np.argsort(y, kind="stable")
    classifier = make()
    for _ in range(8):
        for chunk in np.array_split(order, 5):
            classifier.partial_fit(X[chunk], y[chunk], classes=range(10))
    assert classifier.n_iter_ == 40
    assert classifier.score(X, y) > 0.5


@every_trained_kind
def test_partial_fit_with_unknown_classes_raises(make, digits):
    X, y = digits
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        make().partial_fit(X, y)
    classifier = make().partial_fit(X[:50], y[:50] % 3, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"y holds \[3, 4.*classes are \[0, 1, 2\]"):
        classifier.partial_fit(X, y)
    with pytest.raises(
        ValueError, match=r"classes=\[0, 1\] are not those of the first"
    ):
        classifier.partial_fit(X[:50], y[:50] % 2, classes=[0, 1])


@every_trained_kind
def test_warm_start_with_other_classes_raises(make, digits):
    X, y = digits
    classifier = make(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"continues with.*Got \[0, 1\]"):
        classifier.fit(X, y % 2)


@every_trained_kind
def test_early_stopping_keeps_the_best_weights(make, digits):
    X, y = digits
    classifier = make(
        early_stopping=True, max_epochs=60, n_iter_no_change=3, validation_fraction=0.3
    ).fit(X, y)
    scores = classifier.validation_scores_
    assert len(scores) == classifier.n_iter_ < 60
    best = int(np.argmax(scores))
    assert classifier.n_iter_ == best + 1 + 3
    held_out = _base.hold_out(classifier, y, seed=classifier._validation_seed)[1]
    assert len(held_out) == 150
    assert classifier.score(X[held_out], y[held_out]) == pytest.approx(scores[best])


def test_warm_start_holds_out_the_same_samples(digits):
    X, y = digits
    classifier = dense(early_stopping=True, warm_start=True).fit(X, y)
    seed = classifier._validation_seed
    assert classifier.fit(X, y)._validation_seed == seed
    assert len(classifier.validation_scores_) == classifier.n_iter_ == 6


def test_early_stopping_with_too_few_samples_raises(digits):
    X, y = digits
    classifier = dense(early_stopping=True, validation_fraction=0.01)
    with pytest.raises(ValueError, match=r"validation_fraction=0\.01 cannot hold out"):
        classifier.fit(X, y)


@every_trained_kind
def test_label_smoothing_lowers_the_confidence(make, digits):
    X, y = digits
    sharp, smooth = (
        make(max_epochs=30, label_smoothing=smoothing).fit(X, y).predict_proba(X)
        for smoothing in (0.0, 0.3)
    )
    assert smooth.max(axis=1).mean() < sharp.max(axis=1).mean() - 0.1


def test_loss_curve_is_the_cross_entropy(digits):
    X, y = digits
    # Steps too small to matter: the loss of the epoch is that of the first weights.
    classifier = dense(lr=1e-12, max_epochs=1).fit(X, y)
    expected = log_loss(y, classifier.predict_proba(X))
    assert classifier.loss_curve_ == pytest.approx([expected], rel=1e-5)


@every_trained_kind
def test_adversary_is_cloned_seeded_and_used(make, digits):
    X, y = digits
    adversary = Shift()
    plain = make().fit(X, y)
    first, again = (make(adversary=adversary).fit(X, y) for _ in range(2))
    assert not hasattr(adversary, "n_calls_")
    assert first.adversary_.n_calls_ == 3 * 10
    assert first.adversary_.random_state == again.adversary_.random_state is not None
    assert torch.equal(weights(first), weights(again))
    assert not torch.allclose(weights(first), weights(plain))
    assert make(adversary=Shift(random_state=7)).fit(X, y).adversary_.random_state == 7


@every_trained_kind
def test_regularizer_is_cloned_and_used(make, digits):
    X, y = digits
    regularizer = Shrink()
    plain = make().fit(X, y)
    shrunk = make(regularizer=regularizer).fit(X, y)
    assert regularizer.n_epochs == 0
    assert shrunk.regularizer_.n_epochs == 3
    assert weights(shrunk).norm() < weights(plain).norm()


@every_trained_kind
def test_callbacks_see_every_epoch(make, digits, capsys):
    X, y = digits
    monitor = ScoringMonitor(scoring="accuracy")
    classifier = make().set_callbacks(monitor, ProgressBar()).fit(X, y)
    log = monitor.get_logs().data_as_pandas
    epochs = log[log.task_name == "epoch"]
    assert len(epochs) == 3
    assert epochs.accuracy.iloc[-1] == classifier.score(X, y)
    assert epochs.accuracy.iloc[0] < epochs.accuracy.iloc[-1]
    assert type(classifier).__name__ in capsys.readouterr().out


@every_trained_kind
def test_callback_stops_the_training(make, digits):
    X, y = digits
    classifier = make().set_callbacks(StopAfter(2)).fit(X, y)
    assert classifier.n_iter_ == 2
    assert classifier.score(X, y) > 0.1


def test_verbose_prints_one_line_per_epoch(digits, capsys):
    X, y = digits
    classifier = dense(verbose=1, early_stopping=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        f"Epoch 1/3: loss {classifier.loss_curve_[0]:.4f}, "
        f"validation accuracy {classifier.validation_scores_[0]:.4f}"
    )


def test_verbose_without_validation_prints_the_loss(digits, capsys):
    classifier = dense(verbose=True, max_epochs=1).fit(*digits)
    loss = classifier.loss_curve_[0]
    assert capsys.readouterr().out == f"Epoch 1/1: loss {loss:.4f}\n"


def test_fit_is_silent_by_default(digits, capsys):
    dense().fit(*digits)
    assert capsys.readouterr().out == ""


@every_trained_kind
def test_labels_of_any_type(make, digits):
    X, y = digits
    expected = make().fit(X, y).predict(X)
    for labels in (y.astype(str), y.astype(float), y - 5, pd.Series(y).to_numpy()):
        classifier = make().fit(X, labels)
        places = np.searchsorted(np.unique(labels), classifier.predict(X))
        if labels.dtype.kind != "U":
            assert np.array_equal(places, expected)
        assert classifier.classes_.dtype == labels.dtype


@every_kind
def test_fit_with_one_class_raises(make, digits):
    X, _ = digits
    with pytest.raises(
        ValueError, match=r"needs at least 2 classes. Got 1 class: \[3\]"
    ):
        make().fit(X, np.full(len(X), 3))


@every_kind
def test_missing_values_raise(make, digits):
    X, y = digits
    X = X.copy()
    X[3, 5] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        make().fit(X, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@every_kind
def test_unavailable_device_raises(make, digits):
    with pytest.raises(ValueError, match="device='cuda' was asked for, but torch sees"):
        make(device="cuda").fit(*digits)


@every_trained_kind
def test_infinite_loss_raises_and_names_lr(make, digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"in epoch \d+ with lr=1e\+30. Use a smaller"):
        make(lr=1e30).fit(X, y)


def test_weights_that_overflow_in_the_last_step_raise(digits):
    X, y = digits
    classifier = dense(lr=1e39, max_epochs=1, batch_size=500)
    with pytest.raises(ValueError, match=r"no longer finite after.*lr=1e\+39"):
        classifier.fit(X, y)


@every_trained_kind
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_epochs", 0),
        ("batch_size", 1.5),
        ("lr", 0),
        ("weight_decay", -1),
        ("label_smoothing", 1),
        ("adversary", Shrink()),
        ("regularizer", Shift()),
        ("validation_fraction", 1),
        ("n_iter_no_change", 0),
        ("device", 3),
    ],
)
def test_invalid_training_parameter_raises(make, parameter, value, digits):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of"):
        make(**{parameter: value}).fit(*digits)


@every_trained_kind
def test_html_repr(make, digits):
    classifier = make().fit(*digits)
    assert "n_parameters_" in classifier._repr_html_()
    assert "max_epochs=3" in repr(classifier).replace("\n", "")


def test_seeded_clone_of_none_is_none():
    assert seeded_clone(None, 0) is None


def test_seeded_clone_sets_only_random_states_of_none(global_random_seed):
    nested = AdaBoostClassifier(DecisionTreeClassifier(random_state=3))
    first, again, other = (
        seeded_clone(nested, seed)
        for seed in (global_random_seed, global_random_seed, global_random_seed + 1)
    )
    assert first.random_state == again.random_state != other.random_state
    assert first.estimator.random_state == 3
    assert nested.random_state is None


def test_seeded_clone_gives_nested_estimators_different_seeds():
    nested = seeded_clone(AdaBoostClassifier(DecisionTreeClassifier()), 0)
    assert nested.random_state != nested.estimator.random_state is not None


def test_seeded_clone_validates_parameters():
    with pytest.raises(ValueError, match="'n_estimators' parameter of AdaBoost"):
        seeded_clone(AdaBoostClassifier(n_estimators=0), 0)


def test_seeded_clone_copies_other_objects():
    thing = {"state": []}
    twin = seeded_clone(thing, 0)
    twin["state"].append(1)
    assert thing == {"state": []}
