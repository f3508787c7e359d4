"""What only a process of its own can tell: how soon it learns, how much memory it needs, what a setting is worth.

``python benchmarks/processes.py start`` ends once MER has learned its first examples; ``… memory M N`` prints the peak
memory, in bytes, of MER with a memory of M examples on a stream of N; ``… steps`` the microseconds of a step of MER.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from perdure.cli.jax_settings import configure_jax

DRAWN = 10
PIECEMEAL_LOOPS = {"XLA_FLAGS": "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=0"}
"""Environment under which a loop's operations are dispatched one by one, however small it is."""


def seconds_to_first_example() -> float:
    """Return the time from the start of a process to its first examples learned."""
    began = time.perf_counter()
    subprocess.run([sys.executable, __file__, "start"], check=True)
    return time.perf_counter() - began


def peak_bytes(memory_size: int, n_examples: int) -> int:
    """Return the peak memory of a process with a memory of `memory_size` examples, on a stream of `n_examples`."""
    return int(_printed("memory", str(memory_size), str(n_examples)))


def step_microseconds(**environment: str) -> float:
    """Return the time of an SGD step of MER with 10 memories drawn, with variables set for its process."""
    return float(_printed("steps", **environment))


def _printed(*arguments: str, **environment: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True).stdout


def _learn_first_examples() -> None:
    from perdure import BenchmarkRecipe, run

    class FirstExamplesLearned(Exception):
        pass

    def stop(_: object) -> None:
        raise FirstExamplesLearned

    try:
        run(_learner(500), BenchmarkRecipe("digits-rotations"), progress=stop)
    except FirstExamplesLearned:
        return


def _print_peak(memory_size: int, n_examples: int) -> None:
    import numpy as np

    from perdure import from_arrays, run
    from perdure.machine.process import peak_memory

    pixels = np.random.default_rng(0).integers(0, 256, (n_examples, 28, 28), dtype=np.uint8)
    labels = np.resize(np.arange(10, dtype=np.int32), n_examples)
    run(_learner(memory_size), from_arrays([(pixels, labels)], [(pixels[:100], labels[:100])]), progress=False)
    print(peak_memory())


def _print_step() -> None:
    import sides

    method = sides.mer(DRAWN, batches=5)
    ours = sides.Ours(method.learner, sides.made_up_stream(method.task_sizes), method.warm, n_seeds=1)
    print(1e6 * min(ours.seconds(method.n_ours) for _ in range(5)) / method.n_ours / method.steps)


def _learner(memory_size: int) -> Any:
    from perdure import MER

    return MER(0.1, memory_size, DRAWN, beta=0.01, gamma=1.0, batches_per_example=1)


def main() -> None:
    """Do what the command line asks for."""
    configure_jax()
    what, *sizes = sys.argv[1:]
    {"start": _learn_first_examples, "memory": _print_peak, "steps": _print_step}[what](*map(int, sizes))


if __name__ == "__main__":
    main()
