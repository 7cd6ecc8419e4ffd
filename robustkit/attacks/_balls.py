"""The points an attack may reach: a ball around each sample, cut by the clip range."""

import numpy as np
import torch

from robustkit.attacks import _kernels

__all__ = ["L2Ball", "LinfBall", "keep_inside", "make_ball", "sign_step"]


class LinfBall:
    """Every feature may move by at most `radius`.

    Parameters
    ----------
    center : torch.Tensor of shape (n_samples, ...)
        Clean samples.

    radius : float
        Of the ball.

    clip : tuple of two floats or None
        Range of every feature.
    """

    def __init__(self, center, radius, clip):
        self.radius = radius
        self.lower, self.upper = center - radius, center + radius
        if clip is not None:
            self.lower.clamp_(min=clip[0])
            self.upper.clamp_(max=clip[1])

    def project_(self, points):
        """Move points, in place, to the nearest ones allowed."""
        return torch.clamp(points, self.lower, self.upper, out=points)

    def step(self, points, gradient, size):
        """Climb by one step and stay inside; written where the gradient was."""
        return self.project_(sign_step(points, gradient, size))

    def take(self, rows):
        """Keep the balls of some samples only."""
        self.lower = self.lower.index_select(0, rows)
        self.upper = self.upper.index_select(0, rows)


class L2Ball:
    """The Euclidean length of the perturbation is at most `radius`.

    The clip range comes after the ball: the clean sample is in both, so clipping only
    shortens a perturbation.

    Parameters
    ----------
    center : torch.Tensor of shape (n_samples, ...)
        Clean samples.

    radius : float
        Of the ball.

    clip : tuple of two floats or None
        Range of every feature.
    """

    def __init__(self, center, radius, clip):
        self.center, self.radius, self.clip = center, radius, clip

    def project_(self, points):
        """Move points, in place, into the ball and then into the clip range."""
        points.sub_(self.center)
        length = _per_sample(points, torch.linalg.vector_norm(_flat(points), dim=1))
        points.mul_((self.radius / length.clamp_min(1e-30)).clamp_(max=1))
        points.add_(self.center)
        return points if self.clip is None else points.clamp_(*self.clip)

    def step(self, points, gradient, size):
        """Climb by one step and stay inside; written where the gradient was.

        A gradient of zero has no direction: that sample stays where it is. What is not
        a number counts as zero.
        """
        largest = _flat(gradient).abs().amax(dim=1)
        if not bool(torch.isfinite(largest).all()):
            gradient.nan_to_num_()
            largest = _flat(gradient).abs().amax(dim=1)
        # Divided by its largest entry first: squares of tiny numbers are zero.
        largest.clamp_min_(1e-38)
        gradient.div_(_per_sample(gradient, largest))
        length = torch.linalg.vector_norm(_flat(gradient), dim=1).clamp_min_(1e-30)
        gradient.mul_(_per_sample(gradient, size / length))
        return self.project_(gradient.add_(points))

    def take(self, rows):
        """Keep the balls of some samples only."""
        self.center = self.center.index_select(0, rows)


def sign_step(points, gradient, size):
    """Move along the sign of the gradient.

    Parameters
    ----------
    points : torch.Tensor
        From where.

    gradient : torch.Tensor of the shape of `points`
        What has no sign, zero or nan, moves nothing. Overwritten by the result.

    size : float
        How far every number moves.

    Returns
    -------
    moved : torch.Tensor of the shape of `points`
        ``points + size * sign(gradient)``.
    """
    if _in_one_piece(points) and _in_one_piece(gradient):
        arrays = [part.detach().numpy().reshape(-1) for part in (points, gradient)]
        _kernels.step_along_sign(*arrays, arrays[0].dtype.type(size))
        return gradient
    return torch.add(points, gradient.sign_(), alpha=size, out=gradient)


def _in_one_piece(tensor):
    """Whether numpy can walk through it."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype in (torch.float32, torch.float64)
        and tensor.is_contiguous()
    )


def make_ball(center, radius, clip, norm):
    """Choose the ball of a norm.

    Parameters
    ----------
    center : torch.Tensor of shape (n_samples, ...)
        Clean samples.

    radius : float
        Of the ball.

    clip : tuple of two floats or None
        Range of every feature.

    norm : {"linf", "l2"}
        Which length is bounded.

    Returns
    -------
    ball : LinfBall or L2Ball
        One ball a sample.
    """
    return {"linf": LinfBall, "l2": L2Ball}[norm](center, radius, clip)


def keep_inside(points, center, radius, norm, clip, out):
    """Bring whatever an attack returns back into the ball and the clip range.

    Parameters
    ----------
    points : ndarray of shape (n_samples, n_features)
        In the dtype of `center`. May be overwritten.

    center : ndarray of shape (n_samples, n_features)
        Clean samples, inside the clip range.

    radius : float
        Of the ball.

    norm : {"linf", "l2"}
        Which length is bounded.

    clip : tuple of two floats or None
        Range of every feature.

    out : ndarray of shape (n_samples, n_features)
        Becomes the points, at most `radius` away up to the rounding of their dtype.

    Returns
    -------
    length : ndarray of shape (n_samples,)
        How far away they are.
    """
    low, high = map(center.dtype.type, clip or (-np.inf, np.inf))
    if norm == "linf":
        of_type = center.dtype.type(radius)
        length = _kernels.clip_and_measure(points, center, of_type, low, high, out)
        # Rounding alone can make the distance a little too long.
        return np.minimum(length, radius)
    np.clip(points, low, high, out=out)
    move = torch.from_numpy(np.subtract(out, center, out=points))
    length = torch.linalg.vector_norm(move, dim=1).numpy().astype(np.float64)
    far = np.flatnonzero(length > radius)
    if len(far):
        out[far] = _shorten(out[far], center[far], length[far], radius)
    return np.minimum(length, radius)


def _shorten(points, center, length, radius):
    """Bring points that are too far away back, unless rounding alone took them there.

    Shortening such a move would only round again.
    """
    move = points - center
    # By how much the features that move are rounded: the others have no part in it.
    rounding = np.finfo(points.dtype).eps * (np.abs(center) + radius) * (move != 0)
    slack = np.linalg.norm(rounding.astype(np.float64), axis=1) * (radius > 0)
    # The clean sample is inside the clip range, and so is the way to it.
    shorter = center + move * (radius / length)[:, None].astype(points.dtype)
    return np.where((length > radius + slack)[:, None], shorter, points)


def _flat(points):
    return points.flatten(1)


def _per_sample(like, values):
    return values.view(-1, *[1] * (like.ndim - 1))
