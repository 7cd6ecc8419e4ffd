"""Train a model further where its mapper graph shows that it is weak."""

import copy
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from robustkit._samples import check_layout, flat_samples
from robustkit._sklearn_private import (
    HasMethods,
    Interval,
    _fit_context,
)
from robustkit.bridge import (
    ActivationExtractor,
    TakesModel,
    as_module,
    check_feature_names,
    image_shape_of,
    input_shape,
    register_delegate,
    shaped_for,
    takes_images,
    warn_if_fitted,
)
from robustkit.classifiers import as_classifier
from robustkit.topology import BUDGET_CONSTRAINT, MapperGraph

# Parameters that say how long one more call of a warm-started `fit` trains.
_LENGTHS = ("max_epochs", "max_iter")


def _model_has(method):
    def has(self):
        model = getattr(self, "estimator_", self._model())
        getattr(model, method)
        return True

    return has


class WeakRegionRefiner(ClassifierMixin, MetaEstimatorMixin, TakesModel):
    """Train a classifier further on the samples of its weak regions.

    The classifier is fitted. A mapper graph of its activations shows which groups of
    similar samples it often misclassifies: its weak regions. It is then trained further
    on the misclassified samples of the weakest of them [1]_.

    Parameters
    ----------
    estimator : estimator, default=None
        The classifier: any with `partial_fit` or `warm_start`. It is cloned and fitted;
        of a model already trained, passed as ``FrozenEstimator(model)``, a copy is
        trained further. None is :class:`~sklearn.neural_network.MLPClassifier`.

    mapper : MapperGraph, default=None
        Builds the graph of the activations in which weak regions are found. None is
        :class:`~robustkit.topology.MapperGraph` with 40 intervals.

    budget : float or int, default=0.2
        Maximum number of samples, or maximum share of the training samples.

    max_epochs : int, default=5
        Passes over these samples; iterations or new trees, for a classifier without
        `partial_fit`.

    replay : float, default=4.0
        Number of other training samples, drawn at random, that are trained on as well,
        for each of these samples. 0 trains on the weak regions alone: the model then
        quickly forgets what it learned about the others.

    attack : attack, default=None
        If given, the training samples are perturbed by a clone of it before they are
        analysed; the model is trained further on the unperturbed samples (its own
        `adversary`, if it has one, perturbs them again). None analyses the samples
        themselves.

    layer : str or int, default="logits"
        The layer whose activations are used, as in
        :class:`~robustkit.bridge.ActivationExtractor`. For a classifier that has no
        layers, "logits" are its decision function or its probabilities.

    random_state : int, RandomState instance or None, default=None
        Draws the other samples.

    Attributes
    ----------
    estimator_ : estimator
        The refined classifier.

    base_estimator_ : estimator
        The classifier before it was refined.

    mapper_ : MapperGraph
        Fitted to the activations of `base_estimator_`.

    refined_indices_ : ndarray of shape (n_selected,)
        The training samples of the weak regions, those of the weakest first.

    classes_ : ndarray of shape (n_classes,)
        Class labels.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    robustkit.topology.MapperGraph : The graph, and its `weak_samples`.

    References
    ----------
    .. [1] Y. Zhou, Y. Zhou, J. Ding, B. Wang, "Visualizing and analyzing the topology
       of neuron activations in deep adversarial training", Topology, Algebra, and
       Geometry in Machine Learning, PMLR 221, 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import SGDClassifier
    >>> from robustkit.defenses import WeakRegionRefiner
    >>> from robustkit.topology import MapperGraph
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SGDClassifier(loss="log_loss", random_state=0)
    >>> mapper = MapperGraph(n_intervals=5)
    >>> refiner = WeakRegionRefiner(model, mapper, random_state=0).fit(X, y)
    >>> bool((refiner.base_estimator_.predict(X) != y)[refiner.refined_indices_].all())
    True
    """

    estimator_: Any
    base_estimator_: Any
    mapper_: MapperGraph
    refined_indices_: NDArray
    classes_: NDArray
    n_features_in_: int
    feature_names_in_: NDArray

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), nn.Module, None],
        "mapper": [MapperGraph, None],
        "budget": BUDGET_CONSTRAINT,
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "replay": [Interval(Real, 0, None, closed="left")],
        "attack": [HasMethods(["fit", "perturb"]), None],
        "layer": [str, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        mapper: MapperGraph | None = None,
        *,
        budget: float | int = 0.2,
        max_epochs: int = 5,
        replay: float = 4.0,
        attack: Any = None,
        layer: str | int = "logits",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.mapper = mapper
        self.budget = budget
        self.max_epochs = max_epochs
        self.replay = replay
        self.attack = attack
        self.layer = layer
        self.random_state = random_state

    def _model(self):
        return MLPClassifier() if self.estimator is None else self.estimator

    # The classifier, the mapper and the attack validate their own parameters.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the classifier, find its weak regions, and train it further on them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Training samples. Images are an array or tensor of shape (n_samples,
            channels, height, width); those of uint8 are divided by 255.

        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        given, self._image_shape = flat_samples(X)
        X, y = validate_data(self, given, y)
        check_classification_targets(y)
        warn_if_fitted(self._model(), self)
        self.base_estimator_ = _train_first(
            self._model(), shaped_for(self._model(), X, self._image_shape), y
        )
        check_feature_names(self.base_estimator_, given)
        check_layout(self._image_shape, image_shape_of(self.base_estimator_))
        self._input_shape = _input_shape(self.base_estimator_, X, self._image_shape)
        self.classes_ = self.base_estimator_.classes_
        analysed = self._perturb(X, y)
        activations = self._activations(analysed)
        mapper = MapperGraph(n_intervals=40) if self.mapper is None else self.mapper
        self.mapper_ = clone(mapper).fit(activations)
        self.refined_indices_ = self.mapper_.weak_samples(
            y, self._ask(self.base_estimator_, "predict", analysed.copy()), self.budget
        )
        self.estimator_ = copy.deepcopy(self.base_estimator_)
        if len(self.refined_indices_):
            chosen = self._with_replay(y)
            samples = shaped_for(self.estimator_, X[chosen], self._input_shape)
            _train_further(self.estimator_, samples, y[chosen], self.max_epochs)
        return self

    def _perturb(self, X, y):
        if self.attack is None:
            return X
        frozen = FrozenEstimator(self.base_estimator_)
        attack = clone(self.attack).set_params(estimator=frozen)
        X = self._as_given(X)
        return flat_samples(attack.fit(X, y).perturb(X, y).X_adv)[0]

    def _as_given(self, X):
        """Give rows the shape that the samples had in `fit`."""
        return X if self._image_shape is None else X.reshape(-1, *self._image_shape)

    def _activations(self, X):
        model = self.base_estimator_
        try:
            as_module(model)
        except TypeError:
            if self.layer != "logits":
                raise
            method = "decision_function"
            if not hasattr(model, method):
                method = "predict_proba"
            return self._ask(model, method, X.copy()).reshape(len(X), -1)
        extractor = ActivationExtractor(FrozenEstimator(model), layer=self.layer)
        return extractor.fit(self._as_given(X)).transform(X)

    def _with_replay(self, y):
        others = np.setdiff1d(np.arange(len(y)), self.refined_indices_)
        n_replayed = min(round(self.replay * len(self.refined_indices_)), len(others))
        rng = check_random_state(self.random_state)
        replayed = rng.choice(others, n_replayed, replace=False)
        return _with_every_class(np.concatenate([self.refined_indices_, replayed]), y)

    def _facts(self) -> dict[str, Any]:
        return {
            "model": type(self.estimator_).__name__,
            "weak samples trained on": len(self.refined_indices_),
        }

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict the class of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of the refined classifier.
        """
        return self._delegate("predict", X)

    @available_if(_model_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns are in the order of `classes_`.
        """
        return self._delegate("predict_proba", X)

    @available_if(_model_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> NDArray:
        """Compute the decision function of the refined classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the classifier returns them.
        """
        return self._delegate("decision_function", X)

    def _delegate(self, method, X):
        check_is_fitted(self)
        X, _ = flat_samples(X, image_shape_of(self))
        # A copy: some models write to what they are given.
        X = validate_data(self, X, reset=False, copy=True)
        return self._ask(self.estimator_, method, X)

    def _ask(self, model, method, rows):
        return getattr(model, method)(shaped_for(model, rows, self._input_shape))


def _train_first(estimator, X, y):
    """Fit a clone, or copy a frozen model, so that it can be trained further."""
    if isinstance(estimator, nn.Module):
        raise TypeError(
            f"A bare {type(estimator).__name__} cannot be trained further: nothing "
            "says how. Pass a fitted TorchClassifier, as FrozenEstimator(model)."
        )
    if isinstance(estimator, FrozenEstimator):
        model = copy.deepcopy(estimator.estimator)
    else:
        # A copy: some models write to what they are given.
        model = clone(estimator).fit(X.copy(), y)
    if not hasattr(model, "partial_fit") and "warm_start" not in model.get_params():
        raise ValueError(
            "The 'estimator' parameter must be a classifier that can be trained "
            "further: with the method partial_fit or the parameter warm_start. Got "
            f"{estimator!r} instead."
        )
    return model


def _input_shape(model, rows, image_shape):
    """Find the shape in which a model takes images; one may lack its channel."""
    if image_shape is None or not takes_images(model):
        return image_shape
    try:
        module = as_module(model)
    except TypeError:
        return image_shape
    return input_shape(module, rows, image_shape, wants_images=True)


def _train_further(model, X, y, n_epochs):
    """Train a fitted classifier further, in place.

    For so many passes over the samples; iterations or new trees, for a model without
    `partial_fit`.
    """
    if hasattr(model, "partial_fit"):
        for _ in range(n_epochs):
            model.partial_fit(X.copy(), y)
        return
    before = model.get_params(deep=False)
    model.set_params(**_length_params(model, n_epochs)).fit(X, y)
    model.set_params(**{name: before[name] for name in _length_params(model, n_epochs)})


def _length_params(model, n_epochs):
    """Choose parameters with which one more `fit` continues for so many epochs."""
    params = {"warm_start": True}
    for name, value in model.get_params(deep=False).items():
        if name == "n_estimators":
            params[name] = value + n_epochs
        elif name == "max_iter" and isinstance(model, HistGradientBoostingClassifier):
            # It counts the iterations of all calls.
            params[name] = model.n_iter_ + n_epochs
        elif name in _LENGTHS:
            params[name] = n_epochs
    return params


def _with_every_class(chosen, y):
    """Add the first sample of each class that is missing among those chosen."""
    classes, first = np.unique(y, return_index=True)
    missing = ~np.isin(classes, y[chosen])
    return np.concatenate([chosen, first[missing]])


def _refined(refiner):
    """Return the model that answers, which takes rows as the refiner does."""
    check_is_fitted(refiner)
    rows = np.zeros((2, refiner.n_features_in_), dtype=np.float32)
    return as_classifier(refiner.estimator_, rows, image_shape=refiner._image_shape)


register_delegate(WeakRegionRefiner, _refined)
