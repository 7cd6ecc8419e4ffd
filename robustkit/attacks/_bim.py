"""Small steps along the sign of the gradient."""

from robustkit.attacks._descent import Goal
from robustkit.attacks._iterated_attack import IteratedAttack

__all__ = ["BIMAttack"]


class BIMAttack(IteratedAttack):
    """Basic iterative method: small sign steps from the clean sample.

    It is :class:`PGDAttack` in the maximum norm without random starts, so it draws no
    random numbers at all.

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
    PGDAttack : Random starts, other norms and losses.
    LeastLikelyAttack : The same steps, towards the least likely class.

    References
    ----------
    .. [1] A. Kurakin, I. Goodfellow and S. Bengio. Adversarial examples in the
       physical world. ICLR workshop 2017. :doi:`10.48550/arXiv.1607.02533`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import BIMAttack, FGSMAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> one_step = FGSMAttack(eps=0.1).fit(X, y).score(X, y)
    >>> ten_steps = BIMAttack(eps=0.1).fit(X, y).score(X, y)
    >>> ten_steps <= one_step
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

    def _goals(self, module, x, labels, wanted):
        yield Goal(labels, self._loss())
