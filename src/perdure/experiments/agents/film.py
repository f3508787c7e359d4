"""Pictures one after another as a file: GIF or MP4."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from perdure.rl.games.rules import FRAME_MS
from perdure.storage.files import write_atomically

Picture = UInt8[np.ndarray, "rows columns 3"]
Encode = Callable[[Sequence[Picture]], bytes]


def film_encoder(path: Path) -> Encode:
    """Return what makes a file of pictures at the game's speed, by the file's suffix: `.gif` or `.mp4`.

    Raises:
        ValueError: if the suffix is another.
        ModuleNotFoundError: if MP4 is requested, but imageio-ffmpeg is not installed.
    """
    if path.suffix == ".gif":
        return _gif
    if path.suffix == ".mp4":
        _ffmpeg()
        return _mp4
    raise ValueError(f"{path} was given as the film to write, expected a name that ends with .gif or .mp4")


def save_film(path: Path, pictures: Sequence[Picture]) -> None:
    """Write pictures as a film of the game's speed: an endless GIF, or MP4.

    Raises:
        ValueError: if the suffix is neither `.gif` nor `.mp4`.
        ModuleNotFoundError: if MP4 is requested, but imageio-ffmpeg is not installed.
        StorageError: if it cannot be written.
    """
    write_atomically(path, film_encoder(path)(pictures))


def _gif(pictures: Sequence[Picture]) -> bytes:
    frames = [Image.fromarray(picture).quantize(64) for picture in pictures]
    content = io.BytesIO()
    # Browsers take no shorter times than 20 ms, in hundredths of a second.
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=round(FRAME_MS, -1), loop=0)
    return content.getvalue()


def _mp4(pictures: Sequence[Picture]) -> bytes:
    rows, columns, _ = pictures[0].shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{columns}x{rows}", "-r", f"{1000 / FRAME_MS:g}", "-i", "-"]
    # Players want colours at half the size, for which sides must be even.
    coded = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        command = [_ffmpeg().get_ffmpeg_exe(), "-v", "error", *raw, *coded, str(path)]
        # Not by imageio_ffmpeg.write_frames, which forks the process in a way that JAX's threads do not survive.
        subprocess.run(command, input=np.stack(pictures).tobytes(), check=True)
        return path.read_bytes()


def _ffmpeg() -> ModuleType:
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "films of the kind .mp4 need imageio-ffmpeg, which is not installed; install it with: "
            "pip install 'perdure[video]', or write a .gif"
        ) from error
    return imageio_ffmpeg
