"""What a search leaves in its folder, and what it makes of what it finds there."""

import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

import perdure.experiments.tuning.side_by_side as side_by_side
import perdure.experiments.tuning.tune as tuning
from perdure.core import PerdureWarning
from perdure.execution.apart import PartsError, has_parts
from perdure.execution.processes import Processes
from perdure.experiments.tuning.spec import tuning_spec
from perdure.experiments.tuning.tune import resume_search, tune_of
from perdure.machine.signals import InterruptedRunError
from perdure.models import MLP
from perdure.records.errors import ResultsError
from perdure.records.folder import config_digest
from perdure.records.tuning import LogUniform, TuningRecord
from perdure.streams.catalog import BenchmarkRecipe
from tests.experiments.tuning.conftest import ER, RECIPE, count_learners, scores_of


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_search_that_was_stopped_resumes(quick_tune, tmp_path, monkeypatch, number):
    grid = {"learning_rate": [0.02, 0.1, 0.2]}
    monkeypatch.setattr(side_by_side, "available_memory", lambda: 1)  # one after another
    calls = count_learners(monkeypatch, lambda n_calls: signal.raise_signal(number) if n_calls == 1 else None)
    with pytest.raises(
        InterruptedRunError, match=r"after 1 of 3 combinations; those are kept in .*: resume with `perdure resume"
    ):
        quick_tune("online", RECIPE, grid, folder=tmp_path)
    assert calls == [1]
    calls = count_learners(monkeypatch)
    resumed = quick_tune("online", RECIPE, grid, folder=tmp_path)
    assert calls == [1, 1]
    assert resumed == quick_tune("online", RECIPE, grid)
    assert TuningRecord.load(tmp_path).result == resumed


def test_a_stop_without_a_folder_says_that_nothing_is_kept(quick_tune, monkeypatch):
    count_learners(monkeypatch, lambda n_calls: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(InterruptedRunError, match="before the first of 2 combinations was finished; nothing is kept"):
        quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1]})


@pytest.mark.long
def test_a_longer_list_computes_only_what_it_adds(quick_tune, tmp_path, monkeypatch):
    first = quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1]}, folder=tmp_path)
    calls = count_learners(monkeypatch)
    longer = quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1, 0.2]}, folder=tmp_path)
    assert calls == [1]
    assert scores_of(longer).items() > scores_of(first).items()
    again = quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1]}, folder=tmp_path)
    assert calls == [1]
    assert again == first


def test_a_search_that_asks_for_more_is_unfinished_until_it_is_done(quick_tune, tmp_path, monkeypatch):
    quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1]}, folder=tmp_path)
    count_learners(monkeypatch, lambda n_calls: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(InterruptedRunError, match="after 2 of 3 combinations"):
        quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1, 0.2]}, folder=tmp_path)
    record = TuningRecord.load(tmp_path)
    assert (record.finished, record.n_tried, len(record.request.combinations)) == (False, 2, 3)


def test_a_finished_search_says_where_its_scores_come_from(quick_tune, tmp_path, capsys):
    grid = {"learning_rate": [0.02, 0.1]}
    quick_tune("online", RECIPE, grid, folder=tmp_path)
    tuning.tune("online", RECIPE, grid, model=quick_tune.keywords["model"], folder=tmp_path)
    assert capsys.readouterr().err == (
        f"these are the scores of the finished search in {tmp_path}; delete it to run again\n"
    )


def test_another_search_in_the_folder_is_refused(quick_tune, tmp_path):
    grid = {"learning_rate": [0.02, 0.1]}
    quick_tune("online", RECIPE, grid, folder=tmp_path)
    with pytest.raises(
        ResultsError, match=r"another configuration:\n  seeds: \[1000, 1001\] there, \[1000, 1001, 1002\]"
    ):
        quick_tune("online", RECIPE, grid, seeds=3, folder=tmp_path)
    with pytest.raises(ResultsError, match=r"learner\.name: online there, er requested"):
        quick_tune("er", RECIPE, {**grid, **ER}, folder=tmp_path)


def own_model(width):
    """Return a network maker of an own module, whose source holds its width."""
    source = f"def make(example, n_outputs, key):\n    return MLP(example.x.size, n_outputs, ({width},), key=key)\n"
    module = types.ModuleType("model_of_tests")
    module.MLP = MLP  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules[module.__name__] = module
    exec(compile(source, "model_of_tests", "exec"), module.__dict__)
    return module.make


def test_a_model_that_was_edited_is_refused(quick_tune, tmp_path):
    grid = {"learning_rate": [0.02, 0.1]}
    first = quick_tune("online", RECIPE, grid, folder=tmp_path, model=own_model(8))
    assert quick_tune("online", RECIPE, grid, folder=tmp_path, model=own_model(8)) == first
    with pytest.raises(ResultsError, match="made by other code of the same name"):
        quick_tune("online", RECIPE, grid, folder=tmp_path, model=own_model(9))


def test_a_search_with_an_own_model_is_resumed_from_python(quick_tune, tmp_path):
    quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1]}, folder=tmp_path)
    with pytest.raises(ResultsError, match=r"with its own small_mlp, .*resume it from Python with the same call"):
        tuning.resume_search(tmp_path)


def test_a_search_is_resumed_from_its_folder(tmp_path, monkeypatch):
    grid = {"learning_rate": LogUniform(0.01, 0.1)}
    monkeypatch.setattr(side_by_side, "available_memory", lambda: 1)  # one after another
    count_learners(monkeypatch, lambda n_calls: signal.raise_signal(signal.SIGTERM) if n_calls == 1 else None)
    with pytest.raises(InterruptedRunError, match="after 1 of 3 combinations"):
        tuning.tune("online", RECIPE, grid, trials=3, seeds=1, folder=tmp_path, progress=False)
    assert count_learners(monkeypatch) == []
    resumed = tuning.resume_search(tmp_path, progress=False)
    assert resumed == tuning.tune("online", RECIPE, grid, trials=3, seeds=1, progress=False)
    assert resumed == TuningRecord.load(tmp_path).result


def test_a_folder_that_is_deleted_meanwhile_is_told_and_the_search_returns(quick_tune, tmp_path, monkeypatch):
    folder = tmp_path / "search"
    monkeypatch.setattr(side_by_side, "available_memory", lambda: 1)
    count_learners(monkeypatch, lambda n_calls: shutil.rmtree(folder) if n_calls == 1 else None)
    with pytest.warns(PerdureWarning, match="was deleted during the run"):
        result = quick_tune("online", RECIPE, {"learning_rate": [0.02, 0.1]}, folder=folder)
    assert len(result.trials) == 2
    assert not folder.exists()


@pytest.mark.long
def test_one_of_two_processes_searches_the_other_is_refused(tmp_path):
    program = (
        "import sys; from perdure.experiments.tuning.tune import tune\n"
        "from perdure.streams.catalog import BenchmarkRecipe\n"
        "recipe = BenchmarkRecipe('digits-rotations', {'tasks': 2, 'examples_per_task': 40})\n"
        "r = tune('online', recipe, {'learning_rate': [0.02, 0.1]}, folder=sys.argv[1], progress=False)\n"
        "print(sorted((t.hyperparameters['learning_rate'], t.score.per_seed) for t in r.trials))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "search")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(*process.communicate(), process.returncode) for process in both]
    worked = [out for out, _, status in ended if status == 0]
    refused = [errors for _, errors, status in ended if status != 0]
    assert worked
    for errors in refused:  # none if the second process came when the first had ended
        assert "is in use by process" in errors
    assert TuningRecord.load(tmp_path / "search").finished
    assert len(set(worked)) == 1


def test_combinations_tried_apart_are_those_tried_side_by_side(jobs_here, tmp_path):
    done, failing = jobs_here
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 1, "examples_per_task": 20})
    spec = tuning_spec("online", recipe, {"learning_rate": [0.01, 0.1, 1e30]}, seeds=2)
    together = tune_of(spec, None, progress=False)
    failing.add(config_digest(spec.candidates[1].values))
    pages = []
    options = {"progress": False, "engine": Processes(1), "write_page": lambda record: pages.append(record.n_tried)}
    with pytest.raises(PartsError, match=r"1 of 3 parts failed"):
        tune_of(spec, tmp_path, **options)
    assert TuningRecord.load(tmp_path).n_tried == 2
    failing.clear()
    result = resume_search(tmp_path, **options)
    assert len(done) == 3
    for one, other in zip(result.trials, together.trials, strict=True):
        assert one.hyperparameters == other.hyperparameters
        np.testing.assert_allclose(one.score.per_seed, other.score.per_seed, atol=0.01)
    assert pages[0] == 1
    assert pages[-1] == 3
    assert not has_parts(tmp_path)


def test_the_page_shows_what_is_finished(tmp_path):
    """Sizes of memory are tried one after another."""
    pages = []
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 1, "examples_per_task": 20})
    grid = {"memory_size": [5, 10], "learning_rate": 0.1, "replay_batch_size": 2}
    spec = tuning_spec("er", recipe, grid, seeds=1)
    tune_of(spec, tmp_path, progress=False, write_page=lambda record: pages.append(record.n_tried))
    assert pages[0] == 1
