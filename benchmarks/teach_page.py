"""Pictures and a short film of the teach page, and how fast it is.

``python benchmarks/teach_page.py`` starts `perdure teach`, teaches it in Chromium with real pointer events, and writes
``docs/figures/teach-*.png`` and ``docs/figures/teach.webp``. What it has measured it writes into ``docs/teach.md``.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from marked_block import write_measured
from page import machine_text
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
DESKTOP, PHONE = {"width": 1280, "height": 880}, {"width": 390, "height": 844}
FILM = {"width": 1020, "height": 740}
SHOWN = 800, 580
"""Pixels of the film."""
SECONDS_PER_FRAME = 0.12
PATIENCE = 600_000
"""Milliseconds."""
Stroke = list[tuple[float, float]]


def star(turn: float) -> list[Stroke]:
    angles = [0.8 * math.pi * n + 0.05 * turn for n in range(6)]
    size = 0.36 + 0.02 * turn
    points = [(0.5 + size * math.sin(it), 0.52 - size * math.cos(it)) for it in angles]
    return [_between(points)]


def house(turn: float) -> list[Stroke]:
    left, top = 0.24 + 0.03 * turn, 0.45 + 0.02 * turn
    return [
        _between([(left, top), (left, 0.84), (0.77, 0.84), (0.77, top), (left, top)]),
        _between([(left - 0.04, top), (0.5, 0.16 + 0.02 * turn), (0.82, top)]),
    ]


def snail(turn: float) -> list[Stroke]:
    spiral = [
        (0.5 + 0.024 * t * math.cos(0.75 * t + 0.2 * turn), 0.46 + 0.023 * t * math.sin(0.75 * t + 0.2 * turn))
        for t in range(14)
    ]
    return [spiral, _between([(0.2, 0.8 + 0.02 * turn), (0.86, 0.8)])]


SYMBOLS = {"star": star, "house": house, "snail": snail}


def _between(corners: Stroke, n: int = 7) -> Stroke:
    """Return points on the lines between corners."""
    line = [corners[0]]
    for (x, y), (to_x, to_y) in pairwise(corners):
        line += [(x + (to_x - x) * k / n, y + (to_y - y) * k / n) for k in range(1, n + 1)]
    return line


class Film:
    """Pictures of a page, one after another."""

    def __init__(self, page: Page):
        """Begin with none."""
        self._page = page
        self._frames: list[Image.Image] = []

    def shoot(self, n: int = 1) -> None:
        """Take a picture, to be shown for `n` frames."""
        frame = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        self._frames += [frame.resize(SHOWN, Image.Resampling.LANCZOS)] * n

    def save(self, path: Path) -> None:
        """Write it as WebP, which plays for ever."""
        first, *others = self._frames
        duration = round(1000 * SECONDS_PER_FRAME)
        options: dict[str, Any] = {"quality": 75, "method": 4, "minimize_size": True, "allow_mixed": True}
        first.save(path, save_all=True, append_images=others, duration=duration, loop=0, **options)


def draw(page: Page, strokes: Sequence[Stroke], film: Film | None = None) -> None:
    """Draw strokes on a sheet of side 1, with the mouse."""
    page.evaluate("scrollTo(0, 0)")
    box: Any = page.locator("#canvas").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for n, point in enumerate(points[1:]):
            page.mouse.move(*point)
            if film is not None and n % 4 == 0:
                film.shoot()
        page.mouse.up()


def teach(page: Page, name: str, film: Film | None = None) -> None:
    """Give the drawing a name."""
    page.fill("#name", name)
    if film is not None:
        film.shoot(4)
    page.click("#teach")
    expect(page.locator("#clear")).to_be_disabled()
    expect(page.locator("#teach")).to_be_enabled()
    if film is not None:
        film.shoot(3)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `perdure teach`; yield its address."""
    command = [sys.executable, "-m", "perdure", "teach", "--no-browser", "--port", "0", "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if "http" not in line:
            raise RuntimeError(f"perdure teach said {line!r}, expected its address")
        yield next(it for it in line.split() if it.startswith("http"))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def new_page(browser: Browser, size: Any) -> Page:
    """Return an empty page of a size, which is patient."""
    page = browser.new_page(viewport=size)
    page.set_default_timeout(PATIENCE)
    return page


def keep(page: Page, name: str, height: int = DESKTOP["height"]) -> None:
    """Write a picture of the page, from its top down to a height."""
    page.mouse.move(0, 0)
    page.set_viewport_size({"width": (page.viewport_size or DESKTOP)["width"], "height": height})
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        FIGURES / f"teach-{name}.png", optimize=True
    )


def table_file(folder: Path) -> Path:
    """Return a file of scikit-learn's irises, in an order by chance."""
    from sklearn.datasets import load_iris
    from sklearn.utils import shuffle

    data: Any = load_iris(as_frame=True)
    frame = data.frame.assign(species=data.target.map(dict(enumerate(data.target_names)))).drop(columns="target")
    path = folder / "irises.csv"
    shuffled: Any = shuffle(frame, random_state=0)
    shuffled.to_csv(path, index=False)
    return path


def show_drawing(page: Page) -> list[float]:
    """Teach three symbols; return the milliseconds from each stroke's end to the bars that it changed."""
    for turn in range(3):
        for name, symbol in SYMBOLS.items():
            draw(page, symbol(turn / 2))
            teach(page, name)
    page.evaluate("performance.clearMeasures()")
    for symbol in SYMBOLS.values():
        for turn in (0.3, 0.7):
            page.click("#clear") if page.locator("#clear").is_enabled() else None
            draw(page, symbol(turn))
            page.wait_for_timeout(400)
    page.click("#toast .close")
    keep(page, "draw", 1000)
    return page.evaluate("performance.getEntriesByName('stroke-to-bars').map((it) => it.duration)")


def show_race(page: Page) -> int:
    """Run the race; return by how many points MER beats plain SGD on the first class at the end."""
    page.click(".parts a[data-part=race]")
    page.locator("#race-speed").fill("200")
    page.click("#race-play")
    expect(page.locator("#race-end")).to_contain_text("Of the zeros")
    keep(page, "race", 1230)
    ends = page.locator("#race-charts figure").first.locator(".end").all_inner_texts()
    online, mer = (int(it.rstrip(" \xa0%")) for it in ends)
    return mer - online


def show_table(page: Page, file: Path) -> None:
    """Learn a table."""
    page.click(".parts a[data-part=table]")
    page.set_input_files("#file", file)
    page.click("#create-form button[type=submit]")
    expect(page.locator("#create-dialog")).to_be_hidden()
    expect(page.locator("#table-start")).to_be_enabled()
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("Done")
    keep(page, "table", 1620)


TEACH_ANOTHER = """async () => {
    const { post, get } = await import("/page/api.js");
    const settings = { method: "mer", features: "omniglot-small-prototypes", standardize: false };
    await post("/v1/models", { name: "symbols", ...settings });
    const { examples } = await get("/v1/models/drawings/examples?limit=100");
    const own = examples.reverse().map(({ x, y }, n) => ({ x, y, id: `s${n}` }));
    await post("/v1/models/symbols/learn", { examples: own });
}"""


def show_insides(page: Page) -> None:
    """Look at numbers, and at the memory of a model that has one."""
    page.select_option("#model", "drawings")
    page.click(".parts a[data-part=numbers]")
    expect(page.locator("#curve svg")).to_be_visible()
    keep(page, "numbers", 1400)
    page.evaluate(TEACH_ANOTHER)
    page.reload()
    page.click(".parts a[data-part=memory]")
    page.select_option("#model", "symbols")
    expect(page.locator("#held li")).to_have_count(9)
    page.locator("#past").fill("1")
    page.check("#backtest-methods input[value=nearest-mean]")
    page.click("#backtest-form button[type=submit]")
    expect(page.locator("#backtest-chart svg")).to_be_visible()
    keep(page, "memory", 2080)


def film_teaching(browser: Browser, address: str) -> None:
    """Film how three symbols are taught and recognised, and how one method forgets."""
    page = new_page(browser, FILM)
    page.goto(address)
    page.locator("#canvas").click()  # so that all is there
    page.click("#clear")
    film = Film(page)
    for turn in range(3):
        for name, symbol in SYMBOLS.items():
            draw(page, symbol(turn / 2), film if turn == 0 else None)
            teach(page, name, film)
    for symbol in SYMBOLS.values():
        draw(page, symbol(0.8), film)
        page.wait_for_timeout(400)
        film.shoot(8)
        page.click("#clear")
    page.click(".parts a[data-part=race]")
    page.locator("#race-speed").fill("120")
    film.shoot(6)
    page.click("#race-play")
    expect(page.locator("#race-now")).to_contain_text("Now learning")
    page.evaluate("document.getElementById('race-now').scrollIntoView()")
    while not page.locator("#race-end").inner_text():
        film.shoot()
        page.wait_for_timeout(200)
    film.shoot(20)
    film.save(FIGURES / "teach.webp")
    page.close()


def show_on_a_phone(browser: Browser, address: str) -> None:
    """Draw on a phone in the dark."""
    page = browser.new_page(viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True, device_scale_factor=2)  # pyright: ignore[reportArgumentType]
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    expect(page.locator(".tile").first).to_be_visible()
    draw(page, star(0.4))
    expect(page.locator("#bars .best")).to_contain_text("star")
    keep(page, "phone", PHONE["height"])
    page.close()


def measured(n_bytes: int, n_files: int, waits: Sequence[float], points: int, version: str) -> str:
    """Return what was measured as Markdown."""
    return "\n".join(
        [
            "| | measured | wanted |",
            "| --- | ---: | ---: |",
            f"| The page, its {n_files} requests together, bytes | {n_bytes:,} | < 300,000 |",
            f"| From the end of a stroke to the answer, median / longest of {len(waits)}, milliseconds "
            f"| {median(waits):.0f} / {max(waits):.0f} | ≤ 100 |",
            f"| Race: MER above online SGD on the zeros at the end, points | {points} | ≥ 15 |",
            "",
            f"Measured on {machine_text()}, Chromium {version}; server and browser share the cores.",
        ]
    )


def main() -> None:
    """Make the pictures and the film."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-film", action="store_true", help="make the pictures alone")
    given = parser.parse_args()
    path = os.environ.get("PERDURE_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    expect.set_options(timeout=PATIENCE)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        with served(Path(folder) / "models") as address:
            page = new_page(browser, DESKTOP)
            sizes: list[int] = []
            page.on("response", lambda it: sizes.append(len(it.body())) if "/v1/" not in it.url else None)
            page.goto(address)
            expect(page.locator("#draw-title")).to_be_visible()
            loaded = list(sizes)
            waits = show_drawing(page)
            show_on_a_phone(browser, address)
            points = show_race(page)
            show_table(page, table_file(Path(folder)))
            show_insides(page)
            text = measured(sum(loaded), len(loaded), waits, points, browser.version)
            print(text)
            write_measured(FIGURES.parent / "teach.md", text)
        if not given.no_film:
            with served(Path(folder) / "film") as address:
                film_teaching(browser, address)
        browser.close()


if __name__ == "__main__":
    main()
