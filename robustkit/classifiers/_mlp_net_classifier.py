"""The dense baseline: a classifier around a multi-layer perceptron."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn

from robustkit._sklearn_private import StrOptions
from robustkit.classifiers._base import BaseNetClassifier
from robustkit.networks import INITS, initialize, mlp

__all__ = ["MLPNetClassifier"]


class MLPNetClassifier(BaseNetClassifier):
    """Multi-layer perceptron: the dense network that sparse ones are compared with.

    It is trained like :class:`SparseNetClassifier`: with ReLU, softmax cross-entropy
    and Adam.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(100,)
        Units of each hidden layer, from the input to the output.

    init : {"he_uniform", "he_normal", "glorot_uniform", "glorot_normal", "uniform", \
            "normal"}, default="he_uniform"
        How the initial weights are drawn. The schemes of He and Glorot have a gain of
        sqrt(2);
        "uniform" is U(-0.1, 0.1), "normal" is N(0, 0.1). Biases are N(0, 0.1).

    max_epochs : int or "auto", default="auto"
        Passes over the training data. A number is how many there are, whether or not
        the loss still falls. "auto" goes on until the training loss has converged,
        which `tol` and `n_iter_no_change` define, and for at most 90 epochs, after
        which it warns. An adversary or regularizer that changes from epoch to epoch
        (it has the method ``on_epoch_begin``) gets all 90, unless `early_stopping` ends
        the training.

    batch_size : int or "auto", default="auto"
        Samples per step. "auto" is a twentieth of the training samples, but at least 36
        and at most 128.

    tol : float, default=0.0001
        By how much the training loss must fall below its least value so far to count as
        an improvement, if `max_epochs` is "auto" and `early_stopping` is false.

    lr : float, default=0.001
        Learning rate of Adam.

    weight_decay : float, default=0.0
        L2 penalty.

    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes.

    adversary : object or None, default=None
        For adversarial training: any object with ``perturb_module(module, X, y)``, such
        as an attack, which is called with every batch and returns the batch to train
        on. It is cloned first; a ``random_state`` of None in it is set from the
        classifier's.

    regularizer : object or None, default=None
        Any object with ``penalty(module, X, y)``, which is added to the loss. It is
        cloned and seeded as `adversary` is.

    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, to stop when their
        accuracy no longer improves, and to keep the weights with the best one.

    validation_fraction : float, default=0.1
        Share of the training samples held out, stratified by class, if
        `early_stopping` is true.

    n_iter_no_change : int, default=5
        Epochs without an improvement after which to stop: of the accuracy on the
        samples held out, if `early_stopping` is true, or of the training loss, if
        `max_epochs` is "auto".

    warm_start : bool, default=False
        Whether another call of `fit` continues from the weights of the last one instead
        of starting anew.

    device : str or torch.device, default="auto"
        Where to train. "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after every epoch.

    random_state : int, RandomState instance or None, default=None
        Draws the initial weights and the order of the samples. Pass an int for the same
        classifier on every call.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained network, in eval mode.

    classes_ : ndarray of shape (n_classes,)
        The classes, in the order of the network's outputs.

    n_parameters_ : int
        Weights and biases of the network.

    n_iter_ : int
        Number of epochs, over all calls of `partial_fit` and warm starts.

    loss_curve_ : list of float
        Mean loss of each epoch.

    validation_scores_ : list of float
        Accuracy on the samples held out, after each epoch. Only with `early_stopping`.

    adversary_ : object
        The clone of `adversary` that was used. Only if there was one.

    regularizer_ : object
        The clone of `regularizer` that was used. Only if there was one.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names that
        are all strings.

    See Also
    --------
    SparseNetClassifier : A network whose structure is a graph.
    PrunedNetClassifier : Removes weights from this one, step by step.
    sklearn.neural_network.MLPClassifier : Without attacks, regularizers and GPUs.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from robustkit.classifiers import MLPNetClassifier
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> classifier = MLPNetClassifier(lr=0.01, batch_size=20, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.95
    True
    """

    _parameter_constraints: dict = {
        **BaseNetClassifier._parameter_constraints,
        "hidden_layer_sizes": ["array-like"],
        "init": [StrOptions(set(INITS))],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        *,
        init: str = "he_uniform",
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        tol: float = 1e-4,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        adversary: Any = None,
        regularizer: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.init = init
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.tol = tol
        self.lr = lr
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.adversary = adversary
        self.regularizer = regularizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _make_module(self, n_features: int, n_classes: int, seed: int) -> nn.Module:
        sizes = _check_hidden_layer_sizes(self.hidden_layer_sizes)
        # Without memory nothing is drawn, so torch's global stream is left alone.
        with torch.device("meta"):
            module = mlp(n_features, n_classes, hidden_layer_sizes=sizes)
        module.to_empty(device="cpu")
        return initialize(module, self.init, random_state=seed)


def _check_hidden_layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    if not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(
            "The 'hidden_layer_sizes' parameter of MLPNetClassifier must hold ints of "
            f"at least 1. Got {sizes!r} instead."
        )
    return tuple(int(size) for size in sizes)
