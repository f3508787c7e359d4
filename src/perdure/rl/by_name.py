"""Environments by name: perdure's games, environments of Gymnasium and gymnax, and those in an own file.

| name                       | environment                                                                       |
| -------------------------- | --------------------------------------------------------------------------------- |
| `catcher`                  | a game of perdure                                                                 |
| `CartPole-v1`              | of Gymnasium if it has it, else of gymnax                                         |
| `gymnasium:CartPole-v1`    | of Gymnasium                                                                      |
| `gymnax:Breakout-MinAtar`  | of gymnax                                                                         |
| `my_env.py:Env`            | a class, or a function without arguments, in a file                               |
| `tiny-walk`                | one that an installed package offers, by an entry point of `perdure.environments` |
| `CartPole-v1+Acrobot-v1`   | several of these as levels                                                        |
"""

from __future__ import annotations

import difflib
import importlib
from types import ModuleType
from typing import Any

from perdure import own
from perdure.rl.catalog import GAMES, make_game

_INSTALL = {"gymnasium": "pip install 'perdure[gym]'", "gymnax": "pip install 'perdure[gymnax]'"}


def make_environment(name: str, observation: str = "state") -> Any:
    """Return what `run_agent` takes as the environment called `name`.

    Args:
        name: as the table of this module has it.
        observation: of perdure's games; others show what they show.

    Raises:
        ValueError: if there is no such environment, naming the nearest names.
        ModuleNotFoundError: if the library that has it, or one that it needs, is not installed.
    """
    if name in GAMES:
        return make_game(name, observation)
    if observation != "state":
        raise ValueError(
            f"observation = {observation!r} was given for {name}, expected none: only the games of perdure, "
            f"{', '.join(GAMES)}, have several kinds of observations"
        )
    parts = name.split("+")
    made = [_made(part) for part in parts]
    return made if len(made) > 1 else made[0]


def absolute(name: str) -> str:
    """Return the name of an environment so that it does in any folder: with the whole paths of files."""
    whole = [own.absolute(part) for part in name.split("+")]
    return name if any("+" in it for it in whole) else "+".join(whole)


def _made(name: str) -> Any:
    if name in GAMES:
        return make_game(name)
    library, _, rest = name.partition(":")
    if library == "gymnasium":
        return _of_gymnasium(rest)
    if library == "gymnax":
        return _of_gymnax(rest)
    if library.endswith(".py") or name in own.offered(own.ENVIRONMENTS):
        return _own(name)
    gymnasium, gymnax = _library("gymnasium"), _library("gymnax")
    if gymnasium is not None and (":" in name or name in gymnasium.registry):
        return _of_gymnasium(name)
    if gymnax is not None and name in gymnax.registered_envs:
        return _of_gymnax(name)
    offered = list(own.offered(own.ENVIRONMENTS))
    known = [*GAMES, *offered, *(gymnasium.registry if gymnasium else ()), *(gymnax.registered_envs if gymnax else ())]
    missing = [f"for environments of {it}: {_INSTALL[it]}" for it in _INSTALL if _library(it) is None]
    raise ValueError(
        f"unknown environment {name!r}; {_hint(name, known)}Known: {', '.join([*GAMES, *offered])}, environments of "
        "Gymnasium (CartPole-v1) and of gymnax (gymnax:Breakout-MinAtar), and a class or function in a file "
        "(my_env.py:Env)" + "".join(f"; {it}" for it in missing)
    )


def _of_gymnasium(name: str) -> Any:
    gymnasium = _needed("gymnasium", name)
    try:
        return gymnasium.make(name)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise ModuleNotFoundError(f"{name} needs what is not installed: {error}") from error
    except gymnasium.error.Error as error:
        raise ValueError(
            f"Gymnasium makes no {name!r}: {error}; {_hint(name, gymnasium.registry)}`python -c 'import gymnasium; "
            "gymnasium.pprint_registry()'` lists what it has"
        ) from error


def _of_gymnax(name: str) -> Any:
    gymnax = _needed("gymnax", name)
    if name not in gymnax.registered_envs:
        known = gymnax.registered_envs
        raise ValueError(f"unknown environment of gymnax {name!r}; {_hint(name, known)}Known: {', '.join(known)}")
    return gymnax.make(name)


def _own(name: str) -> Any:
    """Return what a class or function makes, of a file or of an installed package.

    That is an environment with the interface of gymnax, or for one of Gymnasium what makes it anew.
    """
    make = own.load_own(name, own.ENVIRONMENTS)
    if not callable(make):
        raise TypeError(
            f"{name} is a {type(make).__name__}, expected a class or a function without arguments that makes an "
            "environment; see docs/continual-rl.md"
        )
    made = make()
    return make if hasattr(made, "step") and not hasattr(made, "step_env") else made


def _library(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _needed(library: str, name: str) -> ModuleType:
    found = _library(library)
    if found is None:
        raise ModuleNotFoundError(
            f"{name} is an environment of {library}, which is not installed; install it with: {_INSTALL[library]}"
        )
    return found


def _hint(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}? " if near else ""
