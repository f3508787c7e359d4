"""Flappy Bird: a bird that falls unless it flaps must pass through the gaps of pipes.

A game of 288 × 512 pixels and 30 frames a second, after the PyGame Learning Environment (Tasfi 2016). A flap acts for
two frames. A flap in the frame right after another is lost, and the bird stays where it is for that frame.

In Riemer et al. (2019, arXiv:1810.11910) the gap narrows from level to level, from 100 pixels in steps of 5.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from perdure.rl.environment import Environment, Step
from perdure.rl.games.canvas import blank, covered, finished, painted
from perdure.rl.games.rules import LOSS, MAX_STEPS, draw_below, whole_number, with_end

WIDTH, HEIGHT = 288, 512
"""Size of the screen, in pixels."""
GAPS = (100, 95, 90, 85, 80, 75)
"""Heights of the levels' gaps, in pixels."""
SMALLEST_GAP = 35
LARGEST_GAP = 323
"""With a larger one, no row is left in which a gap may start."""
BIRD_X, BIRD_WIDTH, BIRD_HEIGHT = 57, 34, 24
START_Y = 256
GRAVITY, FLAP, FASTEST_FALL = 1, 9, 10
GROUND_Y, BASE_Y = 381, 404
"""Row from which on the bird touches the ground, and row in which the drawn ground starts."""
PIPE_SPEED = 4
PIPE_WIDTH = 52
N_PIPES = 3
START_PIPES = (340.0, 484.0, 628.0)
NEW_PIPE_X = 397.6
SCROLLED_OUT_X = -52
HIT_X = (31, 100)
"""A pipe beyond the first and before the second may be hit."""
POINT_X = (79, 83)
"""A pipe beyond the first and no farther than the second gives a point."""
CENTRES = np.array([192, 0, 155, 192, 192, 299, 192, 192], np.float32)
UNITS = (1 / np.array([208, 10, 155, 208, 208, 155, 208, 208])).astype(np.float32)


class FlappyBirdParams(NamedTuple):
    """Parameters of a level; `FlappyBird.params` makes them from checked numbers."""

    gap: Int[Array, ""]
    """Height of the gap between the two halves of a pipe, in pixels."""
    max_steps_in_episode: Int[Array, ""]
    """Frames after which the time limit ends an episode."""


class FlappyBirdState(NamedTuple):
    """State of an episode. Positions are in pixels, rows counted from the top."""

    bird_y: Int[Array, ""]
    """Row of the bird's upper edge."""
    bird_velocity: Int[Array, ""]
    """Pixels a frame, downwards."""
    flapped: Bool[Array, ""]
    """Whether the thrust of a flap is not over."""
    thrusting: Bool[Array, ""]
    """Whether that thrust started in the last frame; there is then no gravity in the next."""
    pipe_x: Float[Array, " pipes"]
    """Columns of the pipes' centres."""
    gap_start: Int[Array, " pipes"]
    """Rows in which the pipes' gaps start."""
    lives: Int[Array, ""]
    """1; below that once the bird has hit something."""
    score: Int[Array, ""]
    """Sum of the episode's rewards."""
    time: Int[Array, ""]
    """Frames since the episode began."""


def gap_starts(gap: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Return the first and the last row in which a gap of this height may start."""
    # The last is ⌊0.6 · 0.79 · HEIGHT − gap / 2⌋ with 242.688 for the product.
    return gap // 4, (485 - gap) // 2


def draw_gaps(key: PRNGKeyArray, shape: tuple[int, ...], gap: Int[Array, ""]) -> Int[Array, ...]:
    """Draw the rows in which gaps of this height start, uniform."""
    first, last = gap_starts(gap)
    return first + draw_below(key, shape, last - first + 1)


def start(gaps: Int[Array, " pipes"], velocity: Int[Array, ""]) -> FlappyBirdState:
    """Return the first state of an episode: the bird flaps by itself in the first frame.

    Args:
        gaps: rows in which the three pipes' gaps start.
        velocity: initial velocity of the bird. The original does not reset it, and starts with that of the last
            frame of the episode before, 0 only in the first episode.
    """
    zero = jnp.zeros((), jnp.int32)
    no = jnp.zeros((), bool)
    pipe_x = jnp.asarray(START_PIPES, jnp.float32)
    return FlappyBirdState(zero + START_Y, velocity, ~no, no, pipe_x, gaps, lives=zero + 1, score=zero, time=zero)


def advance(
    state: FlappyBirdState, action: Int[Array, ""], gap_start: Int[Array, ""], params: FlappyBirdParams
) -> tuple[FlappyBirdState, Float[Array, ""]]:
    """Return state and reward of the next frame; nothing is random. An episode ends when no lives are left.

    Args:
        state: state before the action.
        action: 0 flap, 1 none.
        gap_start: row in which the next gap starts, used if a pipe has left the screen and comes in again.
        params: the level.

    Returns:
        State, and reward: +1 for a pipe that is passed, −5 for the end. Both are judged in the state before the
        action.
    """
    hits = _hits(state, params.gap)
    left, right = POINT_X
    points = jnp.sum((left < state.pipe_x) & (state.pipe_x <= right), dtype=jnp.int32)
    is_out = state.pipe_x < SCROLLED_OUT_X
    lives = state.lives - hits
    reward = points + jnp.where(lives <= 0, LOSS, 0)
    bird_y, velocity, flapping = _flown_bird(state, action)
    after = FlappyBirdState(
        bird_y,
        velocity,
        flapping,
        flapping,
        jnp.where(is_out, jnp.float32(NEW_PIPE_X), state.pipe_x) - PIPE_SPEED,
        jnp.where(is_out, gap_start, state.gap_start),
        lives,
        state.score + reward,
        state.time + 1,
    )
    return after, reward.astype(jnp.float32)


def raw_observation(state: FlappyBirdState, params: FlappyBirdParams) -> Float[Array, " numbers"]:
    """Return the original's observation, in pixels.

    Row and velocity of the bird, then for the next pipe and the one after it: distance from the bird to the pipe's
    right edge, and rows in which its gap starts and ends.
    """
    distance = state.pipe_x + (PIPE_WIDTH // 2 - BIRD_X)
    distance = jnp.where(distance > 0, distance, jnp.inf)
    first = jnp.argmin(distance)
    second = jnp.argmin(jnp.where(jnp.arange(3, dtype=first.dtype) == first, jnp.inf, distance))
    starts = state.gap_start.astype(jnp.float32)
    gap = params.gap.astype(jnp.float32)
    bird = [state.bird_y.astype(jnp.float32), state.bird_velocity.astype(jnp.float32)]
    pipes = [number for pipe in (first, second) for number in (distance[pipe], starts[pipe], starts[pipe] + gap)]
    return jnp.stack(bird + pipes)


class FlappyBird(Environment[FlappyBirdParams, FlappyBirdState]):
    """The game: actions 0 flap, 1 none; rewards +1 a pipe, −5 the end by pipe, ground or ceiling.

    A hit terminates an episode, 1000 frames truncate it unless `params` says otherwise. The reward of an action comes
    in the next frame, as in the original: points and hits are those of the state before the action. Unlike in the
    original, the bird starts every episode with velocity 0, so that episodes do not depend on each other.

    Observations are float32 and within [−1, 1] in all levels:

    | entry | raw                                                     | range      | observed        |
    | ----- | ------------------------------------------------------- | ---------- | --------------- |
    | 0     | row of the bird's upper edge                            | −15 to 400 | (y − 192) / 208 |
    | 1     | velocity of the bird downwards, pixels/frame            | −8 to 10   | v / 10          |
    | 2     | from the bird to the right edge of the next pipe        | 1 to 309   | (d − 155) / 155 |
    | 3, 4  | rows in which that pipe's gap starts and ends           | 18 to 292  | (y − 192) / 208 |
    | 5     | from the bird to the right edge of the pipe after that  | 145 to 453 | (d − 299) / 155 |
    | 6, 7  | rows in which that pipe's gap starts and ends           | 18 to 292  | (y − 192) / 208 |
    """

    @property
    def num_actions(self) -> int:
        """Number of actions: 2."""
        return 2

    @staticmethod
    def params(gap: int = GAPS[0], max_steps_in_episode: int = MAX_STEPS) -> FlappyBirdParams:
        """Return the parameters of a level.

        Args:
            gap: height of the gaps in pixels, 35 to 323.
            max_steps_in_episode: frames after which the time limit ends an episode.

        Raises:
            TypeError: if a value is not a whole number.
            ValueError: if no bird can pass such a gap, there is no room for it on the screen, or the time limit is
                below 1.
        """
        height = whole_number("gap", gap, 1)
        if not SMALLEST_GAP <= gap <= LARGEST_GAP:
            why = "no bird can pass a smaller one" if gap < SMALLEST_GAP else "the screen has no room for a larger one"
            raise ValueError(
                f"gap = {gap} pixels, expected {SMALLEST_GAP} to {LARGEST_GAP}: {why}; the levels have {GAPS[0]} to "
                f"{GAPS[-1]}"
            )
        return FlappyBirdParams(height, whole_number("max_steps_in_episode", max_steps_in_episode, 1))

    @property
    def default_params(self) -> FlappyBirdParams:
        """Parameters of the first level."""
        return self.params()

    @property
    def levels(self) -> tuple[FlappyBirdParams, ...]:
        """The six levels of Riemer et al. (2019): gaps of 100, 95, …, 75 pixels."""
        return tuple(self.params(gap) for gap in GAPS)

    def observe(self, state: FlappyBirdState, params: FlappyBirdParams) -> Float[Array, " numbers"]:
        """Return the observation of a state."""
        return (raw_observation(state, params) - CENTRES) * UNITS

    def reset(self, key: PRNGKeyArray, params: FlappyBirdParams) -> tuple[Float[Array, " numbers"], FlappyBirdState]:
        """Return the first observation and state of an episode."""
        state = start(draw_gaps(key, (3,), params.gap), jnp.zeros((), jnp.int32))
        return self.observe(state, params), state

    def step_env(
        self, key: PRNGKeyArray, state: FlappyBirdState, action: Int[Array, ""], params: FlappyBirdParams
    ) -> Step:
        """Return the step to which an action leads, without a reset at the end of the episode."""
        after, reward = advance(state, action, draw_gaps(key, (), params.gap), params)
        return with_end(self.observe(after, params), after, reward, after.lives <= 0, params.max_steps_in_episode)

    def render(self, state: FlappyBirdState, params: FlappyBirdParams) -> UInt8[Array, "84 84"]:
        """Return a grey picture of a state, rows first: black, the bird white, pipes and ground grey.

        The screen is shrunk to 84 × 84, its height more than its width. As in the original, the bird is drawn 17 pixels
        to the right of the position that decides what it hits.
        """
        picture = blank(0)
        for pipe in range(N_PIPES):
            columns = covered(state.pipe_x[pipe] - PIPE_WIDTH // 2, PIPE_WIDTH, WIDTH)
            gap_end = state.gap_start[pipe] + params.gap
            above = covered(0, state.gap_start[pipe], HEIGHT)
            below = covered(gap_end, HEIGHT - gap_end, HEIGHT)
            picture = painted(picture, above + below, columns, shade=150)
        picture = painted(picture, covered(BASE_Y, HEIGHT - BASE_Y, HEIGHT), covered(0, WIDTH, WIDTH), shade=80)
        bird = covered(state.bird_y, BIRD_HEIGHT, HEIGHT), covered(BIRD_X, BIRD_WIDTH, WIDTH)
        return finished(painted(picture, *bird, shade=255))


def _hits(state: FlappyBirdState, gap: Int[Array, ""]) -> Int[Array, ""]:
    """Return the number of obstacles that the bird has hit; each costs a life."""
    left, right = HIT_X
    near = (left < state.pipe_x) & (state.pipe_x < right)
    above = near & (state.bird_y <= state.gap_start)
    below = near & (state.bird_y + BIRD_HEIGHT > state.gap_start + gap)
    outside = (state.bird_y <= 0) | (state.bird_y >= GROUND_Y)
    return jnp.sum(above, dtype=jnp.int32) + jnp.sum(below, dtype=jnp.int32) + jnp.where(outside, 1, 0)


def _flown_bird(
    state: FlappyBirdState, action: Int[Array, ""]
) -> tuple[Int[Array, ""], Int[Array, ""], Bool[Array, ""]]:
    """Return the bird's row and velocity in the next frame, and whether the thrust of a flap started."""
    flaps = action == 0
    velocity = jnp.where(flaps, 0, state.bird_velocity)
    flapping = (flaps | state.flapped) & ~state.thrusting
    weighs = (velocity < FASTEST_FALL) & ~state.thrusting
    velocity = velocity + jnp.where(weighs, GRAVITY, 0) - jnp.where(flapping, FLAP, 0)
    return state.bird_y + velocity, velocity, flapping
