"""Methods of Avalanche on a stream: what `run.py` runs in an environment of its own."""

# pyright: reportMissingImports=false
# It runs where the library is, which is not here.

from __future__ import annotations

import torch
from avalanche.benchmarks import tensors_benchmark
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.supervised import AGEM, EWC, GEM, MER, Naive
from network import classes, perceptron
from streams import Clock, Task, arguments, read_tasks, report

METHODS = {"online": Naive, "er": Naive, "a-gem": AGEM, "ewc": EWC, "gem": GEM, "mer": MER}


def main() -> None:
    """Learn the stream with batches of one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = arguments(list(METHODS))
    tasks = read_tasks(given.stream)
    benchmark = tensors_benchmark(
        train_tensors=[(torch.as_tensor(it.x), torch.as_tensor(it.y).long()) for it in tasks],
        test_tensors=[(torch.as_tensor(it.test_x), torch.as_tensor(it.test_y).long()) for it in tasks],
        task_labels=[0] * len(tasks),
        complete_test_set_only=False,
    )
    network, values = perceptron(), dict(given.values)
    # Its strategy Replay draws as many memories as there are new examples; the plugin takes their number.
    plugins = (
        [ReplayPlugin(values.pop("mem_size"), batch_size_mem=values.pop("batch_size_mem"))]
        if given.method == "er"
        else []
    )
    strategy = METHODS[given.method](
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), values.pop("lr")),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=1,
        train_epochs=1,
        evaluator=EvaluationPlugin(loggers=[]),
        plugins=plugins,
        **values,
    )
    clock = Clock()
    experiences = list(benchmark.train_stream)

    def learn(number: int, task: Task) -> None:
        with clock.running():
            strategy.train(experiences[number], shuffle=False, num_workers=0)
        network.eval()

    report(tasks, learn, lambda number, x: classes(network, x), clock)


main()
