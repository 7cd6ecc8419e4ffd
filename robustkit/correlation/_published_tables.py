"""Tables that others published of the robustness of many networks.

Both list the networks of NAS-Bench-201: 15,625 cells of four vertices, with one of five
operations on each of the six edges. They are files of JSON; nothing is unpickled.
"""

import json
import os
import re
from collections.abc import Iterator
from math import isnan, nan
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

__all__ = ["load_nas_robustness"]

_META = "meta.json"

# How a file of Jung et al. ends, after the name of the attack.
_ACCURACIES = "_accuracy.json"

# Operations on an edge, and the property that counts them; "none" is no edge.
_OPERATIONS = {
    "nor_conv_3x3": "n_conv_3x3",
    "nor_conv_1x1": "n_conv_1x1",
    "avg_pool_3x3": "n_avg_pool",
    "skip_connect": "n_skip",
    "none": None,
}
_OF_CONVOLUTION = ("nor_conv_3x3", "nor_conv_1x1")
_FIRST, _LAST = 0, 3


def load_nas_robustness(
    path: str | os.PathLike,
    *,
    dataset: str = "cifar10",
    meta: str | os.PathLike | None = None,
) -> Bunch:
    """Load a published table of the robustness of the networks of NAS-Bench-201.

    The files are those of the authors, which you download; they are described in
    :doc:`/how_to/published_tables`. They are read as JSON and checked, and nothing in
    them is run.

    Parameters
    ----------
    path : path-like
        Of Jung et al. [1]_, the folder that holds ``meta.json`` and a folder for each
        data set, with files such as ``pgd@Linf_accuracy.json``. Of NAS-RobBench-201
        [2]_, the file of all results, such as ``NAS-RobBench-201_all.json``.

    dataset : str, default="cifar10"
        Which images the networks were trained on, by the name in the files.

    meta : path-like, default=None
        The file that says which cell each network has. None is ``meta.json`` in the
        folder `path`, or beside the file.

    Returns
    -------
    table : Bunch
        What :meth:`RobustnessCorrelator.fit` takes, one row per network and, in the
        second table, per seed:

        X : DataFrame of shape (n_rows, n_properties)
            Of the part of the cell that lies between its input and its output: how
            often each operation occurs, ``n_paths``, ``longest_path`` and
            ``shortest_path`` in edges, and ``conv_depth``, the most convolutions on a
            path. Paths are NaN where there is none.
        y : DataFrame of shape (n_rows, n_measures)
            Accuracies in [0, 1], named as in the files. Where a file of Jung et al.
            gives one per strength, the column names end in ``_eps`` and its value,
            ``pgd@Linf_eps1.0``, or, for corruptions, in ``_severity`` and its number.
            NaN where a file has none.
        groups : ndarray of shape (n_rows,)
            Which network each row is of.
        cells : list of str
            The cell of each row, as NAS-Bench-201 writes it.

    See Also
    --------
    RobustnessCorrelator : Which properties correlate with which measures.

    References
    ----------
    .. [1] Jung, S., Lukasik, J., & Keuper, M. (2023). Neural architecture design and
       robustness: a dataset. ICLR. https://openreview.net/forum?id=p8coElqiSDw
    .. [2] Wu, Y., Liu, F., Simon-Gabriel, C.-J., Chrysos, G., & Cevher, V. (2024).
       Robust NAS under adversarial training: benchmark, theory, and beyond. ICLR.
       https://openreview.net/forum?id=cdUpf6t6LZ

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from robustkit.correlation import load_nas_robustness
    >>> cell = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    >>> meta = {"ids": {"7": {"nb201-string": cell, "isomorph": "7"}}}
    >>> results = {"cifar10": {"7": {"val_pgd_3.0_acc": {"0": 0.41, "1": 0.43}}}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "all.json")
    ...     n = file.write_text(json.dumps(results))
    ...     n = Path(folder, "meta.json").write_text(json.dumps(meta))
    ...     table = load_nas_robustness(file)
    >>> table.X[["n_conv_3x3", "n_paths", "longest_path"]].to_numpy().tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    >>> table.y["val_pgd_3.0_acc"].tolist()
    [0.41, 0.43]
    """
    path = Path(path)
    if meta is None:
        meta = (path if path.is_dir() else path.parent) / _META
    cells, epsilons = _read_meta(Path(meta))
    if path.is_dir():
        results = _read_folder(path, dataset, epsilons)
    else:
        results = _read_file(path, dataset)
    return _as_table(results, cells, Path(meta))


class _Result(NamedTuple):
    file: Path
    network: str
    seed: str
    measure: str
    accuracy: float


def _as_table(results: Iterator[_Result], cells: dict[str, str], meta: Path) -> Bunch:
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for result in results:
        if result.network not in cells:
            _refuse(result.file, f"network {result.network!r} is not in {meta}")
        row = rows.setdefault((result.network, result.seed), {})
        row[result.measure] = result.accuracy
    keys = sorted(rows, key=lambda key: (len(key[0]), *key))
    properties = {network: _describe(cells[network]) for network, _ in keys}
    networks = [network for network, _ in keys]
    index = pd.RangeIndex(len(keys))
    return Bunch(
        X=pd.DataFrame([properties[n] for n in networks], index=index, dtype=float),
        y=pd.DataFrame([rows[key] for key in keys], index=index, dtype=float),
        groups=np.array(networks),
        cells=[cells[n] for n in networks],
    )


def _read_meta(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Read the cell of every network, and the strengths of the attacks."""
    content = _read_json(path)
    ids = _entry(path, content, "ids")
    cells = {}
    for network, entry in _items(path, ids, "ids"):
        place = f"ids[{network!r}]"
        cells[network] = _entry(path, entry, "nb201-string", place)
        if not isinstance(cells[network], str) or not _edges(cells[network]):
            _refuse(path, f"{place} is not a cell of NAS-Bench-201: {cells[network]!r}")
    epsilons = content.get("epsilons", {})
    if not isinstance(epsilons, dict):
        _refuse(path, f"'epsilons' must be an object, and is {_short(epsilons)}")
    return cells, epsilons


def _read_folder(
    folder: Path, dataset: str, epsilons: dict[str, Any]
) -> Iterator[_Result]:
    """Read every file of accuracies of Jung et al."""
    files = sorted((folder / dataset).glob(f"*{_ACCURACIES}"))
    if not files:
        there = sorted({file.parent.name for file in folder.glob(f"*/*{_ACCURACIES}")})
        raise FileNotFoundError(
            f"{folder / dataset} holds no file that ends in {_ACCURACIES!r}. There are "
            f"some in {there}: unpack the files of the data set, or change 'dataset'."
        )
    for file in files:
        attack = file.name.removesuffix(_ACCURACIES)
        content = _read_json(file)
        for key in (dataset, attack, "accuracy"):
            content = _entry(file, content, key)
        strengths = epsilons.get(attack)
        for network, value in _items(file, content, "accuracy"):
            yield from _of_one_attack(file, attack, network, value, strengths)


def _of_one_attack(
    file: Path, attack: str, network: str, value: Any, strengths: Any
) -> Iterator[_Result]:
    place = f"accuracy[{network!r}]"
    if not isinstance(value, list):
        yield _Result(file, network, "", attack, _accuracy(file, value, place))
        return
    if strengths is None:
        names = [f"{attack}_severity{k + 1}" for k in range(len(value))]
    elif isinstance(strengths, list) and len(strengths) == len(value):
        names = [f"{attack}_eps{eps}" for eps in strengths]
    else:
        _refuse(
            file,
            f"{place} has {len(value)} numbers, but 'epsilons' of {_META} is "
            f"{_short(strengths)} for {attack!r}",
        )
    for name, number in zip(names, value, strict=True):
        yield _Result(file, network, "", name, _accuracy(file, number, place))


def _read_file(file: Path, dataset: str) -> Iterator[_Result]:
    """Read the results of NAS-RobBench-201."""
    content = _entry(file, _read_json(file), dataset)
    for network, measures in _items(file, content, dataset):
        for measure, of_seeds in _items(file, measures, f"network {network!r}"):
            place = f"{measure!r} of network {network!r}"
            for seed, value in _items(file, of_seeds, place):
                yield _Result(
                    file, network, seed, measure, _accuracy(file, value, place)
                )


def _read_json(path: Path) -> Any:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} must be a file of JSON, which alone is read: {reason}."
        ) from error
    if not isinstance(content, dict):
        _refuse(path, f"it must be an object, and is {_short(content)}")
    return content


def _entry(path: Path, content: Any, key: str, place: str = "") -> Any:
    if not isinstance(content, dict) or key not in content:
        known = list(content)[:5] if isinstance(content, dict) else _short(content)
        where = f"{place} has" if place else "there is"
        _refuse(path, f"{where} no {key!r}, but {known}")
    return content[key]


def _items(path: Path, content: Any, place: str) -> Any:
    if not isinstance(content, dict) or not content:
        _refuse(path, f"{place} must be an object with entries, not {_short(content)}")
    return content.items()


def _accuracy(path: Path, value: Any, place: str) -> float:
    if value is None or (isinstance(value, float) and isnan(value)):
        return nan
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        _refuse(path, f"{place} must be an accuracy in [0, 1], and is {_short(value)}")
    return float(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse(path: Path, reason: str) -> NoReturn:
    raise ValueError(f"{path} does not have the form of the published table: {reason}.")


def _edges(cell: str) -> dict[tuple[int, int], str]:
    """Read the operation on every edge of a cell; empty if it is none."""
    edges = {}
    groups = cell.split("+")
    for target, group in enumerate(groups, start=1):
        parts = re.fullmatch(r"\|(.+)\|", group)
        names = parts[1].split("|") if parts else []
        if len(groups) != _LAST or len(names) != target:
            return {}
        for source, name in enumerate(names):
            operation, _, place = name.partition("~")
            if operation not in _OPERATIONS or place != str(source):
                return {}
            edges[source, target] = operation
    return edges


def _describe(cell: str) -> dict[str, float]:
    """Measure what lies on a path from the input of a cell to its output."""
    edges = {ends: op for ends, op in _edges(cell).items() if op != "none"}
    paths = list(_paths(edges, _FIRST))
    used = {edge for path in paths for edge in path}
    counted = {
        name: float(sum(edges[edge] == operation for edge in used))
        for operation, name in _OPERATIONS.items()
        if name is not None
    }
    lengths = [len(path) for path in paths]
    depths = [sum(edges[e] in _OF_CONVOLUTION for e in path) for path in paths]
    return {
        **counted,
        "n_paths": float(len(paths)),
        "longest_path": float(max(lengths, default=nan)),
        "shortest_path": float(min(lengths, default=nan)),
        "conv_depth": float(max(depths, default=nan)),
    }


def _paths(edges: dict, vertex: int) -> Iterator[tuple[tuple[int, int], ...]]:
    if vertex == _LAST:
        yield ()
    for source, target in edges:
        if source == vertex:
            for rest in _paths(edges, target):
                yield (source, target), *rest
