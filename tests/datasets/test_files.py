"""Where the files of a data set are, whether they are intact, how they come here."""

import hashlib
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from robustkit.datasets import _files
from robustkit.datasets._files import RemoteFile, data_folder, ensure, open_verified
from robustkit.exceptions import CorruptFileError, DownloadError
from tests.datasets.loopback import cut, error, events, half, halting, whole
from tests.processes import PATIENCE, started

PLAIN = b"one two three"
PLAIN_SHA256 = hashlib.sha256(PLAIN).hexdigest()


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_open_verified_opens_an_intact_file_at_its_start(tmp_path, algorithm):
    path = tmp_path / "file"
    path.write_bytes(PLAIN)
    checksum = f"{algorithm}:{hashlib.new(algorithm, PLAIN).hexdigest()}"
    with open_verified(path, checksum) as file:
        assert file.read() == PLAIN


@pytest.mark.parametrize("content", [PLAIN[:6], b"one two thrEE", b""])
def test_open_verified_refuses_a_corrupt_file(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    message = f"{path} is corrupt .* sha256 should be {PLAIN_SHA256}, but is {found}"
    with (
        pytest.raises(CorruptFileError, match=message),
        open_verified(path, f"sha256:{PLAIN_SHA256}"),
    ):
        pass


def test_what_is_read_is_what_was_checked(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PLAIN)
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    with open_verified(path, f"sha256:{PLAIN_SHA256}") as file:
        other.replace(path)
        assert file.read() == PLAIN


def test_the_folder_is_the_parameter_then_the_variable_then_the_home(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("ROBUSTKIT_DATA", str(tmp_path / "variable"))
    assert data_folder("mnist", tmp_path) == tmp_path / "mnist"
    assert data_folder("mnist", "~/x") == Path.home() / "x" / "mnist"
    assert data_folder("mnist") == tmp_path / "variable" / "mnist"
    monkeypatch.delenv("ROBUSTKIT_DATA")
    assert data_folder("mnist") == Path.home() / "robustkit_data" / "mnist"


CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = b"something else"
OTHER_SHA256 = hashlib.sha256(OTHER).hexdigest()


def remote(*urls, sha256=SHA256):
    return RemoteFile("file.gz", urls, f"sha256:{sha256}", len(CONTENT))


def fetch(folder, *urls, **options):
    return ensure(remote(*urls), folder, delay=0.01, **options)


def closed_port():
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/file"


def in_another_process(folder, url):
    """Start the same download elsewhere, until the end of the block."""
    code = (
        "import sys; from pathlib import Path\n"
        "from robustkit.datasets._files import RemoteFile, ensure\n"
        "url, sha256, folder = sys.argv[1:]\n"
        f"remote = RemoteFile('file.gz', (url,), 'sha256:' + sha256, {len(CONTENT)})\n"
        "ensure(remote, Path(folder), delay=0.01)\n"
    )
    return started(sys.executable, "-c", code, url, SHA256, str(folder))


def test_a_missing_file_is_downloaded(server, tmp_path):
    server.answers = [whole(CONTENT)]
    path = fetch(tmp_path / "new" / "folder", server.url)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file.gz"]


def test_downloaded_file_has_the_permissions_of_a_new_file(server, tmp_path):
    server.answers = [whole(CONTENT)]
    path = fetch(tmp_path, server.url)
    other = tmp_path / "other"
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_file_that_is_there_asks_nobody(server, tmp_path):
    (tmp_path / "file.gz").write_bytes(b"mine")
    assert fetch(tmp_path, server.url).read_bytes() == b"mine"
    assert server.n_requests == 0


def test_a_missing_file_is_an_error_if_downloads_are_forbidden(server, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"file\.gz does not exist.*forbids"):
        fetch(tmp_path, server.url, download_if_missing=False)
    assert server.n_requests == 0


@pytest.mark.parametrize(
    "failure",
    [half(CONTENT), cut(CONTENT), error(503), error(429), whole(OTHER)],
    ids=["half", "cut", "unavailable", "too many requests", "wrong content"],
)
def test_a_failure_is_tried_again(server, tmp_path, failure):
    server.answers = [failure, failure, whole(CONTENT)]
    assert fetch(tmp_path, server.url).read_bytes() == CONTENT
    assert server.n_requests == 3


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (half(CONTENT), "got only 51200 out of 102400 bytes"),
        (cut(CONTENT), "[Cc]onnection reset"),
        (error(500), "HTTP Error 500"),
        (whole(OTHER), f"{OTHER_SHA256}.*differs from expected .{SHA256}"),
    ],
    ids=["half", "cut", "server error", "wrong content"],
)
def test_a_lasting_failure_is_told_and_leaves_nothing(
    server, tmp_path, failure, reason
):
    server.answers = [failure]
    message = rf"Could not download .*file\.gz \(tries: 2\); {server.url}: .*{reason}"
    with pytest.raises(DownloadError, match=message):
        fetch(tmp_path, server.url, n_retries=1)
    assert server.n_requests == 2
    assert not os.listdir(tmp_path)


def test_a_final_answer_is_not_asked_for_again(server, tmp_path):
    server.answers = [error(404)]
    with pytest.raises(DownloadError, match=r"tries: 1.*HTTP Error 404"):
        fetch(tmp_path, server.url)
    assert server.n_requests == 1


def test_a_refused_connection_is_told(tmp_path):
    with pytest.raises(DownloadError, match=r"[Cc]onnection refused"):
        fetch(tmp_path, closed_port(), n_retries=1)
    assert not os.listdir(tmp_path)


def test_another_address_is_tried_at_once(server, tmp_path):
    server.answers = [whole(CONTENT)]
    path = fetch(tmp_path, closed_port(), server.url, n_retries=0)
    assert path.read_bytes() == CONTENT


def test_each_wait_is_twice_as_long(monkeypatch, server, tmp_path):
    waits = []
    monkeypatch.setattr(_files.time, "sleep", waits.append)
    server.answers = [error(500)]
    with pytest.raises(DownloadError, match="tries: 4"):
        ensure(remote(server.url), tmp_path, delay=0.5)
    assert waits == [0.5, 1.0, 2.0]


def test_a_silent_server_is_given_up(monkeypatch, server, tmp_path):
    monkeypatch.setattr(_files, "PATIENCE", 0.2)
    arrived, go_on = events()
    server.answers = [halting(CONTENT, arrived, go_on)]
    try:
        with pytest.raises(DownloadError, match=r"no byte arrived for 0\.2 seconds"):
            fetch(tmp_path, server.url, n_retries=0)
    finally:
        go_on.set()
    assert not os.listdir(tmp_path)


def test_two_processes_at_once_both_end_with_a_whole_file(server, tmp_path):
    both = [events(), events()]
    server.answers = [halting(CONTENT, *pair) for pair in both]
    first, second = (in_another_process(tmp_path, server.url) for _ in both)
    with first as one, second as other:
        for arrived, _ in both:
            assert arrived.wait(PATIENCE)
        # Both are in the middle of it, and who looks for the file finds no half.
        assert not (tmp_path / "file.gz").exists()
        assert len(os.listdir(tmp_path)) == 2
        for _, go_on in both:
            go_on.set()
            while not (tmp_path / "file.gz").exists():
                assert None in (one.poll(), other.poll())
                time.sleep(0.001)
            assert (tmp_path / "file.gz").read_bytes() == CONTENT
        assert one.communicate(timeout=PATIENCE)[1] == ""
        assert other.communicate(timeout=PATIENCE)[1] == ""
    assert (one.returncode, other.returncode) == (0, 0)
    assert os.listdir(tmp_path) == ["file.gz"]
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_an_interrupted_download_leaves_nothing_behind(server, tmp_path):
    arrived, go_on = events()
    server.answers = [halting(CONTENT, arrived, go_on)]
    with in_another_process(tmp_path, server.url) as process:
        assert arrived.wait(PATIENCE)
        assert os.listdir(tmp_path)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
        go_on.set()
    assert told.splitlines()[-1] == "KeyboardInterrupt"
    assert not os.listdir(tmp_path)


def test_a_folder_that_cannot_be_made_is_told_at_once(server, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(DownloadError, match=r"Could not write to .*taken.*data_home="):
        fetch(tmp_path / "taken" / "mnist", server.url)
    assert server.n_requests == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_told_at_once(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match="Permission denied"):
        fetch(tmp_path, server.url)
    assert server.n_requests == 0


def test_the_progress_bar_is_for_terminals(monkeypatch, capsys, server, tmp_path):
    server.answers = [whole(CONTENT)]
    fetch(tmp_path / "silent", server.url)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    fetch(tmp_path / "shown", server.url)
    out, err = capsys.readouterr()
    assert not out
    assert "file.gz" in err
    assert "102.4/102.4 kB" in err
