"""Seeds that play in groups, one after another, against all of them side by side."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from perdure.experiments.agents import program
from perdure.experiments.agents.plan import make_agent
from perdure.experiments.agents.run import run_agent
from perdure.rl.catalog import make_game
from perdure.rl.games.catcher import Catcher

CHANGES = {"memory_size": 30, "replay_batch_size": 2, "warmup_frames": 10, "fisher_transitions": 4}


def played():
    game = make_game("catcher", "frames-small")
    levels = [Catcher.params(speed, max_steps_in_episode=15) for speed in (0.06, 0.15)]
    agent = make_agent("dqn-ewc", "catcher", "frames-small", CHANGES)
    return run_agent(
        agent, game, levels=levels, stages=[(0, 25), (1, 20)], seeds=3, evaluate_every=25, episodes=2, progress=False
    )


def test_seeds_in_groups_learn_what_they_learn_side_by_side(monkeypatch):
    in_groups = played()
    with monkeypatch.context() as patch:
        patch.setattr(program, "faster_side_by_side", lambda networks: True)
        side_by_side = played()
    np.testing.assert_array_equal(in_groups.scores, side_by_side.scores)
    for one, other in zip(*map(jax.tree.leaves, (in_groups.runners, side_by_side.runners)), strict=True):
        if jnp.issubdtype(one.dtype, jnp.floating):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
        else:
            np.testing.assert_array_equal(one, other)
