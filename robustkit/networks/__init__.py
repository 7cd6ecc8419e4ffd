"""Torch modules and how they train: the sparse network and the one training loop."""
# ruff: noqa: F401

# What is not in `__all__` is for other rooms, not for users.
from robustkit.networks._architectures import ARCHITECTURES, ToImages, flat_input, mlp
from robustkit.networks._fused_step import (
    FusedStep,
    PerceptronStep,
    RecordedStep,
    UnionStep,
    why_not_recorded,
)
from robustkit.networks._initialization import FANS, INITS, initialize
from robustkit.networks._network_union import NetworkUnion, of_rows
from robustkit.networks._parts import (
    MaskedLinear,
    is_plain,
    leaves,
    linear_weights,
    mask_hidden_layers,
    prune_weights,
    what_is_odd,
)
from robustkit.networks._rewiring import REWIRINGS, RewiringStep
from robustkit.networks._sparse_network import SparseNetwork
from robustkit.networks._training import (
    AutogradStep,
    Epoch,
    Plateau,
    Schedule,
    epoch_batches,
    normalises_batches,
    perturb_samples,
    train,
    train_on_stream,
)

__all__ = ["SparseNetwork", "initialize"]
