"""Change a single pixel: by search, by trying everything, or with proof."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from robustkit._randomness import draw_seed
from robustkit._sklearn_private import Interval, StrOptions
from robustkit._tensors import as_array, as_tensor
from robustkit.attacks._base import BaseAttack, Batch, Plan
from robustkit.attacks.one_pixel import (
    PixelCertifier,
    PixelModel,
    PixelSpace,
    find_pixels,
    query_about,
)
from robustkit.bridge import as_module, thawed
from robustkit.classifiers import predicts_largest_logit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["OnePixelAttack"]


class OnePixelAttack(BaseAttack):
    """Change one pixel, or one feature, to any value.

    It needs no gradient: any classifier with `predict_proba` can be attacked. Networks
    that begin with a linear map (perceptrons, sparse nets, linear models, all also
    behind scalers) are asked much faster, and for most of them it can be proved that no
    pixel fools.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier with `predict_proba`, or one that
        :func:`~robustkit.bridge.as_module` can see. Wrapped in
        :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is; otherwise
        `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

    method : {"differential_evolution", "exhaustive", "certified"}, \
            default="differential_evolution"
        "differential_evolution": a random search, for any classifier. "exhaustive":
        every pixel with every level, the exact answer on the grid. "certified": branch
        and bound, the exact answer for every real value, with proof; for networks of
        linear layers and ReLU, sparse networks, linear models, and those behind
        scalers.

    pop_size : int, default=500
        Candidates per generation of the evolution.

    max_iter : int, default=500
        Maximum number of generations of the evolution.

    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width) of an image; a pixel has a value in
        every channel. None is the shape of the images if `fit` gets images; if it gets
        rows, one feature is changed instead of one pixel.

    levels : int, default=256
        Values of the grid that "differential_evolution" and "exhaustive" choose from,
        evenly spaced over the range.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it. Where
        there is none, a feature's values range as they do in the training data.

    batch_size : int, default=128
        Samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

    random_state : int, RandomState instance or None, default=None
        Draws the evolution. It depends on this and on the content of each sample, not
        on its place: order, subset and batch size change nothing.

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The range that perturbed samples keep to.

    value_range_ : ndarray of shape (2, n_features)
        Smallest and largest value that the attack gives to each feature.

    n_iter_ : int
        Generations that a sample takes unless it is fooled earlier.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    PGDAttack : Changes all features, each by a little.

    Notes
    -----
    A sample that is not fooled is returned as it was. `eps` of the result is the
    largest change of a value. Whether a pixel fools is always decided by `predict`.

    With ``method="certified"`` the result has `certified`, and :meth:`report` has
    `certified_accuracy`: the share of samples that the model gets right and that
    provably no single pixel fools. The proof is for the network in exact arithmetic,
    and covers the rounding of its weights to single precision, and what it computes in
    single precision or better. It takes the network apart, so it refuses one with a
    part of its own making: a subclass with another `forward`, a hook, a
    parametrization. It also refuses a model whose `predict` may answer otherwise than
    with the largest logit, as one with a threshold does. A sample that it cannot
    decide, because a margin is zero up to rounding or because it would take too long,
    counts neither as fooled nor as certified: :meth:`report` has their number,
    `n_undecided`, and an :class:`~robustkit.exceptions.UndecidedSamplesWarning` is
    given.

    References
    ----------
    .. [1] J. Su, D. V. Vargas and K. Sakurai. One pixel attack for fooling deep neural
       networks. IEEE Transactions on Evolutionary Computation, 2019.
       :doi:`10.1109/TEVC.2019.2890858`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import OnePixelAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = OnePixelAttack(method="certified", image_shape=(8, 8)).fit(X, y)
    >>> result = attack.perturb(X, y)
    >>> decided = result.success | result.certified
    >>> bool(decided[result.clean_prediction == y].all())
    True
    >>> int((result.X_adv != X).sum(axis=1).max())
    1
    """

    value_range_: np.ndarray
    n_iter_: int

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "method": [StrOptions({"differential_evolution", "exhaustive", "certified"})],
        # A mutant needs two members other than itself.
        "pop_size": [Interval(Integral, 3, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "image_shape": ["array-like", None],
        "levels": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "differential_evolution",
        pop_size: int = 500,
        max_iter: int = 500,
        image_shape: tuple[int, ...] | None = None,
        levels: int = 256,
        clip: ArrayLike | str | None = "auto",
        batch_size: int = 128,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.pop_size = pop_size
        self.max_iter = max_iter
        self.image_shape = image_shape
        self.levels = levels
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _check_model(self, X, extent):
        self._check_shape_of_images(X.shape[1])
        if self.clip_ is None:
            seen = (X.min(axis=0), X.max(axis=0))
            self.value_range_ = np.stack(
                seen if extent is None else (extent.low, extent.high)
            )
        else:
            low_high = np.array(self.clip_)[:, None]
            self.value_range_ = np.repeat(low_high, X.shape[1], axis=1)
        module = _module_or_none(self.estimator_)
        if module is None and not hasattr(self.estimator_, "predict_proba"):
            raise TypeError(
                "OnePixelAttack needs a model with predict_proba, or one that "
                f"as_module can see. {type(self.estimator_).__name__} is neither; wrap "
                "it in CalibratedClassifierCV to give it probabilities."
            )
        if self.method == "certified":
            if module is None:
                # Its own words say which part of the model is unknown.
                module = as_module(self.estimator_)
            if not predicts_largest_logit(self.estimator_, module):
                raise TypeError(_predict_is_its_own(self.estimator_))
            PixelCertifier(module, self._space())

    def _space(self):
        low, high = self.value_range_
        shape = self._shape_of_images()
        return PixelSpace(self.n_features_in_, shape, low, high, self.levels)

    def _plan(self) -> Plan:
        evolves = self.method == "differential_evolution"
        seed = draw_seed(self.random_state) if evolves else 0
        return Plan(certifies=self.method == "certified", seed=seed)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        certifies, space = self.method == "certified", self._space()
        assert batch.rows is not None, "not used in training"
        labels = as_array(batch.y)
        query = query_about(_as_seen_by(batch.model), space, batch.rows, labels)
        found = find_pixels(
            query,
            method=self.method,
            pop_size=self.pop_size,
            max_iter=self.max_iter,
            seed=batch.seed,
            certifier=PixelCertifier(module, space) if certifies else None,
        )
        batch.trace.n_queries = torch.from_numpy(found.n_queries)
        if found.certified is not None:
            batch.trace.certified = torch.from_numpy(found.certified)
        return torch.from_numpy(query.perturbed(found))


def _predict_is_its_own(estimator):
    return (
        "method='certified' needs a model whose predict is known to answer with the "
        f"largest logit of its module. {type(thawed(estimator)).__name__} may answer "
        "otherwise: use method='exhaustive' or 'differential_evolution'."
    )


def _module_or_none(estimator):
    try:
        return as_module(estimator)
    except TypeError:
        return None


def _as_seen_by(model):
    """Let the searches query the model's module if they may, else its estimator."""
    scores_module = model.module is not None and not hasattr(
        model.estimator, "predict_proba"
    )

    def predict_and_score(images):
        prediction = model.predict(images)
        if not scores_module:
            return prediction, torch.from_numpy(model.probabilities(images))
        x = as_tensor(images, device=model.device, dtype=model.dtype)
        with torch.no_grad():
            return prediction, model.module(x.clone()).cpu()

    trusted = predicts_largest_logit(model.estimator, model.module)
    return PixelModel(
        model.predict,
        predict_and_score,
        model.module if trusted else None,
        model.device,
        model.dtype,
    )
