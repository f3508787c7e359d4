"""Evaluating representations: the meta-test's sweep and runs, divided among the devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from perdure.core import AnyArray
from perdure.execution.division import Division, seed_devices
from perdure.learners.ridge import Ridge
from perdure.models import MLP
from perdure.records.evaluation import ORDERS, ClassResult, SineResult
from perdure.representation.class_protocol import N_TRAIN, RATES, ClassScores, class_run, closed_form_run
from perdure.representation.file import load_representation
from perdure.representation.heads import HEADS_OF_NUMBERS, RIDGE, SGD, closed_form_head
from perdure.representation.network import (
    DenseEncoder,
    ImageEncoder,
    Representation,
    encode,
    learning_network,
    n_inputs,
)
from perdure.representation.sine_protocol import SineTrajectory, closed_form_sine_runs, sine_runs
from perdure.streams.conversion import as_array
from perdure.streams.omniglot import load_omniglot
from perdure.streams.sine import draw_sines, sine_examples

SWEEP_RUNS = 5
SINE_RATES = (0.03, 0.01, 0.003, 0.001, 0.0003)
"""Of SGD on the head; the published one is 0.003."""
SINE_PENALTIES = (0.01, 1e-3, 1e-4, 1e-5, 1e-6)
"""Of ridge regression."""
_PUBLISHED = SineTrajectory()
N_LOOKED_AT = 900
"""Characters over which statistics of features are taken, as in the released code."""
_TOGETHER = 10
"""Runs per program: progress is reported in between."""


def n_runs(rates: Sequence[float], runs: int) -> int:
    """Return how many runs the sweep and the runs themselves are."""
    return SWEEP_RUNS * len(rates) + runs


def evaluate_classes(
    model: Representation,
    images: Any,
    counts: Sequence[int],
    *,
    runs: int = 50,
    head: str = SGD,
    rates: Sequence[float] = RATES,
    n_train: int = N_TRAIN,
    order: str = "sorted",
    iid_passes: int | None = None,
    seed: int = 0,
    report: Callable[[int], object] = lambda n: None,
) -> list[ClassResult]:
    """Return how well a representation serves to learn classes one after another, for each number of classes.

    For each number and the head "sgd": a sweep of `SWEEP_RUNS` class sets with every rate; the rate that is best most
    often, by accuracy on the learned images, is used for the runs, each of which has classes of its own. Heads in
    closed form have no rate, hence no sweep. Features are computed once.

    Source: Javed & White (2019), section 4.2, and their released code. Accuracy is the mean over images, where the
    released code takes that over batches of 32, the last of which may be smaller.

    Args:
        model: the representation.
        images: of the evaluation classes, (classes, images, height, width).
        counts: numbers of classes to learn.
        runs: of each number of classes.
        head: what learns, one of `perdure.representation.heads.HEADS`.
        rates: of the sweep, from large to small.
        n_train: images of a class to learn; the others are held out.
        order: of the classes: "sorted" by their numbers, or "random", for each run another one.
        iid_passes: passes over the images in random order, instead of one in order: the Oracle.
        seed: of class sets, heads and orders.
        report: is called after every few runs with their number; there are as many as `n_runs` says.

    Raises:
        ValueError: if there are too few classes, images or outputs, images of another size or depth, or features that
            are not finite.
    """
    images = as_array("images", images)
    if images.ndim < 3:
        raise ValueError(
            f"images has shape {images.shape}, expected (classes, images, height, width), as many images of each class"
        )
    if not len(rates):
        raise ValueError("rates is empty, expected one or more rates to try, such as (0.01, 0.001)")
    check_classes(model, images, counts, heads=[head], runs=runs, n_train=n_train, iid_passes=iid_passes)
    if order not in ORDERS:
        raise ValueError(f"order = {order!r}, expected one of {', '.join(ORDERS)}")
    options = {"runs": runs, "n_train": n_train, "order": order, "seed": seed}
    features = features_by_class(model, images)
    if head == SGD:
        options |= {"rates": rates, "iid_passes": iid_passes}
        return list(sgd_results(learning_network(model, len(images)), features, counts, **options, report=report))
    return list(closed_form_results(head, model, features, counts, **options, report=report))


def check_classes(
    model: Representation,
    images: Shaped[AnyArray, "classes images ..."],
    counts: Sequence[int],
    *,
    heads: Sequence[str],
    runs: int,
    n_train: int = N_TRAIN,
    iid_passes: int | None = None,
) -> None:
    """Check the arguments of `evaluate_classes`, which tells what is raised."""
    n_classes, n_images = images.shape[:2]
    if not counts or min(counts) < 1 or max(counts) > n_classes:
        wrong = next((it for it in counts if not 1 <= it <= n_classes), "none")
        raise ValueError(f"classes is {wrong}, expected 1 to {n_classes}, as many as there are")
    for head in heads:
        if head != SGD:
            closed_form_head(head, model)
    if SGD in heads:
        n_outputs = learning_network(model, n_classes).layers[-1].weight.shape[0]
        if n_classes > n_outputs:
            raise ValueError(f"there are {n_classes} classes, but the head has {n_outputs} outputs; give fewer classes")
    if iid_passes is not None:
        _check_oracle(heads)
    if not 0 < n_train < n_images:
        raise ValueError(
            f"{n_train} of {n_images} images of each class were to be learned, expected at least one on either side"
        )
    if runs < 1 or (iid_passes is not None and iid_passes < 1):
        raise ValueError(f"runs = {runs} and iid_passes = {iid_passes}, expected numbers ≥ 1")


def sgd_results(
    head: MLP,
    features: Float[Array, "classes images d"],
    counts: Sequence[int],
    *,
    runs: int,
    rates: Sequence[float] = RATES,
    n_train: int = N_TRAIN,
    order: str = "sorted",
    iid_passes: int | None = None,
    seed: int = 0,
    report: Callable[[int], object],
) -> Iterator[ClassResult]:
    """Yield what `evaluate_classes` returns for a network, one by one; the arguments must have been checked."""
    one = partial(class_run, n_train=n_train, iid_passes=iid_passes)
    for count in counts:
        sweep_key, run_key = _keys_of(seed, count)

        def play(key: Array, n_sets: int, tried: Sequence[float], count: int = count) -> ClassScores:
            keys = jax.random.split(key, n_sets)
            drawn = _class_sets(len(features), count, keys, order)
            sets = (jnp.repeat(leaf, len(tried), axis=0) for leaf in (drawn, keys))
            chosen, keys = sets
            return _play(one, (features, head), (chosen, jnp.tile(jnp.asarray(tried), n_sets), keys), report)

        swept = np.asarray(play(sweep_key, SWEEP_RUNS, rates).trajectory).reshape(SWEEP_RUNS, len(rates))
        rate = chosen_rate(swept, rates)
        yield ClassResult(SGD, count, rate, *map(np.asarray, play(run_key, runs, [rate])))


def closed_form_results(
    name: str,
    model: Representation,
    features: Float[Array, "classes images d"],
    counts: Sequence[int],
    *,
    runs: int,
    n_train: int = N_TRAIN,
    order: str = "sorted",
    seed: int = 0,
    report: Callable[[int], object],
) -> Iterator[ClassResult]:
    """Yield what `evaluate_classes` returns for a head in closed form, on the same class sets as for a network."""
    head = jax.tree.map(jnp.asarray, closed_form_head(name, model))
    one = partial(closed_form_run, n_train=n_train)
    for count in counts:
        keys = jax.random.split(_keys_of(seed, count)[1], runs)
        scores = _play(one, (features, head), (_class_sets(len(features), count, keys, order), keys), report)
        yield ClassResult(name, count, None, *map(np.asarray, scores))


def _keys_of(seed: int, count: int) -> Array:
    """Return the keys of the sweep and of the runs for a number of classes."""
    return jax.random.split(jax.random.fold_in(jax.random.key(seed), count))


def drawn_classes(
    n_classes: int, count: int, *, head: str, runs: int, order: str, seed: int
) -> Int[np.ndarray, " drawn"]:
    """Return the classes that an evaluation with a number of classes shows in any run, its sweep's included."""
    sweep_key, run_key = _keys_of(seed, count)
    keys = jax.random.split(run_key, runs)
    if head == SGD:
        keys = jnp.concatenate([jax.random.split(sweep_key, SWEEP_RUNS), keys])
    return np.unique(_class_sets(n_classes, count, keys, order))


def _class_sets(n_classes: int, count: int, keys: Array, order: str) -> Int[Array, "sets classes"]:
    """Return some of the classes for each key, in the order in which they are shown."""
    chosen = jax.vmap(lambda key: jax.random.permutation(key, n_classes)[:count])(keys)
    return chosen if order == "random" else jnp.sort(chosen, axis=1)


def chosen_rate(accuracy: Float[np.ndarray, "sets rates"], rates: Sequence[float]) -> float:
    """Return the rate that wins most class sets.

    Of equally accurate rates the first, the larger, wins a set; of equally frequent winners the smallest is taken.
    """
    wins = Counter(rates[best] for best in np.argmax(accuracy, axis=1))
    return min(wins, key=lambda rate: (-wins[rate], rate))


def evaluate_sines(
    model: Representation,
    *,
    runs: int = 50,
    head: str = SGD,
    rates: Sequence[float] | None = None,
    trajectory: SineTrajectory = _PUBLISHED,
    fresh: bool = False,
    oracle: bool = False,
    seed: int = 0,
    report: Callable[[int], object] = lambda n: None,
) -> SineResult:
    """Return how well a representation serves to learn sine waves one after another.

    `SWEEP_RUNS` runs with every rate, or penalty, choose the one with the least mean error over all functions at the
    end.

    Source: Javed & White (2019), section 4.1, and their released code; there the rate is 0.003.

    Args:
        model: the representation.
        runs: number of runs, each on functions of its own.
        head: what learns, one of `perdure.representation.heads.HEADS_OF_NUMBERS`.
        rates: of SGD on the head, or penalties of ridge regression; None for those of the published protocol, or ours.
        trajectory: how many functions, and how much of each.
        fresh: redraw the head's weights?
        oracle: show the batches in random order?
        seed: of everything that is drawn.
        report: is called after every few runs with their number; there are as many as `n_runs` says.

    Raises:
        ValueError: if the representation is none of numbers, the head learns no numbers, or learns the same in any
            order and a random one was requested.
    """
    if not isinstance(model.encoder, DenseEncoder):
        raise ValueError(
            f"the representation takes images of shape {model.encoder.input_shape}, expected one of sine waves; "
            "evaluate it on images, with evaluate_classes"
        )
    check_sine_heads([head], oracle=oracle)
    rates = rates or sine_rates(head)

    def one(model: Representation, tried: Array, key: Array) -> Float[Array, "rates functions functions"]:
        if head == RIDGE:
            return closed_form_sine_runs(model, trajectory, lambda it: Ridge(penalty=it), tried, key)
        return sine_runs(model, trajectory, tried, key, fresh=fresh, oracle=oracle)

    def play(key: Array, n: int, tried: Sequence[float]) -> Float[np.ndarray, "runs rates functions functions"]:
        # Each takes seconds: progress is reported, and stop requests are noticed, after one for each device.
        shared, together = (model, jnp.asarray(tried)), len(seed_devices(n))
        jobs = (jax.random.split(key, n),)
        return np.asarray(_play(one, shared, jobs, lambda done: report(done * len(tried)), together))

    sweep_key, run_key = jax.random.split(jax.random.key(seed))
    swept = play(sweep_key, SWEEP_RUNS, rates)
    finals = np.nan_to_num(swept[:, :, -1].mean(axis=(0, 2)), nan=np.inf)
    rate = float(rates[int(np.argmin(finals))])
    return SineResult(head, rate, play(run_key, runs, [rate])[:, 0])


def sine_rates(head: str) -> tuple[float, ...]:
    """Return the rates, or penalties, of the sweep on sine waves."""
    return SINE_PENALTIES if head == RIDGE else SINE_RATES


def check_sine_heads(heads: Sequence[str], *, oracle: bool) -> None:
    """Check that heads learn numbers; `evaluate_sines` tells what is raised."""
    for head in heads:
        if head not in HEADS_OF_NUMBERS:
            raise ValueError(
                f"the head {head!r} was given for sine waves, which are numbers; choose of "
                f"{', '.join(HEADS_OF_NUMBERS)}"
            )
    if oracle:
        _check_oracle(heads)


def _check_oracle(heads: Sequence[str]) -> None:
    others = [it for it in heads if it != SGD]
    if others:
        raise ValueError(
            f"passes in random order were requested of {', '.join(others)}, expected the head {SGD} only: heads in "
            f"closed form learn each example once, in the order given; give the head {SGD} alone, or leave the Oracle "
            "out"
        )


def evaluation_images(encoder: ImageEncoder, data_dir: Path | None) -> Shaped[np.ndarray, "classes images h w"]:
    """Return Omniglot's evaluation characters at the size that an encoder was made for.

    Raises:
        ValueError: if that is not a grey square.
    """
    channels, height, width = encoder.input_shape
    if channels != 1 or height != width:
        raise ValueError(
            f"the representation takes images of shape {encoder.input_shape}, expected grey squares, as Omniglot's "
            "are; evaluate it on its own images from Python, with evaluate_classes"
        )
    return load_omniglot(height, splits=["evaluation"], data_dir=data_dir).images


def features_of(name: str, data_dir: Path | None = None) -> Float[np.ndarray, "n d"]:
    """Return a representation's features for many inputs: Omniglot's background characters, or sine waves' inputs."""
    model = load_representation(name).model
    if not isinstance(model.encoder, DenseEncoder):
        drawings = load_omniglot(model.encoder.input_shape[1], splits=["background"], data_dir=data_dir)
        inputs = jnp.asarray(drawings.images[:N_LOOKED_AT]).reshape(-1, *drawings.images.shape[2:])
    else:
        n_numbers = n_inputs(model.encoder) - 1
        sines = draw_sines(n_numbers, jax.random.key(0))
        x, _ = sine_examples(sines, jnp.arange(n_numbers), n_numbers, 1000, jax.random.key(1))
        inputs = x.reshape(-1, x.shape[-1])
    return np.asarray(jax.jit(encode)(model.encoder, inputs))


def features_by_class(
    model: Representation, images: Shaped[AnyArray, "classes images ..."]
) -> Float[Array, "classes images d"]:
    """Return the features of all images, by class.

    Raises:
        ValueError: if the images have another size or depth than the encoder takes, or features are not finite.
    """
    flat = jnp.asarray(images).reshape(-1, *images.shape[2:])
    features = jax.jit(encode)(model.encoder, flat)
    if (bad := ~jnp.isfinite(features).all(axis=1)).any():
        class_number, image = divmod(int(bad.argmax()), images.shape[1])
        raise ValueError(
            f"image {image} of class {class_number}, counted from 0, has features that are not finite; look for such "
            "numbers in it, and in the weights of the representation"
        )
    return features.reshape(*images.shape[:2], -1)


def _play(
    one: Callable[..., Any],
    shared: tuple[Any, ...],
    jobs: tuple[Any, ...],
    report: Callable[[int], object],
    together: int = _TOGETHER,
) -> Any:
    """Return what `one` returns for each job, leaves (jobs, ...).

    Jobs are divided among the devices, each of which does one after another: Adam's state of a head is some megabytes,
    which stay in a core's cache as long as no other run's come between. `report` is called after each `together` jobs.
    """
    n_jobs = len(jobs[-1])
    together = min(together, n_jobs)
    division = Division(seed_devices(together), together)
    axes = (None,) * len(shared) + (0,) * len(jobs)

    def each(*arguments: Any) -> Any:
        return jax.lax.map(lambda job: one(*arguments[: len(shared)], *job), arguments[len(shared) :])

    program = jax.jit(division.on_each(each, axes))
    parts = []
    for start in range(0, n_jobs, together):
        which = np.minimum(np.arange(start, start + together), n_jobs - 1)  # the last part is filled with its last job
        arguments = division.spread(axes, (*shared, *(it[which] for it in jobs)))
        parts.append(jax.tree.map(np.asarray, division.gathered(program(*arguments))))
        report(min(together, n_jobs - start))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:n_jobs], *parts)
