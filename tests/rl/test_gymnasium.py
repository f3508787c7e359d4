"""The games as environments of Gymnasium."""

import os
import subprocess
import sys

import gymnasium
import matplotlib
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from matplotlib import pyplot
from matplotlib.backends.registry import backend_registry

from perdure.rl.games import gymnasium_envs
from perdure.rl.games.gymnasium_envs import GYMNASIUM_IDS, GameEnv

NAMES = list(GYMNASIUM_IDS.values())


@pytest.fixture
def window(monkeypatch):
    """Have matplotlib's drawing to files accepted as a window."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(backend_registry, "list_builtin", lambda _: ["agg"])
    assert matplotlib.get_backend() == "agg"
    yield
    assert not pyplot.get_fignums(), "the window was left open"


def game(name, **options):
    """Return a game without Gymnasium's wrappers."""
    made = gymnasium.make(name, **options).unwrapped
    assert isinstance(made, GameEnv)
    return made


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("observation", ["state", "frames", "frames-small"])
@pytest.mark.parametrize("name", NAMES)
def test_passes_gymnasiums_checks(name, observation):
    made = game(name, observation=observation, level=3, render_mode="rgb_array")
    check_env(made)
    assert made.metadata["render_fps"] == 30


@pytest.mark.parametrize("name", NAMES)
def test_plays_to_the_end_and_shows_it(name):
    made = game(name, render_mode="rgb_array")
    seen, _ = made.reset(seed=3)
    rewards, ended = [], False
    while not ended:
        assert made.observation_space.contains(seen)
        seen, reward, ended, truncated, _ = made.step(made.action_space.sample())
        rewards.append(reward)
        assert not truncated
    assert rewards[-1] <= -5
    picture = made.render()
    assert picture is not None
    assert (picture.dtype, picture.shape[0], picture.shape[2]) == (np.uint8, 512, 3)


def test_the_time_limit_truncates():
    made = game("perdure/Catcher-v0")
    _, x = made.reset(seed=0), 0
    for time in range(1, 1001):
        seen = np.asarray(made._state[:4])
        x = seen[2] - seen[0] - 6 * np.sign(seen[1])
        _, _, terminated, truncated, _ = made.step(np.int64(2 if abs(x) < 4 else x > 0))
        assert not terminated
        assert truncated == (time == 1000)


def test_a_seed_fixes_the_game_and_a_level_changes_it():
    def first_rows(**options):
        made = game("perdure/Catcher-v0", **options)
        return [made.reset(seed=5)[0].tolist()] + [made.step(np.int64(2))[0].tolist() for _ in range(40)]

    assert first_rows() == first_rows()
    assert first_rows()[0] == first_rows(level=5)[0]
    assert first_rows() != first_rows(level=5)


@pytest.mark.usefixtures("window")
def test_a_window_shows_every_frame_until_it_is_closed(monkeypatch):
    monkeypatch.setattr(gymnasium_envs, "FRAMES_PER_SECOND", 1000)
    made = game("perdure/FlappyBird-v0", render_mode="human")
    made.reset(seed=0)
    assert made.render() is None
    figure = pyplot.gcf()
    before = np.array(figure.axes[0].images[0].get_array())
    made.step(np.int64(0))
    assert (figure.axes[0].images[0].get_array() != before).any()
    assert made._window is not None
    assert made._window.show(np.zeros((512, 288, 3), np.uint8), 0.001)
    pyplot.close(figure)
    assert not made._window.show(np.zeros((512, 288, 3), np.uint8), 0.001)
    made.step(np.int64(0))
    made.close()
    made.close()


def test_without_a_display_there_is_no_window():
    with pytest.raises(
        RuntimeError, match=r"no window can be opened: matplotlib's backend is 'agg'.*expected a display"
    ):
        game("perdure/Catcher-v0", render_mode="human")


@pytest.mark.parametrize("level", [-1, 6])
def test_refuses_levels_that_do_not_exist(level):
    with pytest.raises(ValueError, match=r"level = .*, expected a whole number from 0 to 5"):
        game("perdure/Catcher-v0", level=level)


def test_refuses_other_observations_and_render_modes():
    with pytest.raises(ValueError, match="'frame'; did you mean 'frames'"):
        game("perdure/Catcher-v0", observation="frame")
    with pytest.raises(ValueError, match="render_mode = 'ansi', expected None, 'rgb_array' or 'human'"):
        GameEnv("catcher", render_mode="ansi")


def test_refuses_actions_that_do_not_exist_and_steps_before_the_start():
    made = game("perdure/FlappyBird-v0", render_mode="rgb_array")
    with pytest.raises(RuntimeError, match="call reset first"):
        made.step(np.int64(0))
    with pytest.raises(RuntimeError, match="call reset first"):
        made.render()
    made.reset(seed=0)
    with pytest.raises(ValueError, match=r"action = .*2.*, expected a whole number from 0 to 1"):
        made.step(np.int64(2))


def test_gymnasium_finds_the_games_by_their_module():
    program = "import gymnasium; gymnasium.make('perdure.rl.games.gymnasium_envs:perdure/Catcher-v0')"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-W", "error", "-c", program], env=environment, check=True)


def test_perdure_rl_does_not_need_gymnasium():
    program = "import sys; sys.modules['gymnasium'] = None; from perdure.rl import Catcher, FlappyBird, colour_picture"
    subprocess.run([sys.executable, "-c", program], check=True)
