"""Plain labels for the columns of a study, and numbers as a reader expects them."""

from collections.abc import Mapping

import numpy as np

__all__ = [
    "METHODS",
    "SYMBOLS",
    "attack_label",
    "describe",
    "interval",
    "is_robustness",
    "label",
    "listed",
    "number",
    "p_value",
    "robust_sign",
    "split_measure",
]

METHODS = {
    "spearman": "Spearman's ρ",
    "kendall": "Kendall's τ",
    "pearson": "Pearson's r",
    "distance": "Distance correlation",
    "xi": "Chatterjee's ξ",
    "mutual_info": "Mutual information",
    "partial": "Spearman's ρ given all other properties",
}

# Methods that are not here have no sign.
SYMBOLS = {"spearman": "ρ", "kendall": "τ", "pearson": "r", "partial": "ρ"}

_ATTACKS = {
    "fgsm": "FGSM",
    "bim": "BIM",
    "pgd": "PGD",
    "growing": "growing FGSM",
    "one_pixel": "One Pixel",
    "nearest": "nearest error",
    "least_likely": "least-likely class",
}
# Measure of an attack -> its label, and whether more of it is more (+1) or less (-1)
# robust. Confidence in a wrong class is neither.
_MEASURES = {
    "robust_accuracy": ("robust accuracy", 1),
    "robust_accuracy_ce": ("robust accuracy (CE)", 1),
    "robust_accuracy_margin": ("robust accuracy (margin)", 1),
    "robust_accuracy_rotate": ("robust accuracy (rotating)", 1),
    "robust_accuracy_gradient_free": ("robust accuracy (without gradient)", 1),
    "robust_accuracy_worst": ("robust accuracy (worst case)", 1),
    "median_distance": ("median distance", 1),
    "mean_distance": ("mean distance", 1),
    "not_found": ("share without an error", 1),
    "certified_accuracy": ("certified accuracy", 1),
    "error_rate": ("error rate", -1),
    "average_confidence": ("confidence", 0),
    "average_eps": ("average eps", 1),
    "target_rate": ("target rate", -1),
}
# Measures of an attack that say whether the others can be trusted.
_DIAGNOSTICS = {
    "zero_gradient_share": "share of zero gradients",
    "median_logit_margin": "median logit margin",
}
_OTHERS = {
    "n_parameters": "number of parameters",
    "n_nodes": "number of vertices",
    "n_edges": "number of edges",
    "n_components": "number of components",
    "n_layers": "number of layers",
    "n_sources": "number of sources",
    "n_sinks": "number of sinks",
    "average_path_length": "average path length",
    "directed_path_length": "directed path length",
    "average_eccentricity": "average eccentricity",
    "average_betweenness": "average betweenness",
    "directed_betweenness": "directed betweenness",
    "average_edge_betweenness": "average edge betweenness",
    "average_closeness": "average closeness",
    "average_clustering": "average clustering",
    "degree_mean": "mean degree",
    "degree_std": "spread of degrees",
    "degree_min": "smallest degree",
    "degree_max": "largest degree",
    "clean_accuracy": "clean accuracy",
    "f1_macro": "macro F1",
    "prior__generator": "generator",
    "prior__n_nodes": "vertices of the prior",
    "prior__n_neighbors": "neighbors per side",
    "prior__rewiring": "rewiring probability",
    "regions_prs_ratio": "PRS ratio",
    "regions_inclusion_ratio": "inclusion ratio",
    "regions_major_share": "share in major regions",
    "wall_linf": "distance to a wall",
    "wall_l2": "Euclidean distance to a wall",
    "regions_to_error": "regions to the nearest error",
    "error_in_own_region": "errors in the own region",
    "mapper_purity": "mapper purity",
    "mapper_weak_mass": "mapper weak mass",
    "mapper_n_nodes": "number of mapper nodes",
    "mapper_n_edges": "number of mapper edges",
    "mapper_noise": "mapper noise",
}


def label(column: str) -> str:
    """Name a column in plain words; an unknown column keeps its name."""
    if column in _OTHERS:
        return _OTHERS[column]
    attack, measure = split_measure(column)
    if attack is None:
        return str(column)
    return (
        f"{attack_label(attack)} {_DIAGNOSTICS.get(measure) or _MEASURES[measure][0]}"
    )


def attack_label(attack: str) -> str:
    """Name an attack as the literature does; an unknown attack keeps its name."""
    return _ATTACKS.get(attack, attack)


def split_measure(column: str) -> tuple[str | None, str]:
    """Split into the attack and its measure; (None, column) for other columns."""
    for measure in (*_DIAGNOSTICS, *_MEASURES):
        if column.endswith(f"_{measure}"):
            return column.removesuffix(f"_{measure}"), measure
    return None, column


def is_robustness(column: str) -> bool:
    """Whether a measure quantifies how robust a model is to an attack."""
    attack, measure = split_measure(column)
    return attack is not None and measure in _MEASURES


def robust_sign(column: str) -> int:
    """Give 1 if more of a measure is more robust, -1 if it is less so, 0 if neither."""
    return _MEASURES[split_measure(column)[1]][1]


def number(value: float | None, digits: int = 2) -> str:
    """Write with a true minus sign, never a negative zero, and a dash for NaN."""
    if value is None or np.isnan(value):
        return "–"
    return f"{round(float(value), digits) + 0.0:,.{digits}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """Write the bounds of an interval, or a dash if there is none."""
    return "–" if np.isnan(low) else f"[{number(low)}, {number(high)}]"


def p_value(value: float) -> str:
    """Write a p-value with three digits, or say that it is smaller."""
    if np.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def listed(names: list[str]) -> str:
    """Join names for a sentence: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def describe(value: object) -> str:
    """Write a setting of any depth on one line.

    ``{"package.Name": {...}}``, as a store keeps objects, is written as a call.
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


def _pairs(mapping: Mapping, sign: str) -> str:
    return ", ".join(
        f"{name}{sign}{describe(value)}" for name, value in mapping.items()
    )
