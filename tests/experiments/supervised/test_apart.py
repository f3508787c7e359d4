"""Runs whose seeds are learned apart: the same record as side by side."""

import signal

import numpy as np
import pytest

from perdure.execution.apart import PartsError, has_parts
from perdure.execution.drive import Driving
from perdure.execution.processes import Processes
from perdure.experiments.supervised.apart import run_apart, run_somewhere
from perdure.experiments.supervised.run import run_of
from perdure.experiments.supervised.spec import run_spec
from perdure.learners.er import ER
from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError
from perdure.records.learner import RunRecord
from perdure.streams.catalog import BenchmarkRecipe

QUIET = Driving(progress=False)
SHORT = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 20})
SPEC = run_spec(
    ER(learning_rate=0.1, memory_size=10, replay_batch_size=4),
    SHORT,
    seeds=[0, 3],
    alignment=True,
    evaluation="full",
    evaluate_every=10,
)


def test_seeds_apart_make_the_record_of_seeds_side_by_side(jobs_here, tmp_path):
    together = run_of(SPEC, QUIET, tmp_path / "together")
    result = run_apart(SPEC, QUIET, tmp_path / "apart", Processes(1))
    assert jobs_here[0] == ["seed-0", "seed-3"]
    np.testing.assert_allclose(result.losses, together.losses, rtol=1e-5)
    np.testing.assert_array_equal(result.accuracy, together.accuracy)
    assert result.over_time is not None
    assert together.over_time is not None
    np.testing.assert_array_equal(result.over_time.accuracy, together.over_time.accuracy)
    np.testing.assert_array_equal(result.over_time.of_classes, together.over_time.of_classes)
    records = [RunRecord.load(tmp_path / it) for it in ("together", "apart")]
    assert records[0].config == records[1].config
    assert all(it.summary is not None for it in records)
    assert not has_parts(tmp_path / "apart")
    again = run_of(SPEC, QUIET, tmp_path / "apart")
    assert again.from_record
    x = SHORT(0).test[0].x[:2]
    np.testing.assert_array_equal(again.predict(x, seed=3), result.predict(x, seed=3))


def test_what_failed_is_named_and_the_others_are_kept(jobs_here, tmp_path):
    done, failing = jobs_here
    failing.add("seed-3")
    with pytest.raises(
        PartsError, match=r"1 of 2 parts failed: seed-3: its process was killed by SIGKILL\. .*perdure resume"
    ):
        run_apart(SPEC, QUIET, tmp_path, Processes(1))
    assert has_parts(tmp_path)
    assert RunRecord.load(tmp_path).summary is None
    failing.clear()
    run_apart(SPEC, QUIET, tmp_path, Processes(1))
    assert done == ["seed-0", "seed-3"]
    assert RunRecord.load(tmp_path).summary is not None
    run_apart(SPEC, QUIET, tmp_path, Processes(1))
    assert done == ["seed-0", "seed-3"]


def test_a_run_that_began_side_by_side_is_not_begun_anew(jobs_here, tmp_path, act_at):
    act_at(20, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(InterruptedRunError):
        run_of(SPEC, QUIET, tmp_path)
    with pytest.raises(ValueError, match="has begun with its seeds side by side on one machine; resume it there"):
        run_apart(SPEC, QUIET, tmp_path, Processes(1))
    assert jobs_here[0] == []


def test_streams_of_other_lengths_are_refused(jobs_here, tmp_path):
    lengths = BenchmarkRecipe("digits-split", {"scenario": "task", "shuffle_classes": True})
    spec = run_spec(Online(0.1), lengths, seeds=2)
    with pytest.raises(
        ValueError, match=r"differ from seed to seed in their tasks' lengths or classes.*leave --ray out"
    ):
        run_apart(spec, QUIET, tmp_path, Processes(1))


@pytest.mark.long
def test_seeds_learn_in_processes_of_their_own(tmp_path):
    result = run_apart(run_spec(Online(0.1), SHORT, seeds=2), QUIET, tmp_path, Processes(2))
    np.testing.assert_allclose(
        result.losses, run_of(run_spec(Online(0.1), SHORT, seeds=2), QUIET, None).losses, rtol=1e-5
    )


def test_a_run_is_resumed_where_it_was_begun(jobs_here, tmp_path):
    """Without an engine, a run that was begun apart is resumed apart."""
    done, failing = jobs_here
    failing.add("seed-3")
    with pytest.raises(PartsError):
        run_somewhere(SPEC, QUIET, tmp_path, Processes(1))
    failing.clear()
    run_somewhere(SPEC, QUIET, tmp_path, None)
    assert done == ["seed-0", "seed-3"]
    run_somewhere(SPEC, QUIET, tmp_path / "here", None)
    assert done == ["seed-0", "seed-3"]


def test_seeds_apart_are_not_logged(jobs_here, tmp_path):
    logged = Driving(progress=False, loggers=[object()])
    with pytest.raises(ValueError, match=r"--log was given for seeds that are learned apart"):
        run_somewhere(SPEC, logged, tmp_path, Processes(1))
