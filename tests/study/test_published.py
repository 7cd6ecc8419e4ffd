"""The published numbers, read once more from the paper by another way."""

import pytest
from robustkit.study._words import is_robustness, words

from robustkit.study._published import F1_SCORES, TABLES

# Of table 1 and 2, the values of rho in the words of the paper.
BY_HAND = {
    (1, "n_parameters", "one_pixel_error_rate"): (-0.58, -0.40),
    (1, "density", "fgsm_average_confidence"): (-0.66, -0.52),
    (1, "directed_path_length", "growing_average_eps"): (-0.30, -0.22),
    (1, "average_eccentricity", "one_pixel_average_confidence"): (0.21, 0.14),
    (1, "average_eccentricity", "fgsm_error_rate"): (None, None),
    (2, "n_parameters", "growing_average_eps"): (0.66, 0.46),
    (2, "directed_path_length", "fgsm_average_confidence"): (0.64, 0.45),
    (2, "average_eccentricity", "one_pixel_error_rate"): (-0.34, -0.22),
}


def rows():
    return {
        (table.number, row.property_columns[0], row.measure_column): row
        for table in TABLES
        for row in table.rows
    }


@pytest.mark.parametrize("place", BY_HAND)
def test_cells_stand_where_the_paper_has_them(place):
    row = rows()[place]
    assert (row.rho, row.tau) == BY_HAND[place]


def test_every_table_has_four_properties_by_five_measures():
    assert len(rows()) == 2 * 4 * 5
    assert [table.population for table in TABLES] == ["graphs", "pruning"]
    empty = [place for place, row in rows().items() if row.rho is None]
    assert len(empty) == (2 + 3) + 3
    for row in rows().values():
        assert (row.rho is None) == (row.tau is None)
        assert row.rho is None or abs(row.tau) < abs(row.rho) or row.tau * row.rho < 0


def test_signs_that_contradict_each_other_are_printed_as_published():
    contradicted = {
        place
        for place, row in rows().items()
        if row.rho is not None and row.rho * row.tau < 0
    }
    assert contradicted == {
        (2, "n_parameters", "one_pixel_average_confidence"),
        (2, "density", "growing_average_eps"),
    }


def test_columns_are_ones_that_a_study_knows():
    for row in rows().values():
        assert is_robustness(row.measure_column)
        for column in row.property_columns:
            assert words(column) != column or column in ("density",)


def test_scores_are_low_mean_and_high():
    for low, mean, high in F1_SCORES.values():
        assert low < mean < high
