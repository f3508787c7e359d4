"""The record of a search."""

import numpy as np
import pytest

from perdure.metrics.transfer import mean_and_interval
from perdure.records.errors import ResultsError
from perdure.records.tuning import (
    LogUniform,
    Trial,
    TuningRecord,
    TuningRequest,
    TuningResult,
    best_first,
    edge_notes,
    read_trials,
    write_trials,
)
from perdure.storage.files import write_json


def trial(scores=(0.5, 0.6), **hyperparameters):
    return Trial(hyperparameters, mean_and_interval(scores))


def found(space, **best):
    return TuningResult("er", "digits-rotations", {"tasks": 3}, (1000, 1001), space, (trial(**best),))


@pytest.mark.parametrize(
    ("tried", "chosen", "edge"),
    [
        ((0.01, 0.1, 1.0), 0.01, "lower"),
        ((0.1, 1.0, 0.01), 1.0, "upper"),
        ((0.01, 0.1, 1.0), 0.1, None),
        ((0.0, 0.1, 1.0), 0.0, None),  # no rate is smaller
        ((1, 5, 10), 1, None),  # no count is smaller
        ((2, 5, 10), 2, "lower"),
        ((2, 5, 10), 10, "upper"),
        ((True, False), True, None),
        (LogUniform(0.01, 1.0), 0.0158, "lower"),
        (LogUniform(0.01, 1.0), 0.0159, None),
        (LogUniform(0.01, 1.0), 0.630, None),
        (LogUniform(0.01, 1.0), 0.632, "upper"),
    ],
)
def test_a_choice_at_the_edge_is_noted(tried, chosen, edge):
    notes = edge_notes(found({"rate": tried}, rate=chosen))
    if edge is None:
        assert notes == []
    else:
        larger = "larger" if edge == "upper" else "smaller"
        assert notes == [
            f"rate = {chosen:g} lies at the {edge} edge of what was tried; "
            f"better values may lie beyond: extend it with {larger} ones"
        ]


def test_only_what_was_searched_is_noted():
    assert edge_notes(found({"rate": (0.1, 0.2, 0.3)}, rate=0.2, memory_size=5)) == []


def test_best_come_first_equals_in_order_and_those_that_diverged_last():
    trials = [trial((np.nan, 0.9), n=0), trial((0.1, 0.2), n=1), trial((0.5, 0.6), n=2), trial((0.6, 0.5), n=3)]
    assert [it.hyperparameters["n"] for it in best_first(trials)] == [2, 3, 1, 0]
    assert [it.diverged for it in best_first(trials)] == [False, False, False, True]


def test_the_preset_says_where_its_values_come_from():
    preset = found({}, learning_rate=0.1, memory_size=50).preset
    assert preset.source == "tuned by perdure tune on validation streams, seeds 1000, 1001"
    assert (preset.learner, preset.benchmark, preset.memory_size) == ("er", "digits-rotations", 50)
    assert preset.hyperparameters == {"learning_rate": 0.1, "memory_size": 50}
    assert preset.options == {"tasks": 3}
    assert found({}, learning_rate=0.1).preset.memory_size is None


def test_trials_are_read_as_they_were_written(tmp_path):
    trials = [trial(rate=0.1 + 0.2, count=3, flag=True), trial((0.25, np.nan), rate=1e-7, count=3, flag=False)]
    assert read_trials(tmp_path, 2) == {}
    write_trials(tmp_path, trials)
    there = list(read_trials(tmp_path, 2).values())
    assert [dict(it.hyperparameters) for it in there] == [dict(it.hyperparameters) for it in trials]
    np.testing.assert_equal([it.score.per_seed for it in there], [it.score.per_seed for it in trials])
    assert there[1].diverged
    assert there[0].hyperparameters["flag"] is True


def test_a_result_is_of_what_was_requested_last(record_of, edit_json):
    folder = record_of("tuning")
    record = TuningRecord.load(folder)
    assert record.result.best.hyperparameters == {"learning_rate": 0.1, "memory_size": 5, "flag": True}
    assert record.result.space == {"learning_rate": (0.1, 0.01)}
    assert len(record.result.trials) == 2
    edit_json(folder / "request.json", lambda request: request["combinations"].pop(0))
    record = TuningRecord.load(folder)
    assert len(record.trials) == 2
    assert [it.hyperparameters["learning_rate"] for it in record.result.trials] == [0.01]


def test_a_search_that_has_tried_nothing_has_no_result(record_of):
    folder = record_of("tuning")
    (folder / "trials.json").unlink()
    (folder / "summary.json").unlink()
    with pytest.raises(ResultsError, match="has tried no combination yet; resume it with perdure resume"):
        _ = TuningRecord.load(folder).result


@pytest.mark.parametrize("values", [(0.1, 0.2), (3, 5), (True, False), LogUniform(0.01, 1.0)])
def test_a_request_is_read_as_it_was_written(record_of, values):
    folder = record_of("tuning")
    n_trials = 2 if isinstance(values, LogUniform) else None
    request = TuningRequest({"it": values}, n_trials, [{"it": value} for value in values])
    write_json(folder / "request.json", request.to_json())
    (folder / "summary.json").unlink()
    read = TuningRecord.load(folder).request
    assert (read.space, read.n_trials, read.combinations) == (request.space, request.n_trials, request.combinations)
    assert isinstance(read.space["it"], LogUniform) == isinstance(values, LogUniform)
