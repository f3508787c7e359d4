"""Colour pictures of games for people: films, windows, Gymnasium's `rgb_array`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from perdure.rl.environment import AbstractEnvironment
from perdure.rl.games import catcher, flappy_bird
from perdure.rl.games.catcher import Catcher, CatcherState
from perdure.rl.games.flappy_bird import FlappyBird, FlappyBirdParams, FlappyBirdState
from perdure.rl.games.frames import FrameObservations
from perdure.rl.games.several import Several

HEIGHT = 512
"""Default number of rows of a picture."""
FINER = 2
"""Factor by which pictures are drawn larger and then shrunk, which smooths edges."""
Colour = tuple[int, int, int]
Number = float | int
WHITE, INK = (255, 255, 255), (40, 44, 64)

EVENING, HORIZON = (38, 40, 84), (236, 158, 124)
SUN, FAR_HILL, NEAR_HILL = (252, 214, 160), (120, 84, 116), (72, 58, 92)
WOOD, WOOD_LIGHT, WOOD_DARK = (186, 120, 66), (232, 180, 114), (120, 72, 48)
APPLE, APPLE_LIGHT, LEAF = (226, 60, 68), (255, 168, 156), (134, 204, 104)

SKY, HAZE = (84, 176, 228), (214, 242, 242)
CLOUD, BUSHES = (244, 252, 252), (158, 216, 176)
PIPE, PIPE_LIGHT, PIPE_DARK, PIPE_EDGE = (104, 190, 84), (180, 230, 124), (66, 142, 66), (40, 78, 50)
SAND, SAND_DARK, LAWN, LAWN_DARK = (228, 212, 154), (214, 194, 132), (142, 208, 94), (104, 176, 76)
BIRD, BIRD_LIGHT, BIRD_DARK, BEAK = (252, 204, 62), (255, 238, 170), (214, 146, 40), (242, 112, 62)
STRIPE = 24
"""Width of a stripe on the ground, in the game's pixels."""


class _Brush:
    """Draws on a picture, in the pixels of the game."""

    def __init__(self, image: Image.Image, scale: Number):
        self._draw = ImageDraw.Draw(image)
        self._scale = scale

    def box(self, left: Number, top: Number, width: Number, height: Number, colour: Colour, radius: Number = 0) -> None:
        """Draw a rectangle, its corners rounded."""
        if height > 0:
            self._draw.rounded_rectangle(self._corners(left, top, width, height), radius * self._scale, colour)

    def oval(self, left: Number, top: Number, width: Number, height: Number, colour: Colour) -> None:
        """Draw the ellipse that fits a rectangle."""
        self._draw.ellipse(self._corners(left, top, width, height), colour)

    def shape(self, points: list[tuple[Number, Number]], colour: Colour) -> None:
        """Draw a polygon."""
        self._draw.polygon([(x * self._scale, y * self._scale) for x, y in points], colour)

    def text(self, x: Number, y: Number, size: Number, text: str, anchor: str) -> None:
        """Write in white with dark edges."""
        font = _font(size * self._scale)
        edge = max(1, round(size * self._scale / 14))
        place = (x * self._scale, y * self._scale)
        self._draw.text(place, text, WHITE, font, anchor, stroke_width=edge, stroke_fill=INK)

    def _corners(self, left: Number, top: Number, width: Number, height: Number) -> list[float]:
        first, last = (left, top), (left + width, top + height)
        # Pillow counts the last pixel in.
        return [edge * self._scale for edge in first] + [edge * self._scale - 1 for edge in last]


def colour_picture(
    environment: AbstractEnvironment[Any, Any], state: Any, params: Any, height: int = HEIGHT
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a colour picture of a state, rows first, its columns in proportion to the game's screen.

    Args:
        environment: Catcher or Flappy Bird, with any observations, or several of them; of any other the grey picture
            is enlarged.
        state: what to draw.
        params: the level.
        height: rows of the picture.
    """
    if isinstance(environment, FrameObservations):
        return colour_picture(environment.environment, state.inner, params, height)
    if isinstance(environment, Several) and all(isinstance(it, AbstractEnvironment) for it in environment.environments):
        its_game, inner, own = (it[int(state.which)] for it in (environment.environments, state.inner, params.inner))
        return colour_picture(its_game, inner, own, height)
    if isinstance(environment, Catcher):
        return _shrunk(_catcher(state, FINER * height))
    if isinstance(environment, FlappyBird):
        return _shrunk(_flappy_bird(state, params, FINER * height))
    grey = Image.fromarray(np.asarray(environment.render(state, params)))
    return np.asarray(grey.resize((height, height), Image.Resampling.NEAREST).convert("RGB"))


def _shrunk(image: Image.Image) -> UInt8[np.ndarray, "rows columns 3"]:
    return np.asarray(image.reduce(FINER))


@lru_cache
def _font(size: Number) -> Any:
    return ImageFont.load_default(size)


def _gradient(width: int, height: int, top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, height)[:, None]
    rows = np.round((1 - share) * top + share * bottom).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(rows[:, None], (height, width, 3)).copy())


def _catcher(state: CatcherState, height: int) -> Image.Image:
    image = _evening(height).copy()
    brush = _Brush(image, height / catcher.SIZE)
    _draw_apple(brush, int(state.fruit_x), int(state.fruit_y))
    left, top, width = int(state.paddle_x), catcher.PADDLE_Y, catcher.PADDLE_WIDTH
    brush.box(left, top, width, catcher.PADDLE_HEIGHT, WOOD_DARK, radius=1.2)
    brush.box(left, top, width, 2.4, WOOD, radius=1.2)
    brush.box(left + 0.8, top + 0.4, width - 1.6, 0.6, WOOD_LIGHT, radius=0.3)
    for life in range(int(state.lives)):
        _draw_heart(brush, 2 + 4.2 * life, 2.2)
    brush.text(catcher.SIZE - 2, 1.4, 5, str(int(state.score)), "ra")
    return image


@lru_cache(maxsize=4)
def _evening(height: int) -> Image.Image:
    image = _gradient(height, height, EVENING, HORIZON)
    brush = _Brush(image, height / catcher.SIZE)
    brush.oval(40, 38, 14, 14, SUN)
    brush.oval(-16, 46, 52, 40, FAR_HILL)
    brush.oval(24, 49, 64, 40, FAR_HILL)
    brush.oval(-30, 54, 80, 40, NEAR_HILL)
    brush.oval(34, 56, 60, 40, NEAR_HILL)
    return image


def _draw_apple(brush: _Brush, left: Number, top: Number) -> None:
    side = catcher.FRUIT_SIDE
    brush.oval(left, top + 0.3, side, side - 0.3, APPLE)
    brush.oval(left + 0.7, top + 0.9, 1.1, 0.9, APPLE_LIGHT)
    brush.box(left + side / 2 - 0.15, top - 0.5, 0.3, 1.2, WOOD_DARK)
    brush.oval(left + side / 2 + 0.1, top - 0.5, 1.3, 0.8, LEAF)


def _draw_heart(brush: _Brush, left: Number, top: Number) -> None:
    for lobe in (0, 1.5):
        brush.oval(left + lobe, top, 1.7, 1.7, APPLE)
    brush.shape([(left + 0.1, top + 1.2), (left + 3.1, top + 1.2), (left + 1.6, top + 3.1)], APPLE)


def _flappy_bird(state: FlappyBirdState, params: FlappyBirdParams, height: int) -> Image.Image:
    image = _day(height).copy()
    scale = height / flappy_bird.HEIGHT
    brush = _Brush(image, scale)
    for x, gap_start in zip(np.asarray(state.pipe_x), np.asarray(state.gap_start), strict=True):
        left = int(x) - flappy_bird.PIPE_WIDTH // 2
        gap_end = int(gap_start) + int(params.gap)
        _draw_pipe(brush, left, 0, int(gap_start), cap=int(gap_start) - 24)
        _draw_pipe(brush, left, gap_end, flappy_bird.BASE_Y - gap_end, cap=gap_end)
    _draw_ground(brush, flappy_bird.PIPE_SPEED * int(state.time))
    bird = _bird(scale, ((int(state.time) + 1) // 15) % 3, max(-25, min(50, -5 + 7 * int(state.bird_velocity))))
    middle_x = flappy_bird.BIRD_X + flappy_bird.BIRD_WIDTH / 2
    middle_y = int(state.bird_y) + flappy_bird.BIRD_HEIGHT / 2
    image.paste(bird, (round(middle_x * scale - bird.width / 2), round(middle_y * scale - bird.height / 2)), bird)
    brush.text(flappy_bird.WIDTH / 2, 24, 44, str(int(state.score)), "ma")
    return image


@lru_cache(maxsize=4)
def _day(height: int) -> Image.Image:
    image = _gradient(round(height * flappy_bird.WIDTH / flappy_bird.HEIGHT), height, SKY, HAZE)
    brush = _Brush(image, height / flappy_bird.HEIGHT)
    for left, top, size in ((-20, 330, 90), (50, 345, 70), (100, 325, 100), (180, 340, 80), (230, 330, 90)):
        brush.oval(left, top, size, size / 2, CLOUD)
    brush.box(0, 360, flappy_bird.WIDTH, 60, CLOUD)
    for left, size in ((-30, 80), (30, 60), (75, 90), (150, 70), (200, 60), (240, 90)):
        brush.oval(left, 395 - size / 3, size, size, BUSHES)
    return image


def _draw_pipe(brush: _Brush, left: Number, top: Number, height: Number, cap: Number) -> None:
    """Draw one half of a pipe, its cap from row `cap` on."""
    _draw_tube(brush, left + 2, top, flappy_bird.PIPE_WIDTH - 4, height)
    _draw_tube(brush, left, cap, flappy_bird.PIPE_WIDTH, 24)


def _draw_tube(brush: _Brush, left: Number, top: Number, width: Number, height: Number) -> None:
    brush.box(left, top, width, height, PIPE_EDGE)
    inner = width - 4
    top, height = top + 2, height - 4
    brush.box(left + 2, top, inner, height, PIPE)
    brush.box(left + 2 + 0.1 * inner, top, 0.22 * inner, height, PIPE_LIGHT)
    brush.box(left + 2 + 0.78 * inner, top, 0.22 * inner, height, PIPE_DARK)


def _draw_ground(brush: _Brush, scrolled: int) -> None:
    top, width = flappy_bird.BASE_Y, flappy_bird.WIDTH
    brush.box(0, top, width, flappy_bird.HEIGHT - top, SAND)
    brush.box(0, top, width, 3, PIPE_EDGE)
    brush.box(0, top + 3, width, 13, LAWN)
    for left in range(-(scrolled % STRIPE) - STRIPE, width + STRIPE, STRIPE):
        brush.shape([(left + 8, top + 3), (left + 20, top + 3), (left + 12, top + 16), (left, top + 16)], LAWN_DARK)
    brush.box(0, top + 16, width, 4, SAND_DARK)


@lru_cache(maxsize=256)
def _bird(scale: Number, wing: int, tilt: int) -> Image.Image:
    """Return the bird, transparent around it, its nose down by `tilt` degrees."""
    width, height = flappy_bird.BIRD_WIDTH, flappy_bird.BIRD_HEIGHT
    margin = 8
    image = Image.new("RGBA", (round((width + 2 * margin) * scale), round((height + 2 * margin) * scale)))
    brush = _Brush(image, scale)
    brush.oval(margin, margin, width - 3, height, INK)
    brush.oval(margin + 2, margin + 2, width - 7, height - 4, BIRD)
    brush.oval(margin + 5, margin + 13, width - 15, 8, BIRD_LIGHT)
    brush.oval(margin + 17, margin + 1, 12, 12, INK)
    brush.oval(margin + 18.5, margin + 2.5, 9, 9, WHITE)
    brush.oval(margin + 23.5, margin + 5, 3, 4.5, INK)
    brush.oval(margin + 19, margin + 12, 15, 8, INK)
    brush.oval(margin + 20.5, margin + 13.5, 12, 5, BEAK)
    wing_top = margin + (6, 9, 12)[wing]
    brush.oval(margin - 2, wing_top, 15, 10, INK)
    brush.oval(margin - 0.5, wing_top + 1.5, 12, 7, BIRD_LIGHT)
    return image.rotate(-tilt, Image.Resampling.BICUBIC)
