"""What results have in common: a short text, a table, a small figure, and pandas."""

from __future__ import annotations

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_DPI = 80


class InShort(NamedTuple):
    """A result in a few words."""

    title: str
    """What was done: "mer on digits-rotations, 3 seeds"."""
    figures: Mapping[str, str]
    """What came of it, by name, with units; the first are the most important."""


class Drawing(NamedTuple):
    """What draws a figure.

    It is named and not imported: Matplotlib takes long to load, and what draws stands after results in the order of
    the packages. The test of that order lists every module that is named so.
    """

    module: str
    function: str
    arguments: Sequence[Any]


class Shown(ABC):
    """A result that shows itself in a console, in a notebook and as a figure."""

    @abstractmethod
    def in_short(self) -> InShort:
        """Return it in a few words."""

    @abstractmethod
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return what was measured as the rows of a table, each with a value for every column."""

    @abstractmethod
    def drawing(self) -> Drawing:
        """Return what draws its figure."""

    def __repr__(self) -> str:
        title, figures = self.in_short()
        listed = ", ".join(f"{name} {value}" for name, value in figures.items())
        return f"{type(self).__name__}({title}{f': {listed}' if listed else ''})"

    def _repr_html_(self) -> str:
        """Return title, table and figure, for a notebook."""
        title, figures = self.in_short()
        left, right = 'style="text-align: left"', 'style="text-align: right"'
        cells = "".join(
            f"<tr><td {left}>{escape(name)}</td><td {right}>{escape(value)}</td></tr>"
            for name, value in figures.items()
        )
        image = base64.b64encode(_png(self.plot())).decode("ascii")
        return (
            f"<div><strong>{escape(title)}</strong><table>{cells}</table>"
            f'<img src="data:image/png;base64,{image}" alt="{escape(title)}" style="max-width: 100%"></div>'
        )

    def plot(self) -> Figure:
        """Return a small figure of it; `figure.savefig("name.png")` writes it to a file."""
        module, function, arguments = self.drawing()
        return getattr(import_module(module), function)(*arguments)

    def to_pandas(self) -> pd.DataFrame:
        """Return what was measured as a data frame.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("to_pandas() needs pandas, which is not installed: pip install pandas") from None
        return pd.DataFrame(list(self.rows()))


def with_interval(mean: float, half: float, style: str, unit: str = "") -> str:
    """Return a figure as text, with ± the half width of its interval unless that is NaN.

    Args:
        mean: the figure.
        half: half width.
        style: format of both, ".1f" say; a sign is for the mean alone.
        unit: what follows them, with its space.
    """
    spread = "" if half != half else f" ± {half:{style.lstrip('+')}}"
    return f"{mean:{style}}{spread}{unit}".replace("-", "−")


def counted(number: int, what: str) -> str:
    """Return a number and what is counted: "1 seed", "3 seeds"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def place_of(seed: int | None, seeds: Sequence[int]) -> int:
    """Return the place of a seed among those of a run, of the first for None.

    Raises:
        ValueError: if the run had no such seed.
    """
    if seed is not None and seed not in seeds:
        raise ValueError(f"seed = {seed}, expected one of the run's seeds {', '.join(map(str, seeds))}")
    return 0 if seed is None else seeds.index(seed)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    return content.getvalue()
