"""perdure and its peers on one stream, each in an environment of its own: ``python benchmarks/peers/run.py``.

Ten permutations of MNIST with 500 examples each, a memory of 500, batches of one, the same hyper-parameters everywhere.
The environments are made with pip in --folder. What is no package is cloned with git, unless --clone NAME=FOLDER tells
where it is. Writes docs/peers.md between its marks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from marked_block import write_measured

from perdure.report.markdown import aligned_markdown
from perdure.streams.catalog import BenchmarkRecipe

PAGE = HERE.parents[1] / "docs" / "peers.md"
TASKS, EXAMPLES, MEMORY, TESTS = 10, 500, 500, 1000


class Peer(NamedTuple):
    """A library to measure."""

    title: str
    requirements: Sequence[str]
    """Empty for the environment that this runs in."""
    repository: str
    """To clone; empty for a package."""
    commit: str
    values: Mapping[str, Mapping[str, Any]]
    """Hyper-parameters by method, in the library's words."""
    unneeded: str = ""
    """Files of the clone that are removed."""


_SGD = {"learning_rate": 0.01}
PEERS = {
    "perdure": Peer(
        "perdure",
        [],
        "",
        "",
        {
            "online": _SGD,
            "er": {"learning_rate": 0.1, "memory_size": MEMORY, "replay_batch_size": 10},
            "a-gem": {**_SGD, "memory_size": MEMORY, "replay_batch_size": 10},
            "ewc": {**_SGD, "fisher_examples": 10, "strength": 10.0},
            "gem": {**_SGD, "memory_size": MEMORY, "margin": 0.5},
            "mer": {
                "learning_rate": 0.03,
                "beta": 0.03,
                "gamma": 1.0,
                "memory_size": MEMORY,
                "replay_batch_size": 10,
                "batches_per_example": 10,
            },
        },
    ),
    "mer-code": Peer(
        "released MER code",
        ["torch==2.13.0", "numpy", "quadprog"],
        "https://github.com/mattriemer/MER",
        "4b7b9c977f3126f533e968b82321649f1ca7d446",
        {
            "online": {"lr": 0.01},
            "er": {"lr": 0.1, "memories": MEMORY, "replay_batch_size": 10, "batches_per_example": 1},
            "ewc": {"lr": 0.01, "n_memories": 10, "memory_strength": 10.0},
            "gem": {"lr": 0.01, "n_memories": MEMORY // TASKS, "memory_strength": 0.5},
            "mer": {
                "lr": 0.03,
                "beta": 0.03,
                "gamma": 1.0,
                "memories": MEMORY,
                "replay_batch_size": 10,
                "batches_per_example": 10,
            },
        },
    ),
    "avalanche": Peer(
        "Avalanche 0.6",
        ["torch==2.13.0", "avalanche-lib==0.6.0"],
        "",
        "",
        {
            "online": {"lr": 0.01},
            "er": {"lr": 0.1, "mem_size": MEMORY, "batch_size_mem": 10},
            "a-gem": {"lr": 0.01, "patterns_per_exp": MEMORY // TASKS, "sample_size": 10},
            "ewc": {"lr": 0.01, "ewc_lambda": 10.0},
            "gem": {"lr": 0.01, "patterns_per_exp": MEMORY // TASKS, "memory_strength": 0.5},
            "mer": {
                "lr": 0.03,
                "beta": 0.03,
                "gamma": 1.0,
                "mem_size": MEMORY,
                "batch_size_mem": 10,
                "n_inner_steps": 10,
            },
        },
    ),
    "mammoth": Peer(
        "Mammoth, May 2026",
        [
            "torch==2.13.0",
            "torchvision",
            "numpy",
            "kornia>=0.7",
            "Pillow",
            "timm==0.9.8",
            "tqdm",
            "onedrivedownloader",
            "ftfy",
            "regex",
            "pyyaml",
            "quadprog",
            "six",
        ],
        "https://github.com/aimagelab/mammoth",
        "e75a491c69fd729edeb01431afb753d9157d9a81",
        {
            "online": {"lr": 0.01},
            "er": {"lr": 0.1, "buffer_size": MEMORY, "minibatch_size": 10},
            "a-gem": {"lr": 0.01, "buffer_size": MEMORY, "minibatch_size": 10},
            "ewc": {"lr": 0.01, "e_lambda": 10.0, "gamma": 1.0},
            "gem": {"lr": 0.01, "buffer_size": MEMORY, "gamma": 0.5},
            "mer": {
                "lr": 0.03,
                "beta": 0.03,
                "gamma": 1.0,
                "buffer_size": MEMORY,
                "minibatch_size": 10,
                "batch_num": 10,
            },
        },
        unneeded="datasets/seq_*.py",  # some fetch weights of large networks when they are imported
    ),
}
METHODS = {"online": "online SGD", "er": "ER", "a-gem": "A-GEM", "ewc": "EWC", "gem": "GEM", "mer": "MER"}
"""Titles by name."""


def write_stream(path: Path) -> None:
    """Write the stream that all learn."""
    benchmark = BenchmarkRecipe("mnist-permutations", {"tasks": TASKS, "examples_per_task": EXAMPLES})(seed=0)
    arrays: dict[str, Any] = {}
    for n, test in enumerate(benchmark.test):
        own = benchmark.train.task == n
        arrays |= {f"x-{n}": _floats(np.asarray(benchmark.train.x)[own]), f"y-{n}": benchmark.train.y[own]}
        arrays |= {f"test_x-{n}": _floats(np.asarray(test.x)[:TESTS]), f"test_y-{n}": test.y[:TESTS]}
    np.savez(path, **arrays)


def _floats(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1)
    return flat.astype(np.float32) / 255 if flat.dtype == np.uint8 else flat.astype(np.float32)


def python_of(name: str, folder: Path) -> Path:
    """Return the Python of a library's environment, which is made if it is not there."""
    peer = PEERS[name]
    if not peer.requirements:
        return Path(sys.executable)
    home = folder / f"environment-{name}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.requirements], check=True)
        (home / "complete").touch()
    return python


def clone_of(name: str, folder: Path, given: Mapping[str, Path]) -> Path | None:
    """Return where a library's code is, if it is no package."""
    peer = PEERS[name]
    if not peer.repository or name in given:
        return given.get(name)
    home = folder / name
    if not home.exists():
        subprocess.run(["git", "clone", "--quiet", peer.repository, home], check=True)
        subprocess.run(["git", "-C", home, "checkout", "--quiet", peer.commit], check=True)
        for path in home.glob(peer.unneeded) if peer.unneeded else ():
            path.unlink()
    return home


def measure(name: str, method: str, stream: Path, python: Path, clone: Path | None) -> dict[str, float] | str:
    """Return what a library's method comes to, or its last words if it stops with an error."""
    script = HERE / f"of_{name.replace('-', '_')}.py"
    command = [python, script, stream, method, json.dumps(PEERS[name].values[method])]
    command += [] if clone is None else ["--clone", clone]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ended.returncode:
        return ended.stderr.strip().splitlines()[-1]
    return json.loads(ended.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"))
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--clone", nargs="*", metavar="NAME=FOLDER", default=[])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    stream = given.folder / "stream.npz"
    write_stream(stream)
    clones = {name: Path(path).resolve() for name, _, path in (it.partition("=") for it in given.clone)}
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    errors: dict[tuple[str, str], str] = {}
    for name in given.peers:
        python, clone = python_of(name, given.folder), clone_of(name, given.folder, clones)
        for method in given.methods:
            if method not in PEERS[name].values:
                continue
            for _ in range(given.repetitions):
                result = measure(name, method, stream, python, clone)
                print(f"{name} {method}: {result}", flush=True)
                if isinstance(result, str):
                    errors[name, method] = result
                    break
                found.setdefault((name, method), []).append(result)
    if list(given.peers) == list(PEERS) and list(given.methods) == list(METHODS):
        write_measured(PAGE, _times(found, errors), "times")
        write_measured(PAGE, _accuracies(found, errors), "accuracies")


def _times(found: Mapping[tuple[str, str], list[dict[str, float]]], errors: Mapping[tuple[str, str], str]) -> str:
    others = [name for name in PEERS if name != "perdure"]
    rows = [
        [title, _milliseconds(found["perdure", method]), *(_ratio(found, errors, name, method) for name in others)]
        for method, title in METHODS.items()
    ]
    return aligned_markdown(("method", "perdure, ms", *(PEERS[it].title for it in others)), rows, (0,))


def _milliseconds(runs: Sequence[Mapping[str, float]]) -> str:
    return f"{min(it['cpu_ms'] for it in runs):.3g}"


def _ratio(
    found: Mapping[tuple[str, str], list[dict[str, float]]],
    errors: Mapping[tuple[str, str], str],
    name: str,
    method: str,
) -> str:
    if (name, method) in errors:
        return "stops with an error"
    if (name, method) not in found:
        return "–"
    own = [it["cpu_ms"] for it in found["perdure", method]]
    ratios = [it["cpu_ms"] / min(own) for it in found[name, method]]
    low, high = (f"{it:.2g}" if it < 10 else f"{it:.0f}" for it in (min(ratios), max(ratios)))
    return low if low == high else f"{low}–{high}"


def _accuracies(found: Mapping[tuple[str, str], list[dict[str, float]]], errors: Mapping[tuple[str, str], str]) -> str:
    def shown(name: str, method: str) -> str:
        if (name, method) in errors:
            return "stops with an error"
        if (name, method) not in found:
            return "–"
        run = found[name, method][0]
        return f"{100 * run['learned']:.1f} / {100 * run['retained']:.1f}"

    rows = [[title, *(shown(name, method) for name in PEERS)] for method, title in METHODS.items()]
    return aligned_markdown(("method", *(it.title for it in PEERS.values())), rows, (0,))


if __name__ == "__main__":
    main()
