"""The distance of the nearest error lies between the two ends, whatever the model."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import MinimalDistanceAttack, _bracket, robustness_bracket
from robustkit.bounds import CertifiedRadius
from robustkit.classifiers import TorchClassifier
from robustkit.exceptions import ViolatedBracketError
from tests.attacks.victims import digits, torch_net
from tests.bounds.nets import FLAT, balanced, mlp


def test_ends_are_those_of_proof_and_attack():
    X, y = digits(60)
    model = torch_net()
    bracket = robustness_bracket(model, X, y)
    assert list(bracket.columns) == ["lower", "upper", "status"]
    proof = CertifiedRadius(model).fit(X, y)
    np.testing.assert_allclose(bracket["lower"], proof.radii(X, y), rtol=2e-3)
    attack = MinimalDistanceAttack(model).fit(X, y)
    np.testing.assert_allclose(
        bracket["upper"], attack.perturb(X, y).distance, rtol=1e-6
    )
    right = model.predict(X) == y
    assert (bracket["upper"][~right] == 0).all()
    assert (bracket["lower"][~right] == 0).all()
    assert (bracket["status"][~right] == "exact").all()
    assert (bracket["lower"][right] < bracket["upper"][right]).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bracket_of_linear_model_is_exact(norm):
    X, y = digits(100)
    X, y = X[y < 2], y[y < 2]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    bracket = robustness_bracket(model, X, y, norm=norm, clip=None)
    assert (bracket["status"] == "exact").all()
    weight = model[-1].coef_[0] / model[0].scale_
    exact = np.abs(model.decision_function(X))
    exact /= np.linalg.norm(weight, 1 if norm == "linf" else 2)
    assert (bracket["lower"] <= exact * (1 + 1e-6)).all()
    np.testing.assert_allclose(bracket["upper"], exact, rtol=2e-3)


def test_no_error_anywhere_is_exact_and_infinite():
    X = digits(20)[0][:, :6]
    module = mlp(0)
    module[-1].weight.data.zero_()
    module[-1].bias.data.copy_(module[-1].bias.data.new_tensor([0.0, 1.0, 0.0]))
    model = TorchClassifier.from_module(module, classes=[0, 1, 2])
    bracket = robustness_bracket(model, X, np.ones(20, dtype=int), clip=(0, 1))
    assert (bracket["status"] == "exact").all()
    assert np.isinf(bracket[["lower", "upper"]]).all(axis=None)
    open_ = robustness_bracket(model, X, np.ones(20, dtype=int), clip=None)
    assert (open_["status"] == "not found").all()
    assert np.isfinite(open_["lower"]).all()


def test_rows_are_those_of_a_table():
    X, y = digits(30)
    table = pd.DataFrame(X, index=[f"image {i}" for i in range(30)])
    table.columns = [f"pixel {j}" for j in range(64)]
    model = LogisticRegression().fit(table, y)
    bracket = robustness_bracket(model, table, y)
    assert list(bracket.index) == list(table.index)


def test_violated_bracket_is_an_error(monkeypatch):
    X, y = digits(20)
    model = torch_net()
    upper = robustness_bracket(model, X, y)["upper"].to_numpy()
    monkeypatch.setattr(_bracket, "radii_from", lambda *args: upper * 1.0)
    with pytest.raises(ViolatedBracketError, match=r"the first is sample \d+ "):
        robustness_bracket(model, X, y)


@given(
    name=st.sampled_from(sorted(FLAT)),
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(["linf", "l2"]),
    method=st.sampled_from(["crown", "interval", "split"]),
    clip=st.sampled_from([None, (0.0, 1.0), "auto", (-0.2, 1.5)]),
)
def test_lower_end_is_below_upper_end(name, seed, norm, method, clip):
    rng = np.random.default_rng(seed)
    X = rng.random((5, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = rng.integers(2)
    model = TorchClassifier.from_module(FLAT[name](seed), classes=[0, 1, 2])
    y = model.predict(X)
    bracket = robustness_bracket(
        model, X, y, norm=norm, method=method, clip=clip, max_iter=20, max_subproblems=4
    )
    assert (bracket["lower"] <= bracket["upper"]).all()
    assert bracket["status"].isin(["exact", "bracketed", "not found"]).all()


def test_bad_input_is_refused():
    X, y = digits(30)
    model = LogisticRegression().fit(X, y)
    for params, said in (
        ({"norm": "l1"}, "'norm' parameter"),
        ({"clip": (0.5, 1.0)}, "must lie in the clip range"),
        ({"max_seconds": 0}, "'max_seconds' parameter"),
        ({"method": "exact"}, "'method' parameter"),
    ):
        with pytest.raises(ValueError, match=said):
            robustness_bracket(model, X, y, **params)
    tanh = balanced(mlp(0), 6)
    tanh[1] = type("Odd", (type(tanh[1]),), {"forward": lambda self, x: x.tanh()})()
    model = TorchClassifier.from_module(tanh, classes=[0, 1, 2])
    with pytest.raises(TypeError, match="This one has a Odd"):
        robustness_bracket(model, X[:, :6], y % 3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bracket_of_a_bare_module_and_images_is_that_of_rows(norm):
    X = digits(12)[0]
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10)
        ).eval()
    images = X.astype(np.float32).reshape(-1, 1, 8, 8)
    with torch.no_grad():
        labels = module(torch.from_numpy(images)).argmax(dim=1).numpy()
    known = TorchClassifier.from_module(module, range(10), image_shape=(1, 8, 8))
    of_rows = robustness_bracket(known, X.astype(np.float32), labels, norm=norm)
    of_images = robustness_bracket(module, images, labels, norm=norm)
    pd.testing.assert_frame_equal(of_images, of_rows)
    assert (of_rows["lower"] > 0).all()
    of_tensor = robustness_bracket(module, torch.from_numpy(images), labels, norm=norm)
    pd.testing.assert_frame_equal(of_tensor, of_rows)
