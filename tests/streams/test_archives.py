from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from perdure.streams.raw import archives
from perdure.streams.raw.registry import DataError


def png(pixels: np.ndarray, **options) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", **options)
    return content.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


PIXELS = {"b/2.png": np.eye(3, dtype=bool), "b/1.png": np.ones((2, 5), dtype=bool)}
PLAIN = {name: png(pixels) for name, pixels in PIXELS.items()}


class TestPictures:
    def test_come_in_order_and_others_are_passed_over(self):
        content = zipped({"b/": b"", "note.txt": b"no picture", **PLAIN})
        found = list(archives.zip_pictures(content, "it"))
        assert [name for name, _ in found] == ["b/1.png", "b/2.png"]
        for name, picture in found:
            np.testing.assert_array_equal(np.asarray(picture), PIXELS[name])

    def test_digest_sees_names_and_pixels_and_no_packing(self):
        expected = archives.pictures_sha256(zipped(PLAIN), "it")
        grey = {name: png(np.uint8(255) * pixels, compress_level=0) for name, pixels in PIXELS.items()}
        same = [
            zipped(dict(reversed(PLAIN.items())), zipfile.ZIP_DEFLATED),
            zipped({"b/": b"", **PLAIN, "note.txt": b""}),
            zipped(grey),
        ]
        others = [
            zipped({"b/2.png": PLAIN["b/2.png"]}),
            zipped({"b/2.png": PLAIN["b/1.png"], "b/1.png": PLAIN["b/2.png"]}),
            zipped({**PLAIN, "b/2.png": png(~PIXELS["b/2.png"])}),
            zipped({**PLAIN, "b/1.png": png(np.ones((5, 2), dtype=bool))}),
        ]
        assert [archives.pictures_sha256(it, "it") for it in same] == [expected] * len(same)
        assert len({archives.pictures_sha256(it, "it") for it in others} | {expected}) == len(others) + 1

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "it is a damaged zip archive"),
            (zipped(PLAIN)[:-30], "it is a damaged zip archive"),
            (zipped(PLAIN).replace(PLAIN["b/1.png"][-20:], bytes(20)), "it is a damaged zip archive .*CRC"),
            (zipped({"a.png": b"text"}), "a.png in it is a damaged picture"),
            (zipped({"a.png": PLAIN["b/2.png"][:40]}), "a.png in it is a damaged picture"),
            (zipped({"a.png": bytes(1 << 17)}), "a.png in it has 131072 bytes, expected at most 65536"),
        ],
    )
    def test_refuses_damage(self, content, message):
        with pytest.raises(DataError, match=message):
            list(archives.zip_pictures(content, "it"))

    def test_reads_no_other_format_under_the_name(self):
        content = io.BytesIO()
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(content, "BMP")
        with pytest.raises(DataError, match=r"a\.png in it is a damaged picture"):
            list(archives.zip_pictures(zipped({"a.png": content.getvalue()}), "it"))


class TestTar:
    def test_returns_the_files_asked_for_in_that_order(self, tar_bytes):
        content = tar_bytes({"d/a": b"one", "d/b": b"two", "d/c": b""})
        assert archives.tar_members(content, ["d/b", "d/a"], "it") == [b"two", b"one"]

    def test_reads_by_exact_name_and_writes_nothing(self, tar_bytes, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        content = tar_bytes({"../d/a": b"evil", "/d/a": b"evil", "./d/a": b"evil", "d/../d/a": b"evil"})
        with pytest.raises(DataError, match="it holds no file d/a, expected all of d/a"):
            archives.tar_members(content, ["d/a"], "it")
        assert list(tmp_path.iterdir()) == []

    def test_follows_no_link(self, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("secret")
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            link = tarfile.TarInfo("d/a")
            link.type, link.linkname = tarfile.SYMTYPE, str(secret)
            archive.addfile(link)
        with pytest.raises(DataError, match="it holds no file d/a"):
            archives.tar_members(content.getvalue(), ["d/a"], "it")

    def test_refuses_a_file_too_large(self, tar_bytes, monkeypatch):
        monkeypatch.setattr(archives, "LARGEST_MEMBER", 2)
        with pytest.raises(DataError, match="d/a in it has 3 bytes, expected at most 2"):
            archives.tar_members(tar_bytes({"d/a": b"one"}), ["d/a"], "it")

    @pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped", "no tar"])
    def test_refuses_damage(self, tar_bytes, damage):
        whole = tar_bytes({"d/a": np.random.default_rng(0).bytes(5000)})
        content = {
            "empty": b"",
            "text": b"<html>",
            "cut": whole[: len(whole) // 2],
            "flipped": whole[:100] + bytes(byte ^ 0xFF for byte in whole[100:140]) + whole[140:],
            "no tar": gzip.compress(b"text"),
        }[damage]
        with pytest.raises(DataError, match=r"it is a damaged tar\.gz archive"):
            archives.tar_members(content, ["d/a"], "it")
