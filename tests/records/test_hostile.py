"""Records of hostile content: one that cannot be read is reported, and does not hide the others."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from perdure.records import listing
from perdure.records.errors import ResultsError
from perdure.records.learner import RunRecord
from perdure.records.listing import DamagedRecord, ListedRun, list_records
from perdure.storage.arrays import load_arrays, save_arrays
from perdure.storage.reading import ContentError, read_bytes
from perdure.storage.tables import read_table

LONGEST = 2500


def listed_beside(run, damage):
    """Return what is listed of a folder that was damaged, beside one that was not."""
    damage(run)
    root = run.parent
    other = root / "zzz"
    other.mkdir()
    found = {it.folder.name: it for it in list_records(root)}
    return found[run.name]


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def device(path):
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def unix_socket(path):
    path.unlink(missing_ok=True)
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as it:
            it.bind(path.name)
    finally:
        os.chdir(here)


SPECIAL = {it.__name__: it for it in (pipe, folder, device, unix_socket)}


@pytest.mark.parametrize("name", ["config.json", "summary.json", "environment.json", "accuracy.parquet"])
@pytest.mark.parametrize("what", SPECIAL)
def test_what_is_no_regular_file_is_refused_without_being_opened(run, name, what):
    SPECIAL[what](run / name)
    with pytest.raises(
        ResultsError, match=rf"{name} cannot be read: (Is a directory|it is a pipe, .*), expected a file"
    ):
        RunRecord.load(run)
    assert any(isinstance(it, DamagedRecord) for it in list_records(run.parent))


@pytest.mark.parametrize("read", [read_bytes, load_arrays, lambda path: read_table(path, {"n": "int64"})])
@pytest.mark.parametrize("what", SPECIAL)
def test_no_reader_opens_what_is_no_regular_file(tmp_path, read, what):
    path = tmp_path / "it"
    SPECIAL[what](path)
    with pytest.raises(ContentError, match="expected a file"):
        read(path)


@pytest.mark.parametrize("target", ["config.json", "nowhere", "a/b/c"])
def test_a_link_in_place_of_the_configuration_is_listed_as_damaged(run, target):
    def link(run):
        (run / "config.json").unlink()
        (run / "config.json").symlink_to(target)

    listed = listed_beside(run, link)
    assert isinstance(listed, DamagedRecord)
    assert "config.json cannot be read" in listed.reason


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError("deep"), ZeroDivisionError(), IndexError("y" * 9999)])
def test_no_error_of_one_record_hides_the_others(run, error, monkeypatch, tmp_path):
    def load(path):
        if path.name == "a":
            raise error
        return original(path)

    original = listing.load_record
    monkeypatch.setattr(listing, "load_record", load)
    (run.parent / "a").mkdir()
    (run.parent / "a" / "config.json").write_text("{}")
    damaged, other = (it for it in list_records(run.parent))
    assert isinstance(damaged, DamagedRecord)
    assert type(error).__name__ in damaged.reason
    assert len(damaged.reason) < 600
    assert isinstance(other, ListedRun)


@pytest.mark.parametrize("seeds", [[7, 7], [7, 3, 7], [0, 0, 0]])
def test_seeds_that_come_twice_are_refused(run, seeds):
    config = json.loads((run / "config.json").read_text()) | {"seeds": seeds}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ResultsError, match=rf"'seeds' has {seeds[-1]} twice, expected different seeds"):
        RunRecord.load(run)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfffy"])
@pytest.mark.parametrize("place", ["name", "key"])
def test_texts_that_cannot_be_shown_are_refused(run, text, place):
    config = json.loads((run / "config.json").read_text())
    config["benchmark"] |= {"name": text} if place == "name" else {text: 1}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ResultsError, match=r"config\.json has the text '.*', expected none with NUL") as error:
        RunRecord.load(run)
    str(error.value).encode()


COLUMNS = ["seed", "after_task", "test_task", "accuracy"]
TABLES = {
    "a name twice": pa.Table.from_arrays([*[pa.array([0])] * 4, pa.array([0.5])], names=["seed", *COLUMNS]),
    "every name twice": pa.Table.from_arrays(
        [pa.array([0.5 if name == "accuracy" else 0]) for name in COLUMNS * 2], names=COLUMNS * 2
    ),
    "long names": pa.table({f"{n}" + "x" * 5000: [0] for n in range(500)}),
    "a long type": pa.table({"seed": pa.array([None], pa.struct([(f"f{n}", pa.int8()) for n in range(5000)]))}),
    "no column": pa.table({}),
}


@pytest.mark.parametrize("what", TABLES)
def test_other_columns_are_refused_once_and_in_short(run, what):
    parquet.write_table(TABLES[what], run / "accuracy.parquet")
    with pytest.raises(ResultsError, match=r"accuracy\.parquet has columns .*, expected 'seed': 'int64'") as error:
        RunRecord.load(run)
    assert str(error.value).count("accuracy.parquet") == 1
    assert len(str(error.value)) < LONGEST


@pytest.mark.parametrize("seeds", [[1], list(range(5000)), [-(2**63), 2**63 - 1]])
def test_seeds_at_odds_with_the_configuration_are_told_in_short(run, seeds):
    n = len(seeds)
    columns = {"seed": seeds, "after_task": [0] * n, "test_task": [0] * n, "accuracy": [0.5] * n}
    parquet.write_table(pa.table(columns), run / "accuracy.parquet")
    with pytest.raises(ResultsError, match=r"has seeds \[.*\].*, expected \[3, 7\]") as error:
        RunRecord.load(run)
    assert len(str(error.value)) < 800


@pytest.mark.parametrize("accuracy", [np.nan, np.inf, -np.inf, -1e101, -1e308, 1.5])
def test_accuracies_that_no_figure_could_show_are_refused(run, accuracy):
    table = parquet.read_table(run / "accuracy.parquet").to_pydict()
    table["accuracy"][3] = accuracy
    parquet.write_table(pa.table(table), run / "accuracy.parquet")
    with pytest.raises(ResultsError, match=r"accuracy\.parquet has an accuracy that is above 1 or not finite"):
        RunRecord.load(run)


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", "日本".encode()])
def test_a_folder_of_any_name_is_read(run, name):
    place = Path(os.fsdecode(os.fsencode(run.parent) + b"/" + name))
    run.rename(place)
    assert RunRecord.load(place).finished
    save_arrays(place / "it.safetensors", {"a": np.arange(3)}, {"n": 1})
    arrays, metadata = load_arrays(place / "it.safetensors")
    assert arrays["a"].tolist() == [0, 1, 2]
    assert metadata == {"n": 1}
