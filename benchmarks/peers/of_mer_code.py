"""The code that the authors of MER released, on a stream: what `run.py` runs in an environment of its own."""

from __future__ import annotations

import importlib
import random
import sys
from argparse import Namespace

import numpy as np
import torch
from streams import Clock, Task, arguments, read_tasks, report

METHODS = {"online": "online", "er": "eralg4", "ewc": "ewc", "gem": "gem", "mer": "meralg1"}
NETWORK = {"n_layers": 2, "n_hiddens": 100, "cuda": False, "data_file": "mnist_permutations.pt", "finetune": "no"}


def main() -> None:
    """Learn the stream with batches of one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what the code draws from
    random.seed(0)
    given = arguments(list(METHODS))
    sys.path.insert(0, str(given.clone))
    tasks = read_tasks(given.stream)
    module = importlib.import_module(f"model.{METHODS[given.method]}")
    network = module.Net(784, 10, len(tasks), Namespace(**NETWORK, **given.values))
    clock = Clock()

    def learn(number: int, task: Task) -> None:
        network.train()
        examples = zip(torch.as_tensor(task.x), torch.as_tensor(task.y).long(), strict=True)
        with clock.running():
            for x, y in examples:
                network.observe(x[None], number, y[None])
        network.eval()

    def classify(number: int, x: object) -> object:
        with torch.no_grad():
            return network(torch.as_tensor(x), number).argmax(1).numpy()

    report(tasks, learn, classify, clock)


main()
