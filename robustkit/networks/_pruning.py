"""Take weights out of a trained network, so that they stay out."""

import torch
from torch import nn
from torch.nn import functional

from robustkit.networks._known_parts import is_plain

__all__ = ["MaskedLinear", "linear_weights", "mask_hidden_layers", "prune_weights"]


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are removed.

    A removed weight is zero, and so is its gradient: no training brings it back.

    Parameters
    ----------
    linear : nn.Linear
        Its weights are shared; all of them are kept at first.
    """

    def __init__(self, linear):
        # Without memory: the weights are those of `linear`.
        super().__init__(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            device="meta",
        )
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("kept", torch.ones_like(linear.weight))
        self.train(linear.training)

    def forward(self, X):
        """Apply the weights that are kept."""
        return functional.linear(X, self.masked_weight(), self.bias)

    def masked_weight(self):
        """Weights as they are applied.

        Returns
        -------
        weight : torch.Tensor of shape (out_features, in_features)
            Zero where a weight was removed.
        """
        return self.weight * self.kept

    @torch.no_grad()
    def remove(self, removed):
        """Remove weights for good.

        Parameters
        ----------
        removed : torch.Tensor of shape (out_features, in_features)
            True where a weight goes.
        """
        self.kept.masked_fill_(removed, 0.0)
        self.weight.masked_fill_(removed, 0.0)


def linear_weights(part):
    """Weight and bias that a linear layer applies.

    Parameters
    ----------
    part : torch.nn.Linear or MaskedLinear
        A plain one.

    Returns
    -------
    weight : torch.Tensor of shape (n_outputs, n_inputs)
        Zero where it is masked.

    bias : torch.Tensor of shape (n_outputs,)
        Zero if the layer has none.
    """
    weight = part.masked_weight() if type(part) is MaskedLinear else part.weight
    return weight, weight.new_zeros(len(weight)) if part.bias is None else part.bias


def mask_hidden_layers(module):
    """Make the weights between hidden layers removable.

    Parameters
    ----------
    module : nn.Sequential
        A perceptron. Changed in place: every linear layer but the first and the last
        becomes a :class:`MaskedLinear`, unless it computes something of its own, such
        as a layer with hooks. Of any other module nothing is known.

    Returns
    -------
    layers : list of MaskedLinear
        From the input to the output.
    """
    if type(module) is not nn.Sequential:
        return []
    parts = module.named_children()
    linear = [(name, part) for name, part in parts if isinstance(part, nn.Linear)]
    # A layer that computes something else must go on doing so.
    names = [name for name, part in linear[1:-1] if is_plain(part, nn.Linear)]
    for name in names:
        setattr(module, name, MaskedLinear(getattr(module, name)))
    return [getattr(module, name) for name in names]


def prune_weights(layers, amount, *, method="random", generator=None):
    """Remove a share of the weights that are left.

    Parameters
    ----------
    layers : list of MaskedLinear
        They are taken together: one may lose more than another.

    amount : float
        Share of the weights left, in (0, 1). At least one weight goes while there is
        one.

    method : {"random", "magnitude"}, default="random"
        Which weights go: any, or the smallest.

    generator : torch.Generator, default=None
        Draws the weights that go, on the device of the layers. Only for "random".

    Returns
    -------
    density : float
        Share of all weights that are left.
    """
    kept = torch.cat([layer.kept.flatten() for layer in layers]).bool()
    left = kept.nonzero().squeeze(1)
    n_removed = min(max(1, round(amount * len(left))), len(left))
    if method == "random":
        order = torch.randperm(len(left), generator=generator, device=left.device)
    else:
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        # Stable, so that equal weights go in the same order everywhere.
        order = weights[left].abs().argsort(stable=True)
    removed = torch.zeros_like(kept)
    removed[left[order[:n_removed]]] = True
    sizes = [layer.weight.numel() for layer in layers]
    for layer, part in zip(layers, removed.split(sizes), strict=True):
        layer.remove(part.view_as(layer.weight))
    return (len(left) - n_removed) / len(kept)
