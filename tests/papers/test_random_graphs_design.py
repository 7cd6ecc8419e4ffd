"""The design of the paper on random graphs, and the mistake that TOML cannot say."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.utils import Bunch

from papers.random_graphs.mismatched import (
    HERE,
    DenseNormalizedInTrainingOnly,
    NormalizedInTrainingOnly,
    main,
    mismatched,
)
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.graphs import GraphPrior
from robustkit.study import RobustnessStudy, find_preset
from robustkit.study._store import canonical
from tests.study.images import cheap, small_images

MNIST = Bunch(X_train=np.array([0.0, 1.0]), image_shape=(1, 28, 28))


@pytest.mark.parametrize(
    ("name", "preset"), [("design", "random-graphs"), ("design_pruning", "pruning")]
)
def test_design_of_the_paper_is_the_preset(name, preset):
    study = RobustnessStudy.from_config(HERE / f"{name}.toml")
    shipped = RobustnessStudy(**find_preset(preset).params(MNIST))
    assert canonical(study) == canonical(shipped)


def test_mismatched_studies_have_the_size_of_the_paper():
    study = mismatched()
    assert isinstance(study.estimator, NormalizedInTrainingOnly)
    assert study.n_graphs * len(study.inits) == 600
    assert study.n_parameters == [50_000, 91_000]
    assert (study.estimator.max_epochs, study.estimator.batch_size) == (30, 128)
    assert study.analyses == {}
    pruned = mismatched(pruning=True)
    dense = pruned.estimator.estimator
    assert isinstance(dense, DenseNormalizedInTrainingOnly)
    assert (dense.max_epochs, dense.batch_size) == (30, 128)
    assert pruned.n_graphs * len(pruned.inits) == 10
    for each in (study, pruned):
        assert list(each.attacks) == ["fgsm", "growing", "one_pixel"]
        attack, n_images = each.attacks["one_pixel"]
        assert (attack.pop_size, attack.max_iter, n_images) == (500, 500, 100)
        np.testing.assert_allclose(attack.clip, (-0.4242, 2.8215), atol=1e-4)


@pytest.mark.filterwarnings("ignore::robustkit.exceptions.NarrowInputWarning")
@pytest.mark.parametrize("pruning", [False, True])
def test_mismatched_studies_run_on_small_images(pruning):
    images = small_images()
    study = cheap(mismatched(pruning=pruning))
    study.attacks["one_pixel"][0].set_params(image_shape=images.image_shape)
    data = images.X_train, images.y_train, images.X_test, images.y_test
    if pruning:
        study.fit(*data)
    else:
        with pytest.raises(ValueError, match="cannot be correlated"):
            study.fit(*data)
    assert len(study.results_) == (3 if pruning else 1)
    assert (study.results_["error"] == "").all()


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


def test_pruned_network_sees_normalised_images_each_time():
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


def test_mismatched_command_explains_itself(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--pruning" in capsys.readouterr().out
    assert Path(HERE / "design.toml").is_file()
