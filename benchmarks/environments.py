"""Frames a second of random play in the games: ``python benchmarks/environments.py``.

Many games are played at once, divided among the cores that the process may use. In each frame each game draws an action
and what else is random from its own key, begins anew where an episode ends, and adds up its observation and reward, so
that nothing can be left out. The best of several rounds counts, as the least disturbed.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from perdure.machine.cores import usable_cpus

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(usable_cpus()))  # before JAX is imported

import jax
from jaxtyping import Array, Float, PRNGKeyArray
from rich.console import Console
from rich.table import Table

from perdure.execution.division import Division, seed_devices
from perdure.rl.environment import AbstractEnvironment
from perdure.rl.games.catcher import Catcher
from perdure.rl.games.flappy_bird import FlappyBird
from perdure.rl.games.rules import draw_below

ROUNDS = 10
FRAMES = 2**22
"""Frames of a round, of all games together."""
GAMES = (2**10, 2**12, 2**14, 2**16)
"""How many games are played at once."""
ORIGINALS = {"Catcher": 185_000, "FlappyBird": 22_000}
"""Frames that a CPU-second of the original takes, with the state told and no picture fetched (tests/reference/ple)."""


class Measured(NamedTuple):
    """The best round, and what was added up in it."""

    seconds: float
    cpu_seconds: float
    total: float


def play(environment: AbstractEnvironment[Any, Any], key: PRNGKeyArray, n_frames: int) -> Float[Array, ""]:
    """Play one game at random at the first level; return the sum of all that was seen and paid."""
    params = environment.default_params

    def frame(carry: tuple[Any, PRNGKeyArray, Array], _: None) -> tuple[tuple[Any, PRNGKeyArray, Array], None]:
        state, key, total = carry
        key, action_key, step_key = jax.random.split(key, 3)
        step = environment.step(step_key, state, draw_below(action_key, (), environment.num_actions), params)
        return (step.state, key, total + step.observation.sum() + step.reward), None

    first_key, key = jax.random.split(key)
    observation, state = environment.reset(first_key, params)
    return jax.lax.scan(frame, (state, key, observation.sum()), length=n_frames)[0][2]


def measure(environment: AbstractEnvironment[Any, Any], n_games: int) -> Measured:
    """Return the best of several rounds of `n_games` games at once."""
    n_frames = FRAMES // n_games
    division = Division(seed_devices(n_games), n_games)
    program = jax.jit(division.on_each(jax.vmap(lambda key: play(environment, key, n_frames)), (0,)))
    (keys,) = division.spread((0,), (jax.random.split(jax.random.key(0), n_games),))
    program(keys).block_until_ready()
    rounds = []
    for _ in range(ROUNDS):
        began, cpu_began = time.perf_counter(), time.process_time()
        total = float(program(keys).sum())
        rounds.append(Measured(time.perf_counter() - began, time.process_time() - cpu_began, total))
    return Measured(min(it.seconds for it in rounds), min(it.cpu_seconds for it in rounds), rounds[0].total)


class Fastest(NamedTuple):
    """The number of games at once with which a game is played fastest."""

    game: str
    n_games: int
    frames_per_second: float
    frames_per_cpu_second: float
    original_per_cpu_second: float


def measure_all() -> list[Fastest]:
    """Return how fast the games are played."""
    found = []
    for environment in (Catcher(), FlappyBird()):
        name = type(environment).__name__
        rounds = {n_games: measure(environment, n_games) for n_games in GAMES}
        n_games, best = min(rounds.items(), key=lambda item: item[1].seconds)
        found.append(Fastest(name, n_games, FRAMES / best.seconds, FRAMES / best.cpu_seconds, ORIGINALS[name]))
    return found


if __name__ == "__main__":
    table = Table(title=f"Frames of random play, state observations, best of {ROUNDS} rounds")
    for column in ("game", "at once", "M/s", "M/CPU-s", "original/CPU-s", "ratio/CPU-s"):
        table.add_column(column, justify="right")
    for it in measure_all():
        speeds = (f"{speed / 1e6:.1f}" for speed in (it.frames_per_second, it.frames_per_cpu_second))
        ratio = it.frames_per_cpu_second / it.original_per_cpu_second
        table.add_row(it.game, str(it.n_games), *speeds, f"{it.original_per_cpu_second:,}", f"{ratio:,.0f}")
    Console().print(table)
