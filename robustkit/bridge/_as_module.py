"""A fitted scikit-learn estimator as a torch module: the registry."""

import copy
import importlib
import sys
from collections.abc import Callable
from functools import singledispatch
from typing import Any, Protocol, cast

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from robustkit._tensors import parts_of, tensors_of

__all__ = ["as_module"]

# Package -> our module that registers its estimators, loaded once the package is, so
# that an optional package is neither imported nor needed.
_CONVERTERS_OF = {"skorch": "robustkit.bridge._skorch_nets"}

_DTYPES = (torch.float32, torch.float64)

_Function = Callable[..., nn.Module]


class _Converter(Protocol):
    """What `as_module` is: a function, with the `register` of its dispatcher."""

    def __call__(self, estimator: Any) -> nn.Module: ...

    def register(self, cls: type) -> Callable[[_Function], _Function]: ...


@singledispatch
def _convert(estimator: Any) -> nn.Module:
    name = type(estimator).__name__
    if not hasattr(estimator, "fit"):
        raise TypeError(
            "as_module takes a fitted estimator or a torch.nn.Module. Got "
            f"{estimator!r} of type {name}."
        )
    check_is_fitted(estimator)
    raise TypeError(
        f"as_module does not know {name}, so it has no gradient of it. Add it with "
        f"as_module.register({name}), or use an attack that needs no gradient, such as "
        "OnePixelAttack."
    )


@_convert.register
def _bare_module(module: nn.Module) -> nn.Module:
    return module


def _registering(function: Callable[[Any], nn.Module]) -> _Converter:
    converter = cast("_Converter", function)
    converter.register = _convert.register
    return converter


@_registering
def as_module(estimator: Any) -> nn.Module:
    """Convert a fitted estimator to a differentiable torch module.

    The module takes raw inputs, as the estimator does, and returns one logit per class.
    The class of the largest logit is that of `predict`, unless a subclass or a
    `predict_nonlinearity` of skorch changes it. Linear models, SVC, NuSVC,
    MLPClassifier and discriminant analysis of two classes, whose decision function is
    one column f, become the two logits (0, f). The two logits of others, such as
    NearestCentroid and BaggingClassifier, do not have this form.

    The meaning of their softmax depends on the estimator:

    - `predict_proba`, for networks, logistic regression, naive Bayes, discriminant
      analysis, MLPClassifier, a binary SGDClassifier with ``loss="log_loss"``, and
      skorch nets; for soft votes, bagging of models with `predict_proba`, stacking with
      such a final estimator, and calibrated classifiers.
    - None, for the others. The logits of SGDClassifier, Perceptron, RidgeClassifier,
      LinearSVC, a binary SVC and OneVsRestClassifier are the `decision_function`, also
      where there is a `predict_proba`, which then differs. Those of SVC and NuSVC with
      more classes, and those of a hard vote, are zero for the winner of the vote, and
      for the other classes minus the margin by which they lose to it.
    - A skorch ``NeuralNetBinaryClassifier(threshold=t)`` has (0, f - logit(t)), whose
      softmax is `predict_proba` only for ``t=0.5``. So do scikit-learn's classifiers
      with a threshold of their own.

    A class that a model knows of, but can never predict, such as one with a prior of
    zero, has a logit near -1e30.

    The module computes as precisely as the estimator: in float64 for an estimator of
    scikit-learn, in the dtype of its weights for a network; in a pipeline, step by
    step. The module of a scikit-learn estimator takes float32 and float64.

    Supported are the networks of robustkit, skorch nets, and of scikit-learn linear
    classifiers, support vector machines, :class:`~sklearn.neural_network.MLPClassifier`
    and classifiers by densities; votes, bagging, stacking, calibration and thresholds
    of those; a :class:`~sklearn.pipeline.Pipeline` of one of those after transformers
    (scalers, projections, kernel maps, selectors,
    :class:`~sklearn.compose.ColumnTransformer`, ...); and all of them inside
    :class:`~sklearn.frozen.FrozenEstimator`, a finished search with ``refit=True``, or
    an attack. The :ref:`User Guide <guide_bridge>` lists every class. A transformer
    alone becomes the module of its `transform`. A torch module is itself. Trees and
    neighbors have no gradient: :class:`~robustkit.attacks.SquareAttack` needs none.

    Other classes are added with ``as_module.register(cls)``, which decorates a function
    that takes a fitted estimator of this class and returns a module.

    Parameters
    ----------
    estimator : object
        A fitted estimator, or a torch module.

    Returns
    -------
    module : torch.nn.Module
        In eval mode. It shares its weights with the estimator if that is itself a
        network in eval mode, and is a copy otherwise, so that the mode of the
        estimator's own module never changes.

    See Also
    --------
    sklearn.frozen.FrozenEstimator : Pass a fitted model to a meta-estimator.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from robustkit.bridge import as_module
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> module = as_module(pipeline)
    >>> x = torch.tensor(X[:1], requires_grad=True)
    >>> module(x).shape
    torch.Size([1, 3])
    >>> gradient, = torch.autograd.grad(module(x)[0, 0], x)
    >>> gradient.shape
    torch.Size([1, 4])
    """
    for package, converters in _CONVERTERS_OF.items():
        if package in sys.modules:
            importlib.import_module(converters)
    module = _convert(estimator)
    _check_precision(module)
    if any(part.training for part in parts_of(module)):
        module = copy.deepcopy(module).eval()
    return module


def _check_precision(module: nn.Module) -> None:
    for tensor in tensors_of(module):
        if tensor.is_floating_point() and tensor.dtype not in _DTYPES:
            raise TypeError(
                "as_module needs a network in float32 or float64. This one has weights "
                f"in {str(tensor.dtype).removeprefix('torch.')}: call module.float()."
            )
