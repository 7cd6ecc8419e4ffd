"""What the house rules measure, as functions of sources, so that they can be tested."""

import ast
import inspect
import statistics

from numpydoc.docscrape import NumpyDocString

from tests.common.architecture import ROOT, files_of, present_rooms


def n_lines(path):
    """Lines of a file, empty ones and docstrings included."""
    return len(path.read_text("utf-8").splitlines())


def median_length(paths):
    """Half of the files are at least as long."""
    return statistics.median(n_lines(path) for path in paths)


def long_parameter_lists(source, public, limit):
    """Functions with more than `limit` parameters that no user calls.

    `public` are names whose signatures are promised to users: functions, and classes
    with their methods. An estimator's `__init__` names all its parameters.
    """
    found = []

    def visit(node, is_promised):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                visit(child, child.name in public)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                shown = is_promised and not child.name.startswith("_")
                shown |= child.name == "__init__" or child.name in public
                if not shown and _n_parameters(child.args) > limit:
                    found.append(child.name)
                visit(child, False)
            else:
                visit(child, is_promised)

    visit(ast.parse(source), False)
    return found


def _n_parameters(arguments):
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    n_own = sum(name.arg not in ("self", "cls") for name in names)
    return n_own + (arguments.vararg is not None) + (arguments.kwarg is not None)


def private_imports(source, room):
    """Modules of another room that a file reaches behind its door."""
    return [
        node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        and node.module is not None
        and node.module.startswith("robustkit.")
        and node.module.split(".")[1] != room
        and any(part.startswith("_") for part in node.module.split(".")[2:])
    ]


def all_private_imports(root=ROOT):
    """Every private import of every room, as "file imports module"."""
    return [
        f"{path.relative_to(root)} imports {module}"
        for room in sorted(present_rooms(root))
        for path in files_of(room, root)
        for module in private_imports(path.read_text("utf-8"), room)
    ]


def unannotated(function):
    """Parameters of a function without an annotation, and "return"."""
    signature = inspect.signature(function)
    names = [
        name
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls") and parameter.annotation is parameter.empty
    ]
    if signature.return_annotation is signature.empty:
        names.append("return")
    return names


def unannotated_attributes(cls):
    """Attributes that the docstring names and no class body annotates."""
    documented = NumpyDocString(inspect.getdoc(cls) or "")["Attributes"]
    annotated = {
        name
        for base in cls.__mro__
        for name in [*inspect.get_annotations(base), *vars(base)]
    }
    names = (part.strip() for each in documented for part in each.name.split(","))
    return [name for name in names if name not in annotated]
