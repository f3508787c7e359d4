"""A corridor as an environment of Gymnasium, which does what a test asks of it."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import perdure

AGENT = perdure.rl.DQN(
    learning_rate=0.001,
    memory_size=300,
    replay_batch_size=8,
    discount=0.99,
    target_period=100,
    exploration_end=0.05,
    exploration_frames=100,
    warmup_frames=20,
)


class Corridor(gymnasium.Env[np.ndarray, np.int64]):
    """Action 1 moves on, 0 stays; the far end pays 1 and terminates. Where it begins is drawn."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int = 6, fails_at: int | None = None, draws: Any = None):
        self.length, self.fails_at, self.draws = length, fails_at, draws
        self.place, self.frames = 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int((self.draws or self.np_random).integers(3))
        return self._seen(), {}

    def step(self, action):
        self.frames += 1
        if self.frames == self.fails_at:
            raise ValueError("the emulator is gone")
        self.place += int(action)
        there = self.place >= self.length
        return self._seen(), float(there), there, False, {}

    def _seen(self):
        return np.array([self.place / self.length, 1.0])


def limited(length=6, limit=10, **options):
    return gymnasium.wrappers.TimeLimit(Corridor(length, **options), limit)


def with_spaces(actions=None, observations=None):
    made = Corridor()
    made.action_space = actions or made.action_space
    made.observation_space = observations or made.observation_space
    return made
