"""Families of graphs alike in size and degree, and two protocols on the same graphs."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from papers.random_graphs import crossed, matched_families, protocols, tables, verdicts
from papers.random_graphs.effects import MEASURES
from papers.random_graphs.prior import MatchedFamilyPrior, MatchedPrior
from robustkit.attacks import FGSMAttack
from robustkit.correlation import RobustnessCorrelator
from robustkit.networks import INITS
from tests.study.studies import small_data

GENERATORS = matched_families.SPACE["prior__generator"]


@given(
    generator=st.sampled_from(GENERATORS),
    n_neighbors=st.sampled_from(matched_families.SPACE["prior__n_neighbors"]),
    seed=st.integers(0, 99),
)
def test_families_differ_only_in_how_the_edges_lie(generator, n_neighbors, seed):
    prior = MatchedFamilyPrior(generator, n_neighbors=n_neighbors)
    graph = prior.sample(seed)
    assert len(graph.sources) == len(graph.sinks) == 64
    assert graph.n_nodes == 200 + 2 * 64
    n_inner = graph.edges.shape[1] - 2 * prior.n_links
    expected = 200 * n_neighbors
    # The number of edges between pairs that are drawn one by one varies: six standard
    # deviations. Others lack those of their first vertices, or that were made twice.
    is_drawn = generator in ("erdos_renyi", "stochastic_block")
    slack = 6 * np.sqrt(expected) if is_drawn else 0.05 * expected
    assert abs(n_inner - expected) <= slack


@pytest.mark.parametrize("generator", ["erdos_renyi", "stochastic_block"])
def test_edges_drawn_one_by_one_are_as_many_on_average(generator):
    prior = MatchedFamilyPrior(generator, n_neighbors=4)
    found = [prior.sample(seed).edges.shape[1] - 512 for seed in range(50)]
    assert abs(np.mean(found) - 800) <= 4 * stats.sem(found)


def test_small_world_of_the_families_is_that_of_the_crossed_design():
    ours, theirs = (
        prior.sample(3).edges
        for prior in (MatchedFamilyPrior(), MatchedPrior(200, 4, 0.1))
    )
    assert_array_equal(ours, theirs)


def test_blocks_have_rarer_edges_between_them():
    prior = MatchedFamilyPrior("stochastic_block", n_neighbors=8)._inner_prior()
    n_pairs, n_within = 200 * 199 / 2, 4 * 50 * 49 / 2
    n_expected = prior.edge_probability * (n_within + 0.1 * (n_pairs - n_within))
    assert_allclose(n_expected, 1600)


def test_families_study_is_carried_out_and_published(tmp_path):
    study = matched_families.make(
        tmp_path / "f.store",
        epochs=1,
        extra=False,
        attacks={"fgsm": FGSMAttack(eps=0.1)},
        correlator=RobustnessCorrelator(n_bootstrap=0),
        prior=MatchedFamilyPrior(n_nodes=40, n_links=100),
        n_graphs=5,
        param_space=matched_families.SPACE | {"prior__n_neighbors": [2]},
    )
    study.fit(*small_data(100, 20))
    table = crossed.rows_of_store(tmp_path / "f.store")
    assert sorted(table["prior__generator"].unique()) == sorted(GENERATORS)
    assert len(crossed.whole_graphs(table, len(INITS))) == 5 * 6


@pytest.mark.parametrize("name", ["crossed", "retrained", "ends", "matched_families"])
def test_studies_keep_their_rows_under_the_name_of_their_module(name):
    """As `run` looks for published rows there, to continue them."""
    module = import_module(f"papers.random_graphs.{name}")
    rows = crossed.read_published(name)
    assert set(module.make(None).inits) == set(rows["init"])
    assert "linf_median_distance" in rows
    assert set(module.make(None).param_space) <= {*rows}


def families_table(family=0.0, degree=0.0, noise=1.0, seed=0):
    """Sixty graphs from six initialisations; families and degrees differ as given."""
    rng = np.random.default_rng(seed)
    graphs = pd.DataFrame({"graph": range(60)})
    kind = graphs["graph"].to_numpy() % 5
    level = graphs["graph"].to_numpy() // 5 % 3
    graphs["prior__generator"] = np.array(GENERATORS)[kind]
    graphs["prior__n_neighbors"] = np.array([2, 4, 8])[level]
    own = noise * rng.normal(size=60) + family * kind + degree * level
    columns = [*matched_families.STRUCTURE, *MEASURES]
    return pd.concat(
        [
            graphs.assign(init=init, **dict.fromkeys(columns, own + i))
            for i, init in enumerate(INITS)
        ]
    )


def test_rows_of_families_are_means_over_graphs(tmp_path):
    table = families_table(family=2.0)
    matched_families.write(table, tmp_path)
    page = pd.read_csv(tmp_path / "matched_families.csv").set_index("family")
    graphs = table.groupby("graph")["linf_median_distance"].mean()
    for k, generator in enumerate(GENERATORS):
        values = graphs[graphs.index % 5 == k]
        low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
        text = page.loc[generator.replace("_", " "), "median distance, maximum norm"]
        mean, half = map(float, text.split(" ± "))
        assert_allclose([mean - half, mean + half], [low, high], atol=2e-4)
        assert page["graphs"].iloc[k] == 12
    inits = pd.read_csv(tmp_path / "matched_families_inits.csv")
    assert len(inits) == 6
    shares = pd.read_csv(tmp_path / "matched_families_variance.csv")
    assert shares["measure"].tolist() == list(MEASURES.values())


def test_share_between_families_is_that_of_the_effect():
    measure = "linf_median_distance"
    clear = matched_families.between(families_table(family=2.0, noise=1.0), measure)
    # Variance 4 * 2 between families, 1 within.
    assert abs(clear["family"] - 8 / 9) < 0.05
    assert clear["degree"] < 0.05
    by_chance = [
        matched_families.between(families_table(seed=seed), measure)["family"]
        for seed in range(50)
    ]
    assert np.median(by_chance) < 0.02
    only_degree = matched_families.between(
        families_table(degree=3.0, noise=0.01), measure
    )
    assert only_degree["degree"] > 0.999
    assert only_degree["family"] < 0.001


def test_families_are_in_the_claims(tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "RESULTS", tmp_path)
    table = families_table().assign(error="")
    table.to_csv(tmp_path / "matched_families.csv", index=False)
    found = verdicts.families()
    assert found["watts_strogatz"].sum() == found["barabasi_albert"].sum() == 12 * 6
    family = next(f for f in verdicts.FAMILIES if f.rows is verdicts.families)
    known = {*found, *matched_families.STRUCTURE}
    for claim in family.claims:
        assert {claim.property, *claim.given} <= known


@pytest.fixture
def both():
    """The same fifty graphs under two protocols; under the second, nothing relates."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    correct = pd.DataFrame({"x": x, "y": x + 0.3 * rng.normal(size=50)})
    return correct, correct.assign(y=rng.normal(size=50))


def test_protocols_are_compared_on_the_same_graphs(both):
    found = protocols.compare(*both, "x", "y")
    for name, table in zip(("correct", "mismatched"), both, strict=True):
        assert_allclose(found[name], stats.spearmanr(table["x"], table["y"]).statistic)
    assert_allclose(found["difference"], found["mismatched"] - found["correct"])
    assert found["low"] < found["difference"] < found["high"] < 0


def test_intervals_between_protocols_cover_no_difference():
    rng = np.random.default_rng(0)
    n_covered = 0
    for _ in range(40):
        x = rng.normal(size=40)
        one, other = (
            pd.DataFrame({"x": x, "y": x + rng.normal(size=40)}) for _ in range(2)
        )
        found = protocols.compare(one, other, "x", "y")
        n_covered += found["low"] <= 0 <= found["high"]
    # Of 40 intervals of 95 %, at least 34 in all but one of two hundred.
    assert n_covered >= 34


@pytest.mark.parametrize(
    ("low", "high", "published", "nearer"),
    [
        (0.1, 0.6, 0.1, "correct"),
        (0.1, 0.6, 0.5, "mismatched"),
        (-0.1, 0.6, 0.5, "not told apart"),
        (0.1, 0.6, None, "–"),
        # Where no graph differs, there is no interval.
        (np.nan, np.nan, 0.5, "not told apart"),
    ],
)
def test_nearer_protocol_is_told_where_they_differ(low, high, published, nearer):
    found = {"correct": 0.2, "mismatched": 0.55, "low": low, "high": high}
    assert protocols._nearer(found, published) == nearer


def test_published_protocols_have_the_same_graphs_and_initialisation():
    correct, mismatched = protocols.read()
    assert len(correct) == 60
    assert_array_equal(correct["n_parameters"], mismatched["n_parameters"])
    assert_array_equal(correct.index, mismatched.index)


def test_a_graph_with_two_networks_is_refused(tmp_path):
    row = {"graph_seed": [1, 1], "init": ["normal"] * 2, "error": ["", ""]}
    for name in ("graphs", "mismatched"):
        pd.DataFrame(row).to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(ValueError, match="one network under each protocol"):
        protocols.read(tmp_path)


def test_tables_on_the_page_are_those_of_the_rows():
    folder = protocols.RESULTS / "tables"
    means = pd.read_csv(folder / "protocols_means.csv").set_index("measure")
    correct, mismatched = protocols.read()
    row = means.loc["clean accuracy"]
    assert_allclose(row["correct"], correct["clean_accuracy"].mean(), atol=5e-5)
    assert_allclose(row["mismatched"], mismatched["clean_accuracy"].mean(), atol=5e-5)
    assert "matched_families" in tables.VERSION_2
