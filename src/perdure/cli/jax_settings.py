"""How JAX compiles for the command line."""

from __future__ import annotations

import os

from platformdirs import user_cache_path

from perdure.machine.cores import usable_cpus

_WHOLE_LOOPS = "xla_backend_extra_options"
_SIZE = "JAX_COMPILATION_CACHE_MAX_SIZE"
_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_DEFAULTS = {
    _FOLDER: str(user_cache_path("perdure") / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}


def configure_jax() -> None:
    """Make each core a device, keep compiled programs in the user's cache folder, compile small loops whole.

    Must come before JAX is imported. Variables that the user has set stay as they are, and a folder for compiled
    programs that the user has chosen is not kept within a size: JAX fails to do that where other programs write that do
    not. A run divides its seeds among the devices. A loop over small arrays, such as a chain of SGD steps, does without
    a dispatch for each operation on CPU if it is compiled whole.
    """
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(usable_cpus()))
    if _FOLDER not in os.environ:
        os.environ.setdefault(_SIZE, str(2**30))  # bytes; what has not been used for longest goes first
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    flags = os.environ.get("XLA_FLAGS", "")
    if _WHOLE_LOOPS not in flags:
        loops = f"--{_WHOLE_LOOPS}=xla_cpu_small_while_loop_byte_threshold=2000000"
        os.environ["XLA_FLAGS"] = f"{flags} {loops}".strip()
