"""All properties against all measures, by all methods: the numbers of the table."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from robustkit._randomness import draw_seeds
from robustkit.correlation._intervals import (
    bca_intervals,
    bootstrap,
    fisher_intervals,
    jackknife,
)
from robustkit.correlation._methods import METHODS, Method
from robustkit.correlation._models import Block, blocks
from robustkit.correlation._significance import count_exceeding

__all__ = ["associate", "coefficients_of"]

# Resamples a job. Fixed, so that the seeds do not depend on the number of processes.
_PER_JOB = 100


def coefficients_of(method, X, Y, groups):
    """One method, without certainty.

    Parameters
    ----------
    method : str
        One of `METHODS`.

    X, Y : ndarray of shape (n_models, n_properties) and (n_models, n_measures)
        NaN where a value is missing.

    groups : ndarray of shape (n_models,), dtype=int
        Not used by a coefficient.

    Returns
    -------
    coefficients : ndarray of shape (n_properties, n_measures)
        NaN for constant columns and too few models.
    """
    table = np.full((X.shape[1], Y.shape[1]), np.nan)
    for part in _parts(X, Y, groups, [method]):
        table[part.block.pairs] = part.observed
    return table


def associate(
    X, Y, groups, methods, *, n_bootstrap, n_permutations, alpha, random_state, n_jobs
):
    """Correlate, test, and draw intervals.

    Parameters
    ----------
    X, Y : ndarray of shape (n_models, n_properties) and (n_models, n_measures)
        NaN where a value is missing.

    groups : ndarray of shape (n_models,), dtype=int
        Models of one group are drawn together by the bootstrap.

    methods : list of str
        Out of `METHODS`.

    n_bootstrap, n_permutations : int
        How many of each.

    alpha : float
        The intervals have level ``1 - alpha``.

    random_state : int, RandomState instance or None
        Moved only if something is drawn.

    n_jobs : int or None
        For the resampling.

    Returns
    -------
    found : dict of str to ndarray of shape (n_properties, n_measures, n_methods)
        "coefficient", "p_value", "ci_low", "ci_high", "n".
    """
    shape = (X.shape[1], Y.shape[1], len(methods))
    names = ("coefficient", "p_value", "ci_low", "ci_high")
    found = {name: np.full(shape, np.nan) for name in names}
    found["n"] = np.zeros(shape, dtype=int)
    parts = list(_parts(X, Y, groups, methods))
    _resample(parts, n_bootstrap, n_permutations, random_state, n_jobs)
    for part in parts:
        here = (*part.block.pairs, part.which)
        found["coefficient"][here] = part.observed
        found["n"][here] = len(part.block.X)
        found["p_value"][here] = part.p_values(n_permutations)
        found["ci_low"][here], found["ci_high"][here] = part.interval(alpha)
    return found


@dataclass
class _Part:
    """One method on one block, and what the resampling says about it."""

    which: int
    method: Method
    block: Block
    observed: np.ndarray
    counts: list = field(default_factory=list)
    draws: list = field(default_factory=list)
    left_out: list = field(default_factory=list)

    def jobs(self, n_bootstrap, n_permutations):
        """Yield (where the result goes, function, its arguments but for the seed)."""
        kernel, X, Y = self.method.coefficients, self.block.X, self.block.Y
        if np.isnan(self.observed).all():
            return
        if self.method.p_values is None:
            for n in _portions(n_permutations):
                yield self.counts, count_exceeding, (kernel, X, Y, self.observed, n)
        if n_bootstrap and self.n_groups >= (self.method.least_groups or np.inf):
            sample = (kernel, X, Y, self.block.groups)
            yield self.left_out, jackknife, sample
            for n in _portions(n_bootstrap) if self.method.bootstraps else ():
                yield self.draws, bootstrap, (*sample, n)

    @property
    def n_groups(self):
        """How many groups of models there are to draw from."""
        return len(np.unique(self.block.groups))

    def p_values(self, n_permutations):
        """By formula, or the share of shuffles that do as well, the true order one."""
        if self.method.p_values is not None:
            return self.method.test(self.block.X, self.block.Y, self.observed)
        share = (1 + np.sum(self.counts, axis=0)) / (1 + n_permutations)
        return np.where(np.isnan(self.observed), np.nan, share)

    def interval(self, alpha):
        """Where the true coefficient lies; NaN where nothing was drawn."""
        if not self.left_out:
            return np.full((2, *self.observed.shape), np.nan)
        (left_out,) = self.left_out
        if self.draws:
            draws = np.concatenate(self.draws)
            return bca_intervals(self.observed, draws, left_out, alpha=alpha)
        return fisher_intervals(
            self.observed, left_out, n_groups=self.n_groups, alpha=alpha
        )


def _parts(X, Y, groups, methods):
    for which, name in enumerate(methods):
        method = METHODS[name]
        for block in blocks(X, Y, groups, listwise=method.listwise):
            observed = method.coefficients(block.X, block.Y)
            yield _Part(which, method, block, observed)


def _resample(parts, n_bootstrap, n_permutations, random_state, n_jobs):
    jobs = [job for part in parts for job in part.jobs(n_bootstrap, n_permutations)]
    seeds = draw_seeds(random_state, len(jobs))
    results = Parallel(n_jobs=n_jobs)(
        delayed(function)(*arguments, seed)
        for (_, function, arguments), seed in zip(jobs, seeds, strict=True)
    )
    for (destination, _, _), result in zip(jobs, results, strict=True):
        destination.append(result)


def _portions(total):
    return [min(_PER_JOB, total - start) for start in range(0, total, _PER_JOB)]
