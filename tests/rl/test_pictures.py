"""Pictures show every object at the position that the state gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.environment import Environment, Step
from perdure.rl.games.catcher import Catcher, Fruit
from perdure.rl.games.catcher import start as start_catcher
from perdure.rl.games.flappy_bird import FlappyBird, FlappyBirdParams
from perdure.rl.games.flappy_bird import start as start_bird
from perdure.rl.games.frames import FrameObservations, FrameState, small_frames
from perdure.rl.games.pictures import colour_picture

LEVEL = FlappyBird.params(gap=100)


def catcher_state(paddle_x, fruit_x, fruit_y):
    return start_catcher(Fruit(jnp.int32(fruit_x), jnp.int32(-fruit_y)))._replace(paddle_x=jnp.int32(paddle_x))


def bird_state(bird_y=200, pipe_x=(172.0, 316.0, 460.0), gaps=(30, 150, 90)):
    state = start_bird(jnp.asarray(gaps, jnp.int32), jnp.int32(0))
    return state._replace(bird_y=jnp.int32(bird_y), pipe_x=jnp.asarray(pipe_x, jnp.float32))


render_catcher = jax.jit(Catcher().render)
render_bird = jax.jit(FlappyBird().render)


def middle(mask):
    """Return the middle row and column of what is marked, as parts of the picture."""
    rows, columns = np.nonzero(mask)
    return (rows.mean() + 0.5) / len(mask), (columns.mean() + 0.5) / len(mask[0])


@pytest.mark.parametrize(("x", "y"), [(8, 0), (52, 30), (20, 44), (36, 53)])
def test_fruit_and_paddle_are_where_the_state_says(x, y):
    grey = np.asarray(render_catcher(catcher_state(40, x, y), Catcher.params()))
    assert (grey.shape, grey.dtype) == ((84, 84), np.uint8)
    np.testing.assert_allclose(middle(grey == 150), ((y + 2) / 64, (x + 2) / 64), atol=0.01)
    np.testing.assert_allclose(middle(grey > 200), ((58 + 1.5) / 64, (40 + 6.5) / 64), atol=0.01)
    assert (grey > 0).mean() < 0.03


def test_fruit_above_the_screen_is_not_seen():
    grey = render_catcher(catcher_state(0, 20, -4), Catcher.params())
    assert grey[:70].max() == 0
    assert grey[:, 0].max() == 255


def test_each_pixel_of_the_game_makes_another_picture():
    pictures = [render_catcher(catcher_state(25, 20, y), Catcher.params()) for y in range(40)]
    assert len({picture.tobytes() for picture in map(np.asarray, pictures)}) == 40


def test_bird_and_pipes_are_where_the_state_says():
    grey = np.asarray(render_bird(bird_state(bird_y=70), LEVEL))
    np.testing.assert_allclose(middle(grey > 200), (82 / 512, 74 / 288), atol=0.01)
    column = grey[:, round(172 / 288 * 84)]
    np.testing.assert_array_equal(np.unique(column[: round(26 / 512 * 84)]), [150])
    np.testing.assert_array_equal(np.unique(column[round(33 / 512 * 84) : round(127 / 512 * 84)]), [0])
    np.testing.assert_array_equal(np.unique(column[round(135 / 512 * 84) : round(400 / 512 * 84)]), [150])
    np.testing.assert_array_equal(np.unique(grey[-15:]), [80])
    widths = (grey[40] == 150).sum()
    np.testing.assert_allclose(widths, 50 / 288 * 84, atol=2)


def test_a_narrower_gap_is_seen_narrower():
    wide, narrow = (np.asarray(render_bird(bird_state(), FlappyBird.params(gap))) for gap in (100, 75))
    assert (narrow == 150).sum() > (wide == 150).sum()


def test_colours_are_where_the_grey_is():
    picture = colour_picture(Catcher(), catcher_state(40, 20, 30), Catcher.params())
    assert (picture.shape, picture.dtype) == ((512, 512, 3), np.uint8)
    red = (picture[..., 0] > 200) & (picture[..., 1] < 80)
    red[:50] = False  # lives
    np.testing.assert_allclose(middle(red), (32 / 64, 22 / 64), atol=0.01)

    picture = colour_picture(FlappyBird(), bird_state(bird_y=300), LEVEL)
    assert picture.shape == (512, 288, 3)
    yellow = (picture[..., 0] > 240) & (picture[..., 2] < 80)
    np.testing.assert_allclose(middle(yellow), (312 / 512, 74 / 288), atol=0.03)
    green = (picture[..., 1] > 150) & (picture[..., 2] < 120)
    assert green[200, 150:195].any()
    assert not green[40:120, 150:195].any()


def test_colour_pictures_come_in_any_size():
    assert colour_picture(FlappyBird(), bird_state(), LEVEL, height=128).shape == (128, 72, 3)


@pytest.mark.parametrize("y", [-28, 70])
def test_anything_can_be_drawn_off_the_screen(y):
    colour_picture(Catcher(), catcher_state(51, 52, y), Catcher.params())
    state = bird_state(bird_y=-15, pipe_x=(-56.0, 628.0, 31.0), gaps=(18, 205, 192))
    colour_picture(FlappyBird(), state._replace(score=jnp.int32(-5), lives=jnp.int32(-1)), LEVEL)


def test_observation_does_not_matter_to_a_picture():
    state = catcher_state(40, 20, 30)
    plain = colour_picture(Catcher(), state, Catcher.params())
    frames = FrameState(state, jnp.zeros((4, 84, 84), jnp.uint8))
    wrapped = colour_picture(FrameObservations(Catcher()), frames, Catcher.params())
    np.testing.assert_array_equal(wrapped, plain)


class Dark(Environment[FlappyBirdParams, tuple]):
    """An own environment, of which there is no colour picture."""

    @property
    def num_actions(self):
        return 1

    @property
    def default_params(self):
        return LEVEL

    @property
    def levels(self):
        return (LEVEL,)

    def reset(self, key, params):
        return jnp.zeros(1), (jnp.zeros(()),)

    def step_env(self, key, state, action, params):
        return Step(jnp.zeros(1), state, jnp.zeros(()), jnp.zeros((), bool), {})

    def render(self, state, params):
        return jnp.zeros((84, 84), jnp.uint8).at[0, 0].set(255)


def test_of_an_own_environment_the_grey_picture_is_enlarged():
    picture = colour_picture(Dark(), (jnp.zeros(()),), LEVEL, height=168)
    assert picture.shape == (168, 168, 3)
    assert picture.sum() == 4 * 3 * 255
    assert picture[1, 1, 2] == 255


def test_frames_are_the_last_four_pictures():
    environment = FrameObservations(Catcher())
    params = Catcher().levels[5]
    seen, state = environment.reset(jax.random.key(0), params)
    assert (seen.shape, seen.dtype) == ((4, 84, 84), jnp.uint8)
    first = render_catcher(state.inner, params)
    pictures = [first] * 4
    np.testing.assert_array_equal(seen, jnp.stack(pictures))
    step = jax.jit(environment.step_env)
    for key in jax.random.split(jax.random.key(1), 6):
        after = step(key, state, jnp.int32(1), params)
        state = after.state
        pictures = [*pictures[1:], render_catcher(state.inner, params)]
        np.testing.assert_array_equal(after.observation, jnp.stack(pictures))
        np.testing.assert_array_equal(environment.render(state, params), pictures[-1])
    assert len({picture.tobytes() for picture in map(np.asarray, pictures)}) == 4


@pytest.mark.parametrize("game", [Catcher(), FlappyBird()])
def test_small_frames_are_the_last_two_with_the_mean_of_four_pixels_each(game):
    small, large = small_frames(game), FrameObservations(game, 2)
    params = game.levels[0]
    (seen, state), (_, large_state) = (it.reset(jax.random.key(5), params) for it in (small, large))
    assert (seen.shape, seen.dtype) == ((2, 42, 42), jnp.uint8)
    for key in jax.random.split(jax.random.key(6), 3):
        after, of_large = (
            it.step_env(key, its, jnp.int32(0), params) for it, its in ((small, state), (large, large_state))
        )
        state, large_state = after.state, of_large.state
        mean = np.asarray(of_large.observation, np.float64).reshape(2, 42, 2, 42, 2).mean(axis=(2, 4))
        np.testing.assert_array_equal(after.observation, np.round(mean))
        np.testing.assert_array_equal(small.render(state, params), after.observation[1])
    assert (np.asarray(state.frames[0]) != np.asarray(state.frames[1])).any()


@pytest.mark.parametrize("y", [0, 14, 27, 53])
def test_fruit_and_paddle_are_seen_in_small_frames(y):
    environment = small_frames(Catcher())
    state = catcher_state(40, 20, y)
    before = FrameState(state, jnp.zeros((2, 42, 42), jnp.uint8))
    grey = np.asarray(environment.step_env(jax.random.key(0), before, jnp.int32(2), Catcher.params()).observation[-1])
    after_row = y + 2  # the fruit falls two pixels a frame
    np.testing.assert_allclose(middle((grey > 60) & (grey <= 150)), ((after_row + 2) / 64, 22 / 64), atol=0.03)
    np.testing.assert_allclose(middle(grey > 200), ((58 + 1.5) / 64, (40 + 6.5) / 64), atol=0.03)


def test_small_pipes_of_each_level_differ():
    environment = small_frames(FlappyBird())
    before = FrameState(bird_state(), jnp.zeros((2, 42, 42), jnp.uint8))
    seen = [
        np.asarray(environment.step_env(jax.random.key(0), before, jnp.int32(1), level).observation[-1], np.int64)
        for level in FlappyBird().levels
    ]
    sums = [picture.sum() for picture in seen]
    assert sums == sorted(set(sums))  # a narrower gap leaves more grey


@pytest.mark.parametrize("side", [80, 168])
def test_refuses_pictures_that_are_no_whole_part_of_the_large_one(side):
    with pytest.raises(ValueError, match=f"side = {side}, expected a divisor of 84, such as 84, 42 or 28"):
        FrameObservations(Catcher(), side=side)


def test_refuses_to_stack_fewer_than_one_picture():
    with pytest.raises(ValueError, match="n_stacked = 0, expected a whole number ≥ 1"):
        FrameObservations(Catcher(), 0)
