from __future__ import annotations

import os
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from perdure.streams.cifar100 import cifar100, load_cifar100, read_binary_archive, read_python_archive
from perdure.streams.raw.registry import DataError

READERS = {"cifar-100-binary.tar.gz": read_binary_archive, "cifar-100-python.tar.gz": read_python_archive}


@pytest.mark.parametrize("name", READERS)
class TestArchives:
    def test_holds_the_images_channel_by_channel(self, small_cifar, cifar_arrays, name):
        read = READERS[name](small_cifar[name], "it")
        for part, (pixels, labels) in zip(read, cifar_arrays.values(), strict=True):
            np.testing.assert_array_equal(part.x, pixels.reshape(-1, 3, 32, 32))
            np.testing.assert_array_equal(part.y, labels)
            assert part.y.dtype == np.int32
            assert not any(array.flags.writeable for array in part)

    def test_refuses_a_cut_archive(self, small_cifar, name):
        with pytest.raises(DataError, match=r"it is a damaged tar\.gz archive"):
            READERS[name](small_cifar[name][:-5000], "it")

    def test_refuses_an_archive_of_other_names(self, tar_bytes, name):
        with pytest.raises(DataError, match=r"it holds no file cifar-100-.*/train"):
            READERS[name](tar_bytes({"../cifar-100-python/train": b"", "train.bin": b""}), "it")

    def test_is_found_by_its_name(self, registry, tmp_path, small_cifar, cifar_arrays, name):
        (tmp_path / name).write_bytes(small_cifar[name])
        first, again = load_cifar100(tmp_path), load_cifar100(tmp_path)
        assert first is again
        np.testing.assert_array_equal(first.test.y, cifar_arrays["test"][1])

    def test_only_the_published_one_is_read(self, registry, tmp_path, tar_bytes, name):
        (tmp_path / name).write_bytes(tar_bytes({"cifar-100-python/train": pickle.dumps(os.getcwd)}))
        with pytest.raises(DataError, match=f"{name} is not the published {name}: its content has sha256"):
            load_cifar100(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.bin in it has 0 bytes, expected a multiple of 3074"),
        (bytes(3073), "train.bin in it has 3073 bytes, expected a multiple of 3074"),
        (bytes([0, 100]) + bytes(3072), "train.bin in it has the label 100, expected 0 to 99"),
    ],
)
def test_refuses_bad_records(tar_bytes, content, message):
    files = {"cifar-100-binary/train.bin": content, "cifar-100-binary/test.bin": bytes(3074)}
    with pytest.raises(DataError, match=message):
        read_binary_archive(tar_bytes(files), "it")


class Runs:
    """Pickles as a call."""

    def __init__(self, function: Callable, *arguments: object):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def read_pickle(tar_bytes, content: bytes):
    files = {"cifar-100-python/train": content, "cifar-100-python/test": content}
    return read_python_archive(tar_bytes(files), "it")


PIXELS = np.zeros((2, 3072), np.uint8)


class TestPickle:
    @pytest.mark.parametrize("protocol", [0, 1, 2, 4])
    def test_reads_plain_arrays_of_every_protocol(self, tar_bytes, protocol):
        facts = {b"data": PIXELS + 7, b"fine_labels": [3, 99]}
        train, test = read_pickle(tar_bytes, pickle.dumps(facts, protocol))
        assert train.y.tolist() == test.y.tolist() == [3, 99]
        assert (train.x == 7).all()

    def test_reads_what_python_2_wrote(self, tar_bytes):
        """Byte strings are `str` there, and arrays come from `numpy.core.multiarray`."""
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x01M\x00\x0ctcnumpy\ndtype\n"
            b"(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
        )
        content = b"\x80\x02}(U\x04data" + array + bytes(range(256)) * 12 + b"tbU\x0bfine_labels](K\x05eu."
        train, _ = read_pickle(tar_bytes, content)
        assert train.y.tolist() == [5]
        assert train.x.ravel().tolist() == list(range(256)) * 12

    @pytest.mark.parametrize(
        ("call", "name"),
        [
            (Runs(os.system, "touch evil"), "posix.system|nt.system"),
            (Runs(eval, "open('evil', 'w')"), "builtins.eval|__builtin__.eval"),
            (Runs(os.getcwd), "posix.getcwd|nt.getcwd"),
            (Runs(np.load, "evil"), "numpy.load"),
        ],
    )
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_runs_nothing(self, tar_bytes, tmp_path, monkeypatch, call, name, protocol):
        monkeypatch.chdir(tmp_path)
        content = pickle.dumps({b"data": call, b"fine_labels": [0]}, protocol)
        with pytest.raises(DataError, match=rf"train in it asks for ({name}), expected .*nothing was run"):
            read_pickle(tar_bytes, content)
        assert list(tmp_path.iterdir()) == []

    def test_encodes_in_no_other_way(self, tar_bytes):
        import codecs

        content = pickle.dumps({b"data": Runs(codecs.encode, "x", "rot13"), b"fine_labels": [0]}, 4)
        with pytest.raises(DataError, match="asks for the encoding 'rot13', expected 'latin1'"):
            read_pickle(tar_bytes, content)

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ([1, 2], "train in it has no data and fine_labels"),
            ({b"data": PIXELS}, "train in it has no data and fine_labels"),
            ({b"data": [1], b"fine_labels": [1]}, "has data of type list and labels of type list, expected an array"),
            ({b"data": PIXELS, b"fine_labels": 3}, "has data of type ndarray and labels of type int, expected an"),
            ({b"data": PIXELS[:, :5], b"fine_labels": [1, 2]}, r"has 2 labels and data uint8\[2, 5\], expected"),
            ({b"data": PIXELS, b"fine_labels": [1]}, r"has 1 labels and data uint8\[2, 3072\], expected"),
            ({b"data": PIXELS.astype(float), b"fine_labels": [1, 2]}, r"has 2 labels and data float64\[2, 3072\]"),
            ({b"data": PIXELS[:0], b"fine_labels": []}, r"has 0 labels and data uint8\[0, 3072\], expected"),
            ({b"data": PIXELS, b"fine_labels": ["a", "b"]}, "has other labels than numbers from 0 to 99"),
            ({b"data": PIXELS, b"fine_labels": [[1], [2, 3]]}, "has other labels than numbers from 0 to 99"),
            ({b"data": PIXELS, b"fine_labels": [1, -1]}, "has other labels than numbers from 0 to 99"),
            ({b"data": PIXELS, b"fine_labels": [1, 100]}, "has other labels than numbers from 0 to 99"),
        ],
    )
    def test_refuses_other_content(self, tar_bytes, facts, message):
        with pytest.raises(DataError, match=message):
            read_pickle(tar_bytes, pickle.dumps(facts, 4))

    def test_refuses_a_damaged_pickle(self, tar_bytes):
        whole = pickle.dumps({b"data": PIXELS, b"fine_labels": [1, 2]}, 2)
        for content in (b"", b"text", whole[:-100], whole[:2000]):
            with pytest.raises(DataError, match="train in it is a damaged pickle"):
                read_pickle(tar_bytes, content)


class TestBenchmark:
    def test_five_classes_a_task_and_the_others_masked(self, small_data_dir):
        made = cifar100(0, examples_per_task=20, data_dir=small_data_dir)
        assert made.train.x.shape == (400, 3, 32, 32)
        assert made.train.x.dtype == np.uint8
        assert made.n_tasks == 20
        assert made.n_outputs == 100
        assert made.class_tasks == tuple(label // 5 for label in range(100))
        np.testing.assert_array_equal(made.train.y // 5, made.train.task)
        assert [sorted(test.y) for test in made.test[:2]] == [sorted([*range(5 * t, 5 * t + 5)] * 2) for t in range(2)]

    def test_images_keep_their_labels(self, small_data_dir, cifar_arrays):
        made = cifar100(3, tasks=4, examples_per_task=6, data_dir=small_data_dir)
        known = {pixels.tobytes(): label for pixels, label in zip(*cifar_arrays["train"], strict=True)}
        assert [known[x.tobytes()] for x in made.train.x] == made.train.y.tolist()

    def test_the_order_of_tasks_moves_the_masks(self, small_data_dir):
        made = cifar100(0, tasks=2, examples_per_task=6, data_dir=small_data_dir, task_order=[1, 0])
        assert made.class_tasks == (1,) * 5 + (0,) * 5
        np.testing.assert_array_equal(made.train.y // 5, 1 - made.train.task)

    def test_defaults_are_those_of_the_protocol(self, small_data_dir):
        with pytest.raises(ValueError, match="examples per task is 2500, expected 1 to 20, the number of training"):
            cifar100(0, data_dir=small_data_dir)
