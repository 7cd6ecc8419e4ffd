"""The way of a sample through an attack stays short enough to be read."""

import inspect
import sys
from pathlib import Path

import robustkit
from robustkit import attacks
from robustkit.attacks import ModuleAttack, PGDAttack
from robustkit.attacks._base import BaseAttack
from robustkit.classifiers import MLPNetClassifier
from tests.attacks.victims import aim, digits

ROOT = Path(robustkit.__file__).parent

ESTIMATORS = [
    getattr(attacks, name) for name in attacks.__all__ if name.endswith("Attack")
]


def path_of_a_sample(attack, X, y):
    """Frames of the package from `perturb` to the loss, and the files visited."""
    frames, files = [], set()

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event != "call" or ROOT not in path.parents:
            return
        files.add(path.relative_to(ROOT).as_posix())
        if frame.f_code.co_name == "cross_entropy_loss" and not frames:
            while frame is not None:
                if ROOT in Path(frame.f_code.co_filename).parents:
                    frames.append(frame.f_code.co_qualname)
                frame = frame.f_back

    # The first call compiles.
    attack.perturb(X, y)
    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        attack.perturb(X, y)
    finally:
        sys.setprofile(previous)
    return frames[::-1], files


def test_pgd_reaches_the_loss_in_few_frames_and_files():
    X, y = digits(100)
    model = MLPNetClassifier((16,), max_epochs=2, random_state=0, device="cpu")
    pgd = PGDAttack(eps=1e-3, max_iter=5, random_state=0, device="cpu")
    model = model.fit(X, y)
    attack = aim(pgd, model, X, y)
    frames, files = path_of_a_sample(attack, X[:1], model.predict(X[:1]))
    assert frames[0] == "BaseAttack.perturb"
    assert frames[-3:] == ["pgd", "input_gradient", "cross_entropy_loss"]
    assert not [name for name in frames if "<locals>" in name]
    assert len(frames) <= 7, frames
    # Six are passed through on the way in and out: what X may be, what the model may
    # be, whether its module has the last word, what eps may mean, the losses, and
    # whether the module is several networks.
    assert len(files) <= 15, sorted(files)


def overridden(classes):
    """Methods of the bases that a subclass writes anew, those for users aside."""
    bases = (BaseAttack, ModuleAttack)
    own = {n for base in bases for n, v in vars(base).items() if inspect.isfunction(v)}
    inner = {name for name in own if not name.startswith("__")} - {"report", "score"}
    written = {name for cls in classes if cls not in bases for name in vars(cls)}
    return (inner & written) | {"perturb_module"}


def test_attacks_override_at_most_six_hooks():
    assert len(overridden(ESTIMATORS)) <= 6, overridden(ESTIMATORS)

    class Meddling(PGDAttack):
        def _ask(self, *args):
            """Another way to ask."""

        def _encode(self, *args):
            """Another way to read labels."""

    assert len(overridden([*ESTIMATORS, Meddling])) > 6


def test_attacks_have_at_most_three_levels():
    for cls in ESTIMATORS:
        levels = [base for base in cls.__mro__ if issubclass(base, BaseAttack)]
        assert len(levels) <= 3, levels
