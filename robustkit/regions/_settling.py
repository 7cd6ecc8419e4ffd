"""Run a network and see where its samples settle."""

from itertools import chain

import numpy as np
import torch

from robustkit._tensors import as_array, map_batches
from robustkit.bridge import steady_layer_values
from robustkit.regions._population import Population
from robustkit.regions._region_table import pack_signs

__all__ = ["complete_vectors", "device_of", "pattern_words", "settle"]


def pattern_words(module, X, names, *, batch_size):
    """Pack the signs of some layers of a module, side by side.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode.

    X : torch.Tensor of shape (n_samples, n_features)
        Samples, on any device.

    names : list of str
        Layers.

    batch_size : int
        Samples a forward pass.

    Returns
    -------
    words : ndarray of shape (n_samples, n_words), dtype=uint64
        Packed patterns.
    """
    device = device_of(module, X)

    def pack(batch):
        values = steady_layer_values(module, batch.to(device), names).values()
        words = pack_signs(_joined(value.pre_activation for value in values))
        # Not every operation of torch knows unsigned words; the bits are the same.
        return torch.from_numpy(words.view(np.int64))

    return as_array(map_batches(pack, X, batch_size=batch_size)).view(np.uint64)


def settle(population, module, X, y, names, *, batch_size):
    """Count the samples of an array where a module's layers put them.

    Parameters
    ----------
    population : Population
        Is added to.

    module : torch.nn.Module
        In eval mode.

    X : torch.Tensor of shape (n_samples, n_features)
        Samples, on any device.

    y : torch.Tensor of shape (n_samples,)
        Class of each.

    names : list of str
        Layers whose units, side by side, make the pattern.

    batch_size : int
        Samples a forward pass.

    Returns
    -------
    ids : ndarray of shape (n_samples,)
        Region of each sample.
    """
    device = device_of(module, X)

    def settle_batch(batch, labels):
        values = steady_layer_values(module, batch.to(device), names).values()
        pre_activations = _joined(value.pre_activation for value in values)
        features = _joined(value.activation for value in values)
        ids = population.add(pre_activations, features, as_array(labels))
        return torch.from_numpy(ids)

    return as_array(map_batches(settle_batch, X, y, batch_size=batch_size))


def complete_vectors(population, module, X, y, ids, names, *, batch_size):
    """Compute the vectors that the population could not keep track of.

    Parameters
    ----------
    population : Population
        Holds the samples of `X` and no others.

    module : torch.nn.Module
        In eval mode.

    X : torch.Tensor of shape (n_samples, n_features)
        Samples, on any device.

    y : torch.Tensor of shape (n_samples,)
        Class of each.

    ids : ndarray of shape (n_samples,)
        Region of each sample.

    names : list of str
        Layers.

    batch_size : int
        Samples a forward pass.

    Returns
    -------
    vectors : ndarray of shape (n_classes, n_features)
        One for every class with samples.
    """
    vectors = population.major_vectors()
    majors = population.major_regions()
    for label in np.flatnonzero(np.isnan(vectors).any(axis=1) & (majors >= 0)):
        at_home = (as_array(y) == label) & (ids == majors[label])
        home = torch.from_numpy(np.flatnonzero(at_home))
        residents = Population(1)
        labels = torch.zeros(len(home), dtype=torch.int64)
        settle(residents, module, X[home], labels, names, batch_size=batch_size)
        vectors[label] = residents.major_vectors()[0]
    return vectors


def _joined(tensors):
    return as_array(torch.cat([tensor.flatten(1) for tensor in tensors], dim=1))


def device_of(module, X):
    """Find the device of a module; one without weights works where `X` is."""
    return next(chain(module.parameters(), module.buffers(), [X])).device
