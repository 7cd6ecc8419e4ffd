"""Recorded results are compared to the bit."""

import copy

import numpy as np
import pandas as pd
import torch

from benchmarks.same_results.__main__ import compare, main, plain
from benchmarks.same_results.models import ROOMS


def test_equal_results_do_not_differ():
    results = plain(
        {"a": torch.ones(3), "b": [1.0, np.nan], "c": pd.Series(["x", "y"])}
    )
    n_compared, lines = compare(results, copy.deepcopy(results))
    assert n_compared == 4
    assert lines == []


def test_difference_names_path_and_size():
    before, after = plain({"a": {"b": [1.0, 2.0]}}), plain({"a": {"b": [1.0, 2.5]}})
    assert compare(before, after)[1] == ["a/b: 1 of 2 values, by 0.5 at most"]


def test_difference_sees_another_type_and_what_is_gone_or_new():
    before = plain({"a": np.ones(2), "gone": 1})
    after = plain({"a": np.ones(2, np.float32), "new": 1})
    assert compare(before, after)[1] == [
        "a: float64 of shape (2,) became float32 of shape (2,)",
        "gone: is gone",
        "new: is new",
    ]


def test_command_exits_with_1_on_a_difference(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ROOMS, "fake", lambda: [("x", np.arange(3))])
    file = tmp_path / "results.joblib"
    assert main(["record", str(file), "fake"]) == 0
    assert main(["compare", str(file), "fake"]) == 0
    monkeypatch.setitem(ROOMS, "fake", lambda: [("x", np.arange(3) * 2)])
    assert main(["compare", str(file), "fake"]) == 1
    assert "x: 2 of 3 values, by 2 at most" in capsys.readouterr().out
