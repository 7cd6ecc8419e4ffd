"""The populated regions of a model, as a scikit-learn estimator."""

import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
)
from sklearn.neural_network import MLPClassifier
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from robustkit._samples import flat_samples, is_stream, stream_batches
from robustkit._sklearn_private import HasMethods, Interval, _fit_context
from robustkit._summary import Report
from robustkit._tensors import as_tensor, resolve_device
from robustkit._validation import caller_depth
from robustkit.bridge import (
    TakesModel,
    check_feature_names,
    has_relu_units,
    image_shape_of,
    is_frozen,
    module_on,
    resolve_layers,
    thawed,
)
from robustkit.classifiers import (
    as_classifier,
    encode,
    fit_classifier,
    fit_on_stream,
    unfitted_classifier,
)
from robustkit.exceptions import NoReLUWarning
from robustkit.regions._counting import RegionCounts, RegionTable
from robustkit.regions._linear_pieces import describe_walls
from robustkit.regions._measures import (
    LayerCounter,
    complete_vectors,
    count_samples,
    prs_curve,
    region_words,
    sample_size_curve,
)


class PopulatedRegionScorer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, MetaEstimatorMixin, TakesModel
):
    """Count the regions of a network that its training samples use.

    The *region* of a sample is the pattern of a layer's units: which of them are
    greater than zero before their ReLU. The *populated regions* are those with at
    least one training sample, and the *PRS ratio* is their number over that of the
    samples [1]_. Near 1, every sample has a region of its own; near 0, samples share
    few.

    A low ratio is said to correlate with robustness. It also correlates with *gradient
    masking*, which only looks like robustness: read :meth:`report` with the diagnostics
    of an attack before believing either.

    Read more in the :ref:`User Guide <guide_regions>`.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module, default=None
        A classifier that :func:`~robustkit.bridge.as_module` understands; None is
        scikit-learn's MLPClassifier. It is cloned and fitted; a model already trained
        is passed as ``FrozenEstimator(model)``, or as the bare module, which is used as
        it is. The classes of a bare module are 0, 1, 2, ...

    layer : str, int or list of (str or int), default="penultimate"
        The layers whose units make the pattern: "penultimate", "logits", a name as in
        `named_modules()` of the network or of your own module in it, an index into its
        hidden layers, several of these, or "all" hidden layers. The layers of a sparse
        network are those of its graph, so "all" is the pattern of every vertex.

    batch_size : int, default=4096
        Number of samples per forward pass. It changes no result.

    device : str or torch.device, default="auto"
        Where the network runs; "auto" is CUDA where there is one, else the CPU.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.

    classes_ : ndarray of shape (n_classes,)
        Its classes.

    layers_ : list of str
        Names of the layers that make the pattern.

    n_samples_seen_ : int
        Samples counted since the last `fit`.

    n_regions_ : int
        Regions that hold at least one of them.

    prs_ratio_ : float
        ``n_regions_ / n_samples_seen_``, above 0 and at most 1.

    regions_ : DataFrame
        One row per region, by its number: `count`, the samples in it; `majority`, the
        class most of them belong to; `purity`, the share that does.

    major_regions_ : ndarray of shape (n_classes,)
        Each class's most frequent region; -1 while a class has no samples.

    major_region_shares_ : ndarray of shape (n_classes,)
        Share of each class's samples that lie there.

    major_region_vectors_ : ndarray of shape (n_classes, n_units)
        Mean activation of those samples. After :meth:`partial_fit` it is NaN for a
        class whose major region came only after thousands of others.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X has feature names.

    See Also
    --------
    count_regions : The same for given activations.
    PopulatedRegionRegularizer : Trains a network towards few regions.

    References
    ----------
    .. [1] Park, S., Jeong, H., Djanibekov, T., Jeon, G., Seol, J., & Choi, J. (2025).
       On the relationship between populated regions and adversarial robustness in deep
       neural networks. IEEE International Conference on Data Mining.
       https://doi.org/10.48550/arXiv.2207.03400

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.neural_network import MLPClassifier
    >>> from robustkit.regions import PopulatedRegionScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((8,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> scorer = PopulatedRegionScorer(FrozenEstimator(model.fit(X, y))).fit(X, y)
    >>> scorer.prs_ratio_ < 0.2
    True
    >>> scorer.regions_.loc[scorer.transform(X[:1])[0], "count"].item() > 1
    True
    """

    estimator_: Any
    classes_: NDArray
    layers_: list[str]
    n_samples_seen_: int
    n_regions_: int
    prs_ratio_: float
    major_regions_: NDArray
    major_region_shares_: NDArray
    major_region_vectors_: NDArray
    n_features_in_: int
    feature_names_in_: NDArray

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), torch.nn.Module, None],
        "layer": [str, Integral, list],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        layer: str | int | list = "penultimate",
        batch_size: int = 4096,
        device: str | torch.device = "auto",
    ) -> None:
        self.estimator = estimator
        self.layer = layer
        self.batch_size = batch_size
        self.device = device

    # The classifier validates its own parameters.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Fit a clone of the classifier and count the regions of its samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Training samples. Images are an array or tensor of shape (n_samples,
            channels, height, width); those of uint8 are divided by 255. A stream is a
            torch Dataset or DataLoader of pairs (X, y), which is read batch by batch.

        y : array-like of shape (n_samples,), default=None
            Their classes. None only where X is a stream.

        Returns
        -------
        self : object
            The fitted scorer.
        """
        try:
            if is_stream(X):
                self._count_stream(X, y, reset=True)
                self._refuse_empty(self.major_regions_ >= 0)
                self.major_region_vectors_ = self._complete_from_stream(X)
            else:
                rows, indices = self._start_or_go_on(X, y, reset=True)
                self._refuse_empty(np.isin(np.arange(len(self.classes_)), indices))
                samples, ids = self._count(rows, indices)
                self.major_region_vectors_ = complete_vectors(
                    self._counts,
                    *samples,
                    ids,
                    self.layers_,
                    batch_size=self.batch_size,
                )
        except BaseException:
            # Else partial_fit would count on from what was refused.
            if hasattr(self, "_counts"):
                del self._counts
            raise
        return self

    def _refuse_empty(self, has_samples):
        empty = self.classes_[~has_samples]
        if len(empty):
            raise ValueError(
                f"y has no sample of the classes {empty.tolist()}, so they have no "
                "major region. Pass samples of all classes, or use partial_fit, which "
                "waits for them."
            )

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Count the regions of more samples.

        The classifier is not trained further. The first call fits it if it is not
        frozen, to these samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Samples; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            Their classes. None only where X is a stream.

        Returns
        -------
        self : object
            The fitted scorer.
        """
        first = not hasattr(self, "_counts")
        if is_stream(X):
            self._count_stream(X, y, reset=first)
        else:
            self._count(*self._start_or_go_on(X, y, reset=first))
        self.major_region_vectors_ = self._counts.major_vectors()
        return self

    def _count_stream(self, stream, y, *, reset):
        for X, labels in stream_batches(stream, y, batch_size=self.batch_size):
            self._count(*self._start_or_go_on(X, labels, reset=reset, stream=stream))
            reset = False

    def _start_or_go_on(self, X, y, *, reset=False, stream=None):
        """Check samples; with the first ones, fit the model and begin to count.

        Returns the samples, and the indices of their classes.
        """
        given, image_shape = flat_samples(X, None if reset else image_shape_of(self))
        X, y = self._check(given, y, reset=reset)
        if reset:
            self._image_shape = image_shape
            self._start(given, X, y, image_shape, stream)
        return X, encode(self.estimator_, y)

    def _complete_from_stream(self, stream):
        """Read a stream again for major regions whose samples were not kept track of.

        That is what `complete_vectors` does with samples in memory.
        """
        vectors, majors = self._counts.major_vectors(), self.major_regions_
        missing = np.flatnonzero(np.isnan(vectors).any(axis=1))
        if len(missing) == 0:
            return vectors
        of_region = {label: RegionCounts(1) for label in missing}
        for X, labels in stream_batches(stream, batch_size=self.batch_size):
            X, indices = self._start_or_go_on(X, labels)
            ids = self._counts.look_up(self._words(self.estimator_, X, self.layers_))
            for label, counts in of_region.items():
                there = X[(indices == label) & (ids == majors[label])]
                if len(there):
                    count_samples(
                        counts,
                        self._module(self.estimator_, there),
                        as_tensor(there),
                        torch.zeros(len(there), dtype=torch.int64),
                        self.layers_,
                        batch_size=self.batch_size,
                    )
        for label, counts in of_region.items():
            vectors[label] = counts.major_vectors()[0]
        return vectors

    def _check(self, X, y, *, reset):
        X, y = validate_data(self, X, y, dtype=np.float32, reset=reset)
        check_classification_targets(y)
        return X, column_or_1d(y)

    def _start(self, given, X, y, image_shape, stream):
        """Fit the classifier and begin with nothing counted."""
        model = MLPClassifier() if self.estimator is None else self.estimator
        # It gets the data as given, with the names of their columns, and may write to
        # them, as StandardScaler(copy=False) does.
        if not is_frozen(model) and hasattr(given, "copy"):
            given = given.copy()
        model = unfitted_classifier(
            model, given, y, owner=self, image_shape=image_shape
        )
        if stream is None:
            model = fit_classifier(model, given, y, image_shape=image_shape)
        else:
            model = fit_on_stream(model, stream, given, y, image_shape=image_shape)
        self.estimator_, self.classes_ = model, model.classes_
        module = self._module(self.estimator_, X)
        self.layers_ = resolve_layers(module, self.layer)
        _warn_without_relu(module, self.estimator_)
        self._counts = RegionCounts(len(self.classes_))
        self._n_features_out = 1

    def _count(
        self, X: NDArray, indices: NDArray
    ) -> tuple[tuple[torch.nn.Module, torch.Tensor, torch.Tensor], NDArray]:
        counts, module = self._counts, self._module(self.estimator_, X)
        samples = module, as_tensor(X), torch.from_numpy(indices)
        ids = count_samples(counts, *samples, self.layers_, batch_size=self.batch_size)
        self.n_samples_seen_ = counts.n_samples
        self.n_regions_ = counts.n_regions
        self.prs_ratio_ = self.n_regions_ / self.n_samples_seen_
        self.major_regions_ = counts.major_regions()
        self.major_region_shares_ = counts.major_shares()
        return samples, ids

    def _module(self, estimator, X):
        return module_on(estimator, X, resolve_device(self.device))

    def _words(self, estimator, X, names):
        module = self._module(estimator, X)
        return region_words(module, as_tensor(X), names, batch_size=self.batch_size)

    @property
    def regions_(self) -> pd.DataFrame:
        """One row per region: `count`, `majority` and `purity`."""
        # Made on access: a stream would make it anew for every piece.
        check_is_fitted(self)
        counts, majority, of_majority = self._counts.by_region()
        return pd.DataFrame(
            {
                "count": counts,
                "majority": self.classes_[majority],
                "purity": of_majority / counts,
            },
            index=pd.RangeIndex(len(counts), name="region"),
        )

    def transform(self, X: ArrayLike) -> NDArray:
        """Find the region of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        Returns
        -------
        ids : ndarray of shape (n_samples, 1), dtype=int64
            Number of the region, a row of `regions_`; -1 where no training sample
            lies.
        """
        return self._look_up(X)[:, np.newaxis]

    def _look_up(self, X):
        X = self._rows(X)
        return self._counts.look_up(self._words(self.estimator_, X, self.layers_))

    def _rows(self, X):
        check_is_fitted(self)
        if is_stream(X):
            raise TypeError(
                f"transform returns one number for every sample and takes no "
                f"{type(X).__name__}, whose samples need not fit into memory. Use "
                "report, score or inclusion_ratio, or call transform with its batches."
            )
        X, _ = flat_samples(X, image_shape_of(self))
        return validate_data(self, X, dtype=np.float32, reset=False)

    def _pieces(self, X):
        """Yield the samples as they are, or batch by batch where X is a stream."""
        check_is_fitted(self)
        if is_stream(X):
            batches = stream_batches(X, batch_size=self.batch_size)
            yield from (self._rows(samples) for samples, _ in batches)
        else:
            yield self._rows(X)

    def inclusion_ratio(self, X: ArrayLike) -> float:
        """Compute the share of samples that lie in regions of training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Samples, such as a test set; see :meth:`fit`.

        Returns
        -------
        ratio : float
            Between 0 and 1.
        """
        known = [self._look_up(rows) >= 0 for rows in self._pieces(X)]
        return float(np.mean(np.concatenate(known)))

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Compute 1 - PRS ratio of some samples under the fitted model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Samples; see :meth:`fit`. A ratio depends on how many there are: compare
            equal numbers.

        y : array-like of shape (n_samples,), default=None
            Ignored.

        Returns
        -------
        score : float
            At least 0 and below 1; higher means fewer regions.
        """
        check_is_fitted(self)
        return self._one_minus_ratio(self.estimator_, self._pieces(X), self.layers_)

    def __call__(self, estimator: Any, X: ArrayLike, y: Any = None) -> float:
        """Compute 1 - PRS ratio of some samples under another model.

        So the scorer, fitted or not, can be passed as `scoring=`.

        Parameters
        ----------
        estimator : estimator or torch.nn.Module
            A fitted classifier, or a trained module.

        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            Ignored.

        Returns
        -------
        score : float
            At least 0 and below 1; higher means fewer regions.
        """
        given, image_shape = flat_samples(X)
        X = check_array(given, dtype=np.float32)
        check_feature_names(estimator, given)
        estimator = as_classifier(estimator, X, image_shape=image_shape)
        module = self._module(estimator, X)
        _warn_without_relu(module, estimator)
        return self._one_minus_ratio(estimator, [X], resolve_layers(module, self.layer))

    def _one_minus_ratio(self, estimator, pieces, names):
        table, n_samples = None, 0
        for X in pieces:
            words = self._words(estimator, X, names)
            table = RegionTable(words.shape[1]) if table is None else table
            table.add(words)
            n_samples += len(X)
        return 1.0 - table.n_regions / n_samples

    def layer_report(
        self, X: ArrayLike, X_test: ArrayLike | None = None
    ) -> pd.DataFrame:
        """Measure each hidden layer by itself, all of them in one pass.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Samples; see :meth:`fit`.

        X_test : array-like of shape (n_test_samples, n_features), images, or a \
                stream, default=None
            Other samples, which are looked up among the regions of X.

        Returns
        -------
        table : DataFrame
            One row per hidden layer: `n_units`; `alive_units`, those that are greater
            than zero for some sample; `active_units`, how many are greater than zero
            for one sample, on average; `n_regions` and `prs_ratio`; `entropy` of the
            samples over the regions, in nats, at most ``log(n_samples)``; and with
            `X_test` its `inclusion_ratio`, the share in regions of X.
        """
        counter: Any = None
        for rows in self._pieces(X):
            module = self._module(self.estimator_, rows)
            if counter is None:
                counter = LayerCounter(resolve_layers(module, "all"))
            counter.add(module, as_tensor(rows), batch_size=self.batch_size)
        for rows in () if X_test is None else self._pieces(X_test):
            module = self._module(self.estimator_, rows)
            counter.look_up(module, as_tensor(rows), batch_size=self.batch_size)
        return counter.table()

    def sample_size_curve(self, sizes: ArrayLike | None = None) -> pd.DataFrame:
        """Estimate how the ratio depends on the number of samples, and what is unseen.

        Parameters
        ----------
        sizes : array-like of int, default=None
            Numbers of samples, from 1 to `n_samples_seen_`. By default the powers of
            two, and all.

        Returns
        -------
        curve : DataFrame
            One row per number of samples, all of them averages over the subsets of so
            many: `n_regions` and `prs_ratio`; `coverage`, the estimated probability
            that the next sample lies in a region that was met (Good and Turing);
            `chao1`, the estimated number of regions, met or not, and its 95 % interval
            from `chao1_low` to `chao1_high`, all NaN for a single sample.

        Notes
        -----
        Chao1 is a lower bound, and an estimate only where all regions are met equally
        often [1]_. While it still grows with the number of samples, most regions have
        not been met.

        References
        ----------
        .. [1] Chao, A. (1987). Estimating the population size for capture-recapture
           data with unequal catchability. Biometrics, 43(4), 783-791.
           https://doi.org/10.2307/2531532
        """
        check_is_fitted(self)
        if sizes is not None:
            sizes = check_array(
                sizes, ensure_2d=False, dtype="numeric", input_name="sizes"
            )
            n_seen = self.n_samples_seen_
            is_good = sizes.dtype.kind in "iu" and sizes.ndim == 1
            if not (is_good and sizes.min() >= 1 and sizes.max() <= n_seen):
                raise ValueError(
                    f"'sizes' must hold integers from 1 to n_samples_seen_={n_seen}. "
                    f"Got {sizes.tolist()} instead."
                )
        return sample_size_curve(self._counts.by_region()[0], sizes)

    def report(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        diagnostics: Any = None,
        walls: Any = False,
    ) -> pd.Series:
        """Report how many regions some samples use, and what qualifies that number.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or a stream
            Samples, the training samples or others; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            Their classes. None only where X is a stream.

        diagnostics : object or mapping, default=None
            A fitted attack on the same model, whose ``report(X, y)`` is added, with
            its signs of gradient masking; or a mapping from names to such figures.

        walls : bool or object, default=False
            Whether to measure how far the samples are from the walls of their regions,
            those of all hidden layers; see :func:`wall_distances`. A fitted attack on
            the same model, such as :class:`~robustkit.attacks.MinimalDistanceAttack`,
            also tells on which side of the wall the nearest error lies. Not for a
            stream.

        Returns
        -------
        report : Series
            `n_samples`, `n_regions` and `prs_ratio` of X; `inclusion_ratio`, the share
            in regions of training samples; `major_share`, the share in the major
            region of their class; `prs_ratio[n=...]`, the ratio that a subset of X has
            on average, since ratios of different numbers of samples cannot be
            compared; for each hidden layer `prs_ratio[layer]`, `n_units[layer]`,
            `alive_units[layer]` and `active_units[layer]`, as in :meth:`layer_report`.
            With `walls`, the medians `wall_linf` and `wall_l2` over the samples; with
            an attack, over those that it turned, the median `regions_to_error` that the
            segment to the error crosses, and the share `error_in_own_region`.
        """
        check_is_fitted(self)
        batches = ((X, y),)
        if is_stream(X):
            batches = stream_batches(X, y, batch_size=self.batch_size)
        table: Any = None
        layers: Any = None
        ids, known, homes = [], [], []
        for samples, labels in batches:
            rows, indices = self._start_or_go_on(samples, labels)
            module = self._module(self.estimator_, rows)
            words = self._words(self.estimator_, rows, self.layers_)
            if table is None:
                table = RegionTable(words.shape[1])
                layers = LayerCounter(resolve_layers(module, "all"))
            ids.append(table.add(words))
            known.append(self._counts.look_up(words))
            homes.append(self.major_regions_[indices])
            layers.add(module, as_tensor(rows), batch_size=self.batch_size)
        counts, known = np.bincount(np.concatenate(ids)), np.concatenate(known)
        entries = {
            "n_samples": len(known),
            "n_regions": table.n_regions,
            "prs_ratio": table.n_regions / len(known),
            "inclusion_ratio": float(np.mean(known >= 0)),
            "major_share": float(np.mean(known == np.concatenate(homes))),
        }
        for size, ratio in prs_curve(counts).items():
            entries[f"prs_ratio[n={size}]"] = ratio
        for layer, row in layers.table().astype(object).iterrows():
            for measure in ("prs_ratio", "n_units", "alive_units", "active_units"):
                entries[f"{measure}[{layer}]"] = row[measure]
        if walls is not False:
            entries |= self._walls(X, y, None if walls is True else walls)
        found = _diagnose(diagnostics, X, y)
        return Report({**entries, **found}, name="regions", dtype=object)

    def _walls(self, X, y, attack):
        if is_stream(X):
            raise ValueError("'walls' needs the samples as an array. Got a stream.")
        if attack is not None and not hasattr(attack, "perturb"):
            raise TypeError(
                "The 'walls' parameter must be a bool, or an attack with a method "
                f"perturb. Got {attack!r} instead."
            )
        rows = self._rows(X)
        if attack is None:
            return describe_walls(self.estimator_, rows)
        result = attack.perturb(X, y)
        errors = self._rows(result.X_adv)
        return describe_walls(self.estimator_, rows, errors, result.success)

    def _facts(self) -> dict[str, Any]:
        regions = self.regions_
        return {
            "model": type(thawed(self.estimator_)).__name__,
            "layers": ", ".join(self.layers_),
            "samples": self.n_samples_seen_,
            "regions": self.n_regions_,
            "PRS ratio": self.prs_ratio_,
            "largest region": int(regions["count"].max()),
            "median purity": float(regions["purity"].median()),
        }

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_counts")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _warn_without_relu(module, estimator):
    if not has_relu_units(module):
        warnings.warn(
            f"No unit of {type(estimator).__name__} is a ReLU module. Where a unit "
            "has no kink at zero, the sign of its input is a convention, and says "
            "nothing about the linear pieces of the network.",
            NoReLUWarning,
            stacklevel=caller_depth(),
        )


def _diagnose(diagnostics, X, y):
    if diagnostics is None:
        return {}
    if hasattr(diagnostics, "report"):
        diagnostics = diagnostics.report(X, y)
    if not isinstance(diagnostics, Mapping | pd.Series):
        raise TypeError(
            "The 'diagnostics' parameter must be an attack with a method report, or a "
            f"mapping from names to figures. Got {diagnostics!r} instead."
        )
    return dict(diagnostics)
