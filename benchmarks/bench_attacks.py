"""Attacks: the same model, images, budget and success, ours and the peers'.

torchattacks and ART ask for more packages, or older ones, than they use; install them
with ``pip install --no-deps``. Peers that are not installed are left out.
"""

import importlib
import warnings
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn import functional

from benchmarks.harness import Case
from robustkit._randomness import seeded_torch
from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    OnePixelAttack,
    PGDAttack,
)
from robustkit.classifiers import TorchClassifier

torch.set_num_threads(1)

SIZES = (784, 100, 50, 20, 10)


def cases():
    """Yield each promise with the peer that it names."""
    yield _fgsm()
    torchattacks = _peer("torchattacks")
    foolbox = _peer("foolbox")
    if torchattacks is not None:
        yield from _pgd(torchattacks)
        yield _growing(torchattacks)
    if foolbox is not None:
        yield _growing_foolbox(foolbox)
    if torchattacks is not None:
        yield from _one_pixel(torchattacks)
    if _peer("art.attacks.evasion") is not None:
        yield _one_pixel_art()
    if _peer("autoattack") is not None:
        yield _rotate()


def _peer(name):
    try:
        # What peers warn of while they are imported is theirs.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError:
        return None


class Image(nn.Module):
    """Peers want images, and logits of them."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        """Logits of a batch."""
        return self.module(x.flatten(1))


@cache
def smooth_digits():
    """Digits of 8 x 8 pixels, drawn on 28 x 28: training and 1,000 test images."""
    X, y = load_digits(return_X_y=True)
    x = torch.tensor(X.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    x = functional.interpolate(x, size=(28, 28), mode="bilinear")
    x = ((x * 255).round() / 255).flatten(1).numpy()
    order = np.random.default_rng(0).permutation(len(y))
    return x[order[:-1000]], y[order[:-1000]], x[order[-1000:]], y[order[-1000:]]


@cache
def small_digits_on_a_canvas():
    """Digits of 12 x 12 pixels somewhere on 28 x 28: there one pixel can matter."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    x = torch.tensor(X.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    x = functional.interpolate(x, size=(12, 12), mode="bilinear")[:, 0].numpy()
    order = rng.permutation(len(y))
    train, test = np.tile(order[:-500], 20), order[-500:]
    images = []
    for rows in (train, test):
        canvas = np.zeros((len(rows), 28, 28), dtype=np.float32)
        for image, row in zip(canvas, rows, strict=True):
            top, left = rng.integers(0, 17, size=2)
            image[top : top + 12, left : left + 12] = (x[row] * 255).round() / 255
        images.append(canvas.reshape(len(rows), -1))
    return images[0], y[train], images[1], y[test]


@cache
def network(data, eps=0.0, epochs=30):
    """A perceptron, trained on clean or on adversarial images."""
    X, y, _, _ = data()
    x, labels = torch.from_numpy(X), torch.from_numpy(y)
    adversary = PGDAttack(eps=eps, max_iter=7, random_state=0)
    with seeded_torch(0):
        layers = []
        for n_inputs, n_outputs in pairwise(SIZES):
            layers += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
        module = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(module.parameters())
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                batch = x[rows]
                if eps:
                    batch = adversary.perturb_module(module, batch, labels[rows])
                optimizer.zero_grad()
                functional.cross_entropy(module(batch), labels[rows]).backward()
                optimizer.step()
    return module.eval()


def aim(attack, module, X, y):
    model = TorchClassifier.from_module(module, classes=np.arange(10))
    return attack.set_params(estimator=FrozenEstimator(model), device="cpu").fit(X, y)


def images(X):
    return torch.from_numpy(X).view(-1, 1, 28, 28)


def right(module, x, y):
    with torch.no_grad():
        return float(
            (Image(module)(x).argmax(1) == torch.from_numpy(y)).double().mean()
        )


def _fgsm():
    _, _, X, y = smooth_digits()
    X, y = np.tile(X, (10, 1)), np.tile(y, 10)
    module = network(smooth_digits)
    labels = torch.from_numpy(y)
    attack = aim(FGSMAttack(eps=0.1), module, X, y)

    def forward_and_backward():
        x = torch.from_numpy(X).requires_grad_(True)
        functional.cross_entropy(module(x), labels).backward()
        module.zero_grad()
        return x.grad

    return Case(
        name="FGSM, 10,000 images of 784 pixels, perceptron 100-50-20",
        peer="one forward and backward pass (torch)",
        ours=lambda: attack.perturb(X, y),
        theirs=forward_and_backward,
        limit=1.5,
        repeats=15,
    )


def _pgd(torchattacks):
    X0, y0, X, y = smooth_digits()
    for eps, trained, limit in ((0.1, 0.0, 0.5), (0.02, 0.0, 0.95), (0.1, 0.1, 0.95)):
        module = network(smooth_digits, trained)
        attack = aim(PGDAttack(eps=eps, random_state=0), module, X0, y0)
        theirs = torchattacks.PGD(
            Image(module), eps=eps, alpha=2.5 * eps / 40, steps=40
        )
        x, labels = images(X), torch.from_numpy(y)
        share = attack.score(X, y)

        def run_theirs(theirs=theirs, x=x, labels=labels):
            with seeded_torch(0):
                return theirs(x, labels)

        yield Case(
            name=f"PGD-40, 1,000 images, eps {eps}, "
            f"{'adversarially' if trained else 'plainly'} trained",
            peer=f"torchattacks {torchattacks.__version__}",
            ours=lambda attack=attack: attack.perturb(X, y),
            theirs=run_theirs,
            limit=limit,
            same=lambda a, b, module=module: (
                abs(right(module, images(a.X_adv), y) - right(module, b, y)) <= 0.01
            ),
            repeats=11,
            note=f"robust accuracy {share:.3f}",
        )


def _rotate():
    from autoattack import AutoAttack

    X0, y0, X, y = smooth_digits()
    module = network(smooth_digits, 0.1)
    attack = aim(PGDAttack(eps=0.1, loss="rotate", random_state=0), module, X0, y0)
    theirs = AutoAttack(
        Image(module),
        norm="Linf",
        eps=0.1,
        version="custom",
        device="cpu",
        verbose=False,
    )
    theirs.attacks_to_run = ["apgd-ce", "apgd-t"]

    def run_theirs():
        with seeded_torch(0):
            return theirs.run_standard_evaluation(
                images(X), torch.from_numpy(y), bs=1000
            )

    five = aim(PGDAttack(eps=0.1, n_restarts=5, random_state=0), module, X0, y0)
    ours, restarts = attack.score(X, y), five.score(X, y)
    return Case(
        name="PGD loss='rotate', 1,000 images, eps 0.1, adversarially trained",
        peer="AutoAttack, APGD-CE + APGD-T",
        ours=lambda: attack.perturb(X, y),
        theirs=run_theirs,
        limit=0.1,
        same=lambda a, b: (
            right(module, images(a.X_adv), y) <= right(module, b, y) + 0.005
        ),
        repeats=3,
        seconds=0,
        note=f"robust accuracy {ours:.3f}; five restarts of ce {restarts:.3f}",
    )


def _growing(torchattacks):
    X0, y0, X, y = smooth_digits()
    module = network(smooth_digits)
    attack = aim(GrowingEpsilonAttack(), module, X0, y0)
    grid = 0.001 + 0.01 * np.arange(26)
    x, labels = images(X), torch.from_numpy(y)

    def run_theirs():
        smallest = np.full(len(y), np.nan)
        for eps in grid[::-1]:
            moved = torchattacks.FGSM(Image(module), eps=eps)(x, labels)
            with torch.no_grad():
                fooled = Image(module)(moved).argmax(1) != labels
            smallest[fooled.numpy()] = eps
        return smallest

    return Case(
        name="smallest eps of 26, 1,000 images",
        peer=f"a loop of FGSM, torchattacks {torchattacks.__version__}",
        ours=lambda: attack.perturb(X, y),
        theirs=run_theirs,
        limit=1 / 5,
        same=lambda a, b: _same_eps(a, b),
    )


def _growing_foolbox(foolbox):
    X0, y0, X, y = smooth_digits()
    module = network(smooth_digits)
    attack = aim(GrowingEpsilonAttack(), module, X0, y0)
    grid = 0.001 + 0.01 * np.arange(26)
    theirs = foolbox.PyTorchModel(Image(module), bounds=(0, 1))

    def run_theirs():
        _, _, fooled = foolbox.attacks.FGSM()(
            theirs, images(X), torch.from_numpy(y), epsilons=list(grid)
        )
        fooled = fooled.numpy()
        return np.where(fooled.any(0), grid[fooled.argmax(0)], np.nan)

    return Case(
        name="smallest eps of 26, 1,000 images",
        peer=f"FGSM with a list of eps, foolbox {foolbox.__version__}",
        ours=lambda: attack.perturb(X, y),
        theirs=run_theirs,
        same=lambda a, b: _same_eps(a, b),
    )


def _same_eps(ours, theirs):
    correct = ours.clean_prediction == ours.y
    return np.array_equal(ours.eps[correct], theirs[correct], equal_nan=True)


def _pixel_setting(n_samples=50):
    X0, y0, X, y = small_digits_on_a_canvas()
    module = network(small_digits_on_a_canvas, epochs=30)
    with torch.no_grad():
        known = (module(torch.from_numpy(X)).argmax(1).numpy() == y).nonzero()[0]
    rows = known[:n_samples]
    return module, X0, y0, X[rows], y[rows]


def _one_pixel(torchattacks):
    module, X0, y0, X, y = _pixel_setting()
    for method, pop_size, max_iter, limit, repeats in (
        ("differential_evolution", 100, 20, 1 / 30, 5),
        ("differential_evolution", 500, 20, 1 / 30, 3),
        ("certified", 500, 100, 1 / 300, 2),
    ):
        attack = OnePixelAttack(
            method=method,
            pop_size=pop_size,
            max_iter=max_iter,
            image_shape=(28, 28),
            random_state=0,
        )
        attack = aim(attack, module, X0, y0)
        # `steps` generations follow the first one, as ours do.
        theirs = torchattacks.OnePixel(
            Image(module), pixels=1, steps=max_iter, popsize=pop_size
        )

        def run_theirs(theirs=theirs):
            # Its copy of scipy's evolution draws from numpy's global stream.
            state = np.random.get_state()
            np.random.seed(0)
            try:
                with seeded_torch(0):
                    return theirs(images(X), torch.from_numpy(y))
            finally:
                np.random.set_state(state)

        yield Case(
            name=f"one pixel, 50 images, {method}",
            peer=f"torchattacks {torchattacks.__version__}, {pop_size} x {max_iter}",
            ours=lambda attack=attack: attack.perturb(X, y),
            theirs=run_theirs,
            limit=limit,
            # No lower success. One image of fifty is chance: over eight seeds, both
            # find .58 with 100 x 20, of .60 that can be found.
            same=lambda a, b: (
                right(module, images(a.X_adv), y) <= right(module, b, y) + 0.02
            ),
            repeats=repeats,
            note=f"success {attack.perturb(X, y).success.mean():.2f}",
        )


def _one_pixel_art():
    from art.attacks.evasion import PixelAttack
    from art.estimators.classification import PyTorchClassifier

    module, X0, y0, X, y = _pixel_setting()
    attack = OnePixelAttack(
        pop_size=400, max_iter=20, image_shape=(28, 28), random_state=0
    )
    attack = aim(attack, module, X0, y0)
    # It minimizes what the model returns: probabilities serve it better than logits.
    theirs = PyTorchClassifier(
        nn.Sequential(Image(module), nn.Softmax(dim=1)),
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0, 255),
        preprocessing=(0.0, 255.0),
        device_type="cpu",
    )
    attacker = PixelAttack(theirs, th=1, es=1, max_iter=20, verbose=False)
    x = images(X).numpy() * 255

    def run_theirs():
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return attacker.generate(x, np.eye(10)[y])
        finally:
            np.random.set_state(state)

    return Case(
        name="one pixel, 50 images, differential_evolution",
        peer="ART, its fixed population of 400 x 20",
        ours=lambda: attack.perturb(X, y),
        theirs=run_theirs,
        limit=1 / 50,
        same=lambda a, b: (
            right(module, images(a.X_adv), y)
            <= right(module, torch.from_numpy(b / 255).float(), y)
        ),
        repeats=3,
        note=f"success {attack.perturb(X, y).success.mean():.2f}",
    )
