"""How good and how fast the online model is, beside River: ``python benchmarks/online.py [PART ...]``.

Parts are accuracy, contexts, rows, bulk, durability and forgetting; all of them unless some are given. What is measured
is kept in ``docs/online.json``, part by part, and ``docs/online.md`` is written from it. It needs River (the extra
``river``), and for times a machine that does nothing else. (deep-river 0.3 does not load beside River 0.26.)
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from perdure.cli.jax_settings import configure_jax

configure_jax()  # before JAX is imported: what the command line runs under

import live_streams
import numpy as np
import online_page
from rich.progress import track

from perdure import DurableModel, OnlineClassifier, prequential
from perdure.storage.files import write_atomically

DOCS = Path(__file__).parents[1] / "docs"
SEEDS = (0, 1, 2)
METHODS = ("auto", "online", "er", "mer")
N_COLUMNS, HIDDEN = 20, (100, 100)


def accuracy() -> dict[str, Any]:
    """Return the prequential accuracy of every method and pipeline on every stream and seed, in percent."""
    found: dict[str, Any] = {}
    for name, make in live_streams.REPORTED.items():
        found[name] = {method: [_ours(method, *make(seed)) for seed in SEEDS] for method in track(METHODS, name)}
        for pipeline, build in live_streams.PIPELINES.items():
            found[name][pipeline] = [_rivers(build(seed), *make(seed)) for seed in SEEDS]
    return found


def contexts() -> dict[str, Any]:
    """Return the same where contexts come and go and come again."""
    found: dict[str, Any] = {}
    for name, make in live_streams.RETURNING.items():
        found[name] = {method: [_ours(method, *make(seed)) for seed in SEEDS] for method in track(METHODS, name)}
    return found


def _ours(method: str, x: Sequence[Any], y: Sequence[Any]) -> float:
    return 100 * prequential(OnlineClassifier(method), x, y).metrics["accuracy"]


def _rivers(pipeline: Any, x: Sequence[Any], y: Sequence[Any]) -> float:
    right = 0
    for row, target in zip(x, y, strict=True):
        right += pipeline.predict_one(row) == target
        pipeline.learn_one(row, target)
    return 100 * right / len(y)


def rows() -> dict[str, Any]:
    """Return microseconds to answer and to learn one row from Python: median, mean, and CPU time."""
    from perdure import ER, MER, Online

    x, y = _made_up(3_000)
    ours = {
        "online": OnlineClassifier(Online(0.03), hidden_sizes=HIDDEN),
        "er": OnlineClassifier(ER(0.03, 2_000, 10), hidden_sizes=HIDDEN),
        "mer": OnlineClassifier(MER(0.01, 2_000, 10, beta=0.3, gamma=0.5, batches_per_example=5), hidden_sizes=HIDDEN),
        "auto": OnlineClassifier("auto", hidden_sizes=HIDDEN),
    }
    found = {f"perdure {name}": _row_times(model, x, y) for name, model in ours.items()}
    for name, build in live_streams.PIPELINES.items():
        found[name] = _row_times(build(0), x, y)
    return found


def _row_times(model: Any, x: Sequence[Any], y: Sequence[Any], warm: int = 1_000) -> dict[str, float]:
    for row, target in zip(x[:warm], y[:warm], strict=True):
        model.predict_one(row)
        model.learn_one(row, target)
    found = {}
    for what, act in (("predict", lambda row, _: model.predict_one(row)), ("learn", model.learn_one)):
        times, cpu, began = [], time.process_time(), time.perf_counter()
        for row, target in zip(x[warm:], y[warm:], strict=True):
            start = time.perf_counter()
            act(row, target)
            times.append(time.perf_counter() - start)
        model.predict_one(x[0])  # until all that was learned is there
        n = len(times)
        found[f"{what}_p50"] = 1e6 * statistics.median(times)
        found[f"{what}_mean"] = 1e6 * (time.perf_counter() - began) / n
        found[f"{what}_cpu"] = 1e6 * (time.process_time() - cpu) / n
    return found


def bulk() -> dict[str, Any]:
    """Return seconds of `perdure stream` on 50,000 rows with ER, everything included, with the extra river and without.

    With it, its drift detector looks at every row, and takes long to load.
    """
    x, y = _made_up(50_000)
    found: dict[str, Any] = {"rows": len(y), "columns": N_COLUMNS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        _write_csv(path, x, y)
        arguments = ["stream", str(path), "--label", "label", "--methods", "er", "--quiet"]
        for name, hidden in (("with_river", ""), ("without_river", "sys.modules['river'] = None; ")):
            program = f"import sys; {hidden}from perdure.cli import main; main()"
            times, cpu = [], []
            for repeat in range(4):  # the first one compiles
                began, cpu_began = time.perf_counter(), _cpu_of_children()
                command = [sys.executable, "-c", program, *arguments, "--out", str(Path(folder, f"{name}{repeat}"))]
                subprocess.run(command, check=True, capture_output=True)
                times.append(time.perf_counter() - began)
                cpu.append(_cpu_of_children() - cpu_began)
            found[name] = {"seconds": statistics.median(times[1:]), "cpu": statistics.median(cpu[1:]), "all": times}
    return found


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def durability() -> dict[str, Any]:
    """Return what the journal adds to an example, in batches of 100, and the size that an example takes on the disk."""
    x, y = _made_up(5_000)
    model = OnlineClassifier("er")
    with tempfile.TemporaryDirectory() as folder, DurableModel.open(folder, method="er") as durable:

        def learn(part: slice) -> None:
            model.partial_fit(x[part], y[part])

        def learn_and_keep(part: slice) -> None:
            durable.learn(x[part], y[part], [str(n) for n in range(part.start, part.stop)])

        plain = _seconds(learn, lambda: model.predict_one(x[0]), len(y))
        kept = _seconds(learn_and_keep, lambda: durable.predict(x[0]), len(y))
        size = sum(it.stat().st_size for it in Path(folder).glob("journal*"))
    return {"plain": 1e6 * plain, "durable": 1e6 * kept, "added": 1e6 * (kept - plain), "bytes": size / len(y)}


def _seconds(act: Callable[[slice], Any], wait: Callable[[], Any], n: int) -> float:
    """Return the seconds of an example, in batches of 100, the first of which does not count; `wait` ends the last."""
    act(slice(0, 100))
    wait()  # compiles what answers
    began = time.perf_counter()
    for start in range(100, n, 100):
        act(slice(start, start + 100))
    wait()
    return (time.perf_counter() - began) / (n - 100)


def forgetting() -> dict[str, Any]:
    """Return the seconds that it takes to forget 10 of 20,000 examples."""
    x, y = _made_up(20_000)
    with tempfile.TemporaryDirectory() as folder, DurableModel.open(folder, method="er") as model:
        for start in range(0, len(y), 1_000):
            part = slice(start, start + 1_000)
            model.learn(x[part], y[part], [str(n) for n in range(part.start, part.stop)])
        times = []
        for place in (5, 10_000, 19_000):
            began = time.perf_counter()
            model.forget([str(place + n) for n in range(10)])
            times.append(time.perf_counter() - began)
    return {"examples": len(y), "from_the_first": times[0], "from_the_middle": times[1], "from_the_last": times[2]}


def _made_up(n: int) -> tuple[list[dict[str, float]], list[str]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, N_COLUMNS))
    y = np.asarray(["a", "b", "c"])[(x[:, :3] + rng.normal(size=(n, 3))).argmax(axis=1)]
    return [{f"c{place}": float(it) for place, it in enumerate(row)} for row in x], y.tolist()


def _write_csv(path: Path, x: Sequence[dict[str, float]], y: Sequence[str]) -> None:
    def lines() -> Iterator[str]:
        yield ",".join([*x[0], "label"])
        for row, target in zip(x, y, strict=True):
            yield ",".join([*(f"{it:.6f}" for it in row.values()), target])

    path.write_text("\n".join(lines()) + "\n", encoding="utf-8")


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    it.__name__: it for it in (accuracy, contexts, rows, bulk, durability, forgetting)
}


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure; all unless given")
    path = DOCS / "online.json"
    numbers = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in parser.parse_args().parts or PARTS:
        print(part, file=sys.stderr)
        numbers[part] = PARTS[part]() | {"machine": online_page.machine()}
        write_atomically(path, json.dumps(numbers, indent=1).encode() + b"\n")
    online_page.write(numbers, DOCS)


if __name__ == "__main__":
    main()
