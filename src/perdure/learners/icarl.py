"""iCaRL: chosen exemplars of past classes, distillation, and classification by the nearest mean of exemplars."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, Shaped

from perdure.core import AnyArray, Example, Info, Learner, Rate, StreamInfo, as_features
from perdure.learners.defaults import with_defaults
from perdure.learners.hyperparameters import check_hyperparameters, integer, known_stream_info, rate, stream_info_field
from perdure.memory.buffer import Buffer, emptied_if, empty_buffer, filled, first_slot, recall, store
from perdure.memory.exemplars import (
    ExemplarPlan,
    Exemplars,
    exemplar_slots,
    keep_exemplars,
    no_exemplars,
    plan_exemplars,
)
from perdure.models import BatchModel
from perdure.updates.branches import for_as_many_as, where_needed
from perdure.updates.distillation import distillation
from perdure.updates.gradient import Gradient, example_loss, predict_batch, sgd_step, weighted_gradient
from perdure.updates.herding import herd
from perdure.updates.losses import MASKED, CrossEntropyWithinTask, Loss, within_task
from perdure.updates.weights import equal_weights

_LEAST = 64
"""Inputs of a pass through the network, at least: each other number is compiled for seconds, and fewer save little."""


class ICaRLState(NamedTuple):
    """State of `ICaRL`."""

    model: PyTree
    current: Buffer
    """All examples of the current task so far, in order."""
    exemplars: Exemplars
    task: Int[Array, ""]
    """Number of the current task."""


@with_defaults
class ICaRL(Learner[ICaRLState]):
    """iCaRL (Rebuffi et al. 2017) as measured by Lopez-Paz & Ranzato 2017, for classes that belong to tasks.

    Examples are collected until there are `batch_size` of them or the task ends; then there is one step of SGD on the
    mean cross entropy over the task's classes and, for each past task, `strength` times the mean divergence from what
    the network answered when a task ended last, on one exemplar of each class. When a task has shown all its examples,
    exemplars of its classes are chosen by herding on the network's outputs. A class is predicted by the nearest mean
    output of exemplars, among the classes of the given task; before the task has any, its classes are all alike.

    As in the released code, exemplars of earlier classes are not cut down: each class of a task keeps `memory_size`
    divided by the number of classes until then, so that in the end the memory holds more than `memory_size`; and
    choosing them moves a network's running statistics. With a network that normalises batches the choice costs a pass
    over the exemplars chosen so far for each exemplar.
    """

    needs_task: ClassVar[bool] = True

    learning_rate: Rate = rate("learning rate α of SGD")
    memory_size: int = integer("number of exemplars that the classes of a task share with all before")
    strength: Rate = rate("strength of the distillation")
    batch_size: int = integer("examples of the stream that make one step")
    stream_info: StreamInfo | None = stream_info_field()

    def __check_init__(self) -> None:
        check_hyperparameters(self)

    def init(self, model: PyTree, example: Example, key: PRNGKeyArray) -> ICaRLState:
        """Return the state before the first example.

        Raises:
            ValueError: if classes do not belong to tasks, or the memory has less than one slot a class.
        """
        classes = len(self._class_tasks())
        if self.memory_size < classes:
            raise ValueError(
                f"memory_size = {self.memory_size} for {classes} classes is less than one exemplar for each; "
                f"give it at least {classes}"
            )
        current = empty_buffer(example, max(self._task_sizes()))
        return ICaRLState(model, current, no_exemplars(example, self._plan()), jnp.zeros((), jnp.int32))

    def observe(self, state: ICaRLState, example: Example, key: PRNGKeyArray) -> tuple[ICaRLState, Info]:
        """Collect the example, and learn if it completes a batch or its task."""
        return self.observe_with(state, example, draw_exemplars(state.exemplars, key))

    def observe_with(
        self, state: ICaRLState, example: Example, drawn: Int[Array, " classes"]
    ) -> tuple[ICaRLState, Info]:
        """`observe` with the exemplar of each class that a step distils from, 0 ≤ drawn < number held."""
        task = jnp.asarray(example.task, jnp.int32)
        outputs = self.predict(state, jnp.asarray(example.x)[None], task[None])[0]
        loss = example_loss(state.model, example.x, example.y, self._loss())
        current = emptied_if(task != state.task, state.current)
        current = store(current, example, first_slot(current))
        state = ICaRLState(state.model, current, state.exemplars, task)
        ended = current.seen == jnp.asarray(self._task_sizes(), jnp.int32)[task]
        complete = ended | (current.seen % self.batch_size == 0)
        state = state._replace(model=where_needed(complete, lambda: self._stepped(state, drawn), state.model))
        after = where_needed(ended, lambda: self._remembered(state), (state.model, state.exemplars))
        return state._replace(model=after[0], exemplars=after[1]), Info(loss, outputs)

    def answering(self, state: ICaRLState) -> PyTree:
        """Return the network, whose outputs are compared with the exemplars'."""
        return state.model

    def predict(self, state: ICaRLState, x: Any, task: Any) -> Float[Array, "batch outputs"]:
        """Return minus the distance to the mean output of each class's exemplars, for x: (batch, ...).

        Classes of other tasks than that of the input, (batch,), are out of the question.
        """
        own = jnp.asarray(self._class_tasks(), jnp.int32)[None] == jnp.asarray(task, jnp.int32)[:, None]
        known = own & (state.exemplars.held > 0)[None]
        outputs, means = predict_batch(state.model, x), self._means(state, jnp.any(known, axis=0))
        distances = jax.lax.map(lambda mean: jnp.linalg.norm(outputs - mean[None], axis=1), means).T
        alike = jnp.where(own & ~jnp.any(known, axis=1, keepdims=True), 1 / jnp.sum(own, axis=1, keepdims=True), MASKED)
        return jnp.where(known, -distances, alike)

    def _class_tasks(self) -> tuple[int, ...]:
        class_tasks = known_stream_info(self).class_tasks
        if class_tasks is None:
            raise ValueError(
                "iCaRL needs classes that belong to one task each, but the stream's class_tasks is None; use a "
                "benchmark that has them, such as cifar100, mnist-split or omniglot"
            )
        return class_tasks

    def _task_sizes(self) -> tuple[int, ...]:
        task_sizes = known_stream_info(self).task_sizes
        if task_sizes is None:
            raise ValueError(
                "iCaRL must know when a task ends, but the streams of the seeds have tasks of different lengths; run "
                "the seeds one by one, or give each task the same number of examples (examples_per_task, and no "
                "imbalance)"
            )
        return task_sizes

    def _plan(self) -> ExemplarPlan:
        return plan_exemplars(self._class_tasks(), self._task_sizes(), self.memory_size)

    def _loss(self) -> Loss:
        return CrossEntropyWithinTask(self._class_tasks())

    def _stepped(self, state: ICaRLState, drawn: Int[Array, " classes"]) -> PyTree:
        """Return the model after one step on the batch that the last example completes, and on exemplars drawn."""
        last = state.current.seen - 1
        places = last // self.batch_size * self.batch_size + jnp.arange(self.batch_size, dtype=jnp.int32)
        batch = recall(state.current, places)
        gradient = weighted_gradient(state.model, batch.x, batch.y, equal_weights(places <= last), self._loss())
        slots = jnp.asarray(self._plan().starts, jnp.int32) + drawn
        members = jnp.asarray(self._plan().classes, jnp.int32)

        def distilled(past: Int[Array, ""], so_far: Gradient) -> Gradient:
            there = (members[past] >= 0) & (state.exemplars.held[members[past]] > 0)
            x, before = (leaf[slots[members[past]]] for leaf in (state.exemplars.x, state.exemplars.outputs))

            def divergence(outputs: Float[Array, " classes"], before: Shaped[AnyArray, " classes"]) -> Float[Array, ""]:
                both = outputs, jnp.asarray(before)
                return distillation(*(within_task(it, self._class_tasks(), past) for it in both))

            def with_past() -> Gradient:
                of_past = weighted_gradient(so_far.model, x, before, equal_weights(there), divergence)
                grads = jax.tree.map(lambda old, new: old + self.strength * new, so_far.grads, of_past.grads)
                return of_past._replace(grads=grads)

            return jax.lax.cond(jnp.any(there), with_past, lambda: so_far)

        gradient = jax.lax.fori_loop(0, state.task, distilled, gradient)
        return sgd_step(gradient.model, gradient.grads, self.learning_rate)

    def _remembered(self, state: ICaRLState) -> tuple[PyTree, Exemplars]:
        """Return model and exemplars when those of the task's classes have been chosen."""
        members = self._plan().classes
        n_members = jnp.asarray((members >= 0).sum(axis=1), jnp.int32)[state.task]

        def choose(nth: Int[Array, ""], now: tuple[PyTree, Exemplars]) -> tuple[PyTree, Exemplars]:
            label = jnp.asarray(members, jnp.int32)[state.task, nth]
            return self._with_class(state._replace(model=now[0], exemplars=now[1]), label)

        def answer(label: Int[Array, ""], now: tuple[PyTree, Exemplars]) -> tuple[PyTree, Exemplars]:
            model, memory = now
            slots, held = exemplar_slots(self._plan(), label), memory.held[label]
            outputs, model = self._answers(model, memory.x, slots, held)
            slots = jnp.where(_first(held, len(slots)), slots, len(memory.x))
            return model, memory._replace(outputs=memory.outputs.at[slots].set(outputs, mode="drop"))

        chosen = jax.lax.fori_loop(0, n_members, choose, (state.model, state.exemplars))
        return jax.lax.fori_loop(0, len(self._class_tasks()), answer, chosen)

    def _with_class(self, state: ICaRLState, label: Int[Array, ""]) -> tuple[PyTree, Exemplars]:
        """Return model and exemplars when those of one class of the task have been chosen."""
        plan, x = self._plan(), state.current.examples.x
        of_class = (state.current.examples.y == label) & _first(filled(state.current), len(x))
        places = jnp.argsort(~of_class, stable=True).astype(jnp.int32)  # those of the class first, in their order
        n = jnp.sum(of_class, dtype=jnp.int32)

        def answers(_: Int[Array, ""], now: tuple[Float[Array, "n classes"], PyTree]) -> tuple[Any, PyTree]:
            return self._answers(now[1], x, places, n)

        # Twice, as in the released code, which asks for the mean first: each pass moves running statistics.
        nothing = jnp.zeros((len(x), len(plan.sizes)))
        features, model = jax.lax.fori_loop(0, 2, answers, (nothing, state.model))
        own = jnp.asarray(self._class_tasks(), jnp.int32) == state.task
        features = jnp.where(own[None], features, 0)

        def sum_features(
            chosen: Int[Array, " most"], n_chosen: Int[Array, ""], model: PyTree
        ) -> tuple[Float[Array, " classes"], PyTree]:
            if not isinstance(model, BatchModel):  # what it answers to an example does not depend on the others
                return jnp.sum(features[chosen], axis=0, where=_first(n_chosen, len(chosen))[:, None]), model
            outputs, model = self._answers(model, x, places[chosen], n_chosen)
            return jnp.where(own, jnp.sum(outputs, axis=0), 0), model

        size = jnp.minimum(jnp.asarray(plan.sizes, jnp.int32)[label], n)
        mean = jnp.sum(features, axis=0) / jnp.maximum(n, 1).astype(features.dtype)
        chosen, model = herd(features, mean, _first(n, len(x)), size, int(plan.sizes.max()), sum_features, model)
        return model, keep_exemplars(state.exemplars, plan, label, x[places[chosen]], size)

    def _answers(
        self, model: PyTree, x: Shaped[AnyArray, "n ..."], places: Int[Array, " most"], n: Int[Array, ""]
    ) -> tuple[Float[Array, "most classes"], PyTree]:
        """Return outputs in training for the inputs in the first `n` places, zeros after them, and the model then."""

        def answer(most: int) -> tuple[Float[Array, "most classes"], PyTree]:
            inputs, mask = as_features(jnp.asarray(x).at[places[:most]].get(mode="clip")), _first(n, most)
            if isinstance(model, BatchModel):
                outputs, after = model.in_training(inputs, mask)
            else:
                outputs, after = jax.vmap(model)(inputs), model
            return jnp.pad(jnp.where(mask[:, None], outputs, 0), [(0, len(places) - most), (0, 0)]), after

        return for_as_many_as(
            n, len(places), answer, (jnp.zeros((len(places), len(self._class_tasks()))), model), _LEAST
        )

    def _means(self, state: ICaRLState, wanted: Bool[Array, " classes"]) -> Float[Array, "classes classes"]:
        """Return the mean output of the exemplars of each class that is wanted, zeros for the others."""

        def mean(label: Int[Array, ""]) -> Float[Array, " classes"]:
            n = jnp.where(wanted[label], state.exemplars.held[label], 0)
            slots = exemplar_slots(self._plan(), label)

            def total(most: int) -> Float[Array, " classes"]:
                outputs = predict_batch(state.model, state.exemplars.x.at[slots[:most]].get(mode="clip"))
                return jnp.sum(outputs, axis=0, where=_first(n, most)[:, None])

            none = jnp.zeros(len(wanted))
            return for_as_many_as(n, len(slots), total, none, _LEAST) / jnp.maximum(n, 1).astype(none.dtype)

        return jax.lax.map(mean, jnp.arange(len(wanted), dtype=jnp.int32))


def draw_exemplars(memory: Exemplars, key: PRNGKeyArray) -> Int[Array, " classes"]:
    """Draw one exemplar of each class uniformly, by its number among those held; 0 where there are none."""
    return jax.random.randint(key, memory.held.shape, 0, jnp.maximum(memory.held, 1), jnp.int32)


def _first(n: Int[Array, ""], length: int) -> Bool[Array, " length"]:
    """Return which of a number of places are among the first `n`."""
    return jnp.arange(length, dtype=jnp.int32) < n
