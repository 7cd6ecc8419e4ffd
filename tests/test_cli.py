"""The command `robustkit`, as a user meets it."""

import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

import robustkit
from robustkit import datasets
from robustkit.cli import main
from tests.processes import PATIENCE, started


def run(capsys, *words):
    """Exit status, standard output and standard error."""
    try:
        status = main(list(words))
    except SystemExit as exit:
        status = exit.code
    return status, *capsys.readouterr()


def start(*words, unbuffered=""):
    """Start the command in a process of its own, until the end of the block."""
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    return started(sys.executable, "-m", "robustkit", *words, env=env)


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"robustkit {robustkit.__version__}\n", "")


@pytest.mark.parametrize(
    "words", [(), ("study",), ("report",), ("demo",), ("explore",), ("datasets",)]
)
def test_help_shows_examples_that_are_understood(capsys, words):
    status, out, err = run(capsys, *words, "--help")
    assert (status, err) == (0, "")
    examples = out.partition("examples:\n")[2].split("\n\n")[0].splitlines()
    assert examples
    for example in examples:
        command = example.split("  ")[1].split()
        assert command[0] == "robustkit"
        assert run(capsys, *command[1:], "--help")[0] == 0


def test_datasets_are_listed_with_where_they_are(capsys, tmp_path):
    status, out, err = run(capsys, "datasets", "--data-home", str(tmp_path))
    assert (status, err) == (0, "")
    head, digits, mnist, cifar10 = out.splitlines()
    assert head.split() == ["name", "images", "shape", "classes", "where"]
    assert digits.split()[:6] == ["digits", "1,797", "8", "x", "8", "10"]
    assert digits.endswith("embedded in scikit-learn")
    assert mnist.endswith(f"would be downloaded to {tmp_path}/mnist (11.6 MB)")
    assert cifar10.split()[2:7] == ["3", "x", "32", "x", "32"]


def test_demo_draws_trains_and_attacks(capsys):
    status, out, err = run(capsys, "demo")
    assert (status, err) == (0, "")
    images, graph, clean, robust = out.splitlines()
    assert images == "Images    digits: 1,437 to train on, 360 to test"
    assert graph.startswith("Graph     300 vertices, ")
    assert float(clean.split()[1]) > 0.9
    assert 0.3 < float(robust.split()[0]) < float(clean.split()[1])


@pytest.fixture
def small_images(tmp_path):
    path = tmp_path / "mine.npz"
    random_state = np.random.RandomState(0)
    np.savez(path, X=random_state.rand(60, 3, 3), y=np.arange(60) % 2)
    return str(path)


def test_demo_depends_on_the_seed_alone(capsys, small_images):
    first, again, other = (
        run(capsys, "demo", "--dataset", small_images, "--seed", seed)
        for seed in ("0", "0", "1")
    )
    assert first == again
    assert first[1].splitlines()[1] != other[1].splitlines()[1]


# A network that reads pixels of up to 300 is so sure of itself that its cross-entropy
# is flat at many samples, and the report rightly says so.
@pytest.mark.filterwarnings("ignore::robustkit.exceptions.GradientMaskingWarning")
@pytest.mark.parametrize("scale", [1e-6, 300.0])
def test_demo_attacks_images_of_any_scale(capsys, tmp_path, scale):
    X = np.random.RandomState(0).uniform(size=(60, 16))
    np.savez(tmp_path / "own.npz", X=X * scale, y=np.arange(60) % 2)
    _, out, _ = run(capsys, "demo", "--dataset", str(tmp_path / "own.npz"))
    eps = float(out.partition("eps=")[2].partition(")")[0])
    assert eps == pytest.approx(0.05 * scale, rel=0.05)


def test_demo_shows_progress_on_a_terminal(capsys, monkeypatch, small_images):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    status, out, _ = run(capsys, "demo", "--dataset", small_images)
    assert status == 0
    assert "100%" in out


@pytest.fixture
def folder(tmp_path):
    """A folder with files that no one should trust."""
    np.savez(tmp_path / "pickled.npz", X=np.array([{}] * 9, dtype=object), y=range(9))
    np.savez(tmp_path / "text.npz", X=np.full((9, 2), "a"), y=np.arange(9))
    np.savez(tmp_path / "unnamed.npz", np.eye(9))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps({}))
    content = (tmp_path / "text.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "folder.npz").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "arguments are required: COMMAND (see robustkit --help)"),
        ("dmeo", "unknown command 'dmeo', did you mean 'demo'? (see robustkit --help)"),
        ("xyz", "unknown command 'xyz'. (see"),
        ("demo --sead 3", "unknown argument '--sead', did you mean '--seed'? (see rob"),
        ("demo --se 3", "unknown argument '--se'"),
        ("--verison demo", "unknown argument '--verison', did you mean '--version'?"),
        ("demo digits", "unknown argument 'digits'"),
        ("demo --seed", "argument --seed: expected one argument"),
        ("demo --seed -1", "--seed: must be an integer from 0 to 4294967295. Got '-1'"),
        ("demo --seed 1.5", "Got '1.5' instead"),
        ("demo --seed 4294967296", "Got '4294967296' instead"),
        ("demo --dataset minst", "Got 'minst' instead, did you mean 'mnist'?"),
        ("demo --dataset {}/none.npz", "No such file or directory: '{}/none.npz'"),
        ("demo --dataset {}/folder.npz", "Is a directory: '{}/folder.npz'"),
        ("demo --dataset {}/half.npz", "half.npz is corrupt or not a .npz file of"),
        ("demo --dataset {}/bare.npz", "bare.npz is corrupt or not a .npz file of"),
        ("demo --dataset {}/pickled.npz", "plain arrays: Object arrays cannot be"),
        ("demo --dataset {}/text.npz", "text.npz: X must hold real numbers"),
        ("demo --dataset {}/unnamed.npz", "must hold 'X'. Got arr_0."),
        (
            "demo --dataset mnist --data-home {}/bare.npz",
            "Could not write to {}/bare.npz/mnist (Not a directory)",
        ),
    ],
)
def test_a_mistake_ends_with_one_line_and_status_2(capsys, folder, words, message):
    status, _, err = run(capsys, *words.format(folder).split())
    assert status == 2
    assert err.startswith("robustkit: error: ")
    assert err.count("\n") == 1
    assert message.format(folder) in err


def test_an_interrupt_ends_with_one_line(capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "locate", interrupt)
    status, _, err = run(capsys, "datasets")
    assert (status, err) == (130, "robustkit: interrupted\n")


def test_a_real_interrupt_ends_with_one_line():
    with start("demo", unbuffered="1") as process:
        assert process.stdout.readline().startswith("Images")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, "robustkit: interrupted\n")


@pytest.mark.parametrize(
    "words", ["datasets", "--help", pytest.param("demo", marks=pytest.mark.slow)]
)
def test_a_reader_who_goes_away_hears_no_complaint(words):
    with start(words) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 141


def test_the_module_is_the_command():
    with start("--version") as process:
        told = process.communicate(timeout=PATIENCE)
    assert told == (f"robustkit {robustkit.__version__}\n", "")
    assert process.returncode == 0


def test_nothing_heavy_is_loaded_to_answer():
    code = (
        "import sys, robustkit.cli\n"
        "sys.exit(bool({'torch', 'sklearn', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
