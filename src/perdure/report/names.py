"""Learners and benchmarks as papers call them."""

from __future__ import annotations

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
