"""A study as a TOML file: read, written, shipped, and kept in a store."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Bunch

from robustkit.attacks import FGSMAttack, OnePixelAttack, PGDAttack
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.correlation import RobustnessCorrelator
from robustkit.graphs import GraphPrior, LayeredGraph
from robustkit.regions import PopulatedRegionScorer
from robustkit.study import (
    PRESETS,
    RobustnessStudy,
    Store,
    config_of_store,
    find_preset,
    read_config,
    write_config,
)
from robustkit.study._config import parse
from robustkit.study._plan import draw_graphs
from robustkit.study._store import canonical
from robustkit.topology import BalancedCover, MapperGraph
from tests.study.images import cheap, small_images
from tests.study.studies import (
    assert_same_table,
    forget,
    n_sources_of,
    small_data,
    small_study,
)

MNIST = Bunch(X_train=np.array([0.0, 1.0]), image_shape=(1, 28, 28))

TOML = """
n_graphs = 3
inits = ["normal", "he_uniform"]
random_state = 7

[estimator]
class = "SparseNetClassifier"
max_epochs = 2
batch_size = 40

[estimator.prior]
class = "GraphPrior"
n_nodes = 30

[param_space]
prior__rewiring = {distribution = "uniform", low = 0.5, high = 1.0}
lr = {distribution = "loguniform", low = 0.001, high = 0.1}
batch_size = [40, 60]

[attacks.few]
class = "FGSMAttack"
n_images = 5
eps = 0.2
clip = "None"

[analyses.mapper]
class = "MapperGraph"
scaled = true
clusterer = {class = "sklearn.cluster.KMeans", n_clusters = 2}
cover = {class = "BalancedCover", n_intervals = 4}

[correlator]
class = "RobustnessCorrelator"
methods = ["kendall"]
"""


def test_file_says_what_a_call_says():
    study = RobustnessStudy(**parse(TOML, "x.toml").params())
    mapper, unit = study.analyses["mapper"]
    attack, n_images = study.attacks["few"]
    assert (study.n_graphs, study.random_state, n_images) == (3, 7, 5)
    assert study.inits == ["normal", "he_uniform"]
    assert study.estimator.prior.n_nodes == 30
    assert (attack.eps, attack.clip) == (0.2, None)
    assert mapper.clusterer.n_clusters == 2
    assert (mapper.cover, unit) == (BalancedCover(4), "scaled")
    assert study.correlator.methods == ["kendall"]
    rewiring, lr = (study.param_space[name] for name in ("prior__rewiring", "lr"))
    assert rewiring.support() == (0.5, 1.0)
    np.testing.assert_allclose(lr.support(), (0.001, 0.1))
    assert lr.dist.name == "loguniform"


STUDIES = {
    "nothing": RobustnessStudy(),
    "file": RobustnessStudy(**parse(TOML, "x.toml").params()),
    "distributions": RobustnessStudy(
        SparseNetClassifier(GraphPrior(n_nodes=np.int64(30)), device="cpu"),
        {
            "prior__rewiring": stats.uniform(0.2, scale=0.5),
            "prior__n_nodes": stats.randint(30, 50),
            "lr": np.linspace(0.01, 0.02, 3),
            "weight_decay": stats.expon(),
            "fan": ("degree",),
            "batch_size": range(30, 40),
        },
        attacks={
            "clipless": FGSMAttack(eps=0.1, clip=None),
            "pgd": (PGDAttack(clip=(0, 1), batch_size=7), np.int64(9)),
        },
        analyses={"regions": PopulatedRegionScorer(layer=0)},
        correlator=RobustnessCorrelator(methods="kendall", alpha=1e-9),
        n_parameters=np.array([5, 90_000]),
        random_state=3,
    ),
    "pruning": RobustnessStudy(
        PrunedNetClassifier(MLPNetClassifier((6, 5)), amount=0.5),
        {"amount": [0.1, 0.5]},
        population="pruning",
        inits=("normal",),
        attacks={"pixel": OnePixelAttack(LogisticRegression(C=2.0))},
        analyses={},
        n_jobs=2,
        device="cpu",
        verbose=True,
        store="somewhere.store",
    ),
}


@pytest.mark.parametrize("name", STUDIES)
def test_study_comes_back_from_its_file(tmp_path, name):
    study = STUDIES[name]
    back = RobustnessStudy.from_config(study.to_config(tmp_path / "study.toml"))
    for key, value in back.get_params(deep=False).items():
        expected = getattr(study, key)
        if key not in ("estimator", "param_space", "attacks", "analyses", "inits"):
            assert canonical(value) == canonical(
                expected.tolist() if isinstance(expected, np.ndarray) else expected
            )
    # What is None is written out, so that later defaults change nothing.
    again = RobustnessStudy.from_config(back.to_config(tmp_path / "again.toml"))
    assert canonical(again) == canonical(back)
    first, second = (tmp_path / f"{name}.toml" for name in ("study", "again"))
    assert first.read_text() == second.read_text()


def test_parameters_of_the_machine_are_left_out_where_they_are_defaults(tmp_path):
    """Also if a default was read from somewhere: equal, but not the same object."""
    device = "".join(["au", "to"])
    study = RobustnessStudy(SparseNetClassifier(device=device), attacks={})
    text = study.to_config(tmp_path / "study.toml").read_text()
    assert "device" not in text


class Own(SparseNetClassifier):
    """A class that no file can name."""


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"analyses": {"own": n_sources_of}}, r"analyses\['own'\] is <function n_sou"),
        ({"estimator": Own()}, "estimator is Own"),
        (
            {
                "estimator": SparseNetClassifier(LayeredGraph([[0], [1]], 2)),
                "param_space": {"lr": [0.1]},
            },
            r"estimator\.prior is LayeredGraph",
        ),
        ({"random_state": np.random.RandomState(0)}, "random_state is RandomState"),
        ({"param_space": {"fan": ["None"]}}, r"param_space\['fan'\] is 'None'"),
        ({"n_graphs": 0}, "'n_graphs' parameter of RobustnessStudy must be an int"),
    ],
)
def test_what_toml_cannot_say_is_refused(tmp_path, params, message):
    with pytest.raises(ValueError, match=message):
        small_study(**params).to_config(tmp_path / "study.toml")
    assert not list(tmp_path.iterdir())


ESTIMATOR = '[estimator]\nclass = "SparseNetClassifier"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_graph = 3", "there is no key 'n_graph', did you mean 'n_graphs'?"),
        ("colour = 3", "there is no key 'colour'. It may be one of estimator, "),
        ("n_graphs = ", "this is not TOML: Invalid value"),
        ("estimator = 3", "estimator: this must be a table. Got 3 instead."),
        ("attacks = 3", "attacks: this must be a table. Got 3 instead."),
        ("data = 3", "data must be a table."),
        ('[data]\ndatset = "x"', "data: there is no key 'datset', did you mean 'dat"),
        ('[data]\nn_train = "x"', "data: n_train must be an integer of at least 1"),
        ("[data]\ndataset = 3", "data: dataset must be a string. Got 3"),
        ("[estimator]\nlr = 1", "estimator: a 'class' must be named"),
        (f"{ESTIMATOR}lrr = 1", "no SparseNetClassifier parameter 'lrr', did you mean"),
        (
            f'{ESTIMATOR}[estimator.prior]\nclass = "GraphPrior"\nn_node = 3',
            "estimator.prior: there is no GraphPrior parameter 'n_node', did you mean",
        ),
        (
            '[estimator]\nclass = "SparceNetClassifier"',
            "Got 'SparceNetClassifier' instead, did you mean 'SparseNetClassifier'?",
        ),
        (
            '[attacks.a]\nclass = "LogisticRegression"',
            "instead, did you mean 'sklearn.linear_model.LogisticRegression'?",
        ),
        ('[attacks.a]\nclass = "subprocess.Popen"', "must be one of robustkit, or of"),
        ('[attacks.a]\nclass = "sklearn.os"', "must be one of robustkit, or of"),
        (
            '[attacks.a]\nclass = "sklearn.base.clone"',
            "must be one of robustkit, or of",
        ),
        ('[attacks.a]\nclass = "count_regions"', "must be one of robustkit, or of"),
        ('[attacks.a]\nclass = "study"', "must be one of robustkit, or of"),
        ('[attacks.a]\nclass = "FGSMAttack"\nn_image = 3', "parameter 'n_image'"),
        (
            '[analyses.m]\nclass = "MapperGraph"\n'
            'cover = {class = "UniformCover", overlap = 3}',
            "analyses.m.cover: The 'overlap' parameter",
        ),
        (
            '[param_space]\nlr = {distribution = "unifrom", low = 0, high = 1}',
            "param_space.lr: scipy.stats has no distribution 'unifrom', did you mean "
            "'uniform'?",
        ),
        (
            '[param_space]\nlr = {distribution = "uniform", low = 0, hihg = 1}',
            "there is no uniform parameter 'hihg', did you mean 'high'?",
        ),
        (
            '[param_space]\nlr = {distribution = "beta", a = 1}',
            "param_space.lr: beta: ",
        ),
        (
            "[param_space]\nlr = {array = [1]}",
            "an array needs values and their 'dtype'",
        ),
        (
            '[attacks.a]\nclass = "FGSMAttack"\neps = {from_data = "rnage"}',
            "attacks.a.eps: there is no value 'rnage', did you mean 'range'?",
        ),
    ],
)
def test_mistake_in_a_file_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.toml") as caught:
        RobustnessStudy.from_config(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="this is no TOML file"):
        read_config(path)


def test_images_lie_beside_the_file_that_names_them(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[data]\ndataset = "images/few.npz"')
    assert read_config(path).data["dataset"] == str(tmp_path / "images" / "few.npz")


def test_value_from_the_data_needs_the_data():
    text = '[attacks.a]\nclass = "FGSMAttack"\neps = {from_data = "range", times = 0.1}'
    config = parse(text, "x.toml")
    images = Bunch(X_train=np.array([-1.0, 4.0]), image_shape=None)
    assert config.params(images)["attacks"]["a"].eps == 0.5
    with pytest.raises(ValueError, match=r"attacks\.a\.eps: this depends on the data"):
        config.params()


@pytest.mark.filterwarnings("ignore::robustkit.exceptions.NarrowInputWarning")
@pytest.mark.parametrize("name", PRESETS)
def test_preset_studies_any_images(name):
    images = small_images()
    study = cheap(RobustnessStudy(**find_preset(name).params(images)))
    names = list(study.attacks)
    data = images.X_train, images.y_train, images.X_test, images.y_test
    if study.population == "pruning":
        # The dense network and two steps are just enough models to correlate.
        assert len(study.fit(*data).results_) == 3
    else:
        with pytest.raises(ValueError, match="cannot be correlated"):
            study.fit(*data)
        assert len(study.results_) == 1
    for attack in names:
        assert study.results_[f"{attack}_error_rate"].notna().all()
    assert (study.results_["error"] == "").all()


@pytest.mark.parametrize("name", PRESETS)
def test_preset_written_in_full_is_the_same_study(name):
    study = RobustnessStudy(**find_preset(name).params(MNIST))
    back = RobustnessStudy(**parse(write_config(study), name).params())
    assert write_config(back) == write_config(study)


def test_large_presets_have_the_published_size():
    study = RobustnessStudy(**find_preset("random-graphs").params(MNIST))
    assert study.n_graphs * len(study.inits) == 600
    assert study.n_parameters == [50_000, 91_000]
    assert study.estimator.max_epochs == 30
    assert study.estimator.batch_size == 128
    one_pixel, n_images = study.attacks["one_pixel"]
    assert (one_pixel.pop_size, one_pixel.max_iter, n_images) == (500, 500, 100)
    study = RobustnessStudy(**find_preset("pruning").params(MNIST))
    assert study.n_graphs * len(study.inits) == 10
    assert study.estimator.n_steps == 20
    assert study.estimator.estimator.hidden_layer_sizes == [50, 100, 100, 50]


@pytest.mark.parametrize("scale", [1e-9, 0.123456789, 1.0, 255.0, 1e9])
def test_steps_of_the_quick_attacks_follow_the_range_of_the_images(scale):
    images = small_images()
    images.X_train = images.X_train / np.ptp(images.X_train) * np.float32(scale)
    attacks = find_preset("quick").params(images)["attacks"]
    for name in ("fgsm", "pgd"):
        assert attacks[name].eps == pytest.approx(0.1 * scale, rel=1e-5)


def test_unknown_preset_is_refused_with_a_hint():
    with pytest.raises(ValueError, match="did you mean 'pruning'"):
        find_preset("prunning")


def test_every_family_of_graphs_is_among_those_that_are_drawn():
    study = RobustnessStudy(**find_preset("graph-families").params(MNIST))
    draws = draw_graphs(
        GraphPrior(), study.param_space, 60, study.n_parameters, (784, 10), 0
    )
    families = [draw.params["prior__generator"] for draw in draws]
    assert set(families) == set(study.param_space["prior__generator"])
    assert min(families.count(family) for family in set(families)) >= 5


@pytest.mark.parametrize("kind", ["int", "none", "instance"])
def test_study_continues_from_its_store_alone(tmp_path, kind):
    random_state = {"int": 0, "none": None, "instance": np.random.RandomState(3)}[kind]
    state = np.random.get_state()
    np.random.seed(5)
    data, store = small_data(), tmp_path / "study.store"
    space = {
        "prior__n_nodes": stats.randint(60, 80),
        "lr": np.array([0.01, 0.02]),
        "prior__rewiring": stats.uniform(0.5, scale=0.5),
    }
    study = small_study(store, param_space=space, random_state=random_state)
    expected = study.fit(*data).results_
    forget(store, {1, 6})
    read = RobustnessStudy.from_store(store)
    assert len(read.results_) == 6
    assert canonical(read.correlator) == canonical(study.correlator)
    assert_same_table(read.fit(*data).results_, expected)
    np.random.set_state(state)


def test_store_of_parts_of_python_continues_with_the_study_alone(tmp_path):
    data, store = small_data(), tmp_path / "study.store"
    study = small_study(store, analyses={"own": n_sources_of}).fit(*data)
    with pytest.raises(ValueError, match=r"TOML cannot: analyses\['own'\] is <func"):
        config_of_store(store)
    read = RobustnessStudy.from_store(store)
    assert_same_table(read.results_, study.results_)
    assert read.param_space is None


def test_store_of_an_older_format_is_read_and_says_how_to_continue(tmp_path):
    """As it was before stores held TOML."""
    data, store = small_data(), tmp_path / "study.store"
    study = small_study(store).fit(*data)
    (store / "config.json").unlink()
    (store / "command.json").write_text('"robustkit study --seed 3"')
    assert_same_table(RobustnessStudy.from_store(store).results_, study.results_)
    message = (
        r"older format.*give the command that began it.*: robustkit study --seed 3"
    )
    with pytest.raises(ValueError, match=message):
        config_of_store(store)
    # The same study is continued, and the store then holds it.
    small_study(store).fit(*data)
    assert config_of_store(store) is not None


def test_store_of_a_class_that_is_gone_can_be_read(tmp_path):
    data, store = small_data(), tmp_path / "study.store"
    study = small_study(store).fit(*data)
    config = store / "config.json"
    config.write_text(config.read_text().replace("FGSMAttack", "GoneAttack"))
    with pytest.warns(UserWarning, match="cannot be continued: .*'GoneAttack'"):
        read = RobustnessStudy.from_store(store)
    assert_same_table(read.results_, study.results_)


def test_store_without_a_study_holds_none(tmp_path):
    Store(tmp_path / "study.store")
    assert config_of_store(tmp_path / "study.store") is None


def test_mapper_of_a_file_is_that_of_a_call():
    mapper, unit = parse(TOML, "x").params()["analyses"]["mapper"]
    assert isinstance(mapper, MapperGraph)
    assert unit == "scaled"
