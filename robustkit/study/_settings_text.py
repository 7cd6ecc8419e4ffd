"""Settings of any depth on one line, as a call would be written."""

from collections.abc import Mapping

__all__ = ["describe"]


def describe(value):
    """Write a setting.

    Parameters
    ----------
    value : object
        Number, string, list, mapping or any other object. ``{"package.Name": {...}}``,
        as a store keeps objects, is written as a call.

    Returns
    -------
    text : str
        For reading, not for reading in.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if len(value) == 1:
            ((name, state),) = value.items()
            if "." in str(name) and isinstance(state, Mapping):
                return f"{str(name).rpartition('.')[2]}({_pairs(state, '=')})"
        return _pairs(value, ": ")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(describe, value))}]"
    return str(value)


def _pairs(mapping, sign):
    return ", ".join(
        f"{name}{sign}{describe(value)}" for name, value in mapping.items()
    )
