"""Where points may be: balls, clip ranges, random starts, and steps that stay inside.

Random starts depend on the seed and on the sample itself, on nothing else. A stream of
random numbers would give a sample another start whenever it stands at another place or
in another batch. Here the numbers are a hash of (seed, stream, the sample's content,
feature), so that order, subset and batch size change nothing. All of it is integer
arithmetic on the device of the samples; that is why it is another hash than the one
that counts rows.
"""

import math
from numbers import Real

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike

__all__ = [
    "L2Ball",
    "LinfBall",
    "all_between",
    "keep_inside",
    "make_ball",
    "normal_noise",
    "radius_like",
    "random_point",
    "sample_keys",
    "sign_step",
    "uniform_noise",
]

_WORD = 0xFFFFFFFF


def radius_like(
    eps: float | ArrayLike | torch.Tensor, X: torch.Tensor
) -> float | torch.Tensor:
    """Return `eps` as a number, or as a tensor that broadcasts over the samples.

    Where there are as many samples as features, one number each must have the shape
    (n_samples, 1) or (1, n_features).
    """
    if isinstance(eps, Real):
        return _check_radius(eps)
    radius = torch.as_tensor(eps, dtype=X.dtype, device=X.device)
    if radius.ndim == 0:
        return _check_radius(float(radius))
    if radius.shape == X.shape[:1] == X.shape[1:] and len(X) > 1:
        raise ValueError(
            f"'eps' of shape {tuple(radius.shape)} may be one number per sample or per "
            f"feature of X, which has the shape {tuple(X.shape)}. Pass it in the shape "
            f"({len(X)}, 1) or (1, {len(X)})."
        )
    if radius.shape == X.shape[:1]:
        radius = radius.view(-1, *[1] * (X.ndim - 1))
    elif radius.shape == X.shape[1:]:
        radius = radius[None]
    fits = radius.ndim == X.ndim and all(
        size in (1, whole) for size, whole in zip(radius.shape, X.shape, strict=True)
    )
    if not fits or not bool((radius >= 0).all()):
        raise ValueError(
            "'eps' must be a number, or numbers of at least 0, one per sample or one "
            f"per feature, that broadcast to the shape of X, {tuple(X.shape)}. Got "
            f"shape {tuple(radius.shape)}."
        )
    return radius


def _check_radius(eps):
    if not eps >= 0:
        raise ValueError(f"'eps' must be at least 0. Got {eps!r}.")
    return eps


def take_radius(radius, rows):
    """Keep the radii of some samples only."""
    if isinstance(radius, torch.Tensor) and len(radius) > 1:
        return radius.index_select(0, rows)
    return radius


class LinfBall:
    """Every feature may move by at most `radius`, inside the clip range."""

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
        self.radius = take_radius(self.radius, rows)
        self.lower = self.lower.index_select(0, rows)
        self.upper = self.upper.index_select(0, rows)


class L2Ball:
    """The Euclidean length of the perturbation is at most `radius`.

    The clip range comes after the ball: the clean sample is in both, so clipping only
    shortens a perturbation.
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

        A gradient of zero has no direction: that sample stays where it is. NaN counts
        as zero.
        """
        largest = _flat(gradient).abs().amax(dim=1)
        if not bool(torch.isfinite(largest).all()):
            gradient.nan_to_num_()
            largest = _flat(gradient).abs().amax(dim=1)
        # Divided by its largest entry first: squares of tiny numbers are zero.
        largest.clamp_min_(1e-38)
        gradient.div_(_per_sample(gradient, largest))
        length = torch.linalg.vector_norm(_flat(gradient), dim=1).clamp_min_(1e-30)
        gradient.mul_(size / _per_sample(gradient, length))
        return self.project_(gradient.add_(points))

    def take(self, rows):
        """Keep the balls of some samples only."""
        self.radius = take_radius(self.radius, rows)
        self.center = self.center.index_select(0, rows)


def make_ball(center, radius, clip, norm):
    """Choose the ball of a norm; `radius` is what `radius_like` returns."""
    if norm not in ("linf", "l2"):
        raise ValueError(f"'norm' must be 'linf' or 'l2'. Got {norm!r}.")
    if norm == "linf":
        return LinfBall(center, radius, clip)
    if isinstance(radius, torch.Tensor) and len(center) and radius[0].numel() != 1:
        raise ValueError(
            "With norm='l2', 'eps' must be a number or one number per sample. Got "
            f"shape {tuple(radius.shape)}."
        )
    return L2Ball(center, radius, clip)


def sign_step(points, gradient, size):
    """Return ``points + size * sign(gradient)``, written where the gradient was.

    What has no sign, zero or NaN, moves nothing.
    """
    if isinstance(size, torch.Tensor):
        return gradient.sign_().mul_(size).add_(points)
    if _in_one_piece(points) and _in_one_piece(gradient):
        arrays = [part.detach().numpy().reshape(-1) for part in (points, gradient)]
        step_along_sign(*arrays, arrays[0].dtype.type(size))
        return gradient
    return torch.add(points, gradient.sign_(), alpha=size, out=gradient)


def _in_one_piece(tensor):
    """Whether numpy can walk through it."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype in (torch.float32, torch.float64)
        and tensor.is_contiguous()
    )


def keep_inside(
    points: np.ndarray,
    center: np.ndarray,
    radius: float | np.ndarray,
    norm: str,
    clip: tuple[float, float] | None,
    out: np.ndarray,
    unit: np.ndarray | None = None,
) -> np.ndarray:
    """Bring whatever an attack returns back into the ball and the clip range.

    Written to `out`, at most `radius` away from the centers up to the rounding of their
    dtype; `points`, in the same dtype, may be overwritten. Returns how far away the
    points are now, in the `unit` of each feature.
    """
    low, high = map(center.dtype.type, clip or (-np.inf, np.inf))
    if norm == "linf" and isinstance(radius, np.ndarray):
        return _keep_inside_boxes(points, center, (radius, unit), (low, high), out)
    if norm == "linf":
        of_type = center.dtype.type(radius)
        length = clip_and_measure(points, center, of_type, low, high, out)
        # Rounding alone can make the distance a little too long.
        return np.minimum(length, radius)
    np.clip(points, low, high, out=out)
    move = torch.from_numpy(np.subtract(out, center, out=points))
    length = torch.linalg.vector_norm(move, dim=1).numpy().astype(np.float64)
    # One per sample is a column.
    if isinstance(radius, np.ndarray):
        radius = radius[:, 0]
    far = np.flatnonzero(length > radius)
    if len(far):
        of_far = np.broadcast_to(radius, len(length))[far]
        out[far] = _shorten(out[far], center[far], length[far], of_far)
    return np.minimum(length, radius)


def _keep_inside_boxes(points, center, ball, clip, out):
    """Bring points into boxes whose sides differ by feature, or by sample."""
    radius, unit = ball
    side = radius.astype(center.dtype)
    least, most = np.maximum(center - side, clip[0]), np.minimum(center + side, clip[1])
    # They know how to deal with nan.
    np.fmin(np.fmax(points, least), most, out=out)
    length = np.abs(out - center).astype(np.float64)
    if unit is not None:
        # What may not move at all has no unit, and has not moved.
        length = np.divide(length, unit, out=np.zeros_like(length), where=unit > 0)
        radius = np.divide(radius, unit, out=np.zeros_like(radius), where=unit > 0)
    # Rounding alone can make the distance a little too long.
    return np.minimum(length.max(axis=1), radius.max(axis=1))


def _shorten(points, center, length, radius):
    """Bring points that are too far away back, unless rounding alone took them there.

    Shortening such a move would only round again.
    """
    move = points - center
    # By how much the features that move are rounded: the others have no part in it.
    reach = np.abs(center) + radius[:, None].astype(center.dtype)
    rounding = np.finfo(points.dtype).eps * reach * (move != 0)
    slack = np.linalg.norm(rounding.astype(np.float64), axis=1) * (radius > 0)
    # The clean sample is inside the clip range, and so is the way to it.
    shorter = center + move * (radius / length)[:, None].astype(points.dtype)
    return np.where((length > radius + slack)[:, None], shorter, points)


def _flat(points):
    return points.flatten(1)


def _per_sample(like, values):
    return values.view(-1, *[1] * (like.ndim - 1))


@njit(cache=True)
def all_between(values, low, high):
    """Whether all numbers lie in a range, its ends included; NaN does not."""
    for i in range(values.shape[0]):
        inside = True
        for j in range(values.shape[1]):
            inside &= (values[i, j] >= low) & (values[i, j] <= high)
        if not inside:
            return False
    return True


@njit(cache=True)
def clip_and_measure(points, center, radius, low, high, out):
    """Clip points to a cube and to a range, and see how far away they are then.

    The largest distance of any number in a row is returned, in float64. `radius`, `low`
    and `high` come in the dtype of the points: the faces of the cube are rounded as
    they are where a point is computed, so that one on a face stays there. One pass,
    for which numpy and torch would need several.
    """
    largest = np.zeros(len(points), dtype=np.int64)
    for i in range(points.shape[0]):
        most = np.int64(0)
        for j in range(points.shape[1]):
            least = max(center[i, j] - radius, low)
            point = min(max(points[i, j], least), min(center[i, j] + radius, high))
            out[i, j] = point
            # The bits of positive numbers are in the order of the numbers. Unlike the
            # larger of two numbers, which may be nan, that of two integers is found for
            # many at a time.
            move = np.float64(abs(point - center[i, j])).view(np.int64)
            most = max(most, move)
        largest[i] = most
    return largest.view(np.float64)


@njit(cache=True)
def step_along_sign(points, gradient, size):
    """Add `size`, in their dtype, times the sign of the gradient; written to it."""
    nothing = points.dtype.type(0)
    for i in range(len(points)):
        up = size if gradient[i] > 0 else nothing
        down = size if gradient[i] < 0 else nothing
        gradient[i] = points[i] + (up - down)


def random_point(center, radius, norm, seed, stream):
    """Draw one point uniformly from the ball around each sample. It is not clipped.

    Every `stream`, the number of the restart, has other numbers.
    """
    keys = sample_keys(center, seed)
    size = center[0].numel() if len(center) else 0
    if norm == "linf":
        noise = uniform_noise(keys, size, 3 * stream).view(center.shape).mul_(radius)
    else:
        noise = normal_noise(keys, size, 3 * stream).view(center.shape)
        # A uniform direction; the radius' d-th power is uniform.
        length = torch.linalg.vector_norm(_flat(noise), dim=1).clamp_min_(1e-30)
        height = uniform_noise(keys, 1, 3 * stream + 2).add_(1).mul_(0.5).squeeze(1)
        height = _per_sample(noise, height.pow(1 / max(size, 1)))
        noise.mul_(radius * height / _per_sample(noise, length))
    return center + noise.to(center.dtype)


def sample_keys(samples: torch.Tensor, seed: int | np.ndarray) -> torch.Tensor:
    """Hash every sample together with a seed, in int64: equal samples, equal keys.

    Their content is what counts, in their own precision. Of several seeds, each is that
    of as many samples, one after the other.
    """
    flat = samples.detach().flatten(1)
    # -0.0 is 0.0, and has other bits.
    if flat.dtype == torch.float64:
        bits = _mix64((flat + 0.0).view(torch.int64))
    else:
        bits = (flat.float() + 0.0).view(torch.int32).long()
    # A sum of products with odd random factors, modulo 2^64, is a universal hash.
    seeds = [seed] if isinstance(seed, int) else [int(one) for one in seed]
    starts = [(one + 1) * 0x5851F42D4C957F2D % 2**62 for one in seeds]
    position = torch.arange(flat.shape[1], device=flat.device)
    columns = torch.tensor([starts, seeds], device=flat.device)[:, :, None]
    starts, own = columns.unbind()
    factors = (_mix64(position + starts) | 1)[:, None]
    bits = bits.view(len(seeds), len(flat) // len(seeds), flat.shape[1])
    return _mix64((bits * factors).sum(dim=2) + own).flatten()


def uniform_noise(keys: torch.Tensor, size: int, stream: int) -> torch.Tensor:
    """Draw `size` numbers for each key, uniform in [-1, 1], in float32.

    Every stream has other numbers.
    """
    keys = _mix64(keys + (stream + 1) * 0x632BE59BD9B4E019 % 2**62)
    first = _to_int32(keys & _WORD)
    # An odd increment of its own for every sample: a Weyl sequence, then mixed.
    increment = _to_int32((keys >> 32) & _WORD) | 1
    counter = torch.arange(size, dtype=torch.int32, device=keys.device)
    bits = _mix32_(torch.addcmul(first[:, None], increment[:, None], counter[None]))
    return bits.to(torch.float32).mul_(2.0**-31)


def normal_noise(keys: torch.Tensor, size: int, stream: int) -> torch.Tensor:
    """Draw `size` standard normal numbers for each key, in float32.

    This stream and the next are used up: Box and Muller make one normal number of two
    uniform ones.
    """
    height = uniform_noise(keys, size, stream).add_(1).mul_(0.5).clamp_min_(2.0**-25)
    angle = uniform_noise(keys, size, stream + 1).mul_(math.pi)
    return height.log_().mul_(-2).sqrt_().mul_(angle.cos_())


def _to_int32(word):
    return torch.where(word >= 2**31, word - 2**32, word).to(torch.int32)


def _mix32_(h):
    """Spread every bit of a 32-bit word over all others, in place.

    Chris Wellons' "lowbias32". torch shifts with the sign, hence the masks.
    """
    h ^= (h >> 16) & 0xFFFF
    h *= 0x7FEB352D
    h ^= (h >> 15) & 0x1FFFF
    h *= 0x846CA68B - 2**32
    h ^= (h >> 16) & 0xFFFF
    return h


def _mix64(h):
    """Spread every bit of a 64-bit word over all others: the end of "splitmix64"."""
    h = (h ^ ((h >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    h = (h ^ ((h >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return h ^ ((h >> 31) & (2**33 - 1))
