"""Runs to be killed: `victims.py CACHE` answers lines on standard input, compiled programs kept in CACHE.

``run KIND FOLDER`` starts a run of that kind in a process of its own, and answers with its number;
``own KIND FOLDER`` starts one that waits for a line in its file FOLDER.go, says in FOLDER.NUMBER that it owns the
folder, or why not, and then waits to be killed; ``wait NUMBER`` answers with how such a process has ended, ``poll
NUMBER`` likewise, or that it has not.

The processes are forked from this one, which has imported all that they need and started nothing: so they begin fast.
"""

import os
import sys
import time
import traceback
from pathlib import Path
from unittest import mock

import jax
import numpy as np

from perdure.execution import drive
from perdure.experiments.agents.job import AgentJob
from perdure.experiments.agents.run import run_agent
from perdure.experiments.representations.job import TrainingJob
from perdure.experiments.representations.train import train_representation
from perdure.experiments.supervised.job import LearnerJob
from perdure.experiments.supervised.run import run
from perdure.learners.mer import MER
from perdure.models import MLP
from perdure.records.folder import RunFolder
from perdure.representation.domains import SinePool
from perdure.representation.episodes import SineEpisodes
from perdure.representation.oml import OML
from perdure.rl.agent import DQNMER
from perdure.rl.catalog import make_game
from perdure.rl.games.catcher import Catcher
from perdure.rl.schedule import Stage
from perdure.storage.lock import FolderInUseError
from perdure.streams.arrays import from_arrays
from perdure.streams.sine import draw_sines

TASKS, EXAMPLES, CLASSES = 3, 300, 4
OFTEN = {"checkpoint_seconds": 0.0, "progress": False}


def small_mlp(example, n_outputs, key):
    return MLP(example.x.size, n_outputs, (32, 32), key=key)


def small_network(observation, n_actions, key):
    return MLP(observation.size, n_actions, (16,), key=key)


def noisy_templates():
    """Tasks of their own templates, one a class, in noise: something that can be learned and forgotten."""
    rng = np.random.default_rng(0)

    def draw(templates, n):
        y = rng.integers(0, CLASSES, n).astype(np.int32)
        return (templates[y] + rng.integers(0, 128, (n, 8, 8))).astype(np.uint8), y

    tasks = [rng.integers(0, 128, (CLASSES, 8, 8)) for _ in range(TASKS)]
    train = [draw(templates, EXAMPLES) for templates in tasks]
    test = [draw(templates, 97) for templates in tasks]
    return from_arrays(train, test, name="noisy-templates", n_outputs=CLASSES)


def learner(folder):
    method = MER(0.03, memory_size=150, replay_batch_size=20, beta=0.1, gamma=0.5, batches_per_example=10)
    options = {"seeds": 2, "model": small_mlp, "evaluation": "full", "alignment": True}
    run(method, noisy_templates(), folder=folder, **options, **OFTEN)


def agent(folder):
    method = DQNMER(
        learning_rate=0.01,
        memory_size=50,
        replay_batch_size=3,
        discount=0.9,
        target_period=10,
        exploration_end=0.1,
        exploration_frames=200,
        warmup_frames=5,
        beta=1.0,
        gamma=0.3,
        batches_per_frame=1,
    )
    levels = [Catcher.params(speed, max_steps_in_episode=30) for speed in (0.0608, 0.2108)]
    options = {"stages": [Stage(0, 450), Stage(1, 450)], "evaluate_every": 300, "episodes": 1, "network": small_network}
    run_agent(method, make_game("catcher"), levels=levels, seeds=2, folder=folder, **options, **OFTEN)


def representation(folder):
    episodes = SineEpisodes(functions=2, steps_each=3, batch_size=4, numbers=3)
    domain = SinePool(draw_sines(10, jax.random.key(0)), episodes, widths=(8, 8), validation_runs=1)
    train_representation(domain, OML(0.1, 0.01), steps=900, folder=folder, validate_every=300, **OFTEN)


KINDS = {"learner": learner, "agent": agent, "representation": representation}


def own(kind, folder):
    """Come to own the folder, or be refused, and say so."""
    said = Path(f"{folder}.{os.getpid()}")

    def begin(home, label, checksums):
        said.write_text("owns")
        time.sleep(600)

    mock.patch.object(RunFolder, "begin", begin).start()
    while not Path(f"{folder}.go").exists():
        time.sleep(0.001)
    try:
        KINDS[kind](folder)
    except FolderInUseError as error:
        said.write_text(str(error))


def forked(work, *arguments):
    """Do something in a process of its own, and return its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        os.setpgid(0, 0)
        work(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def prepare(cache):
    """Keep compiled programs in a folder, and have a checkpoint written after each example, frame or step."""
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    for kind in (LearnerJob, AgentJob, TrainingJob):
        kind.first_stretch = 1
    drive.STRETCH_SECONDS = drive.STRETCH_COSTS = 0.0


def main():
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "run":
            answer = forked(KINDS[rest[0]], Path(rest[1]))
        elif what == "own":
            answer = forked(own, rest[0], Path(rest[1]))
        else:
            ended, status = os.waitpid(int(rest[0]), os.WNOHANG if what == "poll" else 0)
            answer = os.waitstatus_to_exitcode(status) if ended else "alive"
        print(answer, flush=True)


if __name__ == "__main__":
    prepare(sys.argv[1])
    main()
