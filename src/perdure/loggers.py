"""Loggers as objects, for `loggers=` of `run`, `run_agent` and trainings, which take their names too, as "csv".

A logger is any object with one or more of these methods; those that it lacks are left out:

* `start(run)`, a `RunStart`: before the first unit, or the first after a resumption;
* `progress(position, values)`: about once a second, what the last stretch has measured;
* `evaluation(position, values)`: what an evaluation has measured;
* `checkpoint(position, path)`: after each checkpoint;
* `end(status)`: `"finished"`, `"stopped"` after a request to stop, or `"failed"`.

`position` counts examples, frames or steps; `values` are numbers by name. A logger that fails is left out from then
on, with a warning; the run continues.
"""

from perdure.execution.loggers.events import RunStart
from perdure.execution.loggers.files import CSVLogger, JSONLinesLogger, TensorBoardLogger
from perdure.execution.loggers.mlflow_store import MLflowLogger
from perdure.execution.loggers.wandb_project import WandbLogger

__all__ = ["CSVLogger", "JSONLinesLogger", "MLflowLogger", "RunStart", "TensorBoardLogger", "WandbLogger"]
