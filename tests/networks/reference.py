"""The definition of a sparse network, vertex by vertex, in float64."""

import torch
from torch.nn import functional


def reference(network, X):
    """Logits, and the pre-activation of every vertex, of a batch."""
    W, b, w, V, c = (weight.double() for weight in network.parameters())
    source, target = network.structure.edges.tolist()
    incoming = [[] for _ in range(network.structure.n_nodes)]
    for edge, v in enumerate(target):
        incoming[v].append(edge)
    z = []
    for v, edges in enumerate(incoming):
        drive = X.double() @ W[v] if not edges else 0
        z.append(b[v] + drive + sum(w[e] * z[source[e]].relu() for e in edges))
    sinks = torch.stack([z[v].relu() for v in network.structure.sinks], dim=1)
    return sinks @ V.T + c, torch.stack(z, dim=1)


def reference_gradients(network, X, y, label_smoothing=0.0):
    """Loss, and the gradients of the input and of every parameter."""
    X = X.double().requires_grad_()
    logits, _ = reference(network, X)
    loss = functional.cross_entropy(logits, y, label_smoothing=label_smoothing)
    return loss, *torch.autograd.grad(
        loss, [X, *network.parameters()], materialize_grads=True
    )
