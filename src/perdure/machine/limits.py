"""Limits that the operating system puts on this process."""

from __future__ import annotations

import mmap
import resource

_NEEDED = 1536 * 2**20
"""Bytes of addresses that JAX and the libraries around it take while they load, at the very least."""
_LIMITS = {"RLIMIT_AS": "ulimit -v", "RLIMIT_DATA": "ulimit -d"}


def check_address_space() -> None:
    """Check that the limits on this process leave room to load JAX.

    Some libraries neither load nor fail where there is none: they try for minutes, deaf to signals.

    Raises:
        MemoryError: naming the limit.
    """
    for name, command in _LIMITS.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY and not _can_map(_NEEDED):
            raise MemoryError(
                f"this process may take {limit / 2**20:,.0f} MiB of memory ({command} {limit // 1024}), expected at least "
                f"{_NEEDED / 2**20:,.0f} MiB more than it has, to load JAX; raise the limit: {command} unlimited"
            )


def _can_map(size: int) -> bool:
    """Tell whether this process may map so many bytes more."""
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE).close()
    except OSError:
        return False
    return True
