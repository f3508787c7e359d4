"""What the pool's workers do in its tests; they import it by this name."""

import json
import os
import signal
import time

from perdure.execution.progress import ProgressUpdate
from perdure.machine.signals import InterruptedRunError, StopRequests


def note(path, watch):
    """Leave on record which process this is, what it may use, and when it began and ended."""
    began = time.time()
    watch(ProgressUpdate(1, 2, 10.0))
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    time.sleep(0.1)
    path.write_text(json.dumps({"pid": os.getpid(), "cores": cores, "began": began, "ended": time.time()}))


def fail(folder, watch):
    raise KeyError("nothing here")


def die(folder, watch):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(folder, watch):
    os._exit(3)


def work_until_stopped(path, watch):
    """Work as a run does: note a stop request, save, raise."""
    with StopRequests() as stop:
        path.with_suffix(".began").touch()
        while stop.received is None:
            time.sleep(0.02)
            watch(ProgressUpdate(1, 2, 10.0))
    path.write_text("saved")
    raise InterruptedRunError("stopped at example 1", stop.received)


def beat(path, watch):
    """Leave a sign of life now and then, for ever."""
    while True:
        time.sleep(0.02)
        with path.open("a") as file:
            file.write(".")
        watch(ProgressUpdate(1, 2, 10.0))


def beat_silently(path, watch):
    """Leave a sign of life now and then, for ever, and report nothing, as in the middle of a compilation."""
    while True:
        time.sleep(0.02)
        with path.open("a") as file:
            file.write(".")


def count_up(folder, watch):
    """Count from where the folder has it, a step every tenth of a second; log where each beginning was."""
    folder.mkdir(parents=True, exist_ok=True)
    count = folder / "count"
    start = int(count.read_text()) if count.exists() else 0
    with (folder / "beginnings").open("a") as file:
        file.write(f"{start} {os.getpid()}\n")
    for n in range(start + 1, 41):
        time.sleep(0.1)
        partial = folder / "count.new"
        partial.write_text(str(n))
        partial.replace(count)
        watch(ProgressUpdate(n, 40, 10.0))
