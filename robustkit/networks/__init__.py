"""Torch modules and how they train: the sparse network and the one training loop."""

from robustkit.networks._initialization import initialize
from robustkit.networks._sparse_network import SparseNetwork

__all__ = ["SparseNetwork", "initialize"]
