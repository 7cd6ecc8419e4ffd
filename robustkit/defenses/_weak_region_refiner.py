"""Train a model further where the shape of its activations shows it to be weak."""

import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from robustkit._sklearn_private import (
    HasMethods,
    Interval,
    _fit_context,
)
from robustkit.bridge import ActivationExtractor, as_module
from robustkit.defenses._further_training import (
    train_first,
    train_further,
    with_every_class,
)
from robustkit.topology import BUDGET_CONSTRAINT, MapperGraph


def _model_has(method):
    def has(self):
        model = getattr(self, "estimator_", self._model())
        getattr(model, method)
        return True

    return has


class WeakRegionRefiner(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Train a classifier further with the samples of its weak regions.

    The classifier is fitted. A mapper graph of its activations shows which groups of
    similar samples it often gets wrong: its weak regions. It is then trained further
    with the misclassified samples of the weakest of them [1]_.

    Parameters
    ----------
    estimator : estimator, default=None
        The classifier: any with `partial_fit` or `warm_start`. It is cloned and fitted;
        of a model already trained, passed as ``FrozenEstimator(model)``, a copy is
        trained further. None is :class:`~sklearn.neural_network.MLPClassifier`.

    mapper : MapperGraph, default=None
        Its graph of the activations is where weak regions are looked for. None is
        :class:`~robustkit.topology.MapperGraph` with its defaults.

    budget : float or int, default=0.2
        How many samples at most: a share of the training samples, or a number.

    max_epochs : int, default=5
        Passes over these samples; iterations or new trees, for a classifier without
        `partial_fit`.

    replay : float, default=4.0
        How many of the other training samples, drawn at random, are trained with as
        well, for each of these samples. 0 trains with the weak regions alone: quickly
        forgotten is then what the model knew of the others.

    attack : attack, default=None
        Where given, the training samples are perturbed by a clone of it before they are
        analysed; the model is trained further with the samples as they were (its own
        `adversary`, if it has one, perturbs them again). None analyses the samples as
        they are.

    layer : str or int, default="logits"
        Whose activations, as in :class:`~robustkit.bridge.ActivationExtractor`. For a
        classifier that has no layers, "logits" are its decision function or its
        probabilities.

    random_state : int, RandomState instance or None, default=None
        Draws the samples replayed.

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

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
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
        estimator=None,
        mapper=None,
        *,
        budget=0.2,
        max_epochs=5,
        replay=4.0,
        attack=None,
        layer="logits",
        random_state=None,
    ):
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
    def fit(self, X, y):
        """Fit the classifier, find its weak regions, train it further with them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.base_estimator_ = train_first(self._model(), X, y)
        self.classes_ = self.base_estimator_.classes_
        analysed = self._perturb(X, y)
        activations = self._activations(analysed)
        mapper = MapperGraph() if self.mapper is None else self.mapper
        self.mapper_ = clone(mapper).fit(activations)
        self.refined_indices_ = self.mapper_.weak_samples(
            y, self.base_estimator_.predict(analysed.copy()), self.budget
        )
        self.estimator_ = copy.deepcopy(self.base_estimator_)
        if len(self.refined_indices_):
            chosen = self._with_replay(y)
            train_further(self.estimator_, X[chosen], y[chosen], self.max_epochs)
        return self

    def _perturb(self, X, y):
        if self.attack is None:
            return X
        frozen = FrozenEstimator(self.base_estimator_)
        attack = clone(self.attack).set_params(estimator=frozen)
        return attack.fit(X, y).perturb(X, y).X_adv

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
            return getattr(model, method)(X.copy()).reshape(len(X), -1)
        extractor = ActivationExtractor(FrozenEstimator(model), layer=self.layer)
        return extractor.fit(X).transform(X)

    def _with_replay(self, y):
        others = np.setdiff1d(np.arange(len(y)), self.refined_indices_)
        n_replayed = min(round(self.replay * len(self.refined_indices_)), len(others))
        rng = check_random_state(self.random_state)
        replayed = rng.choice(others, n_replayed, replace=False)
        return with_every_class(np.concatenate([self.refined_indices_, replayed]), y)

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of the refined classifier.
        """
        return self._delegate("predict", X)

    @available_if(_model_has("predict_proba"))
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns are in the order of `classes_`.
        """
        return self._delegate("predict_proba", X)

    @available_if(_model_has("decision_function"))
    def decision_function(self, X):
        """Compute the decision function of the refined classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the classifier returns them.
        """
        return self._delegate("decision_function", X)

    def _delegate(self, method, X):
        check_is_fitted(self)
        # A copy: some models write to what they are given.
        X = validate_data(self, X, reset=False, copy=True)
        return getattr(self.estimator_, method)(X)
