"""A classifier around a network whose structure is a graph."""

import warnings
from functools import partial
from numbers import Real
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from robustkit._randomness import draw_seed, draw_seeds
from robustkit._sklearn_private import HasMethods, Interval, StrOptions
from robustkit._validation import caller_depth
from robustkit.classifiers._base import BaseNetClassifier, most_epochs
from robustkit.exceptions import NarrowInputWarning
from robustkit.graphs import LayeredGraph, default_prior, draw_structure
from robustkit.networks import (
    FANS,
    INITS,
    REWIRINGS,
    FusedStep,
    RewiringStep,
    SparseNetwork,
    initialize,
)

__all__ = ["SparseNetClassifier"]


class SparseNetClassifier(BaseNetClassifier):
    """Neural network whose structure is a graph, drawn at random or given.

    Every vertex of the graph is a unit with a bias and a ReLU, every edge is one
    weight, also if it skips layers. Every source of the graph receives the whole input,
    every sink feeds every output. The network is trained with Adam on the softmax
    cross-entropy.

    Parameters
    ----------
    prior : GraphPrior, LayeredGraph, networkx graph or array-like, default=None
        The structure: a prior, from which one graph is drawn in `fit`, or a graph, or
        its adjacency matrix. None is ``GraphPrior(n_nodes=250)``, and becomes one as
        soon as a parameter of it is set, as in ``set_params(prior__n_nodes=300)``. A
        prior with a ``random_state`` of its own draws the same graph whatever that of
        the classifier.

    init : {"he_uniform", "he_normal", "glorot_uniform", "glorot_normal", "uniform", \
            "normal"}, default="he_uniform"
        How the initial weights are drawn. The schemes of He and Glorot have a gain of
        sqrt(2);
        "uniform" is U(-0.1, 0.1), "normal" is N(0, 0.1). Biases are N(0, 0.1).

    fan : {"degree", "block"}, default="degree"
        What the schemes of He and Glorot count as inputs and outputs of a vertex: its
        own edges, or the width of the layers before and after it.

    rewire : {"set", "rigl"} or None, default=None
        Dynamic sparse training. Before every epoch but the first, the weakest edges
        give way to as many new ones, whose weights begin at zero: "set" [2]_ draws
        their places at random, "rigl" [3]_ takes those where the loss of the next batch
        has the largest gradient, and replaces fewer edges from epoch to epoch, none in
        the last quarter of `max_epochs`. Vertices keep their layers, sources and sinks
        stay what they are, and so does the number of weights. None keeps the graph.

    rewire_fraction : float, default=0.3
        Share of the edges into every layer that is replaced at a time, if `rewire` is
        not None. The strongest edge out of every vertex, and the strongest into it from
        the layer before, stay.

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
        of starting anew. The structure stays, too.

    device : str or torch.device, default="auto"
        Where to train. "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after every epoch.

    random_state : int, RandomState instance or None, default=None
        Draws the graph, the initial weights and the order of the samples. Pass an int
        for the same classifier on every call.

    Attributes
    ----------
    structure_ : LayeredGraph
        The graph of the network.

    structures_ : list of LayeredGraph
        The graph of each epoch, over all calls of `partial_fit` and warm starts. Only
        if `rewire` is not None.

    module_ : torch.nn.Module
        The trained network, in eval mode, with ordinary autograd.

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

    Warns
    -----
    NarrowInputWarning
        If the graph has only one or two sources, so that all features pass through as
        many units.

    See Also
    --------
    robustkit.graphs.GraphPrior : The distributions that graphs are drawn from.
    MLPNetClassifier : The dense network.

    References
    ----------
    .. [1] Ben Amor, M., Stier, J., & Granitzer, M. (2021). Correlation analysis between
       the robustness of sparse neural networks and their random hidden structural
       priors. Procedia Computer Science, 192, 4073-4082.
       https://doi.org/10.1016/j.procs.2021.09.182
    .. [2] Mocanu, D. C., et al. (2018). Scalable training of artificial neural networks
       with adaptive sparse connectivity inspired by network science. Nature
       Communications, 9, 2383. https://doi.org/10.1038/s41467-018-04316-3
    .. [3] Evci, U., Gale, T., Menick, J., Castro, P. S., & Elsen, E. (2020). Rigging
       the lottery: making all tickets winners. ICML.
       https://doi.org/10.48550/arXiv.1911.11134

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.classifiers import SparseNetClassifier
    >>> from robustkit.graphs import GraphPrior
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = SparseNetClassifier(
    ...     GraphPrior(n_nodes=100, rewiring=0.7), lr=0.01, random_state=0
    ... ).fit(X / 16, y)
    >>> classifier.structure_.n_nodes
    100
    >>> classifier.score(X / 16, y) > 0.95
    True
    """

    _parameter_constraints: dict = {
        **BaseNetClassifier._parameter_constraints,
        "prior": [
            HasMethods("sample"),
            LayeredGraph,
            nx.Graph,
            "array-like",
            "sparse matrix",
            None,
        ],
        "init": [StrOptions(set(INITS))],
        "fan": [StrOptions(set(FANS))],
        "rewire": [StrOptions(set(REWIRINGS)), None],
        "rewire_fraction": [Interval(Real, 0, 1, closed="neither")],
    }

    structure_: LayeredGraph
    structures_: list[LayeredGraph]
    module_: SparseNetwork

    def __init__(
        self,
        prior: Any = None,
        *,
        init: str = "he_uniform",
        fan: str = "degree",
        rewire: str | None = None,
        rewire_fraction: float = 0.3,
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
        self.prior = prior
        self.init = init
        self.fan = fan
        self.rewire = rewire
        self.rewire_fraction = rewire_fraction
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

    def set_params(self, **params: Any) -> Self:
        """Set the parameters of this classifier and of its prior.

        Parameters
        ----------
        **params : dict
            Names and values. Those of the prior begin with ``prior__``.

        Returns
        -------
        self : object
            The classifier.
        """
        nested = any(name.startswith("prior__") for name in params)
        if nested and params.get("prior", self.prior) is None:
            # So that a grid over `prior__n_nodes` works with the default, too.
            params["prior"] = default_prior()
        return super().set_params(**params)

    @property
    def properties_(self) -> pd.Series:
        """Properties of the graph, as a Series; see `graph_properties`."""
        return self.structure_.properties()

    def _make_module(self, n_features: int, n_classes: int, seed: int) -> nn.Module:
        graph_seed, weights_seed = draw_seeds(seed, 2)
        self.structure_ = draw_structure(self.prior, graph_seed)
        n_sources = len(self.structure_.sources)
        if n_sources <= 2 and n_sources < n_features:
            warnings.warn(
                f"All {n_features} features are squeezed through {n_sources} unit(s), "
                "as the graph has no more sources. A prior with more vertices, fewer "
                "neighbours or more rewiring has.",
                NarrowInputWarning,
                stacklevel=caller_depth(),
            )
        module = SparseNetwork(self.structure_, n_features, n_classes)
        return initialize(module, self.init, fan=self.fan, random_state=weights_seed)

    def _rebuild_module(self) -> nn.Module:
        return SparseNetwork(self.structure_, self.n_features_in_, len(self.classes_))

    def _start(self, X: NDArray, classes: NDArray, y: NDArray) -> None:
        super()._start(X, classes, y)
        self.__dict__.pop("structures_", None)

    def _make_stepper(self, network: Any, regularizer: Any) -> Any:
        make_step = partial(self._make_plain_step, network, regularizer)
        if self.rewire is None:
            return make_step()
        self.__dict__.setdefault("structures_", [])
        return RewiringStep(
            network,
            make_step,
            method=self.rewire,
            fraction=self.rewire_fraction,
            label_smoothing=self.label_smoothing,
            n_epochs_before=self.n_iter_,
            max_epochs=most_epochs(self.max_epochs),
            random_state=draw_seed(self._rng),
            on_graph=self._note_graph,
        )

    def _make_plain_step(self, network: Any, regularizer: Any) -> Any:
        if not FusedStep.suits(network, regularizer=regularizer):
            return super()._make_stepper(network, regularizer)
        return FusedStep(
            network,
            lr=self.lr,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
        )

    def _note_graph(self, structure: LayeredGraph) -> None:
        self.structure_ = structure
        self.structures_.append(structure)

    def _run_training(self, *args: Any, **kwargs: Any) -> None:
        super()._run_training(*args, **kwargs)
        if self.structure_ != self.module_.structure:
            # An earlier graph was the best: the moments are those of later edges.
            self.structure_ = self.module_.structure
            self._optimizer_state = None
