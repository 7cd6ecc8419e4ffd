"""Search for one pixel that fools: by evolution, or by trying everything."""

import itertools

import numpy as np
import torch

from robustkit.attacks._geometry import normal_noise, sample_keys, uniform_noise

__all__ = ["Found", "evolve", "try_everything"]

# Storn and Price's mutation without crossover, its scale drawn from this range for
# every generation. Half of the members mutate the best one, which is quick, half
# themselves, which keeps looking elsewhere: in few generations each alone finds less.
_MUTATION = (0.5, 1.0)
_GENERATIONS_AT_ONCE = 8
# Candidates of one image tried at once.
_CHUNK = 2048
# More candidates than this for one image, and somebody mistook channels for pixels.
_MOST_CANDIDATES = 10**8


class Found:
    """What is known of every image while the search goes on.

    Parameters
    ----------
    n_samples : int
        Number of images.

    n_channels : int
        Values of one pixel.

    confirm : callable
        ``confirm(rows, pixel, level)``, all arrays, asks `predict` itself whether
        candidates fool.
    """

    def __init__(self, n_samples, n_channels, confirm):
        self.confirm = confirm
        self.fooled = np.zeros(n_samples, dtype=bool)
        self.pixel = np.full(n_samples, -1)
        self.level = np.zeros((n_samples, n_channels))
        self.n_queries = np.zeros(n_samples, dtype=np.int64)

    def note(self, rows, pixel, level, *, most=None):
        """Of each image that had none, keep the first candidate that is confirmed.

        Parameters
        ----------
        rows, pixel : ndarray of shape (n,)
            Image and pixel of each candidate.

        level : ndarray of shape (n, n_channels)
            Its values.

        most : int, default=None
            Candidates of one image that `predict` is asked about at most; None: all.
        """
        order = np.argsort(rows, kind="stable")
        rows, pixel, level = rows[order], pixel[order], level[order]
        # How many candidates of the same image come before.
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        most = len(rows) if most is None else most
        start, stop = 0, 1
        while (start < most) and ((rank >= start) & ~self.fooled[rows]).any():
            asked = (rank >= start) & (rank < min(stop, most)) & ~self.fooled[rows]
            self._ask_and_keep(rows[asked], pixel[asked], level[asked])
            start, stop = stop, 4 * stop

    def _ask_and_keep(self, rows, pixel, level):
        hit = np.flatnonzero(self.confirm(rows, pixel, level))
        rows, first = np.unique(rows[hit], return_index=True)
        self.fooled[rows] = True
        self.pixel[rows], self.level[rows] = pixel[hit[first]], level[hit[first]]


def evolve(evaluate, confirm, space, x, *, pop_size, max_iter, seed):
    """Differential evolution of (position, value), all images at once.

    Parameters
    ----------
    evaluate : callable
        Asks the model.

    confirm : callable
        Asks `predict`.

    space : PixelSpace
        Positions and values.

    x : torch.Tensor of shape (n_samples, n_features)
        Clean images: with the seed, they decide all random numbers.

    pop_size : int
        Candidates a generation of one image.

    max_iter : int
        Generations at most.

    seed : int
        Of the search.

    Returns
    -------
    found : Found
        An image leaves with the first generation that holds a candidate that fools.
    """
    found = Found(len(x), space.n_channels, confirm)
    rows, keys = torch.arange(len(x), device=x.device), sample_keys(x, seed)
    population = _first_generation(space, keys, pop_size)
    fitness, fooled, place = _ask(evaluate, space, rows, population)
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
        if turn == 0:
            noise = _draw(keys, population, generation)
        trial = _mutate(population, fitness, noise[:, turn], len(space.grid))
        trial_fitness, fooled, place = _ask(evaluate, space, rows, trial)
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
    """Two different members for every member, neither of them itself."""
    size = noise.shape[1]
    itself = torch.arange(size, device=noise.device)
    first = (noise[..., 0] * (size - 1)).long().clamp_(max=size - 2) + 1
    # The second draw counts only the offsets that are left.
    second = (noise[..., 1] * (size - 2)).long().clamp_(max=size - 3) + 1
    second += second >= first
    return (itself + first) % size, (itself + second) % size


def _ask(evaluate, space, rows, population):
    """Fitness of every member, whether it fools, and where it stands."""
    n_images, size, _ = population.shape
    pixel = torch.zeros(n_images, size, dtype=torch.int64, device=population.device)
    for axis, length in enumerate(space.grid):
        step = (population[..., axis] * length).long().clamp_(max=length - 1)
        pixel = pixel * length + step
    level = (population[..., len(space.grid) :] * (space.levels - 1)).round()
    fitness, fooled = evaluate(
        rows.repeat_interleave(size), pixel.flatten(), level.flatten(0, 1)
    )
    return (
        fitness.view(n_images, size).to(population.device),
        fooled.view(n_images, size).to(population.device),
        (pixel, level),
    )


def _note_best(found, rows, fitness, fooled, place):
    """Of each image that has members that fool, keep the one that fools best."""
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


def try_everything(evaluate, confirm, space, n_samples, device):
    """Try every pixel with every level.

    Parameters
    ----------
    evaluate : callable
        Asks the model.

    confirm : callable
        Asks `predict`.

    space : PixelSpace
        Positions and values.

    n_samples : int
        Number of images.

    device : torch.device
        Where the model is.

    Returns
    -------
    found : Found
        The exact answer: an image that is not fooled has no such pixel on the grid.
    """
    n_values = space.levels**space.n_channels
    if n_values * space.n_pixels > _MOST_CANDIDATES:
        raise ValueError(
            f"method='exhaustive' with levels={space.levels} and {space.n_channels} "
            f"channels has {n_values * space.n_pixels:.1e} candidates an image. Use "
            "fewer levels, or method='certified'."
        )
    found = Found(n_samples, space.n_channels, confirm)
    everyone = torch.arange(n_samples, device=device)
    # The ends of the range fool nearly all images that can be fooled at all.
    ends = (0, space.levels - 1)
    for values in (ends, range(space.levels)):
        grid = list(itertools.product(values, repeat=space.n_channels))
        grid = torch.tensor(grid, dtype=torch.float64, device=device)
        for row in everyone[torch.from_numpy(~found.fooled).to(device)]:
            _try_all_pixels(evaluate, space, found, row, grid)
    return found


def _try_all_pixels(evaluate, space, found, row, grid):
    n_candidates = space.n_pixels * len(grid)
    for start in range(0, n_candidates, _CHUNK):
        stop = min(start + _CHUNK, n_candidates)
        index = torch.arange(start, stop, device=grid.device)
        pixel, level = index // len(grid), grid[index % len(grid)]
        _, fooled = evaluate(row.expand(len(index)), pixel, level)
        found.n_queries[int(row)] += len(index)
        if fooled.any():
            hit = fooled.nonzero().squeeze(1).to(pixel.device)
            rows = np.full(len(hit), int(row))
            found.note(rows, pixel[hit].cpu().numpy(), level[hit].cpu().numpy())
            if found.fooled[int(row)]:
                return
