"""Fitted attacks and scorers come back from a file as they were."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from torch import nn

from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    OnePixelAttack,
    PGDAttack,
)
from robustkit.regions import PopulatedRegionScorer
from tests.attacks.victims import digits, digits_mlp, digits_module

FROZEN = FrozenEstimator(digits_mlp())
META = {
    "FGSM": FGSMAttack(FROZEN, eps=np.full(64, 0.05)),
    "PGD": PGDAttack(FROZEN, eps=0.5, eps_unit="std", max_iter=3, random_state=0),
    "growing": GrowingEpsilonAttack(FROZEN, step=0.05),
    "pixel": OnePixelAttack(FROZEN, pop_size=8, max_iter=2, random_state=0),
    "distance": MinimalDistanceAttack(FROZEN, max_iter=5, random_state=0),
    "regions": PopulatedRegionScorer(FROZEN),
}


@pytest.mark.parametrize("name", META)
def test_skops_gives_back_what_it_was_given(name):
    skops = pytest.importorskip("skops.io", reason="saves and loads with skops")
    X, y = digits(80)
    fitted = META[name].fit(X, y)
    data = skops.dumps(fitted)
    # Only names of this package and of scikit-learn must be trusted.
    types = skops.get_untrusted_types(data=data)
    assert all(kind.startswith(("robustkit.", "sklearn.")) for kind in types)
    loaded = skops.loads(data, trusted=types)
    assert loaded.score(X, y) == fitted.score(X, y)
    assert (
        loaded.report(X, y)
        .drop("eps", errors="ignore")
        .equals(fitted.report(X, y).drop("eps", errors="ignore"))
    )


@pytest.mark.parametrize("name", META)
def test_joblib_gives_back_what_it_was_given(name, tmp_path):
    X, y = digits(80)
    fitted = META[name].fit(X, y)
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    loaded = joblib.load(tmp_path / "fitted.joblib")
    assert loaded.score(X, y) == fitted.score(X, y)


def test_reports_and_attacks_on_bare_modules_are_pickled():
    X, y = digits(80)
    attack = FGSMAttack(nn.Sequential(digits_module())).fit(X, y)
    loaded = pickle.loads(pickle.dumps(attack))
    report = pickle.loads(pickle.dumps(attack.report(X, y)))
    assert loaded.report(X, y).equals(report)
    assert report.round(2)["robust_accuracy"] == round(loaded.score(X, y), 2)
