"""What belongs to the caller is as it was after a study."""

import random

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from robustkit.attacks import FGSMAttack, PGDAttack
from robustkit.classifiers import SparseNetClassifier
from robustkit.correlation import RobustnessCorrelator
from robustkit.graphs import GraphPrior
from robustkit.regions import PopulatedRegionScorer
from robustkit.study._plan import GraphPopulation
from robustkit.topology import MapperGraph
from tests.study.studies import small_data, small_study


def fingerprint(study):
    """Of all parameters, those of the estimators inside included."""
    return joblib.hash(
        {k: v for k, v in study.get_params(deep=True).items() if k != "correlator"}
    )


def test_arrays_estimators_and_streams_are_left_alone():
    data = tuple(part.copy() for part in small_data())
    before = joblib.hash(data)
    estimator = SparseNetClassifier(
        GraphPrior(random_state=np.random.RandomState(3)),
        max_epochs=1,
        device="auto",
        random_state=np.random.RandomState(4),
    )
    study = small_study(
        estimator=estimator,
        n_graphs=3,
        attacks={"pgd": (PGDAttack(max_iter=2, random_state=None), 5)},
        analyses={"regions": PopulatedRegionScorer(), "mapper": MapperGraph()},
    )
    parts = {**study.attacks, **study.analyses}
    expected = fingerprint(study), dict(study.param_space), list(study.inits)
    streams = (
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        torch.random.get_rng_state(),
        torch.get_num_threads(),
    )
    study.fit(*data)
    assert joblib.hash(data) == before
    assert (fingerprint(study), study.param_space, study.inits) == expected
    assert {**study.attacks, **study.analyses} == parts
    assert not hasattr(study.attacks["pgd"][0], "classes_")
    assert not hasattr(estimator, "classes_")
    assert random.getstate() == streams[0]
    assert np.random.get_state()[1].tobytes() == streams[1]
    assert torch.equal(torch.random.get_rng_state(), streams[2])
    assert torch.get_num_threads() == streams[3]


def test_a_fitted_estimator_stays_fitted_and_gives_the_same():
    X, y, X_test, y_test = small_data()
    estimator = SparseNetClassifier(max_epochs=1, random_state=0).fit(X, y)
    before = estimator.predict_proba(X_test)
    study = small_study(estimator=estimator, n_graphs=3, inits=["normal"])
    study.fit(X, y, X_test, y_test)
    np.testing.assert_array_equal(estimator.predict_proba(X_test), before)


def test_an_analysis_cannot_write_into_the_data():
    """Else the models after it, and the caller, would have other samples."""

    def center(model, X, y, X_test, y_test):
        X -= X.mean()
        return {"mean": X.mean()}

    data = tuple(part.copy() for part in small_data())
    with pytest.raises(ValueError, match="read-only"):
        small_study(analyses={"own": center}).fit(*data)
    for part, expected in zip(data, small_data(), strict=True):
        np.testing.assert_array_equal(part, expected)
        assert part.flags.writeable


def test_read_only_data_are_taken():
    data = small_data()
    expected = small_study(n_graphs=3).fit(*data).results_
    for part in data:
        part.flags.writeable = False
    found = small_study(n_graphs=3).fit(*data).results_
    assert found["clean_accuracy"].equals(expected["clean_accuracy"])


def test_a_correlator_of_the_caller_is_not_fitted():
    correlator = RobustnessCorrelator()
    study = small_study(n_graphs=3, correlator=correlator).fit(*small_data())
    assert not hasattr(correlator, "correlations_")
    assert hasattr(study.correlator_, "correlations_")


def test_a_study_can_be_cloned_and_fitted_again():
    study = small_study(n_graphs=3, attacks={"fgsm": FGSMAttack(eps=0.1)})
    first = study.fit(*small_data()).results_["fgsm_error_rate"]
    again = clone(study).fit(*small_data()).results_["fgsm_error_rate"]
    assert first.equals(again)


def test_settings_of_the_caller_are_copied_by_a_plan():
    estimator = SparseNetClassifier()
    population = GraphPopulation(estimator)
    assert estimator.prior is None
    assert population.estimator is not estimator
