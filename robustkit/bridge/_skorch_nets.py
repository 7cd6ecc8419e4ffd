"""Torch modules of skorch nets; loaded only if skorch is."""

import math
from typing import Any

import numpy as np
import torch
from skorch.classifier import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.dataset import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader

from robustkit.bridge._as_module import as_module

__all__ = ["LogOfProbabilities", "TwoLogits"]

# Settings of a DataLoader that decide how samples are loaded, and not which.
_OF_LOADING = frozenset(
    {"batch_size", "num_workers", "persistent_workers", "pin_memory",
     "pin_memory_device", "prefetch_factor", "timeout"}
)  # fmt: skip


class LogOfProbabilities(nn.Module):
    """Turn the probabilities that a module returns into logits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        probabilities = self.module(x)
        # A probability of zero must not become minus infinity.
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


class TwoLogits(nn.Module):
    """Turn a single logit f into two, the larger of which is the class of `predict`.

    They are (0, f), with f shifted by the logit of the threshold.

    Parameters
    ----------
    module : torch.nn.Module
        Returns one logit per sample.

    threshold : float, default=0.5
        The second class is predicted where its probability is larger than this.
    """

    def __init__(self, module: nn.Module, threshold: float = 0.5) -> None:
        super().__init__()
        self.module, self.threshold = module, float(threshold)
        # Beyond these no float32 is a probability; `forward` decides the rest.
        smallest, largest = torch.finfo(torch.float32).tiny, 1 - 2.0**-25
        inside = min(max(self.threshold, smallest), largest)
        self.shift = math.log(inside / (1 - inside))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        f = self.module(x).reshape(-1, 1)
        moved = f - self.shift
        # Rounded as in `predict`: the probability decides, not the logit.
        wins = f.sigmoid() > self.threshold
        tiny = torch.finfo(f.dtype).tiny
        decided = torch.where(wins, moved.clamp_min(tiny), moved.clamp_max(0))
        # The gradient is that of the logit also where the rounding decides.
        moved = torch.where(decided == moved, moved, moved - moved.detach() + decided)
        return torch.cat([torch.zeros_like(f), moved], dim=1)


@as_module.register(NeuralNetClassifier)
@as_module.register(NeuralNetBinaryClassifier)
def _skorch_net(net: Any) -> nn.Module:
    net.check_is_fitted()
    _check_predicts_its_classes(net)
    _check_hands_on_samples(net)
    # What the output of the module means is decided by its criterion.
    if isinstance(net.criterion_, nn.CrossEntropyLoss):
        return net.module_
    if isinstance(net.criterion_, nn.BCEWithLogitsLoss):
        return TwoLogits(net.module_, net.threshold)
    if isinstance(net.criterion_, nn.NLLLoss):
        return LogOfProbabilities(net.module_)
    name = type(net.criterion_).__name__
    raise TypeError(
        f"as_module does not know what the output of a skorch net trained with {name} "
        "means. It knows CrossEntropyLoss, BCEWithLogitsLoss and NLLLoss; add another "
        f"with as_module.register({type(net).__name__})."
    )


def _check_predicts_its_classes(net: Any) -> None:
    name = type(net).__name__
    # A net that was trained without y has none.
    classes = getattr(net, "classes_", None)
    if classes is not None and not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError(
            f"{name} predicts the numbers 0, 1, 2, ..., but was trained on the classes "
            f"{np.asarray(classes).tolist()}. Encode y with LabelEncoder first."
        )


def _check_hands_on_samples(net: Any) -> None:
    """Refuse a net whose dataset or loader may make other samples of those given."""
    own = {
        # What is None or False is as it always is.
        name: value
        for name, value in net.get_params_for("iterator_valid").items()
        if value and name not in _OF_LOADING
    }
    if net.dataset is Dataset and net.iterator_valid is DataLoader and not own:
        return
    which = (
        f"the dataset {net.dataset!r}" if net.dataset is not Dataset
        else f"iterator_valid__{next(iter(own))}" if own
        else f"iterator_valid={net.iterator_valid!r}"
    )  # fmt: skip
    raise TypeError(
        f"as_module needs a skorch net that gives its module the samples as they are. "
        f"This {type(net).__name__} has {which}, which may change them: pass its "
        "module_, and samples as that takes them."
    )
