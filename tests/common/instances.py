"""The instances that the common checks run on.

Every public estimator is found by itself and checked with its default parameters; an
entry here only makes it small enough to be checked often, or adds further instances.
An entry is a function, so that importing this module builds nothing.
"""

from tests.common.public_api import estimator_classes


def _extractors():
    from sklearn.linear_model import LogisticRegression

    from robustkit.bridge import ActivationExtractor

    yield ActivationExtractor(LogisticRegression())


def _region_scorers():
    from sklearn.neural_network import MLPClassifier

    from robustkit.regions import PopulatedRegionScorer

    model = MLPClassifier((5,), solver="lbfgs", tol=0.1, random_state=0)
    yield PopulatedRegionScorer(model, device="cpu")


def _correlators():
    from robustkit.correlation import RobustnessCorrelator

    # Lenient, because the checks' data are noise, of which the default keeps nothing.
    lenient = {"correction": None, "alpha": 0.95, "n_bootstrap": 3}
    methods = ("spearman", "kendall", "pearson", "distance", "xi", "mutual_info")
    yield RobustnessCorrelator(**lenient)
    yield RobustnessCorrelator(methods=methods, n_permutations=3, **lenient)


def _small_net(name, *args, **params):
    from robustkit import classifiers

    # Few samples are learned faster in small batches.
    quick = {"max_epochs": 15, "batch_size": 16, "lr": 0.01, "device": "cpu"}
    return getattr(classifiers, name)(*args, **quick, **params)


def _pruned_nets():
    from robustkit.classifiers import PrunedNetClassifier

    dense = _small_net("MLPNetClassifier", (10, 10))
    yield PrunedNetClassifier(dense, n_steps=2, retrain_epochs=1)


def _mapper_graphs():
    from sklearn.cluster import AgglomerativeClustering

    from robustkit.topology import AdaptiveCover, MapperGraph

    # Every sample is a core of its own cluster: some checks fit one sample only, where
    # the default finds no cluster, and rightly says so.
    few = {"n_intervals": 4, "min_samples": 1}
    yield MapperGraph(**few)
    yield MapperGraph("pca", cover="balanced", eps=1.0, warm_start=True, **few)
    doubt = {"n_bootstrap": 2, "random_state": 0}
    yield MapperGraph(0, clusterer=AgglomerativeClustering(), **few, **doubt)
    yield MapperGraph((0, "l2norm"), n_intervals=(3, 2), min_samples=1, **doubt)
    yield MapperGraph(cover="gmapper", min_samples=1)
    yield MapperGraph(cover=AdaptiveCover(), min_samples=1)


def _refiners():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import SGDClassifier

    from robustkit.defenses import WeakRegionRefiner
    from robustkit.topology import MapperGraph

    # One model that as_module knows, and one that it does not.
    mapper = MapperGraph(n_intervals=3, min_samples=1)
    linear = SGDClassifier(loss="log_loss", random_state=0)
    yield WeakRegionRefiner(linear, mapper, random_state=0)
    forest = RandomForestClassifier(5, max_depth=2, random_state=0)
    yield WeakRegionRefiner(forest, mapper, random_state=0)


def _attack(name, **params):
    from sklearn.linear_model import LogisticRegression

    from robustkit import attacks

    # The default model needs more than its default steps on some of the checks' data.
    model = LogisticRegression(max_iter=1000)
    return getattr(attacks, name)(model, device="cpu", **params)


def _joined_attacks():
    from sklearn.linear_model import LogisticRegression

    from robustkit.attacks import FGSMAttack, best_of

    model = LogisticRegression(max_iter=1000)
    return best_of([FGSMAttack(eps=0.1), FGSMAttack(eps=0.2)], estimator=model)


def _studies():
    from robustkit.attacks import FGSMAttack
    from robustkit.correlation import RobustnessCorrelator
    from robustkit.study import RobustnessStudy

    # As few models as can be correlated, and the cheapest attack.
    yield RobustnessStudy(
        _small_net("SparseNetClassifier"),
        {"prior__n_nodes": [30, 40, 50]},
        n_graphs=3,
        inits=["he_uniform"],
        attacks={"fgsm": FGSMAttack(eps=0.1)},
        analyses={},
        correlator=RobustnessCorrelator(n_bootstrap=3),
        device="cpu",
    )


def _certified_radii():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    from robustkit.bounds import CertifiedRadius

    yield CertifiedRadius(LogisticRegression(max_iter=1000))
    model = MLPClassifier((8,), solver="lbfgs", tol=0.1, random_state=0)
    yield CertifiedRadius(model, norm="l2", method="split")


# Class name -> function that returns the instances to check.
INSTANCES = {
    "FGSMAttack": lambda: [_attack("FGSMAttack"), _joined_attacks()],
    "BIMAttack": lambda: [_attack("BIMAttack", max_iter=2)],
    "LeastLikelyAttack": lambda: [_attack("LeastLikelyAttack", max_iter=2)],
    "PGDAttack": lambda: [
        _attack("PGDAttack", max_iter=2),
        _attack("PGDAttack", max_iter=2, norm="l2", loss="rotate", n_restarts=2),
    ],
    "OnePixelAttack": lambda: [
        _attack("OnePixelAttack", pop_size=4, max_iter=2),
        _attack("OnePixelAttack", method="exhaustive", levels=3),
        _attack("OnePixelAttack", method="certified"),
    ],
    "MinimalDistanceAttack": lambda: [
        _attack("MinimalDistanceAttack", max_iter=4),
        _attack("MinimalDistanceAttack", max_iter=4, norm="l2"),
    ],
    "SquareAttack": lambda: [
        _attack("SquareAttack", max_queries=5),
        _attack("SquareAttack", max_queries=5, norm="l2", eps=1.0),
    ],
    "GrowingEpsilonAttack": lambda: [_attack("GrowingEpsilonAttack", step=0.1)],
    "CertifiedRadius": lambda: _certified_radii(),
    "SparseNetClassifier": lambda: [
        _small_net("SparseNetClassifier"),
        _small_net("SparseNetClassifier", rewire="rigl"),
    ],
    "MLPNetClassifier": lambda: [_small_net("MLPNetClassifier", (10,))],
    "TorchClassifier": lambda: [_small_net("TorchClassifier")],
    "PrunedNetClassifier": lambda: _pruned_nets(),
    "RobustnessCorrelator": lambda: _correlators(),
    "ActivationExtractor": lambda: _extractors(),
    "PopulatedRegionScorer": lambda: _region_scorers(),
    "MapperGraph": lambda: _mapper_graphs(),
    "WeakRegionRefiner": lambda: _refiners(),
    "RobustnessStudy": lambda: _studies(),
}

# Class name -> check name -> why it fails, in words that a scikit-learn developer would
# accept. An entry whose check passes fails the run.
EXPECTED_FAILED_CHECKS = {}


def all_instances():
    """One or more instances of every public estimator.

    Seeded, with all that is in them: some of scikit-learn's checks seed nothing, and
    would fail by chance.
    """
    return [
        _seeded(instance)
        for cls in estimator_classes()
        for instance in INSTANCES.get(cls.__name__, lambda cls=cls: [cls()])()
    ]


def expected_failed_checks(estimator):
    """Look the reasons up, as `parametrize_with_checks` asks for them."""
    return EXPECTED_FAILED_CHECKS.get(type(estimator).__name__, {})


def _seeded(estimator):
    names = [
        name
        for name, value in estimator.get_params().items()
        if name.split("__")[-1] == "random_state" and value is None
    ]
    return estimator.set_params(**dict.fromkeys(names, 0))
