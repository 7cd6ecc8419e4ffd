"""What has no gradient, or is not known, is refused in a line that says what to do."""

import re

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, KernelPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from torch import nn

from robustkit.attacks import FGSMAttack, OnePixelAttack, SquareAttack
from robustkit.bridge import ActivationExtractor, as_module
from robustkit.bridge._layers import layer_names
from tests.bridge.converted import CLASSIFIERS, blobs, fitted

STEPWISE = [
    DecisionTreeClassifier(),
    ExtraTreeClassifier(),
    RandomForestClassifier(3),
    ExtraTreesClassifier(3),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    KNeighborsClassifier(),
    RadiusNeighborsClassifier(2.0, outlier_label=0),
]
LINE, TREE = LogisticRegression(), DecisionTreeClassifier()
FOREST = [("line", LINE), ("forest", RandomForestClassifier(3))]


@pytest.mark.parametrize("model", STEPWISE, ids=lambda m: type(m).__name__)
def test_answer_in_steps_is_refused_by_gradients_and_attacked_without(model):
    X, y = blobs(2)
    model = fitted(model, X, y)
    name = type(model).__name__
    with pytest.raises(
        TypeError, match=rf"{name} has no gradient.*SquareAttack or OneP"
    ):
        as_module(model)
    # Those it names do attack it.
    attack = SquareAttack(
        FrozenEstimator(model), eps=1.0, max_queries=50, random_state=0
    )
    assert attack.fit(X, y).score(X, y) < model.score(X, y)
    attack = OnePixelAttack(FrozenEstimator(model), max_iter=2, random_state=0)
    assert attack.fit(X, y).score(X, y) < model.score(X, y)


def kernel(X, Y):
    return X @ Y.T


def one_kernel(x, y):
    return x @ y


REFUSED = {
    "member 'forest' of a vote": (
        VotingClassifier(FOREST, voting="soft"),
        r"Member 'forest' of VotingClassifier: RandomForest.*OnePixelAttack",
    ),
    "forest of a hard vote": (
        VotingClassifier(FOREST),
        r"Member 'forest' of VotingClassifier: RandomForest.*OnePixelAttack",
    ),
    "negative weight": (
        VotingClassifier([("a", LINE), ("b", LINE)], voting="soft", weights=[2, -1]),
        r"weights that are not negative.*\[2.0, -1.0\]",
    ),
    "bagged trees": (
        BaggingClassifier(TREE, 2),
        r"Member 0 of BaggingClassifier: DecisionTreeClassifier has no gradient",
    ),
    "stacked trees": (
        StackingClassifier([("line", LINE)], TREE, cv=2),
        r"estimator 'final_estimator' of StackingClassifier: DecisionTree",
    ),
    "stacked labels": (
        StackingClassifier([("line", LINE)], cv=2, stack_method="predict"),
        r"Member 'line' of StackingClassifier.*labels, which have no gradient",
    ),
    "calibrated neighbors": (
        CalibratedClassifierCV(KNeighborsClassifier(), cv=2),
        r"Member 0 of CalibratedClassifierCV: KNeighborsClassifier has no gradient",
    ),
    "trees against the rest": (
        OneVsRestClassifier(TREE),
        r"Member 0 of OneVsRestClassifier: DecisionTreeClassifier has no gradient",
    ),
    "probabilities of a loss": (
        BaggingClassifier(SGDClassifier("modified_huber"), 2),
        r"loss='log_loss' only, not 'modified_huber'",
    ),
    "own kernel": (SVC(kernel=kernel), r"kernels 'linear', 'poly', 'rbf', 'sigmoid'"),
    "unknown kernel": (
        make_pipeline(Nystroem("chi2", n_components=3), LINE),
        r"Step 'nystroem'.*Nystroem with the kernels.*not 'chi2'",
    ),
    "own kernel of a map": (
        make_pipeline(KernelPCA(kernel=one_kernel), LINE),
        r"Step 'kernelpca'.*not <function one_kernel",
    ),
    "bins": (
        make_pipeline(
            ColumnTransformer(
                [("bins", KBinsDiscretizer(3, quantile_method="linear"), [0])]
            ),
            LINE,
        ),
        r"Step 'columntransformer'.*Part 'bins'.*does not know KBinsDiscretizer",
    ),
    "bins in a union": (
        make_pipeline(
            FeatureUnion([("bins", KBinsDiscretizer(3, quantile_method="linear"))]),
            LINE,
        ),
        r"Part 'bins' of FeatureUnion.*does not know KBinsDiscretizer",
    ),
    "attack before a model": (
        make_pipeline(FGSMAttack(LINE), LINE),
        r"Step 'fgsmattack'.*knows FGSMAttack as a classifier, not as a transformer",
    ),
    "tree in a selection": (RFE(TREE), r"DecisionTreeClassifier has no gradient"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_part_without_a_gradient_is_named(name):
    model, words = REFUSED[name]
    X, y = blobs(2)
    with pytest.raises(TypeError, match=words):
        as_module(fitted(model, np.abs(X), y))


def test_several_labels_per_sample_are_refused():
    X, y = blobs(3)
    Y = np.eye(3, dtype=int)[y]
    models = [
        OneVsRestClassifier(LINE),
        StackingClassifier([("net", KNeighborsClassifier())], KNeighborsClassifier()),
    ]
    for model in models:
        with pytest.raises(TypeError, match=r"gives every sample one label"):
            as_module(fitted(model, X, Y))


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_probabilities_of_a_support_vector_machine_name_their_replacement():
    X, y = blobs(3)
    machine = SVC(probability=True, random_state=0)
    vote = VotingClassifier([("svc", machine)], voting="soft").fit(X, y)
    with pytest.raises(TypeError, match=r"CalibratedClassifierCV\(SVC\(\), ensemble"):
        as_module(vote)
    # Its own `predict` does not ask them.
    alone = machine.fit(X, y)
    found = as_module(alone)(torch.from_numpy(X)).argmax(dim=1).numpy()
    np.testing.assert_array_equal(found, alone.predict(X))


def test_axes_of_a_solver_without_transform_are_refused():
    X, y = blobs(3)
    axes = LinearDiscriminantAnalysis().fit(X, y)
    pipeline = make_pipeline(axes, GaussianNB()).fit(X, y)
    axes.solver = "lsqr"
    with pytest.raises(TypeError, match=r"solver='lsqr'\) has no transform"):
        as_module(pipeline)


class Own(ClassifierMixin, BaseEstimator):
    """A classifier of a user, whose probabilities are or are not its softmax."""

    def __init__(self, power=1):
        self.power = power

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.n_features_in_ = X.shape[1]
        return self

    def decision_function(self, X):
        return X[:, 0] * self.power

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-X[:, 0]))
        p = p**self.power
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@as_module.register(Own)
def _own(model):
    with torch.random.fork_rng():
        layer = nn.Linear(model.n_features_in_, 2).double()
    with torch.no_grad():
        layer.weight[:] = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        layer.bias[:] = 0
    return layer


def test_registered_class_is_a_member_if_its_softmax_is_its_probability():
    X, y = blobs(2)
    vote = VotingClassifier([("own", Own()), ("line", LINE)], voting="soft").fit(X, y)
    with torch.no_grad():
        logits = as_module(vote)(torch.from_numpy(X))
    found = logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(found, vote.predict_proba(X), atol=1e-12)
    vote = VotingClassifier([("own", Own(2))], voting="soft").fit(X, y)
    with pytest.raises(
        TypeError, match=r"Own, but the softmax of its logits is not its predict"
    ):
        as_module(vote)
    stack = StackingClassifier([("own", Own(2))], stack_method="decision_function")
    with pytest.raises(
        TypeError, match=r"Own, but its module is not its decision_function"
    ):
        as_module(stack.fit(X, y))


def test_certified_pixels_refuse_what_is_no_network():
    X, y = blobs(2)
    vote = VotingClassifier([("a", LINE), ("b", GaussianNB())], voting="soft")
    attack = OnePixelAttack(vote, method="certified")
    with pytest.raises(TypeError, match=r"certified"):
        attack.fit(X, y)


@pytest.mark.parametrize("layer", ["penultimate", 0])
def test_layer_of_an_ensemble_needs_the_name_of_a_member(layer):
    X, y = blobs(3)
    vote = fitted(CLASSIFIERS["soft vote of nets"], X, y)
    with pytest.raises(ValueError, match=r"any member of this ensemble.*parts\.0"):
        ActivationExtractor(FrozenEstimator(vote), layer=layer).fit(X, y)
    module = as_module(vote)
    for k, member in enumerate(vote.estimators_):
        (name,) = [n for n in layer_names(module) if f"parts.{k}." in n]
        own = ActivationExtractor(FrozenEstimator(member), layer=0).fit(X, y)
        found = ActivationExtractor(FrozenEstimator(vote), layer=name).fit(X, y)
        np.testing.assert_allclose(found.transform(X), own.transform(X), rtol=1e-6)
    logits = ActivationExtractor(FrozenEstimator(vote), layer="logits").fit(X, y)
    assert logits.transform(X).shape == (len(X), 3)


def test_layers_of_all_members_are_named():
    X, y = blobs(3)
    members = [("a", LINE), ("b", LINE), ("net", CLASSIFIERS["net"])]
    for given in (members[:2], members):
        vote = fitted(VotingClassifier(given, voting="soft"), X, y)
        with pytest.raises(ValueError, match=r"any member of this ensemble") as error:
            ActivationExtractor(FrozenEstimator(vote), layer=0).fit(X, y)
        for k in range(len(given)):
            assert f".parts.{k}." in str(error.value)
        (name,) = re.findall(r"'([^']*\.parts\.0\.[^']*)'", str(error.value))
        found = ActivationExtractor(FrozenEstimator(vote), layer=name).fit(X, y)
        expected = vote.estimators_[0].decision_function(X)
        np.testing.assert_allclose(found.transform(X), expected, rtol=1e-5)


def test_layer_after_a_union_of_features_is_found():
    X, y = blobs(3)
    union = FeatureUnion([("all", "passthrough"), ("pca", PCA(1))])
    pipeline = fitted(make_pipeline(union, CLASSIFIERS["net"]), X, y)
    frozen = FrozenEstimator(pipeline)
    extractor = ActivationExtractor(frozen, layer="penultimate").fit(X, y)
    assert extractor.transform(X).shape == (len(X), 8)
