"""DQN and DQN-MER on games in small frames: ``python benchmarks/games_in_frames.py [--games catcher,flappy-bird]``.

Of each agent, the learning rate is the one of a small grid that scores best on seeds from 100 on, after a shorter
schedule of two levels; then a longer discount is tried in the same way. What was chosen plays all six levels with seeds
that took no part. Writes docs/continual-rl.md between its marks. Runs are kept in runs/games-in-frames: what is there
is not run again, and Ctrl-C loses nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

import numpy as np
from conflicting_games import PAGE, final_score, metrics_of, with_interval
from marked_block import write_measured

from perdure.experiments.agents.plan import make_agent
from perdure.experiments.agents.run import run_agent
from perdure.metrics.transfer import Statistic, mean_and_interval
from perdure.records.agent import AgentRecord
from perdure.report.markdown import aligned_markdown
from perdure.rl.catalog import make_game

OBSERVATION = "frames-small"
GAMES = ("catcher", "flappy-bird")
SEARCHED_SEEDS = (100, 101)
EVALUATE_EVERY = 12_500
EPISODES = 10
SEARCHED_STAGES = {"catcher": [(0, 15_000), (3, 10_000)], "flappy-bird": [(0, 25_000), (2, 15_000)]}
RATES = {"dqn": (2.5e-4, 6e-4, 1.5e-3), "dqn-mer": (1e-2, 3e-2, 1e-1)}
LONGER = {"discount": 0.99}
HEADERS = (
    "game",
    "agent",
    "learning rate",
    "discount",
    "level 0, at the end of its stage",
    "level 0, at the end",
    "change",
    "all levels, at the end",
    "backward transfer",
    "CPU time a seed",
)


def played(
    folder: Path,
    game: str,
    agent: str,
    changes: Mapping[str, Any],
    seeds: Sequence[int],
    stages: Sequence[tuple[int, int]] | None = None,
) -> AgentRecord:
    """Return the record of an agent on a game, once it has been run; evaluated at the end of each stage if searched."""
    name = "-".join([agent, *(f"{value:g}" for value in changes.values()), f"{seeds[0]}-{seeds[-1]}"])
    every = EVALUATE_EVERY if stages is None else sum(frames for _, frames in stages)
    run_agent(
        make_agent(agent, game, OBSERVATION, changes),
        make_game(game, OBSERVATION),
        seeds=list(seeds),
        folder=folder / game / name,
        stages=stages,
        evaluate_every=every,
        episodes=EPISODES,
    )
    return AgentRecord.load(folder / game / name)


def chosen(folder: Path, game: str, agent: str) -> dict[str, Any]:
    """Return the hyper-parameters that score best on the seeds for choosing."""

    def score(changes: Mapping[str, Any]) -> float:
        return final_score(played(folder, game, agent, changes, SEARCHED_SEEDS, SEARCHED_STAGES[game])).mean

    best = max(({"learning_rate": rate} for rate in RATES[agent]), key=score)
    return max((best, best | LONGER), key=score)


def first_level(record: AgentRecord) -> tuple[Statistic, Statistic, Statistic]:
    """Return the score at level 0 at the end of its stage and of the run, and the change between them seed by seed."""
    assert record.frames is not None
    assert record.scores is not None
    own = record.scores[:, np.searchsorted(record.frames, record.stages[0][1]), 0]
    last = record.scores[:, -1, 0]
    own_stage, at_end, change = map(mean_and_interval, (own, last, last - own))
    return own_stage, at_end, change


def row(game: str, agent: str, record: AgentRecord) -> list[str]:
    """Return what the table tells of a record."""
    assert record.summary is not None
    given = record.config["agent"]["hyperparameters"]
    return [
        game,
        f"`{agent}`",
        f"{given['learning_rate']:g}",
        f"{given['discount']:g}",
        *map(with_interval, first_level(record)),
        with_interval(final_score(record)),
        with_interval(metrics_of(record)["backward_transfer"]),
        f"{record.summary.training_cpu_seconds / len(record.seeds) / 60:.1f} min",
    ]


def main() -> None:
    """Search, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", default=",".join(GAMES), help="which, separated by commas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/games-in-frames"))
    given = parser.parse_args()
    rows: list[list[str]] = []
    for game in given.games.split(","):
        for agent in RATES:
            best = chosen(given.folder, game, agent)
            rows.append(row(game, agent, played(given.folder, game, agent, best, range(given.seeds))))
            write_measured(PAGE, aligned_markdown(HEADERS, rows, (0, 1)), "games in frames")


if __name__ == "__main__":
    main()
