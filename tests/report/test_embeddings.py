"""Methods on embeddings as a figure and a table: intervals, axes, and what kept the whole stream."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from perdure.metrics.transfer import mean_and_interval
from perdure.records.embeddings import EmbeddingResult, EmbeddingsRecord
from perdure.report.embeddings import embeddings_table
from perdure.report.figures.embeddings import methods_on_embeddings

HELD_OUT = {"er": (0.91, 0.95, 0.93), "lda": (0.9, 0.9, 0.96)}


def record(memory_size=2_000, n_seeds=3):
    results = [
        EmbeddingResult(name, seed, accuracy, 0.5, 4, 90.0, 2000, [100 + seed, 1438], [1.0, accuracy])
        for name, values in HELD_OUT.items()
        for seed, accuracy in enumerate(values[:n_seeds])
    ]
    config = {
        "name": "digits.npz",
        "order": "classes",
        "seeds": list(range(n_seeds)),
        "methods": dict.fromkeys(HELD_OUT),
        "memory_size": memory_size,
    }
    return EmbeddingsRecord(Path("run"), config, results, True)


def test_bars_are_the_intervals_of_the_table():
    curves, costs = methods_on_embeddings(record()).axes
    shown = [it for it in costs.containers if isinstance(it, ErrorbarContainer)]
    for it, values in zip(shown, HELD_OUT.values(), strict=True):
        found = mean_and_interval([100 * value for value in values])
        (bar,) = it.lines[2]
        np.testing.assert_allclose(bar.get_segments()[0][:, 1], [found.mean - found.ci95, found.mean + found.ci95])
    assert "(bars: 95 % interval, 3 seeds)" in costs.get_xlabel()
    assert curves.get_ylabel() == "Accuracy\n(axis does not begin at 0)"
    np.testing.assert_allclose(np.asarray(curves.lines[0].get_xdata(), float), [101, 1438])


def test_one_seed_has_no_interval():
    _, costs = methods_on_embeddings(record(n_seeds=1)).axes
    assert "interval" not in costs.get_xlabel()


@pytest.mark.parametrize("memory_size", [1_437, 1_438])
def test_what_has_kept_the_whole_stream_is_told(memory_size):
    caption = str(embeddings_table(record(memory_size)).caption)
    assert ("er kept all 1,438 examples" in caption) == (memory_size == 1_438)
    assert ("--memory-size 100 tells" in caption) == (memory_size == 1_438)
    assert "lda kept" not in caption
