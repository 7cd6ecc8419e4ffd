"""Rules of the house that no linter knows."""

import ast
import tomllib
import warnings
from pathlib import Path

import pytest

import robustkit
from tests.common.architecture import ROOT

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(ROOT.rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))
OTHERS = sorted(
    path
    for folder in ("benchmarks", "papers", "examples")
    for path in (REPOSITORY / folder).rglob("*.py")
)

LONGEST_FILE = 800
LONGEST_FUNCTION = 80


def functions(source):
    """Every function and method of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_length(function):
    """Lines of a function, its docstring left out."""
    has_docstring = ast.get_docstring(function) is not None
    docstring = function.body[0] if has_docstring else None
    length = function.end_lineno - function.lineno + 1
    return length - (docstring.end_lineno - docstring.lineno + 1 if docstring else 0)


def too_long(source):
    """Functions over the limit."""
    return [f.name for f in functions(source) if code_length(f) > LONGEST_FUNCTION]


def raises_without_match(source):
    """Lines where a test does not say which message it expects."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func) in {"pytest.raises", "pytest.warns"}
        and not any(keyword.arg == "match" for keyword in node.keywords)
    ]


def mute_tests(source):
    """Tests that cannot fail: nothing in them asserts or expects an error."""
    words = ("assert", "raises", "warns", "check", "expect")
    return [
        function.name
        for function in functions(source)
        if function.name.startswith("test_")
        and not any(word in ast.unparse(function.body) for word in words)
    ]


CLOCKS = {"time", "perf_counter", "monotonic", "process_time", "thread_time"}


def asserted_times(source):
    """Lines where a test asserts how long something takes.

    That depends on the machine and on what else it does: it is left to benchmarks/. A
    name holds a time if a clock was read to get it.
    """
    if not any(clock in source for clock in CLOCKS):
        return []
    return [line for f in functions(source) for line in _asserted_times(f)]


def _asserted_times(function):
    timed, n_timed = set(), -1

    def is_timed(node):
        return any(
            (isinstance(part, ast.Name) and part.id in timed)
            or (isinstance(part, ast.Call) and _is_clock(part.func))
            for part in ast.walk(node)
        )

    while n_timed < len(timed):
        n_timed = len(timed)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.NamedExpr):
                targets = (
                    node.targets if isinstance(node, ast.Assign) else [node.target]
                )
                value = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                # A list that a time is appended to.
                targets = [node.func.value] if node.func.attr == "append" else []
                value = ast.Tuple(node.args)
            else:
                continue
            if is_timed(value):
                names = (part for target in targets for part in ast.walk(target))
                timed |= {name.id for name in names if isinstance(name, ast.Name)}
    return [
        node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Assert) and is_timed(node.test)
    ]


def _is_clock(called):
    name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
    if name == "time":
        return ast.unparse(called) == "time.time"
    return name.removesuffix("_ns") in CLOCKS


@pytest.mark.parametrize(
    "path",
    [*SOURCES, *TESTS, *OTHERS],
    ids=lambda p: str(p.relative_to(REPOSITORY)),
)
def test_file_holds_one_idea(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short(path):
    assert not too_long(path.read_text("utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_is_private_and_documented(path):
    relative = path.relative_to(ROOT)
    public = {"__init__.py", "__main__.py", "cli.py", "exceptions.py"}
    public |= {f"{name.replace('.', '/')}.py" for name in robustkit._SUBMODULES}
    assert path.name.startswith("_") or str(relative) in public or "static" in str(path)
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_tests_say_what_they_expect(path):
    source = path.read_text("utf-8")
    assert not raises_without_match(source)
    assert not mute_tests(source)
    assert not asserted_times(source)


def test_no_module_is_called_utils():
    assert not [path for path in SOURCES if "utils" in path.stem]


def test_guards_see_what_they_look_for():
    long = "def f():\n" + "    x = 1\n" * (LONGEST_FUNCTION + 1)
    assert too_long(long) == ["f"]
    # Put together here, or this very file would break the rule.
    careless = "def test_it():\n    with pytest." + "raises(ValueError):\n        f()\n"
    assert raises_without_match(careless) == [2]
    assert mute_tests("def test_it():\n    f()\n") == ["test_it"]


@pytest.mark.parametrize(
    "body",
    [
        "start = time.perf_counter()\n f()\n assert time.perf_counter() - start < 3",
        "start = monotonic_ns()\n f()\n a = monotonic_ns() - start\n assert a < 3",
        "s = []\n for _ in x:\n  s.append(process_time())\n assert max(s) - min(s) < 3",
        "end = time.time() + 3\n while not f():\n  assert end > time.time()",
    ],
)
def test_guard_sees_a_time_that_is_asserted(body):
    last = body.count("\n") + 2
    assert asserted_times(f"def test_it():\n {body}\n") == [last]


def test_guard_lets_a_test_wait():
    waits = "def test_it():\n end = monotonic() + 9\n while monotonic() < end:\n  f()\n"
    assert not asserted_times(f"{waits} assert f()\n assert time(3) == 4\n")


def test_a_warning_is_an_error():
    with pytest.raises(UserWarning, match="unseen"):
        warnings.warn("unseen", stacklevel=1)


def test_coverage_counts_branches_and_has_a_floor():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]
    assert settings["coverage"]["run"]["branch"]
    assert settings["coverage"]["report"]["fail_under"] >= 90
