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


def check_fits(what: str, n_bytes: int, n_seeds: int, remedy: str) -> None:
    """Refuse states that do not fit the free memory, before they are made: XLA would end the process.

    Args:
        what: has the state.
        n_bytes: that the states of all seeds take.
        n_seeds: number of seeds.
        remedy: what to do if they do not fit.

    Raises:
        ValueError: telling how much there is.
    """
    free = available_memory()
    if n_bytes > free:
        raise ValueError(
            f"{what} takes {n_bytes / 1e9:,.1f} GB for {n_seeds} seed{'s' * (n_seeds != 1)}, expected at most the "
            f"{free / 1e9:,.1f} GB of memory that are free; {remedy}"
        )
