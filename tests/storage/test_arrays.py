"""What `save_arrays` writes, `load_arrays` reads."""

import json
import re

import numpy as np
import pytest

from perdure.storage import arrays as module
from perdure.storage.arrays import load_arrays, save_arrays
from perdure.storage.files import StorageError
from perdure.storage.reading import ContentError

ARRAYS = {"a": np.arange(6.0)}


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({"classes": ["a\0b"]}, "expected none with NUL or half of a surrogate pair"),
        ({"columns": {"a\0": 1}}, "expected none with NUL"),
        ({"classes": ["a\ud800"]}, "expected none with NUL or half of a surrogate pair"),
        ({"categories": ["x" * 100_000] * 64}, "is larger than 5,000,000 bytes, expected at most that"),
        ({"deep": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}, "more than 32 levels deep"),
    ],
)
def test_metadata_that_could_not_be_read_is_not_written(tmp_path, metadata, complaint):
    path = tmp_path / "it.safetensors"
    save_arrays(path, ARRAYS, {"n": 1})
    with pytest.raises(
        StorageError, match=f"{re.escape(str(path))} was not written, since it could not be .*{complaint}"
    ):
        save_arrays(path, ARRAYS, metadata)
    assert load_arrays(path)[1] == {"n": 1}


def test_arrays_that_could_not_be_read_are_not_written(tmp_path, monkeypatch):
    path = tmp_path / "it.safetensors"
    save_arrays(path, ARRAYS, {})
    size = path.stat().st_size
    monkeypatch.setattr(module, "MAX_BYTES", size)
    save_arrays(path, ARRAYS, {})
    monkeypatch.setattr(module, "MAX_BYTES", size - 1)
    with pytest.raises(StorageError, match=f"it has {size} bytes, expected at most {size - 1}; make the networks or"):
        save_arrays(tmp_path / "other.safetensors", ARRAYS, {})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3"])
def test_numbers_that_numpy_does_not_have_are_named(tmp_path, kind):
    size = {"BF16": 4, "F8_E4M3": 2}[kind]
    entries = {"w": {"dtype": kind, "shape": [2], "data_offsets": [0, size]}, "__metadata__": {"perdure": "{}"}}
    header = json.dumps(entries).encode()
    (tmp_path / "own.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    with pytest.raises(ContentError, match=r"own\.safetensors (has 'w' of type|cannot be read as safetensors)"):
        load_arrays(tmp_path / "own.safetensors")
