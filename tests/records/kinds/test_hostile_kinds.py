"""Hostile agents and studies: refused in words, or shown as text."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from perdure.cli import report as reporting
from perdure.records.agent import MAX_LEVELS
from perdure.records.errors import ResultsError
from perdure.records.listing import DamagedRecord, list_records, load_record


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


AGENTS = {
    "3,000 levels": ({"levels": [[1]] * 3000}, rf"3,000 levels, expected 1 to {MAX_LEVELS}"),
    "no level": ({"levels": []}, "0 levels"),
    "a level more than was scored": ({"levels": [[1]] * 3}, "has not one row for each"),
    "a level less than was scored": ({"levels": [[1]], "stages": [[0, 20]]}, "has not one row for each"),
    "a stage of no level": ({"stages": [[0, 10], [2, 10]]}, "a level from 0 to 1"),
    "a stage of a negative level": ({"stages": [[-1, 10], [1, 10]]}, "a level from 0 to 1"),
    "a stage without frames": ({"stages": [[0, 10], [1, 0]]}, "a stage of 0 frames"),
    "no stage": ({"stages": []}, "0 stages"),
    "100,000 stages": ({"stages": [[0, 1]] * 100_000}, "100,000 stages"),
}


@pytest.mark.parametrize("what", AGENTS)
def test_levels_and_stages_agree_with_the_scores(record_of, what):
    change, message = AGENTS[what]
    path = record_of("agent")
    edit(path / "config.json", lambda config: config.update(change))
    with pytest.raises(ResultsError, match=message):
        load_record(path)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, 1e101, -1e300])
def test_scores_that_no_figure_could_show_are_refused(record_of, score):
    path = record_of("agent") / "scores.parquet"
    table = parquet.read_table(path).to_pydict()
    table["score"][5] = score
    parquet.write_table(pa.table(table), path)
    with pytest.raises(ResultsError, match=r"scores\.parquet has a score that is beyond"):
        load_record(path.parent)


@pytest.mark.parametrize("seconds", [0, 0.0, -0.0, -1])
def test_a_run_that_took_no_time_is_reported(record_of, capsys, seconds):
    path = record_of("agent")
    edit(path / "summary.json", lambda summary: summary.update(training_seconds=seconds))
    reporting.report([path])
    assert "7.50 ± " in capsys.readouterr().out


VALUES = [None, "fast", [1, [2]], {"a": 1}, 10**400, "$x$" * 5000, True, 0.1]


@pytest.mark.parametrize("value", VALUES, ids=lambda it: repr(it)[:20])
def test_a_study_shows_hyperparameters_of_any_kind(record_of, capsys, value):
    path = record_of("reproduction")
    edit(path / "cell" / "config.json", lambda it: it["learner"]["hyperparameters"].update(strange=value))
    reporting.report([path])
    assert "strange" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x" * 256, "é" * 200, "..", ".", "", "a/b", "/etc", "x" * 100_000])
def test_a_study_s_runs_have_names_of_folders(record_of, name):
    path = record_of("reproduction")
    edit(path / "request.json", lambda request: request["tables"].update(retained=[name]))
    with pytest.raises(ResultsError, match=r"request\.json, .* has .*, expected names of folders") as error:
        load_record(path)
    assert len(str(error.value)) < 500 + len(str(path))
    assert isinstance(list_records(path.parent)[0], DamagedRecord)


def test_searches_of_equal_folder_names_have_figures_of_their_own(record_of, tmp_path):
    one, figures = record_of("tuning"), tmp_path / "figures"
    others = [tmp_path / place / one.name for place in ("b", "c")]
    for other in others:
        shutil.copytree(one, other)
    reporting.report([one, *others], figures)
    assert len(list(figures.rglob("search.png"))) == 3
