"""Settings on one line."""

import pytest

from robustkit.study._settings_text import describe


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
def test_describe(value, text):
    assert describe(value) == text
