"""Methods compared on one benchmark: what is chosen, run once, resumed and added to."""

import dataclasses
import os

import numpy as np
import pytest

from perdure.execution import apart
from perdure.execution.pool import Failure
from perdure.execution.processes import Processes
from perdure.experiments.methods.compare import choose_methods, compare, comparison, resume_methods
from perdure.experiments.supervised import many
from perdure.experiments.supervised.spec import run_spec
from perdure.learners.er import ER
from perdure.learners.online import Online
from perdure.machine.signals import InterruptedRunError
from perdure.presets.comparison import METHODS
from perdure.presets.learners import find_preset
from perdure.records.errors import ResultsError
from perdure.records.methods import MethodsRecord
from perdure.report.comparison import save_comparison
from perdure.storage.lock import FolderInUseError, FolderLock
from perdure.streams.catalog import BenchmarkRecipe
from perdure.streams.datasets import from_table

DIGITS = BenchmarkRecipe("digits-rotations")
SHORT = BenchmarkRecipe("digits-rotations", {"tasks": 2, "examples_per_task": 20})
SMALL_ER = ER(learning_rate=0.1, memory_size=10, replay_batch_size=4)


def in_this_process(stages, *, show, after_each):
    """Stand for `run_stages`, without its processes."""
    failures = []
    for job in (job for stage in stages for job in stage.jobs):
        try:
            job.work(job.folder, lambda update: None)
        except ArithmeticError as error:
            failures.append(Failure(job.name, str(error)))
        after_each()
    return failures


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(apart, "run_stages", in_this_process)


def compare_short(folder, *learners, **options):
    return compare(comparison(learners, SHORT, **{"seeds": 2, **options}), folder, command="typed", progress=False)


# --- which methods


@pytest.mark.parametrize("benchmark", ["digits-rotations", "mnist-rotations"])
def test_all_that_are_compared_by_default_have_presets(benchmark):
    assert len(set(METHODS)) == 12
    lacking = [name for name in METHODS if find_preset(name, benchmark, 200) is None]
    assert lacking == []


def test_each_has_its_preset_and_the_memory_requested():
    online, er = choose_methods(["online", "er"], DIGITS, memory_size=50).learners
    assert (online.learning_rate, er.learning_rate, er.memory_size) == (0.05, 0.1, 50)


def test_values_given_come_before_presets(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        '[[group]]\nsource = "own"\nlearner = "er"\npresets = [{ benchmark = "digits-rotations", memory_size = 7, '
        "learning_rate = 0.3, replay_batch_size = 3 }]\n"
    )
    given = {"er": {"learning_rate": 0.2}}
    er, online = choose_methods(["er", "online"], DIGITS, given=given, preset_file=file).learners
    assert (er.learning_rate, er.memory_size, er.replay_batch_size) == (0.2, 7, 3)
    assert online.learning_rate == 0.05  # the file has none


OWN = """from perdure import Online
from perdure.learn import rate

class Mine(Online):
    beta: float = rate("own")
"""


def test_methods_without_values_are_named_with_what_they_need(tmp_path):
    (tmp_path / "mine without values.py").write_text(OWN)
    own = f"{tmp_path / 'mine without values.py'}:Mine"
    with pytest.raises(ValueError, match=r"no preset for digits-rotations of .*Mine \(needs .*beta.*--set .*Mine\."):
        choose_methods([own], DIGITS)
    with pytest.raises(ValueError, match=f"perdure tune '{own}' 'my file.csv' … --preset FILE"):
        choose_methods([own], DIGITS, typed="my file.csv")
    chosen = choose_methods(["online", own], DIGITS, lenient=True)
    assert [type(it) for it in chosen.learners] == [Online]
    assert any("left out, since there is no preset for digits-rotations" in it for it in chosen.notes)


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (["er", "er"], {}, "er is named twice"),
        (["er"], {"mer": {"beta": 1.0}}, "values are given for mer, not among the methods: er"),
        (["no-such"], {}, "unknown learner 'no-such'"),
    ],
)
def test_bad_choices_are_refused(names, given, message):
    with pytest.raises(ValueError, match=message):
        choose_methods(names, DIGITS, given=given)


def test_methods_that_need_hidden_task_numbers_are_refused_or_left_out():
    hidden = BenchmarkRecipe("digits-split", {"hides_tasks": True})
    with pytest.raises(ValueError, match=r"ewc needs task numbers, which digits-split hides; leave it out, or choose"):
        choose_methods(["er", "ewc"], hidden)
    chosen = choose_methods(["er", "ewc", "a-gem"], hidden, lenient=True)
    assert [type(it) for it in chosen.learners] == [ER]
    assert "left out, since digits-split hides the task numbers that they need: ewc, a-gem" in chosen.notes


def test_the_baseline_is_er_or_the_first():
    assert comparison([Online(0.1), SMALL_ER], SHORT).baseline == "er"
    assert comparison([Online(0.1)], SHORT).baseline == "online"
    with pytest.raises(ValueError, match="the baseline is mer, expected one of the methods: online"):
        comparison([Online(0.1)], SHORT, baseline="mer")
    with pytest.raises(ValueError, match="no methods"):
        comparison([], SHORT)


# --- runs


def test_what_is_there_is_not_run_again_and_methods_may_be_added(here, tmp_path, monkeypatch):
    record, failures = compare_short(tmp_path, Online(0.1))
    assert failures == []
    assert record.finished
    assert [(it.learner, it.seeds) for it in record.runs] == [("online", (0, 1))]
    done = []
    monkeypatch.setattr(many, "carried", lambda work: work)
    monkeypatch.setattr(many, "do_run", lambda spec, folder, watch: done.append(folder.name.partition("-")[0]))
    more, _ = compare_short(tmp_path, Online(0.1), SMALL_ER)
    assert done == ["er"]
    assert more.n_finished == 1


def test_a_comparison_resumes_from_its_folder(here, tmp_path):
    record, _ = compare_short(tmp_path, Online(0.1), SMALL_ER, evaluate_every=15, evaluate_on=20)
    (tmp_path / "summary.json").unlink()
    (record.runs[1].folder / "summary.json").unlink()
    assert not MethodsRecord.load(tmp_path).finished
    resumed, _ = resume_methods(tmp_path, progress=False)
    assert resumed.finished
    assert resumed.request == record.request
    again, first = (it.runs[1].summary for it in (resumed, record))
    assert again is not None
    assert first is not None
    np.testing.assert_equal(dict(again.metrics), dict(first.metrics))
    assert resumed.runs[1].over_time is not None


def test_other_streams_need_another_folder(here, tmp_path):
    compare_short(tmp_path, Online(0.1))
    with pytest.raises(ResultsError, match="holds a run of another configuration"):
        compare_short(tmp_path, Online(0.1), seeds=3)


def test_a_method_that_fails_is_no_harm_to_the_others(here, tmp_path):
    record, (failure,) = compare_short(tmp_path, Online(1e9), SMALL_ER)
    assert "diverged" in failure.reason
    assert [it.learner for it in record.runs] == ["er"]
    assert not record.finished


@pytest.mark.long
def test_methods_learn_in_processes_of_their_own(tmp_path):
    what = comparison([Online(0.1), SMALL_ER], SHORT, seeds=2)
    record, failures = compare(what, tmp_path, command="typed", engine=Processes(2), progress=False)
    assert failures == []
    assert record.finished
    assert [it.learner for it in record.runs] == ["online", "er"]


def test_a_run_whose_folder_somebody_else_owns_fails_in_words(tmp_path, monkeypatch):
    spec, folder = run_spec(Online(0.1), SHORT), tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(apart, "_PATIENCE", 0.1)
    with (
        FolderLock(folder),
        pytest.raises(FolderInUseError, match=rf"is in use by another run in this process \({os.getpid()}\)"),
    ):
        many.do_run(spec, folder, lambda update: None)
    many.do_run(spec, folder, lambda update: None)
    assert (folder / "summary.json").exists()


def test_longer_runs_have_more_effort():
    online, er = (many.effort(run_spec(it, SHORT)) for it in (Online(0.1), SMALL_ER))
    assert (online, er) == (1, 5)
    watched = run_spec(SMALL_ER, SHORT, seeds=3, evaluate_every=5)
    assert many.effort(watched) == 3 * (5 + 5)
    assert many.effort(dataclasses.replace(watched, alignment=True)) == 3 * (5 + 5 + 5)


def test_the_page_of_a_comparison_is_written_after_finished_methods(here, tmp_path):
    counts = []
    what = comparison([Online(learning_rate=0.1), SMALL_ER], SHORT, seeds=1)
    compare(what, tmp_path, command="typed", progress=False, write_page=lambda it: counts.append(it.n_finished))
    assert counts[0] == 1


def test_a_page_that_takes_long_is_written_seldom(monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr(apart.time, "monotonic", lambda: now[0])

    def write():
        written.append(now[0])
        now[0] += 1.0

    act = apart.now_and_then(write)
    for second in (0.0, 5.0, 20.0, 22.0, 30.0, 44.0):
        now[0] = second
        act()
    assert written == [0.0, 22.0, 44.0]


def test_a_stopped_study_has_its_page(monkeypatch, tmp_path):
    def stopped(stages, *, show, after_each):
        raise InterruptedRunError("stopped", 15)

    monkeypatch.setattr(apart, "run_stages", stopped)
    written = []
    what = comparison([SMALL_ER], SHORT, seeds=1)
    with pytest.raises(InterruptedRunError):
        compare(what, tmp_path, command="typed", progress=False, write_page=written.append)
    assert [it.folder for it in written] == [tmp_path]


def test_a_stream_without_tests_has_a_page(here, tmp_path):
    stream = BenchmarkRecipe("digits-split", {"tasks": 2, "examples_per_task": 20, "tests": "none"})
    what = comparison([Online(0.1), SMALL_ER], stream, seeds=1)
    record = compare(what, tmp_path, command="typed", progress=False).record
    for path in save_comparison(record, tmp_path / "page.md", tmp_path / "page.html"):
        assert path.exists()
    assert "prequential" in (tmp_path / "page.md").read_text()
    page = (tmp_path / "page.html").read_text()
    assert "Prequential accuracy against what one seed keeps" in page
    assert "Retained and learning accuracy" not in page


def test_a_stream_that_cannot_be_made_is_told_once_and_leaves_nothing(here, tmp_path):
    few = BenchmarkRecipe("digits-split", {"tasks": 2, "examples_per_task": 20, "rounds": 30})
    with pytest.raises(ValueError, match=r"^rounds is 30, but a task has 20 examples"):
        compare(comparison([Online(0.1), SMALL_ER], few, seeds=1), tmp_path / "it", command="typed", progress=False)
    assert not (tmp_path / "it").exists()


def test_a_stream_that_is_finished_tells_whether_it_hides_tasks():
    chosen = choose_methods(["er", "ewc"], SHORT(0), given={"er": {"memory_size": 10}})
    assert chosen.names == ["er", "ewc"]
    with pytest.raises(ValueError, match=r"ewc needs task numbers, which .* hides"):
        choose_methods(["ewc"], dataclasses.replace(SHORT(0), hides_tasks=True))


def test_the_search_proposed_names_the_columns_of_a_file(tmp_path):
    (tmp_path / "data.csv").write_text("v,kind,part\n" + "".join(f"{n},{n % 2},{n // 10}\n" for n in range(20)))
    benchmark = from_table(tmp_path / "data.csv", label="kind", task="part")
    of_file = {"label": "kind", "task": "part"}
    chosen = choose_methods(["er"], benchmark, typed="data.csv", of_file=of_file)
    assert "perdure tune er data.csv --label kind --task part --learning-rate" in chosen.notes[0]
