"""An attack that a user wrote is an attack like ours."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from robustkit.attacks import FGSMAttack, ModuleAttack, PGDAttack, robust_scorer
from robustkit.classifiers import MLPNetClassifier, SparseNetClassifier
from robustkit.correlation import RobustnessCorrelator
from robustkit.plotting import RobustnessCurveDisplay
from robustkit.study import RobustnessStudy
from tests.attacks.victims import (
    aim,
    blobs,
    digits,
    digits_mlp,
    digits_pipeline,
    radius,
    torch_net,
)

VICTIMS = {"mlp": digits_mlp, "pipeline": digits_pipeline, "torch": torch_net}


class SignStep(ModuleAttack):
    """FGSM again, written as a user would write it."""

    def perturb_module(self, module, X, y):
        X = X.clone().requires_grad_()
        loss = nn.functional.cross_entropy(module(X), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, X)
        return X + self.eps * gradient.sign()


class Shout(ModuleAttack):
    """Returns what lies far outside of everything, and writes into what it is given."""

    def __init__(
        self, estimator=None, *, loudness=100.0, eps=0.1, norm="linf", clip="auto"
    ):
        super().__init__(estimator, eps=eps, norm=norm, clip=clip)
        self.loudness = loudness

    def perturb_module(self, module, X, y):
        X += self.loudness
        X[::2] -= 2 * self.loudness
        return X


@pytest.mark.parametrize("victim", VICTIMS)
def test_module_attack_equals_fgsm(victim):
    X, y = digits(200)
    model = VICTIMS[victim]()
    mine = aim(SignStep(eps=0.08), model, X, y).perturb(X, y)
    ours = aim(FGSMAttack(eps=0.08), model, X, y).perturb(X, y)
    np.testing.assert_allclose(mine.X_adv, ours.X_adv, atol=1e-6)
    for name in ("y", "clean_prediction", "prediction", "success", "n_queries"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(ours, name))
    assert mine.success.any()


@given(
    eps=st.sampled_from([0.0, 1e-4, 0.3, 5.0]),
    norm=st.sampled_from(["linf", "l2"]),
    clip=st.sampled_from([None, (-40.0, 40.0)]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_nothing_leaves_the_ball_and_the_range(eps, norm, clip, dtype):
    X, y = blobs()
    X = X.astype(dtype)
    before = X.copy()
    model = LogisticRegression(max_iter=1000).fit(X, y)
    attack = aim(Shout(eps=eps, norm=norm, clip=clip), model, X, y)
    result = attack.perturb(X, y)
    order, _ = radius(attack)
    length = np.linalg.norm(result.X_adv.astype(np.float64) - X, ord=order, axis=1)
    assert (length <= eps + 16 * np.finfo(dtype).eps * 40).all()
    assert np.abs(result.X_adv).max() <= 40
    assert result.X_adv.dtype == dtype
    np.testing.assert_array_equal(X, before)


def test_without_a_ball_only_the_range_holds():
    X, y = digits(100)
    attack = aim(Shout(eps=None), digits_pipeline(), X, y)
    result = attack.perturb(X, y)
    right = result.clean_prediction == y
    assert set(np.unique(result.X_adv[right])) == {0.0, 1.0}
    np.testing.assert_allclose(
        result.eps[right], np.abs(result.X_adv - X)[right].max(axis=1), atol=1e-6
    )


class Patient(ModuleAttack):
    """Asks about each sample three times, the last two about one by one."""

    def perturb_module(self, module, X, y):
        module(X)
        for _ in range(2):
            for k in range(len(X)):
                module(X[k : k + 1])
        return X


def test_module_attack_counts_queries():
    X, y = digits(40)
    attack = aim(Patient(batch_size=16), torch_net(), X, y)
    result = attack.perturb(X, y)
    right = result.clean_prediction == y
    assert (result.n_queries[right] == 3).all()
    assert not result.n_queries[~right].any()
    assert not torch_net().module_._forward_hooks


def test_module_attack_skips_misclassified_samples():
    X, y = digits(100)
    y = np.where(np.arange(100) < 10, (y + 1) % 10, y)
    result = aim(Shout(eps=1.0), digits_pipeline(), X, y).perturb(X, y)
    np.testing.assert_array_equal(result.X_adv[:10], X[:10])
    assert not result.success[:10].any()


@pytest.mark.parametrize(
    ("points", "got"),
    [
        (lambda X: X[:, :3], r"Tensor of shape \(\d+, 3\)"),
        (lambda X: X.numpy(), r"ndarray of shape \(\d+, 64\)"),
        (lambda X: None, "NoneType"),
    ],
)
def test_module_attack_refuses_wrong_return_value(points, got):
    class Wrong(ModuleAttack):
        def perturb_module(self, module, X, y):
            return points(X)

    X, y = digits(20)
    with pytest.raises(
        ValueError, match=rf"Wrong.perturb_module must return .* Got {got}"
    ):
        aim(Wrong(), torch_net(), X, y).perturb(X, y)


def test_module_attack_without_perturb_module_is_abstract():
    with pytest.raises(TypeError, match=r"abstract method '?perturb_module"):
        ModuleAttack()


def test_module_attack_refuses_unknown_norm():
    X, y = digits(20)
    with pytest.raises(ValueError, match="'norm' parameter of SignStep must be a str"):
        SignStep(norm="l1").fit(X, y)


def test_module_attack_has_its_own_parameters():
    attack = Shout(loudness=3.0, eps=0.2)
    assert clone(attack).get_params() == attack.get_params()
    assert sorted(attack.get_params()) == [
        "clip",
        "eps",
        "estimator",
        "loudness",
        "norm",
    ]


def test_module_attack_in_search_scorer_pipeline_and_display():
    X, y = digits(200)
    search = GridSearchCV(
        SignStep(LogisticRegression(max_iter=300)), {"estimator__C": [0.01, 1]}, cv=2
    ).fit(X, y)
    assert 0 < search.best_score_ < 1
    model = digits_pipeline()
    assert robust_scorer(SignStep(eps=0.05))(model, X, y) < model.score(X, y)
    attack = aim(SignStep(), model, X, y)
    perturbed = make_pipeline(attack, FrozenEstimator(model)).fit(X, y)
    assert perturbed.score(X, y) < model.score(X, y)
    display = RobustnessCurveDisplay.from_estimator(attack, X, y, eps=(0, 0.1))
    clean, attacked = display.robust_accuracy
    assert attacked < clean


def test_adversarial_training_with_module_attack_is_more_robust():
    X, y = digits(400)
    params = {"lr": 0.01, "max_epochs": 15, "batch_size": 64, "random_state": 0}
    plain = MLPNetClassifier((32,), **params).fit(X, y)
    hard = MLPNetClassifier((32,), adversary=SignStep(eps=0.1), **params).fit(X, y)
    for attack in (SignStep(eps=0.1), PGDAttack(eps=0.1, random_state=0)):
        scores = [aim(attack, net, X, y).score(X, y) for net in (plain, hard)]
        assert scores[0] < scores[1] - 0.1


def test_module_attack_in_a_study():
    X, y = digits(200)
    study = RobustnessStudy(
        SparseNetClassifier(max_epochs=2, lr=0.01),
        {"prior__n_nodes": [30, 40, 50]},
        n_graphs=3,
        inits=["he_uniform"],
        attacks={"mine": SignStep(eps=0.05)},
        analyses={},
        correlator=RobustnessCorrelator(n_bootstrap=0),
        random_state=0,
    ).fit(X, y)
    assert study.results_["mine_error_rate"].notna().all()


@pytest.fixture
def numpy_stream_is_put_back(global_random_streams_stay_put):
    """Some of scikit-learn's own checks draw from numpy's global stream."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


@pytest.mark.usefixtures("numpy_stream_is_put_back")
@parametrize_with_checks([SignStep(LogisticRegression(max_iter=1000), device="cpu")])
def test_module_attack_passes_scikit_learn_checks(estimator, check):
    check(estimator)
