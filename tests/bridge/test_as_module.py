"""A torch module says what its estimator says, and has the gradient besides."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, NuSVC
from torch import nn

from robustkit.bridge import as_module, frozen
from robustkit.classifiers import MLPNetClassifier
from robustkit.graphs import GraphPrior
from tests.bridge.converted import name_of


def tanh_of_either(x):
    return torch.tanh(x) if torch.is_tensor(x) else np.tanh(x)


STEPS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler(),
    MinMaxScaler(feature_range=(-1, 2), clip=True),
    MaxAbsScaler(),
    MaxAbsScaler(clip=True),
    RobustScaler(),
    RobustScaler(with_centering=False, with_scaling=False),
    Normalizer("l1"),
    Normalizer("l2"),
    Normalizer("max"),
    PCA(),
    PCA(n_components=2, whiten=True, random_state=0),
    FunctionTransformer(),
    FunctionTransformer(tanh_of_either),
    GraphPrior(n_nodes=30, random_state=0),
    "passthrough",
]
MODELS = [
    LogisticRegression(),
    LogisticRegressionCV(Cs=2, use_legacy_attributes=False, scoring="accuracy"),
    LinearSVC(random_state=0),
    SVC(kernel="linear", random_state=0),
    NuSVC(kernel="linear", nu=0.3, random_state=0),
    SGDClassifier(random_state=0),
    RidgeClassifier(),
    RidgeClassifierCV(),
    Perceptron(),
    LinearDiscriminantAnalysis(),
    *(
        MLPClassifier((5, 4), activation=activation, max_iter=5, random_state=0)
        for activation in ("relu", "tanh", "logistic", "identity")
    ),
]


def make_data(n_classes=3, offset=0.0, scale=1.0, seed=0, n_samples=60):
    X, y = make_classification(
        n_samples=n_samples,
        n_features=5,
        n_informative=4,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=1,
        random_state=seed,
    )
    return X * scale + offset, y


def fitted(estimator, X, y):
    # A network of five iterations has not converged, and need not.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        return clone(estimator).fit(X, y)


def logits_of(estimator, X):
    with torch.no_grad():
        return as_module(estimator)(torch.tensor(X, dtype=torch.float64)).numpy()


def votes(estimator):
    """Whether the module has margins of its own, see test_pairwise_votes."""
    return isinstance(estimator, SVC | NuSVC) and len(estimator.classes_) > 2


def assert_says_the_same(estimator, X):
    """Equal to rounding, relative to the size of the numbers summed."""
    rounding = 1e-11 + 1e-14 * np.abs(X).max()
    logits = logits_of(estimator, X)
    assert logits.shape == (len(X), len(estimator.classes_))
    if hasattr(estimator, "predict_proba"):
        expected = estimator.predict_proba(X)
        found = torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()
        np.testing.assert_allclose(found, expected, atol=rounding, rtol=0)
    np.testing.assert_array_equal(
        estimator.classes_[logits.argmax(axis=1)], estimator.predict(X)
    )
    if hasattr(estimator, "decision_function") and not votes(estimator):
        expected = estimator.decision_function(X)
        if expected.ndim == 1:
            expected = np.column_stack([np.zeros(len(X)), expected])
        tolerance = rounding * max(1, np.abs(expected).max())
        np.testing.assert_allclose(logits, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_model_equals_its_decision_function(model, n_classes):
    X, y = make_data(n_classes)
    assert_says_the_same(fitted(model, X, y), X)


@pytest.mark.parametrize("model", [MODELS[0], MODELS[2], MODELS[-4]], ids=name_of)
@pytest.mark.parametrize("step", STEPS, ids=name_of)
def test_pipeline_equals_its_decision_function(step, model):
    X, y = make_data()
    assert_says_the_same(fitted(make_pipeline(step, model), X, y), X)


@given(
    steps=st.lists(
        st.sampled_from([step for step in STEPS if not hasattr(step, "func")]),
        max_size=3,
    ),
    model=st.sampled_from(
        [LogisticRegression(), MODELS[-4], LinearSVC(random_state=0)]
    ),
    n_classes=st.integers(2, 4),
    offset=st.sampled_from([0.0, 3.0, -20.0]),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
    seed=st.integers(0, 1000),
)
def test_any_pipeline_equals_its_decision_function(
    steps, model, n_classes, offset, scale, seed
):
    X, y = make_data(n_classes, offset, scale, seed)
    assert_says_the_same(fitted(make_pipeline(*steps, model), X, y), X)


@pytest.mark.parametrize(
    "step", [s for s in STEPS if hasattr(s, "transform")], ids=name_of
)
def test_transformer_alone_equals_its_transform(step):
    X, y = make_data()
    X[0] = 0.0
    step = clone(step).fit(X, y)
    expected = step.transform(X)
    np.testing.assert_allclose(logits_of(step, X), expected, atol=1e-5, rtol=1e-5)


def test_clipping_scaler_clips_new_samples():
    X, y = make_data()
    pipeline = make_pipeline(MinMaxScaler(clip=True), LogisticRegression()).fit(X, y)
    assert_says_the_same(pipeline, 5 * X)


@pytest.mark.parametrize("step", STEPS, ids=name_of)
def test_gradient_is_that_of_the_whole_pipeline(step):
    """Equal to finite differences of the decision function, taken in float64."""
    X, y = make_data(n_samples=40)
    pipeline = make_pipeline(step, LogisticRegression()).fit(X, y)
    x = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    (gradient,) = torch.autograd.grad(as_module(pipeline)(x)[:, 1].sum(), x)
    h = 1e-6
    for j in range(X.shape[1]):
        shift = np.eye(X.shape[1])[j] * h
        up, down = (pipeline.decision_function(X + s)[:, 1] for s in (shift, -shift))
        slope = (up - down) / (2 * h)
        # A clipping scaler or a maximum has no slope at its corners.
        at_corner = np.isclose(np.abs(X - X.min(0)), 0) | np.isclose(X, X.max(0))
        smooth = ~at_corner.any(axis=1)
        np.testing.assert_allclose(
            gradient.numpy()[smooth, j], slope[smooth], atol=2e-3, rtol=2e-3
        )


def test_frozen_estimators_and_finished_searches_are_unwrapped():
    X, y = make_data()
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}).fit(X, y)
    assert_says_the_same(search, X)
    assert_says_the_same(FrozenEstimator(search), X)
    assert_says_the_same(
        make_pipeline(
            FrozenEstimator(StandardScaler().fit(X)), FrozenEstimator(search)
        ).fit(X, y),
        X,
    )


def test_labels_of_any_kind_keep_the_order_of_classes():
    X, y = make_data()
    names = np.array(["c", "a", "b"])[y]
    assert_says_the_same(LogisticRegression().fit(X, names), X)


def test_module_is_in_eval_mode_and_draws_no_random_numbers():
    X, y = make_data()
    module = as_module(make_pipeline(PCA(), LogisticRegression()).fit(X, y))
    assert not any(part.training for part in module.modules())


class Taught(LogisticRegression):
    """A classifier whose module the user registers, in train mode."""

    def fit(self, X, y):
        super().fit(X, y)
        self.net_ = nn.Sequential(nn.Linear(5, 3, device="cpu"), nn.Dropout())
        self.net_.train()
        return self


def test_user_can_register_a_class_and_its_mode_stays():
    @as_module.register(Taught)
    def _taught(estimator):
        return estimator.net_

    X, y = make_data()
    with torch.random.fork_rng():
        estimator = Taught().fit(X, y)
    module = as_module(estimator)
    assert not module.training
    assert not module[1].training
    assert estimator.net_.training
    assert estimator.net_[1].training
    estimator.net_.eval()
    assert as_module(estimator) is estimator.net_


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        MLPClassifier(),
        SVC(kernel="linear", random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {}),
        StandardScaler(),
        PCA(),
        KNeighborsClassifier(),
    ],
    ids=name_of,
)
def test_unfitted_estimator_raises(estimator):
    with pytest.raises(NotFittedError, match="not fitted"):
        as_module(estimator)


def test_unsupported_model_raises_with_its_name_and_a_fix():
    X, y = make_data()
    model = DummyClassifier().fit(X, y)
    with pytest.raises(TypeError, match=r"DummyClassifier.*register.*OnePixelAttack"):
        as_module(model)


def test_unsupported_step_raises_with_its_name_and_a_fix():
    X, y = make_data()
    pipeline = Pipeline(
        [
            ("code", OneHotEncoder(handle_unknown="ignore")),
            ("model", LogisticRegression()),
        ]
    ).fit(X, y)
    with pytest.raises(TypeError, match=r"Step 'code'.*OneHotEncoder.*register"):
        as_module(pipeline)


@pytest.mark.parametrize("function", [np.log1p, np.abs, lambda x: np.asarray(x) + 1])
def test_function_that_does_not_take_tensors_raises(function):
    X, y = make_data()
    pipeline = make_pipeline(FunctionTransformer(function), LogisticRegression())
    pipeline.fit(np.abs(X), y)
    with pytest.raises(TypeError, match=r"functiontransformer.*Write it in torch"):
        as_module(pipeline)


@pytest.mark.parametrize(
    "model", [MLPClassifier(max_iter=1, random_state=0), RidgeClassifier()]
)
def test_multilabel_classifier_raises(model):
    X, y = make_data()
    model = fitted(model, X, np.eye(3, dtype=int)[y][:, :2])
    with pytest.raises(TypeError, match="one label"):
        as_module(model)


@pytest.mark.parametrize("offset", [1e6, 1e8])
@pytest.mark.parametrize("step", STEPS[:9], ids=name_of)
def test_large_offset_loses_no_precision(step, offset):
    X, y = make_data(offset=offset)
    assert_says_the_same(fitted(make_pipeline(step, PCA(), MODELS[0]), X, y), X)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_module_takes_either_dtype_and_computes_in_float64(model, dtype):
    X, y = make_data()
    X = X.astype(np.float32)
    model = fitted(model, X, y)
    x = torch.tensor(X, dtype=dtype, requires_grad=True)
    logits = as_module(model)(x)
    assert logits.dtype == torch.float64
    exact = as_module(model)(torch.tensor(X, dtype=torch.float64))
    torch.testing.assert_close(logits, exact, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), x)
    assert gradient.dtype == dtype
    assert (gradient != 0).any()


def test_scaler_of_float64_before_a_network_of_float32_keeps_the_offset():
    X, y = make_data(offset=1e7)
    net = MLPNetClassifier((4,), max_epochs=2, device="cpu", random_state=0)
    assert as_module(net.fit(X * 0 + 1.0, y)) is as_module(net)
    pipeline = make_pipeline(StandardScaler(), net).fit(X, y)
    x = torch.tensor(X, requires_grad=True)
    logits = as_module(pipeline)(x)
    assert logits.dtype == torch.float32
    expected = pipeline.decision_function(X)
    np.testing.assert_allclose(logits.detach().numpy(), expected, atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    assert gradient.dtype == torch.float64


def test_rounding_does_not_grow_through_graph_features():
    # Non-regression test: in float32 the logits were off by 1.2e-4.
    X, y = make_data(3, 3.0, 0.1, 2)
    steps = StandardScaler(), GraphPrior(n_nodes=30, random_state=0), StandardScaler()
    assert_says_the_same(fitted(make_pipeline(*steps, MODELS[0]), X, y), X)


def test_a_model_is_frozen_once():
    model = LogisticRegression()
    once = frozen(model)
    assert isinstance(once, FrozenEstimator)
    assert once.estimator is model
    assert frozen(once) is once
