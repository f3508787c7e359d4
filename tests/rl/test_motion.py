"""State vectors with their changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.catalog import make_game
from perdure.rl.motion import GAIN


@pytest.mark.parametrize("name", ["catcher", "flappy-bird"])
def test_observations_are_what_the_game_tells_and_how_it_changed(name):
    plain, game = make_game(name), make_game(name, "motion")
    params, key = game.default_params, jax.random.key(0)
    seen, state = game.reset(key, params)
    before, plain_state = plain.reset(key, params)
    np.testing.assert_array_equal(seen, np.concatenate([before, np.zeros_like(before)]))
    for n in range(5):
        step_key, action = jax.random.key(n), jnp.asarray(n % 2, jnp.int32)
        after, expected = (
            game.step_env(step_key, state, action, params),
            plain.step_env(step_key, plain_state, action, params),
        )
        change = np.clip(GAIN * (expected.observation - before), -1, 1)
        np.testing.assert_allclose(after.observation, np.concatenate([expected.observation, change]), atol=1e-6)
        assert (after.reward, after.done) == (expected.reward, expected.done)
        state, plain_state, before = after.state, expected.state, expected.observation


def test_fruit_is_seen_to_fall_faster_from_level_to_level():
    game = make_game("catcher", "motion")

    def fall(params):
        _, state = game.reset(jax.random.key(1), params)
        return float(game.step_env(jax.random.key(2), state, jnp.asarray(2, jnp.int32), params).observation[7])

    falls = [fall(params) for params in game.levels]
    assert falls == sorted(falls)
    assert falls[0] < 0.6 < falls[-1] <= 1
