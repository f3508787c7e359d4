"""A hand that draws on the page with real pointer events, and teaches."""

from __future__ import annotations

import base64
import math

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def ring(turn: float = 0.0):
    """A circle, a little different each time."""
    return [
        [
            (0.5 + (0.3 + 0.03 * turn) * math.cos(t / 2.5), 0.5 + (0.28 - 0.02 * turn) * math.sin(t / 2.5))
            for t in range(17)
        ]
    ]


def cross(turn: float = 0.0):
    """Two lines that cross."""
    return [
        [(0.2 + 0.04 * turn, 0.2), (0.5, 0.5), (0.8, 0.8 - 0.03 * turn)],
        [(0.8, 0.22), (0.5, 0.5), (0.2, 0.78 + 0.03 * turn)],
    ]


def zigzag(turn: float = 0.0):
    """A letter Z."""
    return [[(0.2, 0.22 + 0.03 * turn), (0.8, 0.2), (0.5, 0.5), (0.2 + 0.03 * turn, 0.8), (0.82, 0.8)]]


SYMBOLS = {"ring": ring, "cross": cross, "zigzag": zigzag}


def draw(page, strokes):
    """Draw strokes, lists of (x, y) on a sheet of side 1, with the mouse."""
    expect(page.locator("#canvas")).to_be_visible()  # not yet right after a reload
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#canvas").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()


def expect(locator):
    """Wait until something on the page is as it should be."""
    from playwright.sync_api import expect

    return expect(locator)


def make_model(page, kind="drawings", method="nearest-mean"):
    """Make the first model in the dialog."""
    page.click(f".choice[data-kind={kind}]")
    page.select_option("#create-method", method)
    page.click("#create-form button[type=submit]")
    expect(page.locator("#create-dialog")).to_be_hidden()


def teach(page, name, strokes):
    """Draw, and give the drawing a name."""
    draw(page, strokes)
    page.fill("#name", name)
    page.click("#teach")
    expect(page.locator("#clear")).to_be_disabled()
    expect(page.locator("#teach")).to_be_enabled()


def drawing(seed):
    """A drawing of 784 bytes, another one for each seed."""
    return {"drawing": base64.b64encode(bytes((seed * n * n) % 251 for n in range(784))).decode()}


def teach_over_http(post, names, model="drawings", method="nearest-mean", **options):
    """Make a model for drawings, and teach it a drawing of each name, past the page."""
    post(
        "/v1/models",
        {"name": model, "method": method, "features": "omniglot-small-prototypes", "standardize": False, **options},
    )
    examples = [{"x": drawing(n + 1), "y": name, "id": f"e{n}"} for n, name in enumerate(names)]
    post(f"/v1/models/{model}/learn", {"examples": examples})
