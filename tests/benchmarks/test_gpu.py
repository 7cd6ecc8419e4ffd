"""The script for a GPU runs, small, where there is none."""

import json

import pytest
import torch

from benchmarks import gpu, report, store

NAMES = ["equal", "train", "attack", "many", "resnet"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What a dry run keeps."""
    path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    gpu.main(["--dry-run", "--out", str(path)])
    return path


def test_dry_run_runs_every_part(kept):
    parts = json.loads(kept.read_text("utf-8"))
    assert list(parts) == NAMES == [part.__name__ for part in gpu.PARTS]
    for entry in parts.values():
        assert entry["rows"]
        assert all(len(row) == len(report.GPU_HEADINGS) for row in entry["rows"])
    # On the CPU both sides are one.
    assert all(row[1] in ("0.0e+00", "100.00%") for row in parts["equal"]["rows"])


def test_parts_that_were_measured_are_not_measured_again(kept, monkeypatch, capsys):
    parts = json.loads(kept.read_text("utf-8"))
    del parts["resnet"]
    kept_parts = dict(parts)
    gpu.measure(gpu.DRY, parts, 450, lambda entries: kept_parts.update(entries))
    assert list(kept_parts) == NAMES
    assert capsys.readouterr().out.count("measured before") == 4


def test_a_part_without_enough_time_is_left_for_the_next_run(capsys):
    assert gpu.measure(gpu.DRY, {}, 30, None) == {}
    assert capsys.readouterr().out.count("no time left") == len(NAMES)


def test_all_parts_fit_into_eight_minutes():
    assert sum(gpu.PARTS.values()) <= 480


def test_table_is_written_by_the_command(kept, tmp_path):
    parts = json.loads(kept.read_text("utf-8"))
    gpu.write_table(parts, tmp_path / "table.txt")
    table = (tmp_path / "table.txt").read_text("utf-8")
    page = report.markdown({}, on_gpu=parts)
    for row in report.gpu_rows(parts):
        assert f"* - {row[0]}\n" in table
        assert f"| {row[0]} |" in page


def test_pages_say_what_is_kept():
    path = store.HERE / "gpu.json"
    parts = json.loads(path.read_text("utf-8")) if path.exists() else {}
    assert gpu.TABLE.read_text("utf-8") == report.gpu_as_rst(parts)
    results = (store.HERE / "RESULTS.md").read_text("utf-8")
    expected = report.markdown({}, on_gpu=parts)
    assert expected[expected.index("## Many networks on a GPU") :].strip() in results


def test_without_a_gpu_it_refuses_to_measure(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        gpu.main([])
    assert "torch sees no CUDA device here" in capsys.readouterr().err
