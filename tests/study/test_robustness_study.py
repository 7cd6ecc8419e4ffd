"""The study as its user sees it."""

import re
import warnings
from copy import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_equal
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score

from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    PGDAttack,
)
from robustkit.classifiers import SparseNetClassifier
from robustkit.exceptions import NarrowInputWarning
from robustkit.graphs import GraphPrior, graph_properties
from robustkit.regions import PopulatedRegionScorer, wall_distances
from robustkit.study import RobustnessStudy
from robustkit.study._measure import _walls
from robustkit.topology import MapperGraph
from tests.study.studies import (
    assert_same_table,
    n_sources_of,
    small_data,
    small_study,
)

DATA = small_data()


@pytest.fixture(scope="module")
def study():
    """A finished study with all lenses."""
    return small_study(
        attacks={
            "fgsm": FGSMAttack(eps=0.1),
            "pgd": PGDAttack(eps=0.1, max_iter=3),
            "few": (GrowingEpsilonAttack(), 7),
        },
        analyses={
            "regions": PopulatedRegionScorer(),
            "mapper": MapperGraph(n_intervals=5),
            "own": n_sources_of,
        },
    ).fit(*DATA)


def test_the_table_has_one_row_per_model_and_columns_in_order(study):
    table = study.results_
    assert table["model"].tolist() == list(range(8))
    assert table["graph"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["init"].tolist() == ["he_uniform", "normal"] * 4
    names = list(table)
    assert names[:7] == [
        "model",
        "graph",
        "init",
        "seed",
        "graph_seed",
        "prior__n_nodes",
        "n_parameters",
    ]
    assert names[7:9] == ["n_nodes", "n_edges"]
    order = [
        "regions_prs_ratio",
        "regions_inclusion_ratio",
        "mapper_purity",
        "mapper_weak_mass",
        "own_n_sources",
        "clean_accuracy",
        "f1_macro",
        "fgsm_error_rate",
        "fgsm_average_confidence",
        "pgd_robust_accuracy_margin",
        "few_average_eps",
        "seconds_train",
        "seconds_few",
        "version_robustkit",
        "version_sklearn",
        "device",
        "engine",
        "error",
    ]
    places = [names.index(name) for name in order]
    assert places == sorted(places)
    assert study.columns_.parameters == ["prior__n_nodes"]
    assert study.columns_.properties[0] == "n_parameters"
    assert "mapper_purity" in study.columns_.properties
    assert "few_average_eps" in study.columns_.measures
    assert not {"fgsm_n_queries", "few_n_samples"} & set(study.columns_.measures)


def test_all_models_of_an_initialisation_have_one_seed(study):
    seeds = study.results_.groupby("init")["seed"].nunique()
    assert (seeds == 1).all()
    assert study.results_["seed"].nunique() == 2
    assert study.results_.groupby("graph")["graph_seed"].nunique().max() == 1


def test_properties_are_those_of_the_graph(study):
    row = study.results_.iloc[5]
    prior = GraphPrior(n_nodes=row["prior__n_nodes"])
    expected = graph_properties(prior.sample(row["graph_seed"]))
    found = row[expected.index].astype(float)
    pd.testing.assert_series_equal(found, expected, check_names=False)


def test_extra_properties_are_measured_by_one_switch(study):
    plain = study.results_
    table = small_study(n_graphs=3, inits=["normal"], extra=True).fit(*DATA).results_
    row = table.iloc[1]
    prior = GraphPrior(n_nodes=row["prior__n_nodes"])
    expected = graph_properties(prior.sample(row["graph_seed"]), extra=True)
    found = row[expected.index].astype(float)
    pd.testing.assert_series_equal(found, expected, check_names=False)
    assert "effective_depth" not in plain
    assert "effective_depth" in table


def test_walls_are_measured_by_one_switch():
    models = []

    def keep(model, X, y, X_test, y_test):
        models.append(model)
        return {}

    params = {"n_graphs": 3, "inits": ["normal"], "analyses": {"keep": keep}}
    table = small_study(walls=3, engine="single", **params).fit(*DATA).results_
    X, y, X_test, y_test = DATA
    assert len(models) == len(table)
    for model, row in zip(models, table.itertuples(), strict=True):
        right = np.flatnonzero(model.predict(X_test) == y_test)[:3]
        some, labels = X_test[right], y_test[right]
        attack = MinimalDistanceAttack(FrozenEstimator(model), random_state=0)
        result = attack.fit(X, y).perturb(some, labels)
        walls = wall_distances(model, some, result.X_adv)
        assert row.wall_linf == walls["linf"].median()
        assert row.wall_l2 == walls["l2"].median()
        crossed = walls["n_regions"][result.success]
        # Not a number where no sample has an error.
        assert_equal(row.regions_to_error, crossed.median())
        assert_equal(row.error_in_own_region, (crossed == 1).mean())
        # What lies nearer than the wall is in the own region.
        near = result.eps < walls["linf"] * (1 - 1e-5)
        assert (walls["n_regions"][result.success & near] == 1).all()
    assert table["regions_to_error"].notna().any()
    plain = small_study(n_graphs=3, inits=["normal"], attacks={}).fit(*DATA).results_
    assert set(table) - set(plain) >= {"wall_linf", "error_in_own_region"}


def test_walls_of_a_model_that_is_never_right_are_missing():
    X, y, X_test, _ = DATA
    wrong = np.full(len(X_test), 77)
    study = small_study(walls=5, n_graphs=2, inits=["normal"], attacks={})
    data = SimpleNamespace(X=X, y=y, X_test=X_test, y_test=wrong)
    model = study.estimator.set_params(random_state=0).fit(X, y)
    assert np.isnan(list(_walls(model, data, 5).values())).all()


# Half of the units of so small a network may be dead, and half of its gradients zero.
@pytest.mark.filterwarnings("ignore::robustkit.exceptions.GradientMaskingWarning")
@pytest.mark.parametrize("number", [0, 3, 6])
def test_a_row_alone_makes_the_same_model_again(study, number):
    """From what the row holds, with the classes that a user would take."""
    X, y, X_test, y_test = DATA
    row = study.results_.iloc[number]
    graph = GraphPrior(n_nodes=row["prior__n_nodes"]).sample(row["graph_seed"])
    by_hand = SparseNetClassifier(
        graph,
        init=row["init"],
        max_epochs=2,
        batch_size=50,
        lr=0.01,
        random_state=row["seed"],
    )
    rebuilt = study.rebuild(row["model"])
    for classifier in (by_hand, rebuilt):
        model = FrozenEstimator(classifier.fit(X, y))
        assert model.score(X_test, y_test) == row["clean_accuracy"]
        predicted = model.predict(X_test)
        assert (
            f1_score(y_test, predicted, average="macro", zero_division=0)
            == (row["f1_macro"])
        )
        assert classifier.n_parameters_ == row["n_parameters"]
        fgsm = FGSMAttack(model, eps=0.1).fit(X, y).report(X_test, y_test)
        for measure in ("error_rate", "average_confidence", "robust_accuracy"):
            assert_equal(fgsm[measure], row[f"fgsm_{measure}"])
        regions = PopulatedRegionScorer(model).fit(X, y)
        assert regions.prs_ratio_ == row["regions_prs_ratio"]


def test_a_model_that_is_not_there_cannot_be_rebuilt(study):
    with pytest.raises(ValueError, match=r"from 0 to 7\. Got 8 instead"):
        study.rebuild(8)


def test_an_attack_on_some_images_takes_the_first_that_are_right(study):
    X, y, X_test, y_test = DATA
    row = study.results_.iloc[1]
    model = study.rebuild(1).fit(X, y)
    right = np.flatnonzero(model.predict(X_test) == y_test)[:7]
    assert row["few_n_samples"] == len(right)
    attack = GrowingEpsilonAttack(FrozenEstimator(model)).fit(X, y)
    report = attack.report(X_test[right], y_test[right])
    assert report["average_eps"] == row["few_average_eps"]


def test_graphs_count_once_and_functions_of_others_not_at_all(study):
    values = study.correlator_.values_
    assert len(values) == 4
    assert {"density", "n_parameters", "regions_prs_ratio"} <= set(values)
    assert not {"n_edges", "degree_mean", "average_betweenness"} & set(values)
    # What an analysis finds that is known already.
    assert "own_mean" not in values


def test_the_same_seed_gives_the_same_table():
    one, two, other = (
        small_study(random_state=seed).fit(*DATA).results_ for seed in (0, 0, 1)
    )
    assert_same_table(one, two)
    assert one["clean_accuracy"].tolist() != other["clean_accuracy"].tolist()


def test_a_study_goes_on_where_it_was(tmp_path):
    store = tmp_path / "study.db"
    n_calls = []

    def stop_after_three(model, X, y, X_test, y_test):
        n_calls.append(1)
        if len(n_calls) == 4:
            raise RuntimeError("the lamp went out")
        return {}

    one_by_one = {"engine": "single"}
    study = small_study(store, analyses={"lamp": stop_after_three}, **one_by_one)
    with pytest.raises(RuntimeError, match="the lamp went out"):
        study.fit(*DATA)
    assert len(study.results_) == 3
    study.fit(*DATA)
    assert len(n_calls) == 4 + 5
    assert_same_table(study.results_, small_study(**one_by_one).fit(*DATA).results_)
    # Finished: nothing is trained again.
    assert len(study.fit(*DATA).results_) == 8
    assert len(n_calls) == 9


def test_without_a_seed_the_store_remembers_it(tmp_path):
    state = np.random.get_state()
    store = tmp_path / "study.db"
    one = small_study(store, random_state=None).fit(*DATA)
    np.random.seed(3)
    two = small_study(store, random_state=None).fit(*DATA)
    np.random.set_state(state)
    assert_same_table(one.results_, two.results_)
    assert two.results_["seconds_train"].equals(one.results_["seconds_train"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"random_state": 1}, "random_state"),
        ({"n_graphs": 5}, "n_graphs is 4 there and 5 here"),
        ({"attacks": {"fgsm": FGSMAttack(eps=0.2)}}, r"FGSMAttack\.eps is 0.1 there"),
        ({"param_space": {"prior__n_nodes": [40, 50]}}, "prior__n_nodes"),
        ({"extra": True}, "extra"),
        ({"walls": 5}, "walls"),
    ],
)
def test_a_store_of_another_study_is_refused(tmp_path, change, named):
    store = tmp_path / "study.db"
    small_study(store).fit(*DATA)
    with pytest.raises(ValueError, match=named):
        small_study(store, **change).fit(*DATA)
    with pytest.raises(ValueError, match=r"holds another study: data\.X"):
        small_study(store).fit(DATA[0] / 2, *DATA[1:])


def test_what_only_takes_time_does_not_make_another_study(tmp_path):
    store = tmp_path / "study.db"
    small_study(store, engine="single").fit(*DATA)
    study = small_study(store, engine="batched", verbose=0, n_jobs=1, device="auto")
    assert study.fit(*DATA).results_["engine"].unique().tolist() == ["single"]


def test_a_study_is_read_from_its_store(tmp_path):
    store = tmp_path / "study.db"
    study = small_study(store).fit(*DATA)
    read = RobustnessStudy.from_store(store, correlator=study.correlator)
    pd.testing.assert_frame_equal(read.results_, study.results_)
    assert read.columns_ == study.columns_
    with pytest.raises(ValueError, match="Call fit with the parameters"):
        read.rebuild(0)
    with pytest.raises(FileNotFoundError, match="no store"):
        RobustnessStudy.from_store(tmp_path / "other.db")


def test_a_fifth_is_held_out_without_test_data():
    X, y, *_ = DATA
    one, two = small_study().fit(X, y), small_study().fit(X, y)
    assert one.results_["fgsm_n_samples"].unique().tolist() == [40]
    assert_same_table(one.results_, two.results_)


def test_models_that_fail_have_a_row_with_the_reason():
    network = SparseNetClassifier(max_epochs=2, batch_size=50, device="cpu")
    space = {"lr": [0.01, 1e30], "prior__n_nodes": [40, 50, 60]}
    study = small_study(estimator=network, param_space=space, n_graphs=6)
    table = study.fit(*DATA).results_
    failed = table["lr"] > 1
    assert failed.sum() == 6
    assert table.loc[failed, "error"].str.contains("Use a smaller 'lr'").all()
    assert table.loc[failed, study.columns_.measures].isna().all(axis=None)
    assert table.loc[failed, "n_parameters"].notna().all()
    assert (table.loc[~failed, "error"] == "").all()
    assert table.loc[~failed, "clean_accuracy"].notna().all()


def test_undertrained_models_are_not_correlated(tmp_path):
    network = SparseNetClassifier(max_epochs=8, batch_size=20, device="cpu")
    space = {"lr": [0.01, 0.02, 1e-9], "prior__n_nodes": [40, 60]}
    study = small_study(tmp_path / "s.db", estimator=network, param_space=space)
    study.set_params(n_graphs=6, max_accuracy_gap=0.2).fit(*DATA)
    table = study.results_
    is_low = table["clean_accuracy"] < table["clean_accuracy"].median() - 0.2
    assert 0 < is_low.sum() < 8
    assert (table.loc[is_low, "lr"] == 1e-9).all()
    kept = table[~is_low].groupby("graph")["clean_accuracy"].mean()
    np.testing.assert_allclose(study.correlator_.values_["clean_accuracy"], kept)
    read = RobustnessStudy.from_store(tmp_path / "s.db")
    pd.testing.assert_frame_equal(read.correlator_.values_, study.correlator_.values_)
    assert len(study.set_params(max_accuracy_gap=None)._correlate().values_) == 6
    # With two of four graphs too few are left, and it says why.
    four = table.drop_duplicates("graph")[:4]
    study.results_ = four.assign(clean_accuracy=[0.9, 0.1, 0.9, 0.1])
    with pytest.raises(ValueError, match=r"2 more are under-trained: .*=0\.2 below"):
        study.set_params(max_accuracy_gap=0.2)._correlate()


def test_a_study_of_which_all_models_fail_says_why():
    network = SparseNetClassifier(max_epochs=2, batch_size=50, lr=1e30, device="cpu")
    with pytest.raises(ValueError, match=r"No model .* could be measured: The"):
        small_study(estimator=network).fit(*DATA)


def test_an_analysis_that_gives_no_numbers_is_told_at_once():
    study = small_study(analyses={"own": lambda *_: {"kind": "good"}})
    with pytest.raises(TypeError, match=r"\['own'\] must return a dict of names"):
        study.fit(*DATA)


def test_too_few_models_are_trained_but_not_correlated():
    study = small_study(n_graphs=2)
    with pytest.raises(ValueError, match=r"4 models .* at least 3 are needed"):
        study.fit(*DATA)
    assert len(study.results_) == 4


def test_distributions_are_drawn_from():
    space = {"prior__n_nodes": [40, 50], "prior__rewiring": stats.uniform(0.2, 0.5)}
    table = small_study(param_space=space).fit(*DATA).results_
    rewiring = table.groupby("graph")["prior__rewiring"].first()
    assert rewiring.nunique() == 4
    assert rewiring.between(0.2, 0.7).all()


def test_narrow_graphs_are_told_once():
    space = {"prior__n_nodes": [30], "prior__n_neighbors": [10]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        small_study(param_space=space, n_graphs=3, inits=["normal"]).fit(*DATA)
    (warning,) = [w for w in caught if w.category is NarrowInputWarning]
    assert "of 3 graphs squeeze all 64 features" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"param_space": {"prior__n_node": [3]}}, "did you mean 'prior__n_nodes'"),
        ({"param_space": {"prior__n_nodes": 3}}, "must be a list of values"),
        ({"param_space": {"prior__n_nodes": []}}, "not empty"),
        ({"param_space": {"init": ["normal"]}}, "Use 'inits'"),
        ({"inits": ["he_unifrom"]}, "did you mean 'he_uniform'"),
        ({"inits": ["he_unifrom", "nromal"]}, "did you mean 'he_uniform'"),
        ({"inits": ["normal", "normal"]}, "each once"),
        ({"inits": []}, "each once"),
        ({"n_parameters": (3, 2)}, "pair"),
        ({"n_parameters": (1, 2)}, r"1,000 graphs were tried, with \d+ to \d+,?\d+ pa"),
        ({"attacks": {"fgsm": 3}}, "must be an attack"),
        ({"attacks": {"fgsm": (FGSMAttack(), 0)}}, "number of images"),
        ({"attacks": {"fgsm": (FGSMAttack(), -1)}}, "number of images"),
        ({"attacks": {"fgsm": (FGSMAttack(), 2.0)}}, "number of images"),
        ({"analyses": {"mapper": 3}}, "must be a PopulatedRegionScorer"),
        ({"analyses": {"fgsm": MapperGraph()}}, "names an attack and an analysis"),
        ({"estimator": MapperGraph()}, "'estimator' parameter"),
        ({"estimator": FrozenEstimator(SparseNetClassifier())}, "'prior' and 'init'"),
        ({"max_accuracy_gap": 0}, "'max_accuracy_gap' parameter"),
        ({"population": "pruning"}, "must be a PrunedNetClassifier"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        small_study(**params).fit(*DATA)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA[:3], "both of X_test and y_test"),
        ((*DATA[:3], DATA[3] + 5), "which y does not"),
        ((*DATA[:2], DATA[2][:, :3], DATA[3]), "features"),
        ((DATA[0], np.zeros(200)), "at least 2 classes"),
        ((DATA[0][:12], DATA[1][:12]), "Pass X_test and y_test"),
        ((DATA[0][:0], DATA[1][:0]), "0 sample"),
        ((*DATA[:2], DATA[2][:0], DATA[3][:0]), "0 sample"),
        ((DATA[0] * np.float32(1e30), DATA[1]), r"X holds 1e\+30, .*Scale them"),
        ((*DATA[:2], DATA[2] * -1e30, DATA[3]), r"X_test holds -1e\+30, .*Scale them"),
        ((DATA[0] * np.nan, DATA[1]), "X contains NaN"),
        ((DATA[0], DATA[1][:-1]), "inconsistent numbers of samples"),
        ((*DATA[:3], DATA[3][:-1]), "inconsistent numbers of samples"),
    ],
)
def test_bad_data_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        small_study().fit(*data)


def test_a_notebook_shows_how_far_it_is_and_what_was_found(study):
    html = study._repr_html_()
    told = html[: html.index("<style>")]
    for words in (">8 of 8</td>", ">4</td>", "n = 4 models or graphs", "six graphs"):
        assert words in told
    table = study.correlator_.correlations_.query("method == 'spearman'")
    robust = table[table["measure"].str.contains("error_rate|eps|margin|accuracy")]
    largest = robust["coefficient"].abs().max()
    assert f"{largest:.2f}" in told
    interrupted = copy(study)
    del interrupted.correlator_
    interrupted.results_ = study.results_[:3].assign(error=["", "", "too large"])
    told = interrupted._html_summary()
    assert ">3 of 8</td>" in told
    # models, graphs, not measured
    assert re.findall(r"<td[^>]*>(.*?)</td>", told)[:3] == ["3 of 8", "2", "1"]
    assert "Nothing is correlated yet." in told
