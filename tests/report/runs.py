"""Made-up runs to report on."""

import numpy as np

from perdure.experiments.results import RunRecord, open_folder, write_accuracy, write_summary


def made_up_run(
    root,
    learner="mer",
    hyperparameters=None,
    benchmark="mnist-rotations",
    tasks=3,
    seeds=5,
    retained=0.7,
    full=True,
    finished=True,
    **summary,
):
    """A run that learns every task to 0.9 and ends with `retained` on all but the last, seeds 0.01 apart."""
    hyperparameters = {"memory_size": 200, "learning_rate": 0.1} if hyperparameters is None else hyperparameters
    config = {
        "format": 1,
        "learner": {"name": learner, "hyperparameters": hyperparameters},
        "benchmark": {"name": benchmark, "options": {}},
        "seeds": list(range(seeds)),
    }
    folder = root / f"{learner}-{benchmark}-{len(list(root.iterdir()))}"
    open_folder(folder, config)
    if not finished:
        return RunRecord.load(folder)
    row, task = np.indices((tasks + 1, tasks))
    matrix = np.where(row > task, retained, 0.1)
    matrix[np.arange(1, tasks + 1), np.arange(tasks)] = 0.9
    if not full:
        matrix[(row > task + 1) & (row < tasks)] = np.nan
    matrices = matrix + 0.01 * (np.arange(seeds) - (seeds - 1) / 2)[:, None, None]
    write_accuracy(folder, range(seeds), matrices)
    cost = {"training_seconds": 12.34, "compile_seconds": 1.0, "peak_memory_bytes": 700 * 2**20, "examples_seen": 9}
    write_summary(folder, matrices, **({"gradient_alignment": None} | cost | summary))
    return RunRecord.load(folder)
