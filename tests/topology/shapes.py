"""Point clouds of known shape, and what graph of them is right."""

import networkx as nx
import numpy as np


def circle(n_samples, rng, center=(0.0, 0.0), radius=1.0):
    angle = rng.uniform(0, 2 * np.pi, n_samples)
    points = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    return points + center + rng.normal(scale=0.02, size=points.shape)


def two_circles(n_samples, rng):
    centers = (-1.5, 0.0), (1.5, 0.0)
    return np.concatenate([circle(n_samples // 2, rng, center) for center in centers])


def nested_circles(n_samples, rng):
    inner = circle(n_samples // 3, rng)
    return np.concatenate([inner, circle(n_samples - len(inner), rng, radius=2.0)])


def figure_of_eight(n_samples, rng):
    angle = rng.uniform(0, 2 * np.pi, n_samples)
    points = 1.5 * np.column_stack([np.sin(angle), np.sin(angle) * np.cos(angle)])
    return points + rng.normal(scale=0.02, size=points.shape)


def klein_bottle(n_samples, rng):
    """In four dimensions, where it does not meet itself."""
    u, v = rng.uniform(0, 2 * np.pi, (2, 4 * n_samples))
    # As likely as the surface there is large.
    is_kept = rng.uniform(size=len(u)) < (3 + np.cos(v)) / 4
    u, v = u[is_kept][:n_samples], v[is_kept][:n_samples]
    around = 3 + np.cos(v)
    return np.column_stack(
        [around * np.cos(u), around * np.sin(u), np.sin(v) * np.cos(u / 2),
         np.sin(v) * np.sin(u / 2)]
    )  # fmt: skip


def capsule(n_samples, rng, start, end, radius):
    """The surface of all points so near to a segment."""
    start, end = np.array(start), np.array(end)
    length = np.linalg.norm(end - start)
    axis = (end - start) / length
    directions = rng.normal(size=(n_samples, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    across = directions - np.outer(directions @ axis, axis)
    across /= np.linalg.norm(across, axis=1)[:, None]
    is_cap = rng.uniform(size=n_samples) < 2 * radius / (2 * radius + length)
    is_top = directions @ axis > 0
    caps = np.where(is_top[:, None], end, start) + radius * directions
    along = rng.uniform(size=n_samples)
    side = start + np.outer(along, end - start) + radius * across
    return np.where(is_cap[:, None], caps, side)


def human(n_samples, rng):
    """Head, neck, trunk, arms and legs apart; the height comes first."""
    parts = [
        ((0, 0, 0.9), (0, 0, 1.5), 0.17), ((0, 0, 1.5), (0, 0, 1.58), 0.06),
        ((0, 0, 1.6), (0, 0, 1.8), 0.1), ((-0.25, 0, 0), (-0.1, 0, 0.9), 0.08),
        ((0.25, 0, 0), (0.1, 0, 0.9), 0.08), ((-0.17, 0, 1.42), (-0.5, 0, 0.8), 0.05),
        ((0.17, 0, 1.42), (0.5, 0, 0.8), 0.05),
    ]  # fmt: skip
    areas = [radius * np.linalg.norm(np.subtract(b, a)) for a, b, radius in parts]
    counts = rng.multinomial(n_samples, np.divide(areas, sum(areas)))
    points = [capsule(n, rng, *part) for n, part in zip(counts, parts, strict=True)]
    return np.concatenate(points)[:, [2, 0, 1]]


def blobs(n_samples, rng, widths=(1.0, 1.0, 1.0), n_features=2):
    centers = np.zeros((3, n_features))
    centers[:, :2] = [[0, 0], [14, 6], [28, -3]]
    return np.concatenate(
        [
            center + width * rng.normal(size=(n_samples // 3, n_features))
            for center, width in zip(centers, widths, strict=True)
        ]
    )


def blobs_of_different_width(n_samples, rng):
    return blobs(n_samples, rng, widths=(0.3, 1.0, 2.0))


# Components and loops.
SHAPES = {
    "two circles": (two_circles, (2, 2)),
    "nested circles": (nested_circles, (2, 2)),
    "figure of eight": (figure_of_eight, (1, 2)),
    "human": (human, (1, 0)),
    "klein bottle": (klein_bottle, (1, 1)),
    "blobs": (blobs, (3, 0)),
    "blobs of different width": (blobs_of_different_width, (3, 0)),
}


def n_components_and_loops(graph):
    n_components = nx.number_connected_components(graph)
    return n_components, graph.number_of_edges() - len(graph) + n_components
