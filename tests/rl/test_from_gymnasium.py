"""Environments of Gymnasium as they are given."""

import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from perdure.experiments.agents.spec import agent_spec
from perdure.rl.checks import environment_and_levels
from perdure.rl.from_gymnasium import hosted
from perdure.rl.hosted import HostedEpisode, HostError
from tests.hosted_corridor import AGENT, Corridor, limited, with_spaces


def test_what_was_changed_by_hand_is_played():
    heavy, plain = gymnasium.make("CartPole-v1"), gymnasium.make("CartPole-v1")
    heavy.unwrapped.gravity = 25.0  # pyright: ignore[reportAttributeAccessIssue]
    plain.reset(seed=3)
    episode = HostedEpisode(hosted([heavy, plain]))
    found = []
    for place in (0, 1):
        episode.begin(place, 0)
        found.append(episode._made[place].unwrapped.gravity)
    assert found == [25.0, 9.8]
    assert hosted([plain]).makes[0].func is gymnasium.make  # pyright: ignore[reportFunctionMemberAccess]


def test_what_cannot_be_copied_is_made_anew_and_says_so():
    environment = gymnasium.make("CartPole-v1")
    environment.unwrapped.held = (it for it in ())  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(UserWarning, match=r"cannot be copied \(TypeError: .*give a function that makes it"):
        assert hosted([environment]).makes[0].func is gymnasium.make  # pyright: ignore[reportFunctionMemberAccess]


class Settings:
    """What an environment is made with, but no number of its own."""

    def __init__(self):
        self.reward = 1.0
        self.itself = self


class Configured(Corridor):
    """Pays what its settings say."""

    def __init__(self):
        super().__init__()
        self.config: dict[str, Any] = {"reward": 1.0, "places": [1, 2], "names": {"a"}, "settings": Settings()}


@pytest.fixture
def configured():
    gymnasium.register("Configured-v0", entry_point=lambda **_: Configured())
    yield lambda: gymnasium.make("Configured-v0")
    del gymnasium.registry["Configured-v0"]


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(reward=7.0),
        lambda config: config["places"].append(3),
        lambda config: config["names"].add("b"),
        lambda config: setattr(config["settings"], "reward", 7.0),
    ],
)
def test_what_was_changed_inside_containers_is_played(configured, change):
    plain, given = configured(), configured()
    change(given.unwrapped.config)
    makes: Any = hosted([plain, given]).makes
    assert [make.func is gymnasium.make for make in makes] == [True, False]


def test_parts_that_know_each_other_are_looked_into_once(configured):
    given = configured()
    parts = [Settings() for _ in range(40)]
    for part in parts:
        part.others = parts  # pyright: ignore[reportAttributeAccessIssue]
        part.by_place = dict(enumerate(parts))  # pyright: ignore[reportAttributeAccessIssue]
    given.unwrapped.config["parts"] = parts
    make: Any = hosted([given]).makes[0]
    assert make.func is not gymnasium.make


def test_a_function_that_returns_the_same_environment_again_is_refused():
    shared = limited()
    with pytest.raises(TypeError, match="returned the same environment twice, expected a new one each time"):
        hosted([lambda: shared])


def test_one_that_cannot_be_copied_or_made_anew_is_refused():
    made = Corridor()
    made.lock = threading.Lock()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match=r"cannot be copied \(TypeError: .*give a function that makes it"):
        hosted([made])


def test_one_that_was_played_before_is_described_as_one_that_was_not():
    fresh, used = Corridor(), Corridor()
    used.reset(seed=3)
    used.place = 0
    used.action_space.sample()
    configs = [agent_spec(AGENT, it, stages=[(0, 100)]).config for it in (fresh, used)]
    assert configs[0] == configs[1]


def test_what_a_record_cannot_hold_names_the_function_as_a_way_out():
    made = Corridor(draws=np.random.default_rng())
    with pytest.raises(TypeError, match="or give a function that makes the environment"):
        _ = agent_spec(AGENT, made, stages=[(0, 100)]).config


def test_one_that_cannot_be_made_is_told():
    makes = iter([Corridor, Corridor])

    def make():
        return next(makes)()

    environment = hosted([make])
    with pytest.raises(HostError, match="making the environment Corridor raised StopIteration"):
        HostedEpisode(environment).begin(0, 0)


def test_one_that_cannot_be_closed_is_warned_of():
    class Unclosable(Corridor):
        def close(self):
            raise OSError("the window is gone")

    with pytest.warns(UserWarning, match=r"close of the environment .*raised OSError: the window is gone; what was"):
        hosted([Unclosable])


class Unclosed:
    """Looks like an environment, but is none."""

    observation_space, action_space = Corridor.observation_space, Corridor.action_space
    reset, step = Corridor.reset, Corridor.step


@pytest.mark.parametrize(
    ("environment", "error", "words"),
    [
        ("Pendulum-v1", ValueError, r"the actions of Pendulum-v1 are Box.*expected numbered actions"),
        (with_spaces(spaces.Discrete(2, start=1)), ValueError, r"the actions of Corridor are Discrete\(2, start=1\)"),
        (with_spaces(None, spaces.Discrete(5)), ValueError, r"observations of Corridor are Discrete\(5\).*Flatten"),
        (with_spaces(None, spaces.Dict(a=spaces.Discrete(5))), ValueError, r"observations of Corridor are Dict"),
        ([limited(), with_spaces(spaces.Discrete(3))], ValueError, "the actions of environments.1., Corridor, are 3"),
        (["CartPole-v1", "MountainCar-v0"], ValueError, r"the observations of environments\[1\], MountainCar-v0, are"),
        ("CartPole-v7", ValueError, "unknown environment 'CartPole-v7'; did you mean 'CartPole-v1'"),
        ("gymnasium:CartPole-v7", ValueError, "Gymnasium makes no 'CartPole-v7'"),
        ("gymnax:Cart", ValueError, "unknown environment of gymnax 'Cart'"),
        ("no_such.py:Env", ValueError, "no_such.py does not exist; give the path"),
        (lambda: 3, TypeError, "3 of type int was made as an environment"),
        (
            Unclosed,
            TypeError,
            r"of type Unclosed was made .*with reset, step, close.*derive its class from gymnasium\.Env",
        ),
        ([], ValueError, "the list of environments is empty"),
        ((limited(), limited()), TypeError, "the tuple .* for several levels give a list of environments"),
        (("CartPole-v1", "Acrobot-v1"), TypeError, "for several levels give a list of environments"),
    ],
)
def test_what_cannot_be_played_is_refused(environment, error, words):
    with pytest.raises(error, match=words):
        environment_and_levels(environment)
