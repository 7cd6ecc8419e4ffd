"""Labels of columns, and numbers as a reader expects them."""

import numpy as np
import pytest

from robustkit.study.report._labels import (
    attack_label,
    describe,
    interval,
    is_robustness,
    label,
    listed,
    number,
    p_value,
    robust_sign,
    split_measure,
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
def test_label_of_column(column, said):
    assert label(column) == said


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
def test_measures_of_attacks_are_recognised(column, parts, is_one):
    assert split_measure(column) == parts
    assert is_robustness(column) == is_one


def test_robust_sign_of_measures():
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
def test_number_format(value, digits, text):
    assert number(value, digits) == text


def test_format_of_intervals_and_p_values():
    assert interval(-0.5, 0.25) == "[−0.50, 0.25]"
    assert interval(np.nan, np.nan) == p_value(np.nan) == "–"
    assert p_value(0.0009) == "< 0.001"
    assert p_value(0.03) == "0.030"


def test_listed_joins_names():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_attack_label_keeps_unknown_names():
    assert attack_label("pgd") == "PGD"
    assert attack_label("mine") == "mine"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (None, "None"),
        (0.1, "0.1"),
        ([1, "a"], "[1, a]"),
        ({"a": 1, "b": [2]}, "a: 1, b: [2]"),
        ({"robustkit.FGSMAttack": {"eps": 0.1}}, "FGSMAttack(eps=0.1)"),
        (
            {"fgsm": [{"robustkit.FGSMAttack": {"eps": 0.1, "clip": [0, 1]}}, None]},
            "fgsm: [FGSMAttack(eps=0.1, clip=[0, 1]), None]",
        ),
        ({"one": {"two": 3}}, "one: two: 3"),
        ({}, ""),
    ],
)
def test_describe_writes_settings_on_one_line(value, text):
    assert describe(value) == text
