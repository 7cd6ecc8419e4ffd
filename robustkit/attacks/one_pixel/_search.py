"""Search for one pixel that fools: by evolution, or by trying everything."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from robustkit._tensors import as_array, as_tensor, evaluating, threads_for
from robustkit.attacks._geometry import normal_noise, sample_keys, uniform_noise
from robustkit.attacks.one_pixel._certify import PixelCertifier
from robustkit.attacks.one_pixel._query import (
    Found,
    PixelModel,
    PixelSpace,
    Query,
    query_about,
)
from robustkit.networks import is_plain, leaves

if TYPE_CHECKING:
    from robustkit.attacks.functional import Trace

__all__ = ["evolve", "find_pixels", "one_pixel", "try_everything"]

# Storn and Price's mutation without crossover, its scale drawn from this range for
# every generation. Half of the members mutate the best one, which is quick, half
# themselves, which keeps looking elsewhere: in few generations each alone finds less.
_MUTATION = (0.5, 1.0)
_GENERATIONS_AT_ONCE = 8
# Candidates of one sample tried at once.
_CHUNK = 2048
# More candidates than this for one sample, and somebody mistook channels for pixels.
_MOST_CANDIDATES = 10**8


def one_pixel(
    model: nn.Module | Callable[[torch.Tensor], Any],
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    method: str = "differential_evolution",
    pop_size: int = 500,
    max_iter: int = 500,
    levels: int = 256,
    clip: tuple[float | torch.Tensor, float | torch.Tensor] = (0.0, 1.0),
    seed: int = 0,
    trace: Trace | None = None,
) -> torch.Tensor:
    """Change one pixel of every sample, so that the model errs.

    Parameters
    ----------
    model : torch.nn.Module or callable
        A module that returns logits; it is called in eval mode, on the device and in
        the precision of `X`. Or a function that returns the probabilities of a batch,
        such as `predict_proba`: it is given a tensor, and may return an array. It need
        not be differentiable.

    X : torch.Tensor of shape (n_samples, n_features), (n_samples, height, width) or \
            (n_samples, channels, height, width)
        Clean samples. A pixel of an image has a value in every channel; of a flat
        sample every feature is a pixel.

    y : torch.Tensor of shape (n_samples,)
        Index of the true class of each sample.

    method : {"differential_evolution", "exhaustive", "certified"}, \
            default="differential_evolution"
        "differential_evolution": a random search. "exhaustive": every pixel with every
        level, the exact answer on the grid. "certified": branch and bound, the exact
        answer for every real value, with proof; for modules of linear layers and ReLU
        and sparse networks.

    pop_size : int, default=500
        Candidates per generation of the evolution; at least 3.

    max_iter : int, default=500
        Maximum number of generations of the evolution.

    levels : int, default=256
        Number of values of the grid that "differential_evolution" and "exhaustive"
        choose from, evenly spaced over the range.

    clip : tuple of two floats or tensors, default=(0.0, 1.0)
        Smallest and largest value of every feature; tensors have the shape of one
        sample.

    seed : int, default=0
        Of the evolution, which depends on this and on the content of each sample.

    trace : Trace, default=None
        To learn more about the search than its points: `n_queries`, and with
        ``method="certified"`` `certified`, which samples the model predicts correctly
        and provably no single pixel fools.

    Returns
    -------
    X_adv : torch.Tensor of the shape of `X`
        The samples, one pixel changed where that fools the model. A sample that is not
        fooled, or that the model predicts wrongly anyway, is as it was.

    See Also
    --------
    robustkit.attacks.OnePixelAttack : The same for estimators, in batches.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from robustkit.attacks.functional import one_pixel
    >>> from robustkit.bridge import as_module
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> module = as_module(LogisticRegression().fit(X / 16, y))
    >>> images = torch.tensor(X / 16).float().view(-1, 1, 8, 8)
    >>> flat = torch.nn.Sequential(torch.nn.Flatten(), module)
    >>> X_adv = one_pixel(flat, images, torch.tensor(y), method="certified")
    >>> X_adv.shape
    torch.Size([537, 1, 8, 8])
    >>> int((X_adv != images).flatten(1).sum(dim=1).max())
    1
    """
    _check_parameters(method, pop_size)
    low, high = (
        as_array(torch.as_tensor(end).double().expand(X.shape[1:]).flatten())
        for end in clip
    )
    flat, labels = as_array(X.flatten(1)), as_array(torch.as_tensor(y))
    image_shape = tuple(X.shape[1:]) if X.ndim > 2 else None
    space = PixelSpace(flat.shape[1], image_shape, low, high, levels)
    seen, certifier = _as_seen(model, X), None
    with ExitStack() as stack:
        if seen.module is not None:
            stack.enter_context(evaluating(seen.module))
            stack.enter_context(threads_for(seen.module, len(X)))
        if method == "certified":
            if seen.module is None:
                raise TypeError("method='certified' needs a torch.nn.Module.")
            certifier = PixelCertifier(seen.module, space)
        # A copy, as some models write to what they are given.
        right = np.flatnonzero(seen.predict(flat.copy()) == labels)
        query = query_about(seen, space, flat[right], labels[right])
        found = find_pixels(
            query,
            method=method,
            pop_size=pop_size,
            max_iter=max_iter,
            seed=seed,
            certifier=certifier,
        )
    perturbed = flat.copy()
    perturbed[right] = query.perturbed(found)
    if trace is not None:
        trace.n_queries = _of_all(found.n_queries, right, X)
        if found.certified is not None:
            trace.certified = _of_all(found.certified, right, X)
    return as_tensor(perturbed, device=X.device, dtype=X.dtype).view(X.shape)


def _of_all(values, rows, X):
    """Spread what is known of some samples over all of them, the others zero."""
    everywhere = torch.zeros(len(X), dtype=torch.from_numpy(values).dtype)
    everywhere[rows] = torch.from_numpy(values)
    return everywhere.to(X.device)


def _check_parameters(method, pop_size):
    if method not in ("differential_evolution", "exhaustive", "certified"):
        raise ValueError(
            "The 'method' parameter must be 'differential_evolution', 'exhaustive' or "
            f"'certified'. Got {method!r} instead."
        )
    if pop_size < 3:
        # A mutant needs two members other than itself.
        raise ValueError(
            f"The 'pop_size' parameter must be at least 3. Got {pop_size} instead."
        )


def _as_seen(model, X):
    """See a module, or a function, as a model that takes flat arrays."""
    shape = X.shape[1:]

    @torch.no_grad()
    def scores(images):
        x = as_tensor(images, device=X.device, dtype=X.dtype)
        return torch.as_tensor(model(x.unflatten(1, shape)))

    def predict(images):
        return as_array(scores(images).argmax(dim=1))

    def predict_and_score(images):
        found = scores(images).cpu()
        return as_array(found.argmax(dim=1)), found

    module = _on_flat_samples(model, shape) if isinstance(model, nn.Module) else None
    return PixelModel(predict, predict_and_score, module, X.device, X.dtype)


def _on_flat_samples(module, shape):
    """Give a module that takes flat samples: itself if it flattens them anyway."""
    first = next(leaves(module), None)
    if len(shape) == 1 or (
        is_plain(first, nn.Flatten) and (first.start_dim, first.end_dim) == (1, -1)
    ):
        return module
    return nn.Sequential(nn.Unflatten(1, shape), module)


def find_pixels(
    query: Query,
    *,
    method: str,
    pop_size: int,
    max_iter: int,
    seed: int,
    certifier: PixelCertifier | None = None,
) -> Found:
    """Search by one of the methods; "certified" needs the certifier of the model."""
    if certifier is not None:
        return certifier(query)
    if method == "exhaustive":
        return try_everything(query)
    return evolve(query, pop_size=pop_size, max_iter=max_iter, seed=seed)


def evolve(query: Query, *, pop_size: int, max_iter: int, seed: int) -> Found:
    """Differential evolution of (position, value), all samples at once.

    The seed and the content of a sample decide its random numbers. A sample leaves with
    the first generation that holds a candidate that fools.
    """
    found, space = Found.nothing(query), query.space
    if len(query.X) == 0:
        return found
    x = as_tensor(query.X, device=query.device)
    rows, keys = torch.arange(len(x), device=x.device), sample_keys(x, seed)
    population = _first_generation(space, keys, pop_size)
    fitness, fooled, place = _evaluate(query, rows, population)
    trial_fitness, noise = fitness, None
    for generation in itertools.count(1):
        found.n_queries[rows.cpu().numpy()] += pop_size
        _note_best(found, rows, trial_fitness, fooled, place)
        stay = ~found.fooled[rows.cpu().numpy()]
        stay = torch.from_numpy(np.flatnonzero(stay)).to(rows.device)
        if generation > max_iter or len(stay) == 0:
            break
        if len(stay) < len(rows):
            rows, keys = rows[stay], keys[stay]
            population, fitness = population[stay], fitness[stay]
            noise = noise if noise is None else noise[stay]
        turn = (generation - 1) % _GENERATIONS_AT_ONCE
        if noise is None or turn == 0:
            noise = _draw(keys, population, generation)
        trial = _mutate(population, fitness, noise[:, turn], len(space.grid))
        trial_fitness, fooled, place = _evaluate(query, rows, trial)
        better = trial_fitness < fitness
        population = torch.where(better[..., None], trial, population)
        fitness = torch.where(better, trial_fitness, fitness)
    return found


def _first_generation(space, keys, pop_size):
    """Positions uniform over the image; values normal around the middle of the range.

    Every gene is a share in [0, 1]: of the height and width, then of the range.
    """
    n_genes, n_places = len(space.grid) + space.n_channels, len(space.grid)
    genes = uniform_noise(keys, pop_size * n_places, 0).add_(1).div_(2)
    genes = genes.view(len(keys), pop_size, n_places)
    values = normal_noise(keys, pop_size * space.n_channels, 1).mul_(0.5).add_(0.5)
    values = values.view(len(keys), pop_size, n_genes - n_places).clamp_(0, 1)
    return torch.cat([genes, values], dim=2)


def _draw(keys, population, generation):
    """Draw all random numbers of the next generations; one draw costs what many do."""
    _, size, n_genes = population.shape
    n_numbers = size * (2 + n_genes) + 1
    noise = uniform_noise(keys, _GENERATIONS_AT_ONCE * n_numbers, 3 * generation)
    return noise.add_(1).div_(2).view(len(keys), _GENERATIONS_AT_ONCE, n_numbers)


def _mutate(population, fitness, noise, n_places):
    """Add the scaled difference of two members to the best one, or to itself.

    A place outside the image is drawn anew. A value outside the range becomes its end:
    most images that one pixel can fool are fooled at an end.
    """
    n_images, size, n_genes = population.shape
    scale = _MUTATION[0] + (_MUTATION[1] - _MUTATION[0]) * noise[:, -1, None, None]
    noise = noise[:, :-1].reshape(n_images, size, 2 + n_genes)
    one, two = (
        population.gather(1, partner[..., None].expand_as(population))
        for partner in _partners(noise[..., :2])
    )
    images = torch.arange(n_images, device=population.device)
    base = population.clone()
    base[:, ::2] = population[images, fitness.argmin(dim=1)][:, None]
    trial = base.addcmul_(scale, one - two)
    place, value = trial[..., :n_places], trial[..., n_places:]
    outside = (place < 0) | (place > 1)
    place = torch.where(outside, noise[..., 2 : 2 + n_places], place)
    return torch.cat([place, value.clamp_(0, 1)], dim=2)


def _partners(noise):
    """Choose two different members for every member, neither of them itself."""
    size = noise.shape[1]
    itself = torch.arange(size, device=noise.device)
    first = (noise[..., 0] * (size - 1)).long().clamp_(max=size - 2) + 1
    # The second draw counts only the offsets that are left.
    second = (noise[..., 1] * (size - 2)).long().clamp_(max=size - 3) + 1
    second += second >= first
    return (itself + first) % size, (itself + second) % size


def _evaluate(query, rows, population):
    """Return the fitness of every member, whether it may fool, and where it stands."""
    n_images, size, _ = population.shape
    space = query.space
    pixel = torch.zeros(n_images, size, dtype=torch.int64, device=population.device)
    for axis, length in enumerate(space.grid):
        step = (population[..., axis] * length).long().clamp_(max=length - 1)
        pixel = pixel * length + step
    level = (population[..., len(space.grid) :] * (space.levels - 1)).round()
    fitness, fooled = query(
        rows.repeat_interleave(size), pixel.flatten(), level.flatten(0, 1)
    )
    return (
        fitness.view(n_images, size).to(population.device),
        fooled.view(n_images, size).to(population.device),
        (pixel, level),
    )


def _note_best(found, rows, fitness, fooled, place):
    """Of each sample that has members that fool, keep the one that fools best."""
    if not fooled.any():
        return
    pixel, level = place
    best = torch.where(fooled, fitness, torch.inf).argmin(dim=1)
    image = fooled.any(dim=1).nonzero().squeeze(1)
    best = best[image]
    found.note(
        rows[image].cpu().numpy(),
        pixel[image, best].cpu().numpy(),
        level[image, best].double().cpu().numpy(),
        most=1,
    )


def try_everything(query: Query) -> Found:
    """Try every pixel with every level.

    The answer is exact: a sample that is not fooled has no such pixel on the grid.
    """
    found, space, device = Found.nothing(query), query.space, query.device
    n_values = space.levels**space.n_channels
    if n_values * space.n_pixels > _MOST_CANDIDATES:
        raise ValueError(
            f"method='exhaustive' with levels={space.levels} and {space.n_channels} "
            f"channels has {n_values * space.n_pixels:.1e} candidates per image. Use "
            "fewer levels, or method='certified'."
        )
    everyone = torch.arange(len(query.X), device=device)
    # The ends of the range fool nearly all images that can be fooled at all.
    ends = (0, space.levels - 1)
    for values in (ends, range(space.levels)):
        grid = list(itertools.product(values, repeat=space.n_channels))
        grid = torch.tensor(grid, dtype=torch.float64, device=device)
        for row in everyone[torch.from_numpy(~found.fooled).to(device)]:
            _try_all_pixels(query, found, row, grid)
    return found


def _try_all_pixels(query, found, row, grid):
    n_candidates = query.space.n_pixels * len(grid)
    for start in range(0, n_candidates, _CHUNK):
        stop = min(start + _CHUNK, n_candidates)
        index = torch.arange(start, stop, device=grid.device)
        pixel, level = index // len(grid), grid[index % len(grid)]
        _, fooled = query(row.expand(len(index)), pixel, level)
        found.n_queries[int(row)] += len(index)
        if fooled.any():
            hit = fooled.nonzero().squeeze(1).to(pixel.device)
            rows = np.full(len(hit), int(row))
            found.note(rows, pixel[hit].cpu().numpy(), level[hit].cpu().numpy())
            if found.fooled[int(row)]:
                return
