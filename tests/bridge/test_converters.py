"""What holds for every class that the bridge converts, and for each kind of vote."""

import copy
import functools
import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from robustkit.attacks import PGDAttack
from robustkit.bridge import as_module
from robustkit.bridge._calibrations import Rising
from robustkit.bridge._votes import WeightedVotes
from tests.bridge.converted import (
    BINARY,
    CLASSIFIERS,
    LOGISTIC,
    ODD,
    TRANSFORMERS,
    blobs,
    fitted,
    odd,
    scaled_members,
)

N_POINTS = 10_000
CASES = [(name, 2) for name in BINARY] + list(itertools.product(CLASSIFIERS, (2, 3)))
# One case of each: the attack costs more than the comparison.
ATTACKED = [(name, 2) for name in BINARY] + [(name, 3) for name in CLASSIFIERS]

# The softmax of the logits is not `predict_proba`, as the guide says.
OTHER_LOGITS = {
    *BINARY,
    "nearest centroid",
    "shrunken",
    "bagging of votes",
    "one vs rest bayes",
}
# A level piece of an isotonic line has a gradient that is not its slope.
OWN_GRADIENT = {"isotonic", "isotonic bayes"}

cases = pytest.mark.parametrize(("name", "n_classes"), CASES)


@functools.cache
def model(name, n_classes):
    return fitted({**CLASSIFIERS, **BINARY}[name], *blobs(n_classes))


@functools.cache
def points():
    """Where the data are, on a lattice, far away, and near to one place."""
    rng = np.random.RandomState(1)
    lattice = np.stack(np.meshgrid(*2 * [np.arange(-4, 6, 0.25)]), axis=-1)
    parts = [
        blobs(3)[0],
        lattice.reshape(-1, 2),
        rng.normal(size=(1000, 2)) * 30,
        rng.normal(size=(500, 2)) * 1e-3,
    ]
    rest = N_POINTS - sum(map(len, parts))
    return np.concatenate([*parts, rng.normal(1.0, 2.0, (rest, 2))])


def logits_of(estimator, X):
    """In float64, unless all the model is a network in float32."""
    module = as_module(estimator)
    tensors = [*module.parameters(), *module.buffers()]
    dtypes = {t.dtype for t in tensors if t.is_floating_point()}
    dtype = torch.float32 if dtypes == {torch.float32} else torch.float64
    with torch.no_grad():
        return module(torch.from_numpy(X).to(dtype)).double().numpy()


def rounded_to_equal(estimator, X):
    """Where the two largest probabilities differ in their last digits only."""
    if not hasattr(estimator, "predict_proba"):
        return np.zeros(len(X), dtype=bool)
    top = np.sort(estimator.predict_proba(X), axis=1)
    gap = top[:, -1] - top[:, -2]
    return (gap > 0) & (gap < 1e-12)


@cases
def test_largest_logit_is_the_class_of_predict(name, n_classes):
    estimator, X = model(name, n_classes), points()
    logits, expected = logits_of(estimator, X), estimator.predict(X)
    assert logits.shape == (N_POINTS, n_classes)
    assert np.isfinite(logits).all()
    differs = estimator.classes_[logits.argmax(axis=1)] != expected
    assert not (differs & ~rounded_to_equal(estimator, X)).any()
    assert len(np.unique(expected)) == n_classes
    if hasattr(estimator, "predict_proba") and name not in OTHER_LOGITS:
        found = torch.from_numpy(logits).softmax(dim=1).numpy()
        probabilities = estimator.predict_proba(X)
        np.testing.assert_allclose(found, probabilities, rtol=0, atol=1e-6)
        if probabilities.dtype == np.float64 and "net" not in name:
            np.testing.assert_allclose(found, probabilities, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (1e6, 1e3)])
@pytest.mark.parametrize("name", [name for name, n in ATTACKED if n == 3])
def test_largest_logit_is_that_of_predict_at_any_scale(name, scale, offset):
    X, y = blobs(3)
    X = (X + offset) * scale
    estimator = clone(CLASSIFIERS[name])
    # At some scales a support vector machine never converges.
    endless = {k: 100 for k, v in estimator.get_params().items() if v == -1}
    estimator = fitted(estimator.set_params(**endless), X, y)
    X = (blobs(3, seed=1, n_samples=500)[0] + offset) * scale
    logits = logits_of(estimator, X)
    assert np.isfinite(logits).all()
    differs = estimator.classes_[logits.argmax(axis=1)] != estimator.predict(X)
    assert not (differs & ~rounded_to_equal(estimator, X)).any()


# A class without a weight has no logarithm of its share.
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(("kind", "name"), ODD)
def test_largest_logit_is_that_of_predict_of_odd_data(kind, name):
    X, y, arguments = odd(kind)
    estimator = CLASSIFIERS[name]
    if kind == "large":
        estimator = scaled_members(estimator)
    estimator = fitted(estimator, X, y, **arguments)
    points = np.random.RandomState(1).normal(size=(1000, 2)) * 3 * X.std(axis=0)
    points = np.concatenate([X, points + X.mean(axis=0)])
    logits, expected = logits_of(estimator, points), estimator.predict(points)
    assert logits.shape == (len(points), 3)
    assert np.isfinite(logits).all()
    differs = estimator.classes_[logits.argmax(axis=1)] != expected
    assert not (differs & ~rounded_to_equal(estimator, points)).any()
    assert len(np.unique(expected)) > 1


def jacobian_of(module, x):
    """Gradient of every output, of shape (n_samples, n_outputs, n_features)."""
    x = x.clone().requires_grad_(True)
    outputs = module(x) + 0 * x.sum()
    columns = [
        torch.autograd.grad(column.sum(), x, retain_graph=True)[0]
        for column in outputs.unbind(1)
    ]
    return torch.stack(columns, dim=1)


def assert_gradient_is_that_of_finite_differences(module, x, least_smooth):
    module = copy.deepcopy(module).double()
    h, jacobian = 1e-6, jacobian_of(module, x)
    assert torch.isfinite(jacobian).all()
    smooth = torch.ones(len(x), dtype=torch.bool)
    slopes = torch.empty_like(jacobian)
    for j, shift in enumerate(h * torch.eye(x.shape[1], dtype=torch.float64)):
        with torch.no_grad():
            up, here, down = module(x + shift), module(x), module(x - shift)
        slopes[:, :, j] = (up - down) / (2 * h)
        # Not at a kink or a jump, where there is no slope.
        bend = (up - 2 * here + down).abs()
        smooth &= (bend <= 1e-3 * h * (1 + slopes[:, :, j].abs())).all(dim=1)
    assert smooth.float().mean() >= least_smooth
    torch.testing.assert_close(jacobian[smooth], slopes[smooth], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "n_classes"), [case for case in ATTACKED if case[0] not in OWN_GRADIENT]
)
def test_gradient_is_that_of_finite_differences(name, n_classes):
    x = torch.from_numpy(np.random.RandomState(2).normal(1.0, 1.5, (200, 2)))
    module = as_module(model(name, n_classes))
    assert_gradient_is_that_of_finite_differences(module, x, least_smooth=0.97)
    assert (jacobian_of(copy.deepcopy(module).double(), x) != 0).any()


@pytest.mark.parametrize(("name", "n_classes"), ATTACKED)
def test_single_precision_is_cast_to_that_of_the_model(name, n_classes):
    X = points()[:500].astype(np.float32)
    module = as_module(model(name, n_classes))
    with torch.no_grad():
        single = module(torch.from_numpy(X))
        double = logits_of(model(name, n_classes), X.astype(np.float64))
    np.testing.assert_array_equal(single.double().numpy(), double)


@pytest.mark.parametrize(("name", "n_classes"), ATTACKED)
def test_module_can_be_saved_and_copied(name, n_classes):
    module = as_module(model(name, n_classes))
    found = pickle.loads(pickle.dumps(module))
    for part, other in zip(module.modules(), found.modules(), strict=True):
        assert type(part) is type(other)
    expected = dict(module.state_dict())
    for key, value in found.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)


EPS = 0.8
N_ATTACKED = 40
# Wrong classes lie on several sides: a climb from the sample finds only one.
SEVERAL_HILLS = {"narrow rbf svc", "threshold of a decision"}


@pytest.mark.parametrize(("name", "n_classes"), ATTACKED)
def test_robust_accuracy_is_that_of_a_dense_grid(name, n_classes):
    """Of 40 samples, at most one that a point of the grid fools is not fooled."""
    estimator = model(name, n_classes)
    X = blobs(n_classes, seed=1, n_samples=50)[0][:N_ATTACKED]
    y = estimator.predict(X)
    side = np.linspace(-EPS, EPS, 25)
    box = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    on_grid = estimator.predict((X[:, None] + box).reshape(-1, 2))
    can_be_fooled = (on_grid.reshape(N_ATTACKED, -1) != y[:, None]).any(axis=1)
    assert 4 <= can_be_fooled.sum() <= N_ATTACKED - 4
    attack = PGDAttack(
        FrozenEstimator(estimator),
        eps=EPS,
        loss="rotate",
        max_iter=10,
        n_restarts=4 if name in SEVERAL_HILLS else 1,
        clip=None,
        random_state=0,
    )
    result = attack.fit(X, y).perturb(X, y)
    # What it claims is true.
    np.testing.assert_array_equal(result.success, estimator.predict(result.X_adv) != y)
    assert np.abs(result.X_adv - X).max() <= EPS * (1 + 1e-6)
    assert (can_be_fooled & ~result.success).sum() <= 1


def table(n_samples=60):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_samples, 5)) * [1, 2, 0.5, 3, 1.1] + [0, 1, 0, -1, 0]
    y = np.arange(n_samples) % 3
    X[:, 0] += y
    X[:, 2] -= y
    return X, y


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformer_equals_its_transform_and_has_its_gradient(name):
    X, y = table()
    transformer = fitted(TRANSFORMERS[name], X, y)
    rng = np.random.RandomState(1)
    X = np.concatenate([X, rng.normal(size=(300, 5)) * 3, np.zeros((1, 5))])
    module = as_module(transformer)
    with torch.no_grad():
        found = module(torch.from_numpy(X)).numpy()
        single = module(torch.from_numpy(X.astype(np.float32))).numpy()
    expected = transformer.transform(X)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(single, expected, rtol=1e-3, atol=1e-3)
    x = torch.from_numpy(rng.normal(size=(100, 5)))
    assert_gradient_is_that_of_finite_differences(module, x, least_smooth=0.9)


# Far from its own width, a kernel sees only rounding; the others keep no feature.
OF_ONE_SCALE = {
    "laplacian nystroem",
    "nested",
    "nystroem",
    "poly kernel",
    "rbf kernel",
    "sampler",
    "variance",
}


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("name", sorted(set(TRANSFORMERS) - OF_ONE_SCALE))
def test_transformer_equals_its_transform_at_any_scale(name, scale):
    X, y = table()
    X = np.abs(X) * scale
    transformer = fitted(TRANSFORMERS[name], X, y)
    with torch.no_grad():
        found = as_module(transformer)(torch.from_numpy(X)).numpy()
    expected = transformer.transform(X)
    size = np.abs(expected).max() if expected.size else 1
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * size)


def slow_margin(leads, weights, j, w):
    """The largest t at which j wins, if j leads by t less and w by t more."""
    best = -np.inf
    for t in np.concatenate([leads[:, j], -leads[:, w]]):
        for_j = weights[leads[:, j] >= t].sum()
        for_w = weights[-leads[:, w] < t].sum()
        if for_j > for_w or (for_j == for_w and j < w):
            best = max(best, t)
    return best


@given(
    n_members=st.integers(1, 6),
    n_classes=st.integers(2, 4),
    kind=st.sampled_from(["equal", "whole", "any"]),
    seed=st.integers(0, 10**6),
)
def test_weighted_votes_equal_counting_and_an_exhaustive_margin(
    n_members, n_classes, kind, seed
):
    rng = np.random.RandomState(seed)
    # Integers, so that members and votes are often tied.
    logits = rng.randint(-3, 4, (30, n_members, n_classes)).astype(float)
    weights = {
        "equal": np.ones(n_members),
        "whole": rng.randint(1, 4, n_members).astype(float),
        "any": rng.uniform(0.1, 1, n_members),
    }[kind]
    found = WeightedVotes(weights)(torch.from_numpy(logits)).numpy() / 16
    for row, margins in zip(logits, found, strict=True):
        votes = row.argmax(axis=1)
        counts = np.bincount(votes, weights, minlength=n_classes)
        winner = counts.argmax()
        assert margins.argmax() == winner
        assert np.delete(margins, winner).max() <= 0
        others = [np.delete(row, k, axis=1).max(axis=1) for k in range(n_classes)]
        leads = row - np.array(others).T
        # A member whose logits are tied votes for the first: less than any number.
        leads += np.where(np.arange(n_classes) == votes[:, None], 1e-9, -1e-9)
        for j in np.delete(np.arange(n_classes), winner):
            slow = slow_margin(leads, weights, j, winner)
            assert margins[j] == pytest.approx(slow, abs=2e-9)


@pytest.mark.parametrize(
    "columns",
    [
        {"name": "b", "names": ["d", "a"]},
        {"slice of names": slice("b", "d")},
        {"open slice": slice(None, "b"), "rest": slice("d", None)},
        {"mask": [True, False, True, False, True]},
        {"function": lambda X: ["c", "a"]},
        {"selector": make_column_selector("a|e")},
        {"negative": [-1, -2], "slice": slice(0, 4, 2)},
    ],
    ids=lambda columns: next(iter(columns)),
)
@pytest.mark.parametrize("remainder", ["drop", "passthrough", MinMaxScaler()])
def test_columns_of_a_table_are_found(columns, remainder):
    X, _ = table()
    frame = pd.DataFrame(X, columns=list("abcde"))
    parts = [
        # A single name would give the transformer a series.
        (name, StandardScaler(), [chosen] if isinstance(chosen, str) else chosen)
        for name, chosen in columns.items()
    ]
    transformer = ColumnTransformer(parts, remainder=remainder).fit(frame)
    with torch.no_grad():
        found = as_module(transformer)(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(found, transformer.transform(frame), atol=1e-12)


def test_model_of_a_table_with_names_is_attacked():
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abcde"))
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), ["a", "c"]), ("not", "drop", ["b"])],
        remainder="passthrough",
    ).set_output(transform="pandas")
    model = make_pipeline(columns, SVC(random_state=0)).fit(frame, y)
    attack = PGDAttack(FrozenEstimator(model), eps=0.5, random_start=False)
    result = attack.fit(frame, y).perturb(frame, y)
    assert result.success.mean() > 0.2
    moved = pd.DataFrame(result.X_adv, columns=frame.columns)
    np.testing.assert_array_equal(model.predict(moved), result.prediction)
    # What the model drops has no gradient: nobody moved it.
    np.testing.assert_array_equal(moved["b"], frame["b"])


def test_a_level_piece_has_the_mean_slope_of_its_line():
    line = Rising(np.array([0.0, 1.0, 3.0, 4.0]), np.array([0.0, 0.5, 0.5, 1.0]))
    x = torch.tensor(
        [-1.0, 0.5, 2.0, 3.5, 6.0], dtype=torch.float64, requires_grad=True
    )
    y = line(x)
    torch.testing.assert_close(y.detach(), x.new_tensor([0, 0.25, 0.5, 0.75, 1]))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, x.new_tensor([0.25, 0.5, 0.25, 0.5, 0.25]))


def test_isotonic_line_has_its_slope_and_that_of_the_score_where_it_is_level():
    X, y = blobs(2)
    model = CalibratedClassifierCV(LOGISTIC, method="isotonic", ensemble=False)
    model.fit(X, y)
    (member,) = model.calibrated_classifiers_
    (line,) = member.calibrators
    x = torch.from_numpy(np.random.RandomState(3).normal(1.0, 1.0, (4000, 2)))
    h, module = 1e-6, as_module(model)
    gradient = jacobian_of(module, x)[:, 1]
    direction = torch.from_numpy(member.estimator.coef_[0])
    score = member.estimator.decision_function(x.numpy())
    level = line.predict(score + h) == line.predict(score - h)
    assert 50 < (~level).sum() < 3950
    # Uphill everywhere, along the score.
    parallel = (gradient @ direction) / (direction @ direction)
    assert (parallel > 0).all()
    torch.testing.assert_close(gradient, parallel[:, None] * direction)
    # Not next to a knot.
    knots = np.abs(score[:, None] - line.X_thresholds_).min(axis=1) < 2 * h
    inner = (line.predict(score) > 1e-3) & ~level & ~knots
    up, down = (line.predict(score[inner] + shift) for shift in (h, -h))
    # The logarithm of what rises has this slope.
    expected = (up - down) / (2 * h) / line.predict(score[inner])
    np.testing.assert_allclose(parallel.numpy()[inner], expected, rtol=1e-4)
