"""The template of every attack (check, search by batches, judge), and users' base."""

import math
import time
import warnings
from abc import ABCMeta, abstractmethod
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from robustkit._sklearn_private import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    with_callbacks,
)
from robustkit._tensors import as_array, as_tensor, resolve_device
from robustkit.attacks._attacked_model import AttackedModel, thawed
from robustkit.attacks._geometry import all_between, keep_inside
from robustkit.attacks._result import (
    AttackResult,
    measures,
    robust_accuracy,
    undecided,
)
from robustkit.attacks.functional import Trace
from robustkit.bridge import as_module
from robustkit.exceptions import InputRoundingWarning, UndecidedSamplesWarning

__all__ = ["BaseAttack", "Batch", "ModuleAttack", "Plan"]

# From this share on all samples of a batch are attacked, and the few that should not be
# get their old values back: that costs less than copying all others.
_NEARLY_ALL = 0.9

# With fewer representable points in a radius a move is mostly rounding.
_FEW = 8


@dataclass(frozen=True)
class Plan:
    """What the template must know of an attack before a run begins."""

    # The ball that no perturbed sample may leave.
    radius: float = math.inf
    norm: str = "linf"
    # The smallest move that matters to the result. None is the radius.
    smallest_move: float | None = None
    # Whether the search can use a gradient at the clean samples.
    from_clean: bool = False
    # Whether the search proves of samples that nothing allowed fools the model.
    certifies: bool = False
    # Of all random numbers of the run.
    seed: int = 0


@dataclass
class Batch:
    """What a search gets: samples that the model predicts correctly, and its orders."""

    # Samples, true classes, and the classes wanted, where the module computes.
    X: torch.Tensor
    y: torch.Tensor
    target: torch.Tensor | None = None
    clip: tuple[float, float] | None = None
    # A loss to climb instead of the attack's own; its name.
    loss: str | None = None
    seed: int = 0
    # Whether the points are for training: then every sample takes every step, and
    # nobody brings the points back into the ball.
    for_training: bool = False
    trace: Trace = field(default_factory=Trace)
    # The samples as they were given, and the model to ask; None in training.
    rows: np.ndarray | None = None
    model: AttackedModel | None = None


class BaseAttack(
    CallbackSupportMixin,
    ClassifierMixin,
    MetaEstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
    """What all attacks share.

    A subclass writes `_search`, which attacks one batch, and says with `_plan` what the
    search may not leave. That its result is inside, and is what the model says it is,
    is seen to here.
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "clip": [StrOptions({"auto"}), "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    # Whether the caller names the classes that the model shall predict.
    targeted: bool = False

    estimator_: Any
    classes_: np.ndarray
    clip_: tuple[float, float] | None
    n_features_in_: int
    feature_names_in_: np.ndarray

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the model that will be attacked, and learn the range of its data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : object
            The fitted attack.
        """
        # The model gets the data as they came, with the names of their columns.
        given = X
        X, y = validate_data(self, X, y, dtype=[np.float32, np.float64])
        check_classification_targets(y)
        self.clip_ = self._learn_clip(X)
        with self._progress_of_fit(X, y) as estimator:
            self.estimator_ = estimator.fit(given, y)
        self.classes_ = self.estimator_.classes_
        self._check_model(X)
        if hasattr(self, "max_iter"):
            self.n_iter_ = self.max_iter
        return self

    @contextmanager
    def _progress_of_fit(self, X, y):
        model = LogisticRegression() if self.estimator is None else self.estimator
        model = clone(model)
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
        X : array-like of shape (n_samples, n_features)
            Clean samples.

        y : array-like of shape (n_samples,), default=None
            True labels. None attacks what the model itself predicts, so that no label
            leaks into the result; a measure of robustness needs the true ones.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to predict.

        Returns
        -------
        result : AttackResult
            The perturbed samples, and what the model predicts for them.
        """
        return self._perturb(X, y, target)

    @with_callbacks
    def _perturb(self, X, y, target, loss=None):
        """Attack as `perturb` does; a `loss` that is given replaces the own one."""
        check_is_fitted(self)
        self._validate_params()
        X = self._validate_samples(X)
        # No gradient could follow what a caller's inference mode touches.
        with torch.inference_mode(False):
            model = AttackedModel.of(self.estimator_, resolve_device(self.device))
            labels = None if y is None else self._encode(model, y, len(X), "y")
            wanted = self._encode_target(model, target, len(X))
            plan = self._plan()
            found = {"X_adv": np.empty_like(X)}
            with model.at_work(X, self.batch_size):
                if loss is None:
                    self._check_resolution(model, plan, X)
                for batch in self._batches(len(X)):
                    pieces = [batch]
                    while pieces:
                        rows = pieces.pop()
                        try:
                            part = self._attack_batch(
                                model,
                                plan,
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
        result = AttackResult(**found)
        if plan.certifies:
            self._warn_of_undecided(int(undecided(result).sum()), len(X))
        return result

    def _validate_samples(self, given):
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
            _check_range(X.min(), X.max(), low, high)
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
                X_all, X, y = X, X[rows], y[rows]
                target = None if target is None else target[rows]
                look = None if look is None else look.take(rows)
                points, kept = np.empty_like(X), slice(None)
            batch = self._make_batch(model, plan, X, y, target, loss, look)
            candidates = as_array(self._search(model.module, batch))
            candidates = candidates.astype(X.dtype, copy=False)
            eps = keep_inside(
                candidates, X, plan.radius, plan.norm, self.clip_, out=points
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
            loss=loss,
            seed=plan.seed,
            trace=Trace(ask=ask, look=look),
            rows=X,
            model=model,
        )

    def _ask(self, model, plan, X, points, rows):
        """Ask the model about the very points that would be returned."""
        center = X[as_array(rows)]
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

    def _check_model(self, X):
        """Refuse, at the end of `fit`, a model that this attack cannot attack.

        What else the attack must learn of the training samples is learned here.
        """
        as_module(self.estimator_)

    @abstractmethod
    def _plan(self) -> Plan:
        """Say what the search may not leave; called once per run."""

    @abstractmethod
    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Attack one batch, and return points that need not be inside the ball.

        `n_queries` of the batch's trace must be written.
        """

    def _choose_target(self, model, X, y):
        """Return the classes that the attack itself wants, None if any will do."""

    def _check_resolution(self, model, plan, X):
        """Warn if X is too coarse for what the search may do to it."""
        radius = plan.radius if plan.smallest_move is None else plan.smallest_move
        if plan.norm == "l2":
            radius = radius / math.sqrt(X.shape[1])
        if not 0 < radius < math.inf:
            return
        coarser = max(
            np.finfo(X.dtype), torch.finfo(model.dtype), key=lambda numbers: numbers.eps
        )
        # A known range saves a pass over X.
        bound = math.inf if self.clip_ is None else max(map(abs, self.clip_))
        if radius >= _FEW * coarser.eps * bound:
            return
        largest = float(np.abs(X).max())
        spacing = coarser.eps * 2.0 ** math.floor(math.log2(max(largest, 1e-300)))
        if radius < _FEW * spacing:
            warnings.warn(
                f"A move of {radius:.3g} per feature is less than {_FEW} times "
                f"{spacing:.3g}, the spacing of {coarser.dtype} numbers near "
                f"{largest:.3g}: the result is mostly rounding. Center X first, or "
                "give it as float64 to a model that computes in float64.",
                InputRoundingWarning,
                stacklevel=5,
            )

    def _warn_of_undecided(self, n_undecided, n_samples):
        if n_undecided:
            warnings.warn(
                f"{n_undecided} of {n_samples} samples are undecided: no perturbation "
                "was found that fools, nor a proof that there is none. Their margin "
                "comes as near to zero as rounding is large, or they took too long.",
                UndecidedSamplesWarning,
                stacklevel=5,
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

    def _learn_clip(self, X):
        if isinstance(self.clip, str):
            return (0.0, 1.0) if X.min() >= 0 and X.max() <= 1 else None
        if self.clip is None:
            return None
        low, high = _check_clip(self.clip)
        _check_range(X.min(), X.max(), low, high)
        return low, high

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Perturb samples, attacking what the model predicts of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Clean samples.

        Returns
        -------
        X_adv : ndarray of shape (n_samples, n_features)
            Perturbed samples.
        """
        return self.perturb(X).X_adv

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Ask the model, without any attack.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            What the model predicts.
        """
        check_is_fitted(self)
        validate_data(self, X, reset=False, dtype=None, ensure_all_finite=False)
        return self.estimator_.predict(X)

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Robust accuracy: share of samples predicted correctly before and after.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Clean samples.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            In [0, 1].
        """
        return robust_accuracy(self.perturb(X, y), sample_weight)

    def report(
        self, X: ArrayLike, y: ArrayLike, target: ArrayLike | None = None
    ) -> pd.Series:
        """Attack, and summarize what came out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Clean samples.

        y : array-like of shape (n_samples,)
            True labels.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to predict.

        Returns
        -------
        report : pandas.Series
            `n_samples`, `n_correct` (right before the attack), `n_success`,
            `n_queries`, `clean_accuracy`, `robust_accuracy` (right before and after),
            `error_rate` (share of those right before that are wrong after), and over
            those the means `average_confidence` (of the wrong answer) and
            `average_eps`. nan where there is nothing to average. An attack with
            targets adds `target_rate` (of those right before), one that proves
            something `certified_accuracy` and `n_undecided` (neither fooled nor
            certified, of those right before).
        """
        return measures(self.perturb(X, y, target))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.estimator is not None:
            # A frozen model copies the tags of the one inside, and scikit-learn asks
            # for ours twice a call: that is felt where an attack is one step.
            tags.classifier_tags = get_tags(thawed(self.estimator)).classifier_tags
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@as_module.register(BaseAttack)
def _module_of(attack: BaseAttack) -> torch.nn.Module:
    check_is_fitted(attack)
    return as_module(attack.estimator_)


class ModuleAttack(BaseAttack, metaclass=ABCMeta):
    """Base class of an attack of your own: write `perturb_module`.

    A subclass is an attack like any other: it has `perturb`, `score` and `report`, can
    be a step of a pipeline, be searched over, take part in a study, and be the
    `adversary` that a classifier is trained against.

    Read more in :doc:`/how_to/own_attack`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is;
        otherwise `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

    eps : float or None, default=0.1
        Radius of the ball that a perturbed sample may not leave. None is no ball, for
        an attack that knows by itself how far it may go.

    norm : {"linf", "l2"}, default="linf"
        Which length of the perturbation is meant.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
        Number of samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The range that perturbed samples keep to.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    PGDAttack : What an attack of your own should be compared with.
    robustkit.attacks.functional.pgd : A search that yours may build on.

    Notes
    -----
    Of what :meth:`perturb_module` returns to :meth:`perturb`, the base brings every
    point back into the ball and the clip range, asks the model again, and counts in
    `n_queries` how often the module was called with a sample. Samples that the model
    gets wrong anyway are left out.

    A subclass with parameters of its own has an `__init__` that names all its
    parameters, as every estimator of scikit-learn, and hands those above on to
    ``super().__init__``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import ModuleAttack
    >>> class Darken(ModuleAttack):
    ...     def perturb_module(self, module, X, y):
    ...         return X - self.eps
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> report = Darken(eps=0.2).fit(X, y).report(X, y)
    >>> bool(report["robust_accuracy"] < report["clean_accuracy"])
    True
    """

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left"), None],
        "norm": [StrOptions({"linf", "l2"})],
    }

    # A number for attacks that cannot do without a ball.
    eps: Any

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        eps: float | None = 0.1,
        norm: str = "linf",
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.norm = norm
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    @abstractmethod
    def perturb_module(
        self, module: torch.nn.Module, X: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Perturb a batch against a bare module.

        What a sample becomes must not depend on the others of its batch, nor on a
        global random stream: draw from a generator that you seed.

        Parameters
        ----------
        module : torch.nn.Module
            Takes a batch, returns logits. It is in eval mode; leave no gradient in it.

        X : torch.Tensor of shape (n_samples, n_features)
            Clean samples, on the device of the module.

        y : torch.Tensor of shape (n_samples,)
            Index of the true class.

        Returns
        -------
        X_adv : torch.Tensor of the shape of `X`
            Perturbed samples.
        """

    def _plan(self) -> Plan:
        return Plan(math.inf if self.eps is None else self.eps, self.norm)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        # A copy: what a subclass writes in place must not reach the caller's X.
        with _rows_counted(module) as rows:
            points = self.perturb_module(module, batch.X.clone(), batch.y)
        if not isinstance(points, torch.Tensor) or points.shape != batch.X.shape:
            shape = getattr(points, "shape", None)
            got = type(points).__name__
            got = got if shape is None else f"{got} of shape {tuple(shape)}"
            raise ValueError(
                f"{type(self).__name__}.perturb_module must return a tensor of the "
                f"shape of its X, {tuple(batch.X.shape)}. Got {got}."
            )
        n_queries = math.ceil(sum(rows) / len(batch.X))
        batch.trace.n_queries = torch.full_like(batch.y, n_queries)
        # A tensor of its own, whatever the subclass keeps of it.
        return points.detach().clone()


def _halves(rows):
    middle = (rows.start + rows.stop) // 2
    return [slice(middle, rows.stop), slice(rows.start, middle)]


def _check_clip(clip):
    try:
        low, high = (float(bound) for bound in clip)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not low < high:
        raise ValueError(
            "The 'clip' parameter must be 'auto', None or a pair (low, high) with low "
            f"< high. Got {clip!r} instead."
        )
    return low, high


def _check_range(smallest, largest, low, high):
    if smallest < low or largest > high:
        raise ValueError(
            f"X must lie in the clip range [{low}, {high}]. Got values from {smallest} "
            f"to {largest}. Scale X, or set the parameter 'clip' and fit again."
        )


@contextmanager
def _rows_counted(module):
    """Give a list of the sizes of the batches that the module is called with."""
    rows = []
    hook = module.register_forward_hook(lambda _, given, said: rows.append(len(said)))
    try:
        yield rows
    finally:
        hook.remove()
