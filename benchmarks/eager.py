"""Methods as loops of plain PyTorch, written the obvious way: what perdure's speed is compared to.

Each function learns a stream once, one example after another, and changes the network in place. They are the
published algorithms, with nothing left out and nothing made faster than a careful reader of the papers would. Examples
before `first` only enter the memory.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import quadprog
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss


class Stream(NamedTuple):
    """Examples in order of arrival."""

    x: Tensor
    """Inputs as floats (N, d)."""
    y: Tensor
    """Labels (N,)."""
    task: list[int]
    """Task of each example."""


def perceptron(weights: Sequence[Sequence[Tensor]]) -> nn.Sequential:
    """Return a perceptron with ReLU between layers of the given weights (out, in) and biases (out,)."""
    layers: list[nn.Module] = []
    for weight, bias in weights:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Buffer:
    """A uniform sample of the examples seen."""

    def __init__(self, size: int, n: int = 0):
        """Begin with the first n examples offered."""
        self.size = size
        self.held: list[int] = []
        self.seen = 0
        for example in range(n):
            self.add(example)

    def add(self, example: int) -> None:
        """Offer the example of this number."""
        self.seen += 1
        if len(self.held) < self.size:
            self.held.append(example)
        elif (slot := random.randrange(self.seen)) < self.size:
            self.held[slot] = example

    def draw(self, n: int) -> list[int]:
        """Draw `n` of those held, with replacement, at most as many as there are."""
        return random.choices(self.held, k=min(n, len(self.held))) if self.held else []

    def draw_different(self, n: int) -> list[int]:
        """Draw `n` of those held, no one twice, at most as many as there are."""
        return random.sample(self.held, min(n, len(self.held)))


def sgd_step(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Take one step down the mean loss of a batch."""
    optimizer.zero_grad()
    cross_entropy(network(x), y).backward()
    optimizer.step()


def copy_of(network: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for weight in network.parameters()]


@torch.no_grad()
def reptile_step(network: nn.Module, before: list[Tensor], rate: float) -> None:
    """Go only the fraction `rate` of the way from the weights before."""
    for weight, old in zip(network.parameters(), before, strict=True):
        weight.copy_(old + rate * (weight - old))


def mer(
    network: nn.Module,
    stream: Stream,
    *,
    learning_rate: float,
    memory_size: int,
    replay_batch_size: int,
    beta: float,
    gamma: float,
    batches_per_example: int,
    first: int = 0,
) -> None:
    """Meta-Experience Replay (Riemer et al. 2019, Algorithm 1)."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    memory = Buffer(memory_size, first)
    for n in range(first, len(stream.y)):
        before_example = copy_of(network)
        for _ in range(batches_per_example):
            before_batch = copy_of(network)
            for example in [n, *memory.draw(replay_batch_size)]:
                sgd_step(network, optimizer, stream.x[example : example + 1], stream.y[example : example + 1])
            reptile_step(network, before_batch, beta)
        reptile_step(network, before_example, gamma)
        memory.add(n)


def er(
    network: nn.Module,
    stream: Stream,
    *,
    learning_rate: float,
    memory_size: int,
    replay_batch_size: int,
    first: int = 0,
) -> None:
    """Experience replay (Riemer et al. 2019, Algorithm 4): one step on the mean loss of the example and memories."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    memory = Buffer(memory_size, first)
    for n in range(first, len(stream.y)):
        batch = [n, *memory.draw(replay_batch_size)]
        sgd_step(network, optimizer, stream.x[batch], stream.y[batch])
        memory.add(n)


def der_plus_plus(
    network: nn.Module,
    stream: Stream,
    *,
    learning_rate: float,
    memory_size: int,
    replay_batch_size: int,
    alpha: float,
    beta: float,
    first: int = 0,
) -> None:
    """DER++ (Buzzega et al. 2020): memories keep the outputs given for them, and labels."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    memory = Buffer(memory_size, first)
    with torch.no_grad():
        stored = {n: network(stream.x[n]) for n in memory.held}
    for n in range(first, len(stream.y)):
        optimizer.zero_grad()
        outputs = network(stream.x[n : n + 1])
        loss = cross_entropy(outputs, stream.y[n : n + 1])
        if memory.held:
            drawn = memory.draw_different(replay_batch_size)
            kept = torch.stack([stored[it] for it in drawn])
            loss = loss + alpha * mse_loss(network(stream.x[drawn]), kept)
            drawn = memory.draw_different(replay_batch_size)
            loss = loss + beta * cross_entropy(network(stream.x[drawn]), stream.y[drawn])
        loss.backward()
        optimizer.step()
        stored[n] = outputs[0].detach()
        memory.add(n)


def er_ace(
    network: nn.Module,
    stream: Stream,
    *,
    learning_rate: float,
    memory_size: int,
    replay_batch_size: int,
    first: int = 0,
) -> None:
    """ER-ACE (Caccia et al. 2022): the arriving example among its own class alone, memories among all classes."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    memory = Buffer(memory_size, first)
    for n in range(first, len(stream.y)):
        optimizer.zero_grad()
        outputs = network(stream.x[n : n + 1])
        absent = torch.ones_like(outputs, dtype=torch.bool)
        absent[:, stream.y[n]] = False
        loss = cross_entropy(outputs.masked_fill(absent, -1e9), stream.y[n : n + 1])
        if memory.held:
            drawn = memory.draw_different(replay_batch_size)
            loss = loss + cross_entropy(network(stream.x[drawn]), stream.y[drawn])
        loss.backward()
        optimizer.step()
        memory.add(n)


def cls_er(
    network: nn.Module,
    stream: Stream,
    *,
    learning_rate: float,
    memory_size: int,
    replay_batch_size: int,
    consistency: float,
    plastic_probability: float,
    plastic_decay: float,
    stable_probability: float,
    stable_decay: float,
    first: int = 0,
) -> nn.Module:
    """CLS-ER (Arani, Sarfraz & Zonooz 2022): replay kept near a quick and a slow average; return the slow one."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    plastic, stable = deepcopy(network), deepcopy(network)
    averages = ((plastic, plastic_probability, plastic_decay), (stable, stable_probability, stable_decay))
    memory = Buffer(memory_size, first)
    for step, n in enumerate(range(first, len(stream.y)), start=1):
        optimizer.zero_grad()
        drawn = memory.draw_different(replay_batch_size)
        batch = [n, *drawn]
        loss = cross_entropy(network(stream.x[batch]), stream.y[batch])
        if drawn:
            x, y = stream.x[drawn], stream.y[drawn]
            with torch.no_grad():
                quick, slow = plastic(x), stable(x)
                better = cross_entropy(slow, y, reduction="none") < cross_entropy(quick, y, reduction="none")
                target = torch.where(better[:, None], slow, quick)
            loss = loss + consistency * mse_loss(network(x), target)
        loss.backward()
        optimizer.step()
        memory.add(n)
        for average, probability, decay in averages:
            if random.random() < probability:
                with torch.no_grad():
                    for old, new in zip(average.parameters(), network.parameters(), strict=True):
                        old.lerp_(new, 1 - min(1 - 1 / (step + 1), decay))
    return stable


def ewc(network: nn.Module, stream: Stream, *, learning_rate: float, fisher_examples: int, strength: float) -> None:
    """Elastic weight consolidation (Kirkpatrick et al. 2017), one penalty a past task."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    past: list[tuple[list[Tensor], list[Tensor]]] = []
    began = 0
    for n, task in enumerate(stream.task):
        if task != stream.task[began]:
            optimizer.zero_grad()
            first = slice(began, min(began + fisher_examples, n))
            cross_entropy(network(stream.x[first]), stream.y[first]).backward()
            began = n
            fisher = [weight.grad.detach() ** 2 for weight in network.parameters() if weight.grad is not None]
            past.append((fisher, copy_of(network)))
        optimizer.zero_grad()
        loss = cross_entropy(network(stream.x[n : n + 1]), stream.y[n : n + 1])
        for fisher, anchor in past:
            for weight, importance, old in zip(network.parameters(), fisher, anchor, strict=True):
                loss = loss + strength * (importance * (weight - old) ** 2).sum()
        loss.backward()
        optimizer.step()


def gem(
    network: nn.Module,
    stream: Stream,
    *,
    learning_rate: float,
    memories_per_task: int,
    margin: float,
    first: int = 0,
) -> None:
    """Gradient episodic memory (Lopez-Paz & Ranzato 2017)."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    memories: list[list[int]] = [[] for _ in range(stream.task[-1] + 1)]
    for n, task in enumerate(stream.task):
        memories[task] = [*memories[task], n][-memories_per_task:]
        if n < first:
            continue
        past = [gradient(network, stream.x[held], stream.y[held]) for held in memories[:task]]
        own = gradient(network, stream.x[n : n + 1], stream.y[n : n + 1])
        if past and bool((torch.stack(past) @ own < 0).any()):
            own = projected(own, torch.stack(past), margin)
        set_gradient(network, own)
        optimizer.step()


def a_gem(
    network: nn.Module,
    stream: Stream,
    *,
    learning_rate: float,
    memories_per_task: int,
    replay_batch_size: int,
    first: int = 0,
) -> None:
    """Averaged GEM (Chaudhry et al. 2019): one constraint, from memories of all past tasks."""
    optimizer = torch.optim.SGD(network.parameters(), learning_rate)
    memories: list[list[int]] = [[] for _ in range(stream.task[-1] + 1)]
    for n, task in enumerate(stream.task):
        if n >= first:
            own = gradient(network, stream.x[n : n + 1], stream.y[n : n + 1])
            if task:
                drawn = random.choices([it for held in memories[:task] for it in held], k=replay_batch_size)
                past = gradient(network, stream.x[drawn], stream.y[drawn])
                if (product := past @ own) < 0:
                    own = own - product / (past @ past) * past
            set_gradient(network, own)
            optimizer.step()
        memories[task] = [*memories[task], n][-memories_per_task:]


def gradient(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the mean loss, all weights in a row."""
    network.zero_grad()
    cross_entropy(network(x), y).backward()
    return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])


def set_gradient(network: nn.Module, gradient: Tensor) -> None:
    weights = list(network.parameters())
    for weight, part in zip(weights, gradient.split([weight.numel() for weight in weights]), strict=True):
        weight.grad = part.view_as(weight).clone()


def projected(own: Tensor, past: Tensor, margin: float) -> Tensor:
    """Return the gradient nearest to one's own that agrees with all past ones (the paper's equation 11)."""
    past64, own64 = past.double().numpy(), own.double().numpy()
    unit, least = np.eye(len(past)), np.full(len(past), margin)
    dual = quadprog.solve_qp(past64 @ past64.T + 1e-3 * unit, -past64 @ own64, unit, least)[0]
    return torch.as_tensor(dual @ past64 + own64, dtype=own.dtype)


def la_maml(
    network: nn.Sequential,
    stream: Stream,
    *,
    initial_rate: float,
    rate_learning_rate: float,
    clip_norm: float,
    memory_size: int,
    replay_batch_size: int,
    batch_size: int,
    glances: int,
    first: int = 0,
) -> None:
    """La-MAML to first order (Gupta et al. 2020), as its released code has it: an outer loss after each inner step."""
    weights = list(network.parameters())
    rates = [torch.full_like(weight, initial_rate, requires_grad=True) for weight in weights]
    optimizer = torch.optim.SGD(rates, rate_learning_rate)
    memory = Buffer(memory_size, first)
    for start in range(first, len(stream.y), batch_size):
        batch = list(range(start, min(start + batch_size, len(stream.y))))
        for glance in range(glances):
            random.shuffle(batch)
            outer = [*memory.draw(replay_batch_size), *batch]
            fast: Sequence[Tensor] = weights
            losses = []
            for n in batch:
                inner = cross_entropy(perceptron_outputs(fast, stream.x[n : n + 1]), stream.y[n : n + 1])
                steps = torch.autograd.grad(inner, list(fast))
                fast = [weight - torch.relu(rate) * by for weight, rate, by in zip(fast, rates, steps, strict=True)]
                if glance == 0:
                    memory.add(n)
                losses.append(cross_entropy(perceptron_outputs(fast, stream.x[outer]), stream.y[outer]))
            network.zero_grad()
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            torch.nn.utils.clip_grad_norm_(weights, clip_norm)
            torch.nn.utils.clip_grad_norm_(rates, clip_norm)
            optimizer.step()
            with torch.no_grad():
                for weight, rate in zip(weights, rates, strict=True):
                    assert weight.grad is not None
                    weight -= torch.relu(rate) * weight.grad


def perceptron_outputs(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the outputs of a perceptron of these weights and biases, one layer's after another's."""
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = torch.relu(torch.nn.functional.linear(x, weight, bias))
    return torch.nn.functional.linear(x, *weights[-2:])
