"""Every classifier and transformer that the bridge converts: a new one is one line."""

import re
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA, FastICA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import (
    RFE,
    GenericUnivariateSelect,
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, NuSVC

from robustkit.attacks import FGSMAttack
from robustkit.classifiers import MLPNetClassifier
from robustkit.defenses import WeakRegionRefiner
from robustkit.graphs import GraphPrior
from robustkit.topology import MapperGraph

LOGISTIC = LogisticRegression()
BAYES = GaussianNB()
QDA = QuadraticDiscriminantAnalysis(tol=1e-20)
NET = MLPNetClassifier(
    (8,), max_epochs=10, batch_size=16, lr=0.02, device="cpu", random_state=0
)
MEMBERS = [
    ("line", LOGISTIC),
    ("bayes", BAYES),
    ("qda", QDA),
]
VOTERS = [
    ("line", LOGISTIC),
    ("svc", SVC()),
    ("bayes", BAYES),
    ("centroid", NearestCentroid()),
]

BINARY = {
    "threshold": FixedThresholdClassifier(LOGISTIC, threshold=0.3),
    "threshold of the first": FixedThresholdClassifier(
        BAYES, threshold=0.8, pos_label=0, response_method="predict_proba"
    ),
    "threshold of a decision": FixedThresholdClassifier(
        SVC(), threshold=-0.4, response_method="decision_function"
    ),
    "automatic threshold": FixedThresholdClassifier(LinearSVC(random_state=0)),
    "tuned threshold": TunedThresholdClassifierCV(QDA, cv=2, thresholds=9),
    "tuned threshold of a net": TunedThresholdClassifierCV(
        NET, cv=2, thresholds=9, random_state=0
    ),
}
CLASSIFIERS = {
    "logistic regression": LOGISTIC,
    "linear svm": LinearSVC(random_state=0),
    "sgd": SGDClassifier(random_state=0),
    "perceptron": Perceptron(random_state=0),
    "lda": LinearDiscriminantAnalysis(),
    "mlp": MLPClassifier((8,), max_iter=100),
    "net": NET,
    "linear svc": SVC(kernel="linear"),
    "rbf svc": SVC(),
    "narrow rbf svc": SVC(gamma=20.0, C=10.0),
    "poly svc": SVC(kernel="poly", degree=3, coef0=1.0),
    "sigmoid svc": SVC(kernel="sigmoid", gamma=0.1, coef0=-0.5),
    "svc that breaks ties": SVC(break_ties=True),
    "svc of pairs": SVC(decision_function_shape="ovo"),
    "nu svc": NuSVC(nu=0.3),
    "bayes": BAYES,
    "bayes with priors": GaussianNB(var_smoothing=0.1),
    "qda": QDA,
    "nearest centroid": NearestCentroid(),
    "manhattan": NearestCentroid(metric="manhattan"),
    "shrunken": NearestCentroid(shrink_threshold=0.5),
    "centroid with priors": NearestCentroid(priors="empirical"),
    "manhattan with priors": NearestCentroid(metric="manhattan", priors="empirical"),
    "soft vote": VotingClassifier(MEMBERS, voting="soft"),
    "weighted soft vote": VotingClassifier(
        [*MEMBERS, ("not", "drop")], voting="soft", weights=[2, 1, 0, 5]
    ),
    "soft vote of nets": VotingClassifier([("a", NET), ("b", NET)], voting="soft"),
    "hard vote": VotingClassifier(VOTERS),
    "weighted hard vote": VotingClassifier(VOTERS, weights=[0.4, 0.3, 0.2, 0.2]),
    "hard vote of two": VotingClassifier(VOTERS[:2]),
    "bagging": BaggingClassifier(LOGISTIC, n_estimators=5),
    "bagging of features": BaggingClassifier(
        BAYES, 6, max_features=1, bootstrap_features=True, random_state=0
    ),
    "bagging of small samples": BaggingClassifier(
        LinearDiscriminantAnalysis(), 9, max_samples=11
    ),
    "bagging of votes": BaggingClassifier(
        LinearSVC(random_state=0), 5, max_samples=10, random_state=0
    ),
    "stacking": StackingClassifier(MEMBERS, cv=2),
    "stacking with passthrough": StackingClassifier(
        [("svc", SVC()), ("line", LOGISTIC)],
        SVC(),
        cv=2,
        stack_method="auto",
        passthrough=True,
    ),
    "calibrated": CalibratedClassifierCV(cv=2),
    "calibrated svc": CalibratedClassifierCV(SVC(), cv=2, ensemble=False),
    "calibrated bayes": CalibratedClassifierCV(BAYES, cv=2),
    "isotonic": CalibratedClassifierCV(LOGISTIC, method="isotonic", cv=2),
    "isotonic bayes": CalibratedClassifierCV(BAYES, method="isotonic", ensemble=False),
    "temperature": CalibratedClassifierCV(LOGISTIC, method="temperature", cv=2),
    "temperature of bayes": CalibratedClassifierCV(BAYES, method="temperature", cv=2),
    "one vs rest": OneVsRestClassifier(SVC()),
    "one vs rest bayes": OneVsRestClassifier(BAYES),
    "refined": WeakRegionRefiner(
        NET, MapperGraph(n_intervals=4), budget=5, max_epochs=1, random_state=0
    ),
    "attack": FGSMAttack(BAYES),
    "pipeline": make_pipeline(
        PolynomialFeatures(3), StandardScaler(), PCA(5), LogisticRegression(C=10.0)
    ),
    "search": GridSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=2),
    "frozen member": VotingClassifier(
        [("pipe", make_pipeline(StandardScaler(), LOGISTIC)), ("net", NET)],
        voting="soft",
    ),
    "recursive elimination": RFE(LOGISTIC, n_features_to_select=1),
}


# Of these there is one for each kind of data below that they can be fitted to.
MACHINES = ["linear svc", "rbf svc", "poly svc", "sigmoid svc", "svc of pairs"]
BAGS = [
    "bagging",
    "bagging of features",
    "bagging of small samples",
    "bagging of votes",
]
CALIBRATED = ["calibrated", "calibrated svc", "isotonic", "isotonic bayes"]
ENSEMBLES = [
    *BAGS,
    *CALIBRATED,
    "calibrated bayes",
    "temperature",
    "temperature of bayes",
    "soft vote",
    "weighted soft vote",
    "hard vote",
    "weighted hard vote",
    "hard vote of two",
    "stacking",
    "stacking with passthrough",
    "one vs rest",
    "one vs rest bayes",
]
ODD = [
    *(("strings", name) for name in [*MACHINES, "nu svc", *ENSEMBLES]),
    *(("large", name) for name in ENSEMBLES),
    *(("weightless", name) for name in [*MACHINES, *BAGS, "hard vote of two"]),
    *(("rare", name) for name in [*BAGS, *CALIBRATED, "one vs rest"]),
]


def odd(kind):
    """Three classes of blobs, and arguments of `fit`, that are odd in some way."""
    X, y = blobs(3)
    arguments = {}
    if kind == "large":
        # The members see numbers of ordinary size, what is around them does not.
        X = X * 1e6 + 1e6
    if kind == "weightless":
        arguments["sample_weight"] = 1.0 * (y != 1)
    if kind == "rare":
        # So rare that some members never see it.
        kept = np.r_[np.flatnonzero(y != 0), np.flatnonzero(y == 0)[:3]]
        X, y = X[kept], y[kept]
    return X, np.array(["no", "a", "yes"])[y], arguments


def scaled_members(estimator):
    """Put a scaler of its own before each member of an ensemble."""
    estimator = clone(estimator)
    for name, part in list(estimator.get_params(deep=False).items()):
        if name == "estimators":
            members = [
                (k, m if isinstance(m, str) else make_pipeline(StandardScaler(), m))
                for k, m in part
            ]
            estimator.set_params(estimators=members)
        elif name == "estimator":
            part = LinearSVC(random_state=0) if part is None else part
            estimator.set_params(estimator=make_pipeline(StandardScaler(), part))
    return estimator


def both(x):
    """Understood by numpy and torch."""
    return x * x


TRANSFORMERS = {
    "standard": StandardScaler(),
    "minmax": MinMaxScaler(clip=True),
    "maxabs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "normalizer": Normalizer(),
    "pca": PCA(2, whiten=True),
    "function": FunctionTransformer(both),
    "graph": GraphPrior(n_nodes=20),
    "variance": VarianceThreshold(1.0),
    "k best": SelectKBest(k=2),
    "percentile": SelectPercentile(percentile=40),
    "univariate": GenericUnivariateSelect(mode="fpr", param=0.5),
    "of model": SelectFromModel(LOGISTIC),
    "sequential": SequentialFeatureSelector(LOGISTIC, n_features_to_select=2, cv=2),
    "polynomial": PolynomialFeatures(3),
    "interactions": PolynomialFeatures((2, 3), interaction_only=True),
    "no bias": PolynomialFeatures(2, include_bias=False),
    "constant": PolynomialFeatures(0),
    "yeo-johnson": PowerTransformer(),
    "unscaled": PowerTransformer(standardize=False),
    "quantile": QuantileTransformer(n_quantiles=20),
    "normal quantile": QuantileTransformer(
        n_quantiles=20, output_distribution="normal"
    ),
    "svd": TruncatedSVD(2),
    "ica": FastICA(2, max_iter=2000),
    "unwhitened ica": FastICA(whiten=False, max_iter=2000),
    "linear kernel": KernelPCA(2),
    "rbf kernel": KernelPCA(3, kernel="rbf", gamma=0.05),
    "poly kernel": KernelPCA(2, kernel="poly", degree=2),
    "cosine kernel": KernelPCA(2, kernel="cosine"),
    "nystroem": Nystroem(n_components=7),
    "poly nystroem": Nystroem("poly", degree=2, coef0=0.5, n_components=5),
    "sigmoid nystroem": Nystroem("sigmoid", gamma=0.01, n_components=5),
    "laplacian nystroem": Nystroem("laplacian", n_components=5),
    "sampler": RBFSampler(gamma=0.1, n_components=6),
    "union": FeatureUnion(
        [
            ("pca", PCA(2)),
            ("same", "passthrough"),
            ("not", "drop"),
            ("best", SelectKBest(k=1)),
        ],
        transformer_weights={"pca": 3.0, "best": 0.5},
    ),
    "columns": ColumnTransformer(
        [
            ("index", StandardScaler(), [2]),
            ("slice", PCA(1), slice(0, 2)),
            ("mask", "passthrough", [False, False, True, True, False]),
            ("none", StandardScaler(), []),
            ("dropped", "drop", [4]),
        ],
        remainder=MinMaxScaler(),
        transformer_weights={"slice": 2.0},
    ),
    "columns passed through": ColumnTransformer(
        [("last", PowerTransformer(), [-1, 0])], remainder="passthrough"
    ),
    "columns by a function": ColumnTransformer(
        [("all", StandardScaler(), lambda X: [1, 3])]
    ),
    "before the last step": make_pipeline(
        RFE(LOGISTIC, n_features_to_select=2), StandardScaler()
    ),
    "discriminant axes": make_pipeline(
        LinearDiscriminantAnalysis(n_components=2), StandardScaler()
    ),
    "discriminant axes by eigenvalues": make_pipeline(
        LinearDiscriminantAnalysis(solver="eigen"), StandardScaler()
    ),
    "nested": make_pipeline(
        FeatureUnion([("a", StandardScaler()), ("b", PolynomialFeatures(2))]),
        FrozenEstimator(
            SelectKBest(k=3).fit(
                np.random.RandomState(0).normal(size=(40, 26)), np.arange(40) % 2
            )
        ),
        KernelPCA(2, kernel="rbf"),
    ),
}


def name_of(thing):
    """A name that is the same in every process: without addresses."""
    if isinstance(thing, str):
        return thing
    return re.sub(r" at 0x\w+", "", " ".join(repr(thing).split()))[:60]


def blobs(n_classes, seed=0, n_samples=90):
    """Classes in the plane that overlap a little, the first twice as large."""
    shares = np.array([2, 1, 1])[:n_classes]
    return make_blobs(
        n_samples * shares // shares.sum(),
        centers=[[0.0, 0.0], [2.5, 1.0], [0.5, 3.0]][:n_classes],
        cluster_std=[0.7, 1.0, 0.8][:n_classes],
        random_state=seed,
    )


def fitted(estimator, X, y, **arguments):
    """A clone, seeded, and fitted without a word about convergence."""
    estimator = clone(estimator)
    names = [n for n in estimator.get_params() if n.endswith("random_state")]
    estimator.set_params(**dict.fromkeys(names, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y, **arguments)
