"""Trained networks beside a store, so that a new measure needs no new training.

One file per model, in the safetensors format: a header in JSON that says where each
array is, then the arrays. Nothing in it is ever executed. What the weights belong to is
built again from the parameters of the study.
"""

from __future__ import annotations

import glob
import json
import math
import os
import re
import secrets
import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from robustkit._tensors import as_array
from robustkit.classifiers import BaseNetClassifier, with_weights
from robustkit.exceptions import CorruptFileError, NarrowInputWarning
from robustkit.study._measure import attacked, send_to, timed
from robustkit.study._store import Store, canonical
from robustkit.study._train import one_thread

if TYPE_CHECKING:
    from robustkit.study._measure import Recipe
    from robustkit.study._plan import Data, Population, Task
    from robustkit.study._train import Trained

__all__ = [
    "add_measure",
    "added_to",
    "check_keeps",
    "file_of",
    "folder_of",
    "keep_model",
    "mark_folder",
    "models_kept",
    "read_arrays",
    "store_of_measure",
    "with_added",
    "write_arrays",
]

# Of the format: how it calls the types of numbers, all of them little-endian.
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_LENGTH = struct.Struct("<Q")
# The arrays begin at a multiple of it.
_ALIGNMENT = 8
# Beside the models: which study they are of.
_MARK = "study"


def write_arrays(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write arrays by name; the file on the disk is always a whole one."""
    header, offset = {}, 0
    for name, array in arrays.items():
        stop = offset + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, stop],
        }
        offset = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    # Of this process alone: another, perhaps elsewhere, may be doing the same model.
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(fresh, "wb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for array in arrays.values():
            kind = array.dtype.newbyteorder("<")
            file.write(np.ascontiguousarray(array, dtype=kind).tobytes())
    os.replace(fresh, path)


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Read arrays by name."""
    content = path.read_bytes()
    try:
        (length,) = _LENGTH.unpack_from(content)
        start = _LENGTH.size + length
        header = json.loads(content[_LENGTH.size : start])
        header.pop("__metadata__", None)
        return {name: _array(content, start, **item) for name, item in header.items()}
    except (struct.error, ValueError, TypeError, AttributeError, KeyError) as error:
        raise CorruptFileError(
            f"{path} is not a file of weights, or damaged: {error}. Bring a copy of it "
            "back."
        ) from error


def _array(content, start, *, dtype, shape, data_offsets):
    begin, stop = data_offsets
    kind, size = np.dtype(_TYPES[dtype]), math.prod(shape)
    if begin < 0 or stop - begin != size * kind.itemsize or start + stop > len(content):
        raise ValueError("an array is not as long as it should be")
    array = np.frombuffer(content, kind, count=size, offset=start + begin)
    # A copy, which can be written to.
    return array.reshape(shape).astype(kind.newbyteorder("="))


def folder_of(store: str | os.PathLike) -> Path:
    """Name the folder of the models of a store."""
    path = Path(store).absolute()
    return path.with_name(f"{path.name}.models")


def check_keeps(store: str | os.PathLike | None, population: Population) -> Path:
    """Refuse to keep what could not be found or brought back; return the folder."""
    if store is None:
        raise ValueError(
            "keep_models=True keeps the models beside the store. Pass a 'store', such "
            "as 'study.store'."
        )
    estimator = getattr(population.estimator, "estimator", population.estimator)
    if not isinstance(estimator, BaseNetClassifier):
        raise ValueError(
            "keep_models=True keeps networks of classifiers such as "
            f"SparseNetClassifier. Got {type(estimator).__name__}: use "
            "keep_models=False."
        )
    return folder_of(store)


def mark_folder(store: Store) -> None:
    """Write into the folder of the models whose they are; refuse that of others."""
    assert store.path is not None, "check_keeps asks for one"
    folder = folder_of(store.path)
    folder.mkdir(exist_ok=True)
    if not (folder / _MARK).exists() and not any(folder.glob("*.safetensors")):
        fresh = folder / f".{_MARK}.{secrets.token_hex(4)}"
        fresh.write_text(store.home().study, "utf-8")
        os.replace(fresh, folder / _MARK)
    _check_folder(store, folder)


def _check_folder(store: Store, folder: Path) -> None:
    mark = folder / _MARK
    if not mark.exists() or mark.read_text("utf-8") != store.home().study:
        raise ValueError(
            f"{folder} holds the models of another study. Move it away, or choose "
            "another 'store'."
        )


def file_of(folder: Path, model: int) -> Path:
    """Name the file of a model."""
    return folder / f"{model}.safetensors"


def keep_model(folder: Path, task: Task, trained: Trained) -> None:
    """Keep the weights of a model, unless its training failed."""
    if trained.model is None:
        return
    folder.mkdir(exist_ok=True)
    weights = trained.model.module_.state_dict()
    arrays = {name: as_array(weight) for name, weight in weights.items()}
    write_arrays(file_of(folder, task.model + (trained.step or 0)), arrays)


def models_kept(
    store: Store, tasks: Sequence[Task], population: Population
) -> dict[int, Task]:
    """Find the models of a finished study, each with its task.

    Not those whose training failed. All others must be there.
    """
    rows, n_rows = store.rows(), population.rows_per_task
    if {task.number for task in tasks} - store.done():
        raise ValueError(
            f"{len(rows):,} of {len(tasks) * n_rows:,} models are finished. Call fit "
            "first, which does the others."
        )
    task_of = {task.model + k: task for task in tasks for k in range(n_rows)}
    models = [row["place"]["model"] for row in rows if not row["made"]["error"]]
    assert store.path is not None, "check_keeps asks for one"
    folder = folder_of(store.path)
    missing = [model for model in models if not file_of(folder, model).exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing):,} of {len(models):,} models are not in {folder}, such as "
            f"model {missing[0]}. A study keeps them if it has keep_models=True when "
            "it trains them."
        )
    _check_folder(store, folder)
    return {model: task_of[model] for model in models}


def add_measure(
    store: Store,
    name: str,
    recipe: Recipe,
    tasks: Mapping[int, Task],
    data: Data,
    *,
    n_jobs: int | None,
) -> None:
    """Attack all models with one attack, and keep what it finds beside the store.

    `tasks` are those of the models, by number.
    """
    assert store.path is not None, "check_keeps asks for one"
    path, folder = store_of_measure(store.path, name), folder_of(store.path)
    others = [other for other in added_to(store) if other.path != path]
    attack, n_images = recipe.attacks[name]
    added = Store(path)
    added.open_study(
        identity=canonical(
            {"attack": attack, "n_images": n_images, "study": store.home().study}
        ),
        settings={"position": len(others)},
    )
    done = added.done()
    found = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        delayed(_attack_kept)(name, recipe, task, file_of(folder, model), data)
        for model, task in tasks.items()
        if model not in done
    )
    for row in found:
        added.add(row["place"]["model"], [row])


def _attack_kept(name, recipe, task, path, data):
    """Attack a model that was kept; return what a row of a store holds of it."""
    classifier = recipe.population.build(task)
    # Of pruned networks, the dense one: that is what lost weights.
    classifier = send_to(recipe.device, getattr(classifier, "estimator", classifier))
    attack, n_images = recipe.attacks[name]
    seconds: dict[str, float] = {}
    with one_thread():
        with warnings.catch_warnings():
            # The study has said it of all graphs.
            warnings.simplefilter("ignore", NarrowInputWarning)
            with_weights(classifier, data.X, data.y, read_arrays(path))
        with timed(seconds, name):
            (measures,) = attacked(name, attack, n_images, [classifier], data)
    place = {"model": int(path.stem)}
    return {"place": place, "measures": measures, "seconds": seconds}


def store_of_measure(store: str | os.PathLike, name: str) -> Path:
    """Name the store of a measure that is added to a finished study."""
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(
            "An attack that is added to a study needs a name of letters, digits, '_' "
            f"and '-', which names a file. Got {name!r}."
        )
    path = Path(store).absolute()
    return path.with_name(f"{path.name}.measured-{name}")


def added_to(store: Store) -> list[Store]:
    """Open the stores of what was measured later, in the order in which it was.

    They lie beside that of the study, and are refused if they are of another one.
    """
    if store.path is None:
        return []
    path, found = store.path, []
    for beside in sorted(path.parent.glob(f"{glob.escape(path.name)}.measured-*")):
        added = Store(beside, must_exist=True)
        identity, settings = added.read("identity"), added.read("settings")
        # Whoever began it was stopped before it was known.
        if identity is None or settings is None:
            continue
        if identity.get("study") != store.home().study:
            raise ValueError(
                f"{beside} holds what was measured of another study than that in "
                f"{path}. Move it away, or choose another 'store'."
            )
        found.append((settings["position"], added))
    return [added for _, added in sorted(found, key=lambda pair: pair[0])]


def with_added(store: Store) -> list[dict[str, Any]]:
    """Read the rows of a study, with what was measured later."""
    rows = [dict(row) for row in store.rows()]
    for beside in added_to(store):
        added = {row["place"]["model"]: row for row in beside.rows()}
        for row in rows:
            more = added.get(row["place"]["model"], {})
            for group in ("measures", "seconds"):
                row[group] = {**row[group], **more.get(group, {})}
    return rows
