"""Weak regions are found where they are, and the model learns from them."""

import copy

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits, make_moons
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import PGDAttack
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import MLPNetClassifier, TorchClassifier
from robustkit.defenses import WeakRegionRefiner
from robustkit.topology import BalancedCover, MapperGraph
from tests.common.callers_things import WritingClassifier, WritingNet, expect_unchanged


@pytest.fixture(scope="module")
def moons():
    return make_moons(300, noise=0.25, random_state=0)


def small_mapper(**params):
    return MapperGraph(**{"n_intervals": 6, "min_samples": 1, **params})


MODELS = [
    SGDClassifier(loss="log_loss", random_state=0),
    MLPClassifier((8,), max_iter=600, learning_rate_init=0.01, random_state=0),
    MLPNetClassifier((8,), max_epochs=15, device="cpu", random_state=0),
    GaussianNB(),
    RandomForestClassifier(5, max_depth=2, random_state=0),
    HistGradientBoostingClassifier(max_iter=3, random_state=0),
    LogisticRegression(C=1e-3),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_any_classifier_that_can_be_trained_further(model, moons):
    X, y = moons
    refiner = WeakRegionRefiner(model, small_mapper(), random_state=0)
    refiner.set_params(max_epochs=20, replay=1.0).fit(X, y)
    before, after = refiner.base_estimator_, refiner.estimator_
    assert len(refiner.refined_indices_)
    assert (before.predict(X) != y)[refiner.refined_indices_].all()
    np.testing.assert_array_equal(refiner.predict(X), after.predict(X))
    assert refiner.score(X, y) == after.score(X, y)
    # It goes on from what was there, and learns something.
    assert type(after) is type(model)
    assert not np.array_equal(before.predict_proba(X), after.predict_proba(X))
    assert after.get_params() == before.get_params()


@pytest.mark.parametrize("cover", ["uniform", "balanced", BalancedCover(5, 0.4)])
def test_the_graph_and_its_weak_samples_are_those_of_the_activations(cover, moons):
    X, y = moons
    model = MLPClassifier((8,), max_iter=600, learning_rate_init=0.01, random_state=0)
    model.fit(X, y)
    mapper = small_mapper(cover=cover)
    refiner = WeakRegionRefiner(
        FrozenEstimator(model), mapper, budget=0.05, random_state=0
    )
    refiner.fit(X, y)
    activations = ActivationExtractor(FrozenEstimator(model)).fit_transform(X)
    expected = mapper.fit(activations)
    assert (refiner.mapper_.membership_ != expected.membership_).nnz == 0
    weak = expected.weak_samples(y, model.predict(X), 0.05)
    np.testing.assert_array_equal(refiner.refined_indices_, weak)
    assert 0 < len(weak) <= 15


def test_a_frozen_model_is_left_as_it_is(moons):
    X, y = moons
    model = SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
    before = copy.deepcopy(model)
    refiner = WeakRegionRefiner(FrozenEstimator(model), small_mapper(), random_state=0)
    refiner.fit(X, y)
    np.testing.assert_array_equal(model.coef_, before.coef_)
    np.testing.assert_array_equal(refiner.base_estimator_.coef_, before.coef_)
    assert not np.array_equal(refiner.estimator_.coef_, before.coef_)


class Recorder(ClassifierMixin, BaseEstimator):
    """Always wrong about the first class; remembers what it is trained with."""

    def fit(self, X, y):
        self.classes_, self.seen_ = np.unique(y), []
        return self

    def partial_fit(self, X, y):
        self.seen_.append((X, y))
        return self

    def predict(self, X):
        return np.where(X[:, 0] < 1, self.classes_[-1], self.classes_[1])

    def decision_function(self, X):
        return X[:, 0]


def three_classes():
    y = np.repeat(["a", "b", "c"], 20)
    return np.repeat([0.0, 1.0, 2.0], 20)[:, None] + np.linspace(0, 0.5, 60)[:, None], y


@pytest.mark.parametrize(
    ("replay", "n_replayed"), [(0, 2), (1.0, 10), (0.5, 5), (99, 50)]
)
def test_what_is_trained_with(replay, n_replayed):
    X, y = three_classes()
    mapper = MapperGraph(n_intervals=1, eps=1.0)
    refiner = WeakRegionRefiner(
        Recorder(), mapper, budget=10, max_epochs=3, replay=replay, random_state=0
    ).fit(X, y)
    np.testing.assert_array_equal(refiner.refined_indices_, np.arange(10))
    assert len(refiner.estimator_.seen_) == 3
    for X_seen, y_seen in refiner.estimator_.seen_:
        np.testing.assert_array_equal(X_seen[:10], X[:10])
        assert len(X_seen) >= 10 + n_replayed
        # No class is forgotten, not even without replay.
        assert set(y_seen) == set(y)
        assert len(np.unique(X_seen)) == len(X_seen)
    assert refiner.base_estimator_.seen_ == []


def test_nothing_weak_changes_nothing():
    X, y = three_classes()
    model = MLPClassifier((8,), solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
    assert model.score(X, y) == 1
    refiner = WeakRegionRefiner(FrozenEstimator(model), small_mapper(), random_state=0)
    refiner.fit(X, y)
    assert len(refiner.refined_indices_) == 0
    np.testing.assert_array_equal(refiner.predict(X), model.predict(X))


def test_a_model_without_layers_shows_its_scores(moons):
    X, y = moons
    forest = RandomForestClassifier(5, max_depth=2, random_state=0).fit(X, y)
    refiner = WeakRegionRefiner(FrozenEstimator(forest), small_mapper(), random_state=0)
    refiner.fit(X, y)
    expected = small_mapper().fit(forest.predict_proba(X))
    assert (refiner.mapper_.membership_ != expected.membership_).nnz == 0
    with pytest.raises(TypeError, match="RandomForestClassifier has no gradient"):
        refiner.set_params(layer="penultimate").fit(X, y)


def test_an_attack_shows_what_is_weak_under_attack():
    X, y = load_digits(return_X_y=True)
    X, y = (X[:300] / 16).astype(np.float32), y[:300]
    model = MLPNetClassifier(
        (32,), max_epochs=20, lr=0.01, device="cpu", random_state=0
    )
    model.fit(X, y)
    attack = PGDAttack(eps=0.1, max_iter=5, device="cpu", random_state=0)
    mapper = MapperGraph(n_intervals=6, min_samples=2)
    refiner = WeakRegionRefiner(
        FrozenEstimator(model), mapper, attack=attack, budget=0.1, random_state=0
    ).fit(X, y)
    attack.set_params(estimator=FrozenEstimator(model)).fit(X, y)
    X_adv = attack.perturb(X, y).X_adv
    wrong = model.predict(X_adv) != y
    assert wrong[refiner.refined_indices_].all()
    # Clean, the model is right about nearly all: the attack is what finds them.
    assert (model.predict(X) != y).sum() < len(refiner.refined_indices_)
    activations = ActivationExtractor(FrozenEstimator(model)).fit_transform(X_adv)
    expected = mapper.fit(activations)
    assert (refiner.mapper_.membership_ != expected.membership_).nnz == 0


def test_the_same_seed_gives_the_same_model(moons):
    X, y = moons
    refiner = WeakRegionRefiner(
        MLPNetClassifier((8,), max_epochs=5, device="cpu", random_state=0),
        small_mapper(),
        random_state=0,
    )
    one, other = (refiner.fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_budget_and_cover_can_be_searched(moons):
    X, y = moons
    refiner = WeakRegionRefiner(
        SGDClassifier(loss="log_loss", random_state=0), small_mapper(), random_state=0
    )
    grid = {"budget": [0.1, 5], "mapper__cover": ["uniform", "balanced"]}
    assert GridSearchCV(refiner, grid, cv=2).fit(X, y).best_score_ > 0.5


def test_methods_are_those_of_the_model(moons):
    X, y = moons
    refiner = WeakRegionRefiner(GaussianNB(), small_mapper(), random_state=0)
    refiner.fit(X, y)
    assert refiner.predict_proba(X).shape == (300, 2)
    assert not hasattr(refiner, "decision_function")
    model = SGDClassifier(random_state=0)
    refiner = WeakRegionRefiner(model, small_mapper(), random_state=0)
    assert not hasattr(refiner, "predict_proba")
    assert refiner.fit(X, y).decision_function(X).shape == (300,)


def test_a_model_that_cannot_be_trained_further_is_refused(moons):
    with pytest.raises(
        ValueError, match="with the method partial_fit or the parameter"
    ):
        WeakRegionRefiner(KNeighborsClassifier()).fit(*moons)


@pytest.mark.parametrize("layer", ["logits", "penultimate"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_net_that_writes_to_its_input(moons, layer, frozen):
    X, y = moons[0].astype(np.float32), moons[1]
    net = TorchClassifier(WritingNet, max_epochs=1, device="cpu", random_state=0)
    net.fit(X.copy(), y)
    model, given = FrozenEstimator(net) if frozen else clone(net), X.copy()
    refiner = WeakRegionRefiner(model, small_mapper(), layer=layer, random_state=0)
    with expect_unchanged(given, y, module=net.module_):
        refiner.fit(given, y)
        refiner.predict(given)
        refiner.predict_proba(given)


def test_a_classifier_that_shifts_its_input_in_place():
    X = np.linspace(0, 2, 60)[:, None]
    y = np.repeat(["a", "b"], 30)
    y[[25, 35]] = "b", "a"
    given = X.copy()
    refiner = WeakRegionRefiner(WritingClassifier(), small_mapper(), random_state=0)
    with expect_unchanged(given):
        refiner.fit(given, y)
        found = refiner.predict(given)
        refiner.decision_function(given)
    np.testing.assert_array_equal(found, np.repeat(["a", "b"], 30))
    # Wrong are the two whose labels were changed.
    assert sorted(refiner.refined_indices_) == [25, 35]


class OfImages(nn.Module):
    """A convolution; with `unflatten` it takes the images as rows."""

    def __init__(self, unflatten=False):
        super().__init__()
        self.shape = nn.Unflatten(1, (1, 8, 8)) if unflatten else nn.Identity()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3)
        )

    def forward(self, x):
        return self.layers(self.shape(x))


def torch_net(unflatten):
    return TorchClassifier(
        lambda n_features, n_classes: OfImages(unflatten),
        max_epochs=2,
        device="cpu",
        random_state=0,
    )


def skorch_net(unflatten):
    skorch = pytest.importorskip("skorch", reason="trains a skorch net further")
    return skorch.NeuralNetClassifier(
        OfImages,
        module__unflatten=unflatten,
        criterion=nn.CrossEntropyLoss,
        max_epochs=3,
        lr=0.1,
        train_split=None,
        verbose=0,
        iterator_train__shuffle=False,
    )


@pytest.fixture(scope="module")
def digit_images():
    X, y = load_digits(n_class=3, return_X_y=True)
    return (X[:120] / 16).astype(np.float32), y[:120].astype(np.int64)


@pytest.mark.parametrize("make", [torch_net, skorch_net])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("attacked", [True, False])
def test_images_are_refined_as_their_rows(make, frozen, attacked, digit_images):
    X, y = digit_images
    refiners = {}
    for unflatten, given in ((False, X.reshape(-1, 1, 8, 8)), (True, X)):
        attack = PGDAttack(eps=0.3, max_iter=2, random_state=0, device="cpu")
        with seeded_torch(0):
            model = make(unflatten)
            model = FrozenEstimator(model.fit(given, y)) if frozen else model
            refiners[unflatten] = WeakRegionRefiner(
                model,
                small_mapper(),
                max_epochs=2,
                layer="penultimate",
                attack=attack if attacked else None,
                random_state=0,
            ).fit(given, y)
    images, rows = refiners[False], refiners[True]
    assert len(rows.refined_indices_)
    np.testing.assert_array_equal(images.refined_indices_, rows.refined_indices_)
    # A skorch net draws from the global stream whenever it predicts.
    with seeded_torch(0):
        expected = rows.predict_proba(X)
        assert not np.array_equal(expected, rows.base_estimator_.predict_proba(X))
        # Also rows of what were images.
        for given in (X.reshape(-1, 1, 8, 8), X):
            found = images.predict_proba(given)
            np.testing.assert_allclose(found, expected, atol=1e-6)


def small_refiner(model):
    return WeakRegionRefiner(model, small_mapper(), max_epochs=1, random_state=0)


@pytest.mark.parametrize(
    "model", [GaussianNB(), torch_net(False)], ids=["bayes", "net"]
)
def test_images_whose_values_are_in_another_order_are_refused(model, digit_images):
    X, y = digit_images
    refiner = small_refiner(model).fit(X.reshape(-1, 1, 8, 8), y)
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\), whose values are in"):
        refiner.predict(X.reshape(-1, 8, 8, 1))


def test_a_trained_net_takes_images_without_their_channel(digit_images):
    X, y = digit_images
    with seeded_torch(0):
        net = skorch_net(False).fit(X.reshape(-1, 1, 8, 8), y)
    found = []
    for shape in ((1, 8, 8), (8, 8)):
        given = X.reshape(-1, *shape)
        with seeded_torch(0):
            refiner = small_refiner(FrozenEstimator(net)).fit(given, y)
            found.append(refiner.predict_proba(given))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("make", [torch_net, skorch_net])
@pytest.mark.parametrize("shape", [(-1, 1, 8, 8), (-1, 64)])
def test_a_refined_model_of_images_is_attacked(make, shape, digit_images):
    X, y = digit_images
    with seeded_torch(0):
        refiner = small_refiner(make(False)).fit(X.reshape(-1, 1, 8, 8), y)
        given = X.reshape(shape)
        attack = PGDAttack(
            FrozenEstimator(refiner), eps=0.3, max_iter=5, random_state=0
        )
        result = attack.fit(given, y).perturb(given, y)
        assert result.X_adv.shape == given.shape
        assert (result.prediction != y).all()
        np.testing.assert_array_equal(refiner.predict(result.X_adv), result.prediction)


def test_an_attack_trains_a_refiner_of_images(digit_images):
    X, y = digit_images
    images = X.reshape(-1, 1, 8, 8)
    attack = PGDAttack(
        small_refiner(torch_net(False)), eps=0.3, max_iter=2, random_state=0
    )
    result = attack.fit(images, y).perturb(images, y)
    assert result.X_adv.shape == images.shape
