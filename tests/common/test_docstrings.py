"""Docstrings are complete, and true."""

import inspect

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

from tests.common.public_api import public_methods, public_objects

# ES01: a one-line summary may be enough. GL01, RT02: scikit-learn's own exceptions.
IGNORED = {"ES01", "GL01", "RT02"}
# SA01, EX01 are asked of classes and functions, not of their methods.
IGNORED_FOR_METHODS = {"SA01", "EX01"}

OBJECTS = dict(public_objects())
METHODS = {
    method_path: method
    for path, thing in OBJECTS.items()
    if inspect.isclass(thing)
    for method_path, method in public_methods(path, thing)
}


def documented_defaults(docstring):
    """Name -> the text after ``default=``."""
    return {
        name.strip(): parameter.type.partition("default=")[2]
        for parameter in NumpyDocString(inspect.cleandoc(docstring))["Parameters"]
        for name in parameter.name.split(",")
    }


def untrue_defaults(function, docstring):
    """Parameters whose documented default is not the one of the signature."""
    documented = documented_defaults(docstring)
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not parameter.empty
        and documented.get(name, "").replace("'", '"')
        != repr(parameter.default).replace("'", '"')
    ]


def incomplete(path, ignored):
    """What numpydoc misses in the docstring of an object."""
    return [error for error in validate(path)["errors"] if error[0] not in ignored]


# numpydoc looks at all that a widget inherits.
@pytest.mark.filterwarnings(r"ignore:Widget\.:DeprecationWarning")
@pytest.mark.parametrize("path", [*OBJECTS, *METHODS])
def test_is_complete(path):
    ignored = IGNORED | (IGNORED_FOR_METHODS if path in METHODS else {"SA01"})
    assert not incomplete(path, ignored)


def test_guard_sees_an_incomplete_docstring():
    """A parameter of this very module's function is not documented."""
    path = f"{__name__}.incomplete"
    assert {code for code, _ in incomplete(path, IGNORED)} >= {"PR01", "RT01", "EX01"}


@pytest.mark.parametrize("path", [*OBJECTS, *METHODS])
def test_documented_default_is_the_default(path):
    thing = {**OBJECTS, **METHODS}[path]
    assert not untrue_defaults(thing, thing.__doc__)


def test_guard_sees_an_untrue_default():
    def function(a=1, *, b="x"):
        """Do nothing.

        Parameters
        ----------
        a : int, default=2
            First.

        b : str, default="x"
            Second.
        """

    assert untrue_defaults(function, function.__doc__) == ["a"]
