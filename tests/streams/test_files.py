"""Data files on disk: they are found, read, checked against what was published, and listed."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perdure.streams.raw import files
from perdure.streams.raw.files import _uncompressed, fetch, find_file, find_one, load_idx, read_idx, status, verify
from perdure.streams.raw.registry import DATA_SETS, MAX_SIZE, DataError, RawFile
from tests.streams.conftest import LABELS


class TestReadIdx:
    @given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)))
    def test_returns_what_was_written(self, idx_bytes, array):
        read = read_idx(idx_bytes(array), "it")
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, array)
        assert not read.flags.writeable

    def test_reads_big_endian_sizes(self):
        content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 11, 12, 13, 14, 15])
        assert read_idx(content, "it").tolist() == [[10, 11, 12], [13, 14, 15]]

    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_reads_a_file_compressed_or_not(self, idx_bytes, tmp_path, compress):
        path = tmp_path / "some-idx"
        path.write_bytes(compress(idx_bytes(np.arange(5, dtype=np.uint8))))
        assert read_idx(_uncompressed(path.read_bytes(), "it"), "it").tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", r"begins with the bytes \(none\), expected 00 00 08"),
            (bytes([0, 0, 8]), "begins with the bytes 00 00 08, expected"),
            (b"<html>", "begins with the bytes 3c 68 74 6d, expected 00 00 08"),
            (bytes([0, 0, 13, 1, 0, 0, 0, 0]), "begins with the bytes 00 00 0d 01"),
            (bytes([0, 0, 8, 0]), "has 0 dimensions and 4 bytes, expected 1 to 3 dimensions"),
            (bytes([0, 0, 8, 4]) + bytes(16), "has 4 dimensions"),
            (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "has 3 dimensions and 8 bytes, .* at least 16 bytes"),
            (bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2]), r"has 2 bytes of data, expected 3 .* shape \(3,\)"),
            (bytes([0, 0, 8, 1, 0, 0, 0, 1, 1, 2]), "has 2 bytes of data, expected 1 "),
            (bytes([0, 0, 8, 1, 0, 0, 0, 0]), r"has 0 bytes of data, expected 0 \(at least 1\)"),
        ],
    )
    def test_refuses_what_is_not_idx(self, content, message):
        with pytest.raises(DataError, match=message):
            read_idx(content, "it")

    @given(st.binary(max_size=12), st.integers(0, 255))
    def test_any_bytes_give_an_array_or_a_data_error(self, rest, n_dimensions):
        content = bytes([0, 0, 8, n_dimensions]) + rest
        try:
            array = read_idx(content, "it")
        except DataError:
            return
        assert array.tobytes() == content[4 + 4 * array.ndim :]

    def test_names_the_file(self, tmp_path):
        (tmp_path / "bad").write_bytes(b"oops")
        with pytest.raises(DataError, match="bad begins with the bytes 6f 6f 70 73"):
            read_idx(_uncompressed((tmp_path / "bad").read_bytes(), "bad"), "bad")


class TestFind:
    @pytest.mark.parametrize("folder", ["", "mnist"])
    @pytest.mark.parametrize("name", [f"{LABELS}.gz", LABELS, "train-labels.idx1-ubyte.gz", "train-labels.idx1-ubyte"])
    def test_accepts_every_spelling_in_the_folder_and_its_subfolder(self, registry, tmp_path, folder, name):
        path = tmp_path / "mine" / folder / name
        path.parent.mkdir(parents=True)
        path.touch()
        assert find_file(LABELS, tmp_path / "mine") == path

    def test_searches_argument_then_environment_then_cache(self, registry, tmp_path, monkeypatch):
        places = [tmp_path / "argument" / LABELS, tmp_path / "environment" / LABELS, registry / LABELS]
        for path in places:
            path.parent.mkdir(parents=True)
            path.touch()
        monkeypatch.setenv("PERDURE_DATA", str(tmp_path / "environment"))
        for path in places:
            assert find_file(LABELS, tmp_path / "argument") == path
            path.unlink()

    def test_prefers_the_folder_to_its_subfolder_and_gz_to_plain(self, registry, tmp_path):
        (tmp_path / "mnist").mkdir()
        found = []
        paths = [tmp_path / f"{LABELS}.gz", tmp_path / LABELS, tmp_path / "mnist" / f"{LABELS}.gz"]
        for path in paths:
            path.touch()
        for path in paths:
            found.append(find_file(LABELS, tmp_path))
            path.unlink()
        assert found == paths

    def test_a_folder_of_that_name_is_not_the_file(self, registry, tmp_path):
        (tmp_path / f"{LABELS}.gz").mkdir()
        (tmp_path / LABELS).touch()
        assert find_file(LABELS, tmp_path) == tmp_path / LABELS

    def test_unknown_file(self, registry):
        with pytest.raises(DataError, match="no data set has a file 'cats'; choose one of: train-images"):
            find_file("cats")


class TestContent:
    def test_any_compression_passes(self, registry, tmp_path, small_mnist):
        for compressed in (
            small_mnist[LABELS],
            gzip.compress(small_mnist[LABELS], 1),
            gzip.compress(small_mnist[LABELS], 9),
        ):
            path = tmp_path / f"{LABELS}.gz"
            path.write_bytes(compressed)
            assert load_idx(LABELS, tmp_path).tolist() == list(small_mnist[LABELS][8:])
            path.unlink()

    def test_wrong_content_names_file_digests_and_remedy(self, registry, tmp_path, small_mnist):
        path = tmp_path / f"{LABELS}.gz"
        wrong = small_mnist[LABELS][:-1] + b"\x09\x09"
        path.write_bytes(gzip.compress(wrong))
        with pytest.raises(DataError) as caught:
            load_idx(LABELS, tmp_path)
        message = str(caught.value)
        assert str(path) in message
        digests = [hashlib.sha256(content).hexdigest() for content in (wrong, small_mnist[LABELS])]
        assert f"uncompressed content has sha256 {digests[0]}, expected {digests[1]}" in message
        assert f"({len(wrong)} bytes were read)" in message
        assert "deleted is downloaded again" in message

    @pytest.mark.parametrize("damage", ["cut", "flipped", "header"])
    def test_damaged_gzip(self, registry, tmp_path, small_mnist, damage):
        whole = gzip.compress(small_mnist[LABELS])
        damaged = {
            "cut": whole[:-9],
            "flipped": whole[:12] + bytes(byte ^ 0xFF for byte in whole[12:20]) + whole[20:],
            "header": whole[:2] + b"\xff" + whole[3:],
        }[damage]
        (tmp_path / f"{LABELS}.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=f"{LABELS}.gz is a damaged gzip file"):
            load_idx(LABELS, tmp_path)

    def test_reads_a_file_once_and_again_when_it_changes(self, small_mnist_dir):
        first = load_idx(LABELS, small_mnist_dir)
        assert load_idx(LABELS, small_mnist_dir) is first
        assert not first.flags.writeable
        path = small_mnist_dir / f"{LABELS}.gz"
        path.write_bytes(b"now something else")
        with pytest.raises(DataError, match="is not the published"):
            load_idx(LABELS, small_mnist_dir)


class TestRegistry:
    def test_mirrors_are_encrypted(self):
        mirrors = [mirror for data_set in DATA_SETS.values() for mirror in data_set.mirrors]
        assert len(mirrors) >= 3
        assert [mirror for mirror in mirrors if not mirror.startswith("https://")] == []

    def test_each_file_has_a_known_size(self):
        raw = {it.name: it for data_set in DATA_SETS.values() for it in data_set.files}
        assert all(it.download_limit <= it.file_limit < MAX_SIZE for it in raw.values())
        assert raw["train-images-idx3-ubyte"].size == 16 + 60_000 * 28 * 28
        assert raw["t10k-labels-idx1-ubyte"].size == 8 + 10_000

    @given(st.binary(max_size=3000), st.integers(0, 9))
    def test_a_file_may_be_compressed_in_any_way(self, content, level):
        raw = RawFile("it", "", size=len(content))
        assert len(gzip.compress(content, level)) <= raw.file_limit
        assert len(content) <= raw.file_limit

    @pytest.mark.real_data
    def test_the_real_files_are_within_their_limits(self, mnist_dir):
        for raw in DATA_SETS["mnist"].files:
            assert find_file(raw.name, mnist_dir).stat().st_size <= raw.download_limit


class TestCommands:
    def test_data_sets(self):
        assert files.dataset_names() == ["cifar100", "digits", "mnist", "omniglot"]

    def test_digits_are_built_in(self):
        assert status("digits") == verify("digits") == [("digits", None, "built in")]
        assert fetch("digits") == []

    @pytest.mark.parametrize("command", [status, verify, fetch])
    def test_unknown_data_set(self, command):
        with pytest.raises(DataError, match="no data set 'cifar'; choose one of: cifar100, digits"):
            command("cifar")

    def test_status_and_verify_tell_found_missing_verified_and_wrong(self, small_mnist_dir, small_mnist):
        names = list(small_mnist)
        (small_mnist_dir / f"{names[1]}.gz").unlink()
        wrong = small_mnist_dir / f"{names[2]}.gz"
        wrong.write_bytes(b"wrong")
        assert [row.state for row in status("mnist", small_mnist_dir)] == [
            "found",
            "missing",
            "found",
            "found",
        ]
        rows = verify("mnist", small_mnist_dir)
        assert [row.file for row in rows] == names
        assert [row.where is None for row in rows] == [False, True, False, False]
        assert [row.state for row in rows if row.file != names[2]] == ["verified", "missing", "verified"]
        assert rows[2].state.startswith(f"{wrong} is not the published {names[2]}")

    def test_fetch_refuses_a_wrong_file_that_it_found(self, small_mnist_dir):
        (small_mnist_dir / f"{LABELS}.gz").write_bytes(b"wrong")
        with pytest.raises(DataError, match="is not the published train-labels"):
            fetch("mnist", small_mnist_dir)


class TestArchives:
    def test_an_archive_keeps_its_name_and_its_packing(self, registry, tmp_path, small_cifar, monkeypatch, file_server):
        name, content = next(iter(small_cifar.items()))
        mirror = f"{file_server.url}/"
        monkeypatch.setitem(DATA_SETS, "cifar100", DATA_SETS["cifar100"]._replace(mirrors=(mirror,)))
        file_server.answers[f"/{name}"] = content
        assert fetch("cifar100") == [registry / "cifar100" / name]
        assert file_server.asked == [f"/{name}"]
        (registry / "cifar100" / name).write_bytes(gzip.compress(gzip.decompress(content), 1))
        assert verify("cifar100")[0].state.startswith(f"{registry / 'cifar100' / name} is not the published {name}")

    @pytest.mark.parametrize("present", [0, 1])
    def test_one_archive_of_cifar_suffices(self, registry, tmp_path, small_cifar, present):
        name = list(small_cifar)[present]
        path = tmp_path / "mine" / "cifar100" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(small_cifar[name])
        assert status("cifar100", tmp_path / "mine") == [(name, path, "found")]
        assert verify("cifar100", tmp_path / "mine") == [(name, path, "verified")]
        assert find_one("cifar100", tmp_path / "mine") == (path, DATA_SETS["cifar100"].files[present])

    def test_none_of_them_is_told_by_the_first(self, registry, small_cifar):
        assert [row.state for row in status("cifar100")] == ["missing"]
        with pytest.raises(
            DataError, match=r"put one of these files into .*\n  cifar-100-binary.tar.gz\n  cifar-100-py"
        ):
            find_one("cifar100")


@pytest.mark.real_data
def test_the_real_files_are_the_published_ones(mnist_dir):
    assert [row.state for row in verify("mnist", mnist_dir)] == ["verified"] * 4


def test_files_and_catalog_load_without_jax():
    code = (
        "import sys, perdure.streams.raw.files, perdure.streams.catalog as c; c.summary('mnist-rotations');"
        "sys.exit('jax loaded' if 'jax' in sys.modules else 0)"
    )
    source = str(Path(files.__file__).parents[3])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": source})
