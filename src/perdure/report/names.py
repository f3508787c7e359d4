"""Learners and benchmarks as papers call them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from perdure.records.learner import RunRecord

_LEARNERS = {
    "online": "Online",
    "independent": "Independent",
    "task-input": "Task Input",
    "ewc": "EWC",
    "ewc-per-example": "EWC (empirical Fisher information)",
    "si": "SI",
    "lwf": "LwF",
    "gem": "GEM",
    "a-gem": "A-GEM",
    "icarl": "iCaRL",
    "er": "ER",
    "er-algorithm-5": "ER (Algorithm 5)",
    "der": "DER",
    "der++": "DER++",
    "er-ace": "ER-ACE",
    "er-ace-released": "ER-ACE (released code)",
    "er-ace-released-task-free": "ER-ACE (released code, no tasks)",
    "cls-er": "CLS-ER",
    "mir": "ER-MIR",
    "gss-greedy": "GSS-Greedy",
    "gdumb": "GDumb",
    "mer": "MER",
    "mer-algorithm-6": "MER (Algorithm 6)",
    "mer-algorithm-7": "MER (Algorithm 7)",
    "multi-timescale-mer": "Multi-timescale MER",
    "la-maml": "La-MAML",
    "sync": "Sync",
    "c-maml": "C-MAML",
    "la-maml-task-incremental": "La-MAML (task-incremental)",
    "sync-task-incremental": "Sync (task-incremental)",
    "c-maml-task-incremental": "C-MAML (task-incremental)",
    "nearest-mean": "Nearest mean",
    "gaussian": "Normal distributions",
    "lda": "LDA",
    "slda": "Streaming LDA",
    "ridge": "Ridge",
    "random-fourier-ridge": "Ridge on random Fourier features",
}
_BENCHMARKS = {
    "mnist-rotations": "MNIST Rotations",
    "mnist-permutations": "MNIST Permutations",
    "mnist-many-permutations": "MNIST Many Permutations",
    "mnist-split": "Split MNIST",
    "omniglot": "Incremental Omniglot",
    "cifar100": "Incremental CIFAR-100",
}


def learner_title(name: str) -> str:
    """Return what papers call a learner; its name if they do not know it."""
    return _LEARNERS.get(name, name)


def benchmark_title(name: str) -> str:
    """Return what papers call a benchmark; its name if they do not know it."""
    return _BENCHMARKS.get(name, name)


def run_title(record: RunRecord) -> str:
    """Return a run's learner and memory in a few words: "MER, memory 200"."""
    title = learner_title(record.learner)
    return title if record.memory_size is None else f"{title}, memory {record.memory_size}"


def name_among(record: RunRecord, records: Sequence[RunRecord]) -> str:
    """Return what tells a run from the others: its label, and what differs where they share that.

    Where nothing that has a short name differs, it is the run's folder.
    """
    alike = [it for it in records if (it.label, it.benchmark) == (record.label, record.benchmark)]
    if len(alike) < 2:
        shared = sum(it.label == record.label for it in records) > 1
        return record.folder.name if shared else record.label
    values = [_values(it) for it in alike]
    names = sorted({name for it in values for name in it if len({str(other.get(name)) for other in values}) > 1})
    own = _values(record)
    label = ", ".join([record.label, *(f"{name.replace('_', ' ')} {own[name]}" for name in names if name in own)])
    return label if sum(_label(it, names) == _label(own, names) for it in values) == 1 else record.folder.name


def title_among(record: RunRecord, records: Sequence[RunRecord]) -> str:
    """Return what papers call a run's learner; `name_among` where others share its learner, memory and benchmark."""
    alike = sum((it.label, it.benchmark) == (record.label, record.benchmark) for it in records)
    return learner_title(record.learner) if alike < 2 else name_among(record, records)


def _values(record: RunRecord) -> dict[str, str]:
    """Return what a run's hyper-parameters, loss, optimizer, network and stream options are, by short names."""
    learner, benchmark = record.config["learner"], record.config["benchmark"]
    chosen = {**learner.get("hyperparameters", {}), **benchmark.get("options", {})}
    return {
        **{name: _part(it) for name, it in learner.get("fields", {}).items()},
        **{name: f"{it:g}" if isinstance(it, float) else str(it) for name, it in chosen.items()},
        "network": _network(str(record.config.get("model", {}).get("name"))),
        "seeds": str(len(record.seeds)),
    }


def _part(described: Any) -> str:
    """Return the name of a loss, an optimizer or another part, as a record describes it."""
    if isinstance(described, Mapping) and "partial" in described:
        given = described.get("arguments", {})
        listed = ", ".join(f"{name} {it}" for name, it in given.items()) if isinstance(given, Mapping) else ""
        return " ".join([_part(described["partial"]), *([f"({listed})"] if listed else [])])
    if isinstance(described, Mapping):
        return str(described.get("name", "other")).rpartition(".")[2]
    return str(described)


def _network(name: str) -> str:
    """Return the name of a network in short: of a perceptron with other hidden layers, their units."""
    found = re.fullmatch(r"benchmark_mlp\(hidden_sizes=\(([\d, ]+)\)\)", name)
    return name if found is None else f"of {found[1].replace(', ', '-')} hidden units"


def _label(values: Mapping[str, str], names: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(values.get(name) for name in names)
