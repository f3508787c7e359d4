"""Steps a second of CartPole-v1 in Gymnasium with a step of DQN each: ``python benchmarks/gymnasium_steps.py``."""

from __future__ import annotations

import perdure
from perdure.experiments.agents.plan import make_agent

FRAMES = 20_000
TARGET = 5_000


def main() -> None:
    agent = make_agent("dqn", "CartPole-v1", "state", {"warmup_frames": 1})
    result = perdure.run_agent(
        agent, "gymnasium:CartPole-v1", stages=[(0, FRAMES)], evaluate_every=FRAMES, episodes=1, progress=False
    )
    print(f"{FRAMES / result.training_seconds:,.0f} steps a second, wall; target {TARGET:,}")
    print(f"{FRAMES / result.training_cpu_seconds:,.0f} steps a CPU-second")


if __name__ == "__main__":
    main()
