"""Catcher: fruit falls, a paddle that is hard to stop must be below it; three misses end the game.

A game of 64 × 64 pixels and 30 frames a second, after the PyGame Learning Environment (Tasfi 2016) as it plays under
pygame before 2.3, where positions lose their fraction in every frame. A paddle that moves left therefore moves at least
one pixel a frame, and slides to the wall after a single press; one that moves right stops.

In Riemer et al. (2019, arXiv:1810.11910) the fruit falls faster from level to level. Their initial speed of 0.608 is
ten times the one of this game in pixels a millisecond, in which their increment of 0.03 is one pixel a frame.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from perdure.rl.environment import Environment, Step
from perdure.rl.games.canvas import blank, covered, finished, painted
from perdure.rl.games.rules import FRAME_MS, LOSS, MAX_STEPS, check_positive, draw_below, whole_number, with_end

SIZE = 64
"""Height and width of the screen, in pixels."""
SPEEDS = tuple(0.0608 + 0.03 * level for level in range(6))
"""Fall speeds of the levels in pixels a millisecond: 2, 3, …, 7 pixels a frame."""
PADDLE_Y, PADDLE_WIDTH, PADDLE_HEIGHT = 58, 13, 3
FRUIT_SIDE = 4
START_X = 25
LARGEST_X = 51
PUSH = 1.344
FRICTION = 0.9
LIVES = 3
COLUMNS, ROWS, SPACING = 12, 7, 4
"""Fruit starts in one of 12 columns from 8 to 52 and 7 rows from −4 to −28."""
CATCH_ROWS = (56, 61)
"""First and last row in which fruit is caught."""
CATCH_COLUMNS = (-7, 8)
"""First and last column of caught fruit, relative to the paddle's."""
CENTRES = np.array([26, 0, 26, 21], np.float32)
UNITS = (1 / np.array([26, PUSH * FRICTION / (1 - FRICTION), 26, 49])).astype(np.float32)


class CatcherParams(NamedTuple):
    """Parameters of a level; `Catcher.params` makes them from checked numbers."""

    speed: Float[Array, ""]
    """Fall speed of the fruit, in pixels a millisecond."""
    max_steps_in_episode: Int[Array, ""]
    """Frames after which the time limit ends an episode."""


class Fruit(NamedTuple):
    """Where a fruit starts: the numbers that the game draws."""

    x: Int[Array, ""]
    """Column: 8, 12, …, 52."""
    height: Int[Array, ""]
    """Rows above the screen: 4, 8, …, 28."""


class CatcherState(NamedTuple):
    """State of an episode. Positions are those of centres, in pixels, rows counted from the top."""

    paddle_x: Int[Array, ""]
    """From 0 to 51."""
    paddle_velocity: Float[Array, ""]
    """Pixels a frame."""
    fruit_x: Int[Array, ""]
    fruit_y: Int[Array, ""]
    lives: Int[Array, ""]
    score: Int[Array, ""]
    """Sum of the episode's rewards."""
    time: Int[Array, ""]
    """Frames since the episode began."""


def draw_fruit(key: PRNGKeyArray) -> Fruit:
    """Draw where a fruit starts, uniform in columns and rows."""
    cell = draw_below(key, (), COLUMNS * ROWS)
    return Fruit(8 + SPACING * (cell // ROWS), SPACING * (1 + cell % ROWS))


def start(fruit: Fruit) -> CatcherState:
    """Return the first state of an episode."""
    zero = jnp.zeros((), jnp.int32)
    return CatcherState(
        zero + START_X, jnp.zeros((), jnp.float32), fruit.x, -fruit.height, zero + LIVES, score=zero, time=zero
    )


def advance(
    state: CatcherState, action: Int[Array, ""], fruit: Fruit, params: CatcherParams
) -> tuple[CatcherState, Float[Array, ""]]:
    """Return state and reward of the next frame; nothing is random. An episode ends when no lives are left.

    Args:
        state: state before the action.
        action: 0 left, 1 right, 2 neither.
        fruit: the next one, used if the present one is missed or caught.
        params: the level.

    Returns:
        State, and reward: +1 for a catch, −1 for a miss, −5 more for the third. Catches and misses are those of the
        state before the action.
    """
    missed = state.fruit_y >= SIZE
    is_caught = caught(state)
    is_new = missed | is_caught
    fruit_x = jnp.where(is_new, fruit.x, state.fruit_x)
    fruit_y = jnp.where(is_new, -fruit.height, state.fruit_y)
    lives = jnp.where(missed, state.lives - 1, state.lives)
    reward = jnp.where(is_caught, 1, 0) - jnp.where(missed, 1, 0) + jnp.where(lives == 0, LOSS, 0)
    paddle_x, velocity = _moved_paddle(state.paddle_x, state.paddle_velocity, action)
    fruit_y = _fallen(fruit_y, params.speed)
    after = CatcherState(paddle_x, velocity, fruit_x, fruit_y, lives, state.score + reward, state.time + 1)
    return after, reward.astype(jnp.float32)


def raw_observation(state: CatcherState) -> Float[Array, " numbers"]:
    """Return the original's observation: column and velocity of the paddle, column and row of the fruit, in pixels."""
    numbers = (state.paddle_x, state.paddle_velocity, state.fruit_x, state.fruit_y)
    return jnp.stack([number.astype(jnp.float32) for number in numbers])


class Catcher(Environment[CatcherParams, CatcherState]):
    """The game: actions 0 left, 1 right, 2 neither; rewards +1 a catch, −1 a miss, −6 the third miss.

    The third miss terminates an episode, 1000 frames truncate it unless `params` says otherwise. The reward of an
    action comes in the next frame, as in the original: catches and misses are those of the state before the action.

    Observations are float32 and within [−1, 1] in all levels:

    | entry | raw                                   | range          | observed      |
    | ----- | ------------------------------------- | -------------- | ------------- |
    | 0     | column of the paddle                  | 0 to 51        | (x − 26) / 26 |
    | 1     | velocity of the paddle, pixels/frame  | ±12.096        | v / 12.096    |
    | 2     | column of the fruit                   | 8 to 52        | (x − 26) / 26 |
    | 3     | row of the fruit, above the screen −  | −28 to 70      | (y − 21) / 49 |
    """

    @property
    def num_actions(self) -> int:
        """Number of actions: 3."""
        return 3

    @staticmethod
    def params(speed: float = SPEEDS[0], max_steps_in_episode: int = MAX_STEPS) -> CatcherParams:
        """Return the parameters of a level.

        Args:
            speed: fall speed of the fruit in pixels a millisecond. Only whole pixels a frame of 33.3 ms count.
            max_steps_in_episode: frames after which the time limit ends an episode.

        Raises:
            TypeError: if a value is not a number, or the time limit not a whole one.
            ValueError: if the speed is not finite and above zero, or no fruit can be caught at it, because it does not
                fall or leaps over the rows of the paddle; or if the time limit is below 1.
        """
        usual = f"pixels a millisecond, like those of the levels, {SPEEDS[0]:g} to {SPEEDS[-1]:g}"
        check_positive("speed", speed, usual)
        if not _catchable(speed):
            what = "never falls" if speed * FRAME_MS < 1 else "leaps over the paddle from every height"
            raise ValueError(
                f"speed = {speed:g} is {speed * FRAME_MS:.3g} pixels a frame: the fruit {what} and cannot be caught; "
                f"expected a number of {usual}"
            )
        max_steps = whole_number("max_steps_in_episode", max_steps_in_episode, 1)
        return CatcherParams(jnp.asarray(float(speed), jnp.float32), max_steps)

    @property
    def default_params(self) -> CatcherParams:
        """Parameters of the first level."""
        return self.params()

    @property
    def levels(self) -> tuple[CatcherParams, ...]:
        """The six levels of Riemer et al. (2019): fruit falls 2, 3, …, 7 pixels a frame."""
        return tuple(self.params(speed) for speed in SPEEDS)

    def observe(self, state: CatcherState) -> Float[Array, " numbers"]:
        """Return the observation of a state."""
        return (raw_observation(state) - CENTRES) * UNITS

    def reset(self, key: PRNGKeyArray, params: CatcherParams) -> tuple[Float[Array, " numbers"], CatcherState]:
        """Return the first observation and state of an episode."""
        state = start(draw_fruit(key))
        return self.observe(state), state

    def step_env(self, key: PRNGKeyArray, state: CatcherState, action: Int[Array, ""], params: CatcherParams) -> Step:
        """Return the step to which an action leads, without a reset at the end of the episode."""
        after, reward = advance(state, action, draw_fruit(key), params)
        return with_end(self.observe(after), after, reward, after.lives == 0, params.max_steps_in_episode)

    def render(self, state: CatcherState, params: CatcherParams) -> UInt8[Array, "84 84"]:
        """Return a grey picture of a state, rows first: black, the paddle white, the fruit grey.

        As in the original, paddle and fruit are drawn with their upper left corner at their centre.
        """
        paddle = covered(PADDLE_Y, PADDLE_HEIGHT, SIZE), covered(state.paddle_x, PADDLE_WIDTH, SIZE)
        fruit = covered(state.fruit_y, FRUIT_SIDE, SIZE), covered(state.fruit_x, FRUIT_SIDE, SIZE)
        return finished(painted(painted(blank(0), *paddle, shade=255), *fruit, shade=150))


def caught(state: CatcherState) -> Bool[Array, ""]:
    """Tell whether the fruit of a state is caught."""
    left, right = CATCH_COLUMNS
    top, bottom = CATCH_ROWS
    ahead = state.fruit_x - state.paddle_x
    return (left <= ahead) & (ahead <= right) & (top <= state.fruit_y) & (state.fruit_y <= bottom)


def _moved_paddle(
    x: Int[Array, ""], velocity: Float[Array, ""], action: Int[Array, ""]
) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Return the paddle's column and velocity in the next frame."""
    push = jnp.where(action == 0, -PUSH, jnp.where(action == 1, PUSH, 0.0))
    velocity = (velocity + push) * FRICTION
    # Rounding down the velocity, not the sum, keeps the smallest velocities to the left, which move a pixel too.
    moved = x + jnp.floor(velocity).astype(jnp.int32)
    at_wall = (velocity <= -x.astype(jnp.float32)) | (moved >= LARGEST_X)
    return jnp.clip(moved, 0, LARGEST_X), jnp.where(at_wall, 0.0, velocity)


def _fallen(y: Int[Array, ""], speed: Float[Array, ""]) -> Int[Array, ""]:
    """Return the fruit's row in the next frame: the sum loses its fraction, which above the screen rounds it down."""
    return (y.astype(jnp.float32) + speed * FRAME_MS).astype(jnp.int32)


def _catchable(speed: float) -> bool:
    """Return whether fruit can be caught from at least one of the heights at which it starts."""
    for row in range(1, ROWS + 1):
        y = -SPACING * row
        while y <= CATCH_ROWS[1]:
            if y >= CATCH_ROWS[0]:
                return True
            before, y = y, int(y + speed * FRAME_MS)
            if y == before:
                break
    return False
