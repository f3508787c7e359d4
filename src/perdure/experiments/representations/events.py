"""A training's curves as event files, which TensorBoard reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def event_log(folder: Path, first_step: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield what writes numbers by name, at a step, into an event file in the folder.

    Steps from `first_step` on that earlier event files in the folder hold no longer count. Without tensorboardX (the
    extra `tensorboard`) there is no event file.
    """
    if find_spec("tensorboardX") is None:
        yield lambda step, numbers: None
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder), purge_step=first_step) as writer:

        def write(step: int, numbers: Mapping[str, float]) -> None:
            for name, number in numbers.items():
                writer.add_scalar(name, number, step)

        yield write
