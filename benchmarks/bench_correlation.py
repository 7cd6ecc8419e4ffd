"""Coefficients of all pairs at once, against a call a pair."""

from importlib.metadata import version

import numpy as np
from scipy import stats

from benchmarks.harness import Case
from robustkit.correlation import _coefficients

try:
    import dcor
except ImportError:
    dcor = None
else:
    VERSION = version("dcor")

N_PROPERTIES, N_MEASURES = 20, 10


def cases():
    """The paper's 100 graphs, and all 600 models, as the bootstrap calls them."""
    for n in (100, 600):
        rng = np.random.RandomState(0)
        X, Y = rng.normal(size=(n, N_PROPERTIES)), rng.normal(size=(n, N_MEASURES))
        Y += X[:, :N_MEASURES]
        note = "scipy's time includes a p-value"
        yield _case(
            "Spearman's rho", "scipy.stats.spearmanr", X, Y, _spearman, 0.2, note
        )
        yield _case("Kendall's tau", "scipy.stats.kendalltau", X, Y, _kendall, 1, note)
        peer = "doubly centred matrices, numpy" if dcor is None else f"dcor {VERSION}"
        yield _case("distance correlation", peer, X, Y, _distance, 1)


def _case(name, peer, X, Y, theirs, limit, note=""):
    ours = {
        _spearman: _coefficients.spearman,
        _kendall: _coefficients.kendall,
        _distance: _coefficients.distance,
    }[theirs]
    return Case(
        name=f"{name} of {len(X)} models, {X.shape[1]} x {Y.shape[1]} pairs",
        peer=f"{peer}, a call a pair",
        ours=lambda: ours(X, Y),
        theirs=lambda: np.array([[theirs(x, y) for y in Y.T] for x in X.T]),
        limit=limit,
        same=lambda a, b: np.allclose(a, b, atol=1e-9),
        note=note,
    )


def _spearman(x, y):
    return stats.spearmanr(x, y).statistic


def _kendall(x, y):
    return stats.kendalltau(x, y).statistic


def _distance(x, y):
    if dcor is not None:
        return dcor.distance_correlation(x, y)
    A, B = (_centred(np.abs(v[:, None] - v)) for v in (x, y))
    return np.sqrt((A * B).mean() / np.sqrt((A * A).mean() * (B * B).mean()))


def _centred(d):
    return d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()
