"""Warnings and errors that a user may want to catch by name."""

__all__ = [
    "CorruptFileError",
    "DownloadError",
    "GradientMaskingWarning",
    "InputRoundingWarning",
    "NarrowInputWarning",
    "NoReLUWarning",
    "UndecidedSamplesWarning",
    "ViolatedBracketError",
]


class CorruptFileError(ValueError):
    """A file does not have the content that its name promises.

    The message contains the path, the checksum expected and the one found. Delete the
    file and fetch it again.
    """


class DownloadError(OSError):
    """A file could not be downloaded.

    The message contains the address and the reason. Nothing half-written is left
    behind; calling again tries again.
    """


class GradientMaskingWarning(UserWarning):
    """An attack may have failed because the model hides its gradient.

    Saturated outputs have a gradient of zero, and an attack that follows it goes
    nowhere. Such a model looks robust and is not: attack it with another loss
    (``PGDAttack(loss="rotate")``) or with an attack that needs no gradient.
    """


class InputRoundingWarning(UserWarning):
    """X is rounded by about as much as an attack may move it.

    Next to a number of 100,000,000 the nearest float32 is 8 away, and nothing moves it
    by 0.1. Give X in float64 to a model that computes in float64, or center it first.
    """


class NarrowInputWarning(UserWarning):
    """The whole input is squeezed through very few units.

    A graph with two or three sources can see only that many linear features of its
    input. Another prior (more vertices, fewer neighbours, more rewiring) has more.
    """


class NoReLUWarning(UserWarning):
    """The regions of a network without ReLU-like units are a convention.

    Between ReLUs a network is linear, and their signs say which linear piece a sample
    is on. A tanh or a logistic unit has a sign as well, but no kink at zero.
    """


class UndecidedSamplesWarning(UserWarning):
    """A proof was searched for, and some samples remain undecided.

    No change was found that fools the model, nor a proof that there is none: a margin
    comes as near to zero as rounding is large, or the search was given up because it
    took too long. They count as robust and not as certified.
    """


class ViolatedBracketError(RuntimeError):
    """An error lies within a radius that was proved free of errors.

    The message contains the sample, the radius and the distance of the error. The model
    computes less precisely than the proof allows for, as on a GPU with TF32, or gives
    another answer to the same question; or a bound is wrong.
    """
