"""Every public object and every estimator, found rather than listed."""

import importlib
import inspect
import warnings

from sklearn.base import BaseEstimator

import robustkit


def public_objects(modules=None):
    """Yield (path, object) for every public name of every room, or of some modules."""
    modules = robustkit._ROOMS | robustkit._SUBMODULES if modules is None else modules
    for room, names in modules.items():
        module = importlib.import_module(f"robustkit.{room}")
        for name in names:
            yield f"robustkit.{room}.{name}", getattr(module, name)


def public_methods(path, thing):
    """Yield (path, function) for the methods of a class that this package wrote."""
    with warnings.catch_warnings():
        # Looking at what a class inherits from elsewhere may say that it is old.
        warnings.simplefilter("ignore", DeprecationWarning)
        members = inspect.getmembers(thing)
    for name, member in members:
        function = getattr(member, "__func__", member)
        ours = getattr(function, "__module__", None) or ""
        if (
            inspect.isfunction(function)
            and not name.startswith("_")
            and ours.startswith("robustkit.")
        ):
            yield f"{path}.{name}", function


def estimator_classes():
    """Every public estimator, in the order of the map.

    What has parameters but nothing to fit, such as a regularizer, is none.
    """
    return [
        thing
        for _, thing in public_objects()
        if inspect.isclass(thing)
        and issubclass(thing, BaseEstimator)
        and not inspect.isabstract(thing)
        and hasattr(thing, "fit")
    ]
