"""How much memory the device has left."""

from __future__ import annotations

import jax

from perdure.machine.process import free_memory


def available_memory() -> int:
    """Return the bytes that are free on the device, or for this process if the device computes in its memory."""
    statistics = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    return free_memory()
