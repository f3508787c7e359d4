import contextlib
import errno
import os
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import perdure.experiments.supervised.run as running
from perdure.experiments.supervised.program import Alignment, Log, Progress, Snapshot, named_keys
from perdure.learners.online import Online
from perdure.records.learner import RunRecord
from perdure.storage.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from perdure.storage.files import StorageError

SEEDS, LENGTH = 2, 5
ALIGNMENT = Alignment(*jnp.zeros((3, SEEDS, LENGTH)))


def snapshot_of(position=3, weights=None, images=None, accuracy=None, alignment=None, root=0):
    """Return a snapshot with the kinds of array that learners keep."""
    state = {
        "weights": jnp.zeros((SEEDS, 4)) if weights is None else jnp.asarray(weights),
        "images": jnp.zeros((SEEDS, 3, 2), jnp.uint8) if images is None else jnp.asarray(images),
        "seen": jnp.full(SEEDS, position, jnp.int32),
    }
    keys = jax.vmap(named_keys)(jnp.arange(root, root + SEEDS))
    accuracy = np.full((SEEDS, 3, 2), np.nan) if accuracy is None else accuracy
    return Snapshot(
        position, Progress(state, Log(jnp.full((SEEDS, LENGTH), jnp.nan), alignment)), keys, accuracy, 0.1, 0.2
    )


def load(folder, **options) -> Snapshot:
    """Return the checkpoint that is there to be loaded."""
    loaded = load_checkpoint(folder, snapshot_of(0), **options)
    assert loaded is not None
    return loaded


def bits(snapshot, as_bytes):
    keys = jax.tree.map(jax.random.key_data, snapshot.keys)
    return as_bytes(snapshot._replace(keys=keys))


def flip_bit(path, place):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << place % 8
    path.write_bytes(content)


def truncate(path, place):
    os.truncate(path, place % path.stat().st_size)


def empty(path, place):
    path.write_bytes(b"")


def append(path, place):
    path.write_bytes(path.read_bytes() + b"\0")


def rename(path, place):
    """Give the checkpoint another checksum."""
    path.rename(path.with_name(f"{path.name.partition('-')[0]}-{place:032x}.safetensors"))


DAMAGES = [flip_bit, truncate, empty, append, rename]


# --- there and back


floats = arrays.arrays(np.float32, (SEEDS, 4), elements=st.floats(width=32))
pixels = arrays.arrays(np.uint8, (SEEDS, 3, 2))
accuracies = arrays.arrays(np.float64, (SEEDS, 3, 2), elements=st.just(float("nan")) | st.floats(0, 1))


@settings(max_examples=40, deadline=None)
@given(weights=floats, images=pixels, accuracy=accuracies, root=st.integers(0, 2**31 - 3), aligned=st.booleans())
def test_a_checkpoint_holds_every_bit(tmp_path_factory, as_bytes, weights, images, accuracy, root, aligned):
    several = (jnp.asarray(weights[:, :1] + np.full((1, LENGTH), n, np.float32)) for n in range(3))
    alignment = Alignment(*several) if aligned else None
    saved = snapshot_of(4, weights, images, accuracy, alignment, root)
    folder = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(folder, saved)
    loaded = load_checkpoint(folder, snapshot_of(0, alignment=alignment))
    assert loaded is not None
    assert bits(loaded, as_bytes) == bits(saved, as_bytes)
    assert jax.tree.structure(loaded) == jax.tree.structure(saved)
    for part in zip(loaded.keys, saved.keys, strict=True):
        drawn, expected = (jax.vmap(lambda key: jax.random.bits(key, (3,)))(keys) for keys in part)
        np.testing.assert_array_equal(drawn, expected)


def test_a_loaded_checkpoint_can_be_gone_on_from(tmp_path):
    """Its accuracies can be written to, and writing leaves the file as it is."""
    path = save_checkpoint(tmp_path, snapshot_of(3))
    load(tmp_path).accuracy[0, 0, 0] = 0.5
    assert load(tmp_path).accuracy[0, 0, 0] != 0.5
    assert path.exists()


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path, snapshot_of()) is None
    assert load_checkpoint(tmp_path / "absent", snapshot_of()) is None


def test_newest_two_are_kept_and_the_newest_loaded(tmp_path):
    for position in (9, 10, 99, 100, 1_000_000):
        save_checkpoint(tmp_path, snapshot_of(position))
    names = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    assert names == ["000000100", "001000000"]
    assert load(tmp_path).position == 1_000_000


def test_stale_temporary_files_are_removed(tmp_path):
    path = save_checkpoint(tmp_path, snapshot_of(3))
    stale = tmp_path / f".000000004-{0:032x}.safetensors.00c0ffee.tmp"
    stale.write_bytes(path.read_bytes()[:100])
    assert load(tmp_path).position == 3
    assert list(tmp_path.iterdir()) == [path]


# --- damage


@pytest.fixture
def two_checkpoints(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    return folder, *(save_checkpoint(folder, snapshot_of(position)) for position in (3, 4))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", [0, 9, 200, 1001])
def test_damage_is_named_and_the_previous_checkpoint_offered(two_checkpoints, damage, place):
    folder, older, newer = two_checkpoints
    damage(newer, place)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder, snapshot_of(0))
    newest = max(folder.iterdir())
    assert str(error.value) == (
        f"checkpoint {newest} is damaged: its content does not match the checksum in its name. "
        f"The previous one, {older.name}, is good, at example 3: "
        f"go on from it with `perdure resume {folder.parent} --previous`"
    )


def test_previous_sets_the_damaged_one_aside(two_checkpoints):
    folder, older, newer = two_checkpoints
    truncate(newer, 50)
    assert load(folder, previous=True).position == 3
    assert {path.name for path in folder.iterdir()} == {older.name, newer.name + ".damaged"}
    assert load(folder).position == 3


def test_previous_takes_the_newest_if_that_is_good(two_checkpoints):
    folder, older, newer = two_checkpoints
    flip_bit(older, 500)
    assert load(folder, previous=True).position == 4
    assert set(folder.iterdir()) == {older, newer}


@pytest.mark.parametrize("previous", [False, True])
def test_all_damaged_is_said_and_nothing_touched(two_checkpoints, previous):
    folder, older, newer = two_checkpoints
    flip_bit(older, 500)
    flip_bit(newer, 500)
    with pytest.raises(CheckpointError, match=r"000000004-.* is damaged: .*no older one; delete the run's folder and"):
        load_checkpoint(folder, snapshot_of(0), previous=previous)
    assert set(folder.iterdir()) == {older, newer}


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ({"weights": np.zeros((SEEDS, 5), np.float32)}, r"weights is float32\[2, 4\], expected float32\[2, 5\]"),
        ({"images": np.zeros((SEEDS, 3, 2), np.float32)}, r"images is uint8\[2, 3, 2\], expected float32\[2, 3, 2\]"),
        ({"accuracy": np.zeros((SEEDS, 4, 3))}, r"accuracy is float64\[2, 3, 2\], expected float64\[2, 4, 3\]"),
        ({"alignment": ALIGNMENT}, r"alignment\.after is absent, expected float32\[2, 5\]"),
    ],
)
def test_checkpoint_of_another_run_is_refused_by_the_array(tmp_path, template, complaint):
    save_checkpoint(tmp_path, snapshot_of())
    with pytest.raises(CheckpointError, match=f"belongs to another run: .*{complaint}; resume with the configuration"):
        load_checkpoint(tmp_path, snapshot_of(**template))


def test_checkpoint_with_an_array_too_many_is_refused(tmp_path):
    save_checkpoint(tmp_path, snapshot_of(alignment=ALIGNMENT))
    with pytest.raises(CheckpointError, match=r"alignment\.after is float32\[2, 5\], expected absent"):
        load_checkpoint(tmp_path, snapshot_of())


# --- the disk


def no_space(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def file_size_limit(limit):
    """Let the kernel refuse to write files beyond a size (Python ignores the signal that comes with it)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def full_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        yield


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(lambda: file_size_limit(300), "File too large"), (full_disk, "No space left on device")],
    ids=["limit", "full"],
)
def test_disk_that_refuses_leaves_what_was_there(tmp_path, as_bytes, refusal, reason):
    good = save_checkpoint(tmp_path, snapshot_of(3))
    with refusal(), pytest.raises(StorageError, match=rf"000000004-\w+\.safetensors could not be written: {reason}"):
        save_checkpoint(tmp_path, snapshot_of(4))
    assert list(tmp_path.iterdir()) == [good]
    assert bits(load(tmp_path), as_bytes) == bits(snapshot_of(3), as_bytes)


# --- runs that go on


def positions(paths):
    return [int(path.name.partition("-")[0]) for path in paths]


@pytest.mark.parametrize("position", [1, 29, 30, 31, 89])
def test_a_run_broken_off_ends_as_if_it_had_not_been(
    to_disk, power_cut_at, checkpoints, uninterrupted, assert_same, position
):
    power_cut_at(position, to_disk)
    assert positions(checkpoints()) == [n for n in (position - 1, position - 2) if n > 0]
    assert_same(to_disk(), uninterrupted)


def test_a_run_broken_off_again_and_again(to_disk, power_cut_at, uninterrupted, assert_same, tmp_path):
    for position in (4, 5, 60, 90):
        power_cut_at(position, to_disk)
        assert not RunRecord.load(tmp_path / "run").finished
    assert_same(to_disk(), uninterrupted)


def test_power_lost_between_the_last_checkpoint_and_the_record(
    to_disk, uninterrupted, assert_same, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(running, "_write_record", lambda *arguments: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            to_disk()
    assert not RunRecord.load(tmp_path / "run").finished
    assert_same(to_disk(), uninterrupted)
    assert RunRecord.load(tmp_path / "run").finished


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_goes_on_from_the_previous_checkpoint(
    to_disk, power_cut_at, checkpoints, uninterrupted, assert_same, damage, tmp_path
):
    power_cut_at(50, to_disk)
    damage(checkpoints()[0], 1001)
    with pytest.raises(CheckpointError, match="--previous"):
        to_disk()
    assert_same(to_disk(previous=True), uninterrupted)
    assert "went on from example 48" in (tmp_path / "run" / "log.txt").read_text()


def test_checkpoint_of_another_run_in_the_folder_is_refused(quick_run, benchmark, to_disk, power_cut_at, tmp_path):
    power_cut_at(10, to_disk)
    quick_run(Online(learning_rate=0.1), benchmark, seeds=2, folder=tmp_path / "other")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "other" / "checkpoints").rename(tmp_path / "run" / "checkpoints")
    complaint = r"belongs to another run: progress\.log\.alignment\.after is absent, expected float32\[2, 90\]"
    with pytest.raises(CheckpointError, match=complaint):
        to_disk()


@pytest.mark.parametrize("refusal", [lambda: file_size_limit(2_000), full_disk], ids=["limit", "full"])
def test_a_run_out_of_disk_can_go_on_once_there_is_space(
    to_disk, one_by_one, checkpoints, uninterrupted, assert_same, tmp_path, monkeypatch, refusal
):
    def save_on_a_disk_that_fills(folder, snapshot):
        with refusal() if snapshot.position > 40 else contextlib.nullcontext():
            return save_checkpoint(folder, snapshot)

    with monkeypatch.context() as patch:
        patch.setattr(running, "save_checkpoint", save_on_a_disk_that_fills)
        with pytest.raises(StorageError, match=r"000000041-.*could not be written"):
            to_disk()
    assert positions(checkpoints()) == [40, 39]
    assert {path.suffix for path in (tmp_path / "run" / "checkpoints").iterdir()} == {".safetensors"}
    assert_same(to_disk(), uninterrupted)
