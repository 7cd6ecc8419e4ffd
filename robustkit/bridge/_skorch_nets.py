"""Torch modules of skorch nets; loaded only when skorch is."""

import torch
from skorch.classifier import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from robustkit.bridge._as_module import as_module

__all__ = ["LogOfProbabilities", "TwoLogits"]


class LogOfProbabilities(nn.Module):
    """Turn the probabilities that a module returns into logits."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        """Logits of a batch."""
        probabilities = self.module(x)
        # A probability of zero must not become minus infinity.
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


class TwoLogits(nn.Module):
    """Give a single logit f a silent partner: (0, f)."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        """Logits of a batch."""
        f = self.module(x).reshape(-1, 1)
        return torch.cat([torch.zeros_like(f), f], dim=1)


@as_module.register(NeuralNetClassifier)
@as_module.register(NeuralNetBinaryClassifier)
def _skorch_net(net):
    net.check_is_fitted()
    # What the output of the module means is decided by its criterion.
    if isinstance(net.criterion_, nn.CrossEntropyLoss):
        return net.module_
    if isinstance(net.criterion_, nn.BCEWithLogitsLoss):
        return TwoLogits(net.module_)
    if isinstance(net.criterion_, nn.NLLLoss):
        return LogOfProbabilities(net.module_)
    name = type(net.criterion_).__name__
    raise TypeError(
        f"as_module does not know what the output of a skorch net trained with {name} "
        "means. It knows CrossEntropyLoss, BCEWithLogitsLoss and NLLLoss; teach it "
        f"with as_module.register({type(net).__name__})."
    )
