"""Questions about the nodes of a graph, answered in arrays."""

import numpy as np

__all__ = ["as_items", "found_in_nodes", "list_members", "samples_confused"]


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
    from robustkit.topology._purity import purity_of_counts

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
