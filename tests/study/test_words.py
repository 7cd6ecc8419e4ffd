"""Columns in plain words, numbers as a reader expects them."""

import numpy as np
import pytest

from robustkit.study._words import (
    interval,
    is_robustness,
    listed,
    number,
    p_value,
    robust_sign,
    split_measure,
    words,
)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("n_parameters", "number of parameters"),
        ("fgsm_error_rate", "FGSM error rate"),
        ("one_pixel_average_confidence", "One Pixel confidence"),
        ("pgd_robust_accuracy_margin", "PGD robust accuracy (margin)"),
        ("my attack_robust_accuracy", "my attack robust accuracy"),
        ("<b>", "<b>"),
        ("clean_accuracy", "clean accuracy"),
    ],
)
def test_words(column, said):
    assert words(column) == said


@pytest.mark.parametrize(
    ("column", "parts", "is_one"),
    [
        ("pgd_robust_accuracy", ("pgd", "robust_accuracy"), True),
        ("pgd_robust_accuracy_ce", ("pgd", "robust_accuracy_ce"), True),
        ("pgd_zero_gradient_share", ("pgd", "zero_gradient_share"), False),
        ("clean_accuracy", (None, "clean_accuracy"), False),
        ("error_rate", (None, "error_rate"), False),
    ],
)
def test_measures_of_attacks_are_told_from_others(column, parts, is_one):
    assert split_measure(column) == parts
    assert is_robustness(column) == is_one


def test_more_of_a_measure_is_more_or_less_robust():
    assert robust_sign("pgd_robust_accuracy") == robust_sign("x_average_eps") == 1
    assert robust_sign("pgd_error_rate") == -1
    assert robust_sign("pgd_average_confidence") == 0


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-0.126, 2, "−0.13"),
        (-0.001, 2, "0.00"),
        (np.nan, 2, "–"),
        (None, 2, "–"),
        (70_000, 0, "70,000"),
    ],
)
def test_numbers(value, digits, text):
    assert number(value, digits) == text


def test_intervals_and_p_values():
    assert interval(-0.5, 0.25) == "[−0.50, 0.25]"
    assert interval(np.nan, np.nan) == p_value(np.nan) == "–"
    assert p_value(0.0009) == "< 0.001"
    assert p_value(0.03) == "0.030"


def test_lists():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
