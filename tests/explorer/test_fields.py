"""Values of a request are what they should be, or the answer says what they should."""

import pytest

from robustkit.explorer._fields import Fields, RequestError


def fields(**values):
    return Fields(values, ["a", "view"])


@pytest.mark.parametrize("given", [3, "3", "0003"])
def test_an_integer_comes_as_number_or_text(given):
    assert fields(a=given).integer("a", 0, 9) == 3


@pytest.mark.parametrize(
    "given",
    [-1, 10, "10", 10**30, "9" * 30, "9" * 5000, 1.0, True, None, "", "-1", "+1", " 1",
     "1_0", "0x1", "٣", [], {}, "1e3", float("nan")],
)  # fmt: skip
def test_what_is_no_integer_in_range_is_refused(given):
    message = "field 'a' must be an integer from 0 to 9. Got"
    with pytest.raises(RequestError, match=message) as error:
        fields(a=given).integer("a", 0, 9)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("given", [0, 0.5, 1])
def test_a_number(given):
    assert fields(a=given).number("a", 0, 1) == given


@pytest.mark.parametrize(
    "given", [-0.1, 1.1, float("nan"), float("inf"), True, "0.5", None, [0.5], 10**400]
)
def test_what_is_no_number_in_range_is_refused(given):
    with pytest.raises(RequestError, match="'a' must be a number from 0 to 1"):
        fields(a=given).number("a", 0, 1)


@pytest.mark.parametrize("given", ["z", "", None, 1, ["x"], {}])
def test_a_choice(given):
    assert fields(a="x").choice("a", ["x", "y"]) == "x"
    with pytest.raises(RequestError, match="'a' must be one of x, y"):
        fields(a=given).choice("a", ["x", "y"])


@pytest.mark.parametrize("given", ["", "1234", 1, None])
def test_a_text(given):
    assert fields(a="123").text("a", 3) == "123"
    with pytest.raises(RequestError, match="'a' must be a string of 1 to 3 char"):
        fields(a=given).text("a", 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], []), ("", []), ("1", [1]), ("2,0,2", [2, 0, 2]), ([0, 3], [0, 3])],
)
def test_integers(given, expected):
    assert fields(a=given).integers("a", 4, 3) == expected


@pytest.mark.parametrize(
    "given",
    ["4", "0,1,2,3", [4], [-1], [True], [1.0], "1,", ",", "1,,2", "-1", "a", None, 3,
     [[1]], "0," * 9999, [10**30]],
)  # fmt: skip
def test_what_is_no_list_of_indices_is_refused(given):
    with pytest.raises(RequestError, match="'a' must be at most 3 integers from 0 to"):
        fields(a=given).integers("a", 4, 3)


def test_numbers():
    assert fields(a=[1, -0.5]).numbers("a", 2) == [1.0, -0.5]
    assert fields(a=[]).numbers("a", 2) == []


@pytest.mark.parametrize(
    "given",
    [None, 1, "1,2", {}, [3], ["1"], [None], [True], [10**400], [float("nan")], [[1]]],
)
def test_what_is_no_list_of_numbers_is_refused(given):
    with pytest.raises(RequestError, match="'a' must be a list of numbers from -2 to"):
        fields(a=given).numbers("a", 2)


def test_what_is_missing_or_unknown_is_named():
    with pytest.raises(RequestError, match="the field 'a' is missing"):
        fields().integer("a", 0, 1)
    with pytest.raises(RequestError, match="unknown field 'veiw', did you mean 'view'"):
        fields(veiw=1)
    with pytest.raises(RequestError, match="must be a JSON object"):
        Fields([1], [])
    assert fields().integer("a", 0, 1, default=1) == 1
    assert fields().choice("a", ["x"], default="x") == "x"
