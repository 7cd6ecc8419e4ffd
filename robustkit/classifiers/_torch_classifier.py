"""A classifier around any torch module."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.nn.parameter import is_lazy

from robustkit._randomness import seeded_torch
from robustkit._samples import is_stream
from robustkit._sklearn_private import StrOptions
from robustkit._validation import check_image_shape
from robustkit.bridge import try_out
from robustkit.classifiers._base import BaseNetClassifier, check_classes, check_logits
from robustkit.networks import ARCHITECTURES, flat_input, mlp

__all__ = ["TorchClassifier"]


class TorchClassifier(BaseNetClassifier):
    """Any torch module as a scikit-learn classifier.

    Parameters
    ----------
    module : {"mlp", "cnn6", "resnet18"} or callable, default="mlp"
        How the network is built: one of ours by its name, or a function or class called
        as ``module(n_features, n_classes, **module_params)`` that returns a
        torch.nn.Module with one logit per class. Never a module itself, whose trained
        weights `clone` would copy; use :meth:`from_module` for that.

    module_params : dict, default=None
        Further arguments of `module`: ``hidden_layer_sizes`` of "mlp", ``width`` of
        "resnet18".

    image_shape : tuple of int, default=None
        (channels, height, width) or (height, width), for modules that take images. An
        image of (height, width) gets a channel where the module needs one. None is the
        shape of the images passed to `fit`; a table of flat samples has none, and
        "cnn6" and "resnet18" need one.

    optimizer : {"adam", "sgd"} or callable, default="adam"
        "sgd" has a Nesterov momentum of 0.9. A callable, such as
        ``torch.optim.AdamW``, is called with the parameters, `lr` and `weight_decay`.

    max_epochs : int or "auto", default="auto"
        Passes over the training data. A number is how many there are, whether or not
        the loss still falls. "auto" goes on until the training loss has converged,
        which `tol` and `n_iter_no_change` define, and for at most 90 epochs, after
        which it warns. An adversary or regularizer that changes from epoch to epoch
        (it has the method ``on_epoch_begin``) gets all 90, unless `early_stopping` ends
        the training.

    batch_size : int or "auto", default="auto"
        Samples per step. "auto" is a twentieth of the training samples, but at least 36
        and at most 128.

    tol : float, default=0.0001
        By how much the training loss must fall below its least value so far to count as
        an improvement, if `max_epochs` is "auto" and `early_stopping` is false.

    lr : float, default=0.001
        Learning rate.

    weight_decay : float, default=0.0
        L2 penalty, as the optimizer defines it.

    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes.

    adversary : object or None, default=None
        For adversarial training: any object with ``perturb_module(module, X, y)``, such
        as an attack, which is called with every batch and returns the batch to train
        on. It is cloned first; a ``random_state`` of None in it is set from the
        classifier's.

    regularizer : object or None, default=None
        Any object with ``penalty(module, X, y)``, which is added to the loss. It is
        cloned and seeded as `adversary` is.

    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, to stop when their
        accuracy no longer improves, and to keep the weights with the best one.

    validation_fraction : float, default=0.1
        Share of the training samples held out, stratified by class, if
        `early_stopping` is true.

    n_iter_no_change : int, default=5
        Epochs without an improvement after which to stop: of the accuracy on the
        samples held out, if `early_stopping` is true, or of the training loss, if
        `max_epochs` is "auto".

    warm_start : bool, default=False
        Whether another call of `fit` continues from the weights of the last one instead
        of starting anew.

    device : str or torch.device, default="auto"
        Where to train. "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after every epoch.

    random_state : int, RandomState instance or None, default=None
        Draws the initial weights and the order of the samples. Pass an int for the same
        classifier on every call.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained network: what `module` built, in eval mode, or what was passed to
        `from_module`.

    image_shape_ : tuple of int or None
        Shape of one image: `image_shape`, or that of the images passed to `fit` (after
        `from_module`, of the first ones that were passed to any method). (1, height,
        width) if there is no axis of channels. None if only flat samples were seen.

    classes_ : ndarray of shape (n_classes,)
        The classes, in the order of the network's outputs.

    n_parameters_ : int
        Weights and biases of the network.

    n_iter_ : int
        Number of epochs, over all calls of `partial_fit` and warm starts.

    loss_curve_ : list of float
        Mean loss of each epoch.

    validation_scores_ : list of float
        Accuracy on the samples held out, after each epoch. Only with `early_stopping`.

    adversary_ : object
        The clone of `adversary` that was used. Only if there was one.

    regularizer_ : object
        The clone of `regularizer` that was used. Only if there was one.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names that
        are all strings.

    See Also
    --------
    MLPNetClassifier : A perceptron with a choice of initial weights.
    SparseNetClassifier : A network whose structure is a graph.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.classifiers import TorchClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> sizes = {"hidden_layer_sizes": (50, 50)}
    >>> classifier = TorchClassifier(
    ...     "mlp", module_params=sizes, lr=0.01, random_state=0
    ... ).fit(X / 16, y)
    >>> classifier.score(X / 16, y) > 0.95
    True

    Images of any shape, which need not be flat:

    >>> images = X.reshape(-1, 1, 8, 8) / 16
    >>> cnn = TorchClassifier("cnn6", max_epochs=1, random_state=0).fit(images, y)
    >>> cnn.image_shape_
    (1, 8, 8)

    A module that is already trained:

    >>> module = classifier.module_
    >>> wrapped = TorchClassifier.from_module(module, classes=range(10))
    >>> bool((wrapped.predict(X / 16) == classifier.predict(X / 16)).all())
    True
    """

    _parameter_constraints: dict = {
        **BaseNetClassifier._parameter_constraints,
        "module": [StrOptions(set(ARCHITECTURES)), callable],
        "module_params": [dict, None],
        "image_shape": ["array-like", None],
        "optimizer": [StrOptions({"adam", "sgd"}), callable],
    }

    image_shape_: tuple[int, ...] | None

    # What `fit` and `from_module` learn about the module: the shape it takes its
    # samples in, or None for rows.
    _image_shape: Sequence[int] | None = None
    _is_frozen: bool = False

    def __init__(
        self,
        module: str | Callable[..., nn.Module] = "mlp",
        *,
        module_params: dict[str, Any] | None = None,
        image_shape: Sequence[int] | None = None,
        optimizer: str | Callable[..., torch.optim.Optimizer] = "adam",
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        tol: float = 1e-4,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        adversary: Any = None,
        regularizer: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.module = module
        self.module_params = module_params
        self.image_shape = image_shape
        self.optimizer = optimizer
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.tol = tol
        self.lr = lr
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.adversary = adversary
        self.regularizer = regularizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        classes: Iterable[Any],
        image_shape: Sequence[int] | None = None,
    ) -> Self:
        """Wrap a module that is already trained.

        The classifier is ready to predict, and frozen as with
        :class:`~sklearn.frozen.FrozenEstimator`: `fit` leaves it as it is, and `clone`
        returns it. So meta-estimators, which clone and fit, accept it unchanged.

        Parameters
        ----------
        module : torch.nn.Module
            Takes a batch and returns one logit per class. It is not copied.

        classes : array-like of shape (n_classes,)
            The classes, in the order of the module's outputs.

        image_shape : tuple of int, default=None
            (channels, height, width) or (height, width), if the module takes images and
            flat samples will be passed. None is the shape of the first images passed.

        Returns
        -------
        classifier : TorchClassifier
            The fitted classifier.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"module must be a torch.nn.Module. Got {module!r} instead."
            )
        classifier = cls(image_shape=image_shape)
        classes = np.asarray(list(classes))
        if classes.ndim != 1 or len(np.unique(classes)) != len(classes):
            raise ValueError(
                "classes must name each output of the module once. Got "
                f"{classes.tolist()} instead."
            )
        classifier.classes_ = check_classes(classifier, classes)
        classifier.module_ = module
        classifier.n_parameters_ = sum(w.numel() for w in module.parameters())
        classifier.image_shape_ = None
        if image_shape is not None:
            size = classifier.n_features_in_ = int(np.prod(image_shape))
            shapes = _candidates(check_image_shape(image_shape, size))
            classifier.image_shape_ = with_channels(shapes[0])
            classifier._image_shape = shapes[0]
            if len(shapes) > 1:
                classifier._image_shape = _shape_that_works(
                    module, shapes, size, len(classes)
                )
        classifier._is_frozen = True
        return classifier

    def __sklearn_clone__(self) -> Self:
        return self if self._is_frozen else super().__sklearn_clone__()

    def fit(
        self, X: Any, y: ArrayLike | None = None, *, classes: ArrayLike | None = None
    ) -> Self:
        """Train the network, unless it was passed to `from_module`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or stream
            Training samples. Arrays and tensors of images, such as those of shape
            (n_samples, channels, height, width), become rows; pixels of dtype uint8 are
            divided by 255. A Dataset or DataLoader of torch, which gives pairs (X, y),
            is read batch by batch and never held in memory.

        y : array-like of shape (n_samples,), default=None
            Their classes, of any type. A stream brings its own.

        classes : array-like of shape (n_classes,), default=None
            All classes that may occur. By default those in `y`; a stream is read once
            to find them.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        if not self._is_frozen:
            return super().fit(X, y, classes=classes)
        if not is_stream(X):
            self._rows(X)
        return self

    def partial_fit(
        self, X: Any, y: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on a chunk of the data, continuing from the last call.

        `early_stopping` has no effect here. A classifier made by `from_module` raises
        an error, since the module is not its own.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or stream
            Training samples, as in `fit`. The epoch is one pass over a stream.

        y : array-like of shape (n_samples,), default=None
            Their classes. A stream brings its own.

        classes : array-like of shape (n_classes,), default=None
            All classes that may occur in any call. Needed on the first call only.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        if self._is_frozen:
            raise ValueError(
                "partial_fit would change a module that was passed to from_module. "
                "Train the module itself, or give TorchClassifier a 'module' to build."
            )
        return super().partial_fit(X, y, classes=classes)

    def _network(self) -> nn.Module:
        return flat_input(self.module_, self._image_shape)

    def _see_images(self, image_shape: Sequence[int] | None, *, reset: bool) -> None:
        if reset:
            self._shape_at_fit = image_shape
        if image_shape is None or reset:
            return
        shape, known = with_channels(image_shape), self.image_shape_
        if known is None:
            self._learn_image_shape(image_shape)
        elif shape != with_channels(known):
            raise self._other_images(image_shape, known)

    def _learn_image_shape(self, image_shape: Sequence[int]) -> None:
        """Take the shape of the first images that are passed after a table was."""
        if self._is_frozen:
            size = int(np.prod(image_shape))
            shapes = [*_candidates(image_shape), None]
            self._image_shape = _shape_that_works(
                self.module_, shapes, size, len(self.classes_)
            )
            self.n_features_in_ = size
        # Last: another thread that finds it uses the others.
        self.image_shape_ = with_channels(image_shape)

    def _other_images(
        self, image_shape: Sequence[int], known: Sequence[int]
    ) -> ValueError:
        return ValueError(
            f"X holds images of shape {tuple(image_shape)}, but "
            f"{type(self).__name__} was made for image_shape={tuple(known)}."
        )

    def _candidate_shapes(self, n_features: int) -> list[Sequence[int] | None]:
        """List the shapes to try the module with, the likeliest first."""
        seen = self._shape_at_fit
        if self.image_shape is None:
            # A module that takes rows may be trained on images.
            return [None] if seen is None else [*_candidates(seen), None]
        told = check_image_shape(self.image_shape, n_features)
        if seen is not None and with_channels(seen) != with_channels(told):
            raise self._other_images(seen, told)
        return _candidates(told)

    def _make_module(self, n_features: int, n_classes: int, seed: int) -> nn.Module:
        params = dict(self.module_params or {})
        shapes = self._candidate_shapes(n_features)
        shape = with_channels(shapes[0])
        self.image_shape_, self._image_shape = shape, None
        if isinstance(self.module, nn.Module):
            raise TypeError(
                "The 'module' parameter of TorchClassifier must be a name or a "
                "callable that builds a module, not a module, whose weights `clone` "
                "would copy. "
                "Use TorchClassifier.from_module for a trained one."
            )
        build = self.module
        if isinstance(build, str):
            name, build = build, ARCHITECTURES[build]
            if build is not mlp:
                _require_image_shape(name, shape)
                params["image_shape"] = shape
            shapes = [None]
        with seeded_torch(seed):
            module = build(n_features, n_classes, **params)
            if not isinstance(module, nn.Module):
                raise TypeError(
                    "The 'module' parameter of TorchClassifier must build a "
                    f"torch.nn.Module. It built {module!r} instead."
                )
            self._image_shape = _shape_that_works(module, shapes, n_features, n_classes)
        return module

    def _rebuild_module(self) -> nn.Module:
        if self._is_frozen:
            raise ValueError(
                f"A {type(self).__name__} made by from_module cannot be stored without "
                "the code of its module. Store it with pickle or joblib, or the "
                "weights of the module with torch.save."
            )
        return super()._rebuild_module()

    def _optimizer_settings(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer}

    def _draws_from_torch(self) -> bool:
        # Dropout, and anything else that a module may do.
        return True


def _candidates(image_shape: Sequence[int]) -> list[Sequence[int] | None]:
    """List the shape as it stands, and with the channel that it may lack."""
    shape = tuple(image_shape)
    return [shape] if len(shape) != 2 else [shape, (1, *shape)]


def _shape_that_works(
    module: nn.Module,
    shapes: Sequence[Sequence[int] | None],
    n_features: int,
    n_classes: int,
) -> Sequence[int] | None:
    """Return the first shape in which a module takes samples; None is that of rows."""
    zeros = np.zeros((2, n_features), dtype=np.float32)
    refused, wrong = [], []
    for shape in shapes:
        try:
            trial = _trial_copy(module)
            logits = try_out(trial, zeros, shape)
        except ValueError as error:
            refused.append(error)
            continue
        try:
            check_logits(logits, 2, n_classes)
        except ValueError as error:
            wrong.append(error)
            continue
        if trial is not module:
            try_out(module, zeros, shape)
        return shape
    raise (wrong or refused)[0]


def _trial_copy(module: nn.Module) -> nn.Module:
    """Copy a module with lazy layers, which take their sizes from the first batch."""
    return copy.deepcopy(module) if any(map(is_lazy, module.parameters())) else module


def with_channels(image_shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """Add the channel that the shape (height, width) lacks."""
    if image_shape is None:
        return None
    shape = tuple(int(side) for side in image_shape)
    return (1, *shape) if len(shape) == 2 else shape


def _require_image_shape(name: str, image_shape: Sequence[int] | None) -> None:
    if image_shape is None:
        raise ValueError(
            f"module={name!r} takes images: pass image_shape=(channels, height, width),"
            " or X of shape (n_samples, channels, height, width)."
        )
