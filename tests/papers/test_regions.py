"""Slopes are those that the models were made with; pairs are the nearest."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.utils import Bunch

from papers.regions import experiment as regions


def models(ratio, robust, batch_size, clean=0.9):
    """Models of which only what the slopes look at is given."""
    n_models = len(ratio)
    table = pd.DataFrame(
        {
            "batch_size": batch_size,
            "seed": np.arange(n_models) % 3,
            "epochs": 10,
            "prs_ratio": ratio,
            "inclusion_ratio": 1 - np.asarray(ratio),
            "clean_accuracy": clean,
        }
    )
    return table.assign(**dict.fromkeys(regions.MEASURES, robust))


def slope_of(found, **kind):
    """The one slope of the first measure that is meant."""
    kind = {"cause": "prs_ratio", "measure": regions.MEASURES[0]} | kind
    rows = found[[all(row[name] == kind[name] for name in kind) for _, row in
                  found.iterrows()]]  # fmt: skip
    (slope,) = rows["slope"]
    return slope


def test_pooled_slope_and_slope_within_a_batch_size_may_differ_in_sign():
    ratio = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    batch_size = np.repeat([64, 2048], 3)
    robust = 0.5 * ratio - (batch_size == 2048) * 0.9
    found = regions.slopes(models(ratio, robust, batch_size))
    within = slope_of(found, within=("batch_size",), adjusted=False)
    assert within == pytest.approx(0.5)
    assert slope_of(found, within=(), adjusted=False) < 0
    assert slope_of(
        found, within=("batch_size",), adjusted=False, cause="inclusion_ratio"
    ) == pytest.approx(-0.5)


def test_clean_accuracy_held_fixed_takes_its_share(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    ratio, noise = rng.uniform(size=(2, 30))
    clean = 0.5 + 0.3 * ratio + 0.1 * noise
    table = models(ratio, 2 * clean - 0.1 * ratio, np.repeat([64, 128], 15), clean)
    found = regions.slopes(table)
    assert slope_of(found, within=(), adjusted=True) == pytest.approx(-0.1)
    assert slope_of(found, within=(), adjusted=False) > 0


def test_interval_is_students_over_the_slopes_of_the_seeds(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    n_seeds, ratio = 4, np.array([0.1, 0.3, 0.8])
    own = rng.normal(size=n_seeds)
    table = models(np.tile(ratio, n_seeds), np.outer(own, ratio).ravel(), 64)
    table["seed"] = np.repeat(np.arange(n_seeds), len(ratio))
    row = regions.slopes(table).iloc[0]
    low, high = stats.t.interval(0.95, n_seeds - 1, own.mean(), stats.sem(own))
    assert row["slope"] == pytest.approx(own.mean())
    assert row["half_width"] == pytest.approx((high - low) / 2)


def test_two_seeds_give_no_interval():
    table = models([0.1, 0.5, 0.3, 0.4], [0.9, 0.2, 0.7, 0.1], 64)
    table["seed"] = [0, 0, 1, 1]
    assert regions.slopes(table)["half_width"].isna().all()


@pytest.mark.parametrize(
    ("dataset", "network"), [key for key in regions.SETTINGS if key[1] != "mlp"]
)
def test_every_network_goes_the_whole_way(tmp_path, dataset, network):
    rng = np.random.RandomState(0)
    y = np.arange(40) % 2
    X = (0.4 * y[:, None] + rng.uniform(0, 0.6, size=(40, 192))).astype(np.float32)
    data = Bunch(
        name=dataset, X_train=X[:30], y_train=y[:30], X_test=X[30:], y_test=y[30:],
        image_shape=(3, 8, 8),
    )  # fmt: skip
    settings = regions.SETTINGS[dataset, network] | {
        "epochs": [1, 2], "n_seeds": 1, "n_rivals": 0, "batch_sizes": [16],
        "strengths": [0.8], "smoothings": [0.1],
    }  # fmt: skip
    path = tmp_path / "regions.csv"
    table = regions.ResultTable(path, regions.KEYS, regions.DEFAULTS)
    for _ in range(2):
        regions.run(dataset, network, settings, data, table)
    rows = table.read()
    assert rows[["strength", "smoothing", "epochs"]].to_numpy().tolist() == [
        [0, 0, 1],
        [0, 0, 2],
        [0.8, 0, 2],
        [0, 0.1, 2],
    ]
    assert rows[["prs_ratio", *regions.MEASURES]].stack().between(0, 1).all()


def test_rival_is_the_plain_model_trained_alike_nearest_in_accuracy():
    batch_size, clean = [64, 64, 64, 128], [0.90, 0.95, 0.94, 0.94]
    plain = models([0.1, 0.2, 0.3, 0.4], 0.5, batch_size, clean)
    plain = plain.assign(seed=[0, 0, 1, 0], strength=0.0, epochs=[1, 2, 3, 3])
    other = models([0.05], 0.4, 64, clean=[0.94]).assign(strength=0.8, epochs=3)
    (pair,) = regions.matched(plain, other).to_dict("records")
    assert pair["prs_ratio (plain)"] == 0.2
    assert pair["prs_ratio (regularised)"] == 0.05
    assert pair["strength"] == 0.8


def test_trainings_measure_more_often_what_is_compared_with():
    settings = {"epochs": [5, 10], "n_rivals": 4, "n_seeds": 1}
    settings |= {"batch_sizes": [64, 128], "strengths": [0.8], "smoothings": [0.1]}
    every = list(regions.trainings(settings))
    assert every == [
        (64, 0.0, 0.0, 0, [1, 4, 5, 7, 10]),
        (128, 0.0, 0.0, 0, [5, 10]),
        (64, 0.8, 0.0, 0, [10]),
        (64, 0.0, 0.1, 0, [10]),
    ]
