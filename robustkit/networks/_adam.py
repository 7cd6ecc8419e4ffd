"""Adam, for a vector of weights whose gradient was computed by hand."""

import numpy as np
import torch
from torch.optim.adam import adam

from robustkit.networks._kernels import descend

__all__ = ["CompiledAdam", "TorchAdam"]

BETAS = (0.9, 0.999)
EPS = 1e-8


class CompiledAdam:
    """Adam on the CPU, which units that died do not slow down.

    Parameters
    ----------
    weight : torch.Tensor of shape (n_weights,)
        Changed in place.

    gradient : torch.Tensor of shape (n_weights,)
        Read by every step.

    lr : float
        Learning rate.

    weight_decay : float
        L2 penalty, as torch.optim.Adam defines it.

    Attributes
    ----------
    mean, square : torch.Tensor of shape (n_weights,)
        The moments.

    count : torch.Tensor of shape ()
        Steps taken.
    """

    def __init__(self, weight, gradient, *, lr, weight_decay):
        self.lr, self.weight_decay = lr, weight_decay
        self.mean, self.square = torch.zeros_like(weight), torch.zeros_like(weight)
        self.count = torch.zeros(())
        self._arrays = [t.numpy() for t in (weight, gradient, self.mean, self.square)]
        self._tiny = torch.finfo(weight.dtype).tiny

    def step(self):
        """Change the weights once."""
        self.count += 1
        corrections = [1 - beta ** self.count.item() for beta in BETAS]
        rates = [self.lr / corrections[0], corrections[1] ** -0.5]
        # In double precision: 1 - 0.999 has five correct digits in single precision.
        rates += [part for beta in BETAS for part in (beta, 1 - beta)]
        rates += [self.weight_decay, EPS]
        rates = np.array(rates, dtype=self._arrays[0].dtype)
        descend(*self._arrays, rates, self._tiny)


class TorchAdam:
    """Adam on a GPU, in one kernel that can be part of a CUDA graph.

    Its parameters and attributes are those of `CompiledAdam`.
    """

    def __init__(self, weight, gradient, *, lr, weight_decay):
        self.lr, self.weight_decay = lr, weight_decay
        self.mean, self.square = torch.zeros_like(weight), torch.zeros_like(weight)
        self.count = torch.zeros((), device=weight.device)
        self._weight, self._gradient = weight, gradient

    def step(self):
        """Change the weights once."""
        adam(
            [self._weight],
            [self._gradient],
            [self.mean],
            [self.square],
            [],
            [self.count],
            fused=True,
            capturable=self._weight.is_cuda,
            amsgrad=False,
            maximize=False,
            lr=self.lr,
            weight_decay=self.weight_decay,
            beta1=BETAS[0],
            beta2=BETAS[1],
            eps=EPS,
        )
