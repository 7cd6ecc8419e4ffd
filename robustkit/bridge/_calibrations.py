"""Torch modules of calibrated classifiers: probabilities from scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from robustkit.bridge._as_module import as_module
from robustkit.bridge._compositions import SideBySide, part_of
from robustkit.bridge._ensembles import (
    LogAndProbability,
    MeanProbability,
    TakeProbability,
    decisions,
    normalized,
    of_log_odds,
    probabilities,
)
from robustkit.bridge._sklearn_transformers import ElementwiseScale, Interpolate
from robustkit.bridge._votes import NEVER, replaced, spread

__all__ = ["IsotonicCalibration", "SigmoidCalibration"]

# Added before the logarithm of a probability, by temperature scaling.
_TEMPERATURE_EPS = 1e-12

# Below this, the gradient of the logarithm of an isotonic probability grows no more.
_STEEPEST = 1e-6


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
    # A member that knows two classes has one score, which scikit-learn takes for that
    # of the first.
    known = known[: len(member.calibrators)]
    return nn.Sequential(spread(module, known, n_classes, NEVER, 0.0), Normalized())


class Normalized(nn.Module):
    """Divide probabilities by their sum; where all are zero, they become equal."""

    def forward(self, both: Tensor) -> Tensor:
        """Normalize what has the shape (n_samples, 2, n_classes)."""
        return normalized(both[:, 0], both[:, 1])


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

    With several classes they do not add up to one yet.

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
            return torch.stack([logsigmoid(log_odds), log_odds.sigmoid()], dim=1)
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

    With several classes they do not add up to one yet.

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


def _log_with_gradient(p: Tensor) -> Tensor:
    """Take a logarithm that is finite and has a gradient also at zero."""
    tiny = torch.finfo(p.dtype).tiny
    return replaced(p / p.detach().clamp_min(_STEEPEST), p.clamp_min(tiny).log())
