"""As many pairs as can be kept: those within the largest distance that allows it."""

import numpy as np

from robustkit.topology._pairs import find_pairs, join_pairs, search_pairs

# Rows of which the pairs are counted, to tell how many there are; of their distances
# only each eighth is looked at.
_N_COUNTED = 1000
_STRIDE = 8

# How much of what can be kept is planned for, as the number is only estimated; and for
# pairs beyond eps, since to find some again takes no longer than to pass over many.
_SHARE = 0.9
_SHARE_AHEAD = 0.5


def find_within_reach(
    samples, eps, farthest, ends, most, *, with_distances=False, n_jobs=None
):  # fmt: skip
    """Find the pairs within a distance, or at least all of a smaller one.

    Parameters
    ----------
    samples : OrderedSamples
        The samples.

    eps : float
        The distance that matters most.

    farthest : float
        Not below `eps`: a distance up to which more pairs are welcome.

    ends : ndarray of shape (n_samples,)
        Position i is paired with those from i + 1 up to but not including ``ends[i]``.
        Ascending.

    most : int
        Pairs that can be kept.

    with_distances : bool, default=False
        Keep the distances, too.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    reach : float
        At most `farthest`; negative if nothing can be kept.

    pairs : Pairs
        All pairs within it, a row for every position.
    """
    reach = _estimate_reach(samples, eps, farthest, ends, most, n_jobs)
    while reach >= 0:
        pairs = find_pairs(
            samples, reach, ends, most=most, with_distances=with_distances,
            n_jobs=n_jobs,
        )  # fmt: skip
        if pairs is not None:
            return reach, pairs
        # The estimate was too low. Where many distances are 0, nothing can be kept.
        reach = 0.95 * reach if reach > farthest / 100 else -1.0
    return reach, join_pairs([], len(ends), with_distances)


def _estimate_reach(samples, eps, farthest, ends, most, n_jobs):
    n_samples = len(ends)
    if (ends - np.arange(n_samples) - 1).sum() <= most:
        return float(farthest)
    some = np.zeros(n_samples, dtype=bool)
    some[:: max(1, n_samples // _N_COUNTED)] = True
    found = search_pairs(
        samples, farthest, ends, rows=some, with_distances=True, n_jobs=n_jobs
    )
    squared = [pairs.distances[::_STRIDE] for pairs in found]
    squared = np.concatenate([np.empty(0, np.float32), *squared])
    distances = np.sqrt(np.maximum(squared, 0)) / samples.scale
    room = most * some.mean() / _STRIDE
    # Those within eps are tried wherever that may succeed.
    needed = (distances <= eps).sum()
    share = max(needed, _SHARE_AHEAD * room) if needed <= room else _SHARE * room
    if share >= len(distances):
        return float(farthest)
    reach = float(np.quantile(distances, share / len(distances)))
    # Rounded distances may be larger than those asked for.
    return min(float(farthest), max(reach, float(eps)) if needed <= room else reach)
