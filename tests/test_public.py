"""What is public: names that import, listed where editors and type checkers look."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import perdure
from perdure.learners.catalog import CATALOG

MODULES = [
    "perdure",
    *(f"perdure.{it}" for it in ("learn", "loggers", "models", "representation", "rl", "testing")),
]
NAMES = [(module, name) for module in MODULES for name in import_module(module).__all__]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda it: it)
def test_every_public_name_imports(module, name):
    assert getattr(import_module(module), name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_listed(module):
    found = import_module(module)
    assert set(found.__all__) <= set(dir(found))
    assert "install_import_hook" not in dir(found)


def test_names_that_are_not_there_are_refused():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = perdure.nonsense  # pyright: ignore[reportAttributeAccessIssue]


def test_every_learner_of_the_catalogue_is_at_the_top():
    assert {entry.class_name for entry in CATALOG.values()} <= set(dir(perdure))


@pytest.mark.parametrize("file", ["der", "averaged", "er", "gem", "online"])
def test_learners_are_written_with_what_is_public(file):
    source = Path(import_module(f"perdure.learners.{file}").__file__ or "").read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    used = {alias.name for node in imports if (node.module or "").startswith("perdure") for alias in node.names}
    assert used <= {*dir(perdure.learn), *dir(perdure), "for_as_many_as", "with_defaults"}


def test_every_error_that_a_run_raises_is_at_the_top():
    errors = [getattr(perdure, name) for name in dir(perdure) if name.endswith("Error")]
    assert all(issubclass(error, Exception) for error in errors)
    named = {error.__name__ for error in errors}
    documented = {line.split(":")[0].strip() for line in (perdure.run.__doc__ or "").splitlines() if "Error: " in line}
    assert documented - {"TypeError", "ValueError"} <= named


PROGRAM = """
import perdure
from perdure.learn import rate
from perdure.rl import make_game

reveal_type(perdure.MER)
reveal_type(perdure.run)
reveal_type(perdure.representation.OML)
reveal_type(make_game)
perdure.nonsense
"""


@pytest.mark.long
def test_type_checkers_see_the_types(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    source = Path(perdure.__file__).parents[1]
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{source}"]}}', encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert 'Type of "perdure.MER" is "type[MER]"' in printed
    assert 'Type of "perdure.representation.OML" is "type[OML]"' in printed
    assert "-> Result" in printed
    assert '"nonsense" is not a known attribute' in printed
    assert printed.count(" error: ") == 1


def test_importing_perdure_loads_nothing_heavy():
    program = (
        "import sys, perdure; print(sorted({'jax', 'numpy', 'typer', 'rich', 'pandas', 'equinox'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
