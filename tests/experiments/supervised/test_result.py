"""What a result answers once a run has ended."""

import jax.numpy as jnp
import numpy as np
import pytest

from perdure.learners.icarl import ICaRL
from perdure.learners.independent import Independent
from perdure.learners.online import Online
from perdure.models import MLP, benchmark_mlp
from perdure.streams.arrays import from_arrays
from tests.conftest import first_short


def split_classes(seed=0):
    """Three tasks of two classes of their own each, as MNIST is split: classes that are easy to tell apart."""
    rng = np.random.default_rng(seed)
    templates = rng.integers(0, 256, (6, 4, 4))

    def draw(task, n):
        y = 2 * task + rng.integers(0, 2, n).astype(np.int32)
        return np.clip(templates[y] + rng.integers(-20, 20, (n, 4, 4)), 0, 255).astype(np.uint8), y

    return from_arrays([draw(task, 40) for task in range(3)], [draw(task, 25) for task in range(3)], n_outputs=6)


LEARNERS = [
    ICaRL(learning_rate=0.1, memory_size=30, strength=1.0, batch_size=10),
    Independent(0.1),
    Online(0.1),
    Online(jnp.asarray(0.1)),
]


@pytest.mark.parametrize(
    "learner", first_short(LEARNERS[::-1], 3), ids=["rate as an array", "online", "independent", "icarl"]
)
def test_what_a_result_predicts_is_what_was_tested(quick_run, learner, tmp_path):
    def model(example, n_outputs, key):
        return MLP(example.x.size, n_outputs, (12, 12), key=key)

    benchmark = split_classes()
    result = quick_run(learner, benchmark, seeds=[4, 2], model=model, folder=tmp_path)
    recorded = quick_run(learner, benchmark, seeds=[4, 2], model=model, folder=tmp_path)
    for place, seed in enumerate([4, 2]):
        for task, test in enumerate(benchmark.test):
            outputs = result.predict(test.x, seed, task)
            assert outputs.shape == (25, 6)
            assert np.mean(outputs.argmax(axis=1) == test.y) == result.accuracy[place, -1, task]
            np.testing.assert_array_equal(recorded.predict(test.x, seed, task), outputs)
    x = benchmark.test[2].x
    np.testing.assert_array_equal(result.predict(x, task=2), result.predict(x, 4, 2))
    assert (result.predict(x, 4, 2) != result.predict(x, 2, 2)).any()


@pytest.mark.long
def test_tasks_may_differ_within_a_batch(quick_run):
    benchmark = split_classes()
    result = quick_run(LEARNERS[0], benchmark)
    x = np.concatenate([test.x for test in benchmark.test])
    task = np.repeat([0, 1, 2], 25)
    together = result.predict(x, task=task)
    for place, test in enumerate(benchmark.test):
        np.testing.assert_allclose(together[task == place], result.predict(test.x, task=place), rtol=1e-5)


@pytest.mark.long
def test_the_learner_of_a_result_is_the_one_that_learned(quick_run):
    result = quick_run(LEARNERS[0], split_classes())
    assert result.learner.stream_info.class_tasks == (0, 0, 1, 1, 2, 2)
    assert LEARNERS[0].stream_info is None


@pytest.mark.parametrize("seed", [0, 3, -1])
def test_a_seed_that_did_not_run_is_refused(quick_run, seed):
    result = quick_run(Online(0.1), split_classes(), seeds=[4, 2], model=benchmark_mlp)
    with pytest.raises(ValueError, match=rf"seed = {seed}, expected one of the run's seeds 4, 2"):
        result.predict(np.zeros((1, 4, 4), np.uint8), seed)
