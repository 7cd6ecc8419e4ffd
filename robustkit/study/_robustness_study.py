"""Train many models, attack each, look inside, and correlate.

The path of a study: `_plan` says what is trained, `_run` hands it out, `_train` trains,
`_measure` attacks and looks inside, `_store` keeps every row, `_table` correlates.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from robustkit._randomness import draw_seed, draw_seeds
from robustkit._sklearn_private import HasMethods, Interval, StrOptions, _fit_context
from robustkit._summary import HTMLSummaryMixin, facts_as_html, table_as_html
from robustkit._tensors import resolve_device
from robustkit._validation import caller_depth, check_magnitude
from robustkit.classifiers import check_classes
from robustkit.correlation import RobustnessCorrelator
from robustkit.study._config import parse, read_config, write_config
from robustkit.study._kept_models import (
    add_measure,
    added_to,
    check_keeps,
    mark_folder,
    models_kept,
    with_added,
)
from robustkit.study._measure import Recipe, check_attacks, make_recipe
from robustkit.study._plan import (
    POPULATIONS,
    Data,
    Design,
    Task,
    check_design,
    hold_out_test,
)
from robustkit.study._run import StudyProgress, choose_engine, execute
from robustkit.study._store import Store, canonical
from robustkit.study._table import columns_of, correlate, is_undertrained, table_of
from robustkit.study.report import strongest_rows, write_report

__all__ = ["RobustnessStudy"]


class RobustnessStudy(HTMLSummaryMixin, BaseEstimator):
    """Train many networks, attack each, and report what correlates with robustness.

    Graphs are drawn from a prior; each becomes a network, trained once from every
    initialisation. Every network is measured with three lenses, its graph, its
    populated regions and the shape of its activations, and attacked. The result is one
    table, one row per model, and the correlations between its columns.

    Every finished model is kept in `store` at once. A study that was stopped, by
    whatever, goes on where it was when `fit` is called again with the same parameters
    and data, and ends with the table that it would have had. Several processes may work
    on one store, and joblib hands the work to other machines. A study can be written
    in TOML: see :meth:`from_config`.

    Read more in the :ref:`User Guide <guide_study>`.

    Parameters
    ----------
    estimator : SparseNetClassifier or PrunedNetClassifier, default=None
        The network to train: a classifier with the parameters `prior` and `init`, or,
        with ``population="pruning"``, one that prunes. None is the default of either.

    param_space : dict, default=None
        What varies from graph to graph: names as in ``estimator.get_params()``, such as
        "prior__n_nodes", to lists or distributions. Of lists, the points of their grid
        are taken in a random order, round after round, with a fresh seed each time; a
        distribution (anything with a method `rvs`) makes every point a draw of its own.
        None varies size and rewiring of small graphs; nothing in a study of pruning.

    population : {"graphs", "pruning"}, default="graphs"
        "graphs": random graphs. "pruning": dense networks that lose their inner weights
        step by step; the dense network and every step are models of the table.

    n_graphs : int, default=100
        How many graphs; in a study of pruning, how many dense networks.

    inits : sequence of str, default=("glorot_normal", "glorot_uniform", "he_normal", \
            "he_uniform", "normal", "uniform")
        Initialisations from each of which every graph is trained once.

    n_seeds : int, default=1
        How often each graph is trained from each initialisation: with so many seeds,
        the same for all graphs and initialisations. So what the seed does can be told
        from what the initialisation does, and from the graph. Pruned networks have
        seeds of their own.

    n_parameters : pair of int, default=None
        Keep only graphs whose network has at least so many and at most so many
        parameters. None keeps all.

    extra : bool, default=False
        Whether to measure the extra properties of every graph as well: small worlds,
        curvature, spectra and others of
        :func:`~robustkit.graphs.graph_properties`.

    walls : int, default=0
        Of how many test samples, the first ones that a model gets right, to measure the
        nearest walls of their linear regions: the medians `wall_linf` and `wall_l2` of
        the distance, the median `regions_to_error` of the regions that the segment to
        the nearest error crosses, and `error_in_own_region`, the share of samples whose
        nearest error lies in their own region. 0 measures none. See
        :func:`~robustkit.regions.wall_distances`.

    attacks : dict, default=None
        Name -> attack, such as ``{"fgsm": FGSMAttack(eps=0.1)}``; the study sets its
        `estimator`. ``(attack, 100)`` attacks the first 100 test samples that a model
        gets right. None is FGSM and PGD at eps 0.1, and FGSM with growing eps.

    analyses : dict, default=None
        Name -> PopulatedRegionScorer, MapperGraph (of the logits of the training
        samples) or a function ``(model, X, y, X_test, y_test) -> dict`` of numbers,
        which may not write into the arrays. ``(MapperGraph(eps=0.2), "scaled")`` takes
        the logits in units of their median length, so that one `eps` suits networks
        of any scale. None is one of each of the first two, called "regions" and
        "mapper", the latter with 40 intervals.

    correlator : RobustnessCorrelator, default=None
        Correlates properties with measures. None is one with 500 bootstrap samples.

    max_accuracy_gap : float, default=None
        Models whose clean accuracy is further than this below the median of all models
        are under-trained: they are left out of what is correlated, and listed in the
        report. None leaves none out.

    store : str or path-like, default=None
        Folder in which finished models are kept, made if it is not there. None keeps
        them in memory until `fit` ends.

    keep_models : bool, default=False
        Whether to keep the trained networks themselves, one file each in the
        safetensors format, in a folder beside the store. Then :meth:`measure` adds
        columns to a finished study. Workers on other machines must share that folder.

    engine : {"auto", "single", "batched"}, default="auto"
        "single" trains and attacks one network at a time, "batched" as many together as
        memory allows, with equal results up to rounding. "auto" is "batched" where the
        estimator permits it; on a CPU it then makes groups of at most 16 networks that
        are always the same ones, so that the table is the same, whatever `n_jobs` is.

    n_jobs : int, default=None
        Processes. None is 1 unless in a :obj:`joblib.parallel_config` context, -1 all
        processors. Each computes with one thread.

    device : str or torch.device, default="auto"
        Where models are trained and attacked; "auto" is CUDA where there is one. Parts
        that name a device of their own keep it.

    verbose : int, default=0
        1 shows how far the study is, 2 also prints a line for every finished model.

    random_state : int, RandomState instance or None, default=None
        Draws graphs, weights, the order of the samples, the samples held out and the
        random starts of attacks. Pass an int for the same table on every call. With
        None, a store remembers what was drawn.

    Attributes
    ----------
    results_ : DataFrame
        One row per model: `model`, `graph`, `init`, `seed`, `graph_seed` (and `step` of
        a study of pruning); the parameters that vary; `n_parameters` and the properties
        of the graph; what the analyses found; `clean_accuracy`, `f1_macro` and what the
        attacks report, each under its name; `seconds_...`, `version_...`, `device`,
        `engine`, and `error`, empty unless training failed.

    columns_ : Bunch
        Which columns are what: `parameters`, `properties` and `measures`.

    correlator_ : RobustnessCorrelator
        Fitted to the properties and measures that say something of their own.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names that
        are all strings.

    See Also
    --------
    robustkit.correlation.RobustnessCorrelator : Correlates a table that you have.
    robustkit.classifiers.fit_many : Trains networks together.

    Notes
    -----
    All graphs share the seed of an initialisation: they see the samples in the same
    order, so that what differs between them is the graph. It also makes a model
    independent of what else is trained, when, where and together with which others.

    A model whose weights do not stay finite has a row with the reason in `error` and
    nothing measured; the study goes on.

    Examples
    --------
    >>> from robustkit.classifiers import SparseNetClassifier
    >>> from robustkit.datasets import load_digits_images
    >>> from robustkit.study import RobustnessStudy
    >>> X, y = load_digits_images(return_X_y=True)
    >>> study = RobustnessStudy(
    ...     SparseNetClassifier(max_epochs=2, lr=0.01),
    ...     {"prior__n_nodes": [30, 60, 90]},
    ...     n_graphs=6,
    ...     inits=["he_normal", "uniform"],
    ...     random_state=0,
    ... ).fit(X, y)
    >>> study.results_[["model", "graph", "init", "prior__n_nodes"]].head(3)
       model  graph       init  prior__n_nodes
    0      0      0  he_normal              90
    1      1      0    uniform              90
    2      2      1  he_normal              60
    >>> table = study.correlator_.correlations_
    >>> bool(table["measure"].isin(["fgsm_error_rate"]).any())
    True
    """

    results_: pd.DataFrame
    columns_: Bunch
    correlator_: RobustnessCorrelator
    n_features_in_: int
    feature_names_in_: NDArray

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "param_space": [dict, None],
        "population": [StrOptions(set(POPULATIONS))],
        "n_graphs": [Interval(Integral, 1, None, closed="left")],
        "inits": ["array-like"],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "n_parameters": ["array-like", None],
        "extra": ["boolean"],
        "walls": [Interval(Integral, 0, None, closed="left")],
        "attacks": [dict, None],
        "analyses": [dict, None],
        "correlator": [HasMethods(["fit"]), None],
        "max_accuracy_gap": [Interval(Real, 0, 1, closed="right"), None],
        "store": [str, HasMethods(["__fspath__"]), None],
        "keep_models": ["boolean"],
        "engine": [StrOptions({"auto", "single", "batched"})],
        "n_jobs": [Integral, None],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        param_space: Mapping[str, Any] | None = None,
        *,
        population: str = "graphs",
        n_graphs: int = 100,
        inits: Sequence[str] = (
            "glorot_normal",
            "glorot_uniform",
            "he_normal",
            "he_uniform",
            "normal",
            "uniform",
        ),
        n_seeds: int = 1,
        n_parameters: tuple[int, int] | None = None,
        extra: bool = False,
        walls: int = 0,
        attacks: Mapping[str, Any] | None = None,
        analyses: Mapping[str, Any] | None = None,
        correlator: RobustnessCorrelator | None = None,
        max_accuracy_gap: float | None = None,
        store: str | os.PathLike | None = None,
        keep_models: bool = False,
        engine: str = "auto",
        n_jobs: int | None = None,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.param_space = param_space
        self.population = population
        self.n_graphs = n_graphs
        self.inits = inits
        self.n_seeds = n_seeds
        self.n_parameters = n_parameters
        self.extra = extra
        self.walls = walls
        self.attacks = attacks
        self.analyses = analyses
        self.correlator = correlator
        self.max_accuracy_gap = max_accuracy_gap
        self.store = store
        self.keep_models = keep_models
        self.engine = engine
        self.n_jobs = n_jobs
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    # The estimators inside validate their own parameters.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
    ) -> RobustnessStudy:
        """Train, attack and analyse all models that are not in the store yet.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Their classes.

        X_test : array-like of shape (n_test_samples, n_features), default=None
            Samples that are attacked. None holds out a fifth of the training samples.

        y_test : array-like of shape (n_test_samples,), default=None
            Their classes.

        Returns
        -------
        self : object
            The fitted study.
        """
        self.__dict__.pop("correlator_", None)
        design = check_design(self)
        models = None
        if self.keep_models:
            models = check_keeps(self.store, design.population)
        given = self._check_data(X, y, X_test, y_test)
        store = Store(self.store)
        data, recipe_seed = self._begin(store, design, given)
        if self.keep_models:
            mark_folder(store)
        engine = choose_engine(self.engine, design)
        recipe = make_recipe(
            design,
            seed=recipe_seed,
            device=self.device,
            engine=engine,
            models=models,
        )
        try:
            self._execute(store, recipe, data)
        finally:
            # Also if it was interrupted: what is there can be looked at.
            self._tabulate(store)
        self.correlator_ = self._correlate()
        return self

    def _begin(self, store: Store, design: Design, given: tuple) -> tuple[Data, int]:
        """Open the store; return the data, and the seed of what measures models."""
        seed = self._seed(store)
        split_seed, recipe_seed, plan_seed = draw_seeds(seed, 3)
        X, y, X_test, y_test = given
        data = (
            hold_out_test(X, y, split_seed)
            if X_test is None
            else Data(X, y, X_test, y_test)
        )
        self._population = design.population
        self._tasks = self._population.tasks(design, data.shape, plan_seed)
        self._open(store, design, seed, given, data)
        # Before hours of training, if they are of another study.
        added_to(store)
        return data, recipe_seed

    def measure(
        self,
        attacks: Mapping[str, Any],
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
    ) -> RobustnessStudy:
        """Attack the models of a finished study once more, without new training.

        Parameters
        ----------
        attacks : dict
            As the parameter `attacks`, under names that are new. The columns are those
            that a study would have with these attacks behind its own.

        X : array-like of shape (n_samples, n_features)
            The training samples of the study.

        y : array-like of shape (n_samples,)
            Their classes.

        X_test : array-like of shape (n_test_samples, n_features), default=None
            The samples that the study attacks, if it was given some.

        y_test : array-like of shape (n_test_samples,), default=None
            Their classes.

        Returns
        -------
        self : object
            With the new columns in `results_`. They are kept beside the store, where
            :meth:`fit` and :meth:`from_store` find them as well.
        """
        design, attacks = check_design(self), check_attacks(attacks)
        check_keeps(self.store, design.population)
        known = {*design.attacks, *design.analyses}
        for name in attacks:
            if name in known:
                raise ValueError(
                    f"The study has measured {name!r} already. Give what is new "
                    "another name."
                )
        given = self._check_data(X, y, X_test, y_test)
        store = Store(self.store, must_exist=True)
        data, seed = self._begin(store, design, given)
        tasks = models_kept(store, self._tasks, self._population)
        # Seeded as if they had been there, behind the others, from the first.
        whole = replace(design, attacks={**design.attacks, **attacks})
        recipe = make_recipe(whole, seed=seed, device=self.device, engine="single")
        for name in attacks:
            add_measure(store, name, recipe, tasks, data, n_jobs=self.n_jobs)
        self._tabulate(store)
        self.correlator_ = self._correlate()
        return self

    def _correlate(self) -> RobustnessCorrelator:
        table = self.results_
        left_out = is_undertrained(table, self.max_accuracy_gap)
        try:
            return correlate(table[~left_out], self.columns_, self.correlator)
        except ValueError as error:
            if not left_out.any():
                raise
            raise ValueError(
                f"{error} {left_out.sum()} more are under-trained: their clean "
                f"accuracy is more than max_accuracy_gap={self.max_accuracy_gap:g} "
                "below the median."
            ) from error

    def _check_data(self, X, y, X_test, y_test):
        resolve_device(self.device)
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        check_classes(self, np.unique(y))
        check_magnitude(X)
        if (X_test is None) != (y_test is None):
            raise ValueError("Pass both of X_test and y_test, or none of them.")
        if X_test is not None:
            X_test = validate_data(
                self, X_test, dtype=np.float32, order="C", reset=False
            )
            y_test = column_or_1d(y_test)
            check_consistent_length(X_test, y_test)
            unknown = np.setdiff1d(y_test, y)
            if len(unknown):
                raise ValueError(f"y_test holds {unknown.tolist()}, which y does not.")
            check_magnitude(X_test, "X_test")
        return X, y, X_test, y_test

    def _seed(self, store: Store) -> int:
        """Draw the seed of the study; unless it is an int, the store remembers it."""
        seed = draw_seed(self.random_state)
        if isinstance(self.random_state, Integral):
            return seed
        first = store.keep_first("seed", seed)
        # What an instance draws here must be what it drew there: else the store says
        # that it belongs to another study.
        return first if self.random_state is None else seed

    def _open(
        self, store: Store, design: Design, seed: int, given: tuple, data: Data
    ) -> None:
        """Write into the store what the study is, or make sure that it is this one."""
        names = ("X", "y", "X_test", "y_test")
        identity = {
            "estimator": design.population.estimator,
            "population": self.population,
            "param_space": design.param_space,
            "n_graphs": self.n_graphs,
            "inits": design.inits,
            "n_parameters": design.n_parameters,
            "attacks": design.attacks,
            "analyses": design.analyses,
            # In the words of whoever called, who may read them in an error.
            "random_state": (
                self.random_state if isinstance(self.random_state, Integral) else seed
            ),
            "data": dict(zip(names, given, strict=True)),
        }
        # Only where they are used: there are stores older than these parameters.
        if design.extra:
            identity["extra"] = True
        if design.walls:
            identity["walls"] = int(design.walls)
        if design.n_seeds > 1:
            identity["n_seeds"] = design.n_seeds
        identity = canonical(identity)
        n_models = len(self._tasks) * design.population.rows_per_task
        settings = {**identity, "data": data.sizes(), "n_models": n_models}
        store.open_study(identity=identity, settings=settings)
        if store.path is not None:
            self._keep_config(store)

    def _keep_config(self, store: Store) -> None:
        try:
            store.keep_first("config", write_config(self))
        except ValueError as error:
            # Of parts that only Python has. The study goes on without.
            store.keep_first("no_config", str(error))

    def _execute(self, store: Store, recipe: Recipe, data: Data) -> None:
        n_models = len(self._tasks) * self._population.rows_per_task
        progress = StudyProgress(n_models, store.n_models(), self.verbose)
        try:
            with progress:
                execute(
                    store,
                    self._tasks,
                    recipe,
                    data,
                    n_jobs=self.n_jobs,
                    in_small_groups=self._trains_in_small_groups(),
                    # Another process may add models to the store as well.
                    watch=lambda: progress.update(store.n_models()),
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped(progress)) from None

    def _trains_in_small_groups(self) -> bool:
        on_gpu = resolve_device(self.device).type == "cuda"
        return self.engine == "auto" and not on_gpu

    def _stopped(self, progress: StudyProgress) -> str:
        done = f"{progress.n_done:,} of {progress.n_models:,} models are done"
        if self.store is None:
            return f"{done} and in results_. Only a study with a 'store' can go on."
        return (
            f"{done} and safe in {self.store}. To continue, call fit again with the "
            "same parameters and data."
        )

    def _tabulate(self, store: Store) -> None:
        rows = with_added(store)
        self.results_ = table_of(rows)
        self.columns_ = columns_of(rows)
        self._settings = {**store.read("settings"), "command": store.read("command")}

    @classmethod
    def from_config(cls, path: str | os.PathLike) -> RobustnessStudy:
        """Make a study from a TOML file.

        Its keys are the parameters of the study; tables name classes of robustkit and
        scikit-learn. ``robustkit study FILE.toml`` carries such a file out.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        study : RobustnessStudy
            Not fitted. A table ``[data]`` is left to the command line.
        """
        return cls(**read_config(Path(path)).params())

    def to_config(self, path: str | os.PathLike) -> Path:
        """Write the study as a TOML file, with every parameter of every part of it.

        So it stays the same study where another version has other defaults. Parts that
        only Python has, such as functions, are refused.

        Parameters
        ----------
        path : str or path-like
            The file; an existing one is replaced.

        Returns
        -------
        path : Path
            The file.
        """
        text = write_config(self, for_store=False)
        path = Path(path)
        path.write_text(text, "utf-8")
        return path

    @classmethod
    def from_store(
        cls,
        store: str | os.PathLike,
        *,
        correlator: RobustnessCorrelator | None = None,
    ) -> RobustnessStudy:
        """Read a study from its store, whatever part of it is finished.

        Parameters
        ----------
        store : str or path-like
            The folder that `store` named when the study was carried out.

        correlator : RobustnessCorrelator, default=None
            In place of the one of the study.

        Returns
        -------
        study : RobustnessStudy
            With `results_`, `columns_` and `correlator_`, and able to write its
            report. Its parameters are those of the store, unless that holds parts that
            only Python has: to go on training, call `fit` with the data.
        """
        opened = Store(store, must_exist=True)
        study = cls(**_stored_params(opened)).set_params(store=store)
        if correlator is not None:
            study.set_params(correlator=correlator)
        study._tabulate(opened)
        study.correlator_ = study._correlate()
        return study

    def rebuild(self, model: int) -> Any:
        """Make the classifier of one row anew.

        Parameters
        ----------
        model : int
            Its number in `results_`.

        Returns
        -------
        classifier : estimator
            Not fitted. Fitted to the training samples of the study, it is the model
            that was measured, up to rounding if that was trained with others.
        """
        check_is_fitted(self)
        task = self._task_of(model)
        return self._population.build_model(task, model)

    def _task_of(self, model: int) -> Task:
        if not hasattr(self, "_tasks"):
            raise ValueError(
                "A study that was read from a store cannot rebuild models. Call fit "
                "with the parameters and the data of the study."
            )
        known = self.results_["model"].tolist()
        if model not in known:
            raise ValueError(
                f"model must be one of the {len(known)} numbers in results_, from "
                f"{min(known)} to {max(known)}. Got {model!r} instead."
            )
        return max(
            (task for task in self._tasks if task.model <= model),
            key=lambda task: task.model,
        )

    def report(self, path: str | os.PathLike) -> Path:
        """Write one HTML file with the tables and figures of the study.

        Parameters
        ----------
        path : str or path-like
            The file; one that is there is replaced.

        Returns
        -------
        path : Path
            The file.
        """
        check_is_fitted(self)
        return write_report(
            self.results_,
            self.columns_,
            # There is none if the study was interrupted.
            getattr(self, "correlator_", None),
            path,
            settings=self._settings | {"max_accuracy_gap": self.max_accuracy_gap},
            undertrained=is_undertrained(self.results_, self.max_accuracy_gap),
        )

    def _html_summary(self) -> str:
        """How far it is, and the head of its findings."""
        n_done = len(self.results_)
        facts = {
            "models": f"{n_done:,} of {self._settings.get('n_models', n_done):,}",
            "graphs": self.results_["graph"].nunique() if n_done else 0,
            "not measured": int(self.results_["error"].astype(bool).sum())
            if n_done
            else 0,
        }
        correlator = getattr(self, "correlator_", None)
        if correlator is None:
            return facts_as_html(facts) + "<div>Nothing is correlated yet.</div>"
        rows = strongest_rows(correlator, 5)
        if not rows:
            told = "No property varies together with a measure of robustness."
            return facts_as_html(facts) + f"<div>{told}</div>"
        n_models = int(correlator.correlations_["n"].max())
        header = ["property", "measure", "coefficient", "interval", "adjusted p"]
        told = (
            f"The strongest correlations ({correlator.method_}, n = {n_models:,} "
            "models or graphs; * significant):"
        )
        few = "" if n_models >= 6 else " These are few: train six graphs or more."
        table = table_as_html(header, rows)
        return f"{facts_as_html(facts)}<div>{told}{few}</div>{table}"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _stored_params(store: Store) -> dict[str, Any]:
    """Parameters of the study that a store belongs to, as far as it holds them."""
    text = store.read("config")
    try:
        return {} if text is None else parse(text, str(store.path)).params()
    except ValueError as error:
        # Such as a class that is gone. Results can be read all the same.
        warnings.warn(
            f"The study cannot be continued: {error}", stacklevel=caller_depth()
        )
        return {}
