"""Random starts that depend on the seed and on the sample itself, on nothing else.

A stream of random numbers would give a sample another start whenever it stands at
another place or in another batch. Here the numbers are a hash of (seed, stream, the
sample's own content, feature), so that order, subset and batch size change nothing. All
of it is integer arithmetic on the device of the samples.
"""

import math

import torch

__all__ = ["normal_noise", "random_start", "sample_keys", "uniform_noise"]

_WORD = 0xFFFFFFFF


def random_start(center, radius, norm, seed, stream):
    """Draw one point uniformly from the ball around each sample.

    Parameters
    ----------
    center : torch.Tensor of shape (n_samples, ...)
        Clean samples.

    radius : float
        Of the ball.

    norm : {"linf", "l2"}
        Which ball.

    seed : int
        Of the attack.

    stream : int
        Different numbers for every stream: the number of the restart.

    Returns
    -------
    start : torch.Tensor of the shape of `center`
        Not clipped.
    """
    keys = sample_keys(center, seed)
    size = center[0].numel() if len(center) else 0
    if norm == "linf":
        noise = uniform_noise(keys, size, 3 * stream).mul_(radius)
    else:
        noise = normal_noise(keys, size, 3 * stream)
        # A uniform direction; the radius' d-th power is uniform.
        length = torch.linalg.vector_norm(noise, dim=1).clamp_min_(1e-30)
        height = uniform_noise(keys, 1, 3 * stream + 2).add_(1).mul_(0.5).squeeze(1)
        noise.mul_((radius * height.pow(1 / max(size, 1)) / length)[:, None])
    return center + noise.view(center.shape).to(center.dtype)


def sample_keys(samples, seed):
    """Hash every sample, together with a seed.

    Parameters
    ----------
    samples : torch.Tensor of shape (n_samples, ...)
        Their content is what counts, in their own precision.

    seed : int
        Of the attack.

    Returns
    -------
    keys : torch.Tensor of shape (n_samples,) and dtype int64
        Equal for equal samples.
    """
    flat = samples.detach().flatten(1)
    # -0.0 is 0.0, and has other bits.
    if flat.dtype == torch.float64:
        bits = _mix64((flat + 0.0).view(torch.int64))
    else:
        bits = (flat.float() + 0.0).view(torch.int32).long()
    # A sum of products with odd random factors, modulo 2^64, is a universal hash.
    position = torch.arange(flat.shape[1], device=flat.device)
    factors = _mix64(position + (seed + 1) * 0x5851F42D4C957F2D % 2**62) | 1
    return _mix64((bits * factors).sum(dim=1) + seed)


def uniform_noise(keys, size, stream):
    """Numbers that are uniform in [-1, 1].

    Parameters
    ----------
    keys : torch.Tensor of shape (n_samples,) and dtype int64
        From :func:`sample_keys`.

    size : int
        Numbers a sample.

    stream : int
        Different numbers for every stream.

    Returns
    -------
    noise : torch.Tensor of shape (n_samples, size)
        In float32.
    """
    keys = _mix64(keys + (stream + 1) * 0x632BE59BD9B4E019 % 2**62)
    first = _to_int32(keys & _WORD)
    # An odd increment of its own for every sample: a Weyl sequence, then mixed.
    increment = _to_int32((keys >> 32) & _WORD) | 1
    counter = torch.arange(size, dtype=torch.int32, device=keys.device)
    bits = _mix32_(torch.addcmul(first[:, None], increment[:, None], counter[None]))
    return bits.to(torch.float32).mul_(2.0**-31)


def normal_noise(keys, size, stream):
    """Numbers that are normal with mean 0 and variance 1.

    Parameters
    ----------
    keys : torch.Tensor of shape (n_samples,) and dtype int64
        From :func:`sample_keys`.

    size : int
        Numbers a sample.

    stream : int
        This stream and the next are used up: Box and Muller make one normal number of
        two uniform ones.

    Returns
    -------
    noise : torch.Tensor of shape (n_samples, size)
        In float32.
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
