"""The crossed design of random graphs: its graphs, effects and small versions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.frozen import FrozenEstimator

from papers.random_graphs import (
    controls,
    crossed,
    ends,
    retrained,
    tables,
    verdicts,
)
from papers.random_graphs.effects import (
    FACTORS,
    RESULTS,
    component_rows,
    effect_rows,
    levels,
    linear_and_curved,
    variance_components,
)
from papers.random_graphs.measures import SIZES, DistanceProfile, measures
from papers.random_graphs.prior import MatchedPrior
from papers.topology import two_by_two
from robustkit.attacks import FGSMAttack
from robustkit.classifiers import MLPNetClassifier
from robustkit.correlation import RobustnessCorrelator
from robustkit.datasets import load_digits_images
from tests.study.studies import small_data


@given(
    n_nodes=st.integers(20, 150),
    n_neighbors=st.integers(2, 8),
    rewiring=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_every_graph_has_the_same_ends(n_nodes, n_neighbors, rewiring, seed):
    prior = MatchedPrior(n_nodes, n_neighbors, rewiring, n_ends=10, n_links=160)
    graph = prior.sample(seed)
    assert len(graph.sources) == len(graph.sinks) == 10
    assert graph.n_nodes == n_nodes + 20
    # As many edges at both ends, none of them between ends.
    ends = [np.isin(graph.edges[k], side) for k, side in ((0, graph.sources),)]
    ends.append(np.isin(graph.edges[1], graph.sinks))
    assert [end.sum() for end in ends] == [160, 160]
    assert not (ends[0] & ends[1]).any()


def test_too_few_links_are_refused():
    with pytest.raises(ValueError, match=r"n_links must be at least .* Got 3"):
        MatchedPrior(100, n_links=3).sample(0)


def test_rewiring_takes_clustering_away_and_then_paths():
    ring, small, random = (
        MatchedPrior(400, 4, rewiring).sample(0).properties()
        for rewiring in (0.0, 0.1, 1.0)
    )
    # A small world is as clustered as a lattice, and its paths are nearly as short as
    # those of a random graph.
    assert small["average_clustering"] > 5 * random["average_clustering"]
    path = "average_path_length"
    assert (small[path] - random[path]) < (ring[path] - random[path]) / 2


def test_crossed_study_has_every_combination_once(tmp_path):
    X, y, X_test, y_test = small_data(100, 20)
    study = crossed.make(
        tmp_path / "c.sqlite",
        epochs=1,
        n_graphs=4,
        extra=False,
        attacks={"fgsm": FGSMAttack(eps=0.1)},
        param_space={"prior__n_nodes": [40, 50], "prior__n_neighbors": [2]},
        correlator=RobustnessCorrelator(n_bootstrap=0),
    )
    study.fit(X, y, X_test, y_test)
    table = crossed.rows_of_store(tmp_path / "c.sqlite")
    cells = table[["graph", "init", "seed"]]
    assert not cells.duplicated().any()
    assert [cells[name].nunique() for name in cells] == [4, 2, 3]
    assert len(table) == 24
    part = table.drop(index=table.index[-1])
    assert crossed.whole_graphs(part, 6)["graph"].unique().tolist() == [0, 1, 2]


def test_published_rows_are_continued_in_a_new_store(tmp_path):
    data = small_data(100, 20)

    def study(name):
        return crossed.make(
            tmp_path / name,
            epochs=1,
            n_graphs=4,
            n_seeds=1,
            attacks={"fgsm": FGSMAttack(eps=0.1)},
            param_space={"prior__n_nodes": [40, 50], "prior__n_neighbors": [2]},
            correlator=RobustnessCorrelator(n_bootstrap=0),
        )

    study("whole").fit(*data)
    whole = crossed.rows_of_store(tmp_path / "whole")
    # By which the rows that were taken are known.
    published = whole.iloc[[1, 4, 7]].assign(fgsm_robust_accuracy=-1.0)
    published.to_csv(tmp_path / "published.csv", index=False)
    read = pd.read_csv(tmp_path / "published.csv")
    crossed.adopt(study("continued"), data, read)
    study("continued").fit(*data)
    continued = crossed.rows_of_store(tmp_path / "continued")
    taken = continued.index[continued["fgsm_robust_accuracy"] == -1]
    assert taken.tolist() == [1, 4, 7]
    seconds = [name for name in whole if name.startswith("seconds_")]
    left = [*seconds, "fgsm_robust_accuracy"]
    pd.testing.assert_frame_equal(
        continued.drop(columns=left), whole.drop(columns=left), check_dtype=False
    )
    assert_array_equal(
        continued.drop(index=taken)["fgsm_robust_accuracy"],
        whole.drop(index=taken)["fgsm_robust_accuracy"],
    )
    with pytest.raises(ValueError, match="Model 4 of the table is of another study"):
        crossed.adopt(study("other"), data, read.assign(seed=read["seed"][:1]))


def test_models_of_begun_graphs_are_kept_beside_what_is_published(tmp_path):
    rows = pd.DataFrame({"model": range(8), "graph": [0, 0, 0, 1, 1, 1, 2, 3]})
    rows["accuracy"] = 0.1 * rows["model"]
    rows = rows.drop(index=4)
    for kept in (rows, rows.iloc[:3]):
        crossed.whole_graphs(kept, 3).to_csv(tmp_path / "study.csv", index=False)
        crossed.keep_begun(kept, "study", tmp_path)
        found = crossed.read_published("study", tmp_path)
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), kept.reset_index(drop=True)
        )
        assert (tmp_path / "study_begun.csv").exists() == (len(kept) > 3)


def test_ends_alone_vary_and_the_degree(tmp_path):
    X, y, X_test, y_test = small_data(100, 20)
    study = ends.make(
        tmp_path / "e.store",
        epochs=1,
        extra=False,
        attacks={"fgsm": FGSMAttack(eps=0.1)},
        correlator=RobustnessCorrelator(n_bootstrap=0),
        n_graphs=9,
        param_space=ends.SPACE | {"prior__n_nodes": [40]},
        n_seeds=1,
    )
    study.fit(X, y, X_test, y_test)
    table = crossed.rows_of_store(tmp_path / "e.store")
    assert len(table.groupby(["prior__n_ends", "prior__n_neighbors"])) == 9
    assert_array_equal(table["n_sources"], table["prior__n_ends"])
    assert_array_equal(table["n_sinks"], table["prior__n_ends"])


def test_published_population_keeps_its_design_and_its_models(tmp_path):
    study = retrained.make(tmp_path / "r.sqlite")
    assert study.keep_models
    assert study.n_graphs == 100
    assert tuple(study.n_parameters) == (50_000, 91_000)
    assert study.attacks["one_pixel"][1] == 1000
    assert len(study.inits) == 6


def factorial(seed=0, effect=0.0, curve=0.0, spreads=(0.0, 0.0, 0.0), noise=0.1):
    """A balanced table whose effects are known."""
    rng = np.random.default_rng(seed)
    names = ("graph", "init", "seed")
    sizes = (27, 4, 5)
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1)
    table = pd.DataFrame(grid.reshape(-1, 3), columns=names)
    table["size"] = np.array([10, 20, 40])[table["graph"] % 3]
    step = table["graph"] % 3 / 2
    table["y"] = effect * step + curve * 4 * step * (1 - step)
    for name, size, spread in zip(names, sizes, spreads, strict=True):
        table["y"] += spread * rng.normal(size=size)[table[name]]
    table["y"] += noise * rng.normal(size=len(table))
    return table


def test_linear_and_curved_effects_are_found():
    found = linear_and_curved(factorial(effect=1.0, curve=0.5), "y", ("size",))
    effects = found.set_index("part")["effect"]
    halves = found.set_index("part")["half"]
    assert abs(effects["linear"] - 1) < 2 * halves["linear"] < 0.2
    assert abs(effects["curved"] - 0.5) < 2 * halves["curved"] < 0.2


def test_levels_are_means_over_graphs_with_students_interval():
    table = factorial(effect=1.0, spreads=(0.3, 0.2, 0.1))
    found = levels(table, "size", "y")
    for level, row in found.iterrows():
        means = [
            graph["y"].mean()
            for _, graph in table[table["size"] == level].groupby("graph")
        ]
        low, high = stats.t.interval(
            0.95, len(means) - 1, np.mean(means), stats.sem(means)
        )
        assert row["size"] == len(means) == 9
        assert_allclose(
            [row["mean"] - row["half"], row["mean"] + row["half"]], [low, high]
        )


def test_levels_on_the_page_are_those_of_the_rows():
    rows = pd.read_csv(RESULTS / "crossed.csv")
    page = pd.read_csv(RESULTS / "tables" / "crossed_levels.csv")
    assert page["graphs"].sum() == 3 * rows["graph"].nunique()
    for factor, title in FACTORS.items():
        levels = page[page["factor"] == title]
        assert levels["level"].tolist() == sorted(rows[factor].unique())
        for _, level in levels.iterrows():
            graphs = rows[rows[factor] == level["level"]].groupby("graph")
            mean = graphs["linf_median_distance"].mean().mean()
            text = level["median distance, maximum norm"]
            assert abs(float(text.split(" ")[0]) - mean) <= 0.5e-4


def test_sizes_are_ranked_over_graphs_not_networks():
    columns = {name: [1, 2, 3, 4] for name in tables.SIZES}
    graphs = pd.DataFrame({"graph": range(4), **columns, "density": [4, 3, 1, 2]})
    # Networks of one graph differ more than the graphs do.
    runs = [
        graphs.assign(linf_median_distance=[1, 2, 4, 3]) + shift for shift in (0, 9)
    ]
    table = pd.concat([run.assign(graph=graphs["graph"]) for run in runs])
    rows = {row["property"]: row for row in tables.size_rows(table)}
    of_size = rows["number of parameters"]
    assert of_size["with the number of parameters"] == "1.00"
    assert of_size["with the median distance"] == "0.80"
    assert rows["density"]["with the number of parameters"] == "−0.80"
    assert rows["density"]["with the median distance"] == "−1.00"


def test_intervals_of_effects_cover_the_truth():
    # Graphs differ as such: repeats of one graph make nothing more certain.
    hits = [
        abs(row["effect"]) <= row["half"]
        for seed in range(100)
        for row in linear_and_curved(
            factorial(seed, spreads=(1.0, 0.5, 0.5)), "y", ("size",)
        ).to_dict("records")
        if row["part"] == "linear"
    ]
    # Of 100 intervals of 95 %, between 89 and 100 in all but one of a thousand.
    assert np.sum(hits) >= 88


def test_shares_of_the_variance_are_those_drawn():
    shares = pd.DataFrame(
        [
            variance_components(
                factorial(seed, spreads=(2.0, 1.0, 1.0), noise=1.0), "y"
            )
            for seed in range(60)
        ]
    ).mean()
    # Variances 4, 1, 1 and 1 of 7; few levels of the last two vary widely.
    assert shares["graph"] == pytest.approx(4 / 7, abs=0.1)
    assert shares["the rest"] == pytest.approx(1 / 7, abs=0.05)


def test_incomplete_design_is_refused():
    with pytest.raises(ValueError, match=r"540 in all\. Got 539"):
        variance_components(factorial().iloc[1:], "y")


def test_few_graphs_are_told_on_the_page():
    table = pd.DataFrame({"graph": [0, 1]})
    assert {row["factor"] for row in effect_rows(table)} == {"too few graphs so far: 2"}
    assert {row["graph"] for row in component_rows(table)} == {"too few so far"}


def test_more_effects_than_graphs_are_refused():
    with pytest.raises(ValueError, match=r"more graphs than the 3 effects\. Got 3"):
        linear_and_curved(factorial().query("graph < 3"), "y", ("size",))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits_images(return_X_y=True)
    model = MLPNetClassifier((20,), max_epochs=5, random_state=0).fit(X[:300], y[:300])
    return model, X[:300], y[:300]


def test_robust_accuracies_are_those_of_the_distances(digits):
    model, X, y = digits
    attack = DistanceProfile(FrozenEstimator(model)).fit(X, y)
    distance = np.asarray(attack.perturb(X[:40], y[:40]).distance)
    report = attack.report(X[:40], y[:40])
    for size in SIZES:
        assert report[f"robust_at_{size:.2f}"] == np.mean(distance > size)
    assert report["median_distance"] == np.median(distance)


def test_measures_take_as_many_images_as_asked():
    found = measures(3, 4, 5)
    assert [found[name][1] for name in ("linf", "certified", "one_pixel")] == [3, 4, 5]


def test_pruned_copies_lose_a_tenth_of_what_is_left_in_every_step(digits):
    X, y = digits[1:]
    model = MLPNetClassifier((10, 10, 10, 10), max_epochs=1, random_state=0).fit(X, y)
    twin = controls.without_training(model, 2, seed=0)
    left = sum((layer.weight != 0).sum().item() for layer in controls.removable(twin))
    assert left == 300 - 30 - 27
    assert model.n_parameters_ - twin.n_parameters_ == 30 + 27
    whole = sum((layer.weight != 0).sum().item() for layer in controls.removable(model))
    assert whole == 300


def test_small_networks_have_nearly_as_many_parameters():
    for n_parameters in (45_000, 50_000, 55_000):
        sizes = controls.small_sizes(n_parameters)
        assert abs(controls.count(sizes, 784, 10) - n_parameters) < 1000


def test_confusions_are_counted_by_pair():
    y, y_pred = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 0, 2])
    assert two_by_two.confusions(y, y_pred) == [
        {"class": 0, "predicted": 1, "number": 1},
        {"class": 1, "predicted": 0, "number": 2},
    ]


def controlled_seeds(n_seeds):
    """What controls would measure: pruning alone brings errors nearer by a tenth."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(n_seeds):
        dense = rng.uniform(0.03, 0.04)
        for kind, left, factor, accuracy in (
            ("dense", 1.0, 1.0, 0.97),
            ("dense, retrained", 0.5, 1.0, 0.97),
            ("pruned", 0.5, 2.0, 0.1),
            ("pruned, retrained", 0.5, 0.9, 0.97),
            ("small", 0.5, 1.2, 0.97),
        ):
            rows.append(
                {
                    "kind": kind, "left": left, "seed": seed, "n_parameters": 1000,
                    "clean_accuracy": accuracy, "one_pixel_error_rate": 0.1,
                    "linf_median_distance": factor * dense,
                    "l2_median_distance": 10 * factor * dense,
                    "certified_median_radius": dense / 2,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_controls_are_compared_within_seeds():
    table = controls.known(controlled_seeds(5))
    rows = {
        row["from one to the other"]: row["50 % left"]
        for row in controls.difference_rows(table)
    }
    assert rows == {
        "retraining alone": "+0.0\u00a0±\u00a00.0\u00a0%",
        # It gets a tenth of the images right.
        "removing weights alone": "",
        "removing and retraining": "-10.0\u00a0±\u00a00.0\u00a0%",
        "removing, beyond retraining": "-10.0\u00a0±\u00a00.0\u00a0%",
        "pruned instead of small": "-25.0\u00a0±\u00a00.0\u00a0%",
    }


def test_kinds_of_controls_are_rows_with_as_many_seeds():
    rows = list(controls.kind_rows(controls.known(controlled_seeds(3))))
    assert [row["network"] for row in rows] == [
        "dense", "dense, retrained", "pruned", "pruned, retrained", "small"
    ]  # fmt: skip
    assert [row["n"] for row in rows] == [3] * 5
    assert [row["Euclidean norm"] == "" for row in rows] == [0, 0, 1, 0, 0]
    assert rows[2]["accuracy"] == "10.0\u00a0±\u00a00.0\u00a0%"


def test_only_whole_seeds_of_controls_are_published(tmp_path, monkeypatch):
    monkeypatch.setattr(controls, "RESULTS", tmp_path)
    monkeypatch.setattr(controls, "N_STEPS", (1,))
    monkeypatch.setattr(controls, "keep_amounts", lambda rows: kept.extend(rows))
    kept = []
    controls.publish(controlled_seeds(3).iloc[:-1])
    assert len(pd.read_csv(tmp_path / "controls.csv")) == 10
    assert (tmp_path / "figures" / "controls.png").stat().st_size > 0
    assert kept[0]["networks"] == 10


def test_steps_of_a_network_count_once(tmp_path, monkeypatch):
    seeds = controlled_seeds(8)
    steps = [seeds.assign(left=seeds["left"] / 2**k) for k in range(4)]
    pd.concat(steps).to_csv(tmp_path / "controls.csv", index=False)
    monkeypatch.setattr(verdicts, "RESULTS", tmp_path)
    family = next(
        family for family in verdicts.FAMILIES if family.claims[0].property == "pruned"
    )
    found = family.check().iloc[0]
    # Eight that are pruned, and eight that they are compared with.
    assert found["n"] == 16
