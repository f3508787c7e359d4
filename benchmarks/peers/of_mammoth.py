"""Methods of Mammoth on a stream: what `run.py` runs in an environment of its own."""

# pyright: reportMissingImports=false
# It runs where the library is, which is not here.

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from streams import Clock, Task, arguments, read_tasks, report  # noqa: I001 - Mammoth's folder has modules of the same names

import torch
from network import classes, perceptron

METHODS = {"online": "sgd", "er": "er", "a-gem": "agem", "ewc": "ewc_on", "gem": "gem", "mer": "mer"}


def main() -> None:
    """Learn the stream with batches of one."""
    torch.set_num_threads(1)
    given = arguments(list(METHODS))
    tasks = read_tasks(given.stream.resolve())
    sys.path.insert(0, str(given.clone.resolve().parent))
    os.chdir(given.clone)  # it looks for its parts there
    model, dataset = _made(METHODS[given.method], given.values, len(tasks))
    clock = Clock()

    def learn(number: int, task: Task) -> None:
        x, y = torch.as_tensor(task.x), torch.as_tensor(task.y).long()
        examples: Any = [(it, label, it) for it, label in zip(x, y, strict=True)]
        dataset.train_loader = torch.utils.data.DataLoader(examples, batch_size=1)
        model.net.train()
        with clock.running():
            model.meta_begin_task(dataset)
            for n in range(len(y)):
                model.meta_observe(x[n : n + 1], y[n : n + 1], x[n : n + 1], epoch=0)
            model.meta_end_task(dataset)
        model.net.eval()

    report(tasks, learn, lambda number, x: classes(model.net, x), clock)


def _made(name: str, values: dict, n_tasks: int) -> tuple:
    from mammoth import ContinualDataset, MammothBackbone, load_runner, register_backbone, register_dataset

    class Perceptron(MammothBackbone):
        def __init__(self):
            super().__init__()
            self.layers = perceptron()

        def forward(self, x, returnt="out"):
            return self.layers(x)

    register_backbone(name="perceptron-of-the-paper")(lambda num_classes: Perceptron())

    @register_dataset(name="the-stream")
    class Stream(ContinualDataset):
        NAME, SETTING, N_CLASSES_PER_TASK, N_TASKS, SIZE = "the-stream", "domain-il", 10, n_tasks, (784,)

        def get_data_loaders(self):
            raise NotImplementedError("examples are given one by one")

        @staticmethod
        def get_backbone():
            return "perceptron-of-the-paper"

        @staticmethod
        def get_transform():
            return None

        get_normalization_transform = get_denormalization_transform = get_transform

        @staticmethod
        def get_loss():
            return torch.nn.functional.cross_entropy

    settings = {"n_epochs": 1, "batch_size": 1, "seed": 0, "backbone": "perceptron-of-the-paper"}
    model, dataset = load_runner(name, "the-stream", settings | values)
    if "minibatch_size" in values:  # where a batch size is given, Mammoth draws as many memories, whatever this says
        model.args.minibatch_size = values["minibatch_size"]
    return model, dataset


main()
