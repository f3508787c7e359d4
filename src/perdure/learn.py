"""What a learner of your own is made of: the contract, declarations, memory, gradients and steps.

It loads JAX.
"""

from perdure.core import AnyArray, Example, Info, Learner, Rate, StreamInfo, as_features, check_example
from perdure.learners.batch_replay import BatchReplayLearner
from perdure.learners.batches import Batches, Collected, Ready
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
from perdure.learners.network import NetworkLearner
from perdure.learners.replay import Batch, Draws, Replay, ReplayLearner, ReplayState, gather_batches, move_arriving
from perdure.memory.buffer import (
    LARGEST_COUNT,
    Buffer,
    capacity,
    draw_distinct_slots,
    draw_slot,
    draw_slots,
    drawn_mask,
    empty_buffer,
    filled,
    first_slot,
    offer,
    recall,
    ring_slot,
    sample,
    store,
)
from perdure.memory.task_rings import TaskRings, draw_past, empty_rings, ring, store_in_ring
from perdure.models import split_trainable
from perdure.updates.branches import change_where_needed
from perdure.updates.distillation import distillation
from perdure.updates.gradient import (
    Gradient,
    Optimizer,
    TrainState,
    example_gradient,
    example_loss,
    init_train_state,
    optimizer_step,
    or_sgd,
    predict_batch,
    predict_by_task,
    predict_one,
    sgd_step,
    weighted_gradient,
)
from perdure.updates.losses import CrossEntropyWithinTask, Loss, cross_entropy, mean_squared_error, or_cross_entropy
from perdure.updates.projection import average_projection, project
from perdure.updates.reference import projected_step
from perdure.updates.reptile import reptile_step
from perdure.updates.weights import equal_weights

__all__ = [
    "LARGEST_COUNT",
    "AnyArray",
    "Batch",
    "BatchReplayLearner",
    "Batches",
    "Buffer",
    "Collected",
    "CrossEntropyWithinTask",
    "Draws",
    "Example",
    "Gradient",
    "Info",
    "Learner",
    "Loss",
    "NetworkLearner",
    "Optimizer",
    "Rate",
    "Ready",
    "Replay",
    "ReplayLearner",
    "ReplayState",
    "StreamInfo",
    "TaskRings",
    "TrainState",
    "as_features",
    "average_projection",
    "capacity",
    "change_where_needed",
    "check_example",
    "check_hyperparameters",
    "cross_entropy",
    "distillation",
    "draw_distinct_slots",
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
    "first_slot",
    "flag",
    "gather_batches",
    "init_train_state",
    "integer",
    "known_stream_info",
    "loss_field",
    "mean_squared_error",
    "move_arriving",
    "offer",
    "optimizer_field",
    "optimizer_step",
    "or_cross_entropy",
    "or_sgd",
    "predict_batch",
    "predict_by_task",
    "predict_one",
    "project",
    "projected_step",
    "rate",
    "recall",
    "reptile_step",
    "ring",
    "ring_slot",
    "sample",
    "sgd_step",
    "split_trainable",
    "store",
    "store_in_ring",
    "stream_info_field",
    "weighted_gradient",
]
