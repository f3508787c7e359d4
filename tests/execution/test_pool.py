"""Jobs in processes of their own: what each has, what is left when one dies, and stopping them all."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from perdure.execution.pool import Ended, Failure, Job, Stage, run_jobs, run_stages
from perdure.execution.processes import Processes, start_worker
from perdure.machine.signals import InterruptedRunError

HERE = Path(__file__).parent


@pytest.fixture
def do(monkeypatch):
    """The jobs' module, importable in the workers too."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("pool_jobs")


@pytest.fixture
def notes(do, tmp_path):
    """Function that runs jobs of the efforts given and returns what they noted, in the order of the efforts."""

    def run(efforts, workers):
        jobs = [Job(f"job {n}", float(effort), do.note, tmp_path / f"{n}") for n, effort in enumerate(efforts)]
        assert run_jobs(jobs, Processes(workers), show=False) == []
        return [json.loads((tmp_path / f"{n}").read_text()) for n in range(len(efforts))]

    return run


def test_each_job_has_a_fresh_process(notes):
    pids = [note["pid"] for note in notes([1, 1, 1], workers=2)]
    assert len(set(pids)) == 3
    assert os.getpid() not in pids


def test_the_longest_comes_first_and_one_worker_does_one_job_at_a_time(notes):
    short, long, middle = notes([1, 3, 2], workers=1)
    assert long["ended"] <= middle["began"]
    assert middle["ended"] <= short["began"]


def test_ctrl_c_while_a_worker_starts_is_left_to_us(do, tmp_path, capfd):
    worker = start_worker(Job("job", 1.0, do.note, tmp_path / "note"))
    assert worker.process.pid is not None
    os.kill(worker.process.pid, signal.SIGINT)
    while not isinstance(word := worker.next_word(), Ended):
        pass
    assert word == Ended(None)
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the operating system does not pin processes")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_the_cores_and_we_keep_ours(notes, workers):
    ours = sorted(os.sched_getaffinity(0))
    shares = {tuple(note["cores"]) for note in notes([1] * 4, workers)}
    assert sorted(os.sched_getaffinity(0)) == ours
    assert all(set(share) <= set(ours) for share in shares)
    if workers == 1:
        assert shares == {tuple(ours)}
    if workers == 2 and len(ours) > 1:
        first, second = sorted(shares)
        assert sorted(first + second) == ours


def test_what_fails_or_dies_is_told_by_name_and_the_others_finish(do, tmp_path):
    jobs = [
        Job("fails", 4.0, do.fail, tmp_path),
        Job("is killed", 3.0, do.die, tmp_path),
        Job("leaves", 2.0, do.leave, tmp_path),
        Job("works", 1.0, do.note, tmp_path / "note"),
    ]
    assert sorted(run_jobs(jobs, Processes(2), show=False)) == [
        Failure("fails", "KeyError: 'nothing here'"),
        Failure("is killed", "its process was killed by SIGKILL"),
        Failure("leaves", "its process ended with status 3"),
    ]
    assert (tmp_path / "note").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_lets_running_jobs_save_and_starts_no_more(do, tmp_path, number):
    def stop():
        while not (tmp_path / "a.began").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    jobs = [Job(name, 1.0, do.work_until_stopped, tmp_path / name) for name in ("b", "a")]
    threading.Thread(target=stop).start()
    with pytest.raises(InterruptedRunError, match="the same command resumes") as stopped:
        run_jobs(jobs, Processes(1), show=False)
    assert stopped.value.signal_number == number
    assert (tmp_path / "a").read_text() == "saved"
    assert not (tmp_path / "b.began").exists()


@pytest.mark.parametrize("beat", ["beat", "beat_silently"])
def test_workers_do_not_outlive_us(tmp_path, beat):
    program = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "import pool_jobs; from perdure.execution.pool import Job, run_jobs\n"
        "from perdure.execution.processes import Processes\n"
        "if __name__ == '__main__':\n"
        f"    job = Job('beats', 1.0, pool_jobs.{beat}, Path({str(tmp_path / 'beats')!r}))\n"
        "    run_jobs([job], Processes(1), show=False)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(program)
    process = subprocess.Popen([sys.executable, str(script)])
    beats = tmp_path / "beats"
    while not beats.exists():
        time.sleep(0.02)
    process.kill()
    process.wait()

    def still_beating():
        before = beats.stat().st_size
        time.sleep(0.3)
        return beats.stat().st_size > before

    assert not all(still_beating() for _ in range(20))


def test_how_jobs_go_on_is_told_in_lines_where_there_is_no_terminal(do, tmp_path, capsys):
    run_jobs([Job("mine [bold]", 1.0, do.note, tmp_path / "note"), Job("fails", 2.0, do.fail, tmp_path)], Processes(1))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "1 of 2: fails: KeyError: 'nothing here'",
        "2 of 2: mine [bold]: finished",
    ]


def test_no_jobs_are_done_at_once():
    assert run_jobs([], Processes(2), show=False) == []


def test_unclear_orders_are_refused(do, tmp_path):
    with pytest.raises(ValueError, match="expected different names"):
        run_jobs([Job("a", 1.0, do.fail, tmp_path)] * 2, Processes(1), show=False)
    with pytest.raises(ValueError, match="0 workers were requested, expected at least 1"):
        Processes(0)


def test_stages_follow_one_another_under_one_bar(do, tmp_path, capsys):
    """The page of a study is written after each job, and the last stage has the machine for itself."""
    first = [Job(f"job {n}", 1.0, do.note, tmp_path / f"{n}") for n in range(2)]
    last = Job("alone", 9.0, do.note, tmp_path / "alone")
    there = []
    stages = [Stage(first, Processes(2)), Stage([last], Processes(1))]
    assert run_stages(stages, after_each=lambda: there.append(sorted(it.name for it in tmp_path.iterdir()))) == []
    notes = [json.loads((tmp_path / name).read_text()) for name in ("0", "1", "alone")]
    assert notes[2]["began"] >= max(note["ended"] for note in notes[:2])
    assert len(there) == 3
    assert there[-1] == ["0", "1", "alone"]
    assert re.findall(r"\d of \d", capsys.readouterr().err) == ["1 of 3", "2 of 3", "3 of 3"]
