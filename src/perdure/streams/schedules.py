"""In which order examples come: blurry boundaries, classes that come and go, tasks that recur, rare classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from perdure.streams.tasks import named_rng

Places = Int[np.ndarray, " _"]
"""Places of examples in a data set."""


def blurry_tasks(
    tasks: Sequence[Places],
    classes: Int[np.ndarray, " n"],
    *,
    disjoint_share: float | int,
    blur: float | int,
    rng: np.random.Generator,
) -> list[Places]:
    """Return the tasks with a part of some classes' examples dealt to all of them: i-Blurry-N-M.

    A share of the classes, drawn at random and spread over the tasks as evenly as can be, is disjoint: only their own
    task shows them. Of the examples of the other classes a share `blur` is drawn in each task, mixed, and dealt back,
    to each task as many as it gave. So all tasks keep their lengths, and a blurry class has on average
    1 − blur · (1 − 1/T) of its examples in its own task where T tasks give equally many. Within a task the order is
    random.

    Source: Koh et al. (2022), "Online Continual Learning on Class Incremental Blurry Task Configuration with Anytime
    Inference", arXiv:2110.10031, section 3, and the splits released with it.

    Args:
        tasks: places of each task's examples.
        classes: class of each example of the data set.
        disjoint_share: share of the classes that are disjoint, 0..1, rounded to a whole number of them.
        blur: share of a task's blurry examples that is dealt, 0..1.
        rng: random generator.
    """
    disjoint = _spread([np.unique(classes[places]) for places in tasks], disjoint_share, rng)
    kept, given = [], []
    for places in tasks:
        blurry = np.flatnonzero(~np.isin(classes[places], disjoint))
        drawn = rng.permutation(blurry)[: round(blur * len(blurry))]
        given.append(places[drawn])
        kept.append(np.delete(places, drawn))
    mixed = rng.permutation(np.concatenate(given))
    dealt = np.split(mixed, np.cumsum([len(it) for it in given])[:-1])
    return [rng.permutation(np.concatenate(both)) for both in zip(kept, dealt, strict=True)]


def _spread(groups: Sequence[Places], share: float | int, rng: np.random.Generator) -> Places:
    """Draw a share of all members of groups, from each about that share of its own."""
    members = np.concatenate([rng.permutation(group) for group in groups])
    # Of n members the i-th comes between the shares i/n and (i + 1)/n of its group.
    keys = np.concatenate([(np.arange(len(group)) + rng.random()) / len(group) for group in groups])
    return members[np.argsort(keys)[: round(share * len(members))]]


def gaussian_order(
    places: Places, rank: Int[np.ndarray, " n"], *, n_classes: int, width: float | int, rng: np.random.Generator
) -> Places:
    """Return examples in an order in which each class comes and goes as a Gaussian in time.

    The class of rank k is shown around (k + 1/2)/K of the stream: each of its examples is drawn a time from the normal
    distribution with that mean and the standard deviation `width`, confined to the stream, 0..1; examples come in order
    of time, each once.

    Source: Shanahan, Kaplanis & Mitrović (2021), "Encoders and Ensembles for Task-Free Continual Learning",
    arXiv:2105.13327, in which classes with peaks spread evenly over the stream take part in a batch with a Gaussian
    probability; also Wang et al. (2022), "Learning to Prompt for Continual Learning", arXiv:2112.08654, section 5.1.

    Args:
        places: of the examples that are shown.
        rank: for each example of the data set the rank of its class in order of its peak.
        n_classes: K.
        width: standard deviation in lengths of the stream, > 0.
        rng: random generator.
    """
    peaks = (rank[places] + 0.5) / n_classes
    low, high = ndtr((0 - peaks) / width), ndtr((1 - peaks) / width)
    times = peaks + width * ndtri(low + (high - low) * rng.random(len(places)))
    return places[np.argsort(times, kind="stable")]


def in_rounds(tasks: Sequence[Places], rounds: int) -> list[Places]:
    """Return tasks that come back: each divided into as many parts as there are rounds, part after part of all tasks.

    Parts of one task differ in length by 1 at most, the first ones longer, and share no example.

    Raises:
        ValueError: if a task has fewer examples than there are rounds.
    """
    shortest = min(map(len, tasks))
    if shortest < rounds:
        raise ValueError(
            f"rounds is {rounds}, but a task has {shortest} examples, expected at least one for each round; choose "
            "fewer rounds, or more examples per task"
        )
    parts = [np.array_split(places, rounds) for places in tasks]
    return [of_task[n] for n in range(rounds) for of_task in parts]


def long_tail(n_classes: int, imbalance: float | int) -> Float[np.ndarray, " classes"]:
    """Return the share of its examples that each class keeps, the most frequent first: imbalance^(−k/(K − 1)).

    Source: Cui et al. (2019), "Class-Balanced Loss Based on Effective Number of Samples", arXiv:1901.05555, section
    5.1; Cao et al. (2019), "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", arXiv:1906.07413,
    section 4.1.
    """
    return float(imbalance) ** (-np.arange(n_classes) / max(n_classes - 1, 1))


def imbalanced(
    tasks: Sequence[Places], classes: Int[np.ndarray, " n"], imbalance: float | int, *, seed: int, prefix: str
) -> list[Places]:
    """Return the tasks with examples left out, so that the sizes of the classes have a long tail (`long_tail`).

    Which class is how frequent the seed draws, and which of its examples stay, of each class in each task at least one.
    """
    shown = np.unique(classes[np.concatenate(tasks)])
    rng = named_rng(seed, f"{prefix}imbalance")
    by_frequency = rng.permutation(shown)
    shares = dict(zip(by_frequency.tolist(), long_tail(len(shown), imbalance), strict=True))
    kept = []
    for places in tasks:
        stays = np.zeros(len(places), bool)
        for one in np.unique(classes[places]).tolist():
            members = np.flatnonzero(classes[places] == one)
            stays[rng.permutation(members)[: max(1, round(shares[one] * len(members)))]] = True
        kept.append(places[stays])
    return kept
