"""Which estimators are known to answer with the largest logit of their module."""

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, LinearSVC, NuSVC

from robustkit.attacks._attacked_model import answers_with_module, thawed
from robustkit.classifiers import PrunedNetClassifier

__all__ = ["predicts_largest_logit"]

_LARGEST_LOGIT = {
    LinearDiscriminantAnalysis,
    LinearSVC,
    LogisticRegression,
    LogisticRegressionCV,
    MLPClassifier,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
}
# Of more than two classes they count votes.
_OF_TWO_CLASSES = {NuSVC, SVC}
_OURS = ("sklearn", "robustkit")


def predicts_largest_logit(estimator, module):
    """Whether `predict` answers with the largest logit of the module, wherever asked.

    A threshold, a vote or a `predict` that a user wrote may answer anything else: then
    `predict` itself must be asked, and nothing is proved by looking at the module.

    Parameters
    ----------
    estimator : object
        A fitted classifier.

    module : torch.nn.Module or None
        What :func:`~robustkit.bridge.as_module` makes of it.

    Returns
    -------
    known : bool
        False also where it is not known.
    """
    if module is None:
        return False
    estimator = thawed(estimator)
    if _has_own_methods(estimator):
        return False
    if type(estimator) in (GridSearchCV, RandomizedSearchCV):
        return predicts_largest_logit(estimator.best_estimator_, module)
    if type(estimator) is PrunedNetClassifier:
        return predicts_largest_logit(estimator.estimator_, module)
    if type(estimator) is Pipeline:
        *steps, last = [step for _, step in estimator.steps]
        return all(map(_is_stock, steps)) and predicts_largest_logit(last, module)
    if type(estimator) in _LARGEST_LOGIT:
        return True
    if type(estimator) in _OF_TWO_CLASSES:
        return len(estimator.classes_) == 2
    return answers_with_module(estimator, module)


def _is_stock(step):
    """Whether a transformer computes what its module computes."""
    step = thawed(step)
    if step is None or isinstance(step, str):
        return True
    if type(step) is FunctionTransformer and step.func is not None:
        return False
    package = type(step).__module__.split(".")[0]
    return package in _OURS and not _has_own_methods(step)


def _has_own_methods(estimator):
    names = ("predict", "predict_proba", "decision_function", "transform")
    return any(name in vars(estimator) for name in names)
