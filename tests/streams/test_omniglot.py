from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from perdure.streams import omniglot as module
from perdure.streams.benchmark import checksum
from perdure.streams.omniglot import decode_drawings, load_omniglot, omniglot
from perdure.streams.raw.registry import DataError


@pytest.fixture
def omniglot_dir(registry, tmp_path, small_omniglot) -> Path:
    """A folder with the small archives, whose decoded drawings no test before has left in memory."""
    folder = tmp_path / "omniglot-archives"
    folder.mkdir()
    for name, content in small_omniglot.items():
        (folder / name).write_bytes(content)
    return folder


def repacked(content: bytes, renamed) -> bytes:
    """Return a zip archive with its members renamed, or left out where the new name is None."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            if (other := renamed(name)) is not None:
                archive.writestr(other, old.read(name))
    return new.getvalue()


class TestLoad:
    def test_characters_are_in_order_of_alphabet_and_number(self, omniglot_dir):
        drawings = load_omniglot(data_dir=omniglot_dir, side=105)
        assert drawings.alphabet_names == ("Braille", "Greek", "Angelic")
        assert drawings.alphabet.tolist() == [0, 1, 1, 2, 2, 2]
        assert drawings.images.shape == (6, 20, 105, 105)
        for character, images in zip([2, 3, 1, 6, 4, 5], drawings.images, strict=True):
            for drawer, image in enumerate(images, 1):
                expected = np.zeros((105, 105), np.uint8)
                expected[: 15 * character, :drawer] = 255
                np.testing.assert_array_equal(image, expected)

    def test_splits(self, omniglot_dir):
        both = load_omniglot(data_dir=omniglot_dir)
        evaluation = load_omniglot(splits=["evaluation"], data_dir=omniglot_dir)
        assert evaluation.alphabet_names == ("Angelic",)
        assert evaluation.alphabet.tolist() == [0, 0, 0]
        np.testing.assert_array_equal(evaluation.images, both.images[3:])

    @pytest.mark.parametrize("side", [21, 28, 84])
    def test_ink_is_spread_over_the_smaller_picture(self, omniglot_dir, side):
        large, small = (load_omniglot(it, data_dir=omniglot_dir).images for it in (105, side))
        assert small.shape == (6, 20, side, side)
        # a character of n · 15 rows of 20 columns of ink keeps its share of the picture
        for character, drawing in zip(large[:, 19], small[:, 19], strict=True):
            assert drawing.mean() == pytest.approx(character.mean(), rel=0.03)

    def test_is_read_only_and_read_once(self, omniglot_dir):
        first, again = (load_omniglot(splits=["background"], data_dir=omniglot_dir) for _ in range(2))
        assert np.shares_memory(first.images, again.images)
        assert not first.images.flags.writeable
        assert not load_omniglot(data_dir=omniglot_dir).images.flags.writeable


class TestCache:
    @pytest.fixture
    def load(self, omniglot_dir, monkeypatch):
        """Load as a new process would; each archive that is decoded is counted."""
        decoded = []

        def counted(content, side, where):
            decoded.append(side)
            return decode_drawings(content, side, where)

        monkeypatch.setattr(module, "decode_drawings", counted)

        def load(side: int = 28):
            module._load_split.cache_clear()
            drawings = load_omniglot(side, data_dir=omniglot_dir)
            return drawings, decoded

        return load

    def test_decodes_once_for_each_size(self, load, registry):
        first, _ = load()
        again, decoded = load()
        assert decoded == [28, 28]  # two archives
        np.testing.assert_array_equal(again.images, first.images)
        np.testing.assert_array_equal(again.alphabet, first.alphabet)
        assert again.alphabet_names == first.alphabet_names
        load(14)
        assert decoded == [28, 28, 14, 14]
        names = sorted(path.name for path in (registry / "omniglot").iterdir())
        assert names == [
            f"images_{split}-{side}.drawings" for split in ("background", "evaluation") for side in (14, 28)
        ]

    @pytest.mark.parametrize("damage", [lambda it: it[:-1], lambda it: b"", lambda it: it[:200] + b"?" + it[201:]])
    def test_trusts_only_what_is_whole(self, load, registry, damage):
        first, decoded = load()
        path = registry / "omniglot" / "images_background-28.drawings"
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        again, _ = load()
        assert len(decoded) == 3
        np.testing.assert_array_equal(again.images, first.images)
        assert path.read_bytes() == whole

    def test_trusts_only_what_was_made_of_this_archive(self, load, omniglot_dir, small_omniglot):
        first, decoded = load()
        archive = omniglot_dir / "images_background.zip"
        archive.write_bytes(repacked(small_omniglot[archive.name], lambda name: name))
        again, _ = load()
        assert len(decoded) == 3
        np.testing.assert_array_equal(again.images, first.images)
        archive.write_bytes(repacked(small_omniglot[archive.name], lambda name: name.replace("Greek", "Latin")))
        with pytest.raises(
            DataError, match=r"images_background\.zip is not the published images_background\.zip: its pict"
        ):
            load()

    def test_does_without_where_nothing_can_be_written(self, load, registry):
        registry.mkdir(parents=True)
        (registry / "omniglot").write_text("a file where the folder would be")
        load()
        _, decoded = load()
        assert len(decoded) == 4


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        (
            lambda name: name.replace("character01", "first"),
            r"holds images_background/Braille/first/0002_01\.png, expected SPL",
        ),
        (
            lambda name: None if "0003_07" in name else name,
            "holds 59 drawings of 3 characters, expected the drawings 01 to",
        ),
        (lambda name: None, "holds 0 drawings of 0 characters"),
    ],
)
def test_refuses_another_layout(small_omniglot, renamed, message):
    content = repacked(small_omniglot["images_background.zip"], renamed)
    with pytest.raises(DataError, match=f"it {message}"):
        decode_drawings(content, 28, "it")


class TestBenchmark:
    def test_drawings_1_to_18_train_and_the_others_test(self, omniglot_dir):
        images = load_omniglot(data_dir=omniglot_dir).images
        made = omniglot(0, tasks=3, data_dir=omniglot_dir)
        assert made.n_outputs == 6
        assert made.class_tasks is None
        assert made.task_ends.tolist() == [18, 54, 108]
        for label in range(6):
            trained = {image.tobytes() for image in made.train.x[made.train.y == label]}
            assert trained == {image.tobytes() for image in images[label, :18]}
        np.testing.assert_array_equal(made.test[1].x, images[1:3, 18:].reshape(4, 28, 28))
        assert [test.y.tolist() for test in made.test] == [[0, 0], [1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]

    def test_examples_per_task_is_a_maximum(self, omniglot_dir):
        assert omniglot(0, tasks=3, examples_per_task=40, data_dir=omniglot_dir).task_ends.tolist() == [18, 54, 94]
        with pytest.raises(ValueError, match="examples per task is 0, expected 1 to 18"):
            omniglot(0, tasks=3, examples_per_task=0, data_dir=omniglot_dir)

    def test_validation_is_on_training_drawings(self, omniglot_dir):
        images = load_omniglot(data_dir=omniglot_dir).images
        made = omniglot(0, tasks=3, data_dir=omniglot_dir, validation=True)
        assert made.task_ends.tolist() == [14, 41, 82]
        published_tests = {image.tobytes() for image in images[:, 18:].reshape(-1, 28, 28)}
        assert not published_tests & {image.tobytes() for test in made.test for image in test.x}


@pytest.mark.real_data
class TestReal:
    def test_all_drawings(self, real_omniglot_dir):
        images, alphabet, names = load_omniglot(data_dir=real_omniglot_dir)
        assert images.shape == (1623, 20, 28, 28)
        assert len(names) == 50
        assert (names[0], names[29], names[30], names[49]) == ("Alphabet_of_the_Magi", "Tifinagh", "Angelic", "ULOG")
        assert np.bincount(alphabet).min() == 14
        assert np.bincount(alphabet).max() == 55
        assert int((alphabet < 30).sum()) == 964
        assert images.mean() / 255 == pytest.approx(0.0805, abs=5e-5)  # share of ink that the data's notes tell

    def test_protocol(self, real_omniglot_dir):
        made = omniglot(0, data_dir=real_omniglot_dir)
        assert made.train.x.shape == (29_214, 28, 28)
        assert made.n_tasks == 50
        assert made.n_outputs == 1623
        assert sum(len(test.y) for test in made.test) == 3246
        assert checksum(made) == "f6c52308a6c97b23b3dc73f897e11958004a3fec1336c95a270c26ae919ec32a"
