"""The template: what holds for every attack, whatever it does inside."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.utils import ClassifierTags, get_tags
from torch import nn

from robustkit._sklearn_private import ProgressBar
from robustkit.attacks import BIMAttack, FGSMAttack, LeastLikelyAttack, PGDAttack
from robustkit.classifiers import TorchClassifier
from tests.attacks.victims import (
    GRADIENT_ATTACKS,
    aim,
    blobs,
    digits,
    digits_mlp,
    digits_module,
    digits_pipeline,
    radius,
    torch_net,
)

VICTIMS = {
    "MLPClassifier": digits_mlp,
    "pipeline": digits_pipeline,
    "torch": torch_net,
}


@pytest.mark.parametrize("times_frozen", [0, 1, 2])
def test_tags_of_a_classifier_are_those_of_the_model(times_frozen):
    model = DummyClassifier()
    # One that says something of itself.
    expected = get_tags(model).classifier_tags
    assert expected != ClassifierTags()
    for _ in range(times_frozen):
        model = FrozenEstimator(model)
    assert get_tags(FGSMAttack(model)).classifier_tags == expected


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_attack_result_is_consistent_with_the_model(name, victim):
    X, y = digits(200)
    model = VICTIMS[victim]()
    attack = aim(GRADIENT_ATTACKS[name], model, X, y)
    # Tensors share the memory of arrays that can be written to.
    X, before = X.copy(), X
    result = attack.perturb(X, y)
    np.testing.assert_array_equal(X, before)
    norm, eps = radius(attack)
    move = result.X_adv.astype(np.float64) - X
    length = np.linalg.norm(move, ord=norm, axis=1)

    assert result.X_adv.dtype == X.dtype
    assert (length <= eps * (1 + 1e-5) + 1e-7).all()
    assert result.X_adv.min() >= 0
    assert result.X_adv.max() <= 1
    # The model confirms what the result claims.
    np.testing.assert_array_equal(result.clean_prediction, model.predict(X))
    np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))
    proba = model.predict_proba(result.X_adv)
    said = np.searchsorted(model.classes_, result.prediction)
    np.testing.assert_allclose(
        result.confidence, proba[np.arange(len(X)), said], atol=1e-5
    )
    # Misclassified samples are left alone and are no success.
    wrong = result.clean_prediction != y
    np.testing.assert_array_equal(result.X_adv[wrong], X[wrong])
    assert not result.success[wrong].any()
    assert not result.n_queries[wrong].any()
    assert not result.eps[wrong].any()
    # Here the attacks do something, and none does everything.
    right = ~wrong
    np.testing.assert_array_equal(
        result.success[right], (result.prediction != y)[right]
    )
    assert result.success.any()
    if name != "growing":
        np.testing.assert_allclose(result.eps, length, atol=1e-6)


@given(
    name=st.sampled_from(sorted(GRADIENT_ATTACKS)),
    size=st.sampled_from([0.0, 1e-4, 0.05, 2.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    clip=st.sampled_from(["auto", None, (-40.0, 40.0)]),
    n_samples=st.integers(1, 20),
)
def test_attack_stays_in_ball_and_clip_range(name, size, dtype, clip, n_samples):
    X, y = blobs()
    X = X.astype(dtype)
    model = LogisticRegression(max_iter=1000).fit(X, y)
    params = {"stop": size, "start": 0.0} if name == "growing" else {"eps": size}
    attack = aim(GRADIENT_ATTACKS[name], model, X, y, clip=clip, **params)
    assert attack.clip_ == (None if clip == "auto" else clip)
    result = attack.perturb(X[:n_samples], y[:n_samples])
    norm, eps = radius(attack)
    length = np.linalg.norm(
        result.X_adv.astype(np.float64) - X[:n_samples], ord=norm, axis=1
    )
    assert (length <= eps + 16 * np.finfo(dtype).eps * 40).all()
    assert np.abs(result.X_adv).max() <= 40
    if eps == 0:
        np.testing.assert_array_equal(result.X_adv, X[:n_samples])
        assert not result.success.any()


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_attack_takes_labels_of_any_type(name):
    X, y = blobs()
    numbers = np.unique(y, return_inverse=True)[1]
    results = []
    for labels in (y, numbers, y.astype(object)):
        model = LogisticRegression(max_iter=1000).fit(X, labels)
        attack = (
            aim(GRADIENT_ATTACKS[name], model, X, labels, eps=2.0)
            if (name != "growing")
            else aim(GRADIENT_ATTACKS[name], model, X, labels, stop=2.0)
        )
        results.append(attack.perturb(X, labels))
    words, numbered, objects = results
    np.testing.assert_array_equal(words.X_adv, numbered.X_adv)
    np.testing.assert_array_equal(words.X_adv, objects.X_adv)
    np.testing.assert_array_equal(words.prediction, model.classes_[numbered.prediction])
    assert set(words.y) <= {"one", "two", "three"}


def test_classes_that_are_not_sorted():
    X, y = digits(100)
    names = np.array(list("jihgfedcba"))
    model = TorchClassifier.from_module(digits_module(), classes=names)
    attack = aim(FGSMAttack(), model, X, names[y])
    plain = aim(FGSMAttack(), torch_net(), X, y).perturb(X, y)
    result = attack.perturb(X, names[y])
    np.testing.assert_array_equal(result.X_adv, plain.X_adv)
    np.testing.assert_array_equal(result.prediction, names[plain.prediction])


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_attack_does_not_depend_on_order_subset_or_batch_size(name):
    X, y = digits(90)
    model = torch_net()
    whole = aim(GRADIENT_ATTACKS[name], model, X, y).perturb(X, y)
    order = np.random.default_rng(0).permutation(90)[:50]
    part = aim(GRADIENT_ATTACKS[name], model, X, y, batch_size=7)
    part = part.perturb(X[order], y[order])
    # Equal up to rounding: a matrix product of fewer rows rounds otherwise.
    np.testing.assert_allclose(part.X_adv, whole.X_adv[order], atol=2e-5)
    np.testing.assert_array_equal(part.success, whole.success[order])
    np.testing.assert_array_equal(part.n_queries, whole.n_queries[order])


def test_attack_without_labels_attacks_predictions():
    X, y = digits(300)
    attack = aim(FGSMAttack(eps=0.05), digits_pipeline(), X, y)
    own = attack.perturb(X)
    answers = attack.predict(X)
    assert (answers != y).any()
    np.testing.assert_array_equal(own.y, answers)
    np.testing.assert_array_equal(own.X_adv, attack.perturb(X, answers).X_adv)
    np.testing.assert_array_equal(attack.transform(X), own.X_adv)
    wrong = answers != y
    assert (own.X_adv[wrong] != X[wrong]).any()
    assert (attack.perturb(X, y).X_adv[wrong] == X[wrong]).all()


def test_misclassified_sample_is_no_success():
    X, y = digits(300)
    attack = aim(FGSMAttack(eps=0.2), digits_pipeline(), X, y)
    result = attack.perturb(X, y)
    wrong = result.clean_prediction != y
    assert wrong.any()
    assert (result.prediction[wrong] == result.clean_prediction[wrong]).all()
    assert attack.score(X, y) == np.mean(
        (result.clean_prediction == y) & (result.prediction == y)
    )


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_the_model_is_left_as_it_was(name):
    X, y = digits(60)
    X, y = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    module = nn.Sequential(
        nn.utils.skip_init(nn.Linear, 64, 16),
        nn.BatchNorm1d(16),
        nn.Dropout(),
        nn.utils.skip_init(nn.Linear, 16, 10),
    )
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.from_numpy(rng.normal(size=weight.shape)))
    # The caller trains it, with one part frozen.
    module.train()
    module[1].eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    model = TorchClassifier.from_module(module, classes=np.arange(10))
    modes = [part.training for part in module.modules()]
    aim(GRADIENT_ATTACKS[name], model, X, y, batch_size=16).perturb(X, y)
    assert [part.training for part in module.modules()] == modes
    assert all(weight.grad is None for weight in module.parameters())
    assert all(weight.requires_grad for weight in module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_an_error_inside_leaves_the_mode_as_it_was():
    class Broken(nn.Linear):
        def forward(self, x):
            if torch.is_grad_enabled() and x.requires_grad:
                raise RuntimeError("no memory, say")
            return super().forward(x)

    with torch.random.fork_rng():
        module = Broken(64, 10).train()
    with pytest.raises(RuntimeError, match="no memory"):
        FGSMAttack().perturb_module(
            module, torch.zeros(2, 64), torch.zeros(2, dtype=torch.int64)
        )
    assert module.training


def test_dataframe_keeps_its_columns():
    X, y = digits(60)
    table = pd.DataFrame(X, columns=[f"p{j}" for j in range(64)])
    model = LogisticRegression(max_iter=300).fit(table, y)
    attack = FGSMAttack(FrozenEstimator(model)).fit(table, y)
    result = attack.perturb(table, y)
    np.testing.assert_array_equal(
        result.X_adv, aim(FGSMAttack(), model, table, y).perturb(table, y).X_adv
    )
    attack.set_output(transform="pandas")
    assert list(attack.transform(table).columns) == list(table.columns)


def test_model_without_probabilities_has_the_confidence_of_its_scores():
    X, y = digits(100)
    model = LinearSVC(random_state=0).fit(X, y)
    result = aim(FGSMAttack(), model, X, y).perturb(X, y)
    scores = model.decision_function(result.X_adv)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(result.confidence, 1 / odds.sum(axis=1))


def test_score_takes_weights():
    X, y = digits(100)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    result = attack.perturb(X, y)
    stood = (result.clean_prediction == y) & (result.prediction == y)
    weights = np.arange(100)
    assert attack.score(X, y, weights) == np.average(stood, weights=weights)


def test_fit_fits_a_clone():
    X, y = digits(100)
    model = LogisticRegression(max_iter=300)
    attack = FGSMAttack(model).fit(X, y)
    assert not hasattr(model, "coef_")
    assert attack.estimator_.score(X, y) > 0.9
    assert attack.clip_ == (0.0, 1.0)
    assert isinstance(FGSMAttack().fit(X, y).estimator_, LogisticRegression)
    twin = clone(attack)
    assert not hasattr(twin, "estimator_")


def test_report_is_that_of_the_equations():
    X, y = digits(200)
    attack = aim(FGSMAttack(eps=0.08), digits_pipeline(), X, y)
    result = attack.perturb(X, y)
    report = attack.report(X, y)
    right = result.clean_prediction == y
    fooled = right & (result.prediction != y)
    assert 0 < fooled.sum() < right.sum() < len(y)
    assert report["n_samples"] == len(y)
    assert report["n_correct"] == right.sum()
    assert report["n_success"] == fooled.sum()
    assert report["n_queries"] == result.n_queries.sum() == right.sum()
    assert report["clean_accuracy"] == right.mean()
    assert report["robust_accuracy"] == (right & ~fooled).mean()
    assert report["error_rate"] == fooled.sum() / right.sum()
    assert report["average_confidence"] == result.confidence[fooled].mean()
    assert report["average_eps"] == result.eps[fooled].mean()


def test_report_of_no_success_has_no_averages():
    X, y = digits(50)
    report = aim(FGSMAttack(eps=0.0), digits_pipeline(), X, y).report(X, y)
    assert report["error_rate"] == 0
    assert np.isnan(report["average_confidence"])
    assert np.isnan(report["average_eps"])


def test_verbose_tells_of_every_batch(capsys):
    X, y = digits(50)
    aim(FGSMAttack(verbose=1, batch_size=20), digits_pipeline(), X, y).perturb(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("[FGSMAttack] 40 of 50 samples attacked")


class Counter:
    """A callback that counts the batches."""

    def __init__(self):
        self.tasks = []

    def setup(self, estimator, context):
        self.tasks.append("setup")

    def teardown(self, estimator, context):
        self.tasks.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.tasks.append(context.task_name)


def test_callbacks_see_every_batch():
    X, y = digits(50)
    attack = aim(FGSMAttack(batch_size=20), digits_pipeline(), X, y)
    counter = Counter()
    attack.set_callbacks(counter).perturb(X, y)
    assert counter.tasks == ["setup", "batch", "batch", "batch", "perturb", "teardown"]


def test_progress_bar_works():
    X, y = digits(50)
    attack = FGSMAttack(LogisticRegression(max_iter=300), batch_size=20)
    attack.set_callbacks(ProgressBar())
    assert attack.fit(X, y).perturb(X, y).success.any()


def test_a_frozen_model_keeps_the_callbacks_of_its_own_training():
    X, y = digits(50)
    model = LogisticRegression(max_iter=300).set_callbacks(ProgressBar()).fit(X, y)
    attack = FGSMAttack(FrozenEstimator(model)).set_callbacks(Counter())
    assert attack.fit(X, y).perturb(X, y).success.any()


def test_unfitted_is_refused():
    X, y = digits(10)
    with pytest.raises(NotFittedError, match="not fitted"):
        FGSMAttack().perturb(X, y)
    with pytest.raises(NotFittedError, match="not fitted"):
        FGSMAttack(FrozenEstimator(LogisticRegression())).fit(X, y)


@pytest.mark.parametrize("eps", [-0.1, np.nan, np.inf, "0.1"])
@pytest.mark.parametrize("cls", [FGSMAttack, PGDAttack, LeastLikelyAttack])
def test_impossible_eps_is_refused(cls, eps):
    X, y = digits(20)
    with pytest.raises(ValueError, match=r"'eps' parameter of \w+ must be a float"):
        cls(eps=eps).fit(X, y)
    # Also when it is set after `fit`.
    attack = aim(cls(), digits_pipeline(), X, y).set_params(eps=eps)
    with pytest.raises(ValueError, match=r"'eps' parameter of \w+ must be a float"):
        attack.perturb(X, y)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (BIMAttack, "max_iter"),
        (LeastLikelyAttack, "max_iter"),
        (PGDAttack, "max_iter"),
        (PGDAttack, "n_restarts"),
        (FGSMAttack, "batch_size"),
    ],
)
def test_a_number_of_zero_is_refused(cls, name):
    X, y = digits(20)
    with pytest.raises(ValueError, match=rf"'{name}' parameter .* Got 0"):
        cls(torch_net(), **{name: 0}).fit(X, y)


def test_a_parameter_that_was_changed_to_another_one_is_checked_once_more():
    X, y = digits(20)
    attack = aim(FGSMAttack(eps=0.1), digits_pipeline(), X, y)
    attack.eps = 0.2
    assert attack.perturb(X, y).eps.max() == pytest.approx(0.2)
    attack.eps_unit = "inch"
    with pytest.raises(ValueError, match=r"'eps_unit' parameter of FGSMAttack must be"):
        attack.perturb(X, y)


def test_parameters_that_fit_did_not_check_are_checked_later():
    X, y = digits(20)
    attack = aim(FGSMAttack(eps=0.1), digits_pipeline(), X, y)
    attack.eps_unit = "inch"
    with config_context(skip_parameter_validation=True):
        attack.fit(X, y)
    with pytest.raises(ValueError, match=r"'eps_unit' parameter of FGSMAttack must be"):
        attack.perturb(X, y)


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X.tolist(),
        lambda X: np.asfortranarray(X),
        lambda X: X[:, ::-1][:, ::-1],
        lambda X: X.astype(np.float16),
        lambda X: X.view(np.recarray),
    ],
    ids=["list", "columns", "strides", "half", "subclass"],
)
def test_arrays_in_any_form_are_attacked_alike(change):
    X, y = digits(20)
    X = (X * 16).round() / 16
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    expected = attack.perturb(X, y)
    result = attack.perturb(change(X), y)
    np.testing.assert_allclose(result.X_adv, expected.X_adv, atol=1e-3)
    assert result.success.tolist() == expected.success.tolist()


@pytest.mark.parametrize("clip", [(1, 0), (0, 0), (0, 1, 2), ("a", "b"), (np.nan, 1)])
def test_impossible_clip_is_refused(clip):
    X, y = digits(20)
    with pytest.raises(ValueError, match="'clip' parameter must be"):
        FGSMAttack(FrozenEstimator(digits_pipeline()), clip=clip).fit(X, y)


def test_data_outside_the_clip_range_are_refused():
    X, y = digits(20)
    with pytest.raises(ValueError, match=r"clip range \[0.0, 0.5\]. Got values from"):
        FGSMAttack(FrozenEstimator(digits_pipeline()), clip=(0, 0.5)).fit(X, y)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    with pytest.raises(ValueError, match=r"clip range \[0.0, 1.0\]. Got values from"):
        attack.perturb(2 * X, y)
    free = aim(FGSMAttack(clip=None), digits_pipeline(), X, y)
    assert free.perturb(2 * X).X_adv.max() > 1


def test_ends_of_the_clip_range_are_those_of_the_data_type():
    """The nearest float32 of 0.1 is larger than 0.1, and inside all the same."""
    X, y = digits(20)
    X = (X * 0.1).astype(np.float32)
    X[0, 0] = np.float32(0.1)
    attack = aim(FGSMAttack(clip=(0, 0.1)), digits_pipeline(), X, y)
    assert attack.perturb(X).X_adv.max() == np.float32(0.1)


def test_no_samples_are_refused():
    X, y = digits(20)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        attack.perturb(X[:0], y[:0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_data_that_are_not_finite_are_refused(value):
    X, y = digits(20)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    bad = X.copy()
    bad[3, 5] = value
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        attack.perturb(bad, y)


def test_logits_that_are_not_finite_are_refused():
    X, y = digits(20)
    model = TorchClassifier.from_module(Overflow(digits_module()), classes=range(10))
    with pytest.raises(ValueError, match="logits of the model must be finite"):
        aim(FGSMAttack(), model, X, y).perturb(X, y)


class Overflow(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x) * 1e38 * 1e38


def test_labels_that_the_model_does_not_know_are_refused():
    X, y = digits(20)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    with pytest.raises(ValueError, match=r"'y' must hold classes.*Got 11"):
        attack.perturb(X, np.full(20, 11))
    with pytest.raises(ValueError, match="Got 19 labels for 20 samples"):
        attack.perturb(X, y[:-1])
    with pytest.raises(ValueError, match="Complex data not supported"):
        attack.perturb(X, y.astype(complex))


def test_model_without_gradient_is_refused_with_the_cure():
    X, y = digits(60)
    with pytest.raises(TypeError, match=r"KNeighborsClassifier.*OnePixelAttack"):
        FGSMAttack(KNeighborsClassifier()).fit(X, y)


def test_attack_without_target_says_who_takes_one():
    X, y = digits(20)
    attack = aim(FGSMAttack(), digits_pipeline(), X, y)
    with pytest.raises(ValueError, match=r"Use PGDAttack\(targeted=True\)"):
        attack.perturb(X, y, target=3)


def test_out_of_memory_halves_the_batch(monkeypatch):
    X, y = digits(60)
    attack = aim(PGDAttack(max_iter=3, random_state=0), digits_pipeline(), X, y)
    whole = attack.perturb(X, y)
    search, sizes = PGDAttack._search, []

    def short(self, module, batch):
        sizes.append(len(batch.X))
        if len(batch.X) > 16:
            raise torch.OutOfMemoryError("no memory")
        return search(self, module, batch)

    monkeypatch.setattr(PGDAttack, "_search", short)
    pieces = attack.perturb(X, y)
    assert max(sizes) > 16
    np.testing.assert_allclose(pieces.X_adv, whole.X_adv, atol=2e-5)
    np.testing.assert_array_equal(pieces.success, whole.success)

    def hopeless(self, *args):
        raise torch.OutOfMemoryError("not even one")

    monkeypatch.setattr(PGDAttack, "_search", hopeless)
    with pytest.raises(torch.OutOfMemoryError, match="not even one"):
        attack.perturb(X, y)
