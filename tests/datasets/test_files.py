"""Where files lie, and that only the right ones are opened."""

import hashlib
from pathlib import Path

import pytest

from robustkit.datasets._files import data_folder, open_verified
from robustkit.exceptions import CorruptFileError

CONTENT = b"one two three"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_the_right_file_is_opened_at_its_start(tmp_path, algorithm):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    checksum = f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}"
    with open_verified(path, checksum) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:6], b"one two thrEE", b""])
def test_a_wrong_file_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    message = f"{path} is corrupt .* sha256 should be {SHA256}, but is {found}"
    with (
        pytest.raises(CorruptFileError, match=message),
        open_verified(path, f"sha256:{SHA256}"),
    ):
        pass


def test_what_is_read_is_what_was_checked(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    with open_verified(path, f"sha256:{SHA256}") as file:
        other.replace(path)
        assert file.read() == CONTENT


def test_the_folder_is_the_parameter_then_the_variable_then_the_home(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("ROBUSTKIT_DATA", str(tmp_path / "variable"))
    assert data_folder("mnist", tmp_path) == tmp_path / "mnist"
    assert data_folder("mnist", "~/x") == Path.home() / "x" / "mnist"
    assert data_folder("mnist") == tmp_path / "variable" / "mnist"
    monkeypatch.delenv("ROBUSTKIT_DATA")
    assert data_folder("mnist") == Path.home() / "robustkit_data" / "mnist"
