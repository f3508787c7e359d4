"""Records of every kind: read, listed beside one another, and refused where they are damaged."""

import contextlib
import io
import json
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from perdure.records.errors import ResultsError
from perdure.records.folder import KINDS
from perdure.records.listing import DamagedRecord, ListedRun, list_records, load_record
from perdure.report.tables import runs_table
from tests.conftest import first_short

JSON_FILES = {
    "learner": ["config.json", "environment.json", "summary.json"],
    "tuning": ["config.json", "request.json", "trials.json", "summary.json"],
    "reproduction": ["config.json", "request.json", "summary.json"],
    "representation": ["config.json", "summary.json"],
    "evaluation": ["config.json", "request.json", "evaluation.json", "summary.json"],
    "comparison": ["config.json", "request.json", "comparison.json", "summary.json"],
    "agent": ["config.json", "summary.json"],
    "stream": ["config.json", "summary.json"],
    "embeddings": ["config.json", "embeddings.json", "summary.json"],
    "methods": ["config.json", "request.json", "summary.json"],
}
TABLES = {
    "learner": ["accuracy.parquet", "alignment.parquet", "over-time.parquet", "classes.parquet"],
    "agent": ["scores.parquet"],
    "stream": ["curves.parquet"],
}
ALL_JSON = [(kind, name) for kind, names in JSON_FILES.items() for name in names]
ALL_TABLES = [(kind, name) for kind, names in TABLES.items() for name in names]
FIGURES = {
    "learner": "RA 68.33\n± 21.18",
    "tuning": "RA 56.25\n± 79.41",
    "reproduction": "",
    "representation": "validation error 0.5",
    "evaluation": "",
    "comparison": "",
    "agent": "score 7.5\n± 38.1",
    "stream": "auto 75.0 %",
    "embeddings": "lda 75.0 %",
    "methods": "",
}
WHAT = {
    "learner": "mer, memory 200, on mnist-rotations",
    "tuning": "mer on digits-rotations",
    "reproduction": "mer",
    "representation": "OML on sine waves",
    "evaluation": "small, sine",
    "comparison": "online, er on oml",
    "agent": "dqn on catcher",
    "stream": "auto, er on rows.csv",
    "embeddings": "er, lda on own.npz",
    "methods": "1 method on mnist-rotations",
}
UNFINISHED = {
    "learner": "0 examples",
    "tuning": "2 of 2 combinations",
    "reproduction": "1 of 1 runs",
    "representation": "0 of 9 steps",
    "evaluation": "5 of 5 parts",
    "comparison": "2 of 2 figures",
    "agent": "0 of 20 frames",
    "stream": "",
    "embeddings": "2 of 2 methods and seeds",
    "methods": "1 of 1 runs",
}


def printed(runs):
    file = io.StringIO()
    Console(file=file, width=120).print(runs_table(runs))
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_and_listed(kind, record_of):
    folder = record_of(kind)
    record = load_record(folder)
    assert record.finished
    (row,) = list_records(folder.parent)
    assert isinstance(row, ListedRun)
    assert (row.folder, row.kind, row.finished, row.progress) == (folder, kind, True, "")
    assert (row.what, row.figure) == (WHAT[kind], FIGURES[kind])
    text = printed([row])
    assert all(word in text for word in (kind, "finished", *WHAT[kind].split()[:2]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_run_tells_how_far_it_is(kind, record_of):
    folder = record_of(kind)
    (folder / "summary.json").unlink()
    (row,) = list_records(folder.parent)
    assert isinstance(row, ListedRun)
    assert (row.finished, row.progress) == (False, UNFINISHED[kind])
    assert "unfinished" in printed([row])


def test_all_kinds_are_listed_beside_one_another_by_name(record_of, tmp_path):
    for kind in KINDS:
        record_of(kind)
    (tmp_path / "figures").mkdir()
    (tmp_path / "file.txt").write_text("")
    listed = [it for it in list_records(tmp_path) if isinstance(it, ListedRun)]
    assert [(it.folder.name, it.kind) for it in listed] == [(kind, kind) for kind in sorted(KINDS)]


def test_the_runs_of_a_study_are_listed_in_its_own_folder(record_of):
    folder = record_of("reproduction")
    assert [it.folder for it in list_records(folder.parent)] == [folder]
    assert [it.folder for it in list_records(folder)] == [folder, folder / "cell"]


def test_listing_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="nothing is not a folder; give one"):
        list_records(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", "{", "config.json cannot be read as JSON"),
        ("config.json", '{"format": 1}', "has format 1, expected 2"),
        ("config.json", '{"format": 2, "kind": "film"}', "'kind' is 'film', expected one of learner"),
        ("search.json", "{}", "holds search.json of perdure 0.1"),
        ("agent.json", "{}", "holds agent.json of perdure 0.1"),
    ],
)
def test_one_damaged_record_hides_no_other(record_of, tmp_path, name, content, reason):
    for kind in ("learner", "tuning"):
        record_of(kind)
    (tmp_path / "[red]middle").mkdir()
    (tmp_path / "[red]middle" / name).write_text(content)
    listed = list_records(tmp_path)
    damaged = [it for it in listed if isinstance(it, DamagedRecord)]
    assert sorted(it.kind for it in listed if isinstance(it, ListedRun)) == ["learner", "tuning"]
    assert [it.folder.name for it in damaged] == ["[red]middle"]
    assert reason in damaged[0].reason
    text = printed(listed)
    assert text.count("finished") == 2
    assert "[red]middle" in text.replace("\n", "")


def test_names_are_printed_as_text(record_of, edit_json):
    folder = record_of("learner")
    edit_json(folder / "config.json", lambda config: config["benchmark"].update(name="[bold]x[/]:boom:"))
    folder = folder.rename(folder.with_name("[red]x"))
    text = printed(list_records(folder.parent))
    assert "[red]x" in text
    assert "[bold]x[/]:boom:" in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_another_kind_is_refused_in_words(kind, record_of):
    folder = record_of(kind)
    for other in set(KINDS) - {kind}:
        loader = type(load_record(record_of(other))).load
        with pytest.raises(ResultsError, match=f"holds a run of the kind {kind}, expected"):
            loader(folder)


# --- damage


@pytest.mark.parametrize(("kind", "name"), ALL_JSON)
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff half", b"[1, 2]", b"null", b'"text"', b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000],
    ids=["empty", "binary", "list", "null", "text", "deep list", "deep table"],
)
def test_a_damaged_file_is_named(kind, name, content, record_of):
    folder = record_of(kind)
    (folder / name).write_bytes(content)
    with pytest.raises(ResultsError, match=rf"{name}.*(cannot be read|expected).*; delete the folder"):
        load_record(folder)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in ALL_JSON if name != "environment.json"])
def test_without_all_of_its_keys_a_file_is_refused_with_what_was_expected(kind, name, record_of):
    folder = record_of(kind)
    (folder / name).write_text("{}")
    with pytest.raises(ResultsError, match=rf"{name} has (no '\w+', expected|format None, expected)"):
        load_record(folder)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in ALL_JSON if name in ("request.json",)])
def test_a_missing_file_is_named(kind, name, record_of):
    folder = record_of(kind)
    (folder / name).unlink()
    with pytest.raises(ResultsError, match=rf"{name} cannot be read: No such file"):
        load_record(folder)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("tuning", "trials.json"), ("evaluation", "evaluation.json"), ("comparison", "comparison.json")],
)
def test_a_finished_run_without_its_figures_is_refused(kind, name, record_of):
    folder = record_of(kind)
    (folder / name).unlink()
    with pytest.raises(ResultsError, match=rf"{name} lacks .* of a finished .*; delete the folder"):
        load_record(folder)


HOSTILE = {
    "a score above 1": ("tuning", "trials.json", "0.625", "1.5", "the score 1.5, expected at most 1"),
    "a huge score": ("tuning", "trials.json", "0.625", "-1e300", "the score -1e\\+300"),
    "an infinite score": ("tuning", "trials.json", "0.625", "1e999", "expected a number of at most 64 bits"),
    "a long integer": ("tuning", "trials.json", "0.625", "9" * 4000, "expected a number of at most 64 bits"),
    "a rate as text": ("tuning", "trials.json", "0.01", '"x"', "'learning_rate' is 'x', expected a number"),
    "one seed less": ("tuning", "trials.json", "0.5,", "", "1 scores of a combination, expected one for each"),
    "a value that is not searched": ("tuning", "request.json", '"memory_size": 5', '"learning_rate": 7', "not among"),
    "no values": ("tuning", "request.json", '"learning_rate": [', '"learning_rate": [], "a": [', "empty list"),
    "a run elsewhere": ("methods", "request.json", '"mer-run"', '"../x"', "expected names of folders in"),
    "a folder elsewhere": ("reproduction", "request.json", '"cell"', '"../x"', "expected names of folders in"),
    "an accuracy beyond float32": ("evaluation", "evaluation.json", "0.75", "1e39", "numbers that fit 32 bits"),
    "a run less": ("evaluation", "evaluation.json", "0.75,", "", "list of length 1, expected 2"),
    "classes not requested": ("evaluation", "evaluation.json", '"classes": 5', '"classes": 6', "expected one of"),
    "classes twice": ("evaluation", "evaluation.json", '"classes": 5', '"classes": 10', "a head twice"),
    "no runs": ("evaluation", "config.json", '"runs": 2', '"runs": 0', "'runs' is 0, expected a whole number ≥ 1"),
    "a name twice": ("evaluation", "config.json", '"sine"', '"small"', "has a name twice"),
    "retained 7": ("comparison", "comparison.json", "0.25", "7", "retained accuracy 7, expected 0 to 1"),
    "retained as text": ("comparison", "comparison.json", "0.25", '"7"', "is '7', expected a number"),
    "no seeds": ("comparison", "config.json", '"seeds": [', '"seeds": [], "x": [', "'seeds' is an empty list"),
    "a stage of one number": ("agent", "config.json", "[\n      0,\n      10\n    ]", "[0]", "stages"),
    "a huge seed": ("learner", "config.json", "7", "7" * 30, "expected a whole number of at most 64 bits"),
    "memory as text": ("learner", "config.json", '"memory_size": 200', '"memory_size": "x"', "'memory_size' is 'x'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_is_refused_with_its_place(name, record_of):
    kind, file, old, new, message = HOSTILE[name]
    path = record_of(kind) / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ResultsError, match=message) as refused:
        load_record(path.parent)
    assert str(path) in str(refused.value)


def loads_or_is_refused(folder):
    """Load a folder's record and list it: the one error that may escape is ResultsError, and then it is listed."""
    record = None
    with contextlib.suppress(ResultsError):
        record = load_record(folder)
    (listed, *_) = list_records(folder)
    assert isinstance(listed, DamagedRecord) == (record is None)
    assert printed([listed])


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from([2**70, -1, 0, 1e308, "cell", "dense", [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def places_in(tree, path=()):
    """Return the paths to all values in nested lists and tables."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places_in(value, (*path, key)))]


@pytest.mark.parametrize(("kind", "name"), first_short(ALL_JSON, 8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_in_a_file_the_record_loads_or_is_refused(kind, name, data, pristine):
    content = json.loads((pristine[kind] / name).read_text())
    *path, last = data.draw(st.sampled_from([place for place in places_in(content) if place]))
    holder = content
    for step in path:
        holder = holder[step]
    if data.draw(st.booleans(), "remove"):
        del holder[last]
    else:
        holder[last] = data.draw(_values, "value")
    with tempfile.TemporaryDirectory() as root:
        folder = shutil.copytree(pristine[kind], Path(root) / kind)
        (folder / name).write_text(json.dumps(content))
        loads_or_is_refused(folder)


@pytest.mark.parametrize(("kind", "name"), first_short([*ALL_TABLES, *ALL_JSON], 8))
def test_flipped_bytes_are_survived(kind, name, record_of):
    folder = record_of(kind)
    content = (folder / name).read_bytes()
    rng = random.Random(name)
    for _ in range(40):
        flipped = bytearray(content)
        for place in rng.choices(range(len(content)), k=rng.randint(1, 4)):
            flipped[place] ^= rng.randrange(1, 256)
        (folder / name).write_bytes(flipped)
        loads_or_is_refused(folder)
    for length in rng.choices(range(len(content)), k=10):
        (folder / name).write_bytes(content[:length])
        loads_or_is_refused(folder)


def table_of(**columns):
    return pd.DataFrame({name: np.asarray(values) for name, values in columns.items()})


HOSTILE_TABLES = {
    "task 20,000": ({"test_task": [0, 20_000], "after_task": [0, 20_000]}, "task 20,000, which would make matrices"),
    "task 2⁶²": ({"test_task": [0, 2**62], "after_task": [0, 2**62]}, "would make matrices of more than"),
    "task −1": ({"test_task": [0, -1], "after_task": [0, 0]}, "do not fit together"),
}


@pytest.mark.parametrize("name", HOSTILE_TABLES)
def test_a_hostile_table_is_refused_before_it_fills_the_memory(name, record_of):
    columns, message = HOSTILE_TABLES[name]
    path = record_of("learner") / "accuracy.parquet"
    table_of(seed=[7, 3], **columns, accuracy=[0.5, 0.5])[["seed", "after_task", "test_task", "accuracy"]].to_parquet(
        path, index=False
    )
    with pytest.raises(ResultsError, match=message):
        load_record(path.parent)


def test_a_table_of_too_many_rows_is_refused_before_it_is_read(record_of):
    path = record_of("learner") / "accuracy.parquet"
    n_rows = 20_000_000
    whole = np.zeros(n_rows, np.int64)  # 30 kB on the disk, 640 MB in memory
    table_of(seed=whole, after_task=whole, test_task=whole, accuracy=np.zeros(n_rows)).to_parquet(path, index=False)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ResultsError, match="has 20,000,000 rows, expected at most 4,000,000"):
        load_record(path.parent)
