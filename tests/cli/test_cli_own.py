"""Own code and own files on the command line: a learner, a stream, a network, a table."""

import json
import shlex
import sys

import numpy as np
import pytest

from perdure.records.agent import AgentRecord
from perdure.records.learner import RunRecord
from perdure.records.tuning import TuningRecord
from perdure.report.commands import command_of
from tests import own_code

OWN = ["run", "my_method.py:MyLearner", "my_stream.py:make", "--model", "my_net.py:Net", "--quiet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with own code; what is imported from it is forgotten afterwards."""
    own_code.write_own_code(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    own_code.forget(sys.modules, tmp_path)


def test_own_learner_stream_and_network_run_and_resume(typed, folder):
    options = ["--learning-rate", "0.1", "--my-field", "3", "--tasks", "3", "--out", "mine"]
    ended = typed(*OWN, *options, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    record = RunRecord.load(folder / "mine")
    assert record.config["learner"]["hyperparameters"] == {"learning_rate": 0.1, "my_field": 3}
    assert record.title == "MyLearner, on my_stream.make"
    assert record.config["benchmark"]["options"] == {"tasks": 3}
    assert record.config["model"]["name"] == "Net"
    (folder / "mine" / "summary.json").unlink()
    (folder / "elsewhere").mkdir()
    own_code.forget(sys.modules, folder)
    ended = typed("resume", folder / "mine", "--quiet", cwd=folder / "elsewhere")
    assert ended.returncode == 0, ended.stderr
    again = RunRecord.load(folder / "mine")
    assert again.summary is not None
    np.testing.assert_array_equal(again.accuracy, record.accuracy)
    assert "MyLearner" in typed("report", folder / "mine", cwd=folder).stdout


def test_the_command_of_a_run_of_own_code_makes_it_again(typed, folder, monkeypatch):
    monkeypatch.chdir(folder)
    options = ["--learning-rate", "0.1", "--my-field", "3", "--tasks", "3", "--out", "mine"]
    assert typed(*OWN, *options, cwd=folder).returncode == 0
    command = command_of(RunRecord.load(folder / "mine"))
    assert command is not None
    assert str(folder) not in command
    own_code.forget(sys.modules, folder)
    assert typed(*shlex.split(command)[1:], "--quiet", "--out", "again", cwd=folder).returncode == 0
    first, again = (json.loads((folder / it / "config.json").read_text()) for it in ("mine", "again"))
    assert again == first


@pytest.mark.parametrize("options", [["--hidden", "8,4"], ["--optimizer", "momentum"]])
def test_the_command_of_a_run_with_typed_parts_makes_it_again(typed, folder, options):
    stream = ["digits-split", "--tasks", "2", "--examples-per-task", "20"]
    assert typed("run", "online", *stream, *options, "--quiet", "--out", "one", cwd=folder).returncode == 0
    command = command_of(RunRecord.load(folder / "one"))
    assert command is not None
    assert " ".join(options) in command
    assert typed(*shlex.split(command)[1:], "--quiet", "--out", "again", cwd=folder).returncode == 0
    first, again = (json.loads((folder / it / "config.json").read_text()) for it in ("one", "again"))
    assert again == first


def test_plain_fields_of_an_own_learner_are_options(typed, folder):
    help = typed("run", "my_method.py:Plain", "--help", cwd=folder).stdout
    for option in ("--learning-rate", "--share", "--steps", "--backwards", "--part"):
        assert option in help
    given = ["--learning-rate", "0.1", "--share", "0.5", "--steps", "2", "--backwards", "--part", "none"]
    ended = typed("run", "my_method.py:Plain", "my_stream.py:make", *given, "--quiet", "--out", "it", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    values = {"learning_rate": 0.1, "share": 0.5, "steps": 2, "backwards": True, "part": "none"}
    assert RunRecord.load(folder / "it").config["learner"]["hyperparameters"] == values
    assert typed("check", "my_method.py:Plain", cwd=folder).returncode == 0
    ended = typed("run", "my_method.py:Plain", "my_stream.py:make", "--quiet", cwd=folder)
    assert "so it needs values of --learning-rate; give them, or choose them: perdure tune" in ended.stderr
    ended = typed("run", "my_method.py:Plain", "my_stream.py:make", "--steps", "1.5", cwd=folder)
    assert "--steps" in ended.stderr


def test_plain_fields_of_an_own_learner_are_searched(typed, folder):
    search = ["tune", "my_method.py:Plain", "my_stream.py:make", "--quiet", "--seeds", "1", "--out", "it"]
    ended = typed(*search, "--learning-rate", "0.1", "--share", "0.5,1", "--steps", "1,2", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    record = TuningRecord.load(folder / "it")
    tried = {(it["share"], it["steps"]) for it in record.request.combinations}
    assert tried == {(0.5, 1), (0.5, 2), (1.0, 1), (1.0, 2)}


def test_a_run_of_code_that_has_changed_is_not_resumed(typed, folder):
    assert typed(*OWN, "--learning-rate", "0.1", "--out", "mine", cwd=folder).returncode == 0
    (folder / "mine" / "summary.json").unlink()
    file = folder / "my_method.py"
    file.write_text(file.read_text().replace("self.learning_rate)", "self.learning_rate / 2)"))
    own_code.forget(sys.modules, folder)
    ended = typed("resume", "mine", "--quiet", cwd=folder)
    assert ended.returncode == 2
    assert "made by other code of the same name: its source has changed since:\n  learner.source" in ended.stderr


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_a_file_is_a_stream(typed, folder, ending):
    write_table(folder / f"data.{ending}", 20)
    write_table(folder / f"test.{ending}", 12)
    options = ["--label", "kind", "--task", "part", "--test", f"test.{ending}", "--out", "it", "--quiet"]
    options += ["--learning-rate", "0.1", "--hidden", "6", "--optimizer", "adam"]
    ended = typed("run", "online", f"data.{ending}", *options, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    record = RunRecord.load(folder / "it")
    assert record.accuracy is not None
    assert record.accuracy.shape == (1, 3, 2)
    assert record.benchmark == "data"
    assert "adam" in record.config["learner"]["fields"]["optimizer"]["name"]
    (folder / "it" / "summary.json").unlink()
    ended = typed("resume", "it", "--quiet", cwd=folder)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.long
def test_own_learners_are_tuned_on_own_streams_and_the_search_resumes(typed, folder):
    search = ["tune", "my_method.py:MyLearner", "my_stream.py:make", "--model", "my_net.py:Net", "--quiet"]
    ended = typed(*search, "--learning-rate", "0.01,0.1", "--seeds", "1", "--out", "it", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    again = (
        "perdure run my_method.py:MyLearner my_stream.py:make --preset it/preset.toml --seeds 5 --model my_net.py:Net"
    )
    assert again in ended.stdout.replace("\n", " ")
    (folder / "it" / "summary.json").unlink()
    (folder / "it" / "trials.json").unlink()
    own_code.forget(sys.modules, folder)
    ended = typed("resume", "it", "--quiet", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert "2 combinations" in ended.stdout
    assert typed(*again.split()[1:], "--quiet", "--out", "measured", cwd=folder).returncode == 0


def test_a_search_of_an_own_learner_names_what_it_lacks(typed, folder):
    search = ["tune", "my_method.py:MyLearner", "my_stream.py:make", "--my-field", "2,3"]
    ended = typed(*search, cwd=folder)
    assert ended.returncode == 2
    assert (
        "it needs values of --learning-rate; give each a value or several to choose from (--learning-rate"
        in ended.stderr
    )


def write_table(path, n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 2)).astype("float32")
    part = np.where(np.arange(n) < n // 2, "late", "early")  # in the order of the file, not sorted
    kind = np.where(x.sum(axis=1) > 0, "yes", "no")
    if path.suffix == ".npz":
        np.savez(path, x=x, kind=kind, part=part)
        return
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table({"a": x[:, 0], "b": x[:, 1], "part": part.tolist(), "kind": kind.tolist()})
    csv.write_csv(table, path) if path.suffix == ".csv" else parquet.write_table(table, path)


def test_tasks_come_in_the_order_of_the_file(folder):
    from perdure.streams.datasets import from_table

    write_table(folder / "data.csv", 20)
    benchmark = from_table(folder / "data.csv", label="kind", task="part")
    first = np.loadtxt(folder / "data.csv", delimiter=",", skiprows=1, usecols=(0, 1), dtype="float32")
    np.testing.assert_array_equal(benchmark.train.x, first)
    np.testing.assert_array_equal(benchmark.train.y, (first.sum(axis=1) > 0).astype(int))
    assert benchmark.train.task.tolist() == [0] * 10 + [1] * 10


@pytest.mark.parametrize("with_tasks", [True, False])
def test_tests_beside_the_training_examples_have_their_tasks(folder, with_tasks):
    from perdure.streams.datasets import from_table

    x, kind, part = np.arange(12.0).reshape(6, 2), ["no", "yes"] * 3, np.repeat([7, 3], 3)
    arrays = {"x": x, "kind": kind, "part": part, "test_x": x[:3] + 100, "test_kind": ["yes", "no", "yes"]}
    if with_tasks:
        arrays["test_part"] = part[[0, 3, 4]]
    np.savez(folder / "data.npz", allow_pickle=False, **arrays)
    benchmark = from_table(folder / "data.npz", label="kind", task="part")
    assert benchmark.test is not None
    assert [y.tolist() for _, y in benchmark.test] == ([[1], [0, 1]] if with_tasks else [[1, 0, 1]] * 2)
    np.testing.assert_array_equal(benchmark.train.x, x)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("absent.py:MyLearner my_stream.py:make", "absent.py does not exist; give the path of your file"),
        ("my_methd.py:MyLearner my_stream.py:make", "my_methd.py does not exist; did you mean my_method.py?"),
        ("my_method.py:MyLerner my_stream.py:make", "has no MyLerner; did you mean my_method.py:MyLearner?"),
        ("my_method.py my_stream.py:make", "is a file, expected FILE.py:NAME; it has my_method.py:MyState, my_method"),
        ("my_method.py:number my_stream.py:make", "my_method.py:number is an int, expected the class of a learner"),
        ("my_method.py:MyState my_stream.py:make", "does not derive from perdure.Learner and lacks init, observe"),
        ("my_method.py:Unfinished my_stream.py:make", "is no learner yet: it lacks answering, observe"),
        ("broken.py:It my_stream.py:make", "fails to import at line 2, 'absent_name': NameError: name 'absent_name'"),
        ("wrong.py:It my_stream.py:make", "wrong.py fails to import at line 1, 'def':"),
        ("my_method.py:MyLearner", "give a benchmark: digits-rotations, "),
        ("my_method.py:MyLearner digits-rotations", "no preset of my_method.py:MyLearner for digits-rotations, so it"),
        ("my_method.py:MyLearner digits-rotations --my-feild 3", "no option --my-feild; did you mean --my-field?"),
        ("online my_stream.py:made --learning-rate 0.1", "has no made; did you mean my_stream.py:make?"),
        ("online my_method.py:number --learning-rate 0.1", "is an int, expected a function of a seed that returns a"),
        ("online my_stream.py:make --learning-rate 0.1 --validation", "no option --validation, its options are tasks;"),
        (
            "online my_stream.py:make --learning-rate 0.1 --label y",
            "--label is of a stream in a file with columns or arrays, and my_stream",
        ),
        ("online digits-rotations --hidden 5,x", "--hidden is '5,x', expected the units of each hidden layer"),
        ("online digits-rotations --optimizer adamm", "there is no optimizer 'adamm'; give one of sgd, momentum, adam"),
        ("gem digits-rotations --optimizer adam", "gem has no --optimizer; online, "),
        ("online digits-rotations --model Nett", "there is no model 'Nett'; give one of benchmark_mlp"),
        ("online digits-rotations --model my_net.py:Net --hidden 5", "give --model or --hidden, not both"),
        ("er digits-rotations --beta 0.1", "er has no --beta; "),
    ],
)
def test_a_mistake_is_explained_in_one_line(typed, folder, command, message):
    (folder / "broken.py").write_text("import math\nabsent_name\n")
    (folder / "wrong.py").write_text("def\n")
    ended = typed("run", *command.split(), cwd=folder)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (folder / "runs").exists()


def test_a_file_with_the_name_of_a_library_does_not_take_its_place(folder):
    from perdure.own import LEARNERS, load_own

    (folder / "json.py").write_text("def mine():\n    return 5\n")
    assert load_own(str(folder / "json.py:mine"), LEARNERS)() == 5
    assert sys.modules["json"] is json


@pytest.mark.long
def test_check_shows_what_holds(typed, folder):
    ended = typed("check", "my_method.py:MyLearner", cwd=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    passed, of, total = ended.stdout.split("MyLearner: ")[1].split()[:3]
    assert (passed, of) == (total, "of")
    assert ended.stdout.count("passed") == int(total) + 1
    assert "failed" not in ended.stdout


def test_check_shows_what_fails_and_why(typed, folder):
    file = folder / "my_method.py"
    file.write_text(file.read_text().replace("predict_one(state.model, example.x)", "predict_one(model, example.x)"))
    ended = typed("check", "my_method.py:MyLearner", "--learning-rate", "0.1", cwd=folder)
    assert ended.returncode == 1
    (line,) = [it for it in ended.stdout.splitlines() if "failed" in it]
    assert line.startswith("the outputs reported are what it predicts")
    assert not (folder / "runs").exists()


@pytest.mark.long
def test_a_new_learner_passes_check_and_runs(typed, folder):
    ended = typed("new", "learner", "MyMethod2", cwd=folder)
    assert ended.returncode == 0
    assert ended.stdout.startswith("my_method2.py\ncheck it: perdure check my_method2.py:MyMethod2\n")
    assert typed("check", "my_method2.py:MyMethod2", cwd=folder).returncode == 0
    ended = typed("run", "my_method2.py:MyMethod2", "my_stream.py:make", "--quiet", "--out", "it", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    before = (folder / "my_method2.py").read_text()
    ended = typed("new", "learner", "MyMethod2", cwd=folder)
    assert ended.returncode == 2
    assert "my_method2.py exists and is not written over; give another --file" in ended.stderr
    assert (folder / "my_method2.py").read_text() == before


def test_the_commands_of_a_new_learner_in_a_file_with_spaces_can_be_typed(typed, tmp_path):
    ended = typed("new", "learner", "Mine", "--file", "my own.py", cwd=tmp_path)
    check, run = "perdure check 'my own.py:Mine'", "perdure run 'my own.py:Mine' digits-rotations --seeds 3"
    assert ended.stdout == f"my own.py\ncheck it: {check}\nrun it: {run}\n"
    assert f"\n{check}\n{run}\n" in (tmp_path / "my own.py").read_text()


@pytest.mark.parametrize(
    ("name", "suggestion"), [("my-learner", "MyLearner"), ("2nd-one", "NdOne"), ("class", "Class"), ("", "MyLearner")]
)
def test_a_new_learner_has_a_name_that_python_takes(typed, folder, name, suggestion):
    before = sorted(folder.iterdir())
    ended = typed("new", "learner", name, cwd=folder)
    assert ended.returncode == 2
    assert f"{name!r} is no name of a class" in ended.stderr
    assert ended.stderr.rstrip().endswith(f"as {suggestion}")
    assert sorted(folder.iterdir()) == before


def test_names_that_an_installed_package_offers_work(typed, folder, monkeypatch):
    pytest.importorskip("importlib_metadata")  # MLflow loads it; entry points are of its classes from then on

    installed = folder / "installed"
    (installed / "tiny-1.0.dist-info").mkdir(parents=True)
    own_code.write_own_code(installed)
    for module in ("method", "stream", "net", "env"):
        (installed / f"my_{module}.py").rename(installed / f"tiny_{module}.py")
    (installed / "tiny-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (installed / "tiny-1.0.dist-info" / "entry_points.txt").write_text(
        "[perdure.learners]\ntiny-sgd = tiny_method:MyLearner\nbroken = tiny_absent:It\n"
        "[perdure.benchmarks]\ntiny-sums = tiny_stream:make\n[perdure.models]\ntiny-net = tiny_net:Net\n"
        "[perdure.environments]\ntiny-car = tiny_env:car\ntiny-number = tiny_env:number\n"
    )
    monkeypatch.syspath_prepend(str(installed))
    run = ["run", "tiny-sgd", "tiny-sums", "--model", "tiny-net", "--learning-rate", "0.1", "--quiet", "--out", "it"]
    ended = typed(*run, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    record = RunRecord.load(folder / "it")
    assert (record.learner, record.benchmark) == ("tiny-sgd", "tiny-sums")
    (folder / "it" / "summary.json").unlink()
    assert typed("resume", "it", "--quiet", cwd=folder).returncode == 0
    ended = typed("run", "broken", "tiny-sums", cwd=folder)
    assert "broken of tiny (tiny_absent:It) fails to import: ModuleNotFoundError" in ended.stderr
    learning = ["--warmup-frames", "5", "--episodes", "1"]
    play = ["rl", "train", "dqn", "--schedule", "0:20", *learning, "--quiet", "--out", "played"]
    ended = typed(*play, "tiny-car", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    played = AgentRecord.load(folder / "played")
    assert (played.environment, played.config["environment"]["source"]) == ("MountainCar-v0", "tiny-car")
    (folder / "played" / "summary.json").unlink()
    ended = typed("resume", "played", "--quiet", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    ended = typed(*play, "tiny-number", cwd=folder)
    assert "tiny-number is a int, expected a class or a function without arguments" in ended.stderr
    ended = typed(*play, "tiny-cat", cwd=folder)
    assert "unknown environment 'tiny-cat'; did you mean 'tiny-car'? Known: catcher" in ended.stderr


ODD = """
NUMBER = 3
def nothing(): return 1
def one(seed): return 1 / 0
class Custom(Plain):
    def __init__(self, thing):
        self.learning_rate = 0.1
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["online", "digits-split", "--optimizer", "NUMBER"],
            "my_method.py:NUMBER is an int, expected a function that",
        ),
        (
            ["online", "digits-split", "--optimizer", "nothing"],
            "my_method.py:nothing takes (), expected a function that",
        ),
        (["online", "digits-split", "--optimizer", "Plain"], "my_method.py:Plain returns a Plain, expected a function"),
        (["online", "digits-split", "--model", "nothing"], "my_method.py:nothing takes (), expected a function that"),
        (["online", "nothing"], "my_method.py:nothing takes (), expected a function that takes a seed"),
        (["online", "one"], "ZeroDivisionError: division by zero (line "),
        (
            ["online", "t.csv", "--task", "part", "--tasks", "2"],
            "--tasks is given with --task part, which tells the tasks",
        ),
        (["Custom", "digits-split"], "my_method.py:Custom takes (thing), expected its hyper-parameters by name ("),
        (["Plain,mer", "digits-split"], "put them side by side with perdure compare my_method.py:Plain,mer BENCHMARK"),
        (["er,mer", "digits-split"], "er,mer is several learners, expected one; put them side by side"),
    ],
)
def test_own_code_that_does_not_fit_is_told(typed, folder, words, message):
    with (folder / "my_method.py").open("a") as file:
        file.write(ODD)
    names = ("NUMBER", "nothing", "one", "Plain", "Custom", "Plain,mer")
    ended = typed("run", *(f"my_method.py:{it}" if it in names else it for it in words), "--quiet", cwd=folder)
    assert ended.returncode == 2
    assert message in ended.stderr
