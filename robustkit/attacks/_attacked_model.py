"""The model under attack: asked for logits and gradients, and for the last word."""

import copy
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from sklearn.ensemble import AdaBoostClassifier

from robustkit._samples import places_of
from robustkit._sklearn_private import _ovr_decision_function
from robustkit._tensors import (
    as_array,
    as_tensor,
    evaluating,
    on_device,
    tensors_of,
    threads_for,
)
from robustkit.bridge import as_module, thawed
from robustkit.classifiers import (
    BaseNetClassifier,
    ClassifierUnion,
    answers_with_module,
)
from robustkit.networks import NetworkUnion, of_rows

__all__ = [
    "AttackedModel",
    "FirstLook",
    "first_look",
    "logits_at",
    "probabilities_of",
    "sparing_input",
    "undisturbed",
]

# Whether a module leaves its input as it is: found out once per module.
_SPARES_INPUT: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

# Those that answer with the labels they were fitted to.
_OUR_NETWORKS = (BaseNetClassifier, ClassifierUnion)

# Samples that a module is called with to see what it does.
_N_PROBES = 2


class AttackedModel:
    """A fitted classifier, and the module through which an attack follows it.

    It has the last word on what an attack claims. A classifier that is a torch module
    is asked directly; any other through `predict`, in its own precision: what a float32
    copy of it predicts near the boundary is not what it predicts itself.
    """

    def __init__(
        self,
        estimator,
        module: torch.nn.Module | None,
        device: torch.device,
    ):
        self.estimator = estimator
        self.classes = np.asarray(estimator.classes_)
        self.module, self.device = module, device
        self._dtypes = [torch.float32] if module is None else _dtypes_of(module)
        self.dtype = self._dtypes[0]
        # Then what it says need not be confirmed by `predict`.
        self.is_the_model = answers_with_module(estimator, module)

    @classmethod
    def of(cls, estimator, device: torch.device):
        """Find the module of a classifier; a forest, say, has none."""
        try:
            module = as_module(thawed(estimator))
        except TypeError:
            # What `predict_proba` computes, it computes on the CPU.
            return cls(estimator, None, torch.device("cpu"))
        return cls(estimator, on_device(module, device), device)

    def take(self, rows):
        """Return the model for some rows of a batch.

        It is another one only if several models were put together, whose rows these
        are.
        """
        module = None if self.module is None else of_rows(self.module, rows)
        if module is self.module:
            return self
        twin = copy.copy(self)
        twin.module = module
        return twin

    @contextmanager
    def at_work(self, X, batch_size):
        """Get the module ready for the samples of one run, for one block.

        It gets them in the precision that it computes in, on its own copy if it writes
        to its input, and if it is small on one thread.
        """
        with ExitStack() as stack:
            if self.module is not None:
                n_rows = min(batch_size, len(X))
                stack.enter_context(threads_for(self.module, n_rows))
                probe = self._choose_dtype(X[:2])
                stack.enter_context(sparing_input(self.module, probe))
                if self.is_the_model:
                    self._check_classes_are_indices()
                else:
                    self._check_width(logits_at(self.module, probe))
            yield

    def _choose_dtype(self, X):
        dtypes = self._dtypes
        if isinstance(thawed(self.estimator), _OUR_NETWORKS):
            # So does its `predict`, whatever the network makes of that.
            dtypes = [torch.float32, *dtypes]
        probes = [as_tensor(X, device=self.device, dtype=dtype) for dtype in dtypes]
        if len(set(dtypes)) > 1:
            probes = [p for p in probes if _takes(self.module, p)] or probes
        self.dtype = probes[0].dtype
        return probes[0]

    def _check_width(self, logits):
        n_classes = len(self.classes)
        if logits.ndim != 2 or logits.shape[1] != n_classes:
            raise ValueError(
                f"The module must return one logit for each of the {n_classes} "
                f"classes. It returned shape {tuple(logits.shape)}."
            )

    def _check_classes_are_indices(self):
        # A skorch net answers with the index of a class, whatever the labels were.
        if not isinstance(thawed(self.estimator), _OUR_NETWORKS):
            self._known(np.arange(len(self.classes)))

    def classify(
        self, X: np.ndarray, keep_graph: bool = False
    ) -> tuple[np.ndarray, np.ndarray, "FirstLook | None"]:
        """Return the class of every sample as an index, its probability, and a look.

        With `keep_graph` the look spares the gradient at these samples its forward
        pass. Only a model that is a torch module can save that.
        """
        if len(X) == 0:
            return np.zeros(0, dtype=np.intp), np.zeros(0), None
        if self.is_the_model:
            return self._ask_the_module(X, keep_graph)
        prediction = self.predict(X)
        probabilities = self.probabilities(X)
        return prediction, probabilities[np.arange(len(X)), prediction], None

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Ask the estimator itself for the class of every sample, as an index."""
        # The data loader of a skorch net draws from torch's global stream.
        with torch.random.fork_rng(devices=[]):
            return self._known(self.estimator.predict(self._named(X)))

    def _known(self, labels):
        index = self.encode(labels)
        if (index < 0).any():
            name = type(thawed(self.estimator)).__name__
            raise ValueError(
                f"{name}.predict gives the label {labels[index < 0].tolist()[0]!r}, "
                f"which is not in its classes_, {self.classes.tolist()}. A network "
                "that answers with the index of a class needs the labels 0, 1, 2, ..."
            )
        return index

    def encode(self, labels):
        """Turn labels into indices of classes; -1 for one that is no class."""
        return places_of(labels, self.classes)

    def _ask_the_module(self, X, keep_graph):
        x = as_tensor(X, device=self.device, dtype=self.dtype)
        look = first_look(self.module, x) if keep_graph else None
        # A copy: `at_work` has seen two samples only, and a module may write to others.
        logits = as_array(look.logits if keep_graph else logits_at(self.module, x))
        self._check_width(logits)
        _check_finite(logits, "logits", X, self.dtype)
        prediction = logits.argmax(axis=1)
        best = logits[np.arange(len(X)), prediction]
        # The softmax of the largest logit.
        odds = np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)
        return prediction, 1 / odds, look

    def _named(self, X):
        """Copy X, as some models write to it, with the names of its columns.

        Without them a model that was fitted on a table would warn.
        """
        X = X.copy()
        names = getattr(self.estimator, "feature_names_in_", None)
        if names is None:
            return X
        import pandas as pd

        return pd.DataFrame(X, columns=names)

    def scores(self, X: np.ndarray) -> np.ndarray:
        """One number per class, in float64: the larger, the nearer `predict` is to it.

        The logits of the module if there is one, else the decision function, which
        still tells points apart where probabilities have become zero and one.
        """
        if self.module is not None:
            x = as_tensor(X, device=self.device, dtype=self.dtype)
            return as_array(logits_at(self.module, x)).astype(np.float64)
        if not hasattr(self.estimator, "decision_function"):
            return self.probabilities(X).astype(np.float64)
        scores = _decisions(self.estimator, self._named(X))
        if scores.shape[1] != len(self.classes):
            # None for a class, say. Without probabilities either it is refused.
            return self.probabilities(X).astype(np.float64)
        return scores.astype(np.float64)

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """Ask for the probability of every class; see `probabilities_of`."""
        return probabilities_of(self.estimator, self._named(X))


def probabilities_of(estimator: Any, X: Any) -> np.ndarray:
    """Probability of every class, or the softmax of the decision function.

    NaN if the model knows neither.
    """
    # The data loader of a skorch net draws from torch's global stream.
    with torch.random.fork_rng(devices=[]):
        if hasattr(estimator, "predict_proba"):
            probabilities = np.asarray(estimator.predict_proba(X))
            _check_finite(probabilities, "probabilities", X)
            return probabilities
        n_classes = len(estimator.classes_)
        if not hasattr(estimator, "decision_function"):
            return np.full((len(X), n_classes), np.nan)
        scores = _decisions(estimator, X)
        if scores.shape[1] != n_classes:
            name = type(thawed(estimator)).__name__
            raise ValueError(
                f"The decision function of {name} must have one column for each of "
                f"the {n_classes} classes. It has {scores.shape[1]}; wrap the "
                "model in CalibratedClassifierCV to give it probabilities."
            )
        return softmax(scores, axis=1)


def _decisions(estimator, X):
    """Ask the decision function: one column per class, where it can be told."""
    try:
        scores = np.array(estimator.decision_function(X))
    except IndexError as error:
        name = type(thawed(estimator)).__name__
        raise ValueError(
            f"The decision function of {name} cannot be computed: {error}. That of an "
            "SVC needs samples with a weight of each class; leave out classes that "
            "have none."
        ) from error
    _check_finite(scores, "decision function", X)
    n_classes = len(estimator.classes_)
    if scores.ndim == 1:
        scores = scores[:, np.newaxis]
        zeros = np.zeros_like(scores)
        return np.hstack([zeros, scores]) if n_classes == 2 else scores
    n_pairs = n_classes * (n_classes - 1) // 2
    if scores.shape[1] == n_pairs and _answers_by_pairs(estimator):
        return _ovr_decision_function(scores < 0, -scores, n_classes)
    return scores


def _answers_by_pairs(model):
    """Whether the decision function has one column for every pair of classes.

    Of three classes there are three pairs: the shape does not tell. Pipelines, searches
    and the like hand on what the last step answers; boosting makes scores of its own.
    """
    inside = ("best_estimator_", "final_estimator_", "estimator_")
    while not hasattr(model := thawed(model), "decision_function_shape"):
        names = [name for name in inside if hasattr(model, name)]
        if hasattr(model, "steps"):
            model = model.steps[-1][1]
        elif names and not isinstance(model, AdaBoostClassifier):
            model = getattr(model, names[0])
        else:
            return False
    return model.decision_function_shape == "ovo"


def _check_finite(values, what, X, dtype=None):
    finite = np.isfinite(values)
    if not finite.all():
        n_bad = (~finite.reshape(len(finite), -1).all(axis=1)).sum()
        largest = np.abs(np.asarray(X)).max()
        of_type = "" if dtype is None else f" as {dtype}"
        raise ValueError(
            f"The {what} of the model must be finite. Got NaN or infinity for "
            f"{n_bad} of {len(finite)} samples, where X has values up to {largest:.3g}"
            f"{of_type}."
        )


def _dtypes_of(module):
    """Floating types that a module may want its input in: those of its weights.

    The most precise comes first, so that no digit of the input is lost before a module
    that casts by itself; float32 if there are none.
    """
    found = {
        tensor.dtype: None
        for tensor in tensors_of(module)
        if tensor.is_floating_point()
    }
    return sorted(found, key=lambda t: torch.finfo(t).eps) or [torch.float32]


def _takes(module, samples):
    """Whether a module can be called with samples of this dtype."""
    try:
        with torch.no_grad():
            module(samples[:_N_PROBES].clone())
    except RuntimeError:
        return False
    return True


class FirstLook:
    """Logits at some points, kept with what is needed for a gradient there."""

    def __init__(self, points, logits):
        self.points, self.logits, self.rows = points, logits, None

    def take(self, rows):
        """Look at some samples only."""
        if len(rows) < len(self.points):
            self.rows = torch.from_numpy(rows).to(self.points.device)
            self.logits = self.logits.index_select(0, self.rows)
        return self

    def gradient_of(self, loss):
        """Return the gradient of a loss of the logits; can be asked for once."""
        gradient = None
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, self.points, allow_unused=True)
        if gradient is None:
            raise ValueError(
                "The output of the module has no gradient with respect to its input: "
                "its forward detaches it, runs inside torch.no_grad() or ignores it. "
                "Use an attack that needs no gradient, such as OnePixelAttack."
            )
        if 0 in gradient.stride():
            # Of a sum, say: one number for many entries, and steps write to each.
            gradient = gradient.contiguous()
        return gradient if self.rows is None else gradient.index_select(0, self.rows)


def first_look(module, points):
    """Call a module so that the gradient with respect to its input can follow.

    The points are never written to: torch refuses a module that does, and it is called
    again with a copy.
    """
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        try:
            logits = module(points)
        except RuntimeError as error:
            if "in-place operation" not in str(error):
                raise
            logits = module(points.clone())
        return FirstLook(points, logits)


def logits_at(module, points):
    """Logits without a gradient, of a copy that the module may write to."""
    with torch.no_grad():
        return module(points.clone())


@contextmanager
def undisturbed(module: torch.nn.Module, X: torch.Tensor) -> Iterator[torch.Tensor]:
    """Give the samples to an attack such that neither they nor the module change.

    The module is in eval mode in the meantime, and a caller's inference mode is left,
    as no gradient could follow what it touches.
    """
    with torch.inference_mode(False):
        X = X.clone() if X.is_inference() else X.detach()
        with evaluating(module), sparing_input(module, X):
            yield X


@contextmanager
def sparing_input(module: torch.nn.Module, samples: torch.Tensor) -> Iterator[None]:
    """Give a module that writes to its input a copy at every call, for one block.

    Any other module is called as it is. Its behavior is tried once per module, with the
    first samples.
    """
    if isinstance(module, NetworkUnion):
        # Two rows would be too few to try it, and it does.
        yield
        return
    if module not in _SPARES_INPUT:
        _SPARES_INPUT[module] = len(samples) == 0 or _spares_input(module, samples)
    if _SPARES_INPUT[module]:
        yield
        return
    hook = module.register_forward_pre_hook(
        lambda _, given: (given[0].clone(), *given[1:])
    )
    try:
        yield
    finally:
        hook.remove()


def _spares_input(module, samples):
    probe = samples[:_N_PROBES].detach().clone()
    before, version = probe.clone(), probe._version
    with torch.no_grad():
        module(probe)
    # What is written through numpy or `.data` has no version.
    return probe._version == version and torch.equal(probe, before)
