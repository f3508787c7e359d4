"""The script for accelerators, as far as a machine without one can try it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from perdure.cli.app import COMMANDS
from tests.conftest import load_module

FILE = Path(__file__).parents[2] / "benchmarks" / "accelerator.py"


@pytest.fixture(scope="module")
def accelerator() -> Any:
    return load_module("accelerator", FILE)


@pytest.mark.parametrize("quick", [True, False])
def test_every_command_of_perdure_has_the_options_that_are_given(accelerator, quick, tmp_path):
    chosen = accelerator.commands(accelerator.PARTS, tmp_path, quick=quick)
    assert tuple(it.part for it in chosen) == accelerator.PARTS
    for arguments in (it.arguments for it in chosen if "perdure" in it.arguments):
        _, _, _, name, *rest = arguments
        command: Any = COMMANDS[name].load()
        if name == "features":
            _, command, rest = command.resolve_command(typer.Context(command), rest)
        assert {it for it in rest if it.startswith("--")} <= {name for it in command.params for name in it.opts}
    for script in (it.arguments[1] for it in chosen if "perdure" not in it.arguments):
        assert Path(script).is_file()


def test_without_an_accelerator_it_refuses(accelerator, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        accelerator.main(["--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "JAX finds no accelerator here; install perdure[cuda12] or perdure[cuda13]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        accelerator.main(["mir", "--out", str(tmp_path)])
    assert "there is no part mir; choose among kernel, mer" in capsys.readouterr().err


def test_a_part_that_fails_does_not_stop_the_others(accelerator, tmp_path, capsys):
    python = sys.executable
    chosen = [
        accelerator.Command("one", [python, "-c", "print('said'); raise SystemExit(3)"]),
        accelerator.Command("two", [python, "-c", "print('done')"]),
    ]
    found = accelerator.run_commands(chosen, tmp_path)
    assert [it["status"] for it in found["parts"].values()] == [3, 0]
    assert json.loads((tmp_path / "accelerator.json").read_text()) == found
    assert (tmp_path / "one.txt").read_text() == "said\n"
    assert "one: failed with status 3" in capsys.readouterr().out


def test_forms_are_measured_and_equal(accelerator, monkeypatch):
    for name, value in {"SEEDS": (2,), "DRAWN": 2, "BATCHES": 2, "EXAMPLES": 2}.items():
        monkeypatch.setattr(accelerator, name, value)
    (row,) = accelerator.measure_kernel(quick=True)
    assert row["seeds"] == 2
    for name in ("general", "chain", "kernel"):
        assert row[name] > 0
        assert row[f"{name}, largest difference"] < 1e-5


def test_what_a_compiler_refuses_is_told(accelerator, monkeypatch):
    def refused(*arguments, **options):
        raise NotImplementedError("no power of two\nand more")

    monkeypatch.setattr(accelerator, "fused_chain", refused)
    for name, value in {"SEEDS": (1,), "DRAWN": 1, "BATCHES": 1, "EXAMPLES": 1}.items():
        monkeypatch.setattr(accelerator, name, value)
    (row,) = accelerator.measure_kernel(quick=True)
    assert row["kernel"] == "NotImplementedError: no power of two"
    assert row["chain"] > 0


@pytest.mark.long
def test_a_rehearsal_of_the_kernel(tmp_path):
    done = subprocess.run(
        [sys.executable, FILE, "--quick", "--out", tmp_path, "kernel"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [it["seeds"] for it in json.loads((tmp_path / "kernel.json").read_text())] == [1, 5]
