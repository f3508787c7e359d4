"""Features and classes in archives of NumPy and in tables; what is damaged, hostile or misnamed is refused in words."""

import io
import pickle
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from perdure.storage.reading import ContentError
from perdure.streams.raw import embeddings as reading
from perdure.streams.raw.embeddings import read_embeddings

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = np.array(["cat", "dog"])[np.arange(50) % 2]


@pytest.fixture
def archive(tmp_path):
    """Function that writes an archive of arrays, and returns its path."""

    def write(**arrays):
        np.savez(tmp_path / "own.npz", **arrays)
        return tmp_path / "own.npz"

    return write


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives(save, tmp_path):
    path = tmp_path / "own.npz"
    save(path, x=X, y=Y, test_x=X[:4], test_y=Y[:4], other=np.zeros(3))
    found = read_embeddings(path)
    for one, other in zip(found[:4], (X, Y, X[:4], Y[:4]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read_embeddings(path, "test_x", "test_y").test_x is None


class Dangerous:
    """Something whose unpickling would be noticed."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize("name", ["x", "y"])
def test_objects_are_refused_without_unpickling(archive, name):
    objects = np.array([Dangerous(), 1], object)
    path = archive(**{"x": X, "y": Y, name: objects})
    with pytest.raises(ContentError, match=f"array '{name}' holds Python objects, which are not unpickled"):
        read_embeddings(path)


def test_a_pickle_in_place_of_an_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("x.npy", pickle.dumps(Dangerous()))
        file.writestr("y.npy", b"")
    with pytest.raises(ContentError, match="array 'x' cannot be read"):
        read_embeddings(tmp_path / "own.npz")


def test_what_an_archive_has_is_listed(archive):
    path = archive(emb=X, labels=Y)
    with pytest.raises(ContentError, match=r"has no array 'x'; it has 'emb' \(50, 3\) float32, 'labels' \(50,\) <U3"):
        read_embeddings(path)
    with pytest.raises(ContentError, match=r"has no array 'y'; .*: give label='NAME'"):
        read_embeddings(path, "emb")
    assert read_embeddings(path, "emb", "labels").x.shape == (50, 3)


def test_half_a_test_set_is_refused(archive):
    with pytest.raises(ContentError, match="has 'test_x' and no 'test_y', expected both or none"):
        read_embeddings(archive(x=X, y=Y, test_x=X))


def header_of(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "<f4"})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**9, 10**6), (2**29 + 1, 1), (2**62, 2**62)])
def test_arrays_that_unpack_to_too_much_are_refused_before_anything_is_unpacked(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "own.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", header_of(shape) + bytes(1000))
        file.writestr("y.npy", header_of((3,)) + bytes(12))
    with pytest.raises(ContentError, match=r"so .* bytes, expected at most 2,147,483,648; save a part"):
        read_embeddings(tmp_path / "own.npz")


def test_an_array_that_ends_early_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("x.npy", header_of((100, 3)) + bytes(1000))
        file.writestr("y.npy", header_of((100,)) + bytes(400))
    with pytest.raises(ContentError, match="array 'x' cannot be read"):
        read_embeddings(tmp_path / "own.npz")


def test_a_long_directory_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_MEMBERS", 3)
    monkeypatch.setattr(reading, "_PIECE", 5)  # entries lie across the ends of pieces
    np.savez(tmp_path / "few.npz", x=X, y=Y)
    assert len(read_embeddings(tmp_path / "few.npz").y) == 50
    np.savez(tmp_path / "many.npz", a=X, b=X, c=X, d=X)
    monkeypatch.setattr(reading.zipfile, "ZipFile", None)
    with pytest.raises(ContentError, match="has 4 arrays, expected at most 3"):
        read_embeddings(tmp_path / "many.npz")


@pytest.mark.parametrize("cut", [10, 200, 600, -30])
def test_damaged_archives_are_named(archive, cut):
    path = archive(x=X, y=Y)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ContentError, match=r"own\.npz.* (is a damaged archive|cannot be read)"):
        read_embeddings(path)


def test_flipped_bytes_are_noticed(archive):
    path = archive(x=X, y=Y)
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(content)
    with pytest.raises(ContentError, match=r"cannot be read|damaged"):
        read_embeddings(path)


@pytest.mark.parametrize("name", ["own.npy", "own.pt", "own"])
def test_other_endings_are_refused_with_what_to_do(tmp_path, name):
    with pytest.raises(ContentError, match=r"expected \.npz or \.csv.*np\.savez\('embeddings\.npz', x=x, y=y\)"):
        read_embeddings(tmp_path / name)


def test_files_that_are_not_there(tmp_path):
    for name in ("none.npz", "none.parquet", "none.csv"):
        with pytest.raises(ContentError, match=f"{name} cannot be read: No such file"):
            read_embeddings(tmp_path / name)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_tables_of_numbers(tmp_path, ending):
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(animal=Y)
    path = tmp_path / f"own.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    found = read_embeddings(path, label="animal")
    np.testing.assert_allclose(found.x, X, rtol=1e-6)
    assert list(found.y) == list(Y)
    with pytest.raises(ContentError, match="has no column 'animals'; did you mean 'animal'"):
        read_embeddings(path, label="animals")
    with pytest.raises(ContentError, match="column 'animal' holds 'cat', expected numbers"):
        read_embeddings(path, label="a")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 3), pa.large_list(pa.float64())])
def test_a_column_of_lists(tmp_path, kind):
    table = pa.table({"id": np.arange(50), "emb": pa.array(X.tolist(), kind), "y": Y})
    parquet.write_table(table, tmp_path / "own.parquet")
    for name in (None, "emb"):
        found = read_embeddings(tmp_path / "own.parquet", name)
        np.testing.assert_array_equal(found.x, X)
        assert list(found.y) == list(Y)


LISTS = {
    "ragged": ([[1.0, 2.0], [1.0]], "a list of 1 numbers in row 2, counted from 1, expected 2 numbers"),
    "missing": ([[1.0, 2.0], None], "missing in row 2, counted from 1"),
    "empty": ([[], []], "a list of 0 numbers in row 1"),
    "with a gap": ([[1.0, 2.0], [1.0, None]], "lacks a number in row 2"),
}


@pytest.mark.parametrize("what", LISTS)
def test_lists_that_are_no_features_are_refused(tmp_path, what):
    lists, words = LISTS[what]
    parquet.write_table(
        pa.table({"emb": pa.array(lists, pa.list_(pa.float32())), "y": ["a", "b"]}), tmp_path / "l.parquet"
    )
    with pytest.raises(ContentError, match=words):
        read_embeddings(tmp_path / "l.parquet")


def test_columns_that_cannot_be_told_are_asked_for(tmp_path):
    path = tmp_path / "own.parquet"
    lists = pa.array(X.tolist(), pa.list_(pa.float32()))
    parquet.write_table(pa.table({"a": lists, "b": lists, "y": Y, "n": np.arange(50)}), path)
    with pytest.raises(ContentError, match=r"has several columns of lists: 'a', 'b', .*features='a'"):
        read_embeddings(path)
    with pytest.raises(ContentError, match="has no column 'c'; it has 'a', 'b', 'y', 'n'"):
        read_embeddings(path, "c")
    with pytest.raises(ContentError, match="column 'n' is of type int64, expected lists"):
        read_embeddings(path, "n")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ContentError, match="expected a whole file in the Parquet format"):
        read_embeddings(path)


def test_a_table_that_is_too_large_is_refused_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
    parquet.write_table(pa.table({"e": pa.array(X.tolist(), pa.list_(pa.float32())), "y": Y}), tmp_path / "l.parquet")
    pd.DataFrame(X).assign(y=Y).to_csv(tmp_path / "c.csv", index=False)
    for name in ("l.parquet", "c.csv"):
        with pytest.raises(ContentError, match="features of more than 100 bytes"):
            read_embeddings(tmp_path / name)
