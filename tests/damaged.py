"""Files of which a few bytes are changed."""

import numpy as np

from perdure.storage.reading import ContentError


def count_refused(path, read, times):
    """Change three bytes of a file, other ones each time; return how often `read` raises a `ContentError`."""
    content, rng, n_refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(times):
        changed = bytearray(content)
        for place in rng.integers(len(content), size=3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read(path)
        except ContentError:
            n_refused += 1
    return n_refused
