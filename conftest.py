"""Settings that every test and every docstring example shares."""

import os
import random
from importlib.util import find_spec
from pathlib import Path

# Where torch multiplies with MKL, some processors round a row otherwise where it lies
# elsewhere in memory, unless this is asked for before MKL is loaded.
os.environ.setdefault("MKL_CBWR", "AUTO")

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

# Loading these draws from Python's global stream. Loaded here, that is not blamed on
# the test that happens to need them first.
import rich.console  # noqa: F401 isort: skip
import sklearn.feature_selection  # noqa: F401 isort: skip

pytest_plugins = ["pytester"]

# Its example shows a widget, which needs the extra `notebook`.
collect_ignore = [] if find_spec("anywidget") else ["robustkit/explorer/_widget.py"]

mpl.use("Agg")

# How wide the terminal of whoever runs the tests is, or how colourful, changes nothing.
os.environ.update(COLUMNS="80", LINES="24", TERM="xterm")
for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

# Networks in tests are tiny, and several threads wait for each other on a busy machine.
torch.set_num_threads(1)

# A first call may compile or allocate, and the machine may be busy: a time limit on an
# example, or on how it is drawn, only makes noise.
# "ci" repeats the same examples: whoever asks for nothing else has a suite that never
# fails by chance. "dev" and "thorough" look for new examples on every run.
settings.register_profile(
    "dev",
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file together: they share what takes long to make."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture
def global_random_seed():
    """A test that uses it must pass for every seed from 0 to 99."""
    return int(os.environ.get("ROBUSTKIT_TEST_SEED", "42"))


@pytest.fixture(autouse=True, scope="session")
def runs_that_tests_start_get_no_options_of_this_one():
    """Not any earlier: the workers of this run read them, too."""
    os.environ.pop("PYTEST_ADDOPTS", None)


@pytest.fixture(autouse=True)
def global_random_streams_stay_put(request):
    """No function of the package may draw from a stream that the caller owns.

    A page of the guide is the caller, and draws when it builds a module of its own.
    """
    before = _global_streams()
    yield
    if request.node.path.suffix == ".rst":
        return
    after = _global_streams()
    moved = [name for name in after if after[name] != before[name]]
    assert not moved, f"the test moved the global stream of {' and '.join(moved)}"


def _global_streams():
    kind, keys, position, *gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (kind, keys.tobytes(), position, *gauss),
        "random": random.getstate(),
    }


@pytest.fixture
def pyplot():
    """Matplotlib's pyplot, with every figure closed before and after the test."""
    import matplotlib.pyplot as plt

    plt.close("all")
    yield plt
    plt.close("all")


@pytest.fixture(autouse=True)
def pages_write_into_an_empty_folder(request, monkeypatch):
    """A page writes files as its reader would: where it is."""
    if request.node.path.suffix == ".rst":
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))


@pytest.fixture(autouse=True)
def examples_import_what_they_use(request):
    """Run the example of a docstring in an empty namespace."""
    if isinstance(request.node, pytest.DoctestItem):
        request.node.dtest.globs.clear()


REAL_DATA = Path(
    os.environ.get("ROBUSTKIT_DATA", Path(__file__).parent.parent / "shared" / "data")
)


@pytest.fixture(scope="session")
def real_data_home():
    """The folder with the real MNIST and CIFAR-10, for tests marked `real_data`."""
    if not (REAL_DATA / "mnist").is_dir():
        pytest.skip(
            f"no real data at {REAL_DATA}: point ROBUSTKIT_DATA at a folder with "
            "mnist/ and cifar10/"
        )
    return REAL_DATA
