"""Environments of Gymnasium as they are given: examined, and made the levels of one environment."""

from __future__ import annotations

import copy
import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from perdure.rl.hosted import HostedEnvironment, as_observation, close_made, form_of

_MADE_FROM = ("spec", "_cached_spec")
"""Attributes of an environment that tell what `gymnasium.make` has made it from; they come and go."""
_NUMBERED = "expected numbered actions, gymnasium.spaces.Discrete(n), of which agents choose one in each frame"


def is_of_gymnasium(environment: Any) -> bool:
    """Tell whether something looks like an environment of Gymnasium."""
    parts = ("reset", "step", "action_space", "observation_space")
    return (
        not isinstance(environment, type)
        and all(hasattr(environment, part) for part in parts)
        and not hasattr(environment, "step_env")
    )


def hosted(environments: Sequence[Any], name: str | None = None) -> HostedEnvironment:
    """Return environments of Gymnasium as the levels of one environment that agents can play.

    Args:
        environments: environments, or functions without arguments that make one.
        name: for tables and figures; None for the environments' own names.

    Raises:
        TypeError: if one is no environment of Gymnasium, cannot be copied, or a function returns the same one again.
        ValueError: if one has other than numbered actions or its observations are not one array of numbers, or if they
            differ in their observations or actions.
    """
    makes = tuple(map(_maker, environments))
    first, *others = checked = [
        _examined(make() if is_of_gymnasium(given) else _made_anew(make))
        for given, make in zip(environments, makes, strict=True)
    ]
    for place, other in enumerate(others, 1):
        for what, mine, its in (
            ("observations", form_of(first.observation), form_of(other.observation)),
            ("actions", f"{first.num_actions} numbers", f"{other.num_actions} numbers"),
        ):
            if mine != its:
                raise ValueError(
                    f"the {what} of environments[{place}], {other.name}, are {its}, those of environments[0], "
                    f"{first.name}, are {mine}; expected one form in the whole list; wrap them so that they agree, as "
                    "by gymnasium.wrappers.TransformObservation, or train an agent for each"
                )
    names = list(dict.fromkeys(it.name for it in checked))
    limits = tuple(it.limit for it in checked)
    groups = tuple(it.name for it in checked) if len(names) > 1 else ()
    bytes_ = tuple(it.bytes for it in checked)
    return HostedEnvironment(
        makes, name or "+".join(names), first.num_actions, first.observation, limits, bytes_, groups
    )


class _Examined(NamedTuple):
    name: str
    num_actions: int
    observation: np.ndarray
    limit: int
    bytes: bool
    """Are observations `uint8`?"""


def _maker(environment: Any) -> Callable[[], Any]:
    """Return what makes the environment anew, as often as there are seeds."""
    if not is_of_gymnasium(environment):
        if callable(environment):
            return environment
        raise TypeError(
            f"{reprlib.repr(environment)} of type {type(environment).__name__} was given as an environment of "
            'Gymnasium, expected one, such as gymnasium.make("CartPole-v1"), or a function that makes one'
        )
    if (spec := getattr(environment, "spec", None)) is not None and all(
        wrapper.kwargs is not None for wrapper in spec.additional_wrappers
    ):
        import gymnasium

        make = partial(gymnasium.make, spec)
        if not _was_changed(environment, make):
            return make
    try:
        return partial(copy.deepcopy, _without_generators(copy.deepcopy(environment)))
    except Exception as error:
        raise TypeError(
            f"the environment {environment} cannot be copied ({type(error).__name__}: {error}), and each seed plays "
            "one of its own; give a function that makes it, as by lambda: MyEnvironment(…)"
        ) from error


def _made_anew(make: Callable[[], Any]) -> Any:
    """Return what a function makes; seeds and evaluations play their own, so it must be another one each time.

    Raises:
        TypeError: if it is not.
    """
    made = make()
    if isinstance(make, type) or not is_of_gymnasium(made):
        return made
    another = make()
    if another is made:
        raise TypeError(
            f"{reprlib.repr(make)} returned the same environment twice, expected a new one each time, since seeds and "
            "evaluations play their own; make it within the function, as by lambda: gymnasium.make(…)"
        )
    if hasattr(another, "close"):
        close_made(another)
    return made


def _without_generators(environment: Any) -> Any:
    """Return an environment without the generators that `reset(seed=…)` draws anew, which records do not describe."""
    part = environment
    while part is not None:
        held = getattr(part, "__dict__", {})
        for name in ("_np_random", "_np_random_seed"):
            held.pop(name, None)  # the class has its None
        spaces: list[Any] = [held.get(name) for name in ("action_space", "observation_space")]
        for space in spaces:
            if hasattr(space, "_np_random"):
                space._np_random = None
        part = held.get("env")
    return environment


def _was_changed(environment: Any, make: Callable[[], Any]) -> bool:
    """Tell whether an environment holds other numbers or texts than one made anew, such as a gravity set by hand."""
    try:
        given = copy.deepcopy(environment)
    except Exception as error:
        warnings.warn(
            f"{environment} cannot be copied ({type(error).__name__}: {error}), so it is made anew by gymnasium.make, "
            "without what was changed by hand; give a function that makes it if something was",
            stacklevel=2,
        )
        return False
    made = make()
    try:
        for it in (given, made):
            it.reset(seed=0)  # so that both are at the same place of the same episode
        return _settings(given, set()) != _settings(made, set())
    except Exception:  # the run that plays it stops with the same error, told with its place
        return False
    finally:
        close_made(made)


def _settings(value: Any, met: set[int]) -> Any:
    """Return the numbers, arrays and texts that something holds: an environment, its wrappers and all their parts.

    Args:
        value: what holds them.
        met: identities of the objects met so far, which are looked into once; grows.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype), repr(value.tolist())
    if id(value) in met:
        return None
    met.add(id(value))
    if isinstance(value, Mapping):
        return [(repr(name), _settings(it, met)) for name, it in value.items()]
    if isinstance(value, Sequence):
        return [_settings(it, met) for it in value]
    if isinstance(value, Set):
        return sorted(map(repr, value))
    held = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    return {name: _settings(it, met) for name, it in held.items() if name not in _MADE_FROM}


def _examined(environment: Any) -> _Examined:
    """Return what is to be known of an environment, and close it."""
    if not (is_of_gymnasium(environment) and hasattr(environment, "close")):
        raise TypeError(
            f"{reprlib.repr(environment)} of type {type(environment).__name__} was made as an environment, expected "
            "one of Gymnasium, with reset, step, close, action_space and observation_space; derive its class from "
            "gymnasium.Env"
        )
    spec = getattr(environment, "spec", None)
    name = spec.id if spec is not None else type(getattr(environment, "unwrapped", environment)).__name__
    actions, seen = environment.action_space, environment.observation_space
    if not (hasattr(actions, "n") and getattr(actions, "shape", ()) == () and getattr(actions, "start", 0) == 0):
        raise ValueError(
            f"the actions of {name} are {actions!r}, {_NUMBERED}; choose another environment, or wrap it in one that "
            "turns each number into an action of this one, as by gymnasium.wrappers.TransformAction"
        )
    if not (hasattr(seen, "low") and getattr(seen, "shape", None)):
        raise ValueError(
            f"observations of {name} are {seen!r}, expected one array of numbers, gymnasium.spaces.Box; wrap it: "
            "gymnasium.wrappers.FlattenObservation(environment) joins parts and turns a number that is a name into "
            "zeros and a one"
        )
    zeros = as_observation(np.zeros(seen.shape, seen.dtype))
    examined = _Examined(name, int(actions.n), zeros, _time_limit(environment), seen.dtype == np.uint8)
    close_made(environment)
    return examined


def _time_limit(environment: Any) -> int:
    """Return the frames after which the outermost time limit truncates an episode, 0 if there is none."""
    while environment is not None:
        limit = getattr(environment, "__dict__", {}).get("_max_episode_steps")
        if isinstance(limit, int):
            return limit
        environment = getattr(environment, "__dict__", {}).get("env")
    return 0
