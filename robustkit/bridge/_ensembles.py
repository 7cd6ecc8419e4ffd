"""Torch modules of classifiers that are built around other classifiers.

What such a classifier asks of its members, `predict_proba` or `decision_function`, is
not always the largest logit, so there is a registry of modules for each of the two.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial, singledispatch
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, NuSVC
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from robustkit._randomness import seeded_torch
from robustkit._sklearn_private import BaseSearchCV
from robustkit.bridge._as_module import as_module
from robustkit.bridge._compositions import (
    SelectColumns,
    SideBySide,
    best_of,
    chain_of,
    part_of,
    with_cast,
)
from robustkit.bridge._kernels import check_saw_all, kernel_decisions
from robustkit.bridge._sklearn_classifiers import centroid_scores
from robustkit.bridge._sklearn_transformers import (
    ElementwiseScale,
    Interpolate,
    in_double,
    linear,
    numpy_stream_kept,
    probe,
)
from robustkit.bridge._votes import (
    NEVER,
    VotesAndConfidence,
    WeightedVotes,
    added_up,
    let_win,
    replaced,
    spread,
)

__all__ = ["decisions", "probabilities"]

# An estimator whose module cannot be known to give its probabilities or decisions is
# compared with it. Networks in float32 differ by less than this.
_TOLERANCE = 1e-3

# Added before the logarithm of a probability, by temperature scaling.
_TEMPERATURE_EPS = 1e-12

# Below this, the gradient of the logarithm of an isotonic probability grows no more.
_STEEPEST = 1e-6


@singledispatch
def probabilities(estimator: Any) -> nn.Module:
    """Return the module of `predict_proba`, of shape (n_samples, 2, n_classes).

    Its first row are the logarithms, which have a gradient also where the
    probabilities, its second row, are rounded to zero or one.
    """
    module = nn.Sequential(as_module(estimator), LogAndProbability())
    _check_agrees(module, estimator, "predict_proba", lambda both: both[:, 1])
    return module


@singledispatch
def decisions(estimator: Any) -> nn.Module:
    """Return the module of `decision_function`, with one column for two classes."""
    module = as_module(estimator)
    if len(estimator.classes_) == 2:
        module = nn.Sequential(module, Difference())
    _check_agrees(module, estimator, "decision_function", lambda scores: scores)
    return module


def _check_agrees(module, estimator, method, of_output):
    """Refuse a module that does not say what a method of its estimator says."""
    name = type(estimator).__name__
    if not hasattr(estimator, method):
        raise TypeError(f"{name} has no {method}.")
    X = probe(getattr(estimator, "n_features_in_", 1))
    with seeded_torch(0), numpy_stream_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = getattr(estimator, method)(_named(X, estimator))
        except ValueError:
            # Some take positive numbers only.
            X = np.abs(X) + 1
            expected = getattr(estimator, method)(_named(X, estimator))
        with torch.no_grad():
            found = of_output(with_cast(module).eval()(torch.from_numpy(X))).numpy()
    expected = np.asarray(expected).reshape(len(X), -1)
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
    ):
        logits = {"predict_proba": "the softmax of its logits"}.get(
            method, "its module"
        )
        raise TypeError(
            f"as_module knows {name}, but {logits} is not its {method}, which is asked "
            "for here."
        )


def _named(X, estimator):
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return X
    import pandas as pd

    return pd.DataFrame(X, columns=names)


class LogAndProbability(nn.Module):
    """The softmax of logits: its logarithm, and itself, in float64."""

    def forward(self, logits: Tensor) -> Tensor:
        """Compute both for a batch."""
        logits = logits.double()
        return torch.stack([logits.log_softmax(dim=1), logits.softmax(dim=1)], dim=1)


class OneProbability(nn.Module):
    """The softmax of the logits (0, f): that of the first class is what is left over.

    So it is zero as soon as the other is rounded to one, as in scikit-learn.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Compute its logarithm, and itself, for a batch."""
        return of_log_odds(logits[:, 1:] - logits[:, :1])


def of_log_odds(log_odds: Tensor) -> Tensor:
    """Return the logarithms of the probabilities of two classes, and themselves."""
    p = log_odds.sigmoid()
    logs = torch.cat([logsigmoid(-log_odds), logsigmoid(log_odds)], dim=1)
    return torch.stack([logs, torch.cat([1 - p, p], dim=1)], dim=1)


class Difference(nn.Module):
    """The second of two columns minus the first."""

    def forward(self, x: Tensor) -> Tensor:
        """Subtract."""
        return x[:, 1:] - x[:, :1]


for _response in (probabilities, decisions):

    @_response.register(FrozenEstimator)
    def _of_frozen(frozen, respond=_response):
        return respond(frozen.estimator)

    @_response.register(BaseSearchCV)
    def _of_search(search, respond=_response):
        return respond(best_of(search))

    @_response.register(Pipeline)
    def _of_pipeline(pipeline, respond=_response):
        return chain_of(pipeline, respond)

    @_response.register(FixedThresholdClassifier)
    @_response.register(TunedThresholdClassifierCV)
    def _of_thresholded(classifier, respond=_response):
        return respond(_thresholded(classifier))

    @_response.register(StackingClassifier)
    def _of_stacking(classifier, respond=_response):
        return stacked(classifier, respond)


@probabilities.register(SGDClassifier)
def _sgd_probabilities(classifier: SGDClassifier) -> nn.Module:
    if classifier.loss != "log_loss":
        raise TypeError(
            "as_module knows the probabilities of SGDClassifier with loss='log_loss' "
            f"only, not {classifier.loss!r}."
        )
    logits = as_module(classifier)
    several = len(classifier.classes_) > 2
    return nn.Sequential(logits, OneVsRest() if several else OneProbability())


@probabilities.register(LinearDiscriminantAnalysis)
@probabilities.register(LogisticRegression)
@probabilities.register(MLPClassifier)
def _linear_probabilities(classifier: Any) -> nn.Module:
    several = len(classifier.classes_) > 2
    last = LogAndProbability() if several else OneProbability()
    return nn.Sequential(as_module(classifier), last)


@probabilities.register(SVC)
@probabilities.register(NuSVC)
def _svc_probabilities(classifier: SVC | NuSVC) -> nn.Module:
    name = type(classifier).__name__
    raise TypeError(
        f"as_module does not know the probabilities of {name}. Give it those of "
        f"CalibratedClassifierCV({name}(), ensemble=False)."
    )


@decisions.register(SVC)
@decisions.register(NuSVC)
def _svc_decisions(classifier: SVC | NuSVC) -> nn.Module:
    features, coef, intercept = kernel_decisions(classifier)
    pairs = in_double(*features, linear(coef, intercept))
    n_classes = len(classifier.classes_)
    if n_classes > 2 and classifier.decision_function_shape == "ovr":
        check_saw_all(classifier)
        pairs.append(VotesAndConfidence(n_classes))
    return pairs


@decisions.register(NearestCentroid)
def _centroid_decisions(classifier: NearestCentroid) -> nn.Module:
    scores = centroid_scores(classifier)
    if len(classifier.classes_) > 2:
        return scores
    return nn.Sequential(scores, Difference())


@probabilities.register(NearestCentroid)
def _centroid_probabilities(classifier: NearestCentroid) -> nn.Module:
    return nn.Sequential(centroid_scores(classifier), LogAndProbability())


class OneVsRest(nn.Module):
    """The probabilities of classes, from the log-odds of each against the rest."""

    def forward(self, log_odds: Tensor) -> Tensor:
        """Compute their logarithms, and themselves."""
        return normalized(logsigmoid(log_odds), log_odds.sigmoid())


def normalized(logs: Tensor, values: Tensor) -> Tensor:
    """Divide positive numbers by their sum; where all are zero, they become equal."""
    logs = logs - logs.logsumexp(dim=1, keepdim=True)
    total, n_classes = values.sum(dim=1, keepdim=True), values.shape[1]
    nothing = total == 0
    uniform = torch.full_like(values, 1 / n_classes)
    values = torch.where(nothing, uniform, values / torch.where(nothing, 1.0, total))
    logs = torch.where(nothing, replaced(logs, uniform.log()), logs)
    return torch.stack([logs, values], dim=1)


class MeanProbability(nn.Module):
    """The logarithm of the mean of several probabilities.

    The class whose mean is largest as `predict` adds it up has the largest logit.

    Parameters
    ----------
    weights : array-like of shape (n_members,)
        Weights in the mean, none of them zero.
    """

    weights: Tensor

    def __init__(self, weights: ArrayLike) -> None:
        super().__init__()
        weights = torch.as_tensor(np.array(weights), dtype=torch.float64)
        self.register_buffer("weights", weights)

    def forward(self, both: Tensor) -> Tensor:
        """Average what has the shape (n_samples, n_members, 2, n_classes)."""
        logs, values = both.unbind(dim=2)
        total = added_up(self.weights, values)
        shares = (self.weights / self.weights.sum()).log()
        return let_win((logs + shares[:, None]).logsumexp(dim=1), total.argmax(dim=1))


@as_module.register(VotingClassifier)
def _voting(classifier: VotingClassifier) -> nn.Module:
    check_is_fitted(classifier)
    names = [name for name, member in classifier.estimators if member != "drop"]
    weights = np.ones(len(names))
    if classifier.weights is not None:
        pairs = zip(classifier.estimators, classifier.weights, strict=True)
        weights = np.array([w for (_, member), w in pairs if member != "drop"], float)
    if (weights < 0).any():
        raise TypeError(
            "as_module needs a VotingClassifier with weights that are not negative. "
            f"Got {weights.tolist()}."
        )
    convert = probabilities if classifier.voting == "soft" else as_module
    members = [
        part_of("Member {} of VotingClassifier", name, member, convert)
        for name, member, weight in zip(
            names, classifier.estimators_, weights, strict=True
        )
        if weight > 0
    ]
    vote = MeanProbability if classifier.voting == "soft" else WeightedVotes
    return nn.Sequential(SideBySide(members, stack=True), vote(weights[weights > 0]))


@as_module.register(BaggingClassifier)
def _bagging(classifier: BaggingClassifier) -> nn.Module:
    check_is_fitted(classifier)
    soft = all(hasattr(member, "predict_proba") for member in classifier.estimators_)
    owner, n_classes = "Member {} of BaggingClassifier", classifier.n_classes_
    columns, members = np.arange(classifier.n_features_in_), []
    for place, (member, features) in enumerate(
        zip(classifier.estimators_, classifier.estimators_features_, strict=True)
    ):
        module = part_of(owner, place, member, probabilities if soft else as_module)
        fill = (NEVER, 0.0) if soft else (NEVER,)
        module = spread(module, member.classes_, n_classes, *fill)
        if not np.array_equal(features, columns):
            module = nn.Sequential(SelectColumns(features), with_cast(module))
        members.append(module)
    vote = (MeanProbability if soft else WeightedVotes)(np.ones(len(members)))
    return nn.Sequential(SideBySide(members, stack=True), vote)


@as_module.register(StackingClassifier)
def _stacking(classifier: StackingClassifier) -> nn.Module:
    return stacked(classifier, as_module)


def stacked(
    classifier: StackingClassifier, convert_last: Callable[[Any], nn.Module]
) -> nn.Module:
    """Put the last estimator, converted somehow, on the features that it gets."""
    check_is_fitted(classifier)
    if any(isinstance(classes, np.ndarray) for classes in classifier.classes_):
        raise TypeError(
            "as_module needs a StackingClassifier that gives every sample one label; "
            "this one was fitted for several labels per sample."
        )
    names = [name for name, member in classifier.estimators if member != "drop"]
    members = [
        part_of(
            "Member {} of StackingClassifier",
            name,
            member,
            partial(_feature_of, method=method, drop=len(classifier.classes_) == 2),
        )
        for name, member, method in zip(
            names, classifier.estimators_, classifier.stack_method_, strict=True
        )
    ]
    if classifier.passthrough:
        members.append(nn.Identity())
    last = part_of(
        "The estimator {} of StackingClassifier",
        "final_estimator",
        classifier.final_estimator_,
        convert_last,
    )
    return nn.Sequential(SideBySide(members), with_cast(last))


def _feature_of(member: Any, method: str, drop: bool) -> nn.Module:
    if method == "predict_proba":
        # Of two probabilities the first says nothing new.
        return nn.Sequential(probabilities(member), TakeProbability(int(drop)))
    if method == "decision_function":
        return decisions(member)
    raise TypeError(
        f"stack_method {method!r} gives labels, which have no gradient. Use "
        "'predict_proba' or 'decision_function'."
    )


class TakeProbability(nn.Module):
    """Keep the probabilities, without their logarithms, from some class on."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first = first

    def forward(self, both: Tensor) -> Tensor:
        """Take those of a batch."""
        return both[:, 1, self.first :]


@as_module.register(CalibratedClassifierCV)
def _calibrated(classifier: CalibratedClassifierCV) -> nn.Module:
    check_is_fitted(classifier)
    members = [
        part_of("Member {} of CalibratedClassifierCV", place, member, _one_calibrated)
        for place, member in enumerate(classifier.calibrated_classifiers_)
    ]
    mean = MeanProbability(np.ones(len(members)))
    return nn.Sequential(SideBySide(members, stack=True), mean)


def _one_calibrated(member: Any) -> nn.Module:
    """Convert a classifier with its calibrators, to log-probability and probability."""
    estimator, n_classes = member.estimator, len(member.classes)
    by_decision = hasattr(estimator, "decision_function")
    if member.method == "temperature":
        if by_decision:
            scores = [decisions(estimator)]
            scores += [BothSigns()] if n_classes == 2 else []
        else:
            scores = [probabilities(estimator), TakeProbability(), ShiftedLog()]
        (calibrator,) = member.calibrators
        temperature = ElementwiseScale(scale=float(calibrator.beta_))
        return nn.Sequential(*scores, temperature, LogAndProbability())
    if by_decision:
        scores = [decisions(estimator)]
    else:
        one_column = len(estimator.classes_) == 2
        scores = [probabilities(estimator), TakeProbability(int(one_column))]
    kind = {"sigmoid": SigmoidCalibration, "isotonic": IsotonicCalibration}
    calibrate = kind[member.method](member.calibrators, n_classes == 2)
    module = nn.Sequential(*scores, ElementwiseScale(), calibrate)
    if n_classes == 2:
        return module
    known = np.searchsorted(member.classes, estimator.classes_)
    return spread(module, known, n_classes, NEVER, 0.0)


class BothSigns(nn.Module):
    """Turn f into (-f, f)."""

    def forward(self, x: Tensor) -> Tensor:
        """Turn a batch."""
        return torch.cat([-x, x], dim=1)


class ShiftedLog(nn.Module):
    """The logarithm of a probability, bounded from below."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute it for a batch."""
        return (x + _TEMPERATURE_EPS).log()


class SigmoidCalibration(nn.Module):
    """Probabilities from scores, by a logistic function for each class.

    Parameters
    ----------
    calibrators : list
        One for each column of scores, with `a_` and `b_`.

    binary : bool
        Whether there is one column for two classes.
    """

    slopes: Tensor
    offsets: Tensor

    def __init__(self, calibrators: Sequence[Any], binary: bool) -> None:
        super().__init__()
        self.binary = binary
        for name, attribute in (("slopes", "a_"), ("offsets", "b_")):
            values = [float(getattr(one, attribute)) for one in calibrators]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, scores: Tensor) -> Tensor:
        """Compute log-probabilities and probabilities of a batch."""
        log_odds = -(self.slopes * scores + self.offsets)
        if not self.binary:
            return normalized(logsigmoid(log_odds), log_odds.sigmoid())
        return of_log_odds(log_odds)


class Rising(Interpolate):
    """A line that, where it is level, has its mean slope as the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate a batch."""
        start, level, slope = self.pieces(x)
        y, mean_slope = slope * (x - start) + level, 1.0
        if len(self.x) > 1:
            mean_slope = (self.y[-1] - self.y[0]) / (self.x[-1] - self.x[0])
        return torch.where(slope == 0, replaced(mean_slope * x, y), y)


class IsotonicCalibration(nn.Module):
    """Probabilities from scores, by a rising line of pieces for each class.

    Where a piece is level it has no gradient. There the module has that of the score,
    so that an attack finds the way to the next rise.

    Parameters
    ----------
    calibrators : list of IsotonicRegression
        One for each column of scores.

    binary : bool
        Whether there is one column for two classes.
    """

    def __init__(self, calibrators: Sequence[Any], binary: bool) -> None:
        super().__init__()
        self.binary = binary
        self.lines = nn.ModuleList(
            Rising(one.X_thresholds_, one.y_thresholds_) for one in calibrators
        )

    def forward(self, scores: Tensor) -> Tensor:
        """Compute log-probabilities and probabilities of a batch."""
        columns = zip(self.lines, scores.unbind(1), strict=True)
        p = torch.stack([line(column) for line, column in columns], dim=1)
        if self.binary:
            p = torch.cat([1 - p, p], dim=1)
            return torch.stack([_log_with_gradient(p), p], dim=1)
        return normalized(_log_with_gradient(p), p)


def _log_with_gradient(p: Tensor) -> Tensor:
    """Take a logarithm that is finite and has a gradient also at zero."""
    tiny = torch.finfo(p.dtype).tiny
    return replaced(p / p.detach().clamp_min(_STEEPEST), p.clamp_min(tiny).log())


@as_module.register(OneVsRestClassifier)
def _one_vs_rest(classifier: OneVsRestClassifier) -> nn.Module:
    members, by_decision = _against_the_rest(classifier)
    if len(members) == 1:
        (member,) = members
        limit = 0.0 if by_decision else 0.5
        return nn.Sequential(with_cast(member), Threshold(limit, by_decision, True))
    if by_decision:
        return SideBySide(members)
    return nn.Sequential(SideBySide(members, stack=True), LargestOdds())


@probabilities.register(OneVsRestClassifier)
def _one_vs_rest_probabilities(classifier: OneVsRestClassifier) -> nn.Module:
    members, _ = _against_the_rest(classifier, "predict_proba")
    if len(members) == 1:
        return with_cast(members[0])
    return nn.Sequential(SideBySide(members, stack=True), NormalizedOdds())


def _against_the_rest(classifier, method=None):
    """Modules of all members, one column or two rows each, and whether they decide."""
    check_is_fitted(classifier)
    if classifier.multilabel_:
        raise TypeError(
            "as_module needs a OneVsRestClassifier that gives every sample one label; "
            "this one was fitted for several labels per sample."
        )
    owner, members = "Member {} of OneVsRestClassifier", []
    by_decision = method is None and all(
        hasattr(member, "decision_function") for member in classifier.estimators_
    )
    respond = decisions if by_decision else probabilities
    for place, member in enumerate(classifier.estimators_):
        if hasattr(member, "y_"):
            # It stands for a class that all or no training samples had.
            members.append(Constant(float(np.ravel(member.y_)[0]), by_decision))
        else:
            members.append(part_of(owner, place, member, respond))
    return members, by_decision


class Constant(nn.Module):
    """The same answer for every sample: a decision, or probabilities.

    Parameters
    ----------
    value : float
        0 or 1: the decision, or the probability of the second class.

    is_decision : bool
        Whether it is a decision.
    """

    answer: Tensor

    def __init__(self, value: float, is_decision: bool) -> None:
        super().__init__()
        p = torch.tensor([1 - value, value], dtype=torch.float64)
        logs = torch.where(p > 0, 0.0, NEVER)
        answer = p[1:] if is_decision else torch.stack([logs, p])
        self.register_buffer("answer", answer)

    def forward(self, x: Tensor) -> Tensor:
        """Repeat it for a batch."""
        return self.answer.expand(x.shape[0], *self.answer.shape)


class LargestOdds(nn.Module):
    """The log-odds of each class against the rest; the largest probability wins."""

    def forward(self, both: Tensor) -> Tensor:
        """Compare what has the shape (n_samples, n_classes, 2, 2)."""
        logs, values = both.unbind(dim=2)
        return let_win(logs[..., 1] - logs[..., 0], values[..., 1].argmax(dim=1))


class NormalizedOdds(nn.Module):
    """Probabilities of several classes from those of each against the rest."""

    def forward(self, both: Tensor) -> Tensor:
        """Normalize what has the shape (n_samples, n_classes, 2, 2)."""
        return normalized(both[:, :, 0, 1], both[:, :, 1, 1])


@as_module.register(FixedThresholdClassifier)
@as_module.register(TunedThresholdClassifierCV)
def _threshold(classifier: Any) -> nn.Module:
    inner = _thresholded(classifier)
    wanted = classifier.response_method
    by_decision = wanted == "decision_function" or not hasattr(inner, "predict_proba")
    if isinstance(classifier, TunedThresholdClassifierCV):
        limit = classifier.best_threshold_
        label = classifier._curve_scorer._get_pos_label()
    else:
        limit, label = classifier.threshold, classifier.pos_label
        if limit == "auto":
            limit = 0.0 if by_decision else 0.5
    second = label is None or label == classifier.classes_[1]
    name = type(classifier).__name__
    respond = decisions if by_decision else probabilities
    module = part_of("The estimator {} of " + name, "estimator", inner, respond)
    last = Threshold(limit, by_decision, False, second=second)
    return nn.Sequential(with_cast(module), last)


def _thresholded(classifier: Any) -> Any:
    check_is_fitted(classifier)
    return getattr(classifier, "estimator_", classifier.estimator)


class Threshold(nn.Module):
    """Turn a score into the logits (0, f), f positive where it passes a threshold.

    Parameters
    ----------
    limit : float
        The threshold.

    is_decision : bool
        Whether the score is a decision, or the probability of a class.

    strictly : bool
        Whether the score must be larger than the threshold, not only as large.

    second : bool, default=True
        Whether the score speaks for the second class, or for the first.
    """

    def __init__(
        self, limit: float, is_decision: bool, strictly: bool, second: bool = True
    ) -> None:
        super().__init__()
        self.limit, self.is_decision = float(limit), is_decision
        self.strictly, self.second = strictly, second
        # Of a probability, the logit is compared: it is never rounded to zero or one.
        smallest = torch.finfo(torch.float64).tiny
        inside = min(max(self.limit, smallest), 1 - 2.0**-53)
        self.shift = float(np.log(inside / (1 - inside)))

    def forward(self, scores: Tensor) -> Tensor:
        """Compare a batch."""
        if self.is_decision:
            score = scores[:, 0] if self.second else -scores[:, 0]
            margin = score - self.limit
        else:
            own, other = (1, 0) if self.second else (0, 1)
            (logs, values) = scores.unbind(dim=1)
            margin = logs[:, own] - logs[:, other] - self.shift
            score = values[:, own]
        wins = score > self.limit if self.strictly else score >= self.limit
        zero = torch.zeros_like(margin)
        pair = [zero, margin] if self.second else [margin, zero]
        winner = wins if self.second else ~wins
        return let_win(torch.stack(pair, dim=1), winner.long())
