"""A scikit-learn callback that logs training to MLflow."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

__all__ = ["MLflowCallback"]

# What MLflow keeps of a parameter.
_LONGEST = 6000


class MLflowCallback:
    """Log every training of a classifier to MLflow, epoch by epoch.

    Each call of `fit` is a run: its parameters, and after every epoch the training loss
    and, with early stopping, the validation accuracy. If a run of MLflow is active when
    `fit` is called, the new one is its child. A training that fails is a failed run.

    It is a callback of scikit-learn: ``classifier.set_callbacks(MLflowCallback())``,
    also of a classifier inside a grid search. It needs the package `mlflow`
    (``pip install robustkit[mlflow]``).

    Read more in the :ref:`User Guide <guide_classifiers>`.

    Parameters
    ----------
    tracking_uri : str, default=None
        Where MLflow keeps runs: a server or a folder. None is what MLflow is set to.

    experiment : str, default=None
        Name of the experiment, which is made if there is none. None is that of the
        active run, or else MLflow's default.

    Attributes
    ----------
    run_ids_ : list of str
        The runs that were made, in order.

    See Also
    --------
    SparseNetClassifier : Has `set_callbacks`, as all classifiers here.

    Notes
    -----
    scikit-learn calls its callbacks experimental.

    Examples
    --------
    >>> from robustkit.classifiers import MLflowCallback, MLPNetClassifier
    >>> net = MLPNetClassifier(max_epochs=5)
    >>> net = net.set_callbacks(MLflowCallback(experiment="robustkit"))
    """

    run_ids_: list[str]

    def __init__(
        self, *, tracking_uri: str | None = None, experiment: str | None = None
    ) -> None:
        self.tracking_uri, self.experiment = tracking_uri, experiment
        self.run_ids_ = []
        # Classifier -> its run, and whether its training came to its end.
        self._runs: dict[Any, str] = {}
        self._has_ended: set[Any] = set()

    def setup(self, estimator: BaseEstimator, context: Any) -> None:
        """Start a run, and log the parameters.

        Parameters
        ----------
        estimator : estimator
            What begins to be fitted.

        context : CallbackContext
            Where in the fit this is.
        """
        from mlflow.entities import Param

        run_id = self._runs[estimator] = self._new_run(type(estimator).__name__)
        self.run_ids_.append(run_id)
        params = [
            Param(name, str(value)[:_LONGEST])
            for name, value in estimator.get_params(deep=True).items()
            # Their own parameters are there.
            if not hasattr(value, "get_params")
        ]
        self._client().log_batch(run_id, params=params)

    def on_fit_task_begin(self, estimator: BaseEstimator, context: Any) -> None:
        """Do nothing.

        Parameters
        ----------
        estimator : estimator
            What is fitted.

        context : CallbackContext
            Where in the fit this is.
        """

    def on_fit_task_end(self, estimator: BaseEstimator, context: Any) -> None:
        """Log the loss and the score of an epoch.

        Parameters
        ----------
        estimator : estimator
            What is fitted.

        context : CallbackContext
            Where in the fit this is.
        """
        if context is getattr(estimator, "_callback_fit_ctx", None):
            self._has_ended.add(estimator)
        if context.task_name != "epoch":
            return
        found = {"loss": estimator.loss_curve_[-1]}
        if scores := getattr(estimator, "validation_scores_", None):
            found["validation_accuracy"] = scores[-1]
        for name, value in found.items():
            self._client().log_metric(
                self._runs[estimator], name, value, step=estimator.n_iter_
            )

    def teardown(self, estimator: BaseEstimator, context: Any) -> None:
        """End the run.

        Parameters
        ----------
        estimator : estimator
            What was fitted.

        context : CallbackContext
            Where in the fit this is.
        """
        status = "FINISHED" if estimator in self._has_ended else "FAILED"
        self._has_ended.discard(estimator)
        self._client().set_terminated(self._runs.pop(estimator), status)

    def _client(self) -> Any:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise ImportError(
                "MLflowCallback needs mlflow: pip install robustkit[mlflow]"
            ) from error
        return MlflowClient(self.tracking_uri)

    def _new_run(self, name: str) -> str:
        client = self._client()
        import mlflow
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        outer = mlflow.active_run()
        where = outer.info.experiment_id if outer else "0"
        if self.experiment is not None:
            known = client.get_experiment_by_name(self.experiment)
            where = (
                known.experiment_id
                if known
                else client.create_experiment(self.experiment)
            )
        tags = {MLFLOW_PARENT_RUN_ID: outer.info.run_id} if outer else {}
        return client.create_run(where, tags=tags, run_name=name).info.run_id

    def __getstate__(self) -> dict[str, Any]:
        # Of a copy that trains in another process.
        return {**self.__dict__, "_runs": {}, "_has_ended": set()}
