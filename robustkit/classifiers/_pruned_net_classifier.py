"""A classifier that is pruned and retrained step by step."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from robustkit._randomness import draw_seeds, torch_generator
from robustkit._samples import check_layout, flat_samples, is_stream
from robustkit._sklearn_private import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
)
from robustkit._tensors import as_array
from robustkit.bridge import as_module, image_shape_of
from robustkit.classifiers._as_classifier import fit_classifier
from robustkit.classifiers._base import BaseNetClassifier, seeded_clone
from robustkit.classifiers._mlp_net_classifier import MLPNetClassifier
from robustkit.graphs import LayeredGraph
from robustkit.networks import MaskedLinear, mask_hidden_layers, prune_weights

__all__ = ["PrunedNetClassifier", "describe_step", "removable_layers"]


@dataclass(frozen=True)
class PruningStep:
    """The network after one step."""

    density: float
    """Share of the hidden-to-hidden weights that remain."""

    n_parameters: int
    """Weights and biases of the network that remain."""

    accuracy: float
    """On the training samples, after retraining."""

    structure: LayeredGraph
    """The hidden units and the weights between them that remain."""

    estimator: BaseNetClassifier
    """The fitted classifier."""


class PrunedNetClassifier(
    MetaEstimatorMixin, ClassifierMixin, CallbackSupportMixin, BaseEstimator
):
    """Perceptron whose hidden-to-hidden weights are removed in steps.

    The classifier is trained; then, in each step, some of the weights between its
    hidden layers are removed and the others are trained further. A removed weight stays
    zero. Every step is kept as a fitted classifier of its own, so that its robustness
    can be compared with its structure.

    Parameters
    ----------
    estimator : classifier, default=None
        The dense network: a MLPNetClassifier, or a TorchClassifier whose module is a
        torch.nn.Sequential, with at least two hidden layers. Its parameters are also
        used for retraining. None is an MLPNetClassifier with 50, 100, 100 and 50 hidden
        units. Inside a FrozenEstimator it is not trained again, but copied.

    amount : float, default=0.1
        Share of the remaining weights that each step removes.

    n_steps : int, default=20
        Number of steps.

    retrain_epochs : int, default=5
        Epochs of training after each step; the optimizer starts anew.

    method : {"random", "magnitude"}, default="random"
        Which weights a step removes: random ones, or the smallest.

    random_state : int, RandomState instance or None, default=None
        Draws the weights to remove, and seeds an `estimator` without a seed. Pass an
        int for the same classifier on every call.

    Attributes
    ----------
    steps_ : list of length n_steps
        One record per step, with `density` (of the hidden-to-hidden weights),
        `n_parameters`, `accuracy` (on the training samples), `structure` (a
        LayeredGraph of the hidden units) and `estimator` (a fitted classifier).

    estimator_ : classifier
        The classifier of the last step, which predicts.

    classes_ : ndarray of shape (n_classes,)
        The classes.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names that
        are all strings.

    See Also
    --------
    MLPNetClassifier : The dense network.
    SparseNetClassifier : A network that is sparse from the start.

    References
    ----------
    .. [1] Ben Amor, M., Stier, J., & Granitzer, M. (2021). Correlation analysis between
       the robustness of sparse neural networks and their random hidden structural
       priors. Procedia Computer Science, 192, 4073-4082.
       https://doi.org/10.1016/j.procs.2021.09.182

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.classifiers import MLPNetClassifier, PrunedNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> dense = MLPNetClassifier((30, 30), lr=0.01, max_epochs=5)
    >>> pruned = PrunedNetClassifier(
    ...     dense, amount=0.5, n_steps=3, retrain_epochs=2, random_state=0
    ... ).fit(X / 16, y)
    >>> [step.density for step in pruned.steps_]
    [0.5, 0.25, 0.125...]
    """

    _doc_link_module = "robustkit"

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "amount": [Interval(Real, 0, 1, closed="neither")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "retrain_epochs": [Interval(Integral, 1, None, closed="left")],
        "method": [StrOptions({"random", "magnitude"})],
        "random_state": ["random_state"],
    }

    # Of the images that `fit` was given; None for a table.
    _image_shape: tuple[int, ...] | None = None

    steps_: list[PruningStep]
    estimator_: BaseNetClassifier
    classes_: NDArray
    n_features_in_: int
    feature_names_in_: NDArray

    def __init__(
        self,
        estimator: Any = None,
        *,
        amount: float = 0.1,
        n_steps: int = 20,
        retrain_epochs: int = 5,
        method: str = "random",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.amount = amount
        self.n_steps = n_steps
        self.retrain_epochs = retrain_epochs
        self.method = method
        self.random_state = random_state

    # `estimator` validates its own parameters.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train the dense network, then prune and retrain it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Their classes.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        rows, self._image_shape = self._rows(X)
        X, y = validate_data(self, rows, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        model_seed, pruning_seed = draw_seeds(check_random_state(self.random_state), 2)
        arguments = {"estimator": self, "X": X, "y": y}
        pruning = self._init_callback_context(max_subtasks=self.n_steps)
        pruning.call_on_fit_task_begin(**arguments)
        self.estimator_ = _fit_dense(
            self.estimator, X, y, model_seed, image_shape=self._image_shape
        )
        check_layout(self._image_shape, image_shape_of(self.estimator_))
        layers = removable_layers(self.estimator_)
        self.classes_, self.steps_ = self.estimator_.classes_, []
        generator = torch_generator(pruning_seed, layers[0].weight.device)
        for _ in range(self.n_steps):
            step = pruning.subcontext(task_name="step")
            step.call_on_fit_task_begin(**arguments)
            prune_weights(layers, self.amount, method=self.method, generator=generator)
            _retrain(self.estimator_, X, y, self.retrain_epochs)
            accuracy = self.estimator_.score(X, y)
            self.steps_.append(describe_step(self.estimator_, layers, accuracy))
            if step.call_on_fit_task_end(**arguments, reconstruction_attributes={}):
                break
        pruning.call_on_fit_task_end(**arguments, reconstruction_attributes={})
        return self

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Logit of each class, after the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Columns are in the order of `classes_`. With two classes it is one number
            per sample: the logit of the second class minus that of the first.
        """
        return self._last_step(X, "decision_function")

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Probability of each class, after the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns are in the order of `classes_`.
        """
        return self._last_step(X, "predict_proba")

    def predict(self, X: ArrayLike) -> NDArray:
        """Most probable class, after the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            One class per sample.
        """
        return self._last_step(X, "predict")

    def _rows(
        self, X: Any, known: Sequence[int] | None = None
    ) -> tuple[Any, tuple[int, ...] | None]:
        if is_stream(X):
            raise TypeError(
                f"{type(self).__name__} takes arrays. Got a {type(X).__name__}: its "
                "steps are classifiers, which predict on a stream."
            )
        return flat_samples(X, known)

    def _last_step(self, X: ArrayLike, method: str) -> NDArray:
        check_is_fitted(self)
        rows, _ = self._rows(X, image_shape_of(self))
        X = validate_data(self, rows, reset=False, dtype=np.float32, order="C")
        return getattr(self.estimator_, method)(X)


def default_dense_network() -> MLPNetClassifier:
    """Return what is pruned if no network is named."""
    return MLPNetClassifier(hidden_layer_sizes=(50, 100, 100, 50))


def _fit_dense(
    estimator: Any,
    X: NDArray,
    y: NDArray,
    seed: int,
    *,
    image_shape: tuple[int, ...] | None,
) -> Any:
    if estimator is None:
        estimator = default_dense_network()
    if isinstance(estimator, FrozenEstimator):
        check_is_fitted(estimator)
        return copy.deepcopy(estimator.estimator)
    return fit_classifier(seeded_clone(estimator, seed), X, y, image_shape=image_shape)


def removable_layers(model: BaseNetClassifier) -> list[MaskedLinear]:
    """Make the weights between the hidden layers of a fitted model removable, in place.

    Returns these layers, from the input to the output.
    """
    layers = mask_hidden_layers(getattr(model, "module_", None))
    if not isinstance(model, BaseNetClassifier) or not layers:
        raise ValueError(
            "The 'estimator' parameter of PrunedNetClassifier must be a classifier of "
            "robustkit around a torch.nn.Sequential with at least two hidden layers, "
            f"so that there are weights between them. Got {model!r} instead."
        )
    return layers


def _retrain(model: Any, X: NDArray, y: NDArray, n_epochs: int) -> None:
    # The momentum of the optimizer would still move the removed weights.
    model._optimizer_state = None
    settings = {"warm_start": True, "max_epochs": n_epochs, "early_stopping": False}
    usual = {name: getattr(model, name) for name in settings}
    model.set_params(**settings).fit(X, y).set_params(**usual)


def describe_step(
    model: BaseNetClassifier, layers: Sequence[MaskedLinear], accuracy: float
) -> PruningStep:
    """Describe a model after a step, with a copy of it.

    `layers` are those between its hidden layers, `accuracy` is its training accuracy.
    """
    n_left = sum(int(layer.kept.sum()) for layer in layers)
    n_all = sum(layer.kept.numel() for layer in layers)
    n_dense = sum(weight.numel() for weight in model.module_.parameters())
    model.n_parameters_ = n_dense - n_all + n_left
    return PruningStep(
        density=n_left / n_all,
        n_parameters=model.n_parameters_,
        accuracy=accuracy,
        structure=_hidden_graph(layers),
        estimator=copy.deepcopy(model),
    )


def _hidden_graph(layers: Sequence[MaskedLinear]) -> LayeredGraph:
    """Make hidden units vertices, and the weights left between them edges."""
    edges, offset = [], 0
    for layer in layers:
        target, source = as_array(layer.kept).nonzero()
        edges.append([source + offset, target + offset + layer.in_features])
        offset += layer.in_features
    return LayeredGraph(np.hstack(edges), offset + layers[-1].out_features)


@as_module.register(PrunedNetClassifier)
def _network_of_last_step(classifier: PrunedNetClassifier) -> nn.Module:
    check_is_fitted(classifier)
    return as_module(classifier.estimator_)
