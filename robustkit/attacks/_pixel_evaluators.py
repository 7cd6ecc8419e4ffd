"""Ask a model about many images that differ from a clean one in a single pixel."""

import numpy as np
import torch

from robustkit._tensors import as_array, as_tensor
from robustkit.attacks._pixel_first_map import split_first_map
from robustkit.attacks._trusted_models import predicts_largest_logit
from robustkit.attacks.functional import margin_loss

__all__ = ["images_of", "make_evaluator"]

# Rows of one forward pass: of the part after the first map, and of a whole network on
# the CPU, where longer ones leave the cache.
_TAIL_ROWS = 8192
_WHOLE_ROWS = {"cpu": 256, "cuda": 8192}
# Numbers handed to an estimator in one call.
_TABLE_SIZE = 2**23
# A margin of this share of the logits may be rounding: `predict` decides.
_NEAR = 2.0**-12


def make_evaluator(judge, space, X, labels):
    """Choose how a model is asked.

    Parameters
    ----------
    judge : Judge
        Of the model.

    space : PixelSpace
        Positions and values.

    X : ndarray of shape (n_samples, n_features)
        Clean samples.

    labels : ndarray of shape (n_samples,)
        Indices of the classes attacked.

    Returns
    -------
    evaluate : callable
        ``evaluate(rows, pixel, level)``, all tensors, gives for every candidate how
        sure the model still is of the label, and whether it may err: `predict` must
        confirm that.
    """
    if not predicts_largest_logit(judge.estimator, judge.module):
        return _AskTheEstimator(judge, space, X, labels)
    first = split_first_map(judge.module)
    cls = _AskTheModule if first is None else _AskTheRest
    return cls(judge, space, X, labels, first)


class _AskTheRest:
    """Rank-one: only what comes after the first map is computed for a candidate."""

    def __init__(self, judge, space, X, labels, first):
        self.space = space.to(judge.device, judge.dtype)
        self.first = first
        self.x = as_tensor(X, device=judge.device, dtype=judge.dtype)
        self.labels = as_tensor(labels, device=judge.device, dtype=torch.int64)
        with torch.no_grad():
            # A column a sample, the layout in which a sparse network computes.
            self.units = first.units(self.x).t().contiguous()

    @torch.no_grad()
    def __call__(self, rows, pixel, level):
        pieces = [
            self._ask(*piece)
            for piece in zip(
                rows.split(_TAIL_ROWS),
                pixel.split(_TAIL_ROWS),
                level.split(_TAIL_ROWS),
                strict=True,
            )
        ]
        return _join(pieces)

    def _ask(self, rows, pixel, level):
        features, values = self.space.features_and_values(pixel, level)
        units = self.units.index_select(1, rows)
        old = self.x[rows[:, None], features]
        change = self.first.scaled(values, features) - self.first.scaled(old, features)
        for channel in range(features.shape[1]):
            column = self.first.weight.index_select(1, features[:, channel])
            units.addcmul_(column, change[:, channel])
        return _judge_logits(self.first.rest(units.t()), self.labels[rows])


class _AskTheModule:
    """Whole images through a torch module, few enough at once to stay in the cache."""

    def __init__(self, judge, space, X, labels, first):
        self.module = judge.module
        self.space = space.to(judge.device, judge.dtype)
        self.x = as_tensor(X, device=judge.device, dtype=judge.dtype)
        self.labels = as_tensor(labels, device=judge.device, dtype=torch.int64)
        self.n_rows = _WHOLE_ROWS.get(judge.device.type, 8192)

    @torch.no_grad()
    def __call__(self, rows, pixel, level):
        pieces = []
        for start in range(0, len(rows), self.n_rows):
            piece = slice(start, start + self.n_rows)
            features, values = self.space.features_and_values(
                pixel[piece], level[piece]
            )
            images = self.x.index_select(0, rows[piece])
            images.scatter_(1, features, values)
            pieces.append(_judge_logits(self.module(images), self.labels[rows[piece]]))
        return _join(pieces)


class _AskTheEstimator:
    """Whole images through `predict`, as many in one call as memory allows."""

    def __init__(self, judge, space, X, labels):
        self.judge, self.space, self.X, self.labels = judge, space, X, labels
        self.n_rows = max(1, _TABLE_SIZE // X.shape[1])

    def __call__(self, rows, pixel, level):
        pieces = []
        for start in range(0, len(rows), self.n_rows):
            piece = slice(start, start + self.n_rows)
            row = as_array(rows[piece])
            images = images_of(
                self.space, self.X[row], as_array(pixel[piece]), as_array(level[piece])
            )
            labels = self.labels[row]
            errs = torch.from_numpy(self.judge.predict(images) != labels)
            sure = -margin_loss(self._scores(images), torch.from_numpy(labels))
            pieces.append((sure, errs))
        return _join(pieces)

    @torch.no_grad()
    def _scores(self, images):
        """Say how near `predict` is to another answer, if anything does."""
        judge = self.judge
        if judge.module is None or hasattr(judge.estimator, "predict_proba"):
            return torch.from_numpy(judge.probabilities(images))
        x = as_tensor(images, device=judge.device, dtype=judge.dtype)
        return judge.module(x.clone()).cpu()


def images_of(space, X, pixel, level):
    """Write candidates as whole samples.

    Parameters
    ----------
    space : PixelSpace
        Positions and values.

    X : ndarray of shape (n, n_features)
        The clean sample of every candidate.

    pixel : ndarray of shape (n,)
        Which pixel of it.

    level : ndarray of shape (n, n_channels)
        Its new value.

    Returns
    -------
    images : ndarray of shape (n, n_features)
        As the attack would return them.
    """
    images = np.empty_like(X)
    space.write(X, pixel, level, images)
    return images


def _judge_logits(logits, labels):
    sure = -margin_loss(logits, labels)
    return sure, ~(sure > _NEAR * logits.abs().amax(dim=1))


def _join(pieces):
    return (
        pieces[0]
        if len(pieces) == 1
        else tuple(map(torch.cat, zip(*pieces, strict=True)))
    )
