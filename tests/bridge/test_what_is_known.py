"""The page of the guide lists what `as_module` knows: all of it, and nothing else."""

import re

import pytest
from sklearn.base import is_classifier
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from robustkit.bridge import _as_module, as_module
from robustkit.bridge._sklearn_classifiers import has_no_gradient
from robustkit.classifiers import ClassifierUnion
from tests.bridge.converted import BINARY, CLASSIFIERS, TRANSFORMERS
from tests.docs_snippets.pages import text_of

# Bases that stand for many classes, and what the page says of them.
FAMILIES = {
    "BaseNetClassifier": "classifiers of :ref:`guide_classifiers`",
    "PrunedNetClassifier": "classifiers of :ref:`guide_classifiers`",
    "BaseSearchCV": "a finished\n       search (grid, randomized, halving)",
    "SelectorMixin": "all selectors of scikit-learn",
    "BaseAttack": "attacks: the model that they attack",
    "Module": "a bare :class:`torch.nn.Module`",
}


@pytest.fixture(scope="module")
def registered():
    pytest.importorskip("skorch", reason="the page lists skorch nets, too")
    # Loads the converters of packages that are imported.
    as_module(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)))
    # Other tests, and pages, register classes of their own.
    return {
        cls: function
        for cls, function in _as_module._convert.registry.items()
        if function.__module__.startswith("robustkit.")
        and cls is not object
        # Networks side by side are no model that a user has.
        and cls is not ClassifierUnion
    }


def listed():
    text = text_of("guide/bridge")
    start = text.index("What is known\n~~~")
    return text[start : text.index("The function of a FunctionTransformer", start)]


def test_guide_lists_every_class_that_is_known_and_no_other(registered):
    known = {c.__name__ for c, f in registered.items() if f is not has_no_gradient}
    names = set(re.findall(r"(?<!:)`(\w+)`", listed()))
    assert names == known - set(FAMILIES)
    for family in known & set(FAMILIES):
        assert FAMILIES[family] in listed()
    assert set(FAMILIES) <= known


def test_guide_lists_every_kind_once():
    kinds = re.findall(r"^   \* - (.+)$", listed(), re.M)
    assert len(kinds) == len(set(kinds)) > 5


def test_every_class_that_is_known_is_tried(registered):
    """In the lists that the tests of all converters share."""
    tried = set()
    for model in [*CLASSIFIERS.values(), *BINARY.values(), *TRANSFORMERS.values()]:
        for part in (model, *model.get_params().values()):
            tried |= set(type(part).__mro__)
            tried |= _inside(part)
    # In test_as_module, test_odd_estimators, test_skorch_nets and the rooms' own tests.
    elsewhere = {
        "LogisticRegressionCV",
        "Module",
        "NeuralNetBinaryClassifier",
        "NeuralNetClassifier",
        "PrunedNetClassifier",
        "RidgeClassifier",
        "RidgeClassifierCV",
    }
    untried = {
        cls.__name__
        for cls, function in registered.items()
        if function is not has_no_gradient and cls not in tried
    }
    assert untried == elsewhere


def _inside(part):
    """Classes of the steps of a list of names and steps."""
    if not isinstance(part, list):
        return set()
    pairs = [entry for entry in part if isinstance(entry, tuple)]
    return {c for entry in pairs for item in entry for c in type(item).__mro__}


def test_classes_without_a_gradient_are_classifiers(registered):
    stepwise = [cls for cls, f in registered.items() if f is has_no_gradient]
    assert len(stepwise) == 8
    assert all(is_classifier(cls()) for cls in stepwise)
