"""What is no environment, and networks that do not fit one, are refused in words that help."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perdure
from perdure.models import MLP
from perdure.rl.checks import check_environment, check_network, environment_and_levels
from perdure.rl.games.catcher import Catcher

AGENT = perdure.rl.DQN(
    learning_rate=0.01,
    memory_size=64,
    replay_batch_size=4,
    discount=0.9,
    target_period=5,
    exploration_end=1.0,
    exploration_frames=1,
    warmup_frames=4,
)


class Space(NamedTuple):
    n: int
    shape: tuple[int, ...] = ()


class Continuous(NamedTuple):
    low: float = -1.0
    high: float = 1.0
    shape: tuple[int, ...] = (2,)


class MultiDiscrete(NamedTuple):
    nvec: tuple[int, ...] = (3, 2)
    shape: tuple[int, ...] = (2,)


def played(environment, **options):
    return perdure.run_agent(AGENT, environment, stages=[(0, 20)], episodes=1, progress=False, **options)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "None of type NoneType"),
        (np.zeros(3), "of type ndarray"),
        ((1, 2), "1 of type int"),
        (("a", "b", "c"), "of type tuple"),
        (Catcher, r"the class Catcher was given.*give Catcher\(\)"),
    ],
)
def test_what_is_no_environment_is_refused(given, words):
    with pytest.raises(TypeError, match=words):
        played(given)


@pytest.mark.parametrize(
    "space", [Continuous(), MultiDiscrete(), Space(2, (2,)), (Space(2), Space(3)), {"a": Space(2)}]
)
@pytest.mark.parametrize("as_method", [True, False])
def test_other_actions_than_numbered_ones_are_refused(corridor, space, as_method):
    corridor.action_space = (lambda params: space) if as_method else space
    with pytest.raises(ValueError, match=r"the actions of Corridor are .*expected numbered actions"):
        played(corridor)


@pytest.mark.parametrize("given", [0, -1, 2.5, True, None, "2", (3, 2), [2], np.asarray([2, 3])])
def test_numbers_of_actions_that_are_none_are_refused(corridor, given):
    corridor.num_actions = given
    with pytest.raises(ValueError, match=r"Corridor.num_actions = .*, expected a whole number ≥ 1"):
        check_environment(corridor)


@pytest.mark.parametrize("given", [2, np.int64(2), np.asarray(2), jnp.asarray(2)])
def test_numbers_of_actions_may_come_from_arrays(corridor, given):
    corridor.num_actions = given
    corridor.action_space = lambda params: Space(2)
    check_environment(corridor)


def test_a_space_of_another_size_is_refused(corridor):
    corridor.action_space = lambda params: Space(5)
    with pytest.raises(ValueError, match=r"num_actions = 2, but its action space has 5"):
        check_environment(corridor)


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        ((jnp.zeros(2), jnp.zeros(3)), r"a tuple of the form \(\(2,\), \(3,\)\), expected one array"),
        ({"place": jnp.zeros(2)}, r"a dict of the form {'place': \(2,\)}, expected one array"),
        (jnp.zeros(3, jnp.int32), r"int32 of shape \(3,\), expected floats"),
        (jnp.zeros(3, bool), r"bool of shape \(3,\), expected floats"),
    ],
)
def test_other_observations_than_one_array_of_floats_or_pixels_are_refused(corridor, monkeypatch, observation, words):
    monkeypatch.setattr(corridor, "_seen", lambda state, params: observation)
    corridor.reset = lambda key, params: (observation, corridor_state())
    with pytest.raises(ValueError, match=f"observations of Corridor are {words}"):
        played(corridor)


def corridor_state():
    return (jnp.zeros(()),)


def broken(corridor, **changes):
    """Return a corridor whose step_env returns something else."""
    names = ("observation", "state", "reward", "done", "info")
    step_env = corridor.step_env

    def step(*arguments):
        found = dict(zip(names, step_env(*arguments), strict=True))
        return tuple((found | changes).values())

    corridor.step_env = step
    return corridor


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"observation": jnp.zeros(3)},
            r"reset returns observations of the form \(2,\), .*step_env of the form \(3,\)",
        ),
        ({"state": jnp.zeros(3)}, r"reset returns states of the form Corridor.*step_env of the form \(3,\)"),
        ({"reward": jnp.zeros(2)}, r"the reward of Corridor.step_env has shape \(2,\), expected one number"),
        ({"done": jnp.zeros((1,), bool)}, r"the done of Corridor.step_env has shape \(1,\), expected one number"),
        (
            {"observation": jnp.zeros(2, jnp.float16)},
            r"observations whose numbers are float32, .*step_env returns float16",
        ),
        ({"info": {"discount": jnp.ones(1)}}, r"the info\['discount'\] of Corridor.step_env has shape \(1,\)"),
        (
            {"info": {"truncated": True}},
            "step_env has 'truncated' without 'terminated', expected both",
        ),
        ({"info": None}, r"the info of Corridor.step_env is None, expected a dictionary; return {}"),
        ({"more": 1}, r"Corridor.step_env\(key, state, action, params\) failed.*too many values"),
    ],
)
def test_steps_of_another_form_are_refused(corridor, changes, words):
    with pytest.raises(ValueError, match=words):
        check_environment(broken(corridor, **changes))


def test_states_that_change_their_dtype_are_refused_but_not_numbers_of_python(corridor):
    reset = corridor.reset
    corridor.reset = lambda key, params: (reset(key, params)[0], reset(key, params)[1]._replace(time=0))
    check_environment(corridor)
    state = reset(jax.random.key(0), corridor.default_params)[1]._replace(time=jnp.ones(()))
    corridor.reset = reset
    with pytest.raises(
        ValueError, match=r"states whose \.time are int32, .*step_env returns float32; expected one dtype"
    ):
        check_environment(broken(corridor, state=state))


def test_errors_of_any_kind_name_the_part_that_raises_them(corridor):
    def failing(*_):
        raise KeyError("tau")

    corridor.step_env = failing
    with pytest.raises(ValueError, match=r"Corridor.step_env\(.*\) failed with the state .*: KeyError: 'tau'"):
        check_environment(corridor)


def test_an_environment_that_cannot_be_compiled_is_refused(corridor):
    corridor.reset = lambda key, params: (np.zeros(int(params.length)), None)
    with pytest.raises(ValueError, match=r"Corridor.reset\(key, params\) failed"):
        check_environment(corridor)


@pytest.mark.parametrize(
    ("levels", "error", "words"),
    [
        ([], ValueError, "no levels were given"),
        (Catcher.params(), TypeError, r"levels = CatcherParams.*give levels=\[params\]"),
        (3, TypeError, "levels = 3, expected a list of parameters"),
    ],
)
def test_levels_that_are_no_list_are_refused(levels, error, words):
    with pytest.raises(error, match=words):
        environment_and_levels(Catcher(), levels)


def test_levels_are_those_given_or_in_the_pair_or_the_environments_own():
    game, level = Catcher(), Catcher.params(0.1)
    assert environment_and_levels(game)[1] == list(game.levels)
    assert environment_and_levels((game, level))[1] == [level]
    assert environment_and_levels((game, level), [level, level])[1] == [level, level]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda seen, n, key: MLP(3, n, (4,), key=key), r"shape \(2,\).*expects 3 values.*returns 2 values"),
        (lambda seen, n, key: MLP(2, 5, (4,), key=key), r"values of shape \(5,\) for an environment of 2 actions"),
        (lambda seen, n, key: eqx.nn.MLP(7, n, 4, 1, key=key), r"cannot take observations of shape \(2,\)"),
        (lambda seen, n, key: eqx.nn.MLP(2, 1, 4, 1, key=key), r"shape \(1,\) for an environment of 2 actions"),
    ],
)
def test_networks_of_other_sizes_are_refused(corridor, network, words):
    with pytest.raises(ValueError, match=words):
        played(corridor, network=network)


def test_a_network_that_fits_is_taken(corridor):
    check_network(MLP(2, 2, (4,), key=jax.random.key(0)), jnp.zeros(2), 2)
    check_network(MLP(12, 3, key=jax.random.key(0)), jnp.zeros((3, 4), jnp.uint8), 3)
