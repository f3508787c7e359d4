"""Values over a training as event files that TensorBoard reads, where tensorboardX is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from perdure.experiments.representations.job import LogStep


@contextmanager
def event_log(folder: Path) -> Iterator[LogStep]:
    """Write event files into a folder while a block runs; without tensorboardX (the extra `tensorboard`) nothing.

    Values that a training has logged after its last checkpoint, before it was stopped, are dropped when it logs again.
    """
    if find_spec("tensorboardX") is None:
        yield lambda step, values: None
        return
    from tensorboardX import SummaryWriter

    writer: SummaryWriter | None = None

    def log(step: int, values: Mapping[str, float]) -> None:
        nonlocal writer
        writer = writer or SummaryWriter(str(folder), purge_step=step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    try:
        yield log
    finally:
        if writer is not None:
            writer.close()
