"""The template of every attack: check, search, stay inside, ask the model again."""

import math
import time
from abc import abstractmethod
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
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
    _fit_context,
    with_callbacks,
)
from robustkit.attacks._judge import thawed
from robustkit.attacks._kernels import all_between
from robustkit.attacks._measures import measures, robust_accuracy
from robustkit.attacks._result import AttackResult

__all__ = ["BaseAttack"]

# From this share on all samples of a batch are attacked, and the few that should not be
# get their old values back: that costs less than copying all others.
_NEARLY_ALL = 0.9


class BaseAttack(
    CallbackSupportMixin,
    ClassifierMixin,
    MetaEstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
    """What all attacks share.

    A subclass says how a batch is searched and what the search may not leave; that its
    result is inside, and is what the model says it is, is seen to here.
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "verbose": ["verbose"],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
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
        self._check_model()
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

    @with_callbacks
    def perturb(self, X, y=None, target=None):
        """Attack every sample that the model gets right.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Clean samples.

        y : array-like of shape (n_samples,), default=None
            True labels. None attacks what the model itself predicts, so that no label
            leaks into the result; a measure of robustness needs the true ones.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to say.

        Returns
        -------
        result : AttackResult
            The perturbed samples, and what the model says of them.
        """
        check_is_fitted(self)
        self._validate_params()
        given = X
        X = validate_data(
            self,
            X,
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
        # No gradient could follow what a caller's inference mode touches.
        with torch.inference_mode(False):
            return self._perturb(X, y, target)

    def _perturb(self, X, y, target):
        judge = self._judge()
        labels = None if y is None else self._encode(judge, y, len(X), "y")
        wanted = self._encode_target(judge, target, len(X))
        search = self._start_search(judge)
        found = {"X_adv": np.empty_like(X)}
        with judge.at_work(X, self.batch_size):
            self._check_resolution(judge, X)
            for rows in self._batches(len(X)):
                part = self._attack(
                    judge,
                    search,
                    X[rows],
                    None if labels is None else labels[rows],
                    None if wanted is None else wanted[rows],
                    out=found["X_adv"][rows],
                )
                for name, values in part.items():
                    array = found.setdefault(name, np.empty(len(X), values.dtype))
                    array[rows] = values
        for name in ("y", "clean_prediction", "prediction", "target"):
            if name in found:
                found[name] = judge.classes[found[name]]
        return AttackResult(**found)

    def _attack(self, judge, search, X, labels, wanted, out):
        """Attack one batch, in pieces if memory is short; `out` becomes X_adv."""
        try:
            return self._attack_piece(judge, search, X, labels, wanted, out)
        except torch.OutOfMemoryError:
            if len(X) == 1:
                raise
            torch.cuda.empty_cache()
        middle = len(X) // 2
        halves = []
        for rows in (slice(middle), slice(middle, None)):
            given = [None if part is None else part[rows] for part in (labels, wanted)]
            halves.append(self._attack(judge, search, X[rows], *given, out[rows]))
        return {name: np.concatenate([h[name] for h in halves]) for name in halves[0]}

    def _attack_piece(self, judge, search, X, labels, wanted, out):
        clean, confidence, look = judge(X, keep_graph=self._starts_clean())
        labels = clean if labels is None else labels
        wanted = self._choose_target(judge, X, labels) if wanted is None else wanted
        attacked = clean == labels
        if wanted is not None:
            attacked &= wanted != labels
        found = {
            "y": labels,
            "clean_prediction": clean,
            "prediction": clean.copy(),
            "confidence": confidence,
            "eps": np.zeros(len(X)),
            "n_queries": np.zeros(len(X), dtype=np.int64),
        }
        if wanted is not None:
            found["target"] = wanted
        if self._proves():
            found["certified"] = np.zeros(len(X), dtype=bool)
        about = self._attack_rows(judge, search, X, labels, wanted, look, attacked, out)
        out[~attacked] = X[~attacked]
        for name, values in about.items():
            found[name][attacked] = values
        found["success"] = attacked & self._is_success(found)
        return found

    def _attack_rows(self, judge, search, X, labels, wanted, look, attacked, out):
        """Search, make what was found obey the rules, and ask the model again."""
        rows = np.flatnonzero(attacked)
        if len(rows) == 0:
            return {}
        if len(rows) >= _NEARLY_ALL * len(X):
            found, kept = out, attacked
        else:
            X, labels = X[rows], labels[rows]
            wanted = None if wanted is None else wanted[rows]
            look = None if look is None else look.take(rows)
            found, kept = np.empty_like(X), slice(None)
        candidates, about = search(X, labels, wanted, look)
        eps = self._project(candidates, X, out=found)
        prediction, confidence, _ = judge(found)
        if found is not out:
            out[rows] = found
        about = {"prediction": prediction, "confidence": confidence, "eps": eps} | about
        return {name: values[kept] for name, values in about.items()}

    def _batches(self, n_samples):
        """Yield the rows in batches, and tell callbacks and the reader of it."""
        n_batches = math.ceil(n_samples / self.batch_size)
        whole = self._init_callback_context("perturb", max_subtasks=n_batches)
        whole.call_on_fit_task_begin(estimator=self)
        start = time.perf_counter()
        for k in range(n_batches):
            part = whole.subcontext(task_name="batch")
            part.call_on_fit_task_begin(estimator=self)
            yield slice(k * self.batch_size, (k + 1) * self.batch_size)
            part.call_on_fit_task_end(estimator=self)
            if self.verbose:
                done = min((k + 1) * self.batch_size, n_samples)
                print(  # noqa: T201
                    f"[{type(self).__name__}] {done} of {n_samples} samples attacked, "
                    f"{time.perf_counter() - start:.1f} s"
                )
        whole.call_on_fit_task_end(estimator=self)

    @abstractmethod
    def _judge(self):
        """Return the Judge of the fitted model."""

    @abstractmethod
    def _start_search(self, judge):
        """Return the function that attacks one batch.

        It takes rows of X, their labels, the classes wanted (or None) and the judge's
        first look at the rows (or None). It returns candidates, which need not be
        inside the ball or the clip range, and a dict of arrays: "n_queries", and what
        replaces or adds to what is known of a result.
        """

    @abstractmethod
    def _project(self, candidates, X, out):
        """Write candidates, brought inside, to `out`, and return their distance."""

    def _check_model(self):
        """Refuse, at the end of `fit`, a model that this attack cannot attack."""

    def _check_resolution(self, judge, X):
        """Warn if X is too coarse for what the search may do to it."""

    def _proves(self):
        """Whether the search says of samples that nothing allowed fools the model."""
        return False

    def _starts_clean(self):
        """Whether the search can use a gradient at the clean samples."""
        return False

    def _encode_target(self, judge, target, n_samples):
        """Return the classes that the caller wants as indices, None if any will do."""
        if target is not None:
            raise ValueError(
                f"{type(self).__name__} wants any wrong class and takes no 'target'. "
                "Use PGDAttack(targeted=True)."
            )

    def _choose_target(self, judge, X, labels):
        """Return the classes that the attack itself wants, None if any will do."""

    def _is_success(self, found):
        """Of samples that the model got right."""
        return found["prediction"] != found["y"]

    def _encode(self, judge, labels, n_samples, name):
        labels = column_or_1d(labels)
        if len(labels) != n_samples:
            raise ValueError(
                f"'{name}' must have one label a sample. Got {len(labels)} labels for "
                f"{n_samples} samples."
            )
        index = judge.encode(labels)
        if (index < 0).any():
            raise ValueError(
                f"'{name}' must hold classes of the model, which are "
                f"{judge.classes.tolist()}. Got {labels[index < 0].tolist()[0]!r}."
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

    def transform(self, X):
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

    def predict(self, X):
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

    def score(self, X, y, sample_weight=None):
        """Robust accuracy: share of samples right before and after the attack.

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

    def report(self, X, y, target=None):
        """Attack, and summarize what came out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Clean samples.

        y : array-like of shape (n_samples,)
            True labels.

        target : array-like of shape (n_samples,) or a single label, default=None
            The labels that a targeted attack wants the model to say.

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
