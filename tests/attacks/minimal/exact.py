"""Distances that are known: of linear models exactly, of small networks on a grid.

All in float64, and slowly.
"""

import numpy as np
from scipy.optimize import brentq, linprog, minimize

ORDER = {"linf": np.inf, "l2": 2}


def distance_to_half_space(slope, need, x, low, high, norm):
    """How far a point of the box with ``slope @ move >= need`` is; inf without one.

    In the maximum norm every feature moves as far as the level and the box allow: the
    gain is piecewise linear, with a corner where a feature meets the box. In the
    Euclidean one the features move in proportion to their slopes.
    """
    room = np.where(slope > 0, high - x, x - low)
    if need <= 0:
        return 0.0
    if (np.abs(slope) * np.where(slope == 0, 0, room)).sum() < need:
        return np.inf
    if norm == "linf":
        corners = np.sort(room[np.isfinite(room)])
        edges = np.concatenate([[0.0], corners])
        gains = [(np.abs(slope) * np.minimum(room, e)).sum() for e in edges]
        k = np.searchsorted(gains, need)
        if k == len(edges):
            left = np.abs(slope)[np.isinf(room)].sum()
            return edges[-1] + (need - gains[-1]) / left
        step = (need - gains[k - 1]) / (gains[k] - gains[k - 1])
        return edges[k - 1] + step * (edges[k] - edges[k - 1])

    def move(factor):
        return np.minimum(np.abs(slope) * factor, room)

    most = 1.0
    while np.abs(slope) @ move(most) < need:
        most *= 2
    factor = brentq(lambda f: np.abs(slope) @ move(f) - need, 0, most, xtol=1e-15)
    return float(np.linalg.norm(move(factor)))


def distance_to_class(weight, bias, x, target, low, high, norm):
    """How far a point of the box is at which a linear model predicts one class."""
    slopes = np.delete(weight[target] - weight, target, axis=0)
    needs = -np.delete(bias[target] - bias, target) - slopes @ x
    n = len(x)
    if norm == "linf":
        # The level is the last variable.
        cube = np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]])
        ahead = np.column_stack([-slopes, np.zeros(len(slopes))])
        found = linprog(
            np.append(np.zeros(n), 1),
            A_ub=np.vstack([cube, ahead]),
            b_ub=np.concatenate([np.zeros(2 * n), -needs]),
            bounds=[*zip(low - x, high - x, strict=True), (0, None)],
        )
        return found.fun if found.success else np.inf
    scale = max(1.0, np.abs(slopes).max())
    best = np.inf
    for start in (np.zeros(n), *slopes):
        found = minimize(
            lambda d: d @ d,
            np.clip(start, low - x, high - x),
            jac=lambda d: 2 * d,
            bounds=list(zip(low - x, high - x, strict=True)),
            constraints={
                "type": "ineq",
                "fun": lambda d: (slopes @ d - needs) / scale,
                "jac": lambda d: slopes / scale,
            },
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        if (slopes @ found.x - needs).min() > -1e-7 * scale:
            best = min(best, np.linalg.norm(found.x))
    return best


def distance_on_grid(predict, x, y, low, high, norm, n=201):
    """How far the nearest point of a grid is that a model of two features gets wrong.

    Infinity if there is none.
    """
    axis = np.linspace(low, high, n)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    wrong = grid[predict(grid) != y]
    if len(wrong) == 0:
        return np.inf
    return np.linalg.norm(wrong - x, ord=ORDER[norm], axis=1).min()
