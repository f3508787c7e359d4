import numpy as np
import pytest

from perdure.metrics.transfer import mean_and_interval, metrics_over_seeds
from perdure.records.folder import FORMAT, own_folder
from perdure.records.learner import RunRecord
from perdure.records.measurements import alignment_curves, write_accuracy, write_alignment
from perdure.records.summary import ALIGNMENTS, PREQUENTIAL, Summary, write_summary
from perdure.streams.catalog import BENCHMARKS

MER = {"memory_size": 200, "learning_rate": 0.1}


def _matrices(tasks, seeds, retained, full):
    row, task = np.indices((tasks + 1, tasks))
    matrix = np.where(row > task, retained, 0.1)
    matrix[np.arange(1, tasks + 1), np.arange(tasks)] = 0.9
    if not full:
        matrix[(row > task + 1) & (row < tasks)] = np.nan
    return matrix + 0.01 * (np.arange(seeds) - (seeds - 1) / 2)[:, None, None]


@pytest.fixture
def made_up_run(tmp_path):
    """Make runs that learn every task to 0.9 and end with `retained` on the others, seeds 0.01 apart."""

    def make(
        learner="mer",
        hyperparameters=MER,
        benchmark="mnist-rotations",
        options=None,
        model=None,
        own_parts=None,
        tasks=3,
        seeds=5,
        retained=0.7,
        full=True,
        finished=True,
        alignment=None,
        state_bytes=400_000,
        prequential=None,
        gap=None,
    ):
        config = {
            "format": FORMAT,
            "kind": "learner",
            "learner": {"name": learner, "hyperparameters": hyperparameters, **(own_parts or {})},
            "benchmark": {"name": benchmark, "options": options or {}},
            "model": {"name": model or BENCHMARKS[benchmark].network},
            "seeds": list(range(seeds)),
            "evaluation": "full" if full else "needed",
            "alignment": alignment is not None,
        }
        folder = tmp_path / f"{learner}-{len(list(tmp_path.iterdir()))}"
        with own_folder(folder, config):
            pass
        if finished and prequential is not None:  # there are no test sets
            metrics = metrics_over_seeds(np.full((seeds, tasks + 1, tasks), np.nan))
            metrics |= {PREQUENTIAL: mean_and_interval(prequential + 0.01 * np.arange(seeds))}
            write_summary(folder, Summary(metrics, 12.34, 20.0, 1.0, 700 * 2**20, 9, state_bytes))
        elif finished:
            matrices = _matrices(tasks, seeds, retained, full)
            write_accuracy(folder, range(seeds), matrices)
            metrics = metrics_over_seeds(matrices)
            if gap is not None:
                metrics["stability_gap"] = mean_and_interval([gap] * seeds)
            if alignment is not None:
                metrics |= {name: mean_and_interval(alignment) for name in ALIGNMENTS}
                curves = alignment_curves(*np.tile(np.asarray(alignment)[:, None], (3, 1, 9)))
                write_alignment(folder, range(seeds), curves)
            write_summary(folder, Summary(metrics, 12.34, 20.0, 1.0, 700 * 2**20, 9, state_bytes))
        return RunRecord.load(folder)

    return make
