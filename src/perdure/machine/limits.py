"""Limits that the operating system puts on this process."""

from __future__ import annotations

import resource
from typing import NamedTuple


class _Limit(NamedTuple):
    name: str
    command: str
    """What shows and sets it in a shell, in KiB."""
    numpy: int
    """MiB that NumPy, PyArrow and matplotlib take of it."""
    jax: int
    """MiB that JAX takes of it with them."""


_LIMITS = (_Limit("RLIMIT_AS", "ulimit -v", 320, 1792), _Limit("RLIMIT_DATA", "ulimit -d", 120, 512))
"""As measured on two cores, rounded down: less is never enough."""


def check_memory_limits(*, jax: bool) -> None:
    """Check that the limits on this process leave room to load the numerical libraries, and JAX if requested.

    Where there is none, some of them neither load nor fail: they try again for minutes, deaf to every signal.

    Raises:
        MemoryError: naming the limit.
    """
    for name, command, for_numpy, for_jax in _LIMITS:
        given = resource.getrlimit(getattr(resource, name))[0]
        needed = for_jax if jax else for_numpy
        if given != resource.RLIM_INFINITY and given < needed * 2**20:
            library = "JAX" if jax else "NumPy"
            raise MemoryError(
                f"this process may take only {given / 2**20:,.0f} MiB of memory ({command} is {given // 1024}), "
                f"expected at least {needed:,} MiB to load {library}; start it from a shell without this limit"
            )
