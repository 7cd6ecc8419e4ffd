"""A study as a TOML file: what a user writes, what a preset is, what a store keeps.

The keys of the file are the parameters of a RobustnessStudy. An estimator, an attack or
an analysis is a table that names its class; a distribution is one, too::

    n_graphs = 20

    [data]                       # for the command line
    dataset = "digits"

    [estimator]
    class = "SparseNetClassifier"
    lr = 0.01

    [param_space]
    prior__n_nodes = [60, 90]
    prior__rewiring = {distribution = "uniform", low = 0.5, high = 0.9}

    [attacks.one_pixel]
    class = "OnePixelAttack"
    n_images = 100               # the pair (attack, 100)

The word "None" is None, which TOML lacks. Only classes of robustkit's public map and of
scikit-learn can be named: reading a file executes nothing else.
"""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w
import torch
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch
from sklearn.utils.discovery import all_estimators

from robustkit import (
    attacks,
    bridge,
    classifiers,
    correlation,
    defenses,
    graphs,
    regions,
    topology,
)
from robustkit._validation import did_you_mean
from robustkit.study._measure import SCALED
from robustkit.study._plan import check_design
from robustkit.study._store import Store

if TYPE_CHECKING:
    from robustkit.study._robustness_study import RobustnessStudy

__all__ = [
    "PRESETS",
    "Config",
    "config_of_store",
    "find_preset",
    "parse",
    "read_config",
    "write_config",
]

# Public classes that a file can name.
_CLASSES = {
    name: getattr(room, name)
    for room in (
        graphs,
        bridge,
        classifiers,
        attacks,
        regions,
        topology,
        defenses,
        correlation,
    )
    for name in room.__all__
    if isinstance(getattr(room, name), type)
}

_FOLDER = Path(__file__).with_name("presets")

# Studies that are shipped, by name.
PRESETS = {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}

# What a file may hold beside the parameters of a study: the data, and one line of text.
_DATA = {"dataset": str, "data_home": str, "n_train": int, "n_test": int}
_SUMMARY = "summary"

# Parameters that hold one estimator, and those that hold a table of them.
_PARTS = ("estimator", "correlator")
_TABLES_OF_PARTS = {"attacks": "n_images", "analyses": SCALED}

# Not part of what is found: left out where they have their defaults, and in a store.
_OF_THE_MACHINE = ("store", "engine", "n_jobs", "device", "verbose")

_NONE = "None"

# Distributions that are easier to give by their ends.
_BY_ENDS = {
    "uniform": lambda low, high: {"loc": low, "scale": high - low},
    "loguniform": lambda low, high: {"a": low, "b": high},
}

# In place of the images, to check a file before they are loaded.
_SOME_IMAGES = Bunch(X_train=np.array([0.0, 1.0]), image_shape=None)


@dataclass(frozen=True)
class Config:
    """A file that was read."""

    source: str
    """Its name, for errors."""

    tree: dict[str, Any]

    is_stored: bool = False
    """Whether it is the study of a store."""

    @property
    def summary(self) -> str:
        """What the study is, in one line."""
        return str(self.tree.get(_SUMMARY, self.source))

    @property
    def data(self) -> dict[str, Any]:
        """The table [data], which says which images to load."""
        return self.tree.get("data", {})

    def params(self, images: Bunch | None = None) -> dict[str, Any]:
        """Parameters of the study; some may depend on the images."""
        build = _Builder(self.source, images)
        return {
            name: build.parameter(name, value)
            for name, value in self.tree.items()
            if name not in ("data", _SUMMARY)
        }


def read_config(path: str | Path) -> Config:
    """Read a study from a file; names that it gets wrong are told at once."""
    path = Path(path)
    try:
        config = parse(path.read_text("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is no TOML file: {error}.") from error
    dataset = str(config.data.get("dataset", ""))
    if Path(dataset).suffix == ".npz":
        # Beside the file that names it, from wherever that is read.
        config.data["dataset"] = str(path.resolve().parent / dataset)
    return config


def find_preset(name: str) -> Config:
    """Read a study that is shipped."""
    if name not in PRESETS:
        raise ValueError(
            f"The preset must be one of {', '.join(PRESETS)}. Got {name!r} instead"
            f"{did_you_mean(name, PRESETS)}"
        )
    return read_config(PRESETS[name])


def config_of_store(path: str | Path) -> Config | None:
    """Read the study that a store belongs to; None if it belongs to none yet."""
    store = Store(path, must_exist=True)
    text, reason, command, identity = map(
        store.read, ("config", "no_config", "command", "identity")
    )
    if text is not None:
        return parse(text, str(path), is_stored=True)
    if identity is None and command is None:
        return None
    if reason is not None:
        raise ValueError(
            f"The store {path} does not say how to continue, since TOML cannot: "
            f"{reason} Call fit of the study in Python."
        )
    raise ValueError(
        f"The store {path} is of an older format, which does not hold the study. To "
        f"continue, give the command that began it, with --store: {command}."
    )


def parse(text: str, source: str, *, is_stored: bool = False) -> Config:
    """Read a study from the text of a file."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source}: this is not TOML: {error}.") from error
    config = Config(source, tree, is_stored)
    if not isinstance(config.data, dict):
        raise ValueError(f"{source}: data must be a table.")
    for name, value in config.data.items():
        _check_name(f"{source}: data", name, _DATA, "key")
        if not (value and isinstance(value, _DATA[name])):
            kind = {str: "a string", int: "an integer of at least 1"}[_DATA[name]]
            raise ValueError(
                f"{source}: data: {name} must be {kind}. Got {value!r} instead."
            )
    config.params(_SOME_IMAGES)
    return config


def _check_name(where: str, name: str, known: Iterable[str], what: str) -> None:
    known = list(known)
    if name not in known:
        hint = did_you_mean(name, known)
        choice = f" It may be one of {', '.join(known)}." if hint == "." else ""
        raise ValueError(f"{where}: there is no {what} {name!r}{hint}{choice}")


class _Builder:
    """Makes the parameters of a study from tables."""

    def __init__(self, source: str, images: Bunch | None):
        self.source = source
        self.images = images

    def parameter(self, name: str, value: Any) -> Any:
        """Make one parameter of a study."""
        # It imports this module.
        from robustkit.study._robustness_study import RobustnessStudy

        known = inspect.signature(RobustnessStudy).parameters
        _check_name(self.source, name, [*known, "data", _SUMMARY], "key")
        if name in _PARTS and value != _NONE:
            return self.part(value, name)
        if name in _TABLES_OF_PARTS and value != _NONE:
            extra = _TABLES_OF_PARTS[name]
            return {
                key: self.part(table, f"{name}.{key}", extra)
                for key, table in self._table(value, name).items()
            }
        return self.value(value, name)

    def part(self, table: Any, where: str, extra: str | None = None) -> Any:
        """Make an estimator; with what else its table says, a pair."""
        table = dict(self._table(table, where))
        more = table.pop(extra, None) if extra else None
        if "class" not in table:
            raise self._error(where, "a 'class' must be named, such as FGSMAttack.")
        made = self.value(table, where)
        if extra == SCALED:
            return (made, SCALED) if more else made
        return made if more is None else (made, more)

    def value(self, value: Any, where: str) -> Any:
        """Make what a value stands for."""
        if isinstance(value, list):
            return [self.value(item, where) for item in value]
        if isinstance(value, dict):
            for key, make in (
                ("class", self._object),
                ("distribution", self._distribution),
                ("array", self._array),
                ("from_data", self._from_data),
            ):
                if key in value:
                    rest = {name: value[name] for name in value if name != key}
                    return make(value[key], rest, where)
            return {name: self.value(v, f"{where}.{name}") for name, v in value.items()}
        return None if value == _NONE else value

    def _object(self, name: str, params: dict[str, Any], where: str) -> Any:
        kind = self._find_class(name, where)
        known = list(inspect.signature(kind).parameters)
        made = {}
        for param, value in params.items():
            _check_name(f"{self.source}: {where}", param, known, f"{name} parameter")
            made[param] = self.value(value, f"{where}.{param}")
        try:
            return kind(**made)
        except (TypeError, ValueError) as error:
            raise self._error(where, str(error)) from error

    def _find_class(self, name: str, where: str) -> type:
        """Look a class up, by its name in robustkit or its path in scikit-learn."""
        name = str(name)
        kind = _CLASSES.get(name)
        if name.startswith("sklearn.") and "._" not in name:
            module, _, last = name.rpartition(".")
            try:
                kind = getattr(import_module(module), last, None)
            except ImportError:
                kind = None
            if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
                kind = None
        if not isinstance(kind, type):
            hint = did_you_mean(name, [*_CLASSES, *_sklearn_names(name)])
            raise self._error(
                where,
                "the class must be one of robustkit, or of scikit-learn, such as "
                f"sklearn.linear_model.LogisticRegression. Got {name!r} instead{hint}",
            )
        return kind

    def _distribution(self, name: str, params: dict[str, Any], where: str) -> Any:
        kinds = (stats.rv_continuous, stats.rv_discrete)
        kind = getattr(stats, str(name), None)
        if not isinstance(kind, kinds):
            known = [n for n in dir(stats) if isinstance(vars(stats)[n], kinds)]
            hint = did_you_mean(name, known)
            raise self._error(where, f"scipy.stats has no distribution {name!r}{hint}")
        args = params.pop("args", [])
        if name in _BY_ENDS and {"low", "high"} == set(params):
            params = _BY_ENDS[name](params["low"], params["high"])
        shapes = kind.shapes.split(", ") if kind.shapes else []
        known = [*shapes, "loc", *(["scale"] if isinstance(kind, kinds[0]) else [])]
        ends = ["low", "high"] if name in _BY_ENDS else []
        for param in params:
            known_here = [*ends, *known]
            what = f"{name} parameter"
            _check_name(f"{self.source}: {where}", param, known_here, what)
        try:
            return kind(*args, **params)
        except (TypeError, ValueError) as error:
            raise self._error(where, f"{name}: {error}") from error

    def _array(self, values: list, rest: dict[str, Any], where: str) -> np.ndarray:
        try:
            return np.array(values, dtype=rest["dtype"])
        except (KeyError, TypeError, ValueError) as error:
            message = "an array needs values and their 'dtype', such as 'float64'."
            raise self._error(where, message) from error

    def _from_data(self, what: str, rest: dict[str, Any], where: str) -> Any:
        """Make a parameter that depends on the images.

        "image_shape" is theirs; "range" is the range of the pixels, `times` a number.
        """
        _check_name(f"{self.source}: {where}", what, ("image_shape", "range"), "value")
        if self.images is None:
            raise self._error(
                where,
                "this depends on the data. Put a value in its place, or run the file "
                "with 'robustkit study'.",
            )
        if what == "image_shape":
            return self.images.image_shape
        spread = float(np.ptp(self.images.X_train))
        return float(f"{rest.get('times', 1) * spread:.6g}")

    def _table(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(where, f"this must be a table. Got {value!r} instead.")
        return value

    def _error(self, where: str, message: str) -> ValueError:
        return ValueError(f"{self.source}: {where}: {message}")


def _sklearn_names(name: str) -> list[str]:
    """Paths of scikit-learn's classes that may have been meant; slow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = (_public_name(kind) for _, kind in all_estimators())
        known = [path for path in paths if path]
    last = name.rpartition(".")[2]
    return [p for p in known if p.endswith(f".{last}")] or known


def write_config(
    study: RobustnessStudy,
    extra: Mapping[str, Any] | None = None,
    *,
    for_store: bool = True,
) -> str:
    """Write a study as TOML, every parameter of every part of it.

    So it stays the same study where another version has other defaults. A store does
    without what depends on the machine. `extra` may hold the data and the summary.
    """
    study._validate_params()
    design = check_design(study)
    params = study.get_params(deep=False)
    params |= {
        "estimator": design.population.estimator,
        "param_space": dict(design.param_space),
        "inits": design.inits,
        "n_parameters": design.n_parameters,
    }
    # An instance, of which the next number is not known, or none: the store knows it.
    if for_store and not isinstance(params["random_state"], int | np.integer):
        params["random_state"] = None
    defaults = inspect.signature(type(study)).parameters
    tree = dict(extra or {})
    for name, value in params.items():
        if value is None or name in _TABLES_OF_PARTS:
            continue
        if name in _OF_THE_MACHINE and (for_store or value == defaults[name].default):
            continue
        tree[name] = _plain(value, name)
    tree["attacks"] = {
        name: _plain(attack, f"attacks[{name!r}]")
        | ({} if n_images is None else {"n_images": int(n_images)})
        for name, (attack, n_images) in design.attacks.items()
    }
    tree["analyses"] = {
        name: _plain(entry[0], f"analyses[{name!r}]") | {SCALED: True}
        if isinstance(entry, tuple)
        else _table_of(entry, f"analyses[{name!r}]")
        for name, entry in design.analyses.items()
    }
    return tomli_w.dumps(tree)


def _plain(value: Any, where: str) -> Any:
    """Turn a parameter into what TOML knows."""
    if value is None:
        return _NONE
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float) or (
        isinstance(value, str) and value != _NONE
    ):
        return value
    if isinstance(value, Path | torch.device):
        return str(value)
    if isinstance(value, list | tuple | range):
        return [_plain(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(item, f"{where}[{k!r}]") for k, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "biuf":
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if hasattr(value, "rvs") and hasattr(value, "dist"):
        return _distribution_table(value, where)
    return _table_of(value, where)


def _distribution_table(value: Any, where: str) -> dict[str, Any]:
    name = value.dist.name
    if type(getattr(stats, name, None)) is not type(value.dist):
        raise _obstacle(value, where)
    args = {"args": _plain(value.args, where)} if value.args else {}
    return {"distribution": name, **args, **_plain(value.kwds, where)}


def _table_of(value: Any, where: str) -> dict[str, Any]:
    """Name the class of an object, and all of its parameters."""
    name = _public_name(type(value))
    if name is None:
        raise _obstacle(value, where)
    if hasattr(value, "get_params"):
        params = value.get_params(deep=False)
    elif dataclasses.is_dataclass(value):
        params = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    else:
        raise _obstacle(value, where)
    signature = inspect.signature(type(value)).parameters
    table = {"class": name}
    for param, held in params.items():
        default = signature[param].default
        is_dull = held is None or param in _OF_THE_MACHINE
        if not (is_dull and held == default):
            table[param] = _plain(held, f"{where}.{param}")
    return table


def _public_name(kind: type) -> str | None:
    """How a file names a class; None if it cannot."""
    name = kind.__name__
    if _CLASSES.get(name) is kind:
        return name
    package, *parts = kind.__module__.split(".")
    if package != "sklearn" or not issubclass(kind, BaseEstimator):
        return None
    public = [package]
    for part in parts:
        if part.startswith("_"):
            break
        public.append(part)
    module = ".".join(public)
    found = getattr(import_module(module), name, None)
    return f"{module}.{name}" if found is kind else None


def _obstacle(value: Any, where: str) -> ValueError:
    what = repr(value)
    what = what if len(what) <= 60 else f"{what[:57]}..."
    return ValueError(
        f"{where} is {what}; TOML can hold numbers, words, distributions of scipy and "
        "public classes of robustkit and scikit-learn."
    )
