"""The populated regions of a model."""

import pickle
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robustkit.attacks import PGDAttack
from robustkit.bridge import as_module, head_parameters
from robustkit.classifiers import (
    MLPNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.datasets import fetch_mnist
from robustkit.exceptions import GradientMaskingWarning, NoReLUWarning
from robustkit.graphs import GraphPrior
from robustkit.regions import PopulatedRegionScorer, _counting

# To be fitted by what it is given to.
LATER = MLPClassifier((5,), solver="lbfgs", max_iter=50, tol=1e-1, random_state=0)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def mlp(iris):
    model = MLPClassifier((9, 6), solver="lbfgs", tol=1e-2, random_state=0)
    return model.fit(*iris)


@pytest.fixture(scope="module")
def frozen(mlp):
    return FrozenEstimator(mlp)


def pre_activations(mlp, X):
    """What enters the ReLUs of each hidden layer, by hand."""
    values, outputs = [], np.asarray(X)
    for weight, bias in zip(mlp.coefs_[:-1], mlp.intercepts_[:-1], strict=True):
        values.append(outputs @ weight + bias)
        outputs = np.maximum(values[-1], 0)
    return values


def sorted_counts(patterns):
    return sorted(np.unique(patterns, axis=0, return_counts=True)[1])


@pytest.mark.parametrize("layer", [0, 1, "penultimate", "all", [0, 1], ["1", "3"]])
def test_regions_are_the_patterns_of_the_layers_asked_for(mlp, frozen, iris, layer):
    X, y = iris
    first, second = (z > 0 for z in pre_activations(mlp, X))
    expected = {0: first, 1: second, "penultimate": second}.get(
        layer if isinstance(layer, int | str) else None, np.hstack([first, second])
    )
    scorer = PopulatedRegionScorer(frozen, layer=layer).fit(X, y)
    _, first_seen, inverse = np.unique(
        expected, axis=0, return_index=True, return_inverse=True
    )
    ids = np.argsort(np.argsort(first_seen))[inverse.ravel()]
    np.testing.assert_array_equal(scorer.transform(X)[:, 0], ids)
    np.testing.assert_array_equal(scorer.regions_["count"], np.bincount(ids))
    assert scorer.n_regions_ == len(first_seen)
    assert scorer.prs_ratio_ == len(first_seen) / len(X)
    assert scorer.score(X) == 1 - scorer.prs_ratio_


def test_census_names_the_majority_and_its_share(frozen, iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])
    scorer = PopulatedRegionScorer(frozen, layer="all").fit(X, y)
    ids = scorer.transform(X)[:, 0]
    for region, row in scorer.regions_.iterrows():
        classes, counts = np.unique(y[ids == region], return_counts=True)
        assert row["count"] == counts.sum()
        assert row["majority"] == classes[counts.argmax()]
        assert row["purity"] == counts.max() / counts.sum()
    named = MLPClassifier((9, 6), solver="lbfgs", tol=1e-2, random_state=0)
    named = PopulatedRegionScorer(named, layer="all").fit(X, names[y])
    np.testing.assert_array_equal(
        named.regions_["majority"], names[scorer.regions_["majority"].astype(int)]
    )


def test_major_regions_and_their_vectors_are_those_of_the_definition(mlp, frozen, iris):
    X, y = iris
    scorer = PopulatedRegionScorer(frozen).fit(X, y)
    features = np.maximum(pre_activations(mlp, X)[-1], 0)
    ids = scorer.transform(X)[:, 0]
    for label in range(3):
        counts = np.bincount(ids[y == label])
        assert counts[scorer.major_regions_[label]] == counts.max()
        assert scorer.major_region_shares_[label] == counts.max() / counts.sum()
        at_home = (y == label) & (ids == scorer.major_regions_[label])
        np.testing.assert_allclose(
            scorer.major_region_vectors_[label],
            features[at_home].mean(axis=0),
            rtol=1e-4,
            atol=1e-4,
        )


@given(cuts=st.lists(st.integers(1, 149), max_size=5, unique=True))
def test_a_stream_in_any_pieces_equals_one_fit(frozen, iris, cuts):
    X, y = iris
    whole = PopulatedRegionScorer(frozen, layer="all").fit(X, y)
    stream = PopulatedRegionScorer(frozen, layer="all")
    for piece in np.split(np.arange(len(X)), sorted(cuts)):
        stream.partial_fit(X[piece], y[piece])
    assert stream.prs_ratio_ == whole.prs_ratio_
    pd.testing.assert_frame_equal(stream.regions_, whole.regions_)
    for name in ("major_regions_", "major_region_shares_", "major_region_vectors_"):
        np.testing.assert_array_equal(getattr(stream, name), getattr(whole, name))
    np.testing.assert_array_equal(stream.transform(X), whole.transform(X))


@given(size=st.integers(1, 200))
def test_batch_size_changes_nothing(frozen, iris, size):
    X, y = iris
    whole = PopulatedRegionScorer(frozen, layer="all").fit(X, y)
    pieces = clone(whole).set_params(batch_size=size).fit(X, y)
    np.testing.assert_array_equal(pieces.transform(X), whole.transform(X))


@given(seed=st.integers(0, 2**32 - 1), n_seen=st.integers(1, 149))
def test_unseen_patterns_and_only_those_get_minus_one(mlp, frozen, iris, seed, n_seen):
    X, y = iris
    order = np.random.RandomState(seed).permutation(len(X))
    seen, new = order[:n_seen], order[n_seen:]
    scorer = PopulatedRegionScorer(frozen, layer="all").partial_fit(X[seen], y[seen])
    patterns = np.hstack(pre_activations(mlp, X)) > 0
    known = {tuple(row) for row in patterns[seen]}
    expected = [tuple(row) not in known for row in patterns[new]]
    found = scorer.transform(X[new])[:, 0]
    np.testing.assert_array_equal(found == -1, expected)
    assert scorer.inclusion_ratio(X[new]) == np.mean(np.logical_not(expected))
    assert scorer.inclusion_ratio(X[seen]) == 1


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 150))
def test_copies_and_order_of_samples_change_no_region(frozen, iris, seed, n):
    X, y = iris
    chosen = np.random.RandomState(seed).permutation(len(X))[:n]
    once = PopulatedRegionScorer(frozen).partial_fit(X[chosen], y[chosen])
    again = np.r_[chosen, chosen[::-1]]
    twice = PopulatedRegionScorer(frozen).partial_fit(X[again], y[again])
    assert twice.n_regions_ == once.n_regions_
    assert 0 < twice.prs_ratio_ == once.prs_ratio_ / 2 <= 1
    shuffled = np.sort(chosen)
    other = PopulatedRegionScorer(frozen).partial_fit(X[shuffled], y[shuffled])
    np.testing.assert_array_equal(
        np.sort(other.regions_["count"]), np.sort(once.regions_["count"])
    )


@given(scale=st.integers(-8, 8), seed=st.integers(0, 2**32 - 1))
def test_neither_scale_nor_order_of_units_changes_a_region(mlp, iris, scale, seed):
    X, y = iris
    order = np.random.RandomState(seed).permutation(9)
    twin = deepcopy(mlp)
    # A power of two, so that no product is rounded otherwise.
    twin.coefs_[0] = 2.0**scale * twin.coefs_[0][:, order]
    twin.intercepts_[0] = 2.0**scale * twin.intercepts_[0][order]
    twin.coefs_[1] = twin.coefs_[1][order]
    expected = PopulatedRegionScorer(FrozenEstimator(mlp), layer=0).fit(X, y)
    found = PopulatedRegionScorer(FrozenEstimator(twin), layer=0).fit(X, y)
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))


def test_samples_of_one_region_are_on_one_linear_piece(frozen, iris):
    X, y = iris
    ids = PopulatedRegionScorer(frozen, layer="all").fit(X, y).transform(X)[:, 0]
    module = as_module(frozen)
    jacobians = torch.vmap(torch.func.jacrev(module))(torch.from_numpy(X))
    for region in np.unique(ids):
        here = jacobians[torch.from_numpy(ids == region)]
        torch.testing.assert_close(here, here[:1].expand_as(here))


@pytest.fixture(scope="module")
def nets(iris):
    X, y = iris
    quick = {"max_epochs": 3, "device": "cpu", "random_state": 0}
    prior = GraphPrior(n_nodes=20, random_state=0)
    return {
        "sparse": SparseNetClassifier(prior, **quick).fit(X, y),
        "mlp": MLPNetClassifier((8, 5), **quick).fit(X, y),
        "torch": TorchClassifier(**quick).fit(X, y),
        "pipeline": make_pipeline(
            StandardScaler(), SparseNetClassifier(prior, **quick)
        ).fit(X, y),
    }


@pytest.mark.parametrize("name", ["sparse", "mlp", "torch", "pipeline"])
@pytest.mark.parametrize("layer", ["penultimate", "all", 0, "logits"])
def test_every_network_has_regions(nets, iris, name, layer):
    X, y = iris
    scorer = PopulatedRegionScorer(FrozenEstimator(nets[name]), layer=layer).fit(X, y)
    assert (scorer.transform(X) >= 0).all()
    assert 0 < scorer.prs_ratio_ <= 1


def test_layers_of_a_sparse_network_are_those_of_its_graph(nets, iris):
    X, y = iris
    net = nets["sparse"]
    structure = net.structure_
    vertices = net.module_.vertex_preactivations(torch.from_numpy(X)).detach().numpy()
    for layer, members in {
        "all": np.arange(structure.n_nodes),
        "penultimate": structure.sinks,
        "layer_0": structure.sources,
        1: np.flatnonzero(structure.layer == 1),
        -1: np.flatnonzero(structure.layer == structure.n_layers - 1),
    }.items():
        scorer = PopulatedRegionScorer(FrozenEstimator(net), layer=layer).fit(X, y)
        expected = sorted_counts(vertices[:, members] > 0)
        assert sorted(scorer.regions_["count"]) == expected
        assert scorer.major_region_vectors_.shape == (3, len(members))


def test_serves_as_a_scorer_for_cross_validation_and_search(iris):
    X, y = iris
    model = MLPClassifier((4,), solver="lbfgs", tol=0.1, random_state=0)
    scores = cross_validate(
        model, X, y, scoring={"regions": PopulatedRegionScorer()}, cv=3
    )["test_regions"]
    assert ((scores >= 0) & (scores < 1)).all()
    search = GridSearchCV(
        PopulatedRegionScorer(model), {"estimator__hidden_layer_sizes": [(1,), (9,)]}
    ).fit(X, y)
    # One unit makes two regions at most, which no wider layer does better.
    assert search.best_params_ == {"estimator__hidden_layer_sizes": (1,)}


def test_calling_equals_fitting_the_frozen_model(mlp, frozen, iris):
    X, y = iris
    fitted = PopulatedRegionScorer(frozen, layer=0).fit(X, y)
    assert PopulatedRegionScorer(layer=0)(mlp, X, y) == fitted.score(X, y)


def test_survives_a_pickle_and_goes_on(frozen, iris):
    X, y = iris
    scorer = PopulatedRegionScorer(frozen).partial_fit(X[:70], y[:70])
    twin = pickle.loads(pickle.dumps(scorer))
    scorer.partial_fit(X[70:], y[70:])
    twin.partial_fit(X[70:], y[70:])
    pd.testing.assert_frame_equal(twin.regions_, scorer.regions_)


def test_a_class_that_comes_later_is_waited_for_by_a_stream(frozen, iris):
    X, y = iris
    early = y < 2
    scorer = PopulatedRegionScorer(frozen).partial_fit(X[early], y[early])
    assert scorer.major_regions_[2] == -1
    assert np.isnan(scorer.major_region_shares_[2])
    assert np.isnan(scorer.major_region_vectors_[2]).all()
    scorer.partial_fit(X[~early], y[~early])
    assert scorer.major_regions_[2] >= 0
    assert not np.isnan(scorer.major_region_vectors_).any()


def test_vectors_that_a_stream_cannot_keep_are_computed_by_fit(monkeypatch, mlp, iris):
    X, y = iris
    # Weights that no training made, which every processor would end otherwise.
    rng, mlp = np.random.default_rng(0), deepcopy(mlp)
    mlp.coefs_ = [rng.normal(size=weight.shape) for weight in mlp.coefs_]
    mlp.intercepts_ = [rng.normal(size=bias.shape) for bias in mlp.intercepts_]
    mlp.intercepts_[0] = -X.mean(axis=0) @ mlp.coefs_[0]
    # The largest region of a class is its first one in class 0 only.
    patterns = np.hstack([z > 0 for z in pre_activations(mlp, X)])
    is_major = np.zeros(len(X), dtype=bool)
    for label in np.unique(y):
        regions, counts = np.unique(patterns[y == label], axis=0, return_counts=True)
        is_major[y == label] = (patterns[y == label] == regions[counts.argmax()]).all(1)
    assert all((~is_major)[y == label].any() for label in np.unique(y))
    order = np.argsort(is_major ^ (y == 0), kind="stable")
    X, y, frozen = X[order], y[order], FrozenEstimator(mlp)

    expected = PopulatedRegionScorer(frozen, layer="all").fit(X, y)
    # Room for the first region of each class only.
    monkeypatch.setattr(_counting, "_MAX_SUMS", 1)
    scorer = PopulatedRegionScorer(frozen, layer="all").fit(X, y)
    np.testing.assert_allclose(
        scorer.major_region_vectors_, expected.major_region_vectors_, rtol=1e-6
    )
    stream = PopulatedRegionScorer(frozen, layer="all").partial_fit(X, y)
    lost = np.isnan(stream.major_region_vectors_).any(axis=1)
    assert lost.tolist() == [False, True, True]
    np.testing.assert_array_equal(
        stream.major_region_vectors_[0], expected.major_region_vectors_[0]
    )


def test_report_says_what_the_parts_say(frozen, mlp, iris):
    X, y = iris
    scorer = PopulatedRegionScorer(frozen).fit(X[::2], y[::2])
    report = scorer.report(X, y)
    patterns = [z > 0 for z in pre_activations(mlp, X)]
    for name, pattern in zip(("1", "3"), patterns, strict=True):
        assert report[f"n_units[{name}]"] == pattern.shape[1]
        assert report[f"alive_units[{name}]"] == pattern.any(axis=0).sum()
        assert report[f"active_units[{name}]"] == pytest.approx(
            pattern.sum(axis=1).mean()
        )
        assert report[f"prs_ratio[{name}]"] == len(sorted_counts(pattern)) / len(X)
    assert report["prs_ratio"] == report["prs_ratio[3]"] == report["prs_ratio[n=150]"]
    assert report["prs_ratio[n=1]"] == 1
    assert report["inclusion_ratio"] == scorer.inclusion_ratio(X)
    home = scorer.transform(X)[:, 0] == scorer.major_regions_[y]
    assert report["major_share"] == home.mean()
    table = scorer.layer_report(X)
    assert table.loc["3", "prs_ratio"] == report["prs_ratio"]


def test_layer_report_looks_test_samples_up_in_every_layer(frozen, mlp, iris):
    X, y = iris
    scorer = PopulatedRegionScorer(frozen).fit(X[::2], y[::2])
    table = scorer.layer_report(X[::2], X[1::2])
    assert table.loc["3", "inclusion_ratio"] == scorer.inclusion_ratio(X[1::2])
    known, others = (pre_activations(mlp, part)[0] > 0 for part in (X[::2], X[1::2]))
    known = {tuple(row) for row in known.tolist()}
    expected = np.mean([tuple(row) in known for row in others.tolist()])
    assert table.loc["1", "inclusion_ratio"] == expected
    assert scorer.layer_report(X[::2]).equals(table.drop(columns="inclusion_ratio"))


def test_sample_size_curve_is_that_of_the_counted_samples(frozen, iris):
    X, y = iris
    scorer = PopulatedRegionScorer(frozen).fit(X, y)
    curve = scorer.sample_size_curve()
    assert curve.loc[150, "n_regions"] == pytest.approx(scorer.n_regions_)
    assert curve.loc[150, "prs_ratio"] == pytest.approx(scorer.prs_ratio_)
    once = (scorer.regions_["count"] == 1).sum()
    assert curve.loc[150, "coverage"] == pytest.approx(1 - once / 150)
    assert list(scorer.sample_size_curve([150, 10]).index) == [150, 10]


@pytest.mark.parametrize("sizes", [[0], [151], [1.5], [[3]]])
def test_sample_sizes_that_were_not_seen_are_refused(frozen, iris, sizes):
    scorer = PopulatedRegionScorer(frozen).fit(*iris)
    with pytest.raises(ValueError, match=r"from 1 to n_samples_seen_=150\. Got \["):
        scorer.sample_size_curve(sizes)


def test_report_adds_the_diagnostics_of_an_attack(frozen, iris):
    class Attack:
        def report(self, X, y):
            return pd.Series({"robust_accuracy_margin": float(len(X))})

    X, y = iris
    scorer = PopulatedRegionScorer(frozen).fit(X, y)
    added = {"zero_gradient_share": 0.2}
    assert scorer.report(X, y, diagnostics=added)["zero_gradient_share"] == 0.2
    report = scorer.report(X[:9], y[:9], diagnostics=Attack())
    assert report["robust_accuracy_margin"] == 9
    with pytest.raises(TypeError, match=r"'diagnostics' parameter .* Got 3 instead"):
        scorer.report(X, y, diagnostics=3)


def test_report_of_a_real_attack_shows_masked_gradients(iris):
    X, y = iris
    net = MLPNetClassifier((16,), max_epochs=60, device="cpu", random_state=0)
    net.fit(X, y)
    with torch.no_grad():
        for weight in head_parameters(net.module_):
            weight *= 10_000
    attack = PGDAttack(FrozenEstimator(net), eps=1.0, random_state=0).fit(X, y)
    scorer = PopulatedRegionScorer(FrozenEstimator(net)).fit(X, y)
    with pytest.warns(GradientMaskingWarning, match="hides its gradient"):
        report = scorer.report(X, y, diagnostics=attack)
    assert report["zero_gradient_share"] > 0.5
    # Where the cross-entropy is flat, the attack climbs the margin by itself.
    assert report["robust_accuracy_ce"] < report["robust_accuracy_margin"] + 0.1
    assert report["robust_accuracy_gradient_free"] < report["clean_accuracy"]


def test_unknown_layer_is_refused_with_those_there_are(frozen, iris):
    with pytest.raises(ValueError, match=r"did you mean 'penultimate'.*'1', '3'"):
        PopulatedRegionScorer(frozen, layer="penultimat").fit(*iris)


def test_a_model_without_relu_units_is_warned_of(iris):
    X, y = iris
    tanh = MLPClassifier(
        (4,), activation="tanh", solver="lbfgs", tol=0.1, random_state=0
    ).fit(X, y)
    with pytest.warns(NoReLUWarning, match="the sign .* is a convention") as fitted:
        PopulatedRegionScorer(FrozenEstimator(tanh)).fit(X, y)
    with pytest.warns(NoReLUWarning, match="No unit of MLPClassifier is a") as called:
        PopulatedRegionScorer()(tanh, X)
    assert fitted[0].filename == called[0].filename == __file__


def test_a_model_without_hidden_layers_is_refused(iris):
    with pytest.raises(ValueError, match="has none between input and logits"):
        PopulatedRegionScorer(LogisticRegression(max_iter=500)).fit(*iris)


def test_a_class_without_samples_has_no_major_region(frozen, iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"no sample of the classes \[2\]"):
        PopulatedRegionScorer(frozen).fit(X[y < 2], y[y < 2])


def test_a_model_trained_on_other_features_is_refused(frozen, iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4"):
        PopulatedRegionScorer(frozen).fit(X[:, :3], y)


def test_a_lost_vector_of_the_very_first_region_is_computed_by_fit(monkeypatch, mlp):
    # The second class begins elsewhere, but lives where the first sample does.
    X = np.zeros((5, 4), dtype=np.float32)
    X[:, 0], y = [1, -1, 2, 3, -2], np.array([0, 1, 1, 1, 2])
    net = deepcopy(mlp)
    net.coefs_[0][:], net.intercepts_[0][:] = 1, 0
    net.coefs_[1][:], net.intercepts_[1][:] = 1, 0
    scorer = PopulatedRegionScorer(FrozenEstimator(net), layer="all")
    expected = clone(scorer).fit(X, y).major_region_vectors_
    monkeypatch.setattr(_counting, "_MAX_SUMS", 1)
    assert np.isnan(clone(scorer).partial_fit(X, y).major_region_vectors_[1]).all()
    assert scorer.fit(X, y).major_regions_[1] == 0
    np.testing.assert_array_equal(scorer.major_region_vectors_, expected)


def test_samples_of_another_width_are_refused_by_whatever_was_fitted(frozen, iris):
    X, y = iris
    scorer = PopulatedRegionScorer(frozen).fit(X, y)
    assert scorer.n_features_in_ == 4
    for ask in (scorer.transform, scorer.layer_report):
        with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4"):
            ask(X[:, :3])
    wide = np.hstack([X, X])
    assert clone(scorer).set_params(estimator=LATER).fit(wide, y).n_features_in_ == 8
    scorer.set_params(estimator=LATER).fit(wide, y)
    assert scorer.n_features_in_ == 8


def test_samples_may_be_a_tuple_of_rows(iris):
    X, y = iris
    scorer = PopulatedRegionScorer(clone(LATER))
    rows = tuple(map(tuple, X.tolist()))
    found = scorer.fit(rows, y).transform(X)
    np.testing.assert_array_equal(found, clone(scorer).fit(X, y).transform(X))


def test_labels_that_the_model_does_not_know_are_refused(frozen, iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"y holds \[3\]"):
        PopulatedRegionScorer(frozen).fit(X, np.where(y == 0, 3, y))


def test_activations_that_are_not_numbers_are_refused(mlp, iris):
    X, y = iris
    broken = deepcopy(mlp)
    broken.coefs_[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="The activations contain NaN"):
        PopulatedRegionScorer(FrozenEstimator(broken)).fit(X, y)


def test_nothing_can_be_asked_before_fit(iris):
    scorer = PopulatedRegionScorer()
    for ask in (scorer.transform, scorer.score, scorer.inclusion_ratio):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            ask(iris[0])
    with pytest.raises(NotFittedError, match="not fitted yet"):
        scorer.report(*iris)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        _ = scorer.regions_


def test_memory_grows_with_the_regions_and_not_with_the_samples(frozen, iris):
    X, y = iris
    scorer = PopulatedRegionScorer(frozen, layer="all").fit(X, y).partial_fit(X, y)
    before = len(pickle.dumps(scorer._counts))
    for _ in range(60):
        scorer.partial_fit(X, y)
    assert scorer.n_samples_seen_ == 62 * len(X)
    assert len(pickle.dumps(scorer._counts)) == pytest.approx(before, abs=10)


@pytest.mark.real_data
def test_mnist_has_the_regions_that_sorting_finds(real_data_home):
    X, y = fetch_mnist(data_home=real_data_home, subset=2000, return_X_y=True)
    net = MLPNetClassifier((70, 40), max_epochs=2, device="cpu", random_state=0)
    scorer = PopulatedRegionScorer(FrozenEstimator(net.fit(X, y)), layer=0).fit(X, y)
    hidden = next(m for m in net.module_.modules() if isinstance(m, torch.nn.Linear))
    with torch.no_grad():
        expected = sorted_counts(hidden(torch.from_numpy(X)).numpy() > 0)
    assert sorted(scorer.regions_["count"]) == expected
