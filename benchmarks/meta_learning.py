"""How fast meta-steps are, beside plain PyTorch: ``python benchmarks/meta_learning.py``.

Both sides take a step of the small Omniglot preset (3 classes of 5 images, 30 query images) on the same made-up
images, in turn, medians of several rounds. PyTorch in two ways: as the released code does it, which computes an image's
features again at every inner step and the loss of the query images after every one; and with features computed
once. The sine meta-step has the released code's default size: 10 functions of 5 steps, 51 inputs, 400 units.

An episode of GeMCL has 20 classes of 20 images, 5 of them learned, through four blocks of 64 filters, on both sides as
the preset has them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from perdure.cli.jax_settings import configure_jax

configure_jax()

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from perdure.experiments.representations.job import take_steps
from perdure.representation.blocks import Block
from perdure.representation.closed_form import GeMCL
from perdure.representation.domains import Domain, ImageClasses, SinePool
from perdure.representation.episodes import SineEpisodes
from perdure.representation.oml import OML, Method
from perdure.streams.sine import draw_sines
from perdure.updates.gradient import init_train_state

ROUNDS, STEPS = 7, 10
INNER, META = 0.03, 1e-4
K, ASKED, OUTPUTS, FEATURES = 15, 30, 1000, 1024
STRIDES = (1, 2, 1, 2)
GEMCL_SMALL = ((64, 1, True), (64, 1, True), (64, 1, True), (64, 1, False))
"""Blocks of the small preset: filters, stride and whether they pool."""
EPISODE, LEARNED = 20, 5


def ours(domain: Domain, method: Method) -> Callable[[], None]:
    """Return what takes some meta-steps, compiled."""
    now = init_train_state(method.new_model(domain, jax.random.key(0)), method.optimizer())
    method, domain = jax.tree.map(jnp.asarray, (method, domain))
    key = jax.random.key(1)

    def steps() -> None:
        nonlocal now
        now, _ = jax.block_until_ready(take_steps(method, domain, now, key, jnp.asarray(0), jnp.asarray(STEPS)))

    steps()
    return steps


def eager_images(*, released: bool) -> Callable[[], None]:
    """Return what takes some meta-steps in PyTorch, as the released code does or with features computed once."""
    generator = torch.Generator().manual_seed(0)
    depths = [1, 64, 64, 64]
    filters = [torch.randn(64, depth, 3, 3, generator=generator) * (2 / (9 * depth)) ** 0.5 for depth in depths]
    weights: list[torch.Tensor] = [leaf for it in filters for leaf in (it, torch.zeros(64))]
    weights += [torch.randn(OUTPUTS, FEATURES, generator=generator) * (2 / FEATURES) ** 0.5, torch.zeros(OUTPUTS)]
    for leaf in weights:
        leaf.requires_grad_()
    adam = torch.optim.Adam(weights, lr=META)
    images = torch.rand(K + ASKED, 1, 28, 28, generator=generator)
    labels = torch.randint(0, OUTPUTS, (K + ASKED,), generator=generator)

    def encode(x: torch.Tensor) -> torch.Tensor:
        for n, stride in enumerate(STRIDES):
            x = F.relu(F.conv2d(x, weights[2 * n], weights[2 * n + 1], stride))
        return x.flatten(1)

    def head(x: torch.Tensor, fast: list[Any]) -> torch.Tensor:
        return F.linear(x, *fast)

    def step() -> None:
        fast: list[Any] = weights[-2:]
        features = None if released else encode(images)
        query = features[K:] if features is not None else None
        loss = torch.zeros(())
        for n in range(K):
            one = encode(images[n : n + 1]) if features is None else features[n : n + 1]
            inner = F.cross_entropy(head(one, fast), labels[n : n + 1])
            slopes = torch.autograd.grad(inner, fast, create_graph=True)
            fast = [leaf - INNER * slope for leaf, slope in zip(fast, slopes, strict=True)]
            if query is None:
                loss = F.cross_entropy(head(encode(images[K:]), fast), labels[K:])
        if query is not None:
            loss = F.cross_entropy(head(query, fast), labels[K:])
        adam.zero_grad()
        loss.backward()
        adam.step()

    def steps() -> None:
        for _ in range(STEPS):
            step()

    return steps


def eager_gemcl() -> Callable[[], None]:
    """Return what takes some steps of GeMCL in PyTorch."""
    generator = torch.Generator().manual_seed(0)
    layers: list[torch.nn.Module] = []
    depth = 1
    for width, stride, pools in GEMCL_SMALL:
        layers += [torch.nn.Conv2d(depth, width, 3, stride, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
        layers += [torch.nn.MaxPool2d(2)] if pools else []
        depth = width
    encoder = torch.nn.Sequential(*layers, torch.nn.Flatten())
    prior = torch.zeros(2, requires_grad=True)  # logarithms of shape and rate
    adam = torch.optim.Adam([*encoder.parameters(), prior], lr=META)
    images = torch.rand(900, 20, 1, 28, 28, generator=generator)
    labels = torch.arange(EPISODE).repeat_interleave(20 - LEARNED)

    def step() -> None:
        shown = images[torch.randperm(900, generator=generator)[:EPISODE]]
        features = encoder(shown.flatten(0, 1)).unflatten(0, (EPISODE, 20))
        learned, query = features[:, :LEARNED], features[:, LEARNED:].flatten(0, 1)
        shape, rate = prior.exp()
        mean = learned.mean(1)
        alpha = shape + LEARNED / 2
        beta = rate + ((learned - mean[:, None]) ** 2).sum(1) / 2
        freedom, scale = 2 * alpha, (beta * (LEARNED + 1) / (alpha * LEARNED)).sqrt()
        scores = torch.distributions.StudentT(freedom, mean, scale).log_prob(query[:, None]).sum(2)
        loss = F.cross_entropy(scores, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()

    def steps() -> None:
        for _ in range(STEPS):
            step()

    steps()
    return steps


def medians(**sides: Callable[[], None]) -> dict[str, float]:
    """Return milliseconds of a meta-step of each side, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, steps in sides.items():
            began = time.perf_counter()
            steps()
            times[name].append(1e3 * (time.perf_counter() - began) / STEPS)
    return {name: statistics.median(values) for name, values in times.items()}


def measure() -> dict[str, float]:
    """Return milliseconds of a meta-step: perdure's, PyTorch's `released` and `once`, and perdure's on sine waves."""
    pixels = np.random.default_rng(0).integers(0, 256, (900, 20, 28, 28), dtype=np.uint8)
    images = ImageClasses(pixels, pixels[:20], strides=STRIDES)
    took = medians(
        perdure=ours(images, OML(INNER, META)),
        released=eager_images(released=True),
        once=eager_images(released=False),
    )
    episodes = SineEpisodes(functions=10, steps_each=5, batch_size=10, numbers=50)
    sines = SinePool(draw_sines(400, jax.random.key(0)), episodes, widths=(400,) * 5)
    took |= medians(sine=ours(sines, OML(0.003, META, clip=10.0)))
    blocks = ImageClasses(pixels, pixels[:20], blocks=tuple(Block(*it) for it in GEMCL_SMALL))
    return took | medians(gemcl=ours(blocks, GeMCL(META)), gemcl_eager=eager_gemcl())


if __name__ == "__main__":
    took = measure()
    print(f"small Omniglot meta-step: perdure {took['perdure']:.1f} ms")
    for side, words in (("released", "as released"), ("once", "features once")):
        print(f"  PyTorch, {words}: {took[side]:.1f} ms, {took[side] / took['perdure']:.1f} times")
    print(f"sine meta-step of the released default size: {took['sine']:.1f} ms")
    ratio = took["gemcl_eager"] / took["gemcl"]
    print(f"GeMCL's episode: perdure {took['gemcl']:.1f} ms, PyTorch {took['gemcl_eager']:.1f} ms, {ratio:.1f} times")
