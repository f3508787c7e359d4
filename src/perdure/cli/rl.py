"""perdure rl: agents that play while the game gets harder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from perdure.cli.commands import LazyCommand, examples, group, listed, required
from perdure.cli.console import OUTPUT, Log, Previous, Quiet, print_table, say, show
from perdure.cli.learners import commands_of
from perdure.rl.catalog import AGENTS, GAMES

_ENVIRONMENT = (
    f"One of: {', '.join(GAMES)}; an environment of Gymnasium (CartPole-v1) or gymnax (gymnax:Breakout-MinAtar); a "
    "class or function in a file (my_env.py:Env), or one of an installed package; or several of them as "
    "levels, joined by +."
)
Observation = Annotated[
    str,
    typer.Option(
        help="What the agent sees: state, a few numbers; frames, the last four pictures of 84×84; or frames-small, the "
        "last two of 42×42."
    ),
]


def _train(
    agent_name: str,
    given: dict[str, Any],
    game: Annotated[str | None, typer.Argument(help=_ENVIRONMENT, show_default=False)] = None,
    *,
    observation: Observation = "state",
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Levels, counted from 0, and frames of each, as 0:25000,1:25000.",
            show_default="every level for 25,000 frames",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed; the others follow it.")] = 0,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Frames between two evaluations at all levels.")] = 5000,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of an evaluation at each level.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="in runs/")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between two checkpoints.")] = 60.0,
    log: Log = None,
    previous: Previous = False,
    quiet: Quiet = False,
) -> None:
    from perdure.experiments.agents.plan import has_preset, make_agent
    from perdure.experiments.agents.run import run_agent
    from perdure.records.agent import AgentRecord
    from perdure.report.agents import agents_table
    from perdure.rl.by_name import make_environment

    game = required(game, "game", GAMES)
    environment = make_environment(game, observation) if game in GAMES or observation != "state" else game
    played = game if observation == "state" else f"{game}-{observation}"
    folder = out or Path("runs") / f"{agent_name}-{re.sub('[^A-Za-z0-9._+-]', '-', played)}"
    run_agent(
        make_agent(agent_name, game, observation, given),
        environment,
        stages=None if schedule is None else _stages(schedule),
        seeds=range(first_seed, first_seed + seeds),
        evaluate_every=evaluate_every,
        episodes=episodes,
        folder=folder,
        checkpoint_seconds=checkpoint_seconds,
        previous=previous,
        progress=not quiet,
        loggers=log.split(",") if log else (),
    )
    print_table(agents_table([AgentRecord.load(folder)]))
    if not has_preset(agent_name, game, observation):
        say(f"the hyper-parameters of {agent_name} were not chosen for {game}: they are usual values")
    say(f"record: {folder}")


def _stages(text: str) -> list[Any]:
    from perdure.rl.schedule import Stage

    parts = [part.strip().split(":") for part in text.split(",")]
    if not all(len(part) == 2 and all(number.isdecimal() for number in part) for part in parts):
        raise ValueError(f"--schedule is {text!r}, expected level:frames separated by commas, as 0:25000,1:25000")
    return [Stage(int(level), int(frames)) for level, frames in parts]


Runs = Annotated[list[Path], typer.Argument(help="Folders of finished runs.")]


def compare(
    runs: Runs,
    *,
    figures: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path("runs/figures"),
) -> None:
    """Compare agents: scores at each level, and over frames as figures, of each level and of each game."""
    from perdure.records.agent import AgentRecord
    from perdure.report.agents import agents_table
    from perdure.report.figures.agents import has_games, scores_of_games, scores_over_frames
    from perdure.report.figures.saving import save_figure

    records = [AgentRecord.load(run) for run in runs]
    name = re.sub("[^A-Za-z0-9._+-]", "-", records[0].environment)
    paths = list(save_figure(scores_over_frames(records), figures / f"scores-{name}"))
    if has_games(records[0]):
        paths += save_figure(scores_of_games(records), figures / f"games-{name}")
    print_table(agents_table(records))
    for path in paths:
        say(str(path))


def play(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    *,
    level: Annotated[int, typer.Option(min=0, help="Level to play, counted from 0.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Which of the run's agents plays: its place among the seeds.")] = 0,
    episode: Annotated[int, typer.Option(min=0, help="Seed of the episode.")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Frames to play at most.")] = 300,
    out: Annotated[
        Path | None, typer.Option(help="Film to write, .gif or .mp4.", show_default="a GIF in the run's folder")
    ] = None,
    window: Annotated[bool, typer.Option("--window", help="Show it in a window too.")] = False,
) -> None:
    """Watch a trained agent play: a film, its last picture in the terminal, and a window if requested."""
    from perdure.experiments.agents.film import film_encoder, save_film
    from perdure.experiments.agents.play import play_episode, show_pictures
    from perdure.report.terminal import picture_of

    path = out or run / f"level-{level}.gif"
    film_encoder(path)  # refuses other kinds before anything is played
    played = play_episode(run, level=level, seed=seed, episode=episode, max_frames=frames)
    save_film(path, played.pictures)
    if OUTPUT.is_terminal:
        show(picture_of(played.pictures[-1]))
    stopped = "" if played.is_over else ", stopped by --frames before the end of the episode"
    say(f"score {played.score:g} after {len(played.pictures) - 1} frames{stopped}")
    say(str(path))
    if window:
        show_pictures(f"{played.title}, level {level}", played.pictures)


train_app = group(
    "agent",
    commands_of(
        AGENTS,
        "agent",
        _train,
        {
            "": [
                "perdure rl train NAME catcher",
                "perdure rl train NAME catcher --schedule 0:25000,1:25000 --seeds 3",
                "perdure rl train NAME CartPole-v1 --schedule 0:50000",
            ]
        },
    ),
    help="Train an agent on a game that gets harder: perdure rl train AGENT GAME.",
    epilog=examples("perdure rl train dqn-mer catcher --seeds 3", "perdure rl train dqn --help"),
)
rl_app = group(
    "command",
    {
        "train": LazyCommand("Train an agent on a game that gets harder.", lambda: typer.main.get_command(train_app)),
        "compare": listed("compare", compare, "perdure rl compare runs/dqn-catcher runs/dqn-mer-catcher"),
        "play": listed("play", play, "perdure rl play runs/dqn-mer-catcher --level 3"),
    },
    help="Agents in games that get harder: train them, compare them and watch them play.",
    epilog=examples("perdure rl train dqn-mer catcher --seeds 3", "perdure rl play runs/dqn-mer-catcher"),
)
