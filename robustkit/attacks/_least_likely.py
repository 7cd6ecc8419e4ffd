"""Small steps towards the class that the model finds least likely."""

import torch

from robustkit._tensors import as_array, as_tensor
from robustkit.attacks._descent import Goal, logits_at
from robustkit.attacks._iterated_attack import IteratedAttack

__all__ = ["LeastLikelyAttack"]


class LeastLikelyAttack(IteratedAttack):
    """Iterative least likely class method: small sign steps towards one class.

    The class wanted is the one that the model finds least likely for the clean sample,
    the true class left out. It makes mistakes that nobody could call understandable; as
    a measure of robustness it is weaker than :class:`PGDAttack`.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is;
        otherwise `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

    eps : float, default=0.1
        How far every feature may move.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps``, across the ball, and ends
        near zero: step k is ``eps * (1 + cos(pi * k / max_iter))``, k from 0.

    max_iter : int, default=10
        Steps at most.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
        Samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

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
    BIMAttack : The same steps, away from the true class.
    PGDAttack : With ``targeted=True``, towards a class of your choice.

    Notes
    -----
    A sample counts as fooled if the model says any wrong class of it. How many were led
    to the class wanted is `target_rate` in :meth:`report`; which class that was is
    `target` of the result.

    References
    ----------
    .. [1] A. Kurakin, I. Goodfellow and S. Bengio. Adversarial examples in the
       physical world. ICLR workshop 2017. :doi:`10.48550/arXiv.1607.02533`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import LeastLikelyAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = LeastLikelyAttack(eps=0.3).fit(X, y)
    >>> result = attack.perturb(X, y)
    >>> bool((result.target != y).all())
    True
    """

    def __init__(
        self,
        estimator=None,
        *,
        eps=0.1,
        step_size=None,
        max_iter=10,
        clip="auto",
        batch_size=1024,
        device="auto",
        verbose=0,
    ):
        self.estimator = estimator
        self.eps = eps
        self.step_size = step_size
        self.max_iter = max_iter
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _choose_target(self, judge, X, labels):
        x = as_tensor(X, device=judge.device, dtype=judge.dtype)
        labels = as_tensor(labels, device=judge.device, dtype=torch.int64)
        return as_array(_least_likely(logits_at(judge.module, x), labels))

    def _goals(self, module, x, labels, wanted):
        if wanted is None:
            wanted = _least_likely(logits_at(module, x), labels)
        yield Goal(labels, self._loss(), wanted, must_hit=True)


def _least_likely(logits, labels):
    return logits.scatter(1, labels[:, None], torch.inf).argmin(dim=1)
