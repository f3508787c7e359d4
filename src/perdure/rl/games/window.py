"""A window that shows pictures one after another."""

from __future__ import annotations

import time

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib import pyplot
from matplotlib.backends.registry import BackendFilter, backend_registry

DOTS_PER_INCH = 64  # by which sizes divide without a remainder


class Window:
    """A window of matplotlib, of the size of its pictures."""

    def __init__(self, title: str, rows: int, columns: int):
        """Make a window; it opens with the first picture.

        Args:
            title: title of the window.
            rows: height of the pictures.
            columns: width of the pictures.

        Raises:
            RuntimeError: if there is no display, or matplotlib is set to draw to files only.
        """
        size = (columns / DOTS_PER_INCH, rows / DOTS_PER_INCH)
        backend = matplotlib.get_backend()
        interactive = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
        try:
            if backend.lower() not in interactive:
                raise ImportError(f"matplotlib's backend is {backend!r}, which draws to files only")
            with matplotlib.rc_context({"toolbar": "None"}):
                self._figure = pyplot.figure(title, size, DOTS_PER_INCH)
        except ImportError as error:
            raise RuntimeError(
                f"no window can be opened: {error}; expected a display and one of {', '.join(interactive)}. With a "
                "display, unset MPLBACKEND and install a toolkit, as with 'pip install PyQt6'; without, take "
                "pictures or a film"
            ) from error
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        self._image = axes.imshow(np.zeros((rows, columns, 3), np.uint8))
        self._shown_at: float | None = None

    def show(self, picture: UInt8[np.ndarray, "rows columns 3"], seconds: float) -> bool:
        """Show a picture, `seconds` after the last one.

        Returns:
            Whether the window is open; a window that was closed stays closed.
        """
        canvas = self._figure.canvas
        if canvas.manager is None or not pyplot.fignum_exists(canvas.manager.num):
            return False
        if self._shown_at is None:
            canvas.manager.show()
            self._shown_at = time.monotonic()
        # The event loop also handles clicks and key presses, so that it must run for some time.
        canvas.start_event_loop(max(0.001, self._shown_at + seconds - time.monotonic()))
        self._shown_at = time.monotonic()
        self._image.set_data(picture)
        canvas.draw()
        return True

    def close(self) -> None:
        """Close the window, if it is open."""
        pyplot.close(self._figure)
