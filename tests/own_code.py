"""Own code as users write it: a learner, a stream and a network, each in a file."""

LEARNER = '''
from typing import Any, NamedTuple

from perdure.learn import (
    Info, Loss, NetworkLearner, Optimizer, example_gradient, integer, loss_field, optimizer_field, or_cross_entropy,
    predict_one, rate, sgd_step,
)


class MyState(NamedTuple):
    model: Any


class MyLearner(NetworkLearner[MyState]):
    """SGD with a field of its own."""

    needs_task = False

    learning_rate: float = rate("learning rate")
    my_field: int = integer("a field", 2)
    loss: Loss | None = loss_field()
    optimizer: Optimizer | None = optimizer_field()

    def init(self, model, example, key):
        return MyState(model)

    def observe(self, state, example, key):
        gradient = example_gradient(state.model, example.x, example.y, or_cross_entropy(self.loss))
        model = sgd_step(gradient.model, gradient.grads, self.learning_rate)
        return MyState(model), Info(gradient.loss, predict_one(state.model, example.x))

    def answering(self, state):
        return state.model


class Plain(NetworkLearner[MyState]):
    """SGD whose fields are annotated only."""

    needs_task = False

    learning_rate: float
    share: float = 1
    steps: int = 1
    backwards: bool = False
    part: str = "all"
    loss: Loss | None = loss_field()

    def init(self, model, example, key):
        return MyState(model)

    def answering(self, state):
        return state.model

    def observe(self, state, example, key):
        assert self.part in ("all", "none")
        sign = -1.0 if self.backwards else 1.0
        for _ in range(self.steps):
            gradient = example_gradient(state.model, example.x, example.y, or_cross_entropy(self.loss))
            model = sgd_step(gradient.model, gradient.grads, sign * self.share * self.learning_rate)
        return MyState(model), Info(gradient.loss, predict_one(state.model, example.x))


class Unfinished(NetworkLearner[MyState]):
    needs_task = False

    def init(self, model, example, key):
        return MyState(model)


number = 5
'''

STREAM = """
import numpy as np

from perdure import from_arrays


def make(seed, tasks=2):
    rng = np.random.default_rng(seed)

    def part(n):
        x = rng.normal(size=(n, 4)).astype("float32")
        return x, (x.sum(axis=1) > 0).astype(int)

    return from_arrays([part(8) for _ in range(tasks)], [part(6) for _ in range(tasks)], name="sums")
"""

ENVIRONMENT = """
import gymnasium


def car():
    return gymnasium.make("MountainCar-v0", max_episode_steps=10)


number = 5
"""

NET = """
from perdure.models import MLP


def Net(example, n_outputs, key):
    return MLP(example.x.size, n_outputs, (8,), key=key)
"""


def write_own_code(folder):
    """Write my_method.py, my_stream.py, my_net.py and my_env.py into a folder."""
    for name, text in (("my_method", LEARNER), ("my_stream", STREAM), ("my_net", NET), ("my_env", ENVIRONMENT)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def forget(modules, folder):
    """Forget modules that were loaded from a folder, as a new process would."""
    for name, module in list(modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del modules[name]
