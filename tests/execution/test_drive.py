"""The loop that drives any job: stretches, boundaries, checkpoints, stopping and resuming."""

import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.execution import drive as driving
from perdure.execution.drive import Costs, Driving, drive
from perdure.execution.progress import ProgressUpdate
from perdure.machine.signals import InterruptedRunError
from perdure.records.folder import own_folder
from tests.execution.conftest import CONFIG, QUIET, Sum, with_speeds


def stopping(number, position):
    """Return what sends a signal to this process at a position."""
    return lambda at: signal.raise_signal(number) if at == position else None


# --- stretches and boundaries


def test_a_job_is_done_from_its_beginning_to_its_end():
    job = Sum(10)
    costs = drive(job, QUIET)
    assert job.position == 10
    assert job.stretches[0] == (0, 3)
    assert [start for start, _ in job.stretches[1:]] == [stop for _, stop in job.stretches[:-1]]
    assert job.events == ["compile", "check at 10"]
    assert costs.training_seconds > 0
    assert costs.compile_seconds > 0


def test_stretches_end_at_boundaries_and_the_job_is_evaluated_there_and_nowhere_else(stretches_of):
    stretches_of(3)
    job = Sum(10, (4, 5, 10))
    drive(job, QUIET)
    assert job.stretches == [(0, 3), (3, 4), (4, 5), (5, 8), (8, 10)]
    assert job.events == ["compile", "evaluate at 4", "evaluate at 5", "evaluate at 10", "check at 10"]


@pytest.mark.parametrize(("boundaries", "evaluated"), [((0, 10), [0, 10]), ((10,), [10]), ((0,), [0]), ((), [])])
def test_a_job_is_evaluated_before_its_beginning_if_that_is_a_boundary(boundaries, evaluated):
    job = Sum(10, boundaries)
    drive(job, QUIET)
    assert [it for it in job.events if "evaluate" in it] == [f"evaluate at {it}" for it in evaluated]


def test_stretches_become_as_long_as_the_speed_allows(monkeypatch):
    times = iter([0.5, 0.25, 100.0, 1.0])

    def timed(work, *arguments):
        work(*arguments)
        return driving._Times(next(times, 1.0) if arguments else 0.0, 0.0)

    monkeypatch.setattr(driving, "_times", timed)
    monkeypatch.setattr(driving, "STRETCH_SECONDS", 2.0)
    job = Sum(100)
    drive(job, QUIET)
    # Speeds are 3 / 0.5 = 6, 12 / 0.25 = 48, 85 / 100 units a second, of which the last is less than one a stretch.
    assert job.stretches == [(0, 3), (3, 15), (15, 100)]
    times = iter([0.5, 1000.0])
    job = Sum(20)
    drive(job, QUIET)
    assert job.stretches == [(0, 3), (3, 15), (15, 16), (16, 18), (18, 20)]


def test_stretches_do_more_than_what_each_of_them_costs(monkeypatch):
    """Each stretch takes 3 seconds and a hundredth for each unit: in a second nothing would be done."""

    def timed(work, *arguments):
        before = job.position
        work(*arguments)
        return driving._Times(3.0 + 0.01 * (job.position - before), 0.0)

    monkeypatch.setattr(driving, "_times", timed)
    job = Sum(5000)
    drive(job, QUIET)
    last = [stop - start for start, stop in job.stretches][-5:-1]
    assert min(last) > 250  # half of the time
    assert max(last) < 350  # and a request to stop is noticed in twice as long as a stretch costs


def test_a_job_may_end_early(in_folder):
    job = Sum(10, (2, 4, 6, 8, 10), stop_at=5)
    in_folder(job)
    assert job.position == 6
    assert job.events[-2:] == ["evaluate at 6", "check at 6"]
    assert in_folder.checkpoints()[0] == 6
    again = Sum(10, (2, 4, 6, 8, 10), stop_at=5)
    in_folder(again)
    assert again.outcome == job.outcome
    assert again.events == [], "nothing is compiled or done again"


def test_a_job_of_length_0_has_nothing_to_do(in_folder):
    job = Sum(0, (0,))
    assert in_folder(job) == Costs()
    assert job.events == []


def test_progress_is_reported_after_each_stretch(stretches_of):
    stretches_of(4)
    updates = []
    job = Sum(10)
    drive(job, Driving(progress=updates.append))
    assert [it.position for it in updates] == [4, 8, 10]
    assert all(isinstance(it, ProgressUpdate) and it.total == 10 and it.units_per_second > 0 for it in updates)
    assert updates[-1].words == job.report()


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("seconds", [-1.0, float("nan"), "a"])
def test_times_between_checkpoints_that_make_no_sense_are_refused(seconds):
    with pytest.raises(ValueError, match=f"checkpoint_seconds = {seconds!r}, expected a number ≥ 0"):
        Driving(checkpoint_seconds=seconds)


# --- checkpoints


def test_a_checkpoint_is_written_when_one_is_due_and_at_the_end(in_folder, stretches_of, monkeypatch):
    stretches_of(1)
    clock = iter(range(1000))  # a second at each look at the clock
    monkeypatch.setattr(driving.time, "monotonic", lambda: float(next(clock)))
    seen = []
    job = Sum(10, at=lambda position: seen.append((position, in_folder.checkpoints()[:1])))
    in_folder(job, checkpoint_seconds=2.5)
    assert in_folder.checkpoints()[0] == 10
    written = [position for position, newest in seen if newest]
    assert written, "some before the end"
    saved = sorted({newest[0] for _, newest in seen if newest})
    assert all(3 <= later - earlier <= 4 for earlier, later in zip([0, *saved], saved, strict=False))


def test_what_is_kept_has_been_checked(in_folder, stretches_of):
    stretches_of(4)
    job = Sum(10)
    in_folder(job)
    assert [it for it in job.events if "check" in it] == ["check at 4", "check at 8", "check at 10"]
    assert in_folder.checkpoints() == [10, 8]


def test_without_a_folder_only_the_end_is_checked(stretches_of):
    stretches_of(4)
    job = Sum(10)
    drive(job, Driving(progress=False, checkpoint_seconds=0.0))
    assert [it for it in job.events if "check" in it] == ["check at 10"]


def test_costs_accumulate_over_resumptions(in_folder, stretches_of, monkeypatch):
    stretches_of(2)
    monkeypatch.setattr(driving, "_times", lambda work, *arguments: (work(*arguments), driving._Times(0.25, 0.5))[1])
    for position in (4, 8):
        with pytest.raises(InterruptedRunError):
            in_folder(Sum(10, at=stopping(signal.SIGTERM, position)))
    costs = in_folder(Sum(10))
    assert costs == Costs(training_seconds=5 * 0.25, training_cpu_seconds=5 * 0.5, compile_seconds=3 * 0.25)
    assert in_folder(Sum(10)) == costs, "a finished job is not compiled again"


# --- stopping and resuming


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_is_met_after_the_stretch_with_a_checkpoint(in_folder, stretches_of, number):
    stretches_of(4)
    job = Sum(10, (0, 4), at=stopping(number, 4))
    with pytest.raises(InterruptedRunError) as stopped:
        in_folder(job, checkpoint_seconds=1e9)
    how = "resume with `perdure resume run`, or with the call or command that began it"
    assert str(stopped.value) == f"stopped after 4 of 10 numbers; {how}"
    assert stopped.value.signal_number == number
    assert in_folder.checkpoints() == [4]
    assert in_folder.log() == ["stopped after 4 of 10 numbers"]
    again = Sum(10, (0, 4))
    in_folder(again)
    assert again.stretches[0][0] == 4
    assert again.events == ["compile", "check at 8", "check at 10"], "what was evaluated has been kept"
    assert not np.isnan(again.values[[0, 4]]).any()
    assert in_folder.log()[1:] == ["resumed from position 4 of 10 numbers"]


def test_a_request_to_stop_without_a_folder_says_that_nothing_is_kept(stretches_of):
    stretches_of(4)
    with pytest.raises(InterruptedRunError, match=r"^stopped after 4 of 10 numbers; nothing is kept of"):
        drive(Sum(10, at=stopping(signal.SIGTERM, 4)), QUIET)


def test_a_request_to_stop_at_the_end_lets_the_job_finish(in_folder):
    job = Sum(10, at=stopping(signal.SIGTERM, 10))
    in_folder(job)
    assert job.position == 10


def test_numbers_are_grouped_in_what_is_said(in_folder):
    with pytest.raises(InterruptedRunError, match=r"^stopped after 1,234 of 2,000 numbers; "):
        in_folder(Sum(2000, (1234,), at=stopping(signal.SIGTERM, 1234)))
    in_folder(Sum(2000, (1234,)))
    assert in_folder.log()[1] == "resumed from position 1,234 of 2,000 numbers"


@settings(max_examples=40)
@given(
    length=st.integers(1, 25),
    marks=st.lists(st.integers(0, 25), max_size=5),
    stretches=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 25), max_size=3),
)
def test_a_resumed_job_ends_bit_identical_whatever_the_stretches_and_interruptions(
    tmp_path_factory, length, marks, stretches, cuts
):
    boundaries = sorted({it for it in marks if it <= length})
    whole = Sum(length, boundaries)
    drive(whole, QUIET)
    folder, job = tmp_path_factory.mktemp("run"), whole
    for cut in [*cuts, None]:
        job = Sum(length, boundaries, at=lambda at, cut=cut: signal.raise_signal(signal.SIGTERM) if at == cut else None)
        with pytest.MonkeyPatch.context() as patch, own_folder(folder, CONFIG) as home:
            lengths = iter(stretches * 30)
            patch.setattr(Sum, "first_stretch", next(lengths))
            patch.setattr(driving._Loop, "_stretch", with_speeds(lengths))
            how = Driving(checkpoint_seconds=0.0, progress=False).in_folder(home, "perdure resume")
            try:
                drive(job, how)
            except InterruptedRunError:
                assert job.position == cut
    assert job.outcome == whole.outcome
