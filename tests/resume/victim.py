"""A run to be killed: `victim.py FOLDER [CACHE]` learns into FOLDER, compiled programs kept in CACHE."""

import sys
from pathlib import Path

import jax
import numpy as np

import perdure.experiments.supervised.run as running
from perdure.learners.mer import MER
from perdure.models import MLP
from perdure.streams.arrays import from_arrays

TASKS, EXAMPLES, CLASSES = 3, 300, 4
LEARNER = MER(learning_rate=0.03, memory_size=150, replay_batch_size=20, beta=0.1, gamma=0.5, batches_per_example=10)


def small_mlp(example, n_outputs, key):
    return MLP(example.x.size, n_outputs, (32, 32), key=key)


def noisy_templates():
    """Tasks of their own templates, one a class, in noise: something that can be learned and forgotten."""
    rng = np.random.default_rng(0)

    def draw(templates, n):
        y = rng.integers(0, CLASSES, n).astype(np.int32)
        return (templates[y] + rng.integers(0, 128, (n, 8, 8))).astype(np.uint8), y

    tasks = [rng.integers(0, 128, (CLASSES, 8, 8)) for _ in range(TASKS)]
    train = [draw(templates, EXAMPLES) for templates in tasks]
    test = [draw(templates, 97) for templates in tasks]
    return from_arrays(train, test, name="noisy-templates", n_outputs=CLASSES)


def main(folder: Path, cache: str | None = None) -> None:
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    running._FIRST_CHUNK, running._CHUNK_SECONDS = 1, 0.0  # a chunk of one example, then a checkpoint, and so on
    running.run(
        LEARNER,
        noisy_templates(),
        seeds=2,
        model=small_mlp,
        evaluation="full",
        alignment=True,
        folder=folder,
        checkpoint_seconds=0.0,
        progress=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
