"""Catcher's rules against values worked out by hand, and parameters that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.games.catcher import SPEEDS, Catcher, CatcherParams, Fruit, advance, draw_fruit, start

LEFT, RIGHT, NEITHER = range(3)
LEVEL = Catcher.params()
FRUIT = Fruit(jnp.int32(8), jnp.int32(4))
step = jax.jit(advance)


def played(actions, level=LEVEL, **begin):
    """Return the states and rewards after each action; every new fruit is the same."""
    state, states, rewards = start(FRUIT)._replace(**{k: jnp.int32(v) for k, v in begin.items()}), [], []
    for action in actions:
        state, reward = step(state, jnp.int32(action), FRUIT, level)
        states.append(state)
        rewards.append(float(reward))
    return states, rewards


def test_one_press_to_the_left_slides_to_the_wall_one_to_the_right_stops():
    left = [int(state.paddle_x) for state in played([LEFT] + [NEITHER] * 24)[0]]
    assert left[:5] == [23, 21, 20, 19, 18]
    assert left[-1] == 0
    right = [int(state.paddle_x) for state in played([RIGHT] + [NEITHER] * 24)[0]]
    assert right == [26] + [27] * 24


def test_the_slowest_velocity_to_the_left_moves_a_pixel():
    states, _ = played([NEITHER], paddle_x=40)
    slow = states[0]._replace(paddle_velocity=jnp.float32(-1e-7))
    assert step(slow, jnp.int32(NEITHER), FRUIT, LEVEL)[0].paddle_x == 39


def test_walls_stop_the_paddle():
    for action, wall in ((LEFT, 0), (RIGHT, 51)):
        state = played([action] * 20)[0][-1]
        assert (state.paddle_x, state.paddle_velocity) == (wall, 0)


@pytest.mark.parametrize("level", range(6))
def test_levels_fall_one_pixel_a_frame_faster_each(level):
    states, _ = played([NEITHER] * 5, Catcher().levels[level], fruit_y=10)
    assert [int(state.fruit_y) for state in states] == [10 + (2 + level) * frame for frame in range(1, 6)]


@pytest.mark.parametrize(("ahead", "y", "caught"), [(-8, 58, 0), (-7, 58, 1), (8, 58, 1), (9, 58, 0)])
def test_fruit_is_caught_within_reach(ahead, y, caught):
    assert played([NEITHER], paddle_x=25, fruit_x=25 + ahead, fruit_y=y)[1] == [caught]


@pytest.mark.parametrize(("y", "caught"), [(55, 0), (56, 1), (61, 1), (62, 0)])
def test_fruit_is_caught_in_six_rows(y, caught):
    assert played([NEITHER], paddle_x=25, fruit_x=25, fruit_y=y)[1] == [caught]


def test_the_third_miss_costs_six_and_ends_the_game():
    states, rewards = played([NEITHER] * 120, paddle_x=51)
    assert [reward for reward in rewards if reward][:3] == [-1, -1, -6]
    assert int(states[rewards.index(-6.0)].lives) == 0
    assert int(states[rewards.index(-6.0)].score) == -8


def test_fruit_starts_uniformly_in_its_84_places():
    drawn = jax.vmap(draw_fruit)(jax.random.split(jax.random.key(0), 84_000))
    places, counts = np.unique(np.stack(drawn, axis=1), axis=0, return_counts=True)
    expected = [(x, height) for x in range(8, 53, 4) for height in range(4, 29, 4)]
    np.testing.assert_array_equal(places, expected)
    chi_squared = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_squared < 83 + 5 * np.sqrt(2 * 83)


@pytest.mark.parametrize("speed", [-0.06, 0.0, float("nan"), float("inf"), -float("inf")])
def test_refuses_speeds_that_are_not_positive(speed):
    with pytest.raises(ValueError, match=rf"speed = {speed}, expected a finite number > 0 pixels.*0.0608 to 0.2108"):
        Catcher.params(speed)


@pytest.mark.parametrize(
    ("speed", "why"), [(0.029, "never falls"), (1e-60, "never falls"), (3.0, "leaps over"), (1e300, "leaps over")]
)
def test_refuses_speeds_at_which_nothing_can_be_caught(speed, why):
    with pytest.raises(ValueError, match=rf"pixels a frame: the fruit {why}.*cannot be caught.*0.0608 to 0.2108"):
        Catcher.params(speed)


def test_takes_speeds_at_which_some_fruit_can_be_caught():
    for speed in (0.0301, *SPEEDS, *np.arange(0.608, 0.759, 0.03)):
        assert Catcher.params(float(speed)).speed == np.float32(speed)


@pytest.mark.parametrize("limit", [0, -1])
def test_refuses_time_limits_below_one(limit):
    with pytest.raises(ValueError, match=rf"max_steps_in_episode = {limit}, expected a whole number ≥ 1"):
        Catcher.params(max_steps_in_episode=limit)


def test_parameters_are_arrays():
    assert Catcher().default_params == Catcher().levels[0]
    assert [leaf.dtype for leaf in Catcher.params()] == [jnp.float32, jnp.int32]
    assert isinstance(Catcher.params(), CatcherParams)
