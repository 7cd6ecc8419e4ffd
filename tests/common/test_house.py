"""The guards of the house see what they look for."""

import pytest

from tests.common.house import (
    all_private_imports,
    long_parameter_lists,
    median_length,
    private_imports,
    unannotated,
    unannotated_attributes,
)

TEN = ", ".join("abcdefghij")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f"def inner({TEN}): pass", ["inner"]),
        (f"def inner(*, {TEN}): pass", ["inner"]),
        ("def inner(a, b, c, d, e, f, g, h, i): pass", []),
        ("def inner(a, b, c, d, e, f, g, h, i, **j): pass", ["inner"]),
        (f"def shown({TEN}): pass", []),
        (f"class Shown:\n def method(self, {TEN}): pass", []),
        (f"class Shown:\n def _method(self, {TEN}): pass", ["_method"]),
        (f"class Inner:\n def method(self, {TEN}): pass", ["method"]),
        (f"class Inner:\n def __init__(self, {TEN}): pass", []),
        (f"def shown(a):\n def closure({TEN}): pass", ["closure"]),
    ],
)
def test_guard_counts_parameters_of_inner_functions(source, expected):
    assert long_parameter_lists(source, {"shown", "Shown"}, 9) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from robustkit.graphs._prior import GraphPrior", ["robustkit.graphs._prior"]),
        (
            "def f():\n from robustkit.graphs._prior import x",
            ["robustkit.graphs._prior"],
        ),
        ("from robustkit.graphs import GraphPrior", []),
        ("from robustkit.study._plan import Plan", []),
        ("from robustkit._tensors import as_tensor", []),
    ],
)
def test_guard_sees_private_imports_of_other_rooms(source, expected):
    assert private_imports(source, "study") == expected


def test_guard_collects_private_imports(tmp_path):
    (tmp_path / "study").mkdir()
    for name in ("__init__", "_table"):
        path = tmp_path / "study" / f"{name}.py"
        path.write_text("from robustkit.graphs._prior import draw\n")
    assert len(all_private_imports(tmp_path)) == 2


def test_guard_takes_the_median(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path, n in zip(paths, (1, 5, 100), strict=True):
        path.write_text("x = 1\n" * n)
    assert median_length(paths) == 5


def test_guard_sees_what_is_not_annotated():
    def function(a: int, b, *, c=1):
        return a

    def annotated(self, a: int, **b: object) -> int:
        return a

    assert unannotated(function) == ["b", "c", "return"]
    assert unannotated(annotated) == []


def test_guard_sees_attributes_that_are_not_annotated():
    class Base:
        """Do nothing."""

        first_: int

    class Estimator(Base):
        """Do nothing.

        Attributes
        ----------
        first_, second_ : int
            Numbers.

        third_ : int
            Computed.
        """

        @property
        def third_(self):
            return 3

    assert unannotated_attributes(Estimator) == ["second_"]
