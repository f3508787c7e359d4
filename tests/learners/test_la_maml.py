"""La-MAML, C-MAML and Sync against recorded runs of their authors' code, and in limits where they equal other methods."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Example
from perdure.learners.la_maml import CMAML, LaMAML, Sync
from perdure.learners.la_maml_task_incremental import TaskIncrementalCMAML, TaskIncrementalLaMAML, TaskIncrementalSync
from perdure.learners.look_ahead import Draws, Weights
from perdure.models import MLP
from perdure.updates.losses import CrossEntropyWithinTask
from tests.conftest import reference_files
from tests.learners.conftest import Recording

RUNS = [file for name in ("lamaml", "cmaml", "sync", "tinc") for file in reference_files("lamaml", f"{name}*.npz")]


def recorded_learner(run, *, task_incremental):
    """Return the learner of a recording."""
    values = {
        "memory_size": run.hp("memories"),
        "replay_batch_size": run.hp("replay_batch_size"),
        "batch_size": run.hp("batch_size"),
        "glances": run.hp("glances"),
        "clip_norm": run.hp("grad_clip_norm"),
        "second_order": run.hp("second_order"),
    }
    if task_incremental:
        of_task = int(run.numbers["n_outputs"]) // run.n_tasks
        values |= {
            "inner_steps": run.hp("cifar_batches"),
            "old_task_memory": run.hp("use_old_task_memory"),
            "loss": CrossEntropyWithinTask(tuple(n // of_task for n in range(run.n_tasks * of_task))),
        }
    if run.hp("sync_update"):
        values["learning_rate"] = run.hp("opt_wt")
    if not run.hp("learn_lr"):
        cls = TaskIncrementalCMAML if task_incremental else CMAML
        return cls(**values, inner_rate=run.hp("alpha_init"))
    values |= {"initial_rate": run.hp("alpha_init"), "rate_learning_rate": run.hp("opt_lr")}
    if run.hp("sync_update"):
        return (TaskIncrementalSync if task_incremental else Sync)(**values)
    return (TaskIncrementalLaMAML if task_incremental else LaMAML)(**values)


def recorded_draws(run):
    """Return the recorded draws, leaves (batches, ...)."""
    numbers = run.numbers
    order = numbers["glance_order_stream_index"] - numbers["batch_start"][:, None, None]
    stored_in = np.where(numbers["reservoir_slot"] < 0, run.hp("memories"), numbers["reservoir_slot"])
    stored_in = stored_in[numbers["glance_order_stream_index"][:, 0]]
    draws = Draws(order, np.maximum(numbers["replay_draws"], 0), stored_in)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.int32), draws)


class FreeForm(eqx.Module):
    """The same network under another type, so that it takes the general form of the update."""

    network: MLP

    def __call__(self, x):
        return self.network(x)


@functools.cache
def replayed(file, dtype, form):
    """Return a recording, and the states after each of its batches, leaves (batches, ...)."""
    run = Recording.read(file)
    learner = recorded_learner(run, task_incremental=file.name.startswith("tinc"))
    start = run.start(learner, form(run.mlp("init", run.layers(), dtype)), dtype)
    size = learner.batch_size

    def learn(state, step):
        state, info = learner.observe_with(state, *step)
        return state, (state, info)

    draws = jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0), recorded_draws(run))
    states, infos = jax.lax.scan(learn, start, (run.stream(dtype), draws))[1]
    return run, jax.tree.map(lambda leaf: np.asarray(leaf)[size - 1 :: size], states), infos


if __name__ == "__main__":
    for file in RUNS:
        if "tinc" not in file.name: continue
        for dtype in (jnp.float64, jnp.float32):
            with jax.enable_x64(dtype is jnp.float64):
                run, states,_ = replayed(file, dtype, lambda m:m)
                err = 0
                for what, tree in (("", states.model), ("alpha_", states.rates)):
                    if what and not run.hp("learn_lr"): continue
                    for l, layer in enumerate(tree.layers):
                        for kind in ("weight","bias"):
                            rec = run.numbers[f"after_glance_{what}{kind}{l}"][:, -1]
                            err = max(err, np.abs(rec-getattr(layer,kind)).max())
                idx = run.numbers["memory_stream_index"]
                ok = all((states.memory.examples.x[b,: (h>=0).sum()] == run.numbers["stream_x"][h[h>=0]].astype(dtype)).all() for b,h in enumerate(idx))
                print(file.name, np.dtype(dtype), err, ok, flush=True)
