"""The order of the house: a module imports only from its own room or from those before it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import perdure

PACKAGE = Path(perdure.__file__).parent
ROOMS = [
    "_version",
    "fields",
    "core",
    "named",
    "shown",
    "own",
    "storage",
    "machine",
    "presets",
    "models",
    "memory",
    "updates",
    "metrics",
    "streams",
    "learners",
    "learn",
    "representation",
    "rl",
    "records",
    "execution",
    "loggers",
    "online",
    "client",
    "service",
    "experiments",
    "testing",
    "report",
    "cli",
    "__main__",
]
NAMED_LATER = {
    "records/tuning.py": {"perdure.report.tuning"},
    "experiments/supervised/result.py": {"perdure.report.figures.results"},
    "experiments/representations/embeddings.py": {"perdure.report.figures.embeddings"},
    "experiments/agents/run.py": {"perdure.report.figures.results"},
}
"""Modules of later rooms that a module names as text, to be imported when they are needed: what draws the figure of a
result. A result draws itself, since that is what users expect of it (`result.plot()`), and reports are made of results;
one of the two must name the other. Nothing else may be named so."""
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
WITHOUT_JAX = ["storage", "machine", "presets", "records", "client", "report"]
"""Rooms that load without JAX, each module of them."""
ALSO_WITHOUT_JAX = [
    "perdure",
    "perdure.streams.raw.files",
    "perdure.streams.catalog",
    "perdure.learners.catalog",
    "perdure.rl.catalog",
]


def imported(source):
    """Yield the full name of everything that a source imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively; name the module in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(source):
    """Yield every text of a source that is the full name of a module, as what is imported by name is given."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_module(node.value):
            yield node.value


def is_module(text):
    place = PACKAGE.parent.joinpath(*text.split("."))
    return bool(re.fullmatch(r"perdure(\.\w+)+", text)) and (place.is_dir() or place.with_suffix(".py").is_file())


def forbidden(room, source, names=imported):
    """Return what a module of `room` imports, or names, from rooms after its own."""
    own = [name for name in names(source) if name.split(".")[0] == "perdure"]
    return [name for name in own if ROOMS.index(name.split(".")[1]) > ROOMS.index(room)]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_from_its_own_room_or_those_before(path):
    assert room_of(path) in ROOMS, f"{room_of(path)} is a new room; give it its place in ROOMS"
    assert forbidden(room_of(path), path.read_text(encoding="utf-8")) == []


def test_modules_of_later_rooms_are_named_by_results_alone():
    found = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in MODULES
        if (names := set(forbidden(room_of(path), path.read_text(encoding="utf-8"), named)))
    }
    assert found == NAMED_LATER


def test_the_check_sees_what_is_named():
    source = 'Drawing("perdure.report.tuning", "search_figure", (self,))\nEntry("perdure.core", "perdure.absent")'
    assert forbidden("records", source, named) == ["perdure.report.tuning"]


@pytest.mark.parametrize(
    ("room", "source", "expected"),
    [
        ("learners", "from perdure.memory import store\nimport jax", []),
        ("learners", "from perdure.experiments.supervised.run import run", ["perdure.experiments.supervised.run.run"]),
        ("learners", "def late():\n    import perdure.report", ["perdure.report"]),
        ("core", "from perdure import learners", ["perdure.learners"]),
        ("memory", "from perdure.memory import store", []),
    ],
)
def test_the_check_sees_what_is_forbidden(room, source, expected):
    assert forbidden(room, source) == expected


def test_the_front_door_imports_nothing_but_the_version_at_once():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    own = [node.module for node in at_once if node.module and node.module.startswith("perdure")]
    assert own == ["perdure._version"]


@pytest.mark.parametrize("room", WITHOUT_JAX)
def test_every_module_of_the_room_loads_without_jax(room):
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.glob(f"{room}/**/*.py")
    ]
    assert modules
    assert loads_jax(modules) is None


def test_the_front_door_and_the_catalogues_load_without_jax():
    assert loads_jax(ALSO_WITHOUT_JAX) is None


def test_jax_would_be_noticed():
    assert loads_jax(["perdure", "perdure.core"]) == "perdure.core"


def loads_jax(modules):
    """Return the first of the modules, loaded one after another, after which JAX is loaded; None if it never is."""
    program = (
        "import sys, importlib\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    if 'jax' in sys.modules:\n"
        "        print(name)\n"
        "        break\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip() or None


EXPERIMENTS = sorted(path.name for path in (PACKAGE / "experiments").iterdir() if (path / "__init__.py").exists())


@pytest.mark.parametrize("folder", EXPERIMENTS)
def test_experiments_know_supervised_and_not_each_other(folder):
    others = {f"perdure.experiments.{it}" for it in EXPERIMENTS} - {f"perdure.experiments.{folder}"}
    others.discard("perdure.experiments.supervised")
    found = {
        f"{path.name}: {name}"
        for path in (PACKAGE / "experiments" / folder).rglob("*.py")
        for name in imported(path.read_text(encoding="utf-8"))
        if any(name == it or name.startswith(f"{it}.") for it in others)
    }
    assert found == set()


def test_supervised_is_known_to_experiments_alone():
    assert "supervised" in EXPERIMENTS
    assert len(EXPERIMENTS) == 6
