"""What a learner of your own is made of: the contract, declarations, memory, gradients and steps.

It loads JAX.
"""

from perdure.core import Example, Info, Learner, StreamInfo
from perdure.learners.hyperparameters import (
    check_hyperparameters,
    flag,
    integer,
    known_stream_info,
    loss_field,
    optimizer_field,
    rate,
    stream_info_field,
)
from perdure.learners.replay import Batch, ReplayLearner, ReplayState
from perdure.memory import (
    Buffer,
    TaskRings,
    capacity,
    draw_past,
    draw_slot,
    draw_slots,
    drawn_mask,
    empty_buffer,
    empty_rings,
    filled,
    recall,
    ring,
    ring_slot,
    store,
    store_in_ring,
)
from perdure.updates.distillation import distillation
from perdure.updates.gradient import (
    Gradient,
    Optimizer,
    TrainState,
    example_gradient,
    example_loss,
    init_train_state,
    optimizer_step,
    predict_batch,
    predict_by_task,
    sgd_step,
    weighted_gradient,
)
from perdure.updates.losses import CrossEntropyWithinTask, Loss, cross_entropy, mean_squared_error
from perdure.updates.reptile import reptile_step
from perdure.updates.weights import equal_weights

__all__ = [
    "Batch",
    "Buffer",
    "CrossEntropyWithinTask",
    "Example",
    "Gradient",
    "Info",
    "Learner",
    "Loss",
    "Optimizer",
    "ReplayLearner",
    "ReplayState",
    "StreamInfo",
    "TaskRings",
    "TrainState",
    "capacity",
    "check_hyperparameters",
    "cross_entropy",
    "distillation",
    "draw_past",
    "draw_slot",
    "draw_slots",
    "drawn_mask",
    "empty_buffer",
    "empty_rings",
    "equal_weights",
    "example_gradient",
    "example_loss",
    "filled",
    "flag",
    "init_train_state",
    "integer",
    "known_stream_info",
    "loss_field",
    "mean_squared_error",
    "optimizer_field",
    "optimizer_step",
    "predict_batch",
    "predict_by_task",
    "rate",
    "recall",
    "reptile_step",
    "ring",
    "ring_slot",
    "sgd_step",
    "store",
    "store_in_ring",
    "stream_info_field",
    "weighted_gradient",
]
