"""Public signatures and attributes are annotated."""

import inspect

import pytest

from tests.common.house import unannotated, unannotated_attributes
from tests.common.public_api import public_methods, public_objects

OBJECTS = dict(public_objects())
CLASSES = {path: thing for path, thing in OBJECTS.items() if inspect.isclass(thing)}
FUNCTIONS = {
    **{path: thing for path, thing in OBJECTS.items() if inspect.isfunction(thing)},
    **{
        method_path: method
        for path, cls in CLASSES.items()
        for method_path, method in public_methods(path, cls)
    },
    **{
        f"{path}.__init__": cls.__init__
        for path, cls in CLASSES.items()
        if "__init__" in vars(cls)
    },
}


@pytest.mark.parametrize("path", FUNCTIONS)
def test_public_signature_is_annotated(path):
    assert not unannotated(FUNCTIONS[path])


@pytest.mark.parametrize("path", CLASSES)
def test_documented_attributes_are_annotated(path):
    assert not unannotated_attributes(CLASSES[path])
