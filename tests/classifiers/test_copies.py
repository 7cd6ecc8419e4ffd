"""What a pickle, a copy and a clone of a classifier know."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from tests.classifiers.conftest import (
    every_kind,
    every_trained_kind,
    pruned,
    weights,
)


@every_kind
def test_pickle_predicts_and_continues_equally(make, digits):
    X, y = digits
    classifier = make().fit(X, y)
    loaded = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    if make is not pruned:
        classifier.partial_fit(X, y)
        loaded.partial_fit(X, y)
        assert torch.equal(weights(loaded), weights(classifier))


@every_trained_kind
def test_pickle_of_a_gpu_network_is_on_the_cpu(make, digits, monkeypatch):
    X, y = digits
    classifier = make().fit(X, y)
    expected = pickle.loads(pickle.dumps(classifier))
    # Only what they say of themselves; where there is a GPU, the next test uses it.
    elsewhere = [torch.empty(1, device="meta")]
    monkeypatch.setattr(type(classifier), "_weights", lambda self: elsewhere)
    state = classifier.__reduce_ex__(2)[2]
    assert state["module_"] is not classifier.module_
    loaded = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(loaded.predict_proba(X), expected.predict_proba(X))
    loaded.partial_fit(X, y), expected.partial_fit(X, y)
    assert torch.equal(weights(loaded), weights(expected))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_trained_kind
def test_network_trained_on_gpu_loads_without_gpu(make, digits):
    X, y = digits
    classifier = make(device="cuda").fit(X, y)
    assert {w.device.type for w in classifier.module_.parameters()} == {"cuda"}
    loaded = pickle.loads(pickle.dumps(classifier))
    assert {w.device.type for w in loaded.module_.parameters()} == {"cpu"}
    np.testing.assert_allclose(
        loaded.predict_proba(X), classifier.predict_proba(X), rtol=1e-3, atol=1e-5
    )
    assert copy.deepcopy(classifier).module_ is not classifier.module_
    assert next(copy.deepcopy(classifier).module_.parameters()).is_cuda
    loaded.set_params(device="cpu").partial_fit(X, y)


@every_trained_kind
def test_copies_and_clones(make, digits):
    X, y = digits
    classifier = make().fit(X, y)
    assert copy.copy(classifier).module_ is classifier.module_
    deep = copy.deepcopy(classifier)
    assert torch.equal(weights(deep), weights(classifier))
    before = weights(classifier)
    deep.partial_fit(X, y)
    assert torch.equal(weights(classifier), before)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        check_is_fitted(clone(classifier))
