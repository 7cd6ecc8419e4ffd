"""Peers are optional, and whoever is missing is named."""

import importlib
import re
import subprocess
import sys

import pytest

from benchmarks import peers, rooms

ABSENT = peers.Peer("Nobody", "nobody-at-all", ("nobody-at-all==1.0", "helper"))


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def one_peer(monkeypatch):
    monkeypatch.setattr(peers, "PEERS", {"nobody_at_all": ABSENT})


def test_what_is_missing_is_named_with_what_installs_it(one_peer):
    assert peers.missing(["nobody_at_all"]) == [
        'Nobody is not installed: `pip install --no-deps "nobody-at-all==1.0" "helper"`'
    ]
    assert peers.load("nobody_at_all") is None


def test_what_is_there_is_not_missing(one_peer, tmp_path):
    (tmp_path / "nobody_at_all.py").write_text("")
    peers.use(tmp_path)
    assert peers.missing(["nobody_at_all"]) == []
    assert peers.title("nobody_at_all") == "Nobody"


def test_a_folder_of_peers_hides_nothing_that_is_installed(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError")
    peers.use(tmp_path)
    peers.use(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)


def test_a_title_has_the_version(monkeypatch):
    known = peers.Peer("The Tester", "pytest", ())
    monkeypatch.setattr(peers, "PEERS", {"pytest": known})
    assert peers.title("pytest") == f"The Tester {pytest.__version__}"


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("Looking\nERROR: nothing found\n", "ERROR: nothing found"),
        ("", "pip ended with 1"),
    ],
)
def test_one_peer_that_cannot_be_installed_says_why(
    one_peer, monkeypatch, tmp_path, stderr, reason
):
    def pip(command, **options):
        assert command[-4:] == ["--target", str(tmp_path), *ABSENT.requirements]
        assert "--no-deps" in command
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(subprocess, "run", pip)
    assert peers.install(tmp_path) == {"nobody_at_all": reason}


def test_a_peer_that_is_there_is_not_installed_again(monkeypatch, tmp_path):
    there = {"pytest": peers.Peer("The Tester", "pytest", ("pytest",))}
    monkeypatch.setattr(peers, "PEERS", there)
    monkeypatch.setattr(subprocess, "run", None)
    assert peers.install(tmp_path) == {}


@pytest.mark.parametrize("peer", peers.PEERS.values(), ids=list(peers.PEERS))
def test_the_version_of_a_peer_is_fixed(peer):
    first = peer.requirements[0]
    # By its number, or by a commit.
    of_commit = rf"{peer.distribution} @ git\+https://\S+@[0-9a-f]{{7,}}"
    assert first.startswith(f"{peer.distribution}==") or re.fullmatch(of_commit, first)


@pytest.mark.parametrize("room", rooms.names())
def test_a_room_names_peers_that_can_be_installed(room):
    module = importlib.import_module(f"benchmarks.bench_{room}")
    assert set(getattr(module, "PEERS", ())) <= set(peers.PEERS)
