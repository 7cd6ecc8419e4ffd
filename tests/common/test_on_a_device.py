"""All of the package runs on another device, gives the same there, and seldom waits.

Nobody lends these tests a GPU. The stand-in refuses to mix devices and counts waits:
at most one in an epoch of training, and one in ten steps of an attack.
"""

import copy
import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

import robustkit
from robustkit import (
    FGSMAttack,
    GraphPrior,
    MLPNetClassifier,
    PGDAttack,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.attacks import attack_many, functional
from robustkit.classifiers import fit_many
from robustkit.networks import (
    AutogradStep,
    MaskedLinear,
    RecordedStep,
    UnionStep,
    initialize,
    mlp,
    prune_weights,
    why_not_recorded,
)
from robustkit.regions import count_regions
from robustkit.topology import MapperGraph
from tests.standin import STANDIN, Recording, recorded, waits

N_STEPS = 20


@pytest.fixture(scope="module")
def data():
    X, y = robustkit.load_digits_images(return_X_y=True)
    return X[:120], y[:120]


def sparse_net(**settings):
    settings = {"max_epochs": 3, "lr": 0.01, "random_state": 0} | settings
    return SparseNetClassifier(GraphPrior(n_nodes=40), **settings)


def dense_net(**settings):
    settings = {"max_epochs": 3, "lr": 0.01, "random_state": 0} | settings
    return MLPNetClassifier((12, 8), **settings)


@pytest.fixture(scope="module")
def net(data):
    return sparse_net(max_epochs=20).fit(*data)


@pytest.fixture(scope="module")
def setting(net, data):
    """The module and the data, there and here; what is found out once was found out."""
    X, y = (torch.from_numpy(np.asarray(part)) for part in data)
    there = copy.deepcopy(net.module_).to(STANDIN), X.to(STANDIN), y.to(STANDIN)
    functional.fgsm(*there, eps=0.1)
    return there, (net.module_, X, y)


def n_waits_of_fit(make, data, max_epochs):
    with waits() as counted:
        make(device=STANDIN, max_epochs=max_epochs).fit(*data)
    return counted.total()


LEARNERS = {
    "sparse": sparse_net,
    "dense": dense_net,
    "early stopping": lambda **s: dense_net(early_stopping=True, **s),
    "adversarial": lambda **s: dense_net(adversary=PGDAttack(max_iter=3), **s),
    "sgd": lambda **s: TorchClassifier("mlp", optimizer="sgd", random_state=0, **s),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_an_epoch_of_training_waits_once(name, data):
    few, more = (n_waits_of_fit(LEARNERS[name], data, n) for n in (2, 5))
    assert more - few <= 3


@pytest.mark.parametrize("name", [*LEARNERS, "regularized", "convolutional"])
def test_training_gives_the_same_as_on_the_cpu(name, data):
    makers = LEARNERS | {
        "regularized": lambda **s: dense_net(
            regularizer=robustkit.PopulatedRegionRegularizer(), **s
        ),
        "convolutional": lambda **s: TorchClassifier(
            "cnn6", image_shape=(1, 8, 8), random_state=0, **s
        ),
    }
    made = [makers[name](max_epochs=2, device=d) for d in ("cpu", STANDIN)]
    here, there = (one.fit(*data) for one in made)
    assert {w.device for w in there.module_.parameters()} == {STANDIN}
    np.testing.assert_allclose(there.loss_curve_, here.loss_curve_, rtol=1e-3)
    np.testing.assert_allclose(
        there.predict_proba(data[0]), here.predict_proba(data[0]), atol=0.01
    )


def test_pruning_removes_the_same_weights_on_another_device():
    linear = seeded(lambda: torch.nn.Linear(8, 8))
    kept = []
    for device in ("cpu", STANDIN):
        layer = MaskedLinear(copy.deepcopy(linear)).to(device)
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            prune_weights([layer], 0.3, generator=generator)
        kept.append(layer.kept.cpu())
    assert 0 < kept[0].sum() < 64
    assert torch.equal(*kept)


def test_fit_many_runs_there_and_waits_once_an_epoch(data):
    def fit(device, max_epochs):
        nets = [sparse_net(device=device, max_epochs=max_epochs) for _ in range(3)]
        with waits() as counted:
            fit_many(nets, *data)
        return nets, counted.total()

    here, _ = fit("cpu", 5)
    there, more = fit(STANDIN, 5)
    _, few = fit(STANDIN, 2)
    assert more - few <= 3
    for one, other in zip(there, here, strict=True):
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-3)


SEARCHES = {
    "fgsm": (functional.fgsm, 1, {"eps": 0.05}),
    "bim": (functional.bim, N_STEPS, {"eps": 0.05, "max_iter": N_STEPS}),
    "least likely": (functional.least_likely, N_STEPS, {"eps": 0.1, "max_iter": 20}),
    "pgd": (functional.pgd, N_STEPS, {"eps": 0.05, "max_iter": N_STEPS}),
    "pgd l2": (
        functional.pgd,
        N_STEPS,
        {"eps": 0.4, "norm": "l2", "max_iter": N_STEPS},
    ),
    "pgd rotate": (
        functional.pgd,
        4 * N_STEPS,
        {"eps": 0.03, "loss": "rotate", "max_iter": N_STEPS},
    ),
    "pgd of short climbs": (
        functional.pgd,
        30,
        {"eps": 0.03, "n_restarts": 10, "max_iter": 3},
    ),
    "pgd with an eps per feature": (
        functional.pgd,
        N_STEPS,
        {"eps": np.linspace(0, 0.1, 64), "max_iter": N_STEPS},
    ),
    "growing eps": (functional.grow_epsilon, 26, {}),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_an_attack_waits_once_in_ten_steps_and_finds_the_same(name, setting):
    search, n_steps, settings = SEARCHES[name]
    settings = {"clip": (0.0, 1.0)} | settings
    (module, X, y), here = setting
    traces = functional.Trace(), functional.Trace()
    with waits() as counted:
        found = search(module, X, y, trace=traces[0], **settings)
    assert counted.total() <= math.ceil(n_steps / 10), counted
    expected = search(*here, trace=traces[1], **settings)
    # Where a gradient is as small as rounding, its sign is that of rounding.
    differ = (found.cpu() - expected).abs() > 1e-5
    assert differ.sum() <= differ.numel() / 1000
    assert traces[0].n_queries.tolist() == traces[1].n_queries.tolist()


def test_the_network_that_is_attacked_has_learned(net, data):
    """There is something to find."""
    assert net.score(*data) > 0.8


def test_the_batch_shrinks_as_samples_are_done(setting):
    (module, X, y), _ = setting
    sizes = []
    hook = module.register_forward_pre_hook(
        lambda _, given: sizes.append(len(given[0]))
    )
    with hook:
        functional.pgd(module, X, y, eps=0.1, max_iter=N_STEPS, clip=(0.0, 1.0))
    assert sizes[0] == len(X)
    assert sizes[-1] < len(X) / 2


def test_a_planted_wait_is_seen(setting, monkeypatch):
    (module, X, y), _ = setting
    first = functional.input_gradient

    def and_asks(*args):
        logits, gradient = first(*args)
        logits.sum().item()
        return logits, gradient

    monkeypatch.setattr(functional, "input_gradient", and_asks)
    with waits() as counted:
        functional.pgd(module, X, y, eps=0.01, max_iter=N_STEPS, clip=(0.0, 1.0))
    assert counted["aten::_local_scalar_dense"] == N_STEPS


def test_a_planted_tensor_of_another_device_is_refused(setting, monkeypatch):
    (module, X, y), _ = setting
    first = functional.sign_step
    monkeypatch.setattr(
        functional, "sign_step", lambda x, g, size: first(x, g, size) + torch.zeros(64)
    )
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same"):
        functional.fgsm(module, X, y, eps=0.1)


ATTACKS = {
    "best_of": lambda net, device: robustkit.best_of(
        [
            FGSMAttack(net, device=device),
            PGDAttack(net, max_iter=3, random_state=0, device=device),
        ]
    ),
    "minimal distance": lambda net, device: robustkit.MinimalDistanceAttack(
        net, max_iter=10, device=device
    ),
    "minimal distance of a target": lambda net, device: robustkit.MinimalDistanceAttack(
        net, max_iter=3, targeted=True, device=device
    ),
    "one pixel": lambda net, device: robustkit.OnePixelAttack(
        net, pop_size=8, max_iter=2, random_state=0, device=device
    ),
    "one pixel, exhaustive": lambda net, device: robustkit.OnePixelAttack(
        net, method="exhaustive", levels=3, device=device
    ),
    "one pixel, certified": lambda net, device: robustkit.OnePixelAttack(
        net, method="certified", device=device
    ),
    "square": lambda net, device: robustkit.SquareAttack(
        net, max_queries=10, random_state=0, device=device
    ),
    "pgd": lambda net, device: PGDAttack(
        net, max_iter=3, random_state=0, device=device
    ),
    "growing eps": lambda net, device: robustkit.GrowingEpsilonAttack(
        net, device=device
    ),
}


# The search for corners takes ten seconds to compile. Every day, it is tested without
# a device (tests/attacks/minimal).
SLOW = {"minimal distance of a target"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ATTACKS],
)
def test_attacks_of_estimators_find_the_same_there(name, net, data):
    # The way to the nearest error is long: one sample of several goes a part of it.
    n_samples = 3 if name.startswith("minimal") else 12
    X, y = data[0][:n_samples], data[1][:n_samples]
    model = FrozenEstimator(net)
    there, here = (ATTACKS[name](model, device) for device in (STANDIN, "cpu"))
    target = {"target": 3} if there.targeted else {}
    found, expected = (a.fit(*data).perturb(X, y, **target) for a in (there, here))
    np.testing.assert_allclose(found.X_adv, expected.X_adv, atol=1e-4)
    assert found.success.tolist() == expected.success.tolist()


MANY = {
    "fgsm": FGSMAttack(eps=0.1),
    "pgd": PGDAttack(eps=0.08, max_iter=12, n_restarts=2, random_state=0),
    # Samples fall at each of the first steps, so that the batch shrinks.
    "growing eps": robustkit.GrowingEpsilonAttack(start=0.1, step=0.1, stop=1.0),
    "minimal distance": robustkit.MinimalDistanceAttack(max_iter=2),
}


@pytest.mark.parametrize("name", MANY)
def test_attacks_of_many_networks_find_the_same_there(name, data):
    n_samples = 6 if name == "minimal distance" else 30
    X, y = data[0][:n_samples], data[1][:n_samples]
    # Most samples are right, so that there is something to attack.
    models = [
        SparseNetClassifier(
            GraphPrior(n_nodes=40), lr=0.03, max_epochs=20, random_state=seed
        ).fit(*data)
        for seed in (0, 1)
    ]
    there, here = (
        attack_many(clone(MANY[name]).set_params(device=device), models, X, y)
        for device in (STANDIN, "cpu")
    )
    for found, expected in zip(there, here, strict=True):
        np.testing.assert_allclose(found.X_adv, expected.X_adv, atol=1e-4)
        assert found.success.tolist() == expected.success.tolist()
        if name != "minimal distance":
            assert found.n_queries.tolist() == expected.n_queries.tolist()


# With so few steps, the losses differ.
@pytest.mark.filterwarnings("ignore::robustkit.exceptions.GradientMaskingWarning")
def test_a_report_with_its_diagnostics_is_that_of_the_cpu(net, data):
    X, y, reports = data[0][:8], data[1][:8], []
    for device in (STANDIN, "cpu"):
        model = FrozenEstimator(net)
        attack = PGDAttack(model, max_iter=3, random_state=0, device=device).fit(*data)
        with waits() as counted:
            reports.append(attack.report(X, y).to_dict())
        # Some 500 points are tried without a gradient. (Every run copies the module.)
        asked = counted["aten::nonzero"] + counted["aten::_local_scalar_dense"]
        assert asked < 60, counted
    for name, value in reports[1].items():
        is_number = isinstance(value, float)
        expected = pytest.approx(value, rel=1e-5, nan_ok=True) if is_number else value
        assert reports[0][name] == expected, name


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_minimal_distance_waits_once_in_ten_passes(norm, setting):
    (module, X, y), _ = setting
    n_passes, n_waits = [], []
    for max_iter in (30, 100):
        passes = []
        hook = module.register_forward_pre_hook(lambda *_, to=passes: to.append(1))
        with hook, waits() as counted:
            functional.minimal_distance(
                module, X[:8], y[:8], norm=norm, max_iter=max_iter
            )
        n_passes.append(len(passes))
        n_waits.append(counted.total())
    assert n_passes[1] > n_passes[0] + 30
    assert n_waits[1] - n_waits[0] <= (n_passes[1] - n_passes[0]) / 10
    # Besides, the samples, what the model says of them, and the points that are found.
    assert n_waits[0] <= n_passes[0] / 10 + 20, counted


def test_proofs_are_computed_on_the_cpu_of_a_model_that_is_elsewhere(net, data):
    elsewhere = copy.deepcopy(net)
    elsewhere.module_.to(STANDIN)
    X, y = data[0][:5], data[1][:5]
    found, expected = (
        robustkit.CertifiedRadius(FrozenEstimator(one)).fit(*data).radii(X, y)
        for one in (elsewhere, net)
    )
    np.testing.assert_array_equal(found, expected)
    table = robustkit.robustness_bracket(elsewhere, X, y, device=STANDIN)
    assert (table["lower"] <= table["upper"]).all()


def test_regions_and_activations_are_those_of_the_cpu(net, data):
    model, reports, activations = FrozenEstimator(net), [], []
    for device in ("cpu", STANDIN):
        scorer = robustkit.PopulatedRegionScorer(model, device=device).fit(*data)
        reports.append(scorer.report(*data))
        extractor = robustkit.ActivationExtractor(model, device=device).fit(*data)
        activations.append(extractor.transform(data[0]))
    assert reports[0].to_dict() == reports[1].to_dict()
    np.testing.assert_allclose(*activations, atol=1e-5)


@pytest.mark.parametrize(
    "engine", ["batched", pytest.param("auto", marks=pytest.mark.slow)]
)
def test_a_small_study_runs_there(engine, data):
    study = robustkit.RobustnessStudy(
        sparse_net(max_epochs=2),
        n_graphs=3,
        inits=("he_uniform",),
        attacks={"pgd": PGDAttack(max_iter=3)},
        analyses={
            "regions": robustkit.PopulatedRegionScorer(),
            "mapper": robustkit.MapperGraph(n_intervals=4),
        },
        engine=engine,
        device=STANDIN,
        random_state=0,
    ).fit(data[0][:80], data[1][:80], data[0][80:90], data[1][80:90])
    assert set(study.results_["device"]) == {"standin"}
    accuracies = study.results_.filter(like="robust_accuracy")
    assert accuracies.size >= 3
    assert accuracies.notna().all(axis=None)


@pytest.fixture
def cuda_of_the_stand_in(monkeypatch):
    """What `torch.cuda` gives, for the stand-in; and what was recorded."""
    recordings = []

    class Stream:
        def __init__(self, device=None):
            pass

        def wait_stream(self, other):
            pass

    @contextmanager
    def current(stream):
        yield

    class Graph(Recording):
        def __init__(self):
            super().__init__()
            recordings.append(self)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recorded)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", current)
    return recordings


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def step_on(kind, module, sizes, **settings):
    random, losses = np.random.RandomState(0), []
    step = kind(module, lr=0.01, **settings)
    for size in sizes:
        X = torch.from_numpy(random.standard_normal((size, 6)).astype(np.float32))
        y = torch.from_numpy(random.randint(3, size=size))
        losses.append(step.step(X.to(STANDIN), y.to(STANDIN)).item())
    return losses


@pytest.mark.parametrize("settings", [{}, {"optimizer": "sgd"}, {"weight_decay": 0.1}])
def test_recorded_steps_give_what_steps_give(cuda_of_the_stand_in, settings):
    module = seeded(lambda: mlp(6, 3, hidden_layer_sizes=(8, 5))).to(STANDIN).train()
    twin, sizes = copy.deepcopy(module), [8, 8, 8, 5, 8, 5, 5, 8]
    losses = step_on(RecordedStep, module, sizes, **settings)
    assert losses == pytest.approx(step_on(AutogradStep, twin, sizes, **settings))
    for weight, other in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, other)
    # One for each size; the first step of either runs as it is.
    assert len(cuda_of_the_stand_in) == 2


def test_recorded_steps_of_many_networks_give_what_steps_give(cuda_of_the_stand_in):
    graphs = [GraphPrior(n_nodes=n, random_state=n).sample() for n in (8, 12)]
    modules = [
        initialize(robustkit.SparseNetwork(graph, 6, 3), random_state=0).to(STANDIN)
        for graph in graphs
    ]
    made = [UnionStep(copy.deepcopy(modules), lr=0.01) for _ in "ab"]
    # What it does on CUDA.
    made[0]._run = type(RecordedStep(modules[0])._run)(made[0]._descend)
    X = torch.from_numpy(np.random.RandomState(0).rand(9, 6).astype(np.float32))
    y = torch.arange(9) % 3
    losses = [
        [step.step(X.to(STANDIN), y.to(STANDIN)).tolist() for _ in range(5)]
        for step in made
    ]
    assert len(cuda_of_the_stand_in) == 1
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_recorded_steps_see_that_weights_are_frozen(cuda_of_the_stand_in):
    module = seeded(lambda: mlp(6, 3, hidden_layer_sizes=(8,))).to(STANDIN).train()
    step, X = RecordedStep(module, lr=0.01), torch.ones(4, 6, device=STANDIN)
    y = torch.zeros(4, dtype=torch.int64, device=STANDIN)
    for _ in range(3):
        step.step(X, y)
    module.hidden1.weight.requires_grad_(False)
    before = module.hidden1.weight.clone(), module.output.weight.clone()
    for _ in range(3):
        step.step(X, y)
    assert torch.equal(module.hidden1.weight.cpu(), before[0].cpu())
    assert not torch.equal(module.output.weight.cpu(), before[1].cpu())


def test_a_step_that_cannot_be_recorded_says_why_and_goes_on(cuda_of_the_stand_in):
    class Asks(torch.nn.Linear):
        def forward(self, X):
            return super().forward(X) * float(X.new_ones(()))

    module, twin = (seeded(lambda: Asks(6, 3)).to(STANDIN).train() for _ in "ab")
    with pytest.warns(UserWarning, match="not permitted when stream is capturing"):
        losses = step_on(RecordedStep, module, [8, 8, 8])
    assert losses == step_on(AutogradStep, twin, [8, 8, 8])


def test_only_modules_that_repeat_themselves_are_recorded():
    class Own(torch.nn.Linear):
        pass

    known, own = seeded(lambda: (mlp(6, 3), torch.nn.Sequential(Own(6, 3))))
    assert why_not_recorded(known) is None
    assert why_not_recorded(sparse_net_module()) is None
    assert "Own" in why_not_recorded(own)
    assert "object" in why_not_recorded(known, regularizer=object())
    known.output.register_forward_hook(print)
    assert "a forward hook" in why_not_recorded(known)
    # Nor is anything that is on the CPU.
    assert not RecordedStep.suits(known)


def sparse_net_module():
    graph = GraphPrior(n_nodes=10, random_state=0).sample()
    return robustkit.SparseNetwork(graph, 6, 3)


@pytest.mark.parametrize("n_units", [1, 63, 64, 70, 128])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "bool"])
def test_regions_are_counted_where_the_activations_are(n_units, dtype):
    values = np.random.RandomState(0).standard_normal((200, n_units)).astype(dtype)
    values[100:] = values[:100]
    there = torch.from_numpy(values).to(STANDIN)
    with waits() as counted:
        found = count_regions(there)
    assert counted.total() == 1, counted
    for ours, expected in zip(found, count_regions(values), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_nan_has_no_sign_wherever_it_is():
    values = torch.ones(3, 5)
    values[1, 2] = torch.nan
    with pytest.raises(ValueError, match="The activations contain NaN, which has no"):
        count_regions(values.to(STANDIN))


@pytest.fixture
def wide_samples():
    """Eight groups of 64 features, more than are compared at once."""
    rng = np.random.default_rng(0)
    centers = 4 * rng.normal(size=(8, 64))
    X = centers[rng.integers(8, size=6000)] + rng.normal(size=(6000, 64))
    return X.astype(np.float32)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_mapper_graph_of_wide_samples_is_the_same_there(wide_samples, n_jobs):
    here = MapperGraph(n_intervals=10, n_bootstrap=2, random_state=0).fit(wide_samples)
    there = clone(here).set_params(device=STANDIN, n_jobs=n_jobs)
    with waits() as counted:
        there.fit(wide_samples)
    # Blocks of products came back.
    assert counted["aten::_to_copy"] > 10
    assert there.eps_ == here.eps_
    assert (there.membership_ != here.membership_).nnz == 0
    np.testing.assert_array_equal(there.edges_, here.edges_)
    np.testing.assert_array_equal(there.stability_.nodes, here.stability_.nodes)


def test_narrow_samples_stay_here(wide_samples):
    with waits() as counted:
        MapperGraph(n_intervals=10, device=STANDIN).fit(wide_samples[:500, :63])
    assert counted.total() == 0


def test_products_of_less_precision_are_refused(wide_samples, monkeypatch):
    monkeypatch.setattr(
        "robustkit._tensors._precisions", lambda device: [(f"of {device}", "tf32")]
    )
    with pytest.raises(ValueError, match="of standin is 'tf32': set it to 'ieee'"):
        MapperGraph(device=STANDIN).fit(wide_samples)


def test_a_device_that_is_not_there_is_refused_by_the_mapper(wide_samples):
    with pytest.raises(ValueError, match="'device' parameter must be"):
        MapperGraph(device="nowhere").fit(wide_samples[:10])
