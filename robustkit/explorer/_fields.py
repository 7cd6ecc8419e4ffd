"""Values from a request, each checked before it is used."""

from robustkit._validation import did_you_mean

__all__ = ["RequestError", "Fields"]


class RequestError(ValueError):
    """What was asked for makes no sense; the message says why."""


class Fields:
    """Named values of a request.

    Parameters
    ----------
    values : dict
        As they came, from JSON or from a query.

    known : iterable of str
        Names that may be there.
    """

    def __init__(self, values, known):
        if not isinstance(values, dict):
            raise RequestError("The request must be a JSON object.")
        known = list(known)
        for name in values:
            if name not in known:
                raise RequestError(f"unknown field {name!r}{did_you_mean(name, known)}")
        self._values = dict(values)

    def __contains__(self, name):
        return name in self._values

    def default(self, name, value):
        """Give a value to a field that is missing."""
        self._values.setdefault(name, value)

    def _get(self, name):
        if name not in self._values:
            raise RequestError(f"the field {name!r} is missing")
        return self._values[name]

    def is_text(self, name, text):
        """Whether a value is this very string."""
        return self._get(name) == text

    def integer(self, name, low, high, *, default=None):
        """Return a whole number from `low` to `high`."""
        if default is not None and name not in self._values:
            return default
        value = self._get(name)
        if isinstance(value, str) and _is_digits(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(name, f"an integer from {low} to {high}", value)
        if not low <= value <= high:
            raise _wrong(name, f"an integer from {low} to {high}", value)
        return value

    def number(self, name, low, high):
        """Return a finite number from `low` to `high`."""
        value = self._get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Nothing is said of NaN here: it is in no range.
        if not is_number or not low <= value <= high:
            raise _wrong(name, f"a number from {low} to {high}", value)
        return float(value)

    def choice(self, name, choices, *, default=None):
        """Return one of some strings."""
        if default is not None and name not in self._values:
            return default
        value = self._get(name)
        if not isinstance(value, str) or value not in choices:
            raise _wrong(name, f"one of {', '.join(choices)}", value)
        return value

    def text(self, name, longest):
        """Return a string that is not empty."""
        value = self._get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise _wrong(name, f"a string of 1 to {longest} characters", value)
        return value

    def numbers(self, name, farthest):
        """Return finite numbers from a list, from -`farthest` to `farthest`."""
        value = self._get(name)
        is_list = isinstance(value, list) and all(
            type(v) in (int, float) for v in value
        )
        if not is_list or not all(-farthest <= v <= farthest for v in value):
            what = f"a list of numbers from {-farthest:g} to {farthest:g}"
            raise _wrong(name, what, value)
        return [float(v) for v in value]

    def integers(self, name, n, most):
        """Return at most `most` indices below `n`, from a list or "1,2,3"."""
        value = self._get(name)
        what = f"at most {most} integers from 0 to {n - 1}"
        if isinstance(value, str):
            words = value.split(",") if value else []
            if not all(map(_is_digits, words)):
                raise _wrong(name, what, value)
            value = [int(word) for word in words]
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(name, what, value)
        if not all(type(i) is int and 0 <= i < n for i in value):
            raise _wrong(name, what, value)
        return value


def _is_digits(word):
    # Neither signs nor the digits of other scripts, and nothing that takes long.
    return word.isascii() and word.isdecimal() and len(word) <= 15


def _wrong(name, what, value):
    got = repr(value)
    got = got if len(got) <= 80 else f"{got[:77]}..."
    return RequestError(f"the field {name!r} must be {what}. Got {got}.")
