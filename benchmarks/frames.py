"""Environment frames a second of agents that see pictures: ``python benchmarks/frames.py [SECONDS] [NAME …]``.

One agent is trained for each core that the process may use, as ``perdure rl train --seeds`` does, on the first level of
Catcher, after its warm-up and with a memory of a tenth of the preset's size; frames of all agents are added up. Frames
a second of CPU time are told beside, because other processes may share the machine. With ``plain`` DQN-MER's steps
differentiate the whole network, and images are unfolded pixel by pixel: what `head_gram_meta_steps` and blocks of
patches are measured against. Names choose among what is measured: ``dqn``, ``dqn-mer``, ``frames``, ``frames-small``,
``plain``, ``fast``.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from itertools import product
from typing import NamedTuple
from unittest import mock

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported

from perdure.execution.compilation import bytes_of
from perdure.experiments.agents.job import AgentJob
from perdure.experiments.agents.plan import make_agent
from perdure.experiments.agents.spec import agent_spec
from perdure.machine.cores import usable_cpus
from perdure.models import convolution
from perdure.rl.catalog import make_game
from perdure.updates import sequential

WARMUP = 100
"""Frames played before the clock starts; half of them without learning."""
AGENTS = ("dqn", "dqn-mer")
FORMS = ("plain", "fast")
SIZES = ("frames", "frames-small")


class Measured(NamedTuple):
    """What one agent came to with pictures of one size."""

    agent: str
    observation: str
    form: str
    frames_per_second: float
    frames_per_cpu_second: float
    memory_bytes: int
    """Of the memory of one seed, with all its slots."""


def measure(agent_name: str, observation: str, form: str, seconds: float) -> Measured:
    """Play for about this many seconds."""
    changes = {"warmup_frames": WARMUP // 2, "memory_size": 5_000}
    agent = make_agent(agent_name, "catcher", observation, changes)
    spec = agent_spec(agent, make_game("catcher", observation), seeds=usable_cpus())
    job = AgentJob(spec)
    with ExitStack() as stack:
        if form == "plain":
            stack.enter_context(mock.patch.object(sequential, "head_gram_meta_steps", sequential.general_meta_steps))
            stack.enter_context(mock.patch.object(convolution, "_block", return_value=1))
        job.compile()
    job.advance(WARMUP)
    n_frames, chunk = 0, 10
    began, cpu_began = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds and job.position + chunk <= job.length:
        job.advance(job.position + chunk)
        n_frames += chunk * usable_cpus()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    memory = bytes_of(job.runners.agent.learning.memory) // usable_cpus()
    return Measured(agent_name, observation, form, n_frames / wall, n_frames / cpu, memory)


def main() -> None:
    """Print a line for each case."""
    arguments = sys.argv[1:]
    seconds = float(arguments.pop(0)) if arguments and arguments[0].replace(".", "").isdecimal() else 10.0

    def chosen(names: tuple[str, ...]) -> list[str]:
        return [name for name in names if name in arguments] or list(names)

    for case in product(chosen(AGENTS), chosen(SIZES), chosen(FORMS)):
        it = measure(*case, seconds)
        speeds = f"{it.frames_per_second:,.0f} frames/s, {it.frames_per_cpu_second:,.0f} frames/CPU-s"
        print(f"{' '.join(case)}: {speeds}, memory {it.memory_bytes / 1e6:,.0f} MB", flush=True)


if __name__ == "__main__":
    main()
