"""Record what every run of `small_runs.py` comes to: ``python tests/unchanged/record.py [CASE …]`` writes ``data/``.

A case has a folder: the Parquet tables of its run as they were written, and ``figures.json``, which holds other
figures whole, and shape, dtype, checksum and first values of every array of the run's state and safetensors files.
Arrays have no names there, so that a file may name them otherwise. ``machine.json`` holds what decides whether the same
run comes to the same bits. A folder ``another-processor`` in that of a case holds what the same code came to elsewhere,
where rounding flips an action. Record anew only where figures are meant to change; PERDURE_DATA must name the real
data.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from small_runs import CASES, Case

DATA = Path(__file__).parent / "data"
_LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "equinox", "optax", "scikit-learn", "pillow")


def machine() -> dict[str, Any]:
    """Return what decides whether a run comes to the same bits: processor, cores, devices, options, versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = " ".join(sorted(cpu.get("flags", cpu.get("Features", "")).split()))
    return {
        "processor": cpu.get("model name") or platform.processor(),
        "processor_family": [cpu.get("cpu family"), cpu.get("model"), cpu.get("stepping")],
        "processor_flags": hashlib.sha256(flags.encode()).hexdigest(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "devices": [it.device_kind for it in jax.devices()],
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
    }


def figures_of(case: Case, folder: Path) -> dict[str, Any]:
    """Run a case in a folder, where its tables are then, and return the content of its figures.json."""
    jax.config.update("jax_disable_most_optimizations", not case.optimized)
    try:
        outcome = case.run(folder)
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    arrays = [*outcome.arrays]
    for path in sorted(folder.glob("*.safetensors")):
        arrays += safetensors.numpy.load_file(path).values()
    return {
        "figures": {name: np.asarray(it).tolist() for name, it in outcome.figures.items()},
        "arrays": sorted(map(digest_of, arrays), key=lambda it: (it["dtype"], it["shape"], it["sha256"])),
    }


def digest_of(leaf: Any) -> dict[str, Any]:
    """Return an array's shape, dtype, checksum of its bytes and first values."""
    values = np.ascontiguousarray(np.asarray(leaf))
    return {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        "first": values.ravel()[:8].tolist(),
    }


def tables_in(folder: Path) -> dict[str, Path]:
    """Return the tables of a run by name."""
    return {path.name: path for path in sorted(folder.glob("*.parquet"))}


def _write_figures(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with a line for each figure and each array."""
    figures = ",\n".join(f"{json.dumps(name)}: {json.dumps(it)}" for name, it in content["figures"].items())
    arrays = ",\n".join(map(json.dumps, content["arrays"]))
    path.write_text(f'{{"figures": {{\n{figures}\n}},\n"arrays": [\n{arrays}\n]}}\n')


def main(names: list[str]) -> None:
    """Record the cases named, or all."""
    for name in names or CASES:
        began = time.monotonic()
        with TemporaryDirectory() as temporary:
            content = figures_of(CASES[name], Path(temporary))
            shutil.rmtree(DATA / name, ignore_errors=True)
            (DATA / name).mkdir(parents=True)
            for table, path in tables_in(Path(temporary)).items():
                shutil.copyfile(path, DATA / name / table)
        _write_figures(DATA / name / "figures.json", content)
        jax.clear_caches()
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    (DATA / "machine.json").write_text(json.dumps(machine(), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
