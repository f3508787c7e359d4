"""What only a process of its own can tell: how soon it learns, and how much memory it needs.

``python benchmarks/processes.py start`` ends once MER has learned its first examples; ``… memory N`` prints the peak
memory, in bytes, of MER with a memory of N examples, all of them filled.
"""

from __future__ import annotations

import subprocess
import sys
import time

from perdure.cli.jax_settings import configure_jax

DRAWN = 10


def seconds_to_first_example() -> float:
    """Return the time from the start of a process to its first examples learned."""
    began = time.perf_counter()
    subprocess.run([sys.executable, __file__, "start"], check=True)
    return time.perf_counter() - began


def peak_bytes(memory_size: int) -> int:
    """Return the peak memory of a process that fills a memory of so many examples."""
    command = [sys.executable, __file__, "memory", str(memory_size)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Do what the command line asks for."""
    configure_jax()
    import numpy as np

    from perdure import MER, BenchmarkRecipe, from_arrays, run
    from perdure.experiments.process import peak_memory

    class FirstExamplesLearned(Exception):
        pass

    def stop(_: object) -> None:
        raise FirstExamplesLearned

    what, memory_size = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 500
    learner = MER(0.1, memory_size, DRAWN, beta=0.01, gamma=1.0, batches_per_example=1)
    if what == "start":
        try:
            run(learner, BenchmarkRecipe("digits-rotations"), progress=stop)
        except FirstExamplesLearned:
            return
    pixels = np.random.default_rng(0).integers(0, 256, (memory_size, 28, 28), dtype=np.uint8)
    labels = np.resize(np.arange(10, dtype=np.int32), memory_size)
    run(learner, from_arrays([(pixels, labels)], [(pixels[:100], labels[:100])]), progress=False)
    print(peak_memory())


if __name__ == "__main__":
    main()
