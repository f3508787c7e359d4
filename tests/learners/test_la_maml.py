"""La-MAML, C-MAML and Sync against recorded runs of their authors' code."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.learners.la_maml import CMAML, LaMAML, Sync
from perdure.learners.look_ahead import Draws
from tests.conftest import reference_files
from tests.learners.conftest import Recording

RUNS = reference_files("lamaml", "*maml*.npz") + reference_files("lamaml", "sync*.npz")
KEY = jax.random.key(0)


def recorded_learner(run):
    sizes = {
        "memory_size": run.hp("memories"),
        "replay_batch_size": run.hp("replay_batch_size"),
        "batch_size": run.hp("batch_size"),
        "glances": run.hp("glances"),
        "clip_norm": run.hp("grad_clip_norm"),
        "second_order": run.hp("second_order"),
    }
    if not run.hp("learn_lr"):
        return CMAML(**sizes, learning_rate=run.hp("opt_wt"), inner_rate=run.hp("alpha_init"))
    learned = {"initial_rate": run.hp("alpha_init"), "rate_learning_rate": run.hp("opt_lr")}
    if run.hp("sync_update"):
        return Sync(**sizes, learning_rate=run.hp("opt_wt"), **learned)
    return LaMAML(**sizes, **learned)


def recorded_draws(run):
    n = run.numbers
    order = n["glance_order_stream_index"] - n["batch_start"][:, None, None]
    slots = np.maximum(n["replay_draws"], 0)
    stored = np.where(n["reservoir_slot"] < 0, run.hp("memories"), n["reservoir_slot"])
    stored = stored[n["glance_order_stream_index"][:, 0]]
    return Draws(*(jnp.asarray(it, jnp.int32) for it in (order, slots, stored)))


def replayed(file, dtype):
    run = Recording.read(file)
    learner = recorded_learner(run)
    start = run.start(learner, run.mlp("init", run.layers(), dtype), dtype)
    draws = recorded_draws(run)
    size = learner.batch_size
    each = jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0), draws)
    def learn(state, step):
        state, info = learner.observe_with(state, *step)
        return state, state
    states = jax.lax.scan(learn, start, (run.stream(dtype), each))[1]
    return run, learner, jax.tree.map(lambda leaf: np.asarray(leaf)[size-1::size], states)


if __name__ == "__main__":
    for file in RUNS:
        if "tinc" in file.name: continue
        for dtype in (jnp.float64, jnp.float32):
            with jax.enable_x64(dtype is jnp.float64):
                run, learner, states = replayed(file, dtype)
                err = 0
                for what, tree in (("", states.model), ("alpha_", states.rates)):
                    if what and not run.hp("learn_lr"): continue
                    for l, layer in enumerate(tree.layers):
                        for kind in ("weight","bias"):
                            rec = run.numbers[f"after_glance_{what}{kind}{l}"][:, -1]
                            err = max(err, np.abs(rec-getattr(layer,kind)).max())
                idx = run.numbers["memory_stream_index"]
                ok = all((states.memory.examples.x[b,: (h>=0).sum()] == run.numbers["stream_x"][h[h>=0]].astype(dtype)).all() for b,h in enumerate(idx))
                print(file.name, np.dtype(dtype), err, ok)
