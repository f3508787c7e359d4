"""The stream that each library learns, and what is measured of it. Needs NumPy alone."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Task(NamedTuple):
    """A task as arrays: x of shape (examples, 784) from 0 to 1, y of shape (examples,)."""

    x: Any
    y: Any
    test_x: Any
    test_y: Any


class Clock:
    """CPU seconds of this process, of all its threads, within `running` blocks."""

    seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what is done within."""
        began = time.process_time()
        yield
        self.seconds += time.process_time() - began


def read_tasks(path: Path) -> list[Task]:
    """Return the tasks in a file that `run.py` has written."""
    with np.load(path) as arrays:
        return [Task(*(arrays[f"{name}-{task}"] for name in Task._fields)) for task in range(len(arrays.files) // 4)]


def arguments(methods: Sequence[str]) -> argparse.Namespace:
    """Return what `run.py` has given: stream, method, its hyper-parameters as JSON, and a clone if one is needed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("stream", type=Path)
    parser.add_argument("method", choices=methods)
    parser.add_argument("values", type=json.loads)
    parser.add_argument("--clone", type=Path)
    return parser.parse_args()


def report(
    tasks: Sequence[Task],
    learn: Callable[[int, Task], object],
    classify: Callable[[int, Any], Any],
    clock: Clock,
) -> None:
    """Learn task after task, and print the accuracies and the time of an example as JSON.

    Args:
        tasks: of the stream.
        learn: learns the training examples of a task.
        classify: returns the classes of test inputs of a task.
        clock: which `learn` runs.
    """
    learned = []
    for number, task in enumerate(tasks):
        learn(number, task)
        learned.append(_accuracy(classify, number, task))
    retained = [_accuracy(classify, number, task) for number, task in enumerate(tasks)]
    found = {
        "cpu_ms": 1000 * clock.seconds / sum(len(task.y) for task in tasks),
        "learned": float(np.mean(learned)),
        "retained": float(np.mean(retained)),
    }
    print(json.dumps(found))


def _accuracy(classify: Callable[[int, Any], Any], number: int, task: Task) -> float:
    return float(np.mean(np.asarray(classify(number, task.test_x)) == task.test_y))
