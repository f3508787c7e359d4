"""What the operating system knows of this process."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
"""The control group (version 2) of a container's processes."""


def free_memory() -> int:
    """Return the bytes that this process may still take: what the machine has, or its container or own limit leaves.

    All memory of the machine where the operating system does not tell what is free.
    """
    return min(_free_of_machine(), _free_of_limit())


def _free_of_limit() -> int:
    """Return the bytes of address space that the process may still take (`ulimit -v`)."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or not _STATUS.exists():
        return sys.maxsize
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return max(0, most - 1024 * int(lines["VmSize"].split()[0]))


def _free_of_machine() -> int:
    if not _MEMINFO.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    free = 1024 * int(lines["MemAvailable"].split()[0])
    limit = _CGROUP / "memory.max"  # outside of containers there is none
    if limit.exists() and (most := limit.read_text().strip()) != "max":
        parts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # Cached files count as taken, but give way; the machine's figure has them among what is available too.
        taken = int((_CGROUP / "memory.current").read_text()) - int(parts["inactive_file"])
        free = min(free, max(0, int(most) - taken))
    return free


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    On Linux the kernel's own figure for the program; what `getrusage` tells there may still be that of the process
    which started it.
    """
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
