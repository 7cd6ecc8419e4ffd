"""Attacks read a Dataset or DataLoader batch by batch, and report as of the whole."""

import sys
import textwrap

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    OnePixelAttack,
    PGDAttack,
)
from robustkit.exceptions import GradientMaskingWarning
from tests.attacks.victims import digits, digits_mlp, digits_module
from tests.processes import PATIENCE, started

ATTACKS = {
    "PGD": PGDAttack(eps=0.05, max_iter=3, random_state=0, device="cpu"),
    "rotate": PGDAttack(
        eps=0.05, max_iter=2, loss="rotate", random_state=0, device="cpu"
    ),
    "FGSM": FGSMAttack(eps=0.05, device="cpu"),
    "least likely": LeastLikelyAttack(max_iter=2, device="cpu"),
    "growing": GrowingEpsilonAttack(step=0.05, device="cpu"),
    "pixel": OnePixelAttack(pop_size=8, max_iter=2, random_state=0),
}


def digit_images(n_samples=60):
    X, y = digits(n_samples)
    return torch.from_numpy(X).view(-1, 1, 8, 8), torch.from_numpy(y)


def flat_module():
    return nn.Sequential(nn.Flatten(), digits_module())


def loader(X, y, batch_size=17, **params):
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        TensorDataset(X, y), batch_size=batch_size, generator=generator, **params
    )


def assert_same_report(found, expected):
    """Counts and shares are equal; means of confidences up to rounding in batches."""
    assert list(found.index) == list(expected.index)
    for name, value in expected.items():
        rounded = name.startswith(("average_", "median_"))
        assert found[name] == (
            pytest.approx(value, rel=1e-5, nan_ok=True) if rounded else value
        )


@pytest.mark.parametrize("name", ATTACKS)
def test_report_and_score_of_a_stream_are_those_of_the_whole(name):
    X, y = digit_images()
    attack = ATTACKS[name].set_params(estimator=flat_module()).fit(X, y)
    whole = attack.report(X, y)
    for stream in (loader(X, y), TensorDataset(X, y), loader(X, y, shuffle=True)):
        assert_same_report(attack.report(stream), whole)
        assert attack.score(stream) == attack.score(X, y)


@pytest.mark.parametrize("clip", ["auto", None])
@pytest.mark.parametrize("name", ["PGD", "pixel"])
def test_fit_on_a_stream_learns_what_fit_on_the_whole_learns(name, clip):
    X, y = digit_images()
    attack = ATTACKS[name].set_params(estimator=flat_module(), clip=clip)
    if name == "PGD":
        attack.set_params(eps_unit="std")
    whole = vars(attack.fit(X, y)).copy()
    streamed = vars(attack.fit(loader(X, y)))
    attack.set_params(**{"eps_unit": "raw"} if name == "PGD" else {}, clip="auto")
    assert streamed["clip_"] == whole["clip_"]
    assert streamed["n_features_in_"] == 64
    np.testing.assert_array_equal(streamed["classes_"], whole["classes_"])
    if name == "PGD":
        np.testing.assert_allclose(streamed["feature_std_"], whole["feature_std_"])
    else:
        np.testing.assert_array_equal(streamed["value_range_"], whole["value_range_"])


def test_stream_of_a_model_that_hides_its_gradient_warns_as_the_whole_does():
    class Rounded(nn.Module):
        def forward(self, x):
            return digits_module()(torch.round(x.flatten(1) * 4) / 4 + 0 * x.flatten(1))

    X, y = digit_images()
    for attack in (FGSMAttack(Rounded().eval()), LeastLikelyAttack(Rounded().eval())):
        attack.fit(X, y)
        reports = []
        for given in ((X, y), (loader(X, y),)):
            with pytest.warns(GradientMaskingWarning, match="exactly zero") as caught:
                reports.append(attack.report(*given))
            assert caught[0].filename == __file__
        assert_same_report(*reports)


def test_weights_follow_the_order_of_a_stream():
    X, y = digit_images()
    attack = ATTACKS["FGSM"].set_params(estimator=flat_module()).fit(X, y)
    weights = np.arange(60)
    assert attack.score(loader(X, y), sample_weight=weights) == attack.score(
        X, y, sample_weight=weights
    )


def test_frozen_estimators_of_scikit_learn_are_attacked_on_streams():
    X, y = digit_images()
    attack = FGSMAttack(FrozenEstimator(digits_mlp())).fit(loader(X, y))
    assert attack.score(loader(X, y)) == attack.score(X, y)


def test_what_a_stream_cannot_do_says_what_to_do_instead():
    X, y = digit_images()
    attack = FGSMAttack(flat_module()).fit(X, y)
    with pytest.raises(TypeError, match="Use report or score, or call perturb with"):
        attack.perturb(loader(X, y))
    with pytest.raises(
        TypeError, match="predict returns every label and takes no Data"
    ):
        attack.predict(loader(X, y))
    targeted = PGDAttack(flat_module(), targeted=True, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="a single label where X is a DataLoader"):
        targeted.report(loader(X, y), target=np.zeros(60, dtype=int))
    assert targeted.report(loader(X, y), target=3)["target_rate"] > 0
    with pytest.raises(ValueError, match="y must be None where X is a DataLoader"):
        attack.report(loader(X, y), y)
    with pytest.raises(TypeError, match="LogisticRegression cannot be trained on a"):
        FGSMAttack(LogisticRegression()).fit(loader(X, y))
    for ask in (attack.report, attack.score):
        with pytest.raises(ValueError, match="FGSMAttack needs y, the true labels"):
            ask(X)
    with pytest.raises(ValueError, match="but FGSMAttack is expecting 64 features"):
        attack.report(loader(X[:, :, :4], y))


PROGRAM = """
    import resource
    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset
    from robustkit.attacks import FGSMAttack
    from robustkit.regions import PopulatedRegionScorer

    class Noise(Dataset):
        # {n} samples of {features} float32: {mib} MiB, made when they are asked for.
        def __len__(self):
            return {n}
        def __getitem__(self, i):
            rng = np.random.default_rng(i)
            return rng.random({features}, dtype=np.float32).reshape(1, 256, 256), i % 2

    torch.manual_seed(0)
    module = nn.Sequential(nn.AvgPool2d(64), nn.Flatten(), nn.Linear(16, 4), nn.ReLU(),
                           nn.Linear(4, 2))
    stream = DataLoader(Noise(), batch_size=16)
    # What loading and one batch take; more than half of the data do not fit on top.
    few = DataLoader(torch.utils.data.Subset(Noise(), range(32)), batch_size=16)
    attack = FGSMAttack(module, eps=0.01).fit(few)
    attack.report(few)
    scorer = PopulatedRegionScorer(module, batch_size=16).fit(few)
    scorer.report(few)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = used + {mib} * 2**20 // 2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    report = attack.fit(stream).report(stream)
    assert report["n_samples"] == {n}
    assert attack.score(stream) == report["robust_accuracy"]
    scorer.fit(stream)
    assert scorer.n_samples_seen_ == scorer.report(stream)["n_samples"] == {n}
    scorer.score(stream)
    try:
        np.stack([image for image, _ in Noise()])
    except MemoryError:
        print("too large as a whole")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_stream_larger_than_memory_is_attacked_and_counted():
    sizes = {"n": 320, "features": 256 * 256, "mib": 80}
    program = textwrap.dedent(PROGRAM.format(**sizes))
    with started(sys.executable, "-c", program) as process:
        said, errors = process.communicate(timeout=PATIENCE)
    assert said == "too large as a whole\n", errors
