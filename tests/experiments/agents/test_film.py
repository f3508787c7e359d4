import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from perdure.experiments.agents.film import save_film
from perdure.rl.games.rules import FRAME_MS

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]


@pytest.fixture
def pictures():
    """Five pictures of each colour, 256 rows × 144 columns."""
    return [np.full((256, 144, 3), colour, np.uint8) for colour in COLOURS for _ in range(5)]


def test_a_gif_holds_the_pictures_at_the_speed_that_browsers_take(pictures, tmp_path):
    save_film(tmp_path / "a.gif", pictures)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (144, 256)
        assert film.info["loop"] == 0
        shown = 0
        for number, colour in enumerate(COLOURS):  # pictures that are alike become one that is shown for longer
            film.seek(number)
            assert film.convert("RGB").getpixel((70, 100)) == pytest.approx(colour, abs=8)
            shown += film.info["duration"]
    assert shown == 15 * 30


def test_an_mp4_holds_the_pictures_at_the_games_speed(pictures, tmp_path):
    save_film(tmp_path / "a.mp4", pictures)
    n_frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert n_frames == 15
    assert seconds == pytest.approx(15 * FRAME_MS / 1000, abs=0.02)
    decode = ["-v", "error", "-i", str(tmp_path / "a.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *decode], capture_output=True, check=True).stdout
    shown = np.frombuffer(decoded, np.uint8).reshape(15, 256, 144, 3)[:, 100, 70]
    np.testing.assert_allclose(shown.astype(float), np.repeat(COLOURS, 5, axis=0), atol=12)
    assert [it.name for it in tmp_path.iterdir()] == ["a.mp4"]


def test_an_mp4_of_odd_sides_is_made_even(tmp_path):
    save_film(tmp_path / "a.mp4", [np.full((85, 63, 3), 120, np.uint8)] * 3)
    reader = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "a.mp4")]
    decode = [*reader, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(decode, capture_output=True, check=True).stdout
    shown = np.frombuffer(decoded, np.uint8).reshape(3, 86, 64, 3)
    np.testing.assert_allclose(shown[:, :80, :60].astype(float), 120, atol=12)


def test_other_films_are_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"a\.avi was given as the film to write, expected .* \.gif or \.mp4"):
        save_film(tmp_path / "a.avi", pictures)
    assert list(tmp_path.iterdir()) == []


def test_mp4_without_its_library_says_what_to_install(pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'perdure\[video\]'"):
        save_film(tmp_path / "a.mp4", pictures)
    assert list(tmp_path.iterdir()) == []
