"""The folder of a run: who owns it, what it holds, and what it is refused for."""

import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.records.errors import ResultsError
from perdure.records.folder import (
    FORMAT,
    KINDS,
    append_log,
    check_folder,
    config_digest,
    flatten,
    is_finished,
    own_folder,
    read_config,
    read_environment,
    seeds_in,
)
from perdure.records.learner import RunRecord
from perdure.storage.files import StorageError
from perdure.storage.lock import FolderInUseError, FolderLock
from perdure.storage.reading import ContentError

SOURCE = Path(__file__).parents[2] / "src"
CONFIG = {"format": FORMAT, "kind": "learner", "learner": {"name": "mer", "rates": {"beta": 0.1}}, "seeds": [7, 3]}


def files_of(folder):
    """Return the content of every file in a folder but its lock."""
    return {it.relative_to(folder): it.read_bytes() for it in folder.rglob("*") if it.is_file() and it.name != ".lock"}


# --- what it holds


def test_a_new_folder_holds_its_configuration_and_a_place_for_checkpoints(tmp_path):
    with own_folder(tmp_path / "a" / "run", CONFIG) as home:
        assert read_config(home.path) == CONFIG == home.config
        assert home.checkpoints.is_dir()
        assert (home.finished, home.has_checkpoint, home.is_there()) == (False, False, True)
    assert sorted(it.name for it in home.path.iterdir()) == [".lock", "checkpoints", "config.json"]
    assert not is_finished(home.path, CONFIG)
    (home.path / "summary.json").touch()
    assert is_finished(home.path, CONFIG)


def test_configurations_are_compared_as_json_has_them(tmp_path):
    with own_folder(tmp_path, {**CONFIG, "seeds": (7, 3)}):
        pass
    with own_folder(tmp_path, CONFIG):
        pass
    assert check_folder(tmp_path, {**CONFIG, "seeds": (7, 3), "absent": None})


def test_the_environment_is_written_once(tmp_path):
    assert read_environment(tmp_path) is None
    with own_folder(tmp_path, CONFIG) as home:
        home.begin("mer on arrays", {"train": "abc"})
        home.begin("mer on arrays", {"train": "abc"})
    environment = read_environment(tmp_path)
    assert environment is not None
    assert environment["data_checksums"] == {"train": "abc"}
    assert (tmp_path / "log.txt").read_text().count("started: mer on arrays") == 1


def test_the_log_keeps_its_lines_in_order_with_their_times(tmp_path):
    append_log(tmp_path, "started")
    append_log(tmp_path, "task 1 learned")
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    assert re.fullmatch(f"{time} started\n{time} task 1 learned\n", (tmp_path / "log.txt").read_text())


def test_a_folder_of_the_same_configuration_is_opened_again(run, written):
    with own_folder(run, {**written.config, "seeds": (7, 3)}) as home:
        assert home.finished
    assert RunRecord.load(run).finished


def test_a_folder_of_another_configuration_is_refused_with_the_differences(run, written):
    before = files_of(run)
    hyperparameters = {"memory_size": 200, "learning_rate": 0.03, "beta": 0.1}
    other = {**written.config, "learner": {"name": "mer", "hyperparameters": hyperparameters}, "seeds": [0]}
    with pytest.raises(ResultsError) as caught, own_folder(run, other):
        pass
    lines = str(caught.value).splitlines()
    assert lines[1:4] == [
        "  learner.hyperparameters.beta: None there, 0.1 requested",
        "  learner.hyperparameters.learning_rate: 0.1 there, 0.03 requested",
        "  seeds: [7, 3] there, [0] requested",
    ]
    assert lines[4] == "Give this run another folder (--out), or delete that one"
    assert files_of(run) == before


def test_the_digest_is_that_of_canonical_json():
    # sha256 of {"a":[1,2],"b":{"c":0.5}}
    expected = hashlib.sha256(b'{"a":[1,2],"b":{"c":0.5}}').hexdigest()[:8]
    assert config_digest({"b": {"c": 0.5}, "a": [1, 2]}) == expected


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_the_digest_depends_on_values_not_on_order(config):
    reverse = dict(reversed(config.items()))
    assert config_digest(reverse) == config_digest(config)
    key = next(iter(config))
    assert config_digest({**config, key: "other"}) != config_digest(config)


def test_a_run_resumes_only_with_the_data_it_began_with(run, written):
    with own_folder(run, written.config) as home:
        home.begin("mer", {"train-images.gz": "abc"})
        with pytest.raises(
            ResultsError, match=r"begun on other data: .*abc.* there, .*def.* now; resume with the data"
        ):
            home.begin("mer", {"train-images.gz": "def"})


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StorageError, match=r"log\.txt could not be written: No such file or directory"):
        append_log(tmp_path / "absent", "started")


# --- what it is refused for


@pytest.mark.parametrize(
    ("there", "wanted", "line"),
    [
        ({"a": 1}, {"a": 2}, "  a: 1 there, 2 requested"),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, "  a.b: 1 there, None requested"),
        ({"a": {}}, {"a": []}, r"  a: {} there, \[\] requested"),
        ({"a": {}}, {"a": None}, "  a: {} there, None requested"),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, r"  a: \[1, {'b': 2}\] there, \[1, {'b': 3}\] requested"),
        ({"a": 1}, {"a": "1"}, "  a: 1 there, 1 requested"),
    ],
)
def test_every_difference_counts(tmp_path, there, wanted, line):
    with own_folder(tmp_path, CONFIG | there):
        pass
    with pytest.raises(ResultsError, match=rf"it holds a run of another configuration:\n{line}\nGive"):
        check_folder(tmp_path, CONFIG | wanted)


def test_changed_code_is_told_as_such(tmp_path):
    def config(source):
        return CONFIG | {"model": {"name": "mine", "code": {"name": "mine", "source": source}}}

    with own_folder(tmp_path, config("abc")):
        pass
    with pytest.raises(
        ResultsError, match=r"made by other code of the same name: its source has changed since:\n"
    ) as error:
        check_folder(tmp_path, config("def"))
    assert "model.code.source: abc there, def requested" in str(error.value)
    with pytest.raises(ResultsError, match="a run of another configuration"):
        check_folder(tmp_path, config("def") | {"seeds": [1]})


@pytest.mark.parametrize(("there", "wanted"), list(itertools.permutations(KINDS, 2)))
def test_another_kind_of_run_is_refused_before_anything_is_written(tmp_path, there, wanted):
    with own_folder(tmp_path, {"format": FORMAT, "kind": there}):
        pass
    (tmp_path / "checkpoints" / ".x.0123abcd.tmp").touch()
    shutil.rmtree(tmp_path / "checkpoints")
    before = sorted(tmp_path.rglob("*")), files_of(tmp_path)
    with (
        pytest.raises(ResultsError, match=f"kind: {there} there, {wanted} requested"),
        own_folder(tmp_path, {"kind": wanted}),
    ):
        pass
    assert (sorted(tmp_path.rglob("*")), files_of(tmp_path)) == before


@pytest.mark.parametrize("name", ["agent.json", "training.json", "search.json", "evaluation.json", "learners.json"])
def test_a_folder_of_the_first_version_is_refused_before_anything_is_written(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ResultsError, match=rf"holds {name} of perdure 0\.1; give this run another folder"):
        own_folder(tmp_path, CONFIG).__enter__()
    assert [it.name for it in tmp_path.iterdir()] == [name]


def test_a_damaged_configuration_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "config.json").write_text('{"format": 2, ')
    with pytest.raises(ResultsError, match=r"config\.json cannot be read as JSON: .*; delete the folder and run again"):
        own_folder(tmp_path, CONFIG).__enter__()
    assert [it.name for it in tmp_path.iterdir()] == ["config.json"]


def test_a_configuration_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        own_folder(tmp_path / "run", CONFIG | {"rate": float("nan")}).__enter__()
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"folder .*file/run could not be made: .*; choose another place"):
        own_folder(tmp_path / "file" / "run", CONFIG).__enter__()


@pytest.mark.parametrize("seeds", [[], ["a"], [1.5], [True], None, 3, {"a": 1}, [2**64]])
def test_seeds_that_are_no_whole_numbers_are_refused(seeds):
    with pytest.raises(ContentError, match=r"config\.json, 'seeds'"):
        seeds_in({"seeds": seeds}, "config.json")
    assert seeds_in({"seeds": [3, 1]}, "config.json") == (3, 1)


@pytest.mark.long
@given(
    st.dictionaries(
        st.text("ab", min_size=1), st.recursive(st.integers(), lambda it: st.dictionaries(st.text("ab"), it))
    )
)
def test_no_leaf_is_lost_in_a_comparison(config):
    leaves = flatten(config)
    assert sum(not isinstance(it, dict) for it in leaves.values()) == len(re.findall(r": -?[0-9]", json.dumps(config)))


# --- who owns it


def test_one_run_of_a_process_owns_a_folder_and_gives_it_up(tmp_path):
    with own_folder(tmp_path, CONFIG):
        message = rf"{tmp_path} is in use by another run in this process \({os.getpid()}\); wait for it to end"
        with pytest.raises(FolderInUseError, match=message):
            own_folder(tmp_path, CONFIG).__enter__()
    with pytest.raises(KeyError), own_folder(tmp_path, CONFIG):
        raise KeyError
    with own_folder(tmp_path, CONFIG):
        pass


def test_a_lock_file_that_is_a_link_leaves_what_it_leads_to_as_it_is(tmp_path):
    other, folder = tmp_path / "letter.txt", tmp_path / "run"
    other.write_text("Dear reader")
    folder.mkdir()
    (folder / ".lock").symlink_to(other)
    with (
        pytest.raises(StorageError, match=r"\.lock could not be opened: .*that the lock file is no link"),
        FolderLock(folder),
    ):
        pass
    assert other.read_text() == "Dear reader"


HOLD = """
import sys, time
from pathlib import Path
from perdure.records.folder import own_folder

with own_folder(Path(sys.argv[1]), {"format": 2, "kind": "learner"}):
    print("mine", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path):
    """A process that owns the folder `run`."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def test_a_folder_of_another_process_is_refused_with_its_number_and_left_alone(owner, tmp_path):
    folder, config = tmp_path / "run", {"format": 2, "kind": "learner"}
    partial = folder / "checkpoints" / ".000000000004-0.safetensors.00c0ffee.tmp"
    partial.write_bytes(b"being written")
    with pytest.raises(
        FolderInUseError, match=f"is in use by process {owner.pid}; wait for it to end, stop it, or give"
    ):
        own_folder(folder, config).__enter__()
    assert partial.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_process_is_taken_over(owner, tmp_path, number):
    folder, config = tmp_path / "run", {"format": 2, "kind": "learner"}
    partials = [folder / ".config.json.00c0ffee.tmp", folder / "checkpoints" / ".x.safetensors.00c0ffee.tmp"]
    others = [folder / ".own.tmp", folder / ".x.00c0ffee.txt", folder / "checkpoints" / "x.00c0ffee.tmp"]
    for path in partials + others:
        path.touch()
    owner.send_signal(number)
    owner.wait()
    assert (folder / ".lock").read_text() == f"{owner.pid}\n", "the lock is stale"
    with own_folder(folder, config) as home:
        assert home.is_there()
        assert (folder / ".lock").read_text() == f"{os.getpid()}\n"
        assert not any(it.exists() for it in partials), "what the dead process has left half-written is gone"
        assert all(it.exists() for it in others)


def test_an_owner_that_has_not_written_its_number_yet_is_waited_for(tmp_path):
    with FolderLock(tmp_path):
        (tmp_path / ".lock").write_text("")
        timer = threading.Timer(0.2, (tmp_path / ".lock").write_text, ["123456\n"])
        timer.start()
        with pytest.raises(FolderInUseError, match="in use by process 123456"):
            FolderLock(tmp_path).__enter__()
        timer.join()
        (tmp_path / ".lock").write_text("")
        with pytest.raises(FolderInUseError, match="in use by another process"):
            FolderLock(tmp_path).__enter__()


def test_a_folder_without_a_place_for_locks_is_told(tmp_path):
    with pytest.raises(
        StorageError, match=r"\.lock could not be opened: No such file or directory; check that the fold"
    ):
        FolderLock(tmp_path / "absent").__enter__()


def test_a_disk_that_knows_no_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def unsupported(descriptor, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.raises(StorageError, match=r"\.lock could not be locked: Operation not supported; give") as error:
        FolderLock(tmp_path).__enter__()
    assert not isinstance(error.value, FolderInUseError)


@pytest.mark.parametrize("what", ["deleted", "renamed", "made anew", "another lock"])
def test_an_owner_notices_that_its_folder_is_gone(tmp_path, what):
    folder = tmp_path / "run"
    with own_folder(folder, CONFIG) as home:
        assert home.is_there()
        if what == "another lock":
            (folder / ".lock").unlink()
            (folder / ".lock").touch()
        elif what == "renamed":
            folder.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(folder)
        if what == "made anew":
            with own_folder(folder, CONFIG) as other:
                assert other.is_there()
                assert not home.is_there()
        assert not home.is_there()
