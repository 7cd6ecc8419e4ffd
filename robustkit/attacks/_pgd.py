"""Projected gradient descent: many steps, random starts, several losses."""

from numbers import Integral

import numpy as np
import torch

from robustkit._randomness import draw_seed
from robustkit._sklearn_private import Interval, StrOptions
from robustkit.attacks._balls import make_ball
from robustkit.attacks._descent import Goal, logits_at
from robustkit.attacks._iterated_attack import IteratedAttack
from robustkit.attacks._losses import LOSSES
from robustkit.attacks._random_starts import random_start, sample_keys

__all__ = ["PGDAttack"]


class PGDAttack(IteratedAttack):
    """Projected gradient descent inside a ball around each sample.

    The standard measure of robustness: many gradient steps, each followed by a
    projection onto the points allowed, from one or several random starts. A sample
    leaves as soon as one point fools the model.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is;
        otherwise `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

    norm : {"linf", "l2"}, default="linf"
        "linf": every feature may move by `eps`. "l2": the Euclidean length of the
        perturbation is at most `eps`.

    eps : float, default=0.1
        Radius of the ball.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps``, across the ball, and ends
        near zero: step k is ``eps * (1 + cos(pi * k / max_iter))``, k from 0.

    max_iter : int, default=40
        Steps of one start at most.

    n_restarts : int, default=1
        Starts. Only samples not yet fooled start again.

    random_start : bool, default=True
        Whether to start from a random point of the ball, uniformly drawn, instead of
        the clean sample. The first climb of ``loss="rotate"`` always starts at the
        clean sample.

    targeted : bool, default=False
        Whether the model shall say the `target` given to :meth:`perturb`, instead of
        any wrong class.

    loss : {"ce", "margin", "dlr", "rotate"}, default="ce"
        What is climbed. "ce": the cross-entropy, which has no gradient where the model
        is very sure of itself. "margin": best other logit minus that of the label.
        "dlr": the margin divided by the spread of the leading logits. "rotate": every
        start is one climb of the cross-entropy and then, for samples not yet fooled,
        one of the margin towards each of the three runner-up classes; the strongest,
        and the one to report.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
        Samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

    random_state : int, RandomState instance or None, default=None
        Draws the random starts. They depend on this and on the content of each sample,
        not on its place: order, subset and batch size change nothing.

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The range that perturbed samples keep to.

    n_iter_ : int
        Steps that a sample takes unless it is fooled earlier.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    FGSMAttack : A single step; the cheapest.
    BIMAttack : The same without random starts.

    References
    ----------
    .. [1] A. Madry, A. Makelov, L. Schmidt, D. Tsipras and A. Vladu. Towards deep
       learning models resistant to adversarial attacks. ICLR 2018.
       :doi:`10.48550/arXiv.1706.06083`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.linear_model import LogisticRegression
    >>> from robustkit.attacks import PGDAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> model = LogisticRegression().fit(X, y)
    >>> attack = PGDAttack(FrozenEstimator(model), eps=0.05, random_state=0).fit(X, y)
    >>> result = attack.perturb(X, y)
    >>> bool(abs(result.X_adv - X).max() <= 0.05 + 1e-9)
    True
    >>> attack.score(X, y) < model.score(X, y)
    True
    """

    _parameter_constraints: dict = {
        **IteratedAttack._parameter_constraints,
        "norm": [StrOptions({"linf", "l2"})],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "random_start": ["boolean"],
        "targeted": ["boolean"],
        "loss": [StrOptions({*LOSSES, "rotate"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        norm="linf",
        eps=0.1,
        step_size=None,
        max_iter=40,
        n_restarts=1,
        random_start=True,
        targeted=False,
        loss="ce",
        clip="auto",
        batch_size=1024,
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.norm = norm
        self.eps = eps
        self.step_size = step_size
        self.max_iter = max_iter
        self.n_restarts = n_restarts
        self.random_start = random_start
        self.targeted = targeted
        self.loss = loss
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _encode_target(self, judge, target, n_samples):
        if not self.targeted:
            return super()._encode_target(judge, target, n_samples)
        if target is None:
            raise ValueError(
                "PGDAttack(targeted=True) needs the 'target' that the model shall say: "
                "one label for each sample, or one for all. Got None."
            )
        if np.ndim(target) == 0:
            target = np.full(n_samples, target)
        return self._encode(judge, target, n_samples, "target")

    def _is_success(self, found):
        if not self.targeted:
            return super()._is_success(found)
        return found["prediction"] == found["target"]

    def _goals(self, module, x, labels, wanted):
        hit = wanted is not None
        if self._loss() != "rotate":
            for _ in range(self.n_restarts):
                yield Goal(labels, self._loss(), wanted, must_hit=hit)
            return
        aims = [wanted] if hit else _runners_up(module, x, labels)
        for _ in range(self.n_restarts):
            yield Goal(labels, "ce", wanted, must_hit=hit)
            for aim in aims:
                yield Goal(labels, "margin", aim, must_hit=hit)

    def _starts_clean(self):
        # Where the model is linear, the way from the clean sample is the best one.
        return not self.random_start or self._loss() == "rotate"

    def _start(self, x, clip, seed, stream):
        if not self.random_start:
            return x.clone()
        start = random_start(x, self.eps, self.norm, seed, stream)
        return make_ball(x, self.eps, clip, self.norm).project_(start)

    def _loss(self):
        return self._forced_loss or self.loss

    def _radius(self):
        return self.eps, self.norm

    def _seed(self):
        return draw_seed(self.random_state) if self.random_start else 0

    def _fresh(self, module):
        # Training changes the weights with every batch, so their hash gives the same
        # sample another start in every epoch, and the same one in the same training.
        seed = 0 if self.random_state is None else draw_seed(self.random_state)
        weights = list(module.parameters())
        if not weights:
            return seed, 0
        last = weights[-1].detach().flatten()[None, :64]
        return int(sample_keys(last, seed)) % 2**31, 0


def _runners_up(module, x, labels):
    """Find the three most likely wrong classes of every sample, in order."""
    others = logits_at(module, x).scatter(1, labels[:, None], -torch.inf)
    order = others.argsort(dim=1, descending=True)
    return [order[:, k] for k in range(min(3, others.shape[1] - 1))]
