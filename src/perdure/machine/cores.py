"""The processor's cores: which there are, and which a process gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def own_cores() -> frozenset[int]:
    """Return the cores that this process may use, empty where the operating system does not say."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def usable_cpus() -> int:
    """Return the number of cores that this process may use."""
    return len(own_cores()) or os.cpu_count() or 1


def shares(workers: int) -> list[frozenset[int]]:
    """Return the cores of each worker, empty where the operating system does not say; workers may have to share."""
    cores = sorted(own_cores())
    if not cores:
        return [frozenset()] * workers
    return [frozenset(cores[place::workers]) or frozenset({cores[place % len(cores)]}) for place in range(workers)]


@contextmanager
def only(cores: frozenset[int]) -> Iterator[None]:
    """Leave this thread, and the processes that it starts, only some of its cores while a block runs.

    JAX makes a device of each core in those processes, or fewer if the user has set JAX_NUM_CPU_DEVICES to fewer.
    """
    if not cores:
        yield
        return
    before = own_cores()
    devices = os.environ.get("JAX_NUM_CPU_DEVICES")
    os.sched_setaffinity(0, cores)
    os.environ["JAX_NUM_CPU_DEVICES"] = str(min(len(cores), int(devices or len(cores))))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        del os.environ["JAX_NUM_CPU_DEVICES"]
        if devices is not None:
            os.environ["JAX_NUM_CPU_DEVICES"] = devices
