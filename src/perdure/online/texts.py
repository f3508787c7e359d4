"""The texts of a model's description as arrays: there may be far more of them than JSON is read of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_TEXTS, _ENDS = "texts", "text_ends"
_PLACE = "text"


def with_texts_apart(described: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a description with a place instead of each value that is a text, and the texts as arrays by name.

    Args:
        described: as JSON holds it; no dictionary has the key "text".
    """
    texts: list[bytes] = []

    def apart(value: Any) -> Any:
        if isinstance(value, str):
            texts.append(value.encode(errors="surrogatepass"))
            return {_PLACE: len(texts) - 1}
        if isinstance(value, list):
            return [apart(it) for it in value]
        return {name: apart(it) for name, it in value.items()} if isinstance(value, dict) else value

    rest = apart(described)
    ends = np.cumsum([len(it) for it in texts], dtype=np.int64)
    return rest, {_TEXTS: np.frombuffer(bytearray(b"".join(texts)), np.uint8), _ENDS: ends}


def with_texts(described: Any, arrays: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
    """Return what `with_texts_apart` was given, and the arrays that are none of its own.

    Raises:
        LookupError, TypeError, ValueError: if the texts are not there.
    """
    content, ends = arrays[_TEXTS].tobytes(), [0, *arrays[_ENDS].tolist()]
    texts: dict[int, str] = {}  # each is made once, however often it is named

    def together(value: Any) -> Any:
        if isinstance(value, list):
            return [together(it) for it in value]
        if not isinstance(value, dict):
            return value
        if (place := value.get(_PLACE)) is None:
            return {name: together(it) for name, it in value.items()}
        if place not in texts:
            texts[place] = content[ends[place] : ends[place + 1]].decode(errors="surrogatepass")
        return texts[place]

    return together(described), {name: it for name, it in arrays.items() if name not in (_TEXTS, _ENDS)}
