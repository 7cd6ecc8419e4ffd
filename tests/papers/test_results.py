"""Results survive a kill, and their intervals are Student's."""

import numpy as np
import pytest
from scipy import stats

from papers._results import ResultTable, half_width, with_interval

KEYS = ["attack", "eps", "seed"]
FIRST = {"attack": "none", "eps": 0.0, "seed": 0}
SECOND = {"attack": "full", "eps": 0.05, "seed": 0}


@pytest.fixture
def table(tmp_path):
    return ResultTable(tmp_path / "new" / "results.csv", KEYS)


def test_nothing_is_finished_before_the_first_run(table):
    assert not table.has(**FIRST)
    assert len(table.read()) == 0


def test_a_finished_run_is_found_by_another_process(table):
    table.add([FIRST | {"clean": 0.98}])
    again = ResultTable(table.path, KEYS)
    assert again.has(**FIRST)
    assert not again.has(**SECOND)
    assert not again.has(**FIRST | {"seed": 1})


def test_rows_may_measure_different_things(table):
    table.add([FIRST | {"clean": 0.98}])
    table.add([SECOND | {"robust": 0.5}])
    rows = table.read()
    assert rows["attack"].tolist() == ["none", "full"]
    np.testing.assert_array_equal(rows["clean"], [0.98, np.nan])
    np.testing.assert_array_equal(rows["robust"], [np.nan, 0.5])


def test_a_column_that_is_newer_than_the_file_has_its_default(tmp_path):
    path = tmp_path / "results.csv"
    ResultTable(path, KEYS).add([FIRST])
    table = ResultTable(path, [*KEYS, "smoothing"], {"smoothing": 0.0})
    assert table.has(**FIRST, smoothing=0.0)
    table.add([FIRST | {"smoothing": 0.1}])
    assert table.read()["smoothing"].tolist() == [0.0, 0.1]


def test_numbers_keep_their_full_precision(table):
    table.add([FIRST | {"clean": 1 / 3}])
    assert table.read()["clean"].tolist() == [1 / 3]


def test_a_half_written_file_changes_nothing(table):
    table.add([FIRST])
    table.path.with_suffix(".part").write_text("attack,eps,se")
    table.add([SECOND])
    assert table.has(**FIRST)
    assert table.has(**SECOND)


def test_half_width_is_that_of_students_interval(global_random_seed):
    values = np.random.RandomState(global_random_seed).normal(size=5)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([np.nan], ""),
        ([1.234], "1.23"),
        ([1.0, 1.0, np.nan], "1.00\u00a0±\u00a00.00"),
    ],
)
def test_interval_says_no_more_than_is_known(values, text):
    assert with_interval(values) == text


def test_a_number_with_many_digits_is_found_again(table):
    table.add([FIRST | {"eps": 2 / 255}])
    assert table.has(**FIRST | {"eps": 2 / 255})
    assert not table.has(**FIRST | {"eps": 2.001 / 255})
