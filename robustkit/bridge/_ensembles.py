"""Torch modules of classifiers that are built around other classifiers.

What such a classifier asks of its members, `predict_proba` or `decision_function`, is
not always the largest logit, so there is a registry of modules for each of the two.
"""

import warnings
from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import RFE
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
    of_selected,
    part_of,
    with_cast,
)
from robustkit.bridge._kernels import check_saw_all, kernel_decisions
from robustkit.bridge._sklearn_classifiers import centroid_scores, check_several_classes
from robustkit.bridge._sklearn_transformers import (
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

__all__ = [
    "LogAndProbability",
    "MeanProbability",
    "TakeProbability",
    "decisions",
    "normalized",
    "of_log_odds",
    "probabilities",
    "register_delegate",
]

# An estimator whose module cannot be known to give its probabilities or decisions is
# compared with it. Networks in float32 differ by less than this.
_TOLERANCE = 1e-3


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
        is_softmax = method == "predict_proba"
        answer = "the softmax of its logits" if is_softmax else "its module"
        raise TypeError(
            f"as_module knows {name}, but {answer} is not its {method}, which is asked "
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


def register_delegate(cls: type, model_of: Callable[[Any], Any]) -> None:
    """Let estimators of a class be converted as the model that answers for them.

    Parameters
    ----------
    cls : type
        The class.

    model_of : callable
        Takes a fitted estimator of this class and returns the model.
    """
    _respond_as(cls, model_of)

    @as_module.register(cls)
    def _of_delegate(estimator: Any) -> nn.Module:
        return as_module(model_of(estimator))


def _respond_as(cls, model_of):
    """Do the same for what it answers to an ensemble around it, and only that."""
    for respond in (probabilities, decisions):

        @respond.register(cls)
        def _of_delegate(estimator, respond=respond):
            return respond(model_of(estimator))


_respond_as(FrozenEstimator, lambda frozen: frozen.estimator)
_respond_as(BaseSearchCV, best_of)
for _thresholds in (FixedThresholdClassifier, TunedThresholdClassifierCV):
    _respond_as(_thresholds, lambda classifier: _thresholded(classifier))


for _response in (probabilities, decisions):

    @_response.register(Pipeline)
    def _of_pipeline(pipeline, respond=_response):
        return chain_of(pipeline, respond)

    @_response.register(RFE)
    def _of_selected(selector, respond=_response):
        return of_selected(selector, respond)

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
    if n_classes > 2:
        check_saw_all(classifier)
        if classifier.decision_function_shape == "ovr":
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


def normalized(logs: Tensor, values: Tensor, uniform: bool = True) -> Tensor:
    """Divide positive numbers by their sum.

    Where all of them are zero, they become equal if `uniform`; else they stay.
    """
    total, n_classes = values.sum(dim=1, keepdim=True), values.shape[1]
    nothing, shares = total == 0, logs - logs.logsumexp(dim=1, keepdim=True)
    values = values / torch.where(nothing, 1.0, total)
    if uniform:
        equal = torch.full_like(values, 1 / n_classes)
        values = torch.where(nothing, equal, values)
        logs = replaced(shares, equal.log())
    return torch.stack([torch.where(nothing, logs, shares), values], dim=1)


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
        logs, values = self.means(both)
        return let_win(logs, values.argmax(dim=1))

    def means(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithm of the mean, and the mean itself, as it is added up."""
        logs, values = both.unbind(dim=2)
        total = self.weights.sum()
        shares = (self.weights / total).log()
        logs = (logs + shares[:, None]).logsumexp(dim=1)
        return logs, added_up(self.weights, values) / total


class LogAndMean(MeanProbability):
    """The logarithm of the mean of several probabilities, and the mean itself."""

    def forward(self, both: Tensor) -> Tensor:
        """Average what has the shape (n_samples, n_members, 2, n_classes)."""
        return torch.stack(self.means(both), dim=1)


@as_module.register(VotingClassifier)
def _voting(classifier: VotingClassifier) -> nn.Module:
    check_is_fitted(classifier)
    check_several_classes(classifier)
    names = [name for name, member in classifier.estimators if member != "drop"]
    weights = np.ones(len(names))
    if classifier.weights is not None:
        pairs = zip(classifier.estimators, classifier.weights, strict=True)
        weights = np.array([w for (_, member), w in pairs if member != "drop"], float)
    if (weights < 0).any() or not (weights > 0).any():
        raise TypeError(
            "as_module needs a VotingClassifier with weights that are not negative, "
            f"and not all zero. Got {weights.tolist()}."
        )
    is_soft = classifier.voting == "soft"
    n_classes = len(classifier.classes_)
    convert = partial(_columns_of, n_classes=n_classes)
    if not is_soft:
        # Votes are counted, and False counts as 0.
        convert = partial(_vote_of, n_classes=n_classes, kinds="biu")
    members = [
        part_of("Member {} of VotingClassifier", name, member, convert)
        for name, member, weight in zip(
            names, classifier.estimators_, weights, strict=True
        )
        if weight > 0
    ]
    vote = MeanProbability if is_soft else WeightedVotes
    return nn.Sequential(SideBySide(members, stack=True), vote(weights[weights > 0]))


def _vote_of(member: Any, n_classes: int, kinds: str = "iu") -> nn.Module:
    """Convert a member that votes for the number of a class."""
    places = _places_of(member, n_classes, kinds)
    return spread(as_module(member), places, n_classes, NEVER)


def _columns_of(member: Any, n_classes: int) -> nn.Module:
    """Convert a member whose probabilities are those of the classes in their order."""
    known = getattr(member, "classes_", range(n_classes))
    if len(known) != n_classes:
        raise TypeError(
            f"its probabilities are of {len(known)} classes, not of all {n_classes}."
        )
    return probabilities(member)


def _share_of(member: Any, n_classes: int) -> nn.Module:
    """Convert a member that may know some of the classes only."""
    if len(member.classes_) == n_classes:
        return probabilities(member)
    places = _places_of(member, n_classes)
    return spread(probabilities(member), places, n_classes, NEVER, 0.0)


def _places_of(member: Any, n_classes: int, kinds: str = "iu") -> NDArray:
    """Return which classes a member knows, as an ensemble numbers them.

    An ensemble trains its members on these numbers; one that was trained before may
    have other labels.
    """
    known = np.asarray(getattr(member, "classes_", np.arange(n_classes)))
    is_number = known.dtype.kind in kinds
    if not is_number or not np.isin(known, np.arange(n_classes)).all():
        raise TypeError(
            f"its classes are {known.tolist()}, but the ensemble numbers its classes "
            f"from 0 to {n_classes - 1}. Train it on these numbers."
        )
    return known


@as_module.register(BaggingClassifier)
def _bagging(classifier: BaggingClassifier) -> nn.Module:
    check_is_fitted(classifier)
    check_several_classes(classifier)
    is_soft = _is_soft(classifier)
    n_classes = classifier.n_classes_
    convert = partial(_share_of if is_soft else _vote_of, n_classes=n_classes)
    members = _bagged(classifier, convert)
    vote = (MeanProbability if is_soft else WeightedVotes)(np.ones(len(members.parts)))
    return nn.Sequential(members, vote)


def _is_soft(classifier: BaggingClassifier) -> bool:
    return all(hasattr(member, "predict_proba") for member in classifier.estimators_)


def _bagged(
    classifier: BaggingClassifier, convert: Callable[[Any], nn.Module]
) -> SideBySide:
    """Put the members, converted somehow, each on the features that it gets."""
    columns, members = np.arange(classifier.n_features_in_), []
    for place, (member, features) in enumerate(
        zip(classifier.estimators_, classifier.estimators_features_, strict=True)
    ):
        module = part_of("Member {} of BaggingClassifier", place, member, convert)
        if not np.array_equal(features, columns):
            module = nn.Sequential(SelectColumns(features), with_cast(module))
        members.append(module)
    return SideBySide(members, stack=True)


@probabilities.register(BaggingClassifier)
@probabilities.register(CalibratedClassifierCV)
@probabilities.register(VotingClassifier)
def _mean_probabilities(classifier: Any) -> nn.Module:
    members, mean = cast("nn.Sequential", as_module(classifier))
    if not isinstance(mean, MeanProbability):
        name = type(classifier).__name__
        raise TypeError(
            f"the probabilities of a {name} of models without predict_proba are "
            "counted votes, which have no gradient. Give it models with predict_proba."
        )
    return nn.Sequential(members, LogAndMean(mean.weights.numpy()))


@decisions.register(BaggingClassifier)
def _bagging_decisions(classifier: BaggingClassifier) -> nn.Module:
    check_is_fitted(classifier)
    members = _bagged(
        classifier, partial(_decisions_of_all, n_classes=classifier.n_classes_)
    )
    return nn.Sequential(members, Mean(len(members.parts)))


def _decisions_of_all(member: Any, n_classes: int) -> nn.Module:
    if len(member.classes_) != n_classes:
        raise TypeError(
            f"its decision function is of {len(member.classes_)} classes, not of all "
            f"{n_classes}."
        )
    return decisions(member)


class Mean(nn.Module):
    """The mean over the second axis, as scikit-learn adds it up."""

    weights: Tensor

    def __init__(self, n_members: int) -> None:
        super().__init__()
        ones = torch.ones(n_members, dtype=torch.float64)
        self.register_buffer("weights", ones)

    def forward(self, x: Tensor) -> Tensor:
        """Average a batch."""
        return added_up(self.weights, x) / len(self.weights)


@as_module.register(StackingClassifier)
def _stacking(classifier: StackingClassifier) -> nn.Module:
    check_is_fitted(classifier)
    return stacked(classifier, partial(_vote_of, n_classes=len(classifier.classes_)))


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
    check_several_classes(classifier)
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
            convert = partial(_of_two_classes, respond=respond)
            members.append(part_of(owner, place, member, convert))
    return members, by_decision


def _of_two_classes(member: Any, respond: Callable[[Any], nn.Module]) -> nn.Module:
    n_classes = len(getattr(member, "classes_", range(2)))
    if n_classes != 2:
        raise TypeError(f"it knows {n_classes} classes, but here it needs 2.")
    return respond(member)


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
        return normalized(both[:, :, 0, 1], both[:, :, 1, 1], uniform=False)


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
        # A threshold may be infinite, a logit not.
        self.shift = float(np.clip(self.limit, NEVER, -NEVER))
        if not is_decision:
            # Of a probability, the logit is compared: it is never rounded to zero or
            # one.
            smallest = torch.finfo(torch.float64).tiny
            inside = min(max(self.limit, smallest), 1 - 2.0**-53)
            self.shift = float(np.log(inside / (1 - inside)))

    def forward(self, scores: Tensor) -> Tensor:
        """Compare a batch."""
        if self.is_decision:
            score = scores[:, 0] if self.second else -scores[:, 0]
            margin = score - self.shift
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
