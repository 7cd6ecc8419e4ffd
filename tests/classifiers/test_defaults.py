"""Defaults that learn: how long "auto" trains, and in which batches."""

import copy
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
    _base,
    batch_size_for,
    fit_many,
)
from robustkit.graphs import GraphPrior
from tests.classifiers.conftest import every_trained_kind, sparse, weights

CLASSES = [SparseNetClassifier, MLPNetClassifier, TorchClassifier]
AUTO = {"max_epochs": "auto", "batch_size": "auto"}
# A loss falls by less than that from the second epoch on.
COARSE = {**AUTO, "tol": 0.3, "n_iter_no_change": 2}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return MinMaxScaler().fit_transform(X), y


@pytest.mark.parametrize("scaler", [MinMaxScaler, StandardScaler])
@pytest.mark.parametrize(("load", "least"), [(load_iris, 0.88), (load_wine, 0.93)])
@pytest.mark.parametrize("cls", CLASSES)
def test_defaults_learn_small_tables(cls, load, least, scaler):
    X, y = load(return_X_y=True)
    seen, new, y_seen, y_new = train_test_split(X, y, random_state=0, stratify=y)
    scaled = scaler().fit(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = cls(random_state=0).fit(scaled.transform(seen), y_seen)
    assert classifier.score(scaled.transform(new), y_new) >= least


def epoch_of_plateau(losses, tol, patience):
    """After which epoch a training stops, by looking at all losses so far."""
    n_stale = 0
    for epoch, loss in enumerate(losses):
        best = min(losses[:epoch], default=np.inf)
        n_stale = 0 if loss < best - tol else n_stale + 1
        if n_stale == patience:
            return epoch + 1
    return None


@every_trained_kind
@pytest.mark.parametrize(("tol", "patience"), [(0.3, 2), (0.03, 1), (0.03, 4)])
def test_auto_stops_where_the_loss_no_longer_falls(make, tol, patience, digits):
    rule = {"tol": tol, "n_iter_no_change": patience}
    numbered = make(max_epochs=60, batch_size="auto", **rule).fit(*digits)
    stop = epoch_of_plateau(numbered.loss_curve_, tol, patience)
    assert 1 < stop < 60
    auto = make(max_epochs="auto", batch_size="auto", **rule).fit(*digits)
    assert auto.n_iter_ == stop
    assert auto.loss_curve_ == numbered.loss_curve_[:stop]
    again = make(max_epochs=stop, batch_size="auto").fit(*digits)
    assert (weights(auto) == weights(again)).all()


@every_trained_kind
def test_a_number_of_epochs_is_exact_whatever_the_loss(make, digits):
    assert make(max_epochs=4, tol=1e9, n_iter_no_change=1).fit(*digits).n_iter_ == 4


@every_trained_kind
def test_training_cut_short_warns(make, iris, monkeypatch):
    monkeypatch.setattr(_base, "_MOST_EPOCHS", 6)
    classifier = make(**AUTO)
    name = type(classifier).__name__
    message = f"{name} was still improving after 6 "
    search = GridSearchCV(clone(classifier), {"lr": [1e-4]}, cv=2)
    for model in (classifier, make_pipeline(clone(classifier)), search):
        with pytest.warns(ConvergenceWarning, match=message) as told:
            model.fit(*iris)
        assert {warning.filename for warning in told} == {__file__}
    assert classifier.n_iter_ == 6


@every_trained_kind
def test_training_that_converges_in_the_last_epoch_does_not_warn(
    make, digits, monkeypatch
):
    n_epochs = make(**COARSE).fit(*digits).n_iter_
    monkeypatch.setattr(_base, "_MOST_EPOCHS", n_epochs)
    assert make(**COARSE).fit(*digits).n_iter_ == n_epochs


@pytest.mark.parametrize(
    ("n_samples", "size"),
    [(10, 36), (720, 36), (740, 37), (2000, 100), (2560, 128), (60_000, 128)],
)
def test_batch_size_auto_is_a_twentieth_of_the_samples(n_samples, size):
    assert batch_size_for("auto", n_samples) == size
    assert batch_size_for("auto") == 128
    assert batch_size_for(7, n_samples) == 7


@every_trained_kind
def test_batch_size_auto_counts_the_samples_trained_on(make):
    X, y = load_digits(return_X_y=True)
    stopping = {"early_stopping": True, "validation_fraction": 0.2}
    # A twentieth of 1797 samples, and of the 1437 that are not held out.
    for params, size in (({}, 89), (stopping, 71)):
        auto, named, other = (
            make(batch_size=size, max_epochs=1, **params).fit(X / 16, y)
            for size in ("auto", size, 160 - size)
        )
        assert (weights(auto) == weights(named)).all()
        assert not (weights(auto) == weights(other)).all()


@every_trained_kind
def test_auto_with_early_stopping_stops_by_the_accuracy(make, digits, monkeypatch):
    params = {"early_stopping": True, "n_iter_no_change": 3, **AUTO}
    classifier = make(**params).fit(*digits)
    scores = classifier.validation_scores_
    assert len(scores) == classifier.n_iter_ == 4 + int(np.argmax(scores))
    monkeypatch.setattr(_base, "_MOST_EPOCHS", classifier.n_iter_ - 1)
    with pytest.warns(ConvergenceWarning, match="still improving"):
        make(**params).fit(*digits)


@every_trained_kind
def test_warm_start_with_auto_continues_until_it_converges_again(make, digits):
    once = make(**COARSE, warm_start=True).fit(*digits)
    twice = copy.deepcopy(once).fit(*digits)
    added = twice.loss_curve_[once.n_iter_ :]
    assert twice.n_iter_ == once.n_iter_ + epoch_of_plateau(added, 0.3, 2)


@every_trained_kind
def test_partial_fit_of_a_default_is_one_epoch(make, digits):
    X, y = digits
    classifier = make(**AUTO).partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y)
    assert classifier.n_iter_ == 2


class Scheduled:
    """A regularizer that raises the loss halfway."""

    def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
        assert max_epochs == 8
        self.is_active = epoch >= 4

    def penalty(self, module, X, y):
        return 1000.0 * self.is_active


@every_trained_kind
def test_auto_with_a_schedule_makes_all_epochs(make, digits, monkeypatch):
    monkeypatch.setattr(_base, "_MOST_EPOCHS", 8)
    classifier = make(regularizer=Scheduled(), **COARSE).fit(*digits)
    assert classifier.n_iter_ == 8


@every_trained_kind
def test_early_stopping_ends_a_schedule(make, digits, monkeypatch):
    monkeypatch.setattr(_base, "_MOST_EPOCHS", 8)
    settings = {"early_stopping": True, "n_iter_no_change": 1, "lr": 1e-9}
    classifier = make(regularizer=Scheduled(), **{**COARSE, **settings}).fit(*digits)
    assert classifier.n_iter_ == 2 + int(np.argmax(classifier.validation_scores_)) < 8


def test_retraining_of_a_pruned_net_has_its_own_length(digits):
    dense = MLPNetClassifier((12, 12), random_state=0, lr=0.01, **COARSE)
    pruned = PrunedNetClassifier(dense, n_steps=2, retrain_epochs=3, random_state=0)
    first, second = (step.estimator for step in pruned.fit(*digits).steps_)
    assert second.n_iter_ == first.n_iter_ + 3
    assert second.max_epochs == "auto"


def test_networks_fitted_together_stop_where_each_would_alone(digits):
    X, y = digits
    priors = [GraphPrior(n_nodes=n) for n in (30, 60, 90)]
    rules = [{}, {"tol": 0.1}, {"n_iter_no_change": 4}]

    def nets():
        return [
            sparse(**{**COARSE, **rule}).set_params(prior=prior)
            for prior, rule in zip(priors, rules, strict=True)
        ]

    alone = [net.fit(X, y) for net in nets()]
    assert len({net.n_iter_ for net in alone}) > 1
    for ours, theirs in zip(fit_many(nets(), X, y), alone, strict=True):
        assert ours.n_iter_ == theirs.n_iter_ == len(ours.loss_curve_)
        np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-3, atol=1e-4)
        # The optimizer's state is of the same epoch.
        ours.partial_fit(X, y), theirs.partial_fit(X, y)
        np.testing.assert_allclose(weights(ours), weights(theirs), rtol=1e-3, atol=1e-3)


def test_networks_fitted_together_warn_one_by_one(digits, monkeypatch):
    monkeypatch.setattr(_base, "_MOST_EPOCHS", 4)
    nets = [sparse(**{**COARSE, "tol": tol}) for tol in (1e9, 0.0)]
    with pytest.warns(ConvergenceWarning, match="at index 1") as caught:
        fit_many(nets, *digits)
    assert [warning.filename for warning in caught] == [__file__]


def test_networks_with_and_without_a_number_are_fitted_in_one_call(digits):
    nets = fit_many([sparse(max_epochs=2), sparse(**COARSE)], *digits)
    assert nets[0].n_iter_ == 2 < nets[1].n_iter_


def test_default_prior_is_that_of_nested_parameters():
    nested = SparseNetClassifier().set_params(prior__rewiring=0.7).prior
    assert nested.get_params() == GraphPrior(n_nodes=250, rewiring=0.7).get_params()
