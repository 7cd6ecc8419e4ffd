"""A penalty that draws the samples of a class into one region."""

from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from robustkit._sklearn_private import Interval
from robustkit._tensors import as_tensor, evaluating
from robustkit.bridge import head_parameters, layer_values, resolve_layers
from robustkit.regions._counting import RegionCounts
from robustkit.regions._measures import complete_vectors, count_samples

# How sharply a pre-activation becomes a sign: tanh(10 z) is within 0.1 % of it at 0.4.
_SHARPNESS = 10.0

_BATCH_SIZE = 1024


class PopulatedRegionRegularizer(BaseEstimator):
    """Train a network towards few populated regions.

    During the warm-up nothing is added to the loss. Then, before each epoch, the most
    frequent region of each class is computed, its *major region*, with the mean
    activation of the class's samples there. The penalty of a batch is the mean squared
    distance of its activations to that mean, times `strength`, plus the mean squared
    distance of ``tanh(10 z)``, a soft sign of the pre-activations z, to the signs of
    the major region, times `sign_strength`. It is the regularizer of [1]_; the soft
    sign is ours.

    It is passed to a classifier: ``SparseNetClassifier(regularizer=...)``. Read more in
    the :ref:`User Guide <guide_regions>`.

    Parameters
    ----------
    strength : float, default=0.8
        Weight of the distance to the mean activation. The authors try 5e-4 to 0.8.

    sign_strength : float, default=1.0
        Weight of the distance to the signs.

    warm_up : float, default=0.5
        Share of the epochs before the penalty is applied, since the regions of an
        untrained network mean nothing.

    freeze_head : bool, default=True
        Whether the last layer is frozen from then on, so that the classes cannot move
        to where their activations are drawn from.

    layer : str, int or list of (str or int), default="penultimate"
        The layers whose units make the pattern, as in :class:`PopulatedRegionScorer`.

    Attributes
    ----------
    is_active_ : bool
        Whether the penalty is applied.

    major_region_vectors_ : torch.Tensor of shape (n_classes, n_features)
        Mean activations in the major regions, as of the beginning of the epoch.

    major_region_signs_ : torch.Tensor of shape (n_classes, n_units)
        The patterns of the major regions, 1 and -1.

    See Also
    --------
    PopulatedRegionScorer : Counts the regions.

    References
    ----------
    .. [1] Park, S., Jeong, H., Djanibekov, T., Jeon, G., Seol, J., & Choi, J. (2025).
       On the relationship between populated regions and adversarial robustness in deep
       neural networks. IEEE International Conference on Data Mining.
       https://doi.org/10.48550/arXiv.2207.03400

    Examples
    --------
    >>> from robustkit.classifiers import MLPNetClassifier
    >>> from robustkit.datasets import load_digits_images
    >>> from robustkit.regions import PopulatedRegionRegularizer
    >>> X, y = load_digits_images(return_X_y=True)
    >>> classifier = MLPNetClassifier(
    ...     regularizer=PopulatedRegionRegularizer(strength=0.1),
    ...     max_epochs=4,
    ...     random_state=0,
    ... )
    >>> classifier.fit(X, y).regularizer_.is_active_
    True
    """

    is_active_: bool
    major_region_vectors_: torch.Tensor
    major_region_signs_: torch.Tensor

    _parameter_constraints: dict = {
        "strength": [Interval(Real, 0, None, closed="left")],
        "sign_strength": [Interval(Real, 0, None, closed="left")],
        "warm_up": [Interval(Real, 0, 1, closed="both")],
        "freeze_head": ["boolean"],
        "layer": [str, Integral, list],
    }

    def __init__(
        self,
        strength: float = 0.8,
        sign_strength: float = 1.0,
        warm_up: float = 0.5,
        freeze_head: bool = True,
        layer: str | int | list = "penultimate",
    ) -> None:
        self.strength = strength
        self.sign_strength = sign_strength
        self.warm_up = warm_up
        self.freeze_head = freeze_head
        self.layer = layer

    def on_epoch_begin(
        self,
        module: torch.nn.Module,
        X: torch.Tensor,
        y: torch.Tensor,
        *,
        epoch: int,
        max_epochs: int,
    ) -> None:
        """Compute the major regions, once the warm-up is over.

        Parameters
        ----------
        module : torch.nn.Module
            The network in training. If `freeze_head`, its last layer requires no
            gradient from then on; the training loop restores that in the end.

        X : torch.Tensor of shape (n_samples, ...)
            All training samples.

        y : torch.Tensor of shape (n_samples,)
            Index of each sample's class.

        epoch : int
            The epoch that begins, counting from 0.

        max_epochs : int
            Number of epochs in all.
        """
        self._validate_params()
        self._names = resolve_layers(module, self.layer)
        # A share that is a whole number of epochs but for rounding is that number.
        self.is_active_ = epoch >= self.warm_up * max_epochs - 1e-9
        if not self.is_active_:
            return
        if self.freeze_head:
            for weight in head_parameters(module):
                weight.requires_grad_(False)
        counts = RegionCounts(int(y.max()) + 1)
        layers = {"names": self._names, "batch_size": _BATCH_SIZE}
        with evaluating(module):
            ids = count_samples(counts, module, X, y, **layers)
            vectors = complete_vectors(counts, module, X, y, ids, **layers)
        self.major_region_vectors_ = as_tensor(vectors, device=X.device)
        self.major_region_signs_ = as_tensor(counts.major_signs(), device=X.device)

    def penalty(
        self, module: torch.nn.Module, X: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Compute the penalty that is added to the loss of a batch.

        Parameters
        ----------
        module : torch.nn.Module
            The network in training.

        X : torch.Tensor of shape (n_samples, ...)
            One batch.

        y : torch.Tensor of shape (n_samples,)
            Index of each sample's class.

        Returns
        -------
        penalty : torch.Tensor of shape ()
            Differentiable; zero during the warm-up.
        """
        if not hasattr(self, "is_active_"):
            raise NotFittedError(
                "This PopulatedRegionRegularizer knows no major regions yet: "
                "'on_epoch_begin' must be called before each epoch."
            )
        if not self.is_active_:
            return X.new_zeros(())
        values = layer_values(module, X, self._names).values()
        features = torch.cat([v.activation.flatten(1) for v in values], dim=1)
        z = torch.cat([v.pre_activation.flatten(1) for v in values], dim=1)
        to_vectors = features - self.major_region_vectors_[y]
        to_signs = torch.tanh(_SHARPNESS * z) - self.major_region_signs_[y]
        return (
            self.strength * to_vectors.square().mean()
            + self.sign_strength * to_signs.square().mean()
        )
