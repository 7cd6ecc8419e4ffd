"""The template of every attack: check, search by batches, judge, sum up."""

import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import (
    ClassifierMixin,
    MetaEstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import nn

from robustkit._samples import (
    flat_samples,
    is_stream,
    is_table,
    shaped_like,
    stream_batches,
)
from robustkit._sklearn_private import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    with_callbacks,
)
from robustkit._tensors import as_array, as_tensor, resolve_device
from robustkit._validation import (
    caller_depth,
    check_image_shape,
    check_range,
    learn_clip,
)
from robustkit.attacks._attacked_model import AttackedModel
from robustkit.attacks._geometry import all_between, keep_inside
from robustkit.attacks._result import (
    AttackResult,
    briefly,
    joined,
    measures,
    robust_accuracy,
    undecided,
    without_points,
)
from robustkit.attacks._scales import (
    Extent,
    ball_of,
    check_ball,
    warn_of_rounding,
    warn_of_scales,
)
from robustkit.attacks.functional import Trace
from robustkit.bridge import TakesModel, as_module, image_shape_of, thawed
from robustkit.classifiers import fit_classifier, fit_on_stream, unfitted_classifier
from robustkit.exceptions import UndecidedSamplesWarning

__all__ = ["BaseAttack", "Batch", "Plan", "joins"]

# From this share on all samples of a batch are attacked, and the few that should not be
# get their old values back: that costs less than copying all others.
_NEARLY_ALL = 0.9

# Parameters that say how an attack is run, not what it is.
_HOW = ("estimator", "clip", "batch_size", "device", "verbose", "random_state", "seed")


@dataclass(frozen=True)
class Plan:
    """What the template must know of an attack before a run begins."""

    # The ball that no perturbed sample may leave: a number, or an array that broadcasts
    # to the samples. What a move of length 1 is, by feature; None is the number 1.
    radius: float | np.ndarray = math.inf
    norm: str = "linf"
    unit: np.ndarray | None = None
    # The smallest move that matters to the result. None is the radius.
    smallest_move: float | None = None
    # Whether the search can use a gradient at the clean samples.
    from_clean: bool = False
    # Whether the search proves of samples that nothing allowed fools the model.
    certifies: bool = False
    seed: int = 0  # of all random numbers of the run

    def take(self, rows: Any) -> Self:
        """Return the plan for some of the samples."""
        said = {
            name: value[rows]
            for name, value in (("radius", self.radius), ("unit", self.unit))
            if isinstance(value, np.ndarray) and len(value) > 1
        }
        return replace(self, **said) if said else self


@dataclass
class Batch:
    """What a search gets: samples that the model predicts correctly, and its orders."""

    # Samples, true classes, and the classes wanted, where the module computes.
    X: torch.Tensor
    y: torch.Tensor
    target: torch.Tensor | None = None
    clip: tuple[float, float] | None = None
    # Of the ball: a number, or a tensor on the CPU that broadcasts to the samples.
    radius: Any = math.inf
    # A loss to climb instead of the attack's own; its name.
    loss: str | None = None
    seed: int = 0
    # In training every sample takes every step, and nobody brings it into the ball.
    for_training: bool = False
    trace: Trace = field(default_factory=Trace)
    # None in training: the samples as given, the plan for them, the model to ask.
    rows: np.ndarray | None = None
    plan: Plan | None = None
    model: AttackedModel | None = None


class BaseAttack(
    CallbackSupportMixin,
    ClassifierMixin,
    MetaEstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    TakesModel,
):
    """What all attacks share.

    A subclass writes `_search`, which attacks one batch, and says with `_plan` what the
    search may not leave. That its result is inside, and is what the model says it is,
    is seen to here.
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), nn.Module, None],
        "clip": [StrOptions({"auto"}), "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    # Whether the search knows whose rows the batch of a union of networks has; said by
    # each class for itself, as a subclass may search otherwise.
    _joins: bool = False

    # Whether one number says how far every feature may move.
    _moves_alike: bool = False

    # What a report says of an attack besides its parameters.
    _fixed_settings: dict = {}

    # Whether the caller names the classes that the model shall predict.
    targeted: bool = False

    estimator_: Any
    classes_: np.ndarray
    feature_std_: np.ndarray
    clip_: tuple[float, float] | None
    n_features_in_: int
    feature_names_in_: np.ndarray

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit the model that will be attacked, and learn the range of its data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Training samples. Images are an array or tensor of shape (n_samples,
            channels, height, width); those of uint8 are divided by 255. A stream is a
            torch Dataset or DataLoader of pairs (X, y), which is read batch by batch.

        y : array-like of shape (n_samples,), default=None
            Class labels. None only where X is a stream.

        Returns
        -------
        self : object
            The fitted attack.
        """
        if is_stream(X):
            return self._fit_stream(X, y)
        # The model gets the data with the names of their columns.
        given, self._image_shape = flat_samples(X)
        X, y = validate_data(self, given, y, dtype=[np.float32, np.float64])
        check_classification_targets(y)
        self._learn_from(X)
        with self._progress_of_fit(given, y) as estimator:
            self.estimator_ = fit_classifier(
                estimator, given, y, image_shape=self._image_shape
            )
        return self._finish_fit(X)

    def _fit_stream(self, stream, y):
        """Learn the range batch by batch, and train only what trains on streams."""
        extent, head = Extent(), None
        for X, labels in stream_batches(stream, y, batch_size=self.batch_size):
            known = None if head is None else self._image_shape
            given, image_shape = flat_samples(X, known)
            rows, labels = validate_data(
                self, given, labels, dtype=[np.float32, np.float64], reset=head is None
            )
            check_classification_targets(labels)
            extent.add(rows)
            if head is None:
                self._image_shape, head = image_shape, (rows, labels)
        # Two rows that have the range of all.
        self._learn_from(np.stack([extent.low, extent.high]), extent)
        with self._progress_of_fit(*head) as estimator:
            self.estimator_ = fit_on_stream(
                estimator, stream, *head, image_shape=self._image_shape
            )
        return self._finish_fit(head[0], extent)

    def _learn_from(self, X, extent=None):
        """Learn the range of the samples, and their spread where eps needs it."""
        self.clip_ = learn_clip(self.clip, X)
        in_std = getattr(self, "eps_unit", "raw") == "std"
        alike = self._moves_alike and isinstance(getattr(self, "eps", 1.0), Real)
        if not in_std and (self.clip_ is not None or not alike):
            return
        std = (Extent.of(X) if extent is None else extent).std
        if in_std:
            self.feature_std_ = std
        else:
            warn_of_scales(self, std)

    def _own_params(self) -> dict[str, Any]:
        """Return the parameters as `get_params(deep=False)` does, only sooner."""
        return {name: getattr(self, name) for name in _names_of(type(self))}

    def _validate_changes(self):
        """Check the parameters, unless they are those that `fit` has checked."""
        known, own = vars(self).get("_params_at_fit", {}), self._own_params()
        if any(known.get(name, self) is not value for name, value in own.items()):
            self._validate_params()

    def _finish_fit(self, X, extent=None):
        self.classes_ = self.estimator_.classes_
        # Else nothing has checked them.
        if not get_config()["skip_parameter_validation"]:
            self._params_at_fit = self._own_params()
        self._check_model(X, extent)
        if hasattr(self, "max_iter"):
            self.n_iter_ = self.max_iter
        return self

    @contextmanager
    def _progress_of_fit(self, X, y):
        model = LogisticRegression() if self.estimator is None else self.estimator
        model = unfitted_classifier(
            model, X, y, owner=self, image_shape=self._image_shape
        )
        whole = self._init_callback_context(max_subtasks=1)
        whole.call_on_fit_task_begin(estimator=self, X=X, y=y)
        part = whole.subcontext(task_name="fit-model")
        # A model that is frozen is not fitted again, and the callbacks that it was
        # fitted with are none of this attack's.
        is_frozen = isinstance(model, FrozenEstimator)
        with nullcontext() if is_frozen else part.propagate_callback_context(model):
            part.call_on_fit_task_begin(estimator=self, X=X, y=y)
            yield model
            part.call_on_fit_task_end(estimator=self, X=X, y=y)
        whole.call_on_fit_task_end(estimator=self, X=X, y=y)

    def perturb(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        target: ArrayLike | None = None,
    ) -> AttackResult:
        """Attack every sample that the model predicts correctly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Clean samples; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            True labels. None attacks what the model itself predicts, so that no label
            leaks into the result; a measure of robustness needs the true ones.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to predict.

        Returns
        -------
        result : AttackResult
            The perturbed samples, in the shape of `X`, and what the model predicts for
            them.
        """
        if is_stream(X):
            raise TypeError(_is_no_stream("perturb", X))
        return self._perturb(X, y, target)

    @with_callbacks
    def _perturb(self, X, y, target, loss=None):
        """Attack as `perturb` does; a `loss` that is given replaces the own one."""
        if not hasattr(self, "estimator_"):
            check_is_fitted(self)
        self._validate_changes()
        given = X
        X = self._validate_samples(self._rows(X))
        # No gradient could follow what a caller's inference mode touches.
        with torch.inference_mode(False):
            model = AttackedModel.of(self.estimator_, resolve_device(self.device))
            labels = None if y is None else self._encode(model, y, len(X), "y")
            wanted = self._encode_target(model, target, len(X))
            plan = self._plan()
            check_ball(plan.radius, plan.norm, X.shape)
            found = {"X_adv": np.empty_like(X)}
            with model.at_work(X, self.batch_size):
                if loss is None:
                    warn_of_rounding(plan, X, model.dtype, self.clip_)
                for batch in self._batches(len(X)):
                    pieces = [batch]
                    while pieces:
                        rows = pieces.pop()
                        try:
                            part = self._attack_batch(
                                model.take(rows),
                                plan.take(rows),
                                X[rows],
                                None if labels is None else labels[rows],
                                None if wanted is None else wanted[rows],
                                loss,
                                out=found["X_adv"][rows],
                            )
                        except torch.OutOfMemoryError:
                            if rows.stop - rows.start == 1:
                                raise
                            torch.cuda.empty_cache()
                            pieces += _halves(rows)
                            continue
                        for name, values in part.items():
                            if name not in found:
                                found[name] = np.empty(len(X), values.dtype)
                            found[name][rows] = values
        for name in ("y", "clean_prediction", "prediction", "target"):
            if name in found:
                found[name] = model.classes[found[name]]
        found["X_adv"] = shaped_like(found["X_adv"], given)
        result = AttackResult(
            **found, name=type(self).__name__, settings=self._settings()
        )
        if plan.certifies:
            self._warn_of_undecided(int(undecided(result).sum()), len(X))
        return result

    def _rows(self, X):
        """Turn images into rows, if they are laid out as those that were fitted on."""
        return flat_samples(X, image_shape_of(self))[0]

    def _validate_samples(self, given):
        X = given
        if hasattr(self, "feature_names_in_") or not is_table(
            X, getattr(self, "n_features_in_", None)
        ):
            X = validate_data(
                self,
                given,
                dtype=[np.float32, np.float64],
                order="C",
                reset=False,
                ensure_all_finite=False,
            )
        # One pass over X says whether it is finite, and inside the clip range.
        most = np.finfo(X.dtype).max
        low, high = map(X.dtype.type, self.clip_ or (-most, most))
        if not all_between(X, low, high):
            # To be refused with scikit-learn's own words if it is not finite.
            validate_data(self, given, reset=False)
            check_range(X.min(), X.max(), low, high)
        return X

    def _attack_batch(self, model, plan, X, y, target, loss, out):
        """Search, make what was found obey the rules, and ask the model again.

        The perturbed samples are written to `out`; what is known of them is returned.
        """
        clean, confidence, look = model.classify(X, keep_graph=plan.from_clean)
        y = clean if y is None else y
        target = self._choose_target(model, X, y) if target is None else target
        attacked = clean == y
        if target is not None:
            attacked &= target != y
        found = {
            "y": y,
            "clean_prediction": clean,
            "prediction": clean.copy(),
            "confidence": confidence,
            "eps": np.zeros(len(X)),
            "n_queries": np.zeros(len(X), dtype=np.int64),
        }
        if target is not None:
            found["target"] = target
        if plan.certifies:
            found["certified"] = np.zeros(len(X), dtype=bool)
        rows = np.flatnonzero(attacked)
        if len(rows):
            if len(rows) >= _NEARLY_ALL * len(X):
                points, kept = out, attacked
            else:
                model = model.take(rows)
                X_all, X, y = X, X[rows], y[rows]
                target = None if target is None else target[rows]
                look = None if look is None else look.take(rows)
                plan = plan.take(rows)
                points, kept = np.empty_like(X), slice(None)
            batch = self._make_batch(model, plan, X, y, target, loss, look)
            candidates = as_array(self._search(model.module, batch))
            candidates = candidates.astype(X.dtype, copy=False)
            eps = keep_inside(
                candidates, X, plan.radius, plan.norm, self.clip_, points, plan.unit
            )
            prediction, confidence, _ = model.classify(points)
            if points is not out:
                out[rows], X = points, X_all
            about = {"prediction": prediction, "confidence": confidence, "eps": eps}
            for name in ("n_queries", "eps", "certified"):
                if (values := getattr(batch.trace, name)) is not None:
                    about[name] = as_array(values)
            for name, values in about.items():
                found[name][attacked] = values[kept]
        out[~attacked] = X[~attacked]
        wanted = found["prediction"] != found["y"]
        if self.targeted:
            wanted = found["prediction"] == found["target"]
        found["success"] = attacked & wanted
        return found

    def _make_batch(self, model, plan, X, y, target, loss, look):
        # A model that is more than its module has the last word during the search too.
        ask = None if model.is_the_model else partial(self._ask, model, plan, X)
        return Batch(
            X=as_tensor(X, device=model.device, dtype=model.dtype),
            y=as_tensor(y, device=model.device, dtype=None),
            target=None
            if target is None
            else as_tensor(target, device=model.device, dtype=None),
            clip=self.clip_,
            radius=plan.radius
            if isinstance(plan.radius, Real)
            else as_tensor(plan.radius, dtype=model.dtype),
            loss=loss,
            seed=plan.seed,
            trace=Trace(ask=ask, look=look),
            rows=X,
            plan=plan,
            model=model,
        )

    def _ask(self, model, plan, X, points, rows):
        """Ask the model about the very points that would be returned."""
        rows_of = as_array(rows)
        center, plan = X[rows_of], plan.take(rows_of)
        inside, points = np.empty_like(center), as_array(points).astype(X.dtype)
        keep_inside(points, center, plan.radius, plan.norm, self.clip_, out=inside)
        return as_tensor(model.predict(inside), device=rows.device, dtype=None)

    def _batches(self, n_samples):
        """Yield the rows in batches, and tell callbacks and the reader of it."""
        n_batches = math.ceil(n_samples / self.batch_size)
        whole = self._init_callback_context("perturb", max_subtasks=n_batches)
        whole.call_on_fit_task_begin(estimator=self)
        start = time.perf_counter()
        for k in range(n_batches):
            done = min((k + 1) * self.batch_size, n_samples)
            part = whole.subcontext(task_name="batch")
            part.call_on_fit_task_begin(estimator=self)
            yield slice(k * self.batch_size, done)
            part.call_on_fit_task_end(estimator=self)
            if self.verbose:
                print(  # noqa: T201
                    f"[{type(self).__name__}] {done} of {n_samples} samples attacked, "
                    f"{time.perf_counter() - start:.1f} s"
                )
        whole.call_on_fit_task_end(estimator=self)

    def _check_model(self, X, extent):
        """Refuse, at the end of `fit`, a model that this attack cannot attack.

        What else the attack must learn of the training samples is learned here: they
        are X, or of a stream some are, whose range is that of `extent`.
        """
        as_module(self.estimator_)

    @abstractmethod
    def _plan(self) -> Plan:
        """Say what the search may not leave; called once per run, as it may draw."""

    def _ball(self) -> dict[str, Any]:
        """Return `radius` and `unit` of the plan, as `eps` and `eps_unit` ask for."""
        if not hasattr(self, "eps"):
            # The eps that grows ends there; others have no ball.
            return {"radius": getattr(self, "stop", math.inf)}
        unit = getattr(self, "eps_unit", "raw")
        return ball_of(self.eps, unit, getattr(self, "feature_std_", None))

    def _shape_of_images(self) -> Any:
        """Return `image_shape`, or what X says of it; None for a table."""
        return self._image_shape if self.image_shape is None else self.image_shape

    def _check_shape_of_images(self, n_features: int) -> None:
        """Refuse images that are none, whether X says so or the parameter."""
        if self.image_shape is not None:
            check_image_shape(self.image_shape, n_features)
        elif self._image_shape is not None and len(self._image_shape) > 3:
            shape = ", ".join(map(str, self._image_shape))
            raise ValueError(
                f"{type(self).__name__} takes images of shape (n, height, width) or "
                f"(n, channels, height, width). Got X of shape (n, {shape}). Pass X as "
                "rows, or say with 'image_shape' what the images are."
            )

    def _step_of(self, X: torch.Tensor) -> Any:
        """Return `step_size` in the units of `eps`, for samples of any shape."""
        if self.step_size is None or self.eps_unit == "raw":
            return self.step_size
        std = torch.as_tensor(self.feature_std_, dtype=X.dtype, device=X.device)
        return self.step_size * std.view(1, *X.shape[1:])

    def _has_ball(self) -> bool:
        radius = self._ball()["radius"]
        if isinstance(radius, Real):
            return not math.isinf(radius)
        return not np.all(np.isinf(radius))

    def _settings(self) -> dict[str, Any]:
        """Say what was asked for: the parameters that decide on the result."""
        settings: dict[str, Any] = {}
        if self._has_ball():
            settings["norm"] = getattr(self, "norm", Plan.norm)
        settings |= self._fixed_settings | {
            name: value
            for name, value in self._own_params().items()
            if name not in _HOW
        }
        if settings.get("image_shape", 0) is None:
            settings["image_shape"] = self._image_shape
        return settings

    def _facts(self) -> dict[str, Any]:
        model = thawed(self.estimator_)
        shown = getattr(model, "module_", model)
        shape = "" if self._image_shape is None else f", images {self._image_shape}"
        return {
            "attacks": type(model).__name__
            + (f" of {type(shown).__name__}" if shown is not model else ""),
            "classes": f"{len(self.classes_)}",
            "features": f"{self.n_features_in_}{shape}",
            "clip": self.clip_,
            **{name: _shown(value) for name, value in self._settings().items()},
        }

    @abstractmethod
    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Attack one batch, and return points that need not be inside the ball.

        `n_queries` of the batch's trace must be written.
        """

    def _choose_target(self, model, X, y):
        """Return the classes that the attack itself wants, None if any will do."""

    def _warn_of_undecided(self, n_undecided, n_samples):
        if n_undecided:
            warnings.warn(
                f"{n_undecided} of {n_samples} samples are undecided: no perturbation "
                "was found that fools, nor a proof that there is none. Their margin "
                "comes as near to zero as rounding is large, or they took too long.",
                UndecidedSamplesWarning,
                stacklevel=caller_depth(),
            )

    def _encode_target(self, model, target, n_samples):
        """Return the classes that the caller wants as indices, None if any will do."""
        if not self.targeted:
            if target is not None:
                raise ValueError(
                    f"{type(self).__name__} wants any wrong class and takes no "
                    "'target'. Use PGDAttack(targeted=True)."
                )
            return None
        name = type(self).__name__
        if target is None:
            raise ValueError(
                f"{name}(targeted=True) needs the 'target' that the model shall "
                "predict: one label per sample, or one for all. Got None."
            )
        if np.ndim(target) == 0:
            target = np.full(n_samples, target)
        return self._encode(model, target, n_samples, "target")

    def _encode(self, model, labels, n_samples, name):
        is_plain = type(labels) is np.ndarray and labels.dtype.kind != "c"
        if not is_plain or labels.ndim != 1:
            labels = column_or_1d(labels)
        if len(labels) != n_samples:
            raise ValueError(
                f"'{name}' must have one label per sample. Got {len(labels)} labels "
                f"for {n_samples} samples."
            )
        index = model.encode(labels)
        if (index < 0).any():
            raise ValueError(
                f"'{name}' must hold classes of the model, which are "
                f"{model.classes.tolist()}. Got {labels[index < 0].tolist()[0]!r}."
            )
        return index

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Perturb samples, attacking what the model predicts of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Clean samples; see :meth:`fit`.

        Returns
        -------
        X_adv : ndarray or tensor of the shape of `X`
            Perturbed samples.
        """
        return self.perturb(X).X_adv

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Ask the model, without any attack.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            What the model predicts.
        """
        check_is_fitted(self)
        if is_stream(X):
            raise TypeError(_is_no_stream("predict", X))
        X = self._rows(X)
        validate_data(self, X, reset=False, dtype=None, ensure_all_finite=False)
        return self.estimator_.predict(X)

    def score(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Robust accuracy: share of samples predicted correctly before and after.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Clean samples; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            True labels. None only where X is a stream.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, in the order of a stream.

        Returns
        -------
        score : float
            In [0, 1].
        """
        return robust_accuracy(self._without_points(X, y), sample_weight)

    def _pieces(self, X, y, target=None) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (X, y, target) as they are, or by batches where X is a stream."""
        if is_stream(X):
            if target is not None and np.ndim(target):
                raise ValueError(
                    "'target' must be a single label where X is a "
                    f"{type(X).__name__}, which may give the samples in any order. "
                    f"Got {np.asarray(target).size} labels; call perturb with its "
                    "batches instead."
                )
            for batch in stream_batches(X, y, batch_size=self.batch_size):
                yield *batch, target
            return
        if y is None:
            raise ValueError(
                f"{type(self).__name__} needs y, the true labels, to measure "
                "robustness. Got y=None; perturb(X) attacks the model's predictions."
            )
        yield X, y, target

    def _without_points(self, X, y, target=None) -> AttackResult:
        """Attack, and keep all of the result but the perturbed samples."""
        return joined(
            [
                without_points(self.perturb(*piece))
                for piece in self._pieces(X, y, target)
            ]
        )

    def report(
        self,
        X: Any,
        y: ArrayLike | None = None,
        target: ArrayLike | None = None,
    ) -> pd.Series:
        """Attack, and summarize what came out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Clean samples; see :meth:`fit`. Of a stream no more than one batch is in
            memory.

        y : array-like of shape (n_samples,), default=None
            True labels. None only where X is a stream.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to predict. A
            single one where X is a stream.

        Returns
        -------
        report : pandas.Series
            First what was asked: the parameters of the attack that decide on its
            result. Then `n_samples`, `n_correct` (right before the attack),
            `n_success`, `n_queries`, `clean_accuracy`, `robust_accuracy` (right before
            and after), `error_rate` (share of those right before that are wrong after),
            and over those the means `average_confidence` (of the wrong answer) and
            `average_eps`. nan where there is nothing to average. An attack with
            targets adds `target_rate` (of those right before), one that proves
            something `certified_accuracy` and `n_undecided` (neither fooled nor
            certified, of those right before).
        """
        return measures(self._without_points(X, y, target))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # A bare module has no tags.
        if hasattr(self.estimator, "__sklearn_tags__"):
            # A frozen model copies the tags of the one inside, and scikit-learn asks
            # for ours twice a call: that is felt where an attack is one step.
            tags.classifier_tags = get_tags(thawed(self.estimator)).classifier_tags
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@as_module.register(BaseAttack)
def _module_of(attack: BaseAttack) -> torch.nn.Module:
    check_is_fitted(attack)
    return as_module(attack.estimator_)


@cache
def _names_of(kind: type) -> tuple[str, ...]:
    """Names of the parameters of an estimator, in the order of scikit-learn."""
    return tuple(kind._get_param_names())


def joins(attack: Any) -> bool:
    """Whether an attack can be made on a union of networks."""
    return bool(vars(type(attack)).get("_joins"))


def _shown(value):
    """Leave numbers to be rounded where they are shown."""
    return value if isinstance(value, Real | str) else briefly(value)


def _is_no_stream(method, X):
    returned = {"perturb": "every perturbed sample", "predict": "every label"}[method]
    return (
        f"{method} returns {returned} and takes no {type(X).__name__}, whose samples "
        f"need not fit into memory. Use report or score, or call {method} with its "
        "batches."
    )


def _halves(rows):
    middle = (rows.start + rows.stop) // 2
    return [slice(middle, rows.stop), slice(rows.start, middle)]
