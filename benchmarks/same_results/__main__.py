"""Record the results of every public estimator, and compare them later.

``python -m benchmarks.same_results record FILE [ROOM...]`` writes them to a file, and
``python -m benchmarks.same_results compare FILE [ROOM...]`` computes them again and
names every difference. Only public names are used, so that a file recorded before the
inside was rewritten can be compared with what it became. Exit status 1 means that
something differs.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import joblib
import matplotlib as mpl
import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse
import torch

import robustkit as rk
from benchmarks.same_results import analyses, networks  # noqa: F401 (enter their rooms)
from benchmarks.same_results.models import ROOMS


def plain(value):
    """Turn a result into arrays, numbers and strings within dicts and lists."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if scipy.sparse.issparse(value):
        value = value.tocsr(copy=True)
        value.sort_indices()
        parts = (value.data, value.indices, value.indptr, value.shape)
        return dict(zip(("data", "indices", "indptr", "shape"), parts, strict=True))
    if isinstance(value, pd.DataFrame):
        columns = {str(name): plain(value[name]) for name in value}
        return {"columns": np.asarray([str(name) for name in value]), **columns}
    if isinstance(value, pd.Series) and value.dtype == object:
        # Numbers and words, each of its own type.
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, pd.Series):
        array = value.to_numpy()
        index = np.asarray([str(label) for label in value.index])
        return {"values": _plain_array(array), "index": index}
    if isinstance(value, rk.LayeredGraph):
        names = ("edges", "layer", "n_nodes", "sources", "sinks")
        return {name: np.asarray(getattr(value, name)) for name in names}
    if isinstance(value, nx.Graph):
        return {
            "nodes": plain([(str(n), d) for n, d in sorted(value.nodes(data=True))]),
            "edges": plain([(str(e), d) for *e, d in sorted(value.edges(data=True))]),
        }
    if isinstance(value, rk.AttackResult):
        return plain(vars(value))
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ma.MaskedArray):
        return {"data": value.filled(0), "mask": np.ma.getmaskarray(value)}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, (str, float, int)) for item in value):
            return np.asarray(value)
        return [plain(item) for item in value]
    return _plain_array(value)


def _plain_array(value):
    array = np.asarray(value)
    if array.dtype != object:
        return array
    if array.ndim == 0:
        return np.asarray(str(value))
    if all(isinstance(item, str) for item in array):
        return array.astype(str)
    return [plain(item) for item in array]


def flat(value, path=""):
    """Yield (path, array) of everything inside."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flat(item, f"{path}/{name}" if path else name)
    elif isinstance(value, list):
        yield f"{path}/length", np.asarray(len(value))
        for number, item in enumerate(value):
            yield from flat(item, f"{path}/{number}")
    else:
        yield path, np.asarray(value)


def compute(name):
    """Compute the results of a room; a refusal is a result as well."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path, value in ROOMS[name]():
            if callable(value):
                try:
                    value = value()
                except (ValueError, TypeError) as error:
                    # Its words may change.
                    value = f"refused: {type(error).__name__}"
            assert path not in found, path
            found[path] = plain(value)
    return found


def difference(before, after):
    """Say in words how two arrays differ; None if they are the same."""
    if before.dtype != after.dtype or before.shape != after.shape:
        return (
            f"{before.dtype} of shape {before.shape} became "
            f"{after.dtype} of shape {after.shape}"
        )
    if before.dtype.kind not in "fc":
        same = before == after
        if np.all(same):
            return None
        if before.dtype.kind in "iu":
            largest = np.abs(before.astype(float) - after.astype(float)).max()
            return f"{np.sum(~same)} of {before.size} values, by {largest:g} at most"
        return f"{np.sum(~same)} of {before.size} values: {before} became {after}"[:200]
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    if same.all():
        return None
    with np.errstate(invalid="ignore"):
        largest = np.nanmax(np.abs(before - after))
    return f"{np.sum(~same)} of {before.size} values, by {largest:.3g} at most"


def compare(before, after):
    """Return the number of compared arrays, and the differences as lines."""
    before, after = dict(flat(before)), dict(flat(after))
    lines = [f"{path}: is gone" for path in before.keys() - after.keys()]
    lines += [f"{path}: is new" for path in after.keys() - before.keys()]
    shared = [path for path in before if path in after]
    for path in shared:
        found = difference(before[path], after[path])
        if found is not None:
            lines.append(f"{path}: {found}")
    return len(shared), sorted(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_results", description=__doc__
    )
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", default=[])
    given = parser.parse_args(arguments)
    for name in given.rooms:
        if name not in ROOMS:
            parser.error(f"there is no room {name!r}, but {', '.join(ROOMS)}")
    torch.set_num_threads(1)
    mpl.use("Agg")
    recorded = joblib.load(given.file) if given.file.exists() else {}
    differ = False
    for name in given.rooms or ROOMS:
        start = time.process_time()
        now = compute(name)
        seconds = time.process_time() - start
        if given.action == "record":
            recorded[name] = now
            print(f"{name}: {len(dict(flat(now)))} results ({seconds:.1f} s)")
            refused = [path for path, value in flat(now) if "refused" in str(value)]
            print(*(f"  refused: {path}\n" for path in refused), sep="", end="")
            continue
        n_compared, lines = compare(recorded.get(name, {}), now)
        print(
            f"{name}: {n_compared} results compared, {len(lines)} differ "
            f"({seconds:.1f} s)"
        )
        print(*(f"  {line}\n" for line in lines), sep="", end="")
        differ |= bool(lines)
    if given.action == "record":
        joblib.dump(recorded, given.file, compress=3)
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
