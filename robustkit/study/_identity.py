"""What makes two studies the same, in words that a file can hold."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ["canonical", "differences", "digest"]

# These change how long a model takes, and nothing else.
_OF_THE_MACHINE = {"device", "verbose", "n_jobs"}


def digest(array):
    """Name the content of an array.

    Parameters
    ----------
    array : ndarray
        Of numbers or labels.

    Returns
    -------
    name : str
        A SHA-256.
    """
    if array.dtype.hasobject:
        array = array.astype(str)
    shape = f"{array.dtype.str}{array.shape}".encode()
    content = np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(shape + content).hexdigest()


def canonical(value):
    """Describe a parameter so that equal ones have equal descriptions.

    Parameters
    ----------
    value : object
        Number, string, container, array, estimator, distribution, function or other
        object with attributes.

    Returns
    -------
    description : object
        Of what JSON knows.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((canonical(item) for item in value), key=json.dumps)
    if isinstance(value, np.ndarray):
        return {"array": digest(value)}
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return _name(value) if hasattr(value, "__qualname__") else repr(value)
    if hasattr(value, "__qualname__"):
        return _name(value)
    if isinstance(value, BaseEstimator):
        state = value.get_params(deep=False)
    elif hasattr(value, "rvs") and hasattr(value, "dist"):
        # Of scipy.
        state = {"args": value.args, "kwds": value.kwds}
        return {value.dist.name: canonical(state)}
    else:
        state = vars(value)
    state = {name: state[name] for name in state if name not in _OF_THE_MACHINE}
    return {_name(type(value)): canonical(state)}


def _name(thing):
    # Files inside a package may move.
    return f"{thing.__module__.partition('.')[0]}.{thing.__qualname__}"


def differences(old, new):
    """Say where two descriptions differ.

    Parameters
    ----------
    old, new : dict
        As they come out of JSON.

    Returns
    -------
    places : list of str
        "name: old value, not new value".
    """
    old, new = _flat(old), _flat(new)
    return [
        f"{name} is {_value(old, name)} there and {_value(new, name)} here"
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or _text(old[name]) != _text(new[name])
    ]


def _flat(tree, path=""):
    if not isinstance(tree, dict | list) or not tree:
        return {path: tree}
    if isinstance(tree, list):
        if not any(isinstance(item, dict | list) for item in tree):
            return {path: tree}
        tree = dict(enumerate(tree))
    leaves = {}
    for name, branch in tree.items():
        leaves |= _flat(branch, f"{path}.{name}" if path else name)
    return leaves


def _value(leaves, name, longest=60):
    if name not in leaves:
        return "not set"
    text = _text(leaves[name])
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _text(leaf):
    # 1, 1.0 and true are equal in Python, and different settings.
    return json.dumps(leaf)
