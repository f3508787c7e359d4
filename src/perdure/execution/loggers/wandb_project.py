"""Runs in Weights & Biases."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from perdure.execution.loggers.events import RunStart


class WandbLogger:
    """A run of Weights & Biases: its configuration, and values over `position`.

    Needs the extra `wandb`. WANDB_MODE=offline keeps everything in the folder `wandb` of the run's folder. A resumed
    run continues the same run.
    """

    name: ClassVar[str] = "wandb"

    def __init__(self, project: str | None = None, **options: Any):
        """Log to a project.

        Args:
            project: its name; None for $WANDB_PROJECT, or "perdure".
            options: others of `wandb.init`, such as `entity`, `tags` and `mode`.
        """
        self._options = {"project": project or os.environ.get("WANDB_PROJECT") or "perdure", **options}

    def start(self, run: RunStart) -> dict[str, Any]:
        """Open the run."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import wandb

            options = {"dir": run.folder, "name": run.label, "config": dict(run.config)} | self._options
            self._run = wandb.init(
                id=run.known.get("id"),
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off"),
                **options,
            )
            self._run.define_metric("*", step_metric="position")
        return {"id": self._run.id}

    def progress(self, position: int, values: Mapping[str, float]) -> None:
        """Log values."""
        self._run.log({**values, "position": position})

    evaluation = progress

    def end(self, status: str) -> None:
        """Close the run."""
        self._run.finish(exit_code=0 if status == "finished" else 1)
