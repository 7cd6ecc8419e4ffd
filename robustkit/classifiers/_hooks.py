"""Objects handed to the training loop are copied and seeded first."""

from sklearn.base import BaseEstimator, clone

from robustkit._randomness import draw_seeds

__all__ = ["seeded_clone"]


def seeded_clone(hook, seed):
    """Copy an object that may learn, check it, and seed what it leaves to chance.

    Parameters
    ----------
    hook : object
        An estimator, or anything that can be copied.

    seed : int
        Where the seeds of those parameters `random_state` come from that are None.

    Returns
    -------
    twin : object
        The copy.
    """
    twin = clone(hook, safe=False)
    if not isinstance(twin, BaseEstimator):
        return twin
    if hasattr(twin, "_parameter_constraints"):
        # Its own `fit`, which would check them, may never be called.
        twin._validate_params()
    unset = sorted(
        name
        for name, value in twin.get_params(deep=True).items()
        if value is None and name.rpartition("__")[2] == "random_state"
    )
    seeds = draw_seeds(seed, len(unset))
    return twin.set_params(**dict(zip(unset, seeds, strict=True)))
