"""Coefficients of all pairs at once, against one call per pair."""

from functools import partial

import numpy as np
from scipy import stats

from benchmarks import peers
from benchmarks.harness import Case, Growth
from robustkit.correlation import _coefficients

PEERS = ("dcor",)
N_PROPERTIES, N_MEASURES = 20, 10


def cases():
    """The paper's 100 graphs, and all 600 models; then more and more models."""
    for n in (100, 600):
        for (name, peer, ours, theirs, note), limit in zip(
            _peers(), (0.2, 1, 1), strict=True
        ):
            mine, others, same = _sides(ours, theirs, n)
            yield Case(
                name=f"{name} of {n} models, {N_PROPERTIES} x {N_MEASURES} pairs",
                peer=peer,
                ours=mine,
                theirs=others,
                limit=limit,
                same=same,
                note=note,
            )
    yield from _growths()


def _growths():
    for name, peer, ours, theirs, note in _peers():
        yield Growth(
            name=f"{name}, {N_PROPERTIES} x {N_MEASURES} pairs",
            peer=peer,
            along="models",
            sizes=(75, 300, 1200, 4800),
            sides=partial(_sides, ours, theirs),
            note=note,
        )


def _peers():
    """Of each coefficient: its name, a peer, our function, theirs, and a note."""
    note = "scipy's time includes a p-value"
    yield (
        "Spearman's rho",
        "scipy.stats.spearmanr, one call per pair",
        _coefficients.spearman,
        _spearman,
        note,
    )
    yield (
        "Kendall's tau",
        "scipy.stats.kendalltau, one call per pair",
        _coefficients.kendall,
        _kendall,
        note,
    )
    dcor = peers.load("dcor")
    yield (
        "distance correlation",
        "doubly centred matrices, numpy, one call per pair"
        if dcor is None
        else f"{peers.title('dcor')}, one call per pair",
        _coefficients.distance,
        _distance if dcor is None else dcor.distance_correlation,
        "",
    )


def _sides(ours, theirs, n_models):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_models, N_PROPERTIES))
    Y = rng.normal(size=(n_models, N_MEASURES)) + X[:, :N_MEASURES]
    return (
        lambda: ours(X, Y),
        lambda: np.array([[theirs(x, y) for y in Y.T] for x in X.T]),
        lambda a, b: np.allclose(a, b, atol=1e-9),
    )


def _spearman(x, y):
    return stats.spearmanr(x, y).statistic


def _kendall(x, y):
    return stats.kendalltau(x, y).statistic


def _distance(x, y):
    A, B = (_centred(np.abs(v[:, None] - v)) for v in (x, y))
    return np.sqrt((A * B).mean() / np.sqrt((A * A).mean() * (B * B).mean()))


def _centred(d):
    return d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()
