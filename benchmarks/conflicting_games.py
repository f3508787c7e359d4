"""Agents on games that conflict: ``python benchmarks/conflicting_games.py``.

For each game, agent and memory rule, the learning rate is the one of a small grid whose agents score best over all
levels after the last frame, on seeds from 100 on. It is then run on seeds 0 to 9, which the table and its figures are
of. Writes docs/continual-rl.md between its marks, after each row. Runs are kept in runs/conflicting-games: what is
there is not run again, and Ctrl-C loses nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

from marked_block import write_measured

from perdure.experiments.agents.plan import make_agent
from perdure.experiments.agents.run import run_agent
from perdure.metrics.transfer import Statistic
from perdure.records.agent import AgentRecord, group_scores, score_metrics
from perdure.report.markdown import aligned_markdown
from perdure.rl.catalog import make_game

PAGE = Path(__file__).parents[1] / "docs" / "continual-rl.md"
GAMES = ("catcher-controls", "catcher-fruit", "catcher+flappy-bird")
SEARCHED_SEEDS = range(100, 104)
HEADERS = (
    "game",
    "agent",
    "memory",
    "learning rate",
    "score at the end",
    "backward transfer",
    "bytes a seed",
    "CPU time, all seeds",
)


class Contender(NamedTuple):
    """An agent with what is searched of it."""

    agent: str
    changes: Mapping[str, Any]
    rates: Sequence[float]

    @property
    def name(self) -> str:
        """Its name, with the strength of its penalty if it has one."""
        strength = self.changes.get("strength")
        return f"`{self.agent}`" + ("" if strength is None else f", strength {strength:g}")

    @property
    def rule(self) -> str:
        """Its memory rule, or that it has no memory."""
        return "–" if self.agent == "ppo" else self.changes.get("memory_rule", "ring")


DQN_RATES = (1e-4, 3e-4, 1e-3)
MER_RATES = (1e-3, 3e-3, 1e-2)
CONTENDERS = [
    *(
        Contender(agent, {"memory_rule": rule}, rates)
        for rule in ("ring", "reservoir", "halves")
        for agent, rates in (("dqn", DQN_RATES), ("dqn-mer", MER_RATES))
    ),
    *(Contender("dqn-ewc", {"strength": strength}, DQN_RATES) for strength in (1.0, 100.0)),
    Contender("ppo", {}, DQN_RATES),
]


def measured(folder: Path, game: str, contender: Contender, rate: float, seeds: Sequence[int]) -> AgentRecord:
    """Return the record of an agent on a game, once it has been run."""
    changes = {**contender.changes, "learning_rate": rate}
    name = "-".join([contender.agent, *map(str, contender.changes.values()), f"{rate:g}", f"{seeds[0]}-{seeds[-1]}"])
    agent = make_agent(contender.agent, game, "state", changes)
    run_agent(agent, make_game(game, "state"), seeds=list(seeds), folder=folder / game / name)
    return AgentRecord.load(folder / game / name)


def final_score(record: AgentRecord) -> Statistic:
    """Return the mean score over all levels after the last frame."""
    return metrics_of(record)["retained_accuracy"]


def metrics_of(record: AgentRecord) -> dict[str, Statistic]:
    """Return the transfer metrics of a finished run."""
    assert record.frames is not None
    assert record.scores is not None
    return score_metrics(record.frames, record.scores, record.stages)


def with_interval(statistic: Statistic) -> str:
    return f"{statistic.mean:.2f} ± {statistic.ci95:.2f}"


def row(game: str, contender: Contender, rate: float, record: AgentRecord) -> list[str]:
    """Return what the table tells of a record."""
    assert record.summary is not None
    metrics = metrics_of(record)
    score, backward = (with_interval(metrics[it]) for it in ("retained_accuracy", "backward_transfer"))
    groups = [f"{name} {it.final.mean:.2f}" for name, it in group_scores(record).items()]
    return [
        game,
        contender.name,
        contender.rule,
        f"{rate:g}",
        score + (f" ({', '.join(groups)})" if groups else ""),
        backward,
        f"{record.summary.state_bytes:,}",
        f"{record.summary.training_cpu_seconds:.0f} s",
    ]


def main() -> None:
    """Search, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", default=",".join(GAMES), help="which, separated by commas")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("runs/conflicting-games"))
    given = parser.parse_args()
    rows: list[list[str]] = []
    for game in given.games.split(","):
        for contender in CONTENDERS:
            searched = {rate: measured(given.folder, game, contender, rate, SEARCHED_SEEDS) for rate in contender.rates}
            rate = max(searched, key=lambda rate: final_score(searched[rate]).mean)
            rows.append(row(game, contender, rate, measured(given.folder, game, contender, rate, range(given.seeds))))
            write_measured(PAGE, aligned_markdown(HEADERS, rows, (0, 1, 2)), "games that conflict")


if __name__ == "__main__":
    main()
