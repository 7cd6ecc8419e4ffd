"""Questions about the nodes of a graph, answered in arrays."""

from dataclasses import replace

import numpy as np

from robustkit.topology import purity_of_counts

__all__ = [
    "LIMITS",
    "as_items",
    "describe_run",
    "found_in_nodes",
    "list_members",
    "samples_confused",
    "show",
    "trace_levels",
]

# Smallest and largest value of the parameters of a graph.
LIMITS = {
    "n_intervals": (2, 200),
    "overlap": (0.01, 0.9),
    "min_samples": (1, 50),
}


def describe_run(run, graphs):
    """Say what there is to see.

    Parameters
    ----------
    run : Run
        The samples and views.

    graphs : Graphs
        What computes the graphs.

    Returns
    -------
    answer : dict
        For JSON.
    """
    return {
        "title": run.title,
        "n_samples": run.n_samples,
        "class_names": run.class_names,
        "image_shape": run.image_shape,
        "has_images": run.images is not None,
        "models": run.models,
        "views": [
            {
                "id": i,
                "model": view.model,
                "level": view.level,
                "accuracy": run.accuracy(i),
                "has_regions": view.regions is not None,
            }
            for i, view in enumerate(run.views)
        ],
        "defaults": graphs.defaults,
        "limits": LIMITS,
        "filters": graphs.filters,
        "covers": graphs.covers,
    }


def show(run, picture, seconds):
    """Describe a graph as a pane shows it.

    Parameters
    ----------
    run : Run
        The samples.

    picture : Picture
        The graph and its places.

    seconds : float
        How long it took.

    Returns
    -------
    answer : dict
        For JSON.
    """
    graph, layout = picture.graph, picture.layout
    return {
        "graph": graph.parameters.key,
        "eps": as_number(graph.eps, 12),
        "n_noise": graph.n_samples - graph.n_in_nodes,
        "n_in_nodes": graph.n_in_nodes,
        "seconds": round(seconds, 4),
        "purity": graph.mean_purity,
        "accuracy": run.accuracy(graph.parameters.view),
        "note": graph.note,
        "nodes": {
            "id": picture.ids.tolist(),
            "x": np.round(layout.x, 6).tolist(),
            "y": np.round(layout.y, 6).tolist(),
            "radius": np.round(layout.radius, 6).tolist(),
            "size": graph.size.tolist(),
            "interval": graph.interval.tolist(),
            "filter_mean": graph.filter_mean.tolist(),
            "purity": np.round(graph.purity, 6).tolist(),
            "accuracy": np.round(graph.accuracy, 6).tolist(),
            "counts": graph.counts.tolist(),
        },
        "edges": {
            "source": graph.edges[:, 0].tolist(),
            "target": graph.edges[:, 1].tolist(),
            "shared": graph.n_shared.tolist(),
        },
    }


def trace_levels(run, graphs, parameters, model, cancelled=None):
    """Trace purity and accuracy of one model over its attack levels.

    Parameters
    ----------
    run : Run
        The samples and views.

    graphs : Graphs
        Computes the graphs.

    parameters : GraphParameters
        Those of all graphs, but for the view.

    model : str
        The model.

    cancelled : Event, default=None
        Once it is set, SupersededError is raised at the next step.

    Returns
    -------
    answer : dict
        For JSON.
    """
    views = sorted(
        (i for i, view in enumerate(run.views) if view.model == model),
        key=lambda i: run.views[i].level,
    )
    purity = [graphs.mean_purity(replace(parameters, view=i), cancelled) for i in views]
    return {
        "levels": [run.views[i].level for i in views],
        "views": views,
        "accuracy": [run.accuracy(i) for i in views],
        "purity": purity,
    }


def list_members(run, graph, nodes, *, offset=0, limit=60, sort="index"):
    """Describe the samples of some nodes, a page at a time.

    Parameters
    ----------
    run : Run
        The samples.

    graph : Graph
        The graph.

    nodes : list of int
        Indices of nodes.

    offset, limit : int, default=0, 60
        Which of the samples are listed.

    sort : {"index", "confidence", "wrong"}, default="index"
        By index, the least confident first, or the misclassified first.

    Returns
    -------
    answer : dict
        For JSON.
    """
    view = run.views[graph.parameters.view]
    samples = graph.samples_of(nodes)
    y, predicted = run.y[samples], view.prediction[samples]
    n_classes = len(run.class_names)
    counts = np.bincount(y, minlength=n_classes)
    is_right = y == predicted
    if sort == "confidence":
        order = np.argsort(view.confidence[samples], kind="stable")
    elif sort == "wrong":
        order = np.argsort(is_right, kind="stable")
    else:
        order = np.arange(len(samples))
    return {
        "total": len(samples),
        "wrong": int((~is_right).sum()),
        "purity": _purity(counts),
        "accuracy": float(is_right.mean()) if len(samples) else None,
        "counts": counts.tolist(),
        "predicted_counts": np.bincount(predicted, minlength=n_classes).tolist(),
        "samples": as_items(run, view, samples[order[offset : offset + limit]]),
    }


def _purity(counts):
    return None if counts.sum() == 0 else float(purity_of_counts(counts[None])[0])


def as_items(run, view, samples):
    """Describe samples one by one.

    Parameters
    ----------
    run : Run
        The samples.

    view : RunView
        What a model makes of them.

    samples : ndarray of int
        Which ones.

    Returns
    -------
    items : list of dict
        Index, true and predicted class, confidence and region of each.
    """
    regions = [None] * len(samples)
    if view.regions is not None:
        regions = view.regions[samples].tolist()
    columns = (
        samples.tolist(),
        run.y[samples].tolist(),
        view.prediction[samples].tolist(),
        [as_number(value, 4) for value in view.confidence[samples].tolist()],
        regions,
    )
    return [dict(zip("iypcr", row, strict=True)) for row in zip(*columns, strict=True)]


def as_number(value, digits):
    """Round a number for JSON, which has no NaN."""
    return round(value, digits) if np.isfinite(value) else None


def samples_confused(run, view, true, predicted):
    """Find the samples of one class that a model takes for another.

    Parameters
    ----------
    run : Run
        The samples.

    view : RunView
        What the model makes of them.

    true, predicted : int
        Indices of classes.

    Returns
    -------
    samples : ndarray of int
        Ascending.
    """
    return np.flatnonzero((run.y == true) & (view.prediction == predicted))


def found_in_nodes(graph, samples):
    """Say which nodes hold some samples.

    Parameters
    ----------
    graph : Graph
        The graph.

    samples : array-like of int
        Indices of samples, each once.

    Returns
    -------
    answer : dict
        For JSON.
    """
    held = graph.count_in_nodes(samples)
    nodes = np.flatnonzero(held)
    return {
        "total": len(samples),
        "nodes": nodes.tolist(),
        "held": held[nodes].tolist(),
        "noise": int((~graph.holds()[samples]).sum()),
    }
