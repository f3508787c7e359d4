"""Downloads of data files: into the cache, once, from the first mirror that sends the published content."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path

import pytest

from perdure.storage import files as storage
from perdure.streams.raw import download, files
from perdure.streams.raw.files import fetch, find_file
from perdure.streams.raw.registry import DATA_SETS, DataError
from tests.streams.conftest import LABELS


def set_mirrors(monkeypatch, *mirrors: str) -> None:
    monkeypatch.setitem(DATA_SETS, "mnist", DATA_SETS["mnist"]._replace(mirrors=mirrors))


def everything_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class TestDownload:
    @pytest.fixture
    def mirror(self, registry, file_server, small_mnist, monkeypatch):
        for name, content in small_mnist.items():
            file_server.answers[f"/good/{name}.gz"] = gzip.compress(content)
        set_mirrors(monkeypatch, f"{file_server.url}/good/")
        return file_server

    def test_fetches_all_files_into_the_cache_once(self, mirror, registry, small_mnist):
        paths = fetch("mnist")
        assert paths == [registry / "mnist" / f"{name}.gz" for name in small_mnist]
        assert [gzip.decompress(path.read_bytes()) for path in paths] == list(small_mnist.values())
        assert everything_under(registry) == sorted(f"{name}.gz" for name in small_mnist)
        assert fetch("mnist") == paths
        assert len(mirror.asked) == len(small_mnist)

    def test_what_is_on_disk_is_not_downloaded(self, mirror, small_mnist_dir):
        assert {path.parent for path in fetch("mnist", small_mnist_dir)} == {small_mnist_dir}
        assert mirror.asked == []

    @pytest.mark.parametrize("fault", ["absent", "web page", "other data", "damaged", "cut", "no server"])
    def test_turns_to_the_next_mirror(self, mirror, registry, monkeypatch, small_mnist, fault):
        path = f"/bad/{LABELS}.gz"
        good = gzip.compress(small_mnist[LABELS])
        answers = {
            "web page": b"<html>log in</html>",
            "other data": gzip.compress(b"?"),
            "damaged": good[:-4],
        }
        if fault in answers:
            mirror.answers[path] = answers[fault]
        if fault == "cut":
            mirror.answers[path] = good
            mirror.cut.add(path)
        bad = f"http://127.0.0.1:{unused_port()}" if fault == "no server" else mirror.url
        set_mirrors(monkeypatch, f"{bad}/bad/", f"{mirror.url}/good/")
        found = find_file(LABELS)
        assert gzip.decompress(found.read_bytes()) == small_mnist[LABELS]
        expected = [] if fault == "no server" else [path]
        assert mirror.asked == [*expected, f"/good/{LABELS}.gz"]
        assert everything_under(registry) == [f"{LABELS}.gz"]

    @pytest.mark.parametrize("packed_size", [0, 1, -1])
    def test_no_more_is_downloaded_than_the_known_size(self, mirror, registry, monkeypatch, packed_size):
        size = len(mirror.answers[f"/good/{LABELS}.gz"]) + packed_size
        mnist = DATA_SETS["mnist"]
        sized = [raw._replace(packed_size=size) if raw.name == LABELS else raw for raw in mnist.files]
        monkeypatch.setitem(DATA_SETS, "mnist", mnist._replace(files=tuple(sized)))
        if packed_size >= 0:
            assert find_file(LABELS).exists()
            return
        with pytest.raises(DataError, match=rf"{LABELS}.gz: sends more than {size:,} bytes, the size of the published"):
            find_file(LABELS)
        assert everything_under(registry) == []

    def test_a_server_that_never_stops_is_left(self, mirror, registry, monkeypatch, small_mnist):
        limit = 1 << 20
        mnist = DATA_SETS["mnist"]
        files_ = tuple(raw._replace(packed_size=limit) for raw in mnist.files)
        monkeypatch.setitem(DATA_SETS, "mnist", mnist._replace(files=files_))
        mirror.answers[f"/endless/{LABELS}.gz"] = bytes(64 * limit)
        set_mirrors(monkeypatch, f"{mirror.url}/endless/", f"{mirror.url}/good/")
        written = []
        write = download._Limited.write

        def recorded(self, content):
            write(self, content)
            written.append(len(content))

        monkeypatch.setattr(download._Limited, "write", recorded)
        assert gzip.decompress(find_file(LABELS).read_bytes()) == small_mnist[LABELS]
        assert limit // 2 < sum(written) <= limit + len(mirror.answers[f"/good/{LABELS}.gz"])

    def test_is_on_disk_and_verified_before_it_gets_its_name(self, mirror, registry, monkeypatch):
        steps = []

        def spy(owner, name: str) -> None:
            original = getattr(owner, name)

            def recorded(*arguments):
                steps.append((name, everything_under(registry) == [f"{LABELS}.gz"]))
                return original(*arguments)

            monkeypatch.setattr(owner, name, recorded)

        spy(files, "verified")
        spy(storage.os, "fsync")
        spy(storage.Path, "replace")
        find_file(LABELS)
        assert steps == [("verified", False), ("fsync", False), ("replace", False), ("fsync", True)]
        assert everything_under(registry) == [f"{LABELS}.gz"]

    def test_interruption_leaves_nothing(self, mirror, registry, monkeypatch):
        def interrupted(self, url, output_file, pooch):
            output_file.write(b"half of it")
            raise KeyboardInterrupt

        monkeypatch.setattr(download.HTTPDownloader, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            find_file(LABELS)
        assert everything_under(registry) == []

    def test_offline_error_lists_folders_files_and_reasons(self, registry, monkeypatch, tmp_path, small_mnist):
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        set_mirrors(monkeypatch, f"http://127.0.0.1:{unused_port()}/mnist/")
        monkeypatch.setenv("PERDURE_DATA", str(tmp_path / "environment"))
        with pytest.raises(DataError) as caught:
            fetch("mnist", tmp_path / "mine")
        message = str(caught.value)
        for folder in (tmp_path / "mine", tmp_path / "environment", registry):
            assert f"  {folder}\n  {folder / 'mnist'}\n" in message
        assert all(f"  {name}.gz (or {name})" in message for name in small_mnist)
        assert "train-images-idx3-ubyte of mnist was not found and could not be downloaded" in message
        assert "/mnist/train-images-idx3-ubyte.gz: no connection" in message
        assert everything_under(tmp_path) == []

    def test_draws_progress_on_a_terminal(self, mirror, monkeypatch, capsys):
        monkeypatch.setattr(download, "Console", lambda stderr: terminal(stderr))
        find_file(LABELS)
        drawn = capsys.readouterr()
        assert f"{LABELS}.gz" in drawn.err
        assert drawn.out == ""

    def test_is_silent_elsewhere(self, mirror, capsys):
        find_file(LABELS)
        assert capsys.readouterr() == ("", "")


def terminal(stderr: bool):
    from rich.console import Console

    return Console(stderr=stderr, force_terminal=True, width=100)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
