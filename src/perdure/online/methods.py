"""What `method` names: the learners that an online model can have, with defaults that work without tuning."""

from __future__ import annotations

from typing import Any

import optax

from perdure.core import Learner
from perdure.learners.averaged import AveragedER
from perdure.learners.closed_form import CLOSED_FORM
from perdure.learners.er import ER
from perdure.learners.mer import MER
from perdure.learners.mixture import Expert, Mixture, mixture
from perdure.learners.multi_timescale import MultiTimescaleMER
from perdure.learners.online import Online
from perdure.updates.losses import Loss, huber_loss

METHODS = ("auto", "online", "er", "mer", "averaged-er", "multi-timescale-mer", *CLOSED_FORM)
"""Names of methods."""


def methods_for(*, regression: bool) -> list[str]:
    """Return the names of the methods that learn numbers, or classes."""
    return [it for it in METHODS if not (regression and it in CLOSED_FORM and CLOSED_FORM[it].classes_only)]


def make_method(
    method: str | Learner[Any], *, memory_size: int, memory_rule: str, hidden_sizes: tuple[int, ...], regression: bool
) -> Learner[Any]:
    """Return the learner of a name, or the learner given.

    Args:
        method: one of `METHODS`, or a learner with its hyper-parameters.
        memory_size: examples that a method with a memory keeps.
        memory_rule: one of `perdure.learn.MEMORY_RULES`.
        hidden_sizes: of the perceptrons.
        regression: for numbers, not classes.

    Raises:
        ValueError: if there is no such method, or it cannot learn numbers.
        TypeError: if `method` is neither a name nor a learner.
    """
    if isinstance(method, Learner):
        return method
    if not isinstance(method, str):
        raise TypeError(f"method is {method!r}, expected a learner such as ER(...) or one of {', '.join(METHODS)}")
    loss = huber_loss if regression else None
    memory: dict[str, Any] = {"memory_size": memory_size, "memory_rule": memory_rule, "loss": loss}
    if method == "auto":
        return default_mixture(memory_size, memory_rule, hidden_sizes, regression=regression)
    if method == "online":
        return Online(0.03, loss=loss)
    if method == "er":
        return ER(0.03, replay_batch_size=10, **memory)
    if method == "mer":
        return MER(0.01, replay_batch_size=10, beta=0.3, gamma=0.5, batches_per_example=5, **memory)
    if method == "averaged-er":
        return AveragedER(0.03, memory_size, 10, 0.99, loss=loss)
    if method == "multi-timescale-mer":
        return MultiTimescaleMER(memory_size, loss=loss)
    if method not in CLOSED_FORM:
        raise ValueError(f"method is {method!r}, expected a learner or one of {', '.join(METHODS)}")
    head = CLOSED_FORM[method]
    if regression and head.classes_only:
        raise ValueError(f"method is {method!r}, which learns classes only; choose another one to learn numbers")
    return head


def default_mixture(
    memory_size: int, memory_rule: str, hidden_sizes: tuple[int, ...], *, regression: bool = False
) -> Mixture:
    """Return the mixture of "auto": linear and deep, fast and slow, without memory and with.

    Chosen on 14 streams, other ones than those of docs/online.md or other seeds, from 24 candidates: these eight were
    within 0.2 points of all of them together. Adam suits perceptrons whose inputs change their scale.
    """
    loss: Loss | None = huber_loss if regression else None
    recent = max(memory_size // 10, 1)
    memory: dict[str, Any] = {"loss": loss, "optimizer": optax.adam}

    experts = [
        *((f"linear, rate {rate}", Expert(Online(rate, loss=loss), ())) for rate in (0.01, 0.03, 0.1)),
        *((f"perceptron, rate {rate}", Expert(Online(rate, **memory), hidden_sizes)) for rate in (0.003, 0.01)),
        (
            f"replay of {memory_size:,}",
            Expert(ER(0.003, memory_size, 10, memory_rule=memory_rule, **memory), hidden_sizes),
        ),
        (f"replay of the last {recent:,}", Expert(ER(0.003, recent, 10, memory_rule="ring", **memory), hidden_sizes)),
        (
            f"MER of {memory_size:,}",
            Expert(
                MER(
                    0.03,
                    memory_size,
                    5,
                    beta=0.3,
                    gamma=0.5,
                    batches_per_example=2,
                    loss=loss,
                    memory_rule=memory_rule,
                ),
                hidden_sizes,
            ),
        ),
    ]
    return mixture(experts, regression=regression)
