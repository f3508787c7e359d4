"""What is to be measured on an accelerator: ``python benchmarks/accelerator.py [--out FOLDER] [--quick] [PART …]``.

| part       | what                                                                                                |
| ---------- | --------------------------------------------------------------------------------------------------- |
| `kernel`   | a step of MER as one kernel, as chains of products, and in general form, for 1 to 256 seeds at once |
| `mer`      | all runs of the tables of MER with five seeds, and the time of one seed                             |
| `frames`   | frames a second of agents that see pictures of 84 × 84 and of 42 × 42                               |
| `features` | a training of a representation on pictures of 84 × 84, 200 steps of it                              |

Each part is a process of its own, whose output goes into FOLDER (`accelerator` unless it is given). Typed again, the
command resumes `mer` and `features` where they were. `accelerator.json` there has devices, versions, commands, seconds
and how each part ended. A part that fails does not stop the others. On a machine without an accelerator it refuses,
unless ``--quick`` asks for a rehearsal: everything small. MNIST and Omniglot are needed: ``perdure data fetch``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from perdure.models import MLP
from perdure.updates import sequential
from perdure.updates.fused import fused_chain

PARTS = ("kernel", "mer", "frames", "features")
SEEDS = (1, 5, 32, 256)
DRAWN, BATCHES, EXAMPLES = 10, 5, 20
"""Of MER as published for MNIST rotations: memories drawn (k − 1), batches an example (s); examples to measure on."""


class Command(NamedTuple):
    """What one part runs."""

    part: str
    arguments: list[str]


def commands(parts: Sequence[str], out: Path, *, quick: bool) -> list[Command]:
    """Return what the parts run, in order."""
    perdure, here = [sys.executable, "-m", "perdure"], Path(__file__).parent
    small = ["--quick"] if quick else []
    seconds = "1" if quick else "30"
    training = ["sine", "--steps", "2"] if quick else ["omniglot", "--size", "paper", "--steps", "200"]
    all_of_them = [
        Command("kernel", [sys.executable, __file__, "--out", str(out), *small, "--measure-kernel"]),
        # One process at a time: each would take the whole memory of the accelerator.
        Command(
            "mer",
            [*perdure, "reproduce", "mer", *(small or ["--seeds", "5"]), "--workers", "1", "--out", str(out / "mer")],
        ),
        Command("frames", [sys.executable, str(here / "frames.py"), seconds, "fast"]),
        Command("features", [*perdure, "features", "train", *training, "--out", str(out / "features")]),
    ]
    return [it for it in all_of_them if it.part in parts]


def run_commands(chosen: Sequence[Command], out: Path) -> dict[str, Any]:
    """Run commands one after another; return what came of them, which is also in accelerator.json."""
    found: dict[str, Any] = {
        "devices": [str(it.device_kind) for it in jax.devices()],
        "versions": versions(),
        "parts": {},
    }
    for part, arguments in chosen:
        typed, began = shlex.join(arguments), time.perf_counter()
        print(f"{part}: {typed}", flush=True)
        with (out / f"{part}.txt").open("w") as log:
            status = subprocess.run(arguments, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        took = time.perf_counter() - began
        found["parts"][part] = {"command": typed, "status": status, "seconds": round(took, 1)}
        (out / "accelerator.json").write_text(json.dumps(found, indent=2) + "\n")
        print(f"{part}: {'done' if status == 0 else f'failed with status {status}'} after {took:,.0f} s", flush=True)
    return found


def versions() -> dict[str, str]:
    """Return versions of what decides speed."""
    return {name: version(name) for name in ("perdure", "jax", "jaxlib")}


def measure_kernel(*, quick: bool) -> list[dict[str, Any]]:
    """Return for each number of seeds the microseconds of an SGD step of MER in each form, and how far they differ."""
    return [_forms(n, 2 if quick else 10) for n in (SEEDS[:2] if quick else SEEDS)]


def _forms(n_seeds: int, repeats: int) -> dict[str, Any]:
    rng, k = np.random.default_rng(0), DRAWN + 1
    shape = (EXAMPLES, BATCHES, k)
    x = jnp.asarray(rng.integers(0, 256, (n_seeds, *shape, 28, 28)), jnp.uint8)
    y = jnp.asarray(rng.integers(0, 10, (n_seeds, *shape)), jnp.int32)
    models = jax.vmap(lambda key: MLP(784, 10, key=key))(jax.random.split(jax.random.key(0), n_seeds))
    forms = {
        "general": (sequential.general_meta_steps, sequential.chain),
        "chain": (sequential.gram_meta_steps, sequential.chain),
        "kernel": (sequential.gram_meta_steps, fused_chain),
    }
    found: dict[str, Any] = {"seeds": n_seeds}
    expected = None
    for name, (form, chain) in forms.items():
        try:
            learned, seconds = _timed(_learning(form, chain), (models, x, y), repeats)
        except Exception as error:  # what a compiler for accelerators refuses is a finding, and the other forms count
            found[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            continue
        leaves = [np.asarray(it) for it in jax.tree.leaves(learned)]
        expected = expected or leaves
        found[name] = 1e6 * seconds / (n_seeds * np.prod(shape))
        found[f"{name}, largest difference"] = max(
            float(np.abs(a - b).max()) for a, b in zip(leaves, expected, strict=True)
        )
    return found


def _learning(form: Callable[..., Any], chain: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that learns one example after another, for all seeds at once."""
    rates = jnp.full((BATCHES, DRAWN + 1), 0.03)

    def learn(model: Any, x: Any, y: Any) -> Any:
        return jax.lax.scan(lambda model, batch: (form(model, *batch, rates, 0.03), None), model, (x, y))[0]

    def with_chain(*arguments: Any) -> Any:
        kept, sequential.chain = sequential.chain, chain
        try:
            return jax.vmap(learn)(*arguments)
        finally:
            sequential.chain = kept

    return with_chain


def _timed(function: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> tuple[Any, float]:
    """Return what a function returns, and the least time that it takes once compiled."""
    program = jax.jit(function).lower(*arguments).compile()
    least, result = float("inf"), None
    for _ in range(repeats):
        began = time.perf_counter()
        result = jax.block_until_ready(program(*arguments))
        least = min(least, time.perf_counter() - began)
    return result, least


def main(given: Sequence[str] | None = None) -> int:
    """Do what the command line asks for, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=Path("accelerator"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure-kernel", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if unknown := [it for it in options.parts if it not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}; choose among {', '.join(PARTS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.measure_kernel:
        rows = measure_kernel(quick=options.quick)
        (options.out / "kernel.json").write_text(json.dumps(rows, indent=2) + "\n")
        print(json.dumps(rows, indent=2))
        return 0
    if jax.default_backend() == "cpu" and not options.quick:
        parser.error(
            "JAX finds no accelerator here; install perdure[cuda12] or perdure[cuda13] on a machine that has one, or "
            "rehearse with --quick"
        )
    found = run_commands(commands(options.parts or PARTS, options.out, quick=options.quick), options.out)
    return int(any(it["status"] for it in found["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
