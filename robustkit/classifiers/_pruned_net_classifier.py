"""A classifier that loses its inner weights step by step."""

import copy
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from robustkit._randomness import draw_seeds, torch_generator
from robustkit._sklearn_private import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
)
from robustkit._tensors import as_array
from robustkit.bridge import as_module
from robustkit.classifiers._base import BaseNetClassifier
from robustkit.classifiers._hooks import seeded_clone
from robustkit.classifiers._mlp_net_classifier import MLPNetClassifier
from robustkit.graphs import LayeredGraph
from robustkit.networks import mask_hidden_layers, prune_weights

__all__ = ["PrunedNetClassifier", "describe_step", "removable_layers"]


@dataclass(frozen=True)
class PruningStep:
    """What was left after one step."""

    density: float
    """Share of the hidden-to-hidden weights that are left."""

    n_parameters: int
    """Weights and biases of the network that are left."""

    accuracy: float
    """On the training samples, after retraining."""

    structure: LayeredGraph
    """The hidden units and the weights between them that are left."""

    estimator: BaseNetClassifier
    """The fitted classifier, a model like any other."""


class PrunedNetClassifier(
    MetaEstimatorMixin, ClassifierMixin, CallbackSupportMixin, BaseEstimator
):
    """Perceptron whose hidden-to-hidden weights are removed in steps.

    The classifier is trained; then, in each step, some of the weights between its
    hidden layers are removed and the others trained on. A weight that was removed stays
    zero. Every step is kept as a fitted classifier of its own, so that its robustness
    can be compared with its structure.

    Parameters
    ----------
    estimator : classifier, default=None
        The dense network: a MLPNetClassifier, or a TorchClassifier whose module is a
        torch.nn.Sequential, with two hidden layers at least. It also says how to
        retrain. None is an MLPNetClassifier with 50, 100, 100 and 50 hidden units.
        Inside a FrozenEstimator it is taken as it is trained, and copied.

    amount : float, default=0.1
        Share of the weights still there that each step removes.

    n_steps : int, default=20
        How many steps there are.

    retrain_epochs : int, default=5
        Epochs of training after each step; the optimizer starts anew.

    method : {"random", "magnitude"}, default="random"
        Which weights a step removes: any, or the smallest.

    random_state : int, RandomState instance or None, default=None
        Draws the weights to remove, and seeds an `estimator` without a seed. Pass an
        int for the same classifier on every call.

    Attributes
    ----------
    steps_ : list of length n_steps
        One record for each step, with `density` (of the hidden-to-hidden weights),
        `n_parameters`, `accuracy` (on the training samples), `structure` (a
        LayeredGraph of the hidden units) and `estimator` (a fitted classifier).

    estimator_ : classifier
        That of the last step, which predicts.

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

    def __init__(
        self,
        estimator=None,
        *,
        amount=0.1,
        n_steps=20,
        retrain_epochs=5,
        method="random",
        random_state=None,
    ):
        self.estimator = estimator
        self.amount = amount
        self.n_steps = n_steps
        self.retrain_epochs = retrain_epochs
        self.method = method
        self.random_state = random_state

    # The parameters of `estimator` are its own business.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
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
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        model_seed, pruning_seed = draw_seeds(check_random_state(self.random_state), 2)
        told = {"estimator": self, "X": X, "y": y}
        pruning = self._init_callback_context(max_subtasks=self.n_steps)
        pruning.call_on_fit_task_begin(**told)
        self.estimator_ = _fit_dense(self.estimator, X, y, model_seed)
        layers = removable_layers(self.estimator_)
        self.classes_, self.steps_ = self.estimator_.classes_, []
        generator = torch_generator(pruning_seed, layers[0].weight.device)
        for _ in range(self.n_steps):
            step = pruning.subcontext(task_name="step")
            step.call_on_fit_task_begin(**told)
            prune_weights(layers, self.amount, method=self.method, generator=generator)
            _retrain(self.estimator_, X, y, self.retrain_epochs)
            accuracy = self.estimator_.score(X, y)
            self.steps_.append(describe_step(self.estimator_, layers, accuracy))
            if step.call_on_fit_task_end(**told, reconstruction_attributes={}):
                break
        pruning.call_on_fit_task_end(**told, reconstruction_attributes={})
        return self

    def decision_function(self, X):
        """Logit of each class, after the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Columns are in the order of `classes_`. With two classes it is one number a
            sample: the logit of the second class minus that of the first.
        """
        return self._last_step(X, "decision_function")

    def predict_proba(self, X):
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

    def predict(self, X):
        """Most probable class, after the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            One class a sample.
        """
        return self._last_step(X, "predict")

    def _last_step(self, X, method):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32, order="C")
        return getattr(self.estimator_, method)(X)


def _fit_dense(estimator, X, y, seed):
    if estimator is None:
        estimator = MLPNetClassifier(hidden_layer_sizes=(50, 100, 100, 50))
    if isinstance(estimator, FrozenEstimator):
        check_is_fitted(estimator)
        return copy.deepcopy(estimator.estimator)
    return seeded_clone(estimator, seed).fit(X, y)


def removable_layers(model):
    """Make the weights between the hidden layers of a network removable.

    Parameters
    ----------
    model : BaseNetClassifier
        Fitted; its network is changed in place.

    Returns
    -------
    layers : list of MaskedLinear
        From the input to the output.
    """
    layers = mask_hidden_layers(getattr(model, "module_", None))
    if not isinstance(model, BaseNetClassifier) or not layers:
        raise ValueError(
            "The 'estimator' parameter of PrunedNetClassifier must be a classifier of "
            "robustkit around a torch.nn.Sequential with at least two hidden layers, "
            f"so that there are weights between them. Got {model!r} instead."
        )
    return layers


def _retrain(model, X, y, n_epochs):
    # What the optimizer remembers would still move the weights that were removed.
    model._optimizer_state = None
    settings = {"warm_start": True, "max_epochs": n_epochs, "early_stopping": False}
    usual = {name: getattr(model, name) for name in settings}
    model.set_params(**settings).fit(X, y).set_params(**usual)


def describe_step(model, layers, accuracy):
    """Write down what a network is like after a step.

    Parameters
    ----------
    model : BaseNetClassifier
        Fitted.

    layers : list of MaskedLinear
        Its layers between the hidden ones.

    accuracy : float
        The share of the training samples that it gets right.

    Returns
    -------
    step : PruningStep
        With a copy of the model.
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


def _hidden_graph(layers):
    """Every hidden unit is a vertex, every weight left between two of them an edge."""
    edges, offset = [], 0
    for layer in layers:
        target, source = as_array(layer.kept).nonzero()
        edges.append([source + offset, target + offset + layer.in_features])
        offset += layer.in_features
    return LayeredGraph(np.hstack(edges), offset + layers[-1].out_features)


@as_module.register(PrunedNetClassifier)
def _network_of_last_step(classifier):
    check_is_fitted(classifier)
    return as_module(classifier.estimator_)
