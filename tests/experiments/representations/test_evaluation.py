"""Evaluations with a record: resumed with what is missing, refused for other representations."""

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import jax
import numpy as np
import pytest

from perdure.core import PerdureWarning
from perdure.execution.apart import PartsError
from perdure.execution.processes import Processes
from perdure.experiments.representations import evaluate
from perdure.experiments.representations import evaluation as evaluating
from perdure.experiments.representations.evaluate import evaluate_classes
from perdure.experiments.representations.evaluation import evaluate_all, resume_evaluation
from perdure.experiments.representations.evaluation_spec import evaluation_spec
from perdure.machine.signals import InterruptedRunError
from perdure.records.errors import ResultsError
from perdure.records.evaluation import EvaluationRecord, SineResult
from perdure.representation.file import save_representation
from perdure.representation.network import ConvEncoder, DenseEncoder, Representation, he_head
from perdure.representation.sine_protocol import SineTrajectory
from tests.conftest import first_short

SHORT = SineTrajectory(functions=2, steps_each=3, batch_size=4, test_examples=20)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Files of a representation of images and of one of sine waves, which are evaluated quickly."""
    encoder = ConvEncoder((9, 9), 4, (1, 2), key=jax.random.key(0))
    small = Representation(encoder, he_head(encoder.n_features, (), 8, jax.random.key(1)))
    dense = DenseEncoder(4, (8,), key=jax.random.key(0))
    sines = Representation(dense, he_head(8, (), 1, jax.random.key(1)))
    for name, model in (("small", small), ("waves", sines)):
        save_representation(tmp_path / f"{name}.safetensors", model, {}, "")
    pictures = np.random.default_rng(0).integers(0, 256, (6, 20, 9, 9), dtype=np.uint8)
    monkeypatch.setattr(evaluating, "evaluation_images", lambda encoder, data_dir: pictures)
    sine_result = evaluating.evaluate_sines
    monkeypatch.setattr(
        evaluating, "evaluate_sines", lambda *given, **options: sine_result(*given, trajectory=SHORT, **options)
    )
    return [str(tmp_path / f"{name}.safetensors") for name in ("small", "waves")]


def spec_of(places, classes=(2, 4, 3), **options: Any):
    return evaluation_spec(places, classes, **{"runs": 3, **options})


def as_json(evaluations):
    return [
        [it.name, *[{name: np.asarray(part).tolist() for name, part in asdict(r).items()} for r in it.results]]
        for it in evaluations
    ]


def counted(monkeypatch):
    """Return a list of the numbers of classes that are evaluated from now on."""
    calls = []

    def counting(results):
        def count(*given, **options):
            for result in results(*given, **options):
                calls.append(result.classes)
                yield result

        return count

    for name in ("sgd_results", "closed_form_results"):
        monkeypatch.setattr(evaluating, name, counting(getattr(evaluating, name)))
    return calls


def stop_after(monkeypatch, n_parts):
    """Ask the next evaluation to stop once that many parts are finished, at the next look at stop requests."""
    write, written = evaluating.write_evaluations, []

    def stop(*given):
        write(*given)
        written.append(given)
        if len(written) == n_parts:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(evaluating, "write_evaluations", stop)


@pytest.mark.long
@pytest.mark.parametrize("n_done", first_short([2, 1, 3]))
def test_an_evaluation_that_was_stopped_resumes_with_what_is_missing(places, tmp_path, monkeypatch, n_done):
    folder = tmp_path / "evaluation"
    whole = evaluate_all(spec_of(places), progress=False)
    with monkeypatch.context() as patch:
        stop_after(patch, n_done)
        with pytest.raises(InterruptedRunError, match=rf"stopped after {n_done} of 4 parts; .*perdure resume"):
            evaluate_all(spec_of(places), folder, progress=False)
    record = EvaluationRecord.load(folder)
    assert (record.finished, record.n_done, record.n_parts) == (False, n_done, 4)
    calls = counted(monkeypatch)
    assert as_json(resume_evaluation(folder, progress=False)) == as_json(whole)
    assert calls == [2, 4, 3][n_done:]
    assert EvaluationRecord.load(folder).finished
    assert as_json(evaluate_all(spec_of(places), folder, progress=False)) == as_json(whole)
    assert calls == [2, 4, 3][n_done:]
    assert as_json(EvaluationRecord.load(folder).evaluations) == as_json(whole)


def test_only_what_runs_show_is_encoded_and_stop_requests_are_noticed_between(places, monkeypatch):
    encoded, updates = [], []
    encode = evaluating.features_by_class
    monkeypatch.setattr(evaluating, "_ENCODED_TOGETHER", 1)
    monkeypatch.setattr(evaluating, "features_by_class", lambda m, it: encoded.append(len(it)) or encode(m, it))
    spec = spec_of(places[:1], classes=[2], heads=["lda"], runs=1)
    (whole,) = evaluate_all(spec, progress=updates.append)
    assert encoded == [1, 1]  # of 6 classes
    assert [it.words for it in updates][:2] == [f"encoding drawings of {n} of 2 classes" for n in (0, 1)]
    pictures = np.random.default_rng(0).integers(0, 256, (6, 20, 9, 9), dtype=np.uint8)
    (alone,) = evaluate_classes(spec.models["small"], pictures, [2], head="lda", runs=1)
    assert as_json([whole]) == as_json([replace(whole, results=[alone])])
    monkeypatch.setattr(
        evaluating, "features_by_class", lambda m, it: signal.raise_signal(signal.SIGTERM) or encode(m, it)
    )
    with pytest.raises(InterruptedRunError, match=r"^stopped before the first of 1 parts was finished"):
        evaluate_all(spec, progress=False)


def test_sine_waves_are_encoded_once_for_all_rates_and_progress_comes_between_runs(places, monkeypatch):
    monkeypatch.setattr(evaluate, "seed_devices", lambda n: jax.local_devices()[:1])
    updates = []
    evaluate_all(spec_of(places[1:], runs=2), progress=updates.append)
    assert [it.position for it in updates] == [5, 10, 15, 20, 25, 26, 27, 27]


def test_heads_on_sine_waves_resume_one_by_one(places, tmp_path, monkeypatch):
    folder, spec = tmp_path / "evaluation", spec_of(places[1:], heads=["sgd", "ridge"], runs=1)
    whole = evaluate_all(spec, progress=False)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(InterruptedRunError, match="stopped after 1 of 2 parts"):
            evaluate_all(spec, folder, progress=False)
    calls = []
    play = evaluating.evaluate_sines

    def counting(*given, head, **options):
        calls.append(head)
        return play(*given, head=head, **options)

    monkeypatch.setattr(evaluating, "evaluate_sines", counting)
    assert as_json(resume_evaluation(folder, progress=False)) == as_json(whole)
    assert calls == ["ridge"]
    assert [it.head for it in EvaluationRecord.load(folder).evaluations[0].results] == ["sgd", "ridge"]


@pytest.mark.long
def test_a_finished_evaluation_says_where_its_figures_come_from(places, tmp_path, capsys):
    spec = spec_of(places[1:])
    evaluate_all(spec, tmp_path / "evaluation", progress=False)
    evaluate_all(spec, tmp_path / "evaluation")
    assert "these are the figures of the finished evaluation in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": [2]}, "classes: [2, 3] there, [2] requested"),
        ({"runs": 2}, "runs: 3 there, 2 requested"),
        ({"seed": 1}, "seed: 0 there, 1 requested"),
        ({"oracle": 2}, "oracle: None there, 2 requested"),
        ({"fresh_head": True}, "fresh_head: False there, True requested"),
    ],
)
def test_another_evaluation_in_the_folder_is_refused(places, tmp_path, options, message):
    folder = tmp_path / "evaluation"
    evaluate_all(spec_of(places[1:], [2, 3]), folder, progress=False)
    with pytest.raises(ResultsError, match=re.escape(message)):
        evaluate_all(spec_of(places[1:], **({"classes": [2, 3]} | options)), folder, progress=False)


def test_a_representation_that_was_trained_anew_is_another(places, tmp_path):
    folder = tmp_path / "evaluation"
    evaluate_all(spec_of(places[1:]), folder, progress=False)
    dense = DenseEncoder(4, (8,), key=jax.random.key(9))
    save_representation(
        tmp_path / "waves.safetensors", Representation(dense, he_head(8, (), 1, jax.random.key(1))), {}, ""
    )
    with pytest.raises(ResultsError, match=r"representations: .* there, .* requested"):
        resume_evaluation(folder, progress=False)


def test_what_cannot_be_evaluated_leaves_no_folder(places, tmp_path):
    with pytest.raises(ValueError, match="classes is 9, expected 1 to 6"):
        evaluate_all(spec_of(places, [9]), tmp_path / "evaluation", progress=False)
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": 0}, "expected numbers ≥ 1"),
        ({"oracle": 0}, "expected numbers ≥ 1"),
        ({"seed": -1}, "seed is -1, expected 0 to 2147483647"),
        ({"runs": 10**22}, "runs is 1.*, expected at most 1000000"),
        ({"oracle": 10**22}, "oracle is 1.*, expected at most 1000000"),
        ({"seed": 5 * 10**21}, "seed is 5000000000000000000000, expected 0 to"),
    ],
)
def test_numbers_out_of_range_are_refused(places, change, message):
    with pytest.raises(ValueError, match=message):
        spec_of(places, **change)


def test_two_of_one_name_are_refused(places, tmp_path):
    (tmp_path / "other").mkdir()
    same = shutil.copy(places[0], tmp_path / "other")
    with pytest.raises(ValueError, match="called small, small were given, expected one or more, named differently"):
        spec_of([places[0], str(same)])


def test_every_evaluation_has_a_folder_of_its_own(places, tmp_path):
    specs = [spec_of(places), spec_of(places[:1]), spec_of(places, seed=1), spec_of(places, [2])]
    folders = {spec.default_folder(tmp_path) for spec in specs}
    assert len(folders) == 4
    assert all(folder.name.startswith("evaluate-small-") for folder in folders)


def test_errors_that_are_not_finite_are_kept_as_none(places, tmp_path, monkeypatch):
    errors = np.array([[[1.0, np.nan], [np.inf, 2.0]]], np.float32)
    monkeypatch.setattr(evaluating, "evaluate_sines", lambda *given, **options: SineResult("sgd", 0.1, errors))
    folder = tmp_path / "evaluation"
    evaluate_all(spec_of(places[1:], runs=1), folder, progress=False)
    assert json.loads((folder / "evaluation.json").read_text())["results"]["waves"][0]["errors"] == [
        [[1.0, None], [None, 2.0]]
    ]
    (read,) = EvaluationRecord.load(folder).evaluations
    (result,) = read.results
    assert isinstance(result, SineResult)
    np.testing.assert_array_equal(result.errors, [[[1, np.nan], [np.nan, 2]]])


@pytest.mark.long
def test_a_folder_that_is_deleted_meanwhile_is_told_and_the_evaluation_returns(places, tmp_path, monkeypatch):
    folder = tmp_path / "evaluation"
    write = evaluating.write_evaluations
    monkeypatch.setattr(evaluating, "write_evaluations", lambda *given: [write(*given), shutil.rmtree(folder)])
    with pytest.warns(PerdureWarning, match="was deleted during the run"):
        evaluations = evaluate_all(spec_of(places), folder, progress=False)
    assert [it.name for it in evaluations] == ["small", "waves"]


@pytest.mark.long
def test_one_of_two_processes_evaluates_the_other_is_refused(tmp_path, monkeypatch):
    for name in ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS"):  # they compute for long
        monkeypatch.delenv(name, raising=False)
    program = (
        "import sys; from pathlib import Path\n"
        "from perdure.experiments.representations.evaluation import evaluate_all\n"
        "from perdure.experiments.representations.evaluation_spec import evaluation_spec\n"
        "found = evaluate_all(evaluation_spec(['sine'], [2], runs=2), Path(sys.argv[1]), progress=False)\n"
        "print(found[0].results[0].errors.tolist())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "evaluation")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(*process.communicate(), process.returncode) for process in both]
    worked = [out for out, _, status in ended if status == 0]
    assert len(set(worked)) == 1
    for _, errors, status in ended:
        assert status == 0 or "is in use by process" in errors
    assert EvaluationRecord.load(tmp_path / "evaluation").finished


def test_parts_evaluated_apart_are_those_evaluated_here(places, jobs_here, tmp_path):
    done, failing = jobs_here
    together = as_json(evaluate_all(spec_of(places), progress=False))
    failing.add("small-sgd-4")
    with pytest.raises(PartsError, match=r"1 of 4 parts failed: small-sgd-4: "):
        evaluate_all(spec_of(places), tmp_path / "r", progress=False, engine=Processes(1))
    record = EvaluationRecord.load(tmp_path / "r")
    assert (record.n_done, record.n_parts, record.finished) == (3, 4, False)
    failing.clear()
    assert as_json(resume_evaluation(tmp_path / "r", progress=False, engine=Processes(1))) == together
    assert done == ["small-sgd-2", "small-sgd-3", "waves-sgd", "small-sgd-4"]
    assert EvaluationRecord.load(tmp_path / "r").finished
