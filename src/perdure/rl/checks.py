"""Checks that agents can play an environment, and that a network fits it."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from perdure.core import as_features
from perdure.named import name_of_class
from perdure.rl.by_name import make_environment
from perdure.rl.catalog import GAMES
from perdure.rl.environment import GymnaxLike
from perdure.rl.from_gymnasium import hosted, is_of_gymnasium
from perdure.rl.games.several import Several
from perdure.rl.hosted import HostedEnvironment

_REQUIRED = ("num_actions", "default_params", "reset", "step_env")
_SUCH_AS = 'perdure.rl.make_game("catcher"), or gymnax.make("CartPole-v1") of the package gymnax'
_INTERFACE = (
    "an environment with the interface of gymnax: num_actions, default_params, reset(key, params) and "
    f"step_env(key, state, action, params), such as {_SUCH_AS}"
)


def environment_and_levels(environment: Any, levels: Any = None) -> tuple[GymnaxLike | HostedEnvironment, list[Any]]:
    """Return a checked environment and the parameters of its levels.

    Args:
        environment: one with the interface of gymnax, the pair (environment, parameters) that `gymnax.make` returns, an
            environment of Gymnasium or a function that makes one; the name of one of these, or a list of them.
        levels: list of the parameters of each level; None for those in the pair, the environment's own `levels`, or its
            `default_params`, whichever there is first.

    Raises:
        TypeError: if it is no environment, or the levels are no list.
        ValueError: if agents cannot play it, or the list of levels is empty.
    """
    if isinstance(environment, str):
        environment = make_environment(environment)
    if isinstance(environment, list):
        environment = _joined(environment)
    game: Any = environment
    own_levels = None
    if isinstance(environment, tuple) and len(environment) == 2:
        if any(isinstance(it, str) or _is_of_python(it) for it in environment):
            raise TypeError(
                f"the tuple {reprlib.repr(environment)} was given as the environment, expected one environment, the "
                "pair (environment, parameters) of gymnax, or a list; for several levels give a list of environments"
            )
        game, own_levels = environment[0], [environment[1]]
    if _is_of_python(game):
        game = game if isinstance(game, HostedEnvironment) else hosted([game])
        return game, _hosted_levels(game, levels)
    _check_interface(game)
    if levels is None:
        levels = own_levels or getattr(game, "levels", [game.default_params])
    if not isinstance(levels, list | tuple) or hasattr(levels, "_fields"):
        raise TypeError(f"levels = {levels!r}, expected a list of parameters; for a single level give levels=[params]")
    if not levels:
        raise ValueError("no levels were given, expected the parameters of at least one")
    check_environment(game, levels[0])
    return game, list(levels)


def _joined(environments: list[Any]) -> Any:
    """Return several environments as one, of which each is a level.

    Raises:
        ValueError: if there are none, or they differ in their observations.
    """
    if not environments:
        raise ValueError("the list of environments is empty, expected at least one")
    made = [make_environment(it) if isinstance(it, str) else it for it in environments]
    if all(map(_is_of_python, made)):
        return hosted(made)
    if any(map(_is_of_python, made)):
        raise TypeError(
            "the list has environments of Gymnasium beside others, which are compiled; expected one kind in a list; "
            "give all of them by names that begin with gymnax:, or all with gymnasium:"
        )
    pairs = [environment_and_levels(it) for it in made]
    return Several([game for game, _ in pairs], [_name(game) for game, _ in pairs], [levels for _, levels in pairs])


def _is_of_python(game: Any) -> bool:
    """Tell whether Python plays it: an environment of Gymnasium, several as one, or what makes one."""
    return isinstance(game, HostedEnvironment) or is_of_gymnasium(game) or _makes_environments(game)


def _makes_environments(game: Any) -> bool:
    """Tell whether something is a function or a class of an own environment of Gymnasium."""
    if isinstance(game, type):
        return all(hasattr(game, part) for part in ("reset", "step")) and not hasattr(game, "step_env")
    return callable(game) and not hasattr(game, "step_env")


def _hosted_levels(game: HostedEnvironment, levels: Any) -> list[Any]:
    if levels is not None:
        raise TypeError(
            f"levels = {levels!r} were given for an environment of Gymnasium, expected none: give a list of "
            "environments, each of which is a level, as by [gymnasium.make(…), gymnasium.make(…)]"
        )
    return list(game.levels)


def check_environment(environment: Any, params: Any = None) -> None:
    """Check that an environment has what agents need; nothing is played.

    Args:
        environment: what was given as one.
        params: of one level; None for `default_params`.

    Raises:
        TypeError: if it lacks a part of the interface.
        ValueError: if its actions are not numbered, its observations are not one array, or its states change their
            form from frame to frame.
    """
    _check_interface(environment)
    params = environment.default_params if params is None else params
    name = _name(environment)
    _check_actions(environment, params, name)
    key = jax.random.key(0)
    try:
        observation, state = jax.eval_shape(environment.reset, key, params)
    except Exception as error:
        raise ValueError(
            f"{name}.reset(key, params) failed with {params!r}: {_said(error)}; expected that it returns an "
            "observation and a state, both of arrays, and can be compiled by jax.jit"
        ) from error
    _check_observation(observation, name)
    action = jnp.zeros((), jnp.int32)
    try:
        after, next_state, reward, done, info = jax.eval_shape(environment.step_env, key, state, action, params)
    except Exception as error:
        raise ValueError(
            f"{name}.step_env(key, state, action, params) failed with the state that {name}.reset returns: "
            f"{_said(error)}; expected observation, state, reward, done and info, from arrays that jax.jit can trace. "
            "Of a wrapper that has no step_env of its own, give the environment inside"
        ) from error
    for what, first, then in (("observations", observation, after), ("states", state, next_state)):
        if _form(first) != _form(then):
            raise ValueError(
                f"{name}.reset returns {what} of the form {_form(first)}, {name}.step_env of the form {_form(then)}; "
                "expected one form for both. Of a wrapper that has no step_env of its own, give the environment inside"
            )
        _check_dtypes(first, then, what, name)
    if not isinstance(info, Mapping):
        raise ValueError(
            f"the info of {name}.step_env is {reprlib.repr(info)}, expected a dictionary; return {{}} if there is "
            "nothing to tell"
        )
    told = {f"info[{part!r}]": info[part] for part in ("terminated", "truncated", "discount") if part in info}
    for what, value in {"reward": reward, "done": done, **told}.items():
        if jnp.shape(value) != ():
            raise ValueError(f"the {what} of {name}.step_env has shape {jnp.shape(value)}, expected one number")
    if ("terminated" in info) != ("truncated" in info):
        given, missing = ("terminated", "truncated") if "terminated" in info else ("truncated", "terminated")
        raise ValueError(
            f"the info of {name}.step_env has {given!r} without {missing!r}, expected both or neither; add {missing!r}"
        )


def _said(error: Exception) -> str:
    """Return what an error says, with its kind, without which a KeyError says little."""
    return f"{type(error).__name__}: {error}"


def _check_dtypes(first: PyTree, then: PyTree, what: str, name: str) -> None:
    """Check that observations or states, of one form, keep their dtypes from `reset` to `step_env`."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(first), jax.tree.leaves(then), strict=True)
    for (path, one), other in pairs:
        if one.dtype != other.dtype and not (one.weak_type or other.weak_type):
            place = jax.tree_util.keystr(path)
            raise ValueError(
                f"{name}.reset returns {what} whose {place or 'numbers'} are {one.dtype}, {name}.step_env returns "
                f"{other.dtype}; expected one dtype for both; convert one of them by astype"
            )


def check_network(network: Callable[[Any], Any], observation: Any, n_actions: int) -> None:
    """Check that a network has an output for each action.

    Args:
        network: from one observation, as floats, to the values of all actions.
        observation: one, read for its shape and dtype only.
        n_actions: number of actions of the environment.

    Raises:
        ValueError: if it cannot take such an observation, or returns another number of values.
    """
    shape = tuple(observation.shape)
    remedy = (
        f"make one that takes observations of shape {shape} and returns {n_actions} values, as by network=lambda "
        f"observation, n_actions, key: perdure.models.MLP(observation.size, n_actions, (64, 64), key=key)"
    )
    try:
        values = eqx.filter_eval_shape(lambda: network(as_features(jnp.zeros(shape, observation.dtype))))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the network cannot take observations of shape {shape}: {error}; {remedy}") from error
    if jnp.shape(values) != (n_actions,):
        raise ValueError(
            f"the network returns values of shape {jnp.shape(values)} for an environment of {n_actions} actions, "
            f"expected ({n_actions},); {remedy}"
        )


def _name(environment: Any) -> str:
    """Return the name that perdure or a library gives the environment, or else that of its class."""
    if (game := name_of_class(GAMES, type(environment))) is not None:
        return game
    name = getattr(environment, "name", None)
    return name if isinstance(name, str) else type(environment).__name__


def _check_interface(environment: Any) -> None:
    if isinstance(environment, type):
        raise TypeError(
            f"the class {environment.__name__} was given as the environment, expected an object of it; give "
            f"{environment.__name__}()"
        )
    missing = [part for part in _REQUIRED if not _has(environment, part)]
    if not missing:
        return
    raise TypeError(
        f"{reprlib.repr(environment)} of type {type(environment).__name__} was given as the environment; it has no "
        f"{', '.join(missing)}; expected {_INTERFACE}"
    )


def _has(environment: Any, part: str) -> bool:
    try:
        return hasattr(environment, part)
    except NotImplementedError:  # abstract properties of gymnax raise it
        return False


def _check_actions(environment: Any, params: Any, name: str) -> None:
    expected = "expected numbered actions, 0 ≤ action < num_actions, of which agents choose one in each frame"
    remedy = (
        "choose another environment, or write one whose step_env turns each number into an action of this one (see "
        "'Your own environment' in docs/continual-rl.md)"
    )
    space = _action_space(environment, params)
    if space is not None and not _is_discrete(space):
        raise ValueError(f"the actions of {name} are {space!r}, {expected}; {remedy}")
    given = environment.num_actions
    try:
        n_actions = 0 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        n_actions = 0
    if n_actions < 1:
        raise ValueError(f"{name}.num_actions = {given!r}, expected a whole number ≥ 1; {remedy}")
    if space is not None and space.n != n_actions:
        raise ValueError(f"{name}.num_actions = {n_actions}, but its action space has {space.n}; make them equal")


def _action_space(environment: Any, params: Any) -> Any:
    """Return the action space, None where an environment, as it may, has none."""
    try:
        space = getattr(environment, "action_space", None)
        return space(params) if callable(space) else space
    except NotImplementedError:  # gymnax's base class raises it where an environment defines no action space
        return None


def _is_discrete(space: Any) -> bool:
    return hasattr(space, "n") and getattr(space, "shape", ()) == () and getattr(space, "start", 0) == 0


def _check_observation(observation: Any, name: str) -> None:
    if not isinstance(observation, jax.ShapeDtypeStruct):
        raise ValueError(
            f"observations of {name} are a {type(observation).__name__} of the form {_form(observation)}, expected one "
            "array; write an environment that joins the parts, as by jnp.concatenate, in its reset and step_env (see "
            "'Your own environment' in docs/continual-rl.md)"
        )
    if observation.dtype != jnp.uint8 and not jnp.issubdtype(observation.dtype, jnp.floating):
        raise ValueError(
            f"observations of {name} are {observation.dtype} of shape {observation.shape}, expected floats, or uint8 "
            "for pixels; write an environment that converts them in its reset and step_env: quantities by "
            "observation.astype(jnp.float32), a number that is a name by jax.nn.one_hot"
        )


def _form(tree: PyTree) -> str:
    """Return the nesting of a tree with the shapes of its arrays."""
    return str(jax.tree.map(lambda leaf: _Shape(leaf.shape), tree))


class _Shape:
    """A shape that is a leaf of a tree, not a tuple of leaves."""

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape

    def __repr__(self) -> str:
        return str(self._shape)
