"""Runs in MLflow."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from perdure.execution.loggers.events import RunStart
from perdure.records.folder import flatten

_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""A run waits for a server that is lost for seconds, not for the minutes that MLflow would."""
_TALKATIVE = ("mlflow.store.db.utils", "alembic.runtime.migration")
"""What logs each step of making a local store."""
_MAX_PARAMETERS = 100
_MAX_LENGTH = 500
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflowLogger:
    """A run of an MLflow experiment: configuration as parameters, values as metrics over positions.

    Needs the extra `mlflow`. A resumed run continues the same run of MLflow, and logs no value twice.
    """

    name: ClassVar[str] = "mlflow"

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None):
        """Log to a store.

        Args:
            tracking_uri: of a server or local store; None for $MLFLOW_TRACKING_URI, or MLflow's own default.
            experiment: its name; None for $MLFLOW_EXPERIMENT_NAME, or "perdure".
        """
        self._uri = tracking_uri
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "perdure"

    def start(self, run: RunStart) -> dict[str, Any]:
        """Open the run."""
        with _quiet():
            from mlflow.tracking import MlflowClient

            for name in _TALKATIVE:
                logging.getLogger(name).setLevel(logging.WARNING)
            self._client = client = MlflowClient(tracking_uri=self._uri)
            self._run = run.known.get("run_id") or self._new_run(run)
            if run.known:
                client.update_run(self._run, status="RUNNING")
            self._logged = self._last_positions()
        return {"run_id": self._run}

    def progress(self, position: int, values: Mapping[str, float]) -> None:
        """Log metrics."""
        with _quiet():
            from mlflow.entities import Metric

            now = int(1000 * time.time())
            metrics = [
                Metric(name, value, now, position)
                for name, value in values.items()
                if position > self._logged.get(name, -1)
            ]
            self._client.log_batch(self._run, metrics=metrics)

    evaluation = progress

    def end(self, status: str) -> None:
        """Close the run."""
        with _quiet():
            self._client.set_terminated(self._run, status=_STATUS[status])

    def _last_positions(self) -> dict[str, int]:
        """Return the last position of each metric: a run that was killed has logged beyond its last checkpoint."""
        names = self._client.get_run(self._run).data.metrics
        return {name: max(it.step for it in self._client.get_metric_history(self._run, name)) for name in names}

    def _new_run(self, run: RunStart) -> str:
        from mlflow.entities import Param

        known = self._client.get_experiment_by_name(self._experiment)
        experiment = self._client.create_experiment(self._experiment) if known is None else known.experiment_id
        run_id = self._client.create_run(experiment, run_name=run.label).info.run_id
        parameters = [Param(name, str(it)[:_MAX_LENGTH]) for name, it in flatten(dict(run.config)).items()]
        if parameters:
            self._client.log_batch(run_id, params=parameters[:_MAX_PARAMETERS])
        return run_id


@contextmanager
def _quiet() -> Iterator[None]:
    """Let MLflow neither wait for long nor warn of its own."""
    added = {name: value for name, value in _IMPATIENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)
