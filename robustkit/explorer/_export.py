"""A graph or a table of samples as a file."""

import csv
import io
import re

import numpy as np

from robustkit.explorer._queries import as_items

__all__ = ["graph_as_dict", "graph_as_graphml", "selection_as_csv"]


def graph_as_dict(run, graph):
    """Describe a graph, with the samples of its nodes, for JSON.

    Parameters
    ----------
    run : Run
        The samples.

    graph : Graph
        The graph.

    Returns
    -------
    description : dict
        Numbers, strings and lists.
    """
    view, p = run.views[graph.parameters.view], graph.parameters
    eps = graph.eps if np.isfinite(graph.eps) else None
    return {
        "format": "robustkit-mapper-graph",
        "version": 1,
        "title": run.title,
        "model": view.model,
        "level": view.level,
        "filter": p.filter,
        "cover": p.cover,
        "n_intervals": p.n_intervals,
        "overlap": p.overlap,
        "eps": eps,
        "min_samples": p.min_samples,
        "class_names": run.class_names,
        "nodes": [
            {**node, "samples": graph.samples_of([node["id"]]).tolist()}
            for node in _nodes(graph)
        ],
        "edges": [
            {"source": i, "target": j, "shared": n}
            for (i, j), n in zip(
                graph.edges.tolist(), graph.n_shared.tolist(), strict=True
            )
        ],
    }


def _nodes(graph):
    columns = {
        "id": np.arange(graph.n_nodes),
        "interval": graph.interval,
        "size": graph.size,
        "filter_mean": graph.filter_mean,
        # As the page has them, which writes the same file without a server.
        "purity": np.round(graph.purity, 6),
        "accuracy": np.round(graph.accuracy, 6),
        "counts": graph.counts,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def graph_as_graphml(run, graph):
    """Write a graph for Gephi, Cytoscape and the like.

    Parameters
    ----------
    run : Run
        The samples.

    graph : Graph
        The graph.

    Returns
    -------
    text : str
        GraphML.
    """
    import networkx as nx

    names = [_for_xml(name) for name in run.class_names]
    plain = nx.Graph(name=_for_xml(run.title))
    for node in _nodes(graph):
        counts = node.pop("counts")
        plain.add_node(
            node.pop("id"),
            **node,
            majority=names[int(np.argmax(counts))],
            # By number: two classes may have one name.
            **{f"count_{i}": count for i, count in enumerate(counts)},
        )
    plain.add_weighted_edges_from(
        (i, j, n)
        for (i, j), n in zip(graph.edges.tolist(), graph.n_shared.tolist(), strict=True)
    )
    return "\n".join(nx.generate_graphml(plain))


def _for_xml(text):
    """Replace the characters that XML can not hold in any way."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "�", text)


def selection_as_csv(run, graph, nodes):
    """Write the samples of some nodes as a table.

    Parameters
    ----------
    run : Run
        The samples.

    graph : Graph
        The graph.

    nodes : list of int
        Indices of nodes.

    Returns
    -------
    text : str
        Comma-separated values.
    """
    view = run.views[graph.parameters.view]
    names = [_for_spreadsheet(name) for name in run.class_names]
    file = io.StringIO()
    table = csv.writer(file)
    table.writerow(["sample", "true", "predicted", "wrong", "confidence", "region"])
    for item in as_items(run, view, graph.samples_of(nodes)):
        true, predicted = item["y"], item["p"]
        table.writerow(
            [
                item["i"], names[true], names[predicted], int(true != predicted),
                item["c"], item["r"],
            ]
        )  # fmt: skip
    return file.getvalue()


def _for_spreadsheet(name):
    """Keep a spreadsheet from taking a name for a formula; a number it may be."""
    is_number = re.fullmatch(r"[+-]?\d+(\.\d+)?", name)
    return f"'{name}" if name.startswith(tuple("=+-@\t\r")) and not is_number else name
