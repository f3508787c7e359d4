"""Flappy Bird's rules against values worked out by hand; which gaps can be passed, by trying all actions; refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.games import flappy_bird
from perdure.rl.games.flappy_bird import (
    GROUND_Y,
    LARGEST_GAP,
    SMALLEST_GAP,
    FlappyBird,
    advance,
    draw_gaps,
    gap_starts,
    start,
)

FLAP, NONE = range(2)
LEVEL = FlappyBird.params()
FAR = jnp.full(3, 100, jnp.int32)
step = jax.jit(advance)


def played(actions, level=LEVEL, gaps=FAR, velocity=0, **begin):
    """Return the states and rewards after each action; every new gap starts in row 150."""
    state, states, rewards = start(gaps, jnp.int32(velocity))._replace(**begin), [], []
    for action in actions:
        state, reward = step(state, jnp.int32(action), jnp.int32(150), level)
        states.append(state)
        rewards.append(float(reward))
    return states, rewards


def velocities(actions, **begin):
    return [int(state.bird_velocity) for state in played(actions, **begin)[0]]


def test_an_episode_starts_with_a_flap_that_acts_for_two_frames():
    assert velocities([NONE] * 5) == [-8, -8, -7, -6, -5]


def test_a_flap_right_after_a_flap_is_lost():
    assert velocities([FLAP] * 5) == [-8, 0, -8, 0, -8]
    assert velocities([NONE, NONE, FLAP, NONE, FLAP]) == [-8, -8, -8, -8, -8]


def test_an_initial_velocity_may_be_given():
    assert velocities([NONE], velocity=10) == [1]
    assert velocities([NONE], velocity=-8) == [-16]
    assert velocities([FLAP], velocity=10) == [-8]


def test_the_ground_ends_the_game_one_frame_late():
    states, rewards = played([NONE] * 60)
    ends = rewards.index(-5.0)
    assert int(states[ends - 1].bird_y) >= GROUND_Y > int(states[ends - 2].bird_y)
    assert [int(state.lives) for state in states[ends - 1 : ends + 1]] == [1, 0]


def test_pipes_give_a_point_once_each_and_come_in_again():
    level = FlappyBird.params(gap=300)
    rewards, state = [], start(jnp.full(3, 80, jnp.int32), jnp.int32(0))
    for _ in range(300):
        action = jnp.where(state.bird_y > 200, FLAP, NONE)
        state, reward = step(state, action, jnp.int32(85), level)
        rewards.append(float(reward))
    assert np.flatnonzero(rewards).tolist() == [65, 101, 137, 178, 214, 250, 291]
    assert set(rewards) == {0.0, 1.0}
    assert state.gap_start.tolist() == [85, 85, 85]


def test_gaps_start_uniformly():
    for gap in (75, 100):
        level = FlappyBird.params(gap)
        first, last = gap_starts(level.gap)
        drawn = np.asarray(draw_gaps(jax.random.key(0), (70_000, 3), level.gap))
        counts = np.bincount(drawn.ravel())[int(first) :]
        assert len(counts) == last - first + 1
        expected = drawn.size / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 5 * np.sqrt(2 * len(counts))


def passable(gap, gap_start, after):
    """Return whether some sequence of actions brings a bird past a pipe; all are tried.

    `after` has for each action and state (row, velocity, thrust), in order of numbers, the number of the next one.
    """
    rows = np.arange(after.shape[1]) // 38 - 16
    here = np.zeros(after.shape[1], bool)
    here[number(256 - 8, -8, 1)] = True  # the state after the first frame, with either action
    for x in range(336, 31, -4):
        lives = (rows > 0) & (rows < GROUND_Y)
        if x < 100:
            lives &= (rows > gap_start) & (rows + 24 <= gap_start + gap)
        here &= lives
        there = np.zeros_like(here)
        there[after[:, here]] = True
        here = there
    return here.any()


def number(y, velocity, thrusting):
    return ((y + 16) * 19 + velocity + 8) * 2 + thrusting


@pytest.fixture(scope="module")
def every_transition():
    y, velocity, thrusting = (axis.ravel() for axis in np.mgrid[-16:401, -8:11, 0:2])
    n = len(y)
    states = flappy_bird.FlappyBirdState(
        jnp.asarray(y, jnp.int32),
        jnp.asarray(velocity, jnp.int32),
        jnp.asarray(thrusting == 1),
        jnp.asarray(thrusting == 1),
        jnp.full((n, 3), 300.0, jnp.float32),
        jnp.full((n, 3), 100, jnp.int32),
        *(jnp.ones(n, jnp.int32),) * 3,
    )
    after = []
    for action in (FLAP, NONE):
        moved = jax.jit(jax.vmap(advance, in_axes=(0, None, None, None)))(
            states, jnp.int32(action), jnp.int32(0), LEVEL
        )[0]
        after.append(
            number(np.clip(moved.bird_y, -16, 400), np.asarray(moved.bird_velocity), np.asarray(moved.thrusting))
        )
    return np.stack(after)


@pytest.mark.parametrize(("gap", "expected"), [(SMALLEST_GAP - 1, False), (SMALLEST_GAP, True)])
def test_the_smallest_gap_that_a_bird_can_pass(every_transition, gap, expected):
    first, last = (int(row) for row in gap_starts(jnp.int32(gap)))
    for gap_start in [*range(first, last, 9), last]:
        assert passable(gap, gap_start, every_transition) is np.bool_(expected), gap_start


def test_the_largest_gap_has_a_row_to_start_in():
    for gap, n in ((LARGEST_GAP, 2), (LARGEST_GAP + 1, 0)):
        first, last = gap_starts(jnp.int32(gap))
        assert max(0, int(last - first) + 1) == n


@pytest.mark.parametrize(("gap", "why"), [(34, "no bird can pass"), (1, "no bird"), (324, "the screen has no room")])
def test_refuses_gaps_no_bird_can_pass_and_gaps_too_large(gap, why):
    with pytest.raises(ValueError, match=rf"gap = {gap} pixels, expected 35 to 323: {why}.*levels have 100 to 75"):
        FlappyBird.params(gap)


@pytest.mark.parametrize("gap", [0, -100])
def test_refuses_gaps_below_one(gap):
    with pytest.raises(ValueError, match=f"gap = {gap}, expected a whole number ≥ 1"):
        FlappyBird.params(gap)


def test_refuses_time_limits_below_one():
    with pytest.raises(ValueError, match="max_steps_in_episode = 0, expected a whole number ≥ 1"):
        FlappyBird.params(max_steps_in_episode=0)
