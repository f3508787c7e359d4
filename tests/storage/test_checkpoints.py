"""Checkpoints: every bit of a tree there and back, the newest two kept, damage noticed, a disk that refuses."""

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perdure.storage.checkpoints import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from perdure.storage.files import StorageError

SEEDS, LENGTH = 2, 5
ALIGNMENT = tuple(jnp.zeros((3, SEEDS, LENGTH)))


class Snapshot(NamedTuple):
    """The kinds of array that runs keep."""

    state: dict[str, jax.Array]
    losses: jax.Array
    alignment: tuple[jax.Array, ...] | None
    keys: dict[str, jax.Array]
    accuracy: np.ndarray


def snapshot_of(weights=None, images=None, accuracy=None, alignment=None, root=0):
    state = {
        "weights": jnp.zeros((SEEDS, 4)) if weights is None else jnp.asarray(weights),
        "images": jnp.zeros((SEEDS, 3, 2), jnp.uint8) if images is None else jnp.asarray(images),
        "seen": jnp.full(SEEDS, 3, jnp.int32),
    }
    keys = jax.vmap(jax.random.key)(jnp.arange(root, root + SEEDS))
    accuracy = np.full((SEEDS, 3, 2), np.nan) if accuracy is None else accuracy
    return Snapshot(state, jnp.full((SEEDS, LENGTH), jnp.nan), alignment, {"start": keys, "learning": keys}, accuracy)


def save(folder, position=3, snapshot=None, **metadata):
    folder.mkdir(parents=True, exist_ok=True)
    return save_checkpoint(folder, position, snapshot_of() if snapshot is None else snapshot, metadata)


def load(folder, template=None, **options) -> Checkpoint[Any]:
    """Return the checkpoint that is there to be loaded."""
    loaded = load_checkpoint(folder, snapshot_of() if template is None else template, **options)
    assert loaded is not None
    return loaded


def bits(snapshot):
    """Return the leaves as what is compared where bits count, NaN and all."""
    keys = jax.tree.map(jax.random.key_data, snapshot.keys)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(snapshot._replace(keys=keys))]
    return [(leaf.dtype, leaf.shape, leaf.tobytes()) for leaf in leaves]


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
def test_a_checkpoint_holds_every_bit(tmp_path_factory, weights, images, accuracy, root, aligned):
    several = (jnp.asarray(weights[:, :1] + np.full((1, LENGTH), n, np.float32)) for n in range(3))
    alignment = tuple(several) if aligned else None
    saved = snapshot_of(weights, images, accuracy, alignment, root)
    folder = tmp_path_factory.mktemp("checkpoints")
    save(folder, 4, saved, seconds=0.1, words="…")
    loaded = load(folder, snapshot_of(alignment=alignment))
    assert (loaded.position, loaded.metadata) == (4, {"position": 4, "seconds": 0.1, "words": "…"})
    assert bits(loaded.tree) == bits(saved)
    assert jax.tree.structure(loaded.tree) == jax.tree.structure(saved)
    for part in zip(loaded.tree.keys.values(), saved.keys.values(), strict=True):
        drawn, expected = (jax.vmap(lambda key: jax.random.bits(key, (3,)))(keys) for keys in part)
        np.testing.assert_array_equal(drawn, expected)


def test_a_loaded_checkpoint_can_be_continued(tmp_path):
    """Its accuracies can be written to, and writing leaves the file as it is."""
    path = save(tmp_path)
    load(tmp_path).tree.accuracy[0, 0, 0] = 0.5
    assert load(tmp_path).tree.accuracy[0, 0, 0] != 0.5
    assert path.exists()


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path, snapshot_of()) is None
    assert load_checkpoint(tmp_path / "absent", snapshot_of()) is None


@pytest.mark.parametrize(
    "positions",
    [
        (9, 10, 99, 100, 1_000_000),
        tuple(range(999_999_998, 1_000_000_003)),
        (10**12 - 2, 10**12 - 1, 10**12, 10**12 + 1, 10**13, 10**15),
        (0, 1, 2),
    ],
    ids=["small", "9 and 10 digits", "12 digits and more", "from 0"],
)
def test_newest_two_are_kept_and_the_newest_loaded_after_every_save(tmp_path, positions):
    for place, position in enumerate(positions):
        snapshot = snapshot_of(root=place)
        save(tmp_path, position, snapshot)
        kept = sorted(int(path.name.partition("-")[0]) for path in tmp_path.iterdir())
        assert kept == list(positions[max(0, place - 1) : place + 1])
        newest = load(tmp_path)
        assert newest.position == position
        assert bits(newest.tree) == bits(snapshot)
    # A run that is set back to an older checkpoint sets the newest aside, and saves anew.
    flip_bit(max(tmp_path.iterdir()), 500)
    assert load(tmp_path, previous=True).position == positions[-2]


def test_names_sort_as_positions_do_in_a_listing(tmp_path):
    paths = [save(tmp_path, position) for position in (7, 123_456_789, 999_999_999_999)]
    assert [path.name.partition("-")[0] for path in paths] == ["000000000007", "000123456789", "999999999999"]
    assert sorted(paths) == paths


def test_other_files_in_the_folder_stay(tmp_path):
    names = ["notes.txt", "a-b.safetensors", "000000000004.safetensors", "000000000003-x.safetensors.damaged"]
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
    for position in range(5):
        save(tmp_path, position)
    assert load(tmp_path).position == 4
    assert all((tmp_path / name).read_bytes() == b"mine" for name in names)


def test_reading_and_writing_leave_alone_what_another_process_may_be_writing(tmp_path):
    """Only the owner of a folder, `own_folder`, may clear away what a killed process has left half-written."""
    path = save(tmp_path)
    partial = tmp_path / f".000000000004-{0:032x}.safetensors.00c0ffee.tmp"
    partial.write_bytes(path.read_bytes()[:100])
    assert load(tmp_path).position == 3
    newer = save(tmp_path, 4)
    assert set(tmp_path.iterdir()) == {path, newer, partial}


# --- damage


@pytest.fixture
def two_checkpoints(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    return folder, *(save(folder, position) for position in (3, 4))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", [0, 9, 200, 1001])
def test_damage_is_named_and_the_previous_checkpoint_offered(two_checkpoints, damage, place):
    folder, older, newer = two_checkpoints
    damage(newer, place)
    with pytest.raises(CheckpointError) as error:
        load(folder)
    newest = max(folder.iterdir())
    assert str(error.value) == (
        f"checkpoint {newest} is damaged: its content does not match the checksum in its name. "
        f"The previous one, {older.name}, is good, at position 3: "
        f"resume from it with `perdure resume {folder.parent} --previous`"
    )


def test_the_command_offered_names_a_folder_with_spaces(tmp_path):
    folder = tmp_path / "my run" / "checkpoints"
    save(folder, 3)
    flip_bit(save(folder, 4), 9)
    with pytest.raises(CheckpointError, match=f"`perdure resume '{tmp_path}/my run' --previous`"):
        load(folder)


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
    with pytest.raises(
        CheckpointError, match=r"000000000004-.* is damaged: .*no older one; delete the folder .*run and"
    ):
        load(folder, previous=previous)
    assert set(folder.iterdir()) == {older, newer}


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ({"weights": np.zeros((SEEDS, 5), np.float32)}, r"weights is float32\[2, 4\], expected float32\[2, 5\]"),
        ({"images": np.zeros((SEEDS, 3, 2), np.float32)}, r"images is uint8\[2, 3, 2\], expected float32\[2, 3, 2\]"),
        ({"accuracy": np.zeros((SEEDS, 4, 3))}, r"accuracy is float64\[2, 3, 2\], expected float64\[2, 4, 3\]"),
        ({"alignment": ALIGNMENT}, r"alignment\.0 is absent, expected float32\[2, 5\]"),
    ],
)
def test_checkpoint_of_another_run_is_refused_by_the_array(tmp_path, template, complaint):
    save(tmp_path)
    with pytest.raises(CheckpointError, match=f"belongs to another run: .*{complaint}; resume with the configuration"):
        load(tmp_path, snapshot_of(**template))


def test_checkpoint_with_an_array_too_many_is_refused(tmp_path):
    save(tmp_path, snapshot=snapshot_of(alignment=ALIGNMENT))
    with pytest.raises(CheckpointError, match=r"alignment\.0 is float32\[2, 5\], expected none"):
        load(tmp_path)


# --- the disk


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [("limit", "File too large"), ("full", "No space left on device")],
)
def test_disk_that_refuses_leaves_what_was_there(tmp_path, disk, refusal, reason):
    good = save(tmp_path)
    with (
        getattr(disk, refusal)(),
        pytest.raises(StorageError, match=rf"000000000004-\w+\.safetensors could not be written: {reason}"),
    ):
        save(tmp_path, 4)
    assert list(tmp_path.iterdir()) == [good]
    assert bits(load(tmp_path).tree) == bits(snapshot_of())
