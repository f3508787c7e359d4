"""Pictures in a terminal: two pixels a character, in colour."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from rich.text import Text

COLUMNS = 48


def picture_of(picture: UInt8[np.ndarray, "rows columns 3"], columns: int = COLUMNS) -> Text:
    """Return a picture as text, a half block for each two pixels above one another.

    Args:
        picture: colours.
        columns: characters of a line.
    """
    rows = 2 * max(1, round(picture.shape[0] / picture.shape[1] * columns / 2))
    small = np.asarray(Image.fromarray(picture).resize((columns, rows)))
    text = Text()
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", f"rgb({','.join(map(str, above))}) on rgb({','.join(map(str, below))})")
        text.append("\n")
    return text
