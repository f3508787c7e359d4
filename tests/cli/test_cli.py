"""The command line as a user meets it."""

import json
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from perdure import __version__
from perdure.cli.app import app
from perdure.cli.reproduce import reproduce
from perdure.presets import studies
from perdure.presets.learners import Preset
from perdure.presets.studies import Cell, Study
from tests.conftest import first_short

SMALL = ["digits-rotations", "--tasks", "2", "--examples-per-task", "30", "--quiet"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, perdure):
    """The folder of a finished run, and what the command printed."""
    folder = tmp_path_factory.mktemp("runs") / "mer"
    process = perdure("run", "mer", *SMALL, "--seeds", 2, "--full-matrix", "--alignment", "--out", folder)
    assert process.returncode == 0, process.stderr
    return folder, process.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["tune", "-h"], ["rl", "train", "--help"], ["features"], ["oml"]]
)
def test_help_does_not_import_jax(arguments):
    code = (
        f"import sys; sys.argv = ['perdure', *{arguments}]\n"
        "from perdure.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_version():
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"perdure {__version__}"


def test_help_of_a_learner_names_its_hyperparameters_and_the_benchmarks(perdure):
    text = perdure("run", "mer", "--help").stdout
    for word in ("--learning-rate", "--memory-size", "--beta", "--gamma", "--batches-per-example", "mnist-rotations"):
        assert word in text


def test_run_leaves_a_record_and_figures(finished):
    folder, printed = finished
    summary = json.loads((folder / "summary.json").read_text())
    assert len(summary["retained_accuracy"]["per_seed"]) == 2
    assert summary["gradient_alignment"]["mean"] is not None
    assert summary["forgetting"]["mean"] is not None
    assert f"{100 * summary['retained_accuracy']['mean']:.2f}" in printed
    assert len(list((folder / "figures").glob("*.png"))) == len(list((folder / "figures").glob("*.svg"))) == 3


@pytest.mark.long
def test_preset_values_are_used_and_given_ones_override_them(finished, tmp_path, perdure):
    config = json.loads((finished[0] / "config.json").read_text())
    assert config["learner"]["hyperparameters"]["learning_rate"] == 0.1
    assert perdure("run", "online", *SMALL, "--learning-rate", 0.02, "--out", tmp_path / "x").returncode == 0
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    assert config["learner"]["hyperparameters"] == {"learning_rate": 0.02}


@pytest.mark.long
def test_task_order_is_taken(tmp_path, perdure):
    assert perdure("run", "online", *SMALL, "--task-order", "1,0", "--out", tmp_path / "x").returncode == 0
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    assert config["benchmark"]["options"]["task_order"] == [1, 0]


@pytest.mark.long
def test_a_finished_run_is_shown_not_run_again(finished, perdure):
    folder, _ = finished
    before = (folder / "summary.json").stat().st_mtime_ns
    again = perdure("run", "mer", *SMALL, "--seeds", 2, "--full-matrix", "--alignment", "--out", folder)
    assert "finished before" in again.stdout
    assert (folder / "summary.json").stat().st_mtime_ns == before
    assert "mer" in perdure("resume", folder).stdout


def test_results_and_report(finished, tmp_path, perdure):
    folder, _ = finished
    listed = perdure("results", folder.parent).stdout
    assert "digits-rotations" in listed
    assert "finished" in listed
    report = perdure("report", folder, folder, "--figures", tmp_path / "figures")
    assert report.returncode == 0, report.stderr
    assert len(list((tmp_path / "figures").glob("*.svg"))) >= 3


@pytest.mark.long
def test_default_folder_is_under_runs(tmp_path, perdure):
    assert perdure("run", "online", *SMALL, cwd=tmp_path).returncode == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("online-digits-rotations-")


BAD = {
    "nearest learner": (["run", "merr", *SMALL], "did you mean 'mer'"),
    "nearest benchmark": (["run", "mer", "digit-rotations"], "did you mean 'digits-rotations'"),
    "negative rate": (["run", "mer", *SMALL, "--learning-rate", "-0.1"], "--learning-rate is -0.1"),
    "NaN rate": (["run", "mer", *SMALL, "--beta", "nan"], "--beta is nan"),
    "memory of 0": (["run", "mer", *SMALL, "--memory-size", "0"], "--memory-size is 0"),
    "more than all": (["run", "slda", *SMALL, "--shrinkage", "2"], "--shrinkage is 2.0, expected a number from 0 to 1"),
    "too many examples": (["run", "mer", "digits-rotations", "--examples-per-task", "9999"], "9999"),
    "no task": (["run", "mer", "digits-rotations", "--tasks", "0"], "number of tasks is 0"),
    "task order": (["run", "mer", *SMALL, "--task-order", "0,x"], "--task-order is '0,x'"),
    "no run": (["resume", "."], "holds no config.json"),
    "unknown table": (["reproduce", "mer", "--table", "x"], "no table x; choose among: retained, "),
    "unknown study": (["reproduce", "gem"], "'gem'"),
    "unknown data set": (["data", "fetch", "nothing"], "'nothing'"),
    "divergence": (["run", "mer", *SMALL, "--learning-rate", "1e9"], "diverged"),
}


SLOW = ("too many examples", "no task", "task order", "divergence", "memory of 0", "NaN rate")
"""Of which more is loaded before they are refused."""


@pytest.mark.parametrize("name", first_short(sorted(BAD, key=SLOW.__contains__), len(BAD) - len(SLOW)))
def test_bad_input_is_one_message_and_status_2(name, tmp_path, typed):
    arguments, message = BAD[name]
    process = typed(*arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


def test_another_configuration_in_the_folder_is_refused(finished, perdure):
    folder, _ = finished
    process = perdure("run", "mer", *SMALL, "--seeds", 2, "--beta", 0.5, "--out", folder)
    assert process.returncode == 2
    assert "learner.hyperparameters.beta: 0.03 there, 0.5 requested" in process.stderr


def test_debug_shows_the_traceback(perdure):
    process = perdure("--debug", "run", "mre", "x")
    assert process.returncode != 0
    assert "Traceback" in process.stderr


@pytest.mark.long
def test_another_memory_size_than_the_presets_is_noted(tmp_path, perdure):
    process = perdure("run", "er", *SMALL, "--memory-size", 50, "--out", tmp_path / "er")
    assert process.returncode == 0
    assert "memory size 50; the hyper-parameters not given are those for 200" in process.stderr


@pytest.mark.long
def test_interrupted_run_tells_how_to_go_on(tmp_path, perdure):
    arguments = ["run", "mer", "digits-rotations", "--out", str(tmp_path / "mer"), "--checkpoint-seconds", "0"]
    process = subprocess.Popen([sys.executable, "-m", "perdure", *arguments], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list((tmp_path / "mer").glob("checkpoints/*.safetensors")):
        time.sleep(0.05)
    process.terminate()
    _, printed = process.communicate()
    assert process.returncode == 128 + 15
    assert "perdure resume" in printed
    resumed = perdure("resume", tmp_path / "mer", "--quiet")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((tmp_path / "mer" / "summary.json").read_text())["examples_seen"] == 5000


@pytest.mark.long
@pytest.mark.real_data
def test_data_commands(mnist_dir, tmp_path, perdure):
    listed = perdure("data", "list", "--data-dir", mnist_dir)
    assert "mnist" in listed.stdout
    assert "digits" in listed.stdout
    assert perdure("data", "verify", "mnist", "--data-dir", mnist_dir).stdout.count("verified") == 4
    fetched = perdure("data", "fetch", "mnist", "--data-dir", mnist_dir).stdout
    assert fetched.count("ubyte") == 4


@pytest.fixture
def short_study(monkeypatch):
    """Puts a study of seconds, of which one run diverges, in the place of the published one; returns what was asked."""
    asked = []

    def cell(rate):
        options = {"tasks": 2, "examples_per_task": 20}
        preset = Preset("online", "digits-rotations", None, {"learning_rate": rate}, "tests", None, options=options)
        return Cell(preset, 2, "needed", False)

    def load(name, seeds, *, quick):
        asked.append((name, seeds, quick))
        return Study({"retained": [cell(0.05)], "variants": [cell(1e9)]}, [], name, seeds, quick)

    monkeypatch.setattr(studies, "load_study", load)
    return asked


@pytest.mark.long
def test_reproduce_writes_both_pages_and_does_nothing_twice(short_study, tmp_path, capsys):
    reproduce("mer", table="retained", seeds=2, out=tmp_path, quiet=True)
    assert short_study == [("mer", 2, False)]
    pages = [tmp_path / "results.md", tmp_path / "results.html"]
    assert capsys.readouterr().out.split() == [str(page) for page in pages]
    before = [page.read_text(encoding="utf-8") for page in pages]
    assert "| Online  |" in before[0]
    assert '<td class="text">Online</td>' in before[1]
    reproduce("mer", table="retained", seeds=2, out=tmp_path, quiet=True)
    assert [page.read_text(encoding="utf-8") for page in pages] == before


@pytest.mark.long
def test_reproduce_tells_what_failed_and_still_writes_the_pages(short_study, tmp_path, capsys):
    page, html = tmp_path / "pages" / "page.md", tmp_path / "pages" / "page.html"
    with pytest.raises(typer.Exit) as ended:
        reproduce("mer", quick=True, out=tmp_path / "runs", page=page, html=html, workers=2, quiet=True)
    assert ended.value.exit_code == 1
    assert short_study == [("mer", None, True)]
    message = capsys.readouterr().err
    assert "failed: online-digits-rotations-" in message
    assert "diverged" in message
    assert page.read_text(encoding="utf-8").startswith("# Quick pass: not comparable")
    assert html.exists()
