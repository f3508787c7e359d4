"""Features and classes in archives of NumPy and in tables; what is damaged, hostile or misnamed is refused in words."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from perdure.storage.reading import ContentError
from perdure.streams.raw import embeddings as reading
from perdure.streams.raw import npz, zips
from perdure.streams.raw.embeddings import read_embeddings
from tests.damaged import count_refused

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


def described(header, values=b"", version=1):
    """An array with any description."""
    length = struct.pack("<H" if version == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode("latin1") + b"\n" + values


def form(shape, descr="'<f4'", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


DESCRIBED = {
    "beyond 64 bits": (described(form(f"(0, {2**70})")), "its shape is"),
    "less than none": (described(form("(-1, 4)")), "its shape is"),
    "truths": (described(form("(True, 4)"), bytes(16)), "its shape is"),
    "no tuple": (described(form("4"), bytes(16)), "its shape is"),
    "nested": (described("(" * 5_000), "its description is"),
    "very nested": (described("-" * 9_000 + "1"), "its description is"),
    "NUL": (described("\0"), "its description is"),
    "other names": (described("{'shape': (2,)}"), "its description is"),
    "unhashable": (described("{[]: 1}"), "its description is"),
    "unknown type": (described(form("(1,)", "'<q7'")), "which NumPy does not know"),
    "type too large": (described(form("(1,)", "'<U99999999999'")), "which NumPy does not know|bytes, expected at most"),
    "type of types": (described(form("(3,)", "('<f4', (2, 3))")), "which NumPy does not know"),
    "a table": (described(form("(3,)", "[('a', '|O')]")), "a table of the columns 'a'"),
    "nothing, very often": (described(form("(1000000000000,)", "'|V0'")), "bytes, expected at most"),
    "version": (described(form("(1, 4)"), bytes(16), version=9), "no array of a known format"),
    "long": (described(form("(1, 4)") + " " * 10_000), "its description has .* bytes, expected at most 10,000"),
}


@pytest.mark.parametrize("what", DESCRIBED)
def test_descriptions_that_are_none_are_refused(what, tmp_path):
    content, words = DESCRIBED[what]
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("x.npy", content)
        file.writestr("y.npy", header_of((3,)) + bytes(12))
    with pytest.raises(ContentError, match=rf"own\.npz, array 'x' .*{words}") as found:
        read_embeddings(tmp_path / "own.npz")
    assert "allow_pickle" not in str(found.value)
    with pytest.raises(ContentError, match="has no array 'z'; it has 'x' "):
        read_embeddings(tmp_path / "own.npz", "z")


def test_a_long_description_is_not_read(tmp_path):
    size = 64 << 20
    with zipfile.ZipFile(tmp_path / "own.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + bytes(size))
        file.writestr("y.npy", header_of((3,)) + bytes(12))
    tracemalloc.start()
    with pytest.raises(ContentError, match="its description has 67,108,864 bytes"):
        read_embeddings(tmp_path / "own.npz")
    assert tracemalloc.get_traced_memory()[1] < size / 8
    tracemalloc.stop()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", "<i8", "|u1", "|b1", "<U0"])
def test_arrays_of_all_kinds_come_as_numpy_reads_them(order, kind, archive):
    expected = np.asarray(np.arange(60).reshape(5, 3, 4) % 7, kind, order=order)
    path = archive(x=expected, y=np.arange(5))
    with np.load(path) as rival:
        found = read_embeddings(path).x
        np.testing.assert_array_equal(found, rival["x"])
        assert found.dtype == rival["x"].dtype
        found[0] = found[1]  # may be written, too


def test_archives_of_python_2_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("x.npy", described(form("(2L, 3L)"), np.arange(6, dtype="<f4").tobytes()))
        file.writestr("y.npy", described(form("(2L,)"), bytes(8)))
    np.testing.assert_array_equal(read_embeddings(tmp_path / "own.npz").x, [[0, 1, 2], [3, 4, 5]])


def same_name(content):
    """Say that a name is UTF-8, which it then is not."""
    entry = content.find(b"PK\x01\x02")
    content[entry + 9] |= 8
    content[entry + 46] = 255


def flip(content):
    for place in range(45, 80):
        content[place] ^= 255


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damage", [flip, same_name])
def test_damage_is_named_however_the_archive_is_packed(packing, damage, tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w", packing) as file:
        file.writestr("x.npy", header_of((50, 3)) + X.tobytes())
        file.writestr("y.npy", header_of((50,)) + X[:, 0].tobytes())
    assert len(read_embeddings(tmp_path / "own.npz").x) == 50
    content = bytearray((tmp_path / "own.npz").read_bytes())
    damage(content)
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(ContentError, match=r"own\.npz"):
        read_embeddings(tmp_path / "own.npz")


def test_whatever_bytes_are_changed_is_named_or_read(archive):
    path = archive(x=X, y=Y, test_x=X, test_y=Y)
    assert count_refused(path, read_embeddings, 300) > 200


def test_an_array_that_ends_early_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("x.npy", header_of((100, 3)) + bytes(1000))
        file.writestr("y.npy", header_of((100,)) + bytes(400))
    with pytest.raises(ContentError, match="array 'x' cannot be read"):
        read_embeddings(tmp_path / "own.npz")


def test_a_long_directory_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_MEMBERS", 3)
    monkeypatch.setattr(zips, "_PIECE", 2)  # entries lie across the ends of pieces
    np.savez(tmp_path / "few.npz", x=X, y=Y)
    assert len(read_embeddings(tmp_path / "few.npz").y) == 50
    np.savez(tmp_path / "many.npz", a=X, b=X, c=X, d=X)
    monkeypatch.setattr(npz.zipfile, "ZipFile", None)
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
    with pytest.raises(ContentError, match="column 'animal' holds 'cat' in row 1, counted from 1, expected numbers"):
        read_embeddings(path, label="a")


@pytest.mark.parametrize("ending", ["csv", "ndjson"])
def test_what_is_no_number_is_named_with_its_row(tmp_path, ending):
    path = tmp_path / f"own.{ending}"
    texts = ["1", "2"] * 600 + ["x"]
    if ending == "csv":
        path.write_text("a,b,y\n" + "".join(f"1,{it},c\n" for it in texts))
    else:
        path.write_text("".join(f'{{"a": 1, "b": "{it}", "y": "c"}}\n' for it in texts))
    with pytest.raises(ContentError, match=r"column 'b' holds 'x' in row 1201, counted from 1, expected numbers"):
        read_embeddings(path)


def test_numbers_beyond_any_float_are_named(tmp_path):
    (tmp_path / "own.ndjson").write_text(f'{{"a": 1{"0" * 400}, "y": 0}}\n')
    with pytest.raises(ContentError, match=r"column 'a' holds 1000.* in row 1"):
        read_embeddings(tmp_path / "own.ndjson")


def test_features_of_a_table_are_not_chosen(tmp_path):
    (tmp_path / "own.csv").write_text("a,b,y\n1,2,c\n")
    with pytest.raises(ContentError, match=r"features='a' was given for .*own\.csv, a table whose .* leave it out"):
        read_embeddings(tmp_path / "own.csv", "a")


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
