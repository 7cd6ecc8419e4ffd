"""Break the package on purpose, one place at a time, and count what the tests notice.

``python -m benchmarks.mutation attacks --mutants 120`` draws mutants of a room at
random (cosmic-ray's operators: another comparison, another arithmetic operator, a
number one larger or smaller, a condition negated, a loop that never runs ...), runs the
tests of the room against each, and writes which of them were caught to mutants.json and
RESULTS.md. A mutant meets only the tests that run its line, the fastest first, until
one fails. First comes the package as it is, which must pass.

A mutant that no test catches is read by a person. One that changes nothing a user could
see is written to ``equivalent_mutants.toml``, with the reason, and counts no more.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ET
from collections import defaultdict
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from benchmarks import store

HERE = Path(__file__).parent
ROOT = HERE.parent

# A decorator that is removed makes a function slower (njit) or is no code that runs
# (abstractmethod): no test can notice. The other two want the name of a variable.
LEFT_OUT = {"RemoveDecorator", "VariableReplacer", "VariableInserter"}
# Rooms whose code for other devices runs in tests that they share.
ON_DEVICES = {"attacks", "classifiers", "networks"}
DEVICE_TESTS = "tests/common/test_on_a_device.py"
# A mutant that computes this many times as long as its tests without it, or that many
# seconds more, runs for ever; and so does one that waits, on a busy machine, for
# many times as long as that.
TIMES, SECONDS, PATIENCE = 5, 60, 20


def main(arguments=None):
    """Measure rooms, one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rooms", nargs="+", metavar="room")
    parser.add_argument("--mutants", type=int, default=120, help="how many a room")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument(
        "--again",
        action="store_true",
        help="try only those that survived, or ran for ever, the last time",
    )
    parser.add_argument(
        "--log",
        metavar="FILE",
        help="where outcomes are kept as they come: a run that was interrupted is "
        "continued from it, and tries again what is broken in other code than then",
    )
    options = parser.parse_args(arguments)
    for room in options.rooms:
        if not (ROOT / "robustkit" / room).is_dir():
            parser.error(f"no room {room!r} in robustkit/")
    for room in options.rooms:
        measure(
            room,
            options.mutants,
            options.seed,
            options.jobs,
            options.again,
            options.log,
        )


def measure(room, n_mutants, seed, n_jobs, again=False, log=None):
    """Draw mutants of a room, try all of them, and keep what became of each."""
    mutants, n_places = draw(room, n_mutants, seed)
    log = Log(log)
    known = known_of(room, mutants, log, again)
    tried = [m for m, outcome in zip(mutants, known, strict=True) if outcome is None]
    with copies_of_the_package(n_jobs) as folders:
        tests = Tests(folders[0], room)
        preload()
        check_that_the_package_passes(mutants[0], tests, folders[0])
        found = iter(try_all(tried, tests, folders, log))
    outcomes = [outcome or next(found) for outcome in known]
    entry = {
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.mutation {room} --mutants {n_mutants} "
        f"--seed {seed}",
        "n_places": n_places,
        "n_tests": len(tests.seconds),
        "mutants": [
            {name: mutant[name] for name in ("file", "line", "before", "after")}
            | {"outcome": outcome}
            for mutant, outcome in zip(mutants, outcomes, strict=True)
        ],
    }
    store.merge_mutants(room, entry)


def draw(room, n_mutants, seed):
    """Choose places at random, and one of the mutants of each."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    operators = {
        name: get_operator(name)()
        for name in operator_names()
        if name.split("/")[1] not in LEFT_OUT
    }
    places = defaultdict(list)
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
        for path in sorted((ROOT / "robustkit" / room).rglob("*.py"))
    }
    for file, source in sources.items():
        nodes, is_annotation = list(ast_nodes(get_ast(source))), annotated(source)
        for name, operator in operators.items():
            occurrence = 0
            family = name.split("/")[1].split("_")[0]
            for node in nodes:
                for (line, column), _ in operator.mutation_positions(node):
                    if not is_annotation(line, column):
                        places[file, line, column, family].append((name, occurrence))
                    occurrence += 1
    stream = random.Random(seed)
    # A place by its text, not its number: the draw is the same wherever it is made.
    chosen = stream.sample(sorted(places), min(n_mutants, len(places)))
    mutants = []
    for file, line, *_ in chosen:
        name, occurrence = stream.choice(places[file, line, *_])
        code = mutate_code(sources[file], operators[name], occurrence)
        before, after = changed_line(sources[file], code)
        mutants.append(
            {
                "file": file,
                "line": line,
                "code": code,
                "before": before,
                "after": after,
            }
        )
    return mutants, len(places)


def known_of(room, mutants, log, again):
    """Return what became of each mutant, None if it is to be tried."""
    logged = [log.outcome_of(mutant) for mutant in mutants]
    if not again:
        return logged
    before = caught_before(room, mutants)
    return [old or new for old, new in zip(before, logged, strict=True)]


def annotated(source):
    """Make a function that says whether a place is inside an annotation.

    Type checkers read them; what the package computes does not depend on them.
    """
    ranges = []
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if part is not None:
                start = part.lineno, part.col_offset
                ranges.append((start, (part.end_lineno, part.end_col_offset)))
    return lambda *place: any(start <= place < end for start, end in ranges)


def caught_before(room, mutants):
    """Return what became of each mutant the last time, None if that is open.

    Open is what survived: tests may have come since. And what ran for ever: that may
    have been a busy machine.
    """
    last = store.mutants_of(room)
    if [m["line"] for m in last] != [m["line"] for m in mutants]:
        raise SystemExit(f"mutants.json holds other mutants of {room} than this draw.")
    return ["caught" if m["outcome"] == "caught" else None for m in last]


class Log:
    """What became of mutants, one line of JSON each, in a file or nowhere."""

    def __init__(self, file):
        self.file = None if file is None else Path(file)
        self.known = {}
        if self.file is not None and self.file.exists():
            for line in self.file.read_text("utf-8").splitlines():
                entry = json.loads(line)
                self.known[entry["code"]] = entry["outcome"]

    def outcome_of(self, mutant):
        """Look up a mutant, None if it was not tried in this code."""
        return self.known.get(digest(mutant))

    def note(self, mutant, outcome):
        """Keep what became of a mutant."""
        if self.file is not None:
            entry = {name: mutant[name] for name in ("file", "line", "before", "after")}
            entry |= {"code": digest(mutant), "outcome": outcome}
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def digest(mutant):
    """Name a mutant by its whole file, so that another version has another name."""
    text = f"{mutant['file']}\n{mutant['code']}"
    return hashlib.sha256(text.encode()).hexdigest()


def changed_line(old, new):
    """Return the first line that differs, before and after."""
    old, new = old.splitlines(), new.splitlines()
    for before, after in zip(old, new, strict=False):
        if before != after:
            return before.strip(), after.strip()
    return "", "(a line less)"


@contextmanager
def copies_of_the_package(n_copies):
    """Give folders in which files may be broken."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        folders = [Path(home) / str(k) for k in range(n_copies)]
        for folder in folders:
            for name in filter(None, listed):
                if (ROOT / name).is_file():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, folder / name)
        yield folders


class Tests:
    """The tests of a room: how long each takes, and which lines it runs."""

    def __init__(self, folder, room):
        report, data = folder / "report.xml", folder / ".coverage"
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            f"--cov=robustkit/{room}", "--cov-context=test", "--cov-report=",
            "--cov-fail-under=0", "-o", "junit_family=xunit1",
            f"--junitxml={report}", f"tests/{room}",
            *([DEVICE_TESTS] if room in ON_DEVICES else []),
        ]  # fmt: skip
        said = subprocess.run(
            command, cwd=folder, env=environment(folder), capture_output=True, text=True
        )
        if said.returncode:
            raise SystemExit(f"The tests of {room} fail as they are:\n{said.stdout}")
        self.seconds = {}
        for case in ET.parse(report).iter("testcase"):
            file = case.get("file")
            # "tests.attacks.test_balls.TestClass" -> "TestClass"
            inner = case.get("classname")[len(file.removesuffix(".py")) + 1 :]
            name = "::".join(filter(None, [file, *inner.split("."), case.get("name")]))
            self.seconds[name] = float(case.get("time"))
        self.of_line = lines_run(data, folder)
        for file, line in compiled_lines(room):
            self.of_line.pop((file, line), None)

    def that_run(self, mutant):
        """Return the names of the tests that run a line, the fastest first.

        What is compiled, or runs while a module is loaded, is seen by no tracer: there,
        all tests of the room.
        """
        names = self.of_line.get((mutant["file"], mutant["line"]), set())
        names = [name for name in names if name in self.seconds] or list(self.seconds)
        return sorted(names, key=lambda name: (self.seconds[name], name))


def lines_run(data, folder):
    """Read from coverage's data which tests ran a line."""
    from coverage import CoverageData

    found = CoverageData(data)
    found.read()
    of_line = defaultdict(set)
    for path in found.measured_files():
        file = Path(path).resolve().relative_to(folder.resolve()).as_posix()
        for line, contexts in found.contexts_by_lineno(path).items():
            names = {context.split("|")[0] for context in contexts}
            # "" is the time at which modules are loaded.
            of_line[file, line] = set() if "" in names else names
    return of_line


def compiled_lines(room):
    """Yield the lines that numba compiles, which no tracer sees."""
    for path in sorted((ROOT / "robustkit" / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            decorators = map(ast.unparse, getattr(node, "decorator_list", []))
            if any("njit" in text or "vectorize" in text for text in decorators):
                file = path.relative_to(ROOT).as_posix()
                yield from ((file, k) for k in range(node.lineno, node.end_lineno + 1))


def environment(folder):
    """Everything on one thread, and the package from the copy."""
    return os.environ | {
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "HYPOTHESIS_PROFILE": "ci",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def preload():
    """Load what is slow to load and never broken, once for all mutants."""
    os.environ.setdefault("MKL_CBWR", "AUTO")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import hypothesis  # noqa: F401
    import matplotlib as mpl
    import networkx  # noqa: F401
    import numba  # noqa: F401
    import pandas  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.model_selection
    import sklearn.neural_network  # noqa: F401
    import torch

    mpl.use("Agg")
    torch.set_num_threads(1)


def check_that_the_package_passes(mutant, tests, folder):
    """Refuse to go on if "caught" is what would be said of an unbroken package."""
    unbroken = mutant | {"code": (ROOT / mutant["file"]).read_text("utf-8")}
    names = [name for name, seconds in tests.seconds.items() if seconds < 1]
    names = names[:: max(1, len(names) // 40)]
    start(unbroken, names, sum(tests.seconds[name] for name in names), folder)
    code = os.waitstatus_to_exitcode(os.wait()[1])
    if code:
        said = (folder.parent / f"{folder.name}.log").read_text("utf-8")
        raise SystemExit(f"Tests of an unbroken package fail here ({code}):\n{said}")


def try_all(mutants, tests, folders, log):
    """Run every mutant in a process of its own, one for each folder at once."""
    outcomes = [None] * len(mutants)
    free, running, waiting = list(folders), {}, list(enumerate(mutants))
    while waiting or running:
        while waiting and free:
            number, mutant = waiting.pop(0)
            folder = free.pop()
            names = tests.that_run(mutant)
            usual = sum(tests.seconds[name] for name in names)
            running[start(mutant, names, usual, folder)] = number, folder, mutant
        process, status = os.wait()
        number, folder, mutant = running.pop(process)
        free.append(folder)
        shutil.copy2(ROOT / mutant["file"], folder / mutant["file"])
        code = os.waitstatus_to_exitcode(status)
        outcomes[number] = {
            0: "survived",
            -signal.SIGPROF: "caught: for ever",
            -signal.SIGALRM: "caught: for ever",
        }.get(code, "caught")
        log.note(mutant, outcomes[number])
        done = sum(outcome is not None for outcome in outcomes)
        print(
            f"{time.strftime('%H:%M:%S')} {done}/{len(mutants)} {outcomes[number]}: "
            f"{mutant['file']}:{mutant['line']}\n    {mutant['before']}\n    "
            f"{mutant['after']}",
            flush=True,
        )
    return outcomes


def start(mutant, names, usual, folder):
    """Break a file of a copy, and run tests there in a child process."""
    (folder / mutant["file"]).write_text(mutant["code"], "utf-8")
    process = os.fork()
    if process:
        return process
    # The child: whatever happens, it must not go on as the parent.
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.environ.update(environment(folder))
        sys.path[:] = [str(folder), *(p for p in sys.path if p not in ("", str(ROOT)))]
        for name in [name for name in sys.modules if name.startswith("benchmarks")]:
            del sys.modules[name]
        sys.dont_write_bytecode = True
        # What the tests say is kept beside the copy, for whoever looks for a fault.
        said = os.open(
            folder.parent / f"{folder.name}.log", os.O_CREAT | os.O_TRUNC | os.O_WRONLY
        )
        for stream in (1, 2):
            os.dup2(said, stream)
        # What numba compiled of the unbroken package must not be found.
        import numba

        numba.core.config.CACHE_DIR = tempfile.mkdtemp(dir=folder)
        allowed = int(TIMES * usual + SECONDS)
        for name in ("SIGPROF", "SIGALRM"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, allowed)
        signal.alarm(PATIENCE * allowed)
        import pytest

        # hypothesis is loaded already: pytest cannot rewrite its plugin, and says so.
        code = pytest.main(
            [
                *("-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"),
                *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
                *names,
            ]
        )
        os._exit(int(code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(99)


if __name__ == "__main__":
    main()
