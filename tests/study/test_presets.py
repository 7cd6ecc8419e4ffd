"""Every preset is the study that it names."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.graphs import GraphPrior
from robustkit.study._measures import logits_of, shape_of
from robustkit.study._presets import (
    PRESETS,
    DenseNormalizedInTrainingOnly,
    NormalizedInTrainingOnly,
    find_preset,
    scaled_shape,
)
from robustkit.study._sampling import draw_graphs
from robustkit.topology import MapperGraph


def small_images(n_samples=120, side=6):
    """Two kinds of images: bright above, bright below."""
    rng = np.random.RandomState(0)
    y = np.arange(n_samples) % 2
    X = rng.uniform(0, 0.4, (n_samples, side, side))
    X[y == 0, : side // 2] += 0.5
    X[y == 1, side // 2 :] += 0.5
    X = X.reshape(n_samples, -1).astype(np.float32)
    return Bunch(
        X_train=X[:90],
        y_train=y[:90],
        X_test=X[90:],
        y_test=y[90:],
        image_shape=(1, side, side),
    )


def cheap(study):
    """The same study with fewer, smaller and shorter-trained networks."""
    study.set_params(random_state=0, n_graphs=1)
    if study.population == "pruning":
        study.set_params(estimator__n_steps=2, estimator__estimator__max_epochs=2)
        study.set_params(estimator__retrain_epochs=1)
    else:
        study.set_params(estimator__max_epochs=2, inits=["he_uniform"])
        space = {**study.param_space, "prior__n_nodes": [30]}
        study.set_params(n_parameters=None, param_space=space)
    for attack, _ in (a for a in study.attacks.values() if isinstance(a, tuple)):
        if attack.method == "differential_evolution":
            attack.set_params(pop_size=10, max_iter=2)
    return study


@pytest.mark.filterwarnings("ignore::robustkit.exceptions.NarrowInputWarning")
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_studies_any_images(name):
    images = small_images()
    study = cheap(find_preset(name).make(images))
    names = list(study.attacks)
    data = images.X_train, images.y_train, images.X_test, images.y_test
    if study.population == "pruning":
        # The dense network and two steps are just enough models to correlate.
        assert len(study.fit(*data).results_) == 3
    else:
        with pytest.raises(ValueError, match="can not be correlated"):
            study.fit(*data)
        assert len(study.results_) == 1
    for attack in names:
        assert study.results_[f"{attack}_error_rate"].notna().all()
    assert (study.results_["error"] == "").all()


def test_the_published_studies_are_those_of_the_paper():
    images = Bunch(X_train=np.array([0.0, 1.0]), image_shape=(1, 28, 28))
    for name in ("random-graphs", "random-graphs-mismatched"):
        study = find_preset(name).make(images)
        assert study.n_graphs * len(study.inits) == 600
        assert study.n_parameters == (50_000, 91_000)
        assert study.estimator.max_epochs == 30
        assert study.estimator.batch_size == 128
        one_pixel, n_images = study.attacks["one_pixel"]
        assert (one_pixel.pop_size, one_pixel.max_iter, n_images) == (500, 500, 100)
    for name in ("pruning", "pruning-mismatched"):
        study = find_preset(name).make(images)
        assert study.n_graphs * len(study.inits) == 10
        assert study.estimator.n_steps == 20
        assert study.estimator.estimator.hidden_layer_sizes == (50, 100, 100, 50)


def test_only_training_sees_normalised_images():
    images = small_images()
    X, y = images.X_train, images.y_train
    graph = GraphPrior(n_nodes=20).sample(0)
    mistaken = NormalizedInTrainingOnly(graph, max_epochs=2, random_state=0).fit(X, y)
    network = SparseNetClassifier(graph, max_epochs=2, random_state=0)
    network.fit((X - 0.1307) / 0.3081, y)
    np.testing.assert_array_equal(
        mistaken.decision_function(images.X_test),
        network.decision_function(images.X_test),
    )


def test_a_network_that_is_pruned_sees_normalised_images_each_time():
    images = small_images()
    X, y = images.X_train, images.y_train
    X_seen = (X - 0.1307) / 0.3081
    found = []
    for dense, data in (
        (DenseNormalizedInTrainingOnly((6, 5), max_epochs=2), X),
        (MLPNetClassifier((6, 5), max_epochs=2), X_seen),
    ):
        pruned = PrunedNetClassifier(dense, n_steps=2, random_state=0).fit(data, y)
        found.append(pruned.decision_function(images.X_test))
    np.testing.assert_array_equal(*found)


def test_the_scaled_shape_does_not_depend_on_the_scale_of_the_logits():
    images = small_images()
    X, y = images.X_train, images.y_train
    network = SparseNetClassifier(max_epochs=3, random_state=0).fit(X, y)
    before = scaled_shape(network, X, y, None, None)
    module = network.module_
    # Powers of two, so that rounding is the same.
    module.output_weight.data *= 4
    module.output_bias.data *= 4
    assert scaled_shape(network, X, y, None, None) == before
    logits = logits_of(network, X, y)
    fixed = shape_of(MapperGraph(eps=0.22), logits, y, network.predict(X))
    assert fixed != before


@pytest.mark.parametrize("scale", [1e-9, 0.123456789, 1.0, 255.0, 1e9])
def test_the_steps_of_the_quick_attacks_follow_the_range_of_the_images(scale):
    images = small_images()
    images.X_train = images.X_train / np.ptp(images.X_train) * np.float32(scale)
    attacks = PRESETS["quick"].make(images).attacks
    for name in ("fgsm", "pgd"):
        assert attacks[name].eps == pytest.approx(0.1 * scale, rel=1e-5)
    assert attacks["growing"].step == pytest.approx(0.01 * scale, rel=1e-5)


def test_an_unknown_preset_is_refused_with_a_hint():
    with pytest.raises(ValueError, match="did you mean 'pruning'"):
        find_preset("prunning")


def test_every_family_of_graphs_is_among_those_that_are_drawn():
    study = find_preset("graph-families").make(small_images())
    draws = draw_graphs(
        GraphPrior(), study.param_space, 60, study.n_parameters, (784, 10), 0
    )
    families = [draw.params["prior__generator"] for draw in draws]
    assert set(families) == set(study.param_space["prior__generator"])
    assert min(families.count(family) for family in set(families)) >= 5
