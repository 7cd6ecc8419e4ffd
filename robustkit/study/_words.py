"""Plain words for the columns of a study, and which of them measure robustness."""

import numpy as np

__all__ = [
    "METHODS",
    "SYMBOLS",
    "interval",
    "is_robustness",
    "listed",
    "number",
    "p_value",
    "robust_sign",
    "split_measure",
    "words",
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

# Those that are not here have no sign.
SYMBOLS = {"spearman": "ρ", "kendall": "τ", "pearson": "r", "partial": "ρ"}

_ATTACKS = {
    "fgsm": "FGSM",
    "bim": "BIM",
    "pgd": "PGD",
    "growing": "growing FGSM",
    "one_pixel": "One Pixel",
    "least_likely": "least-likely class",
}
# Measure of an attack -> its words, and whether more of it is more (+1) or less (-1)
# robust. How sure a model is of a wrong answer is neither.
_MEASURES = {
    "robust_accuracy": ("robust accuracy", 1),
    "robust_accuracy_ce": ("robust accuracy (CE)", 1),
    "robust_accuracy_margin": ("robust accuracy (margin)", 1),
    "certified_accuracy": ("certified accuracy", 1),
    "error_rate": ("error rate", -1),
    "average_confidence": ("confidence", 0),
    "average_eps": ("average eps", 1),
    "target_rate": ("target rate", -1),
}
# Measures of an attack that say whether the others can be believed.
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
    "prior__n_nodes": "vertices asked for",
    "prior__n_neighbors": "neighbours on each side",
    "prior__rewiring": "chance of rewiring",
    "regions_prs_ratio": "PRS ratio",
    "regions_inclusion_ratio": "inclusion ratio",
    "regions_major_share": "share in major regions",
    "mapper_purity": "mapper purity",
    "mapper_weak_mass": "mapper weak mass",
    "mapper_n_nodes": "number of mapper nodes",
    "mapper_n_edges": "number of mapper edges",
    "mapper_noise": "mapper noise",
}


def words(column):
    """Say what a column is; a column that we do not know keeps its name."""
    if column in _OTHERS:
        return _OTHERS[column]
    attack, measure = split_measure(column)
    if attack is None:
        return column
    said = _DIAGNOSTICS.get(measure) or _MEASURES[measure][0]
    return f"{_ATTACKS.get(attack, attack)} {said}"


def split_measure(column):
    """Split into the attack's name and its measure; (None, column) if it is neither."""
    for measure in (*_DIAGNOSTICS, *_MEASURES):
        if column.endswith(f"_{measure}"):
            return column.removesuffix(f"_{measure}"), measure
    return None, column


def is_robustness(column):
    """Whether a measure says how a model stands an attack."""
    attack, measure = split_measure(column)
    return attack is not None and measure in _MEASURES


def robust_sign(column):
    """Give 1 if more of a measure is more robust, -1 if it is less so, 0 if neither."""
    return _MEASURES[split_measure(column)[1]][1]


def number(value, digits=2):
    """Write with a true minus sign, never a minus zero, and a dash for what is not."""
    if value is None or np.isnan(value):
        return "–"
    return f"{round(float(value), digits) + 0.0:,.{digits}f}".replace("-", "−")


def interval(low, high):
    """Write the bounds of an interval, or a dash."""
    return "–" if np.isnan(low) else f"[{number(low)}, {number(high)}]"


def p_value(value):
    """Write a p-value: three digits, or that it is smaller than they can say."""
    if np.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def listed(names):
    """Put names into a sentence: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
