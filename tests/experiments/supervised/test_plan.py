"""From names and options to a learner."""

import optax
import pytest

from perdure.experiments.supervised.defaults import note_of_defaults
from perdure.experiments.supervised.plan import MissingValuesError, choose_learner, spec_of
from perdure.experiments.supervised.spec import run_spec
from perdure.learners.defaults import Taken
from perdure.learners.er import ER
from perdure.learners.mer import MER
from perdure.learners.online import Online
from perdure.models import benchmark_mlp
from perdure.records.errors import ResultsError
from perdure.records.folder import own_folder
from perdure.records.learner import RunRecord
from perdure.streams.catalog import BenchmarkRecipe
from perdure.updates.losses import mean_squared_error


def test_published_values_are_taken_where_nothing_is_given():
    learner, notes, _ = choose_learner("mer", "mnist-permutations", {"memory_size": 500})
    assert learner == MER(0.03, 500, 25, beta=0.03, gamma=1.0, batches_per_example=10)
    assert notes == []


def test_given_values_override_published_ones():
    learner, _, _ = choose_learner("mer", "mnist-rotations", {"memory_size": 200, "beta": 0.5})
    assert learner == MER(0.1, 200, 10, beta=0.5, gamma=1.0, batches_per_example=5)


def test_another_memory_size_is_noted():
    learner, notes, _ = choose_learner("er", "mnist-rotations", {"memory_size": 300})
    assert learner == ER(0.1, 300, 10)
    assert len(notes) == 1
    assert "memory size 300; the hyper-parameters not given are those for 200" in notes[0]


@pytest.mark.parametrize(
    ("name", "benchmark", "chosen_for"),
    [("mer", "mnist-split", "digits-rotations"), ("c-maml", "cifar100", "mnist-rotations")],
)
def test_a_benchmark_without_preset_has_values_that_are_marked(name, benchmark, chosen_for):
    learner, (note,), _ = choose_learner(name, benchmark, {})
    assert learner == choose_learner(name, chosen_for, {}).learner
    assert f"were not chosen for {benchmark}, but for {chosen_for}; choose better: perdure" in note
    assert f"perdure tune {name} {benchmark} --" in note


@pytest.mark.parametrize(
    ("name", "given", "remedy"),
    [
        ("er", {"learning_rate": 0.5}, "; choose better: perdure tune er mnist-split --replay-batch-size 5,10,20"),
        ("er", {"learning_rate": 0.5, "replay_batch_size": 5}, "; give another if it does not suit it"),
        ("multi-timescale-mer", {}, "; give another if it does not suit it"),
        ("gdumb", {"learning_rate": 0.5, "epochs": 3}, " --batch-size 5,10,20"),
    ],
)
def test_a_search_has_several_values_or_is_not_proposed(name, given, remedy):
    """The command proposed must be one that runs: a search of nothing is refused."""
    _, (note,), _ = choose_learner(name, "mnist-split", given)
    assert note.endswith(remedy)


def test_only_values_that_were_not_given_are_marked():
    learner, (note,), _ = choose_learner("er", "mnist-split", {"learning_rate": 0.5, "memory_size": 70})
    assert learner == ER(0.5, 70, 10)
    assert note.startswith("replay_batch_size = 10 was not chosen for mnist-split")


def test_the_search_that_is_proposed_is_of_the_same_stream():
    options = {"scenario": "domain", "hides_tasks": True, "task_order": [1, 0]}
    (note,) = choose_learner("er", "digits-split", {}, options=options).notes
    stream = "digits-split --scenario domain --hide-tasks"
    assert f"were not chosen for {stream}, but for digits-rotations" in note
    assert f"perdure tune er {stream} --learning-rate 0.01," in note


def test_commands_that_are_proposed_name_files_with_spaces(tmp_path):
    file = tmp_path / "my learner.py"
    file.write_text(
        "from perdure import Online\nfrom perdure.learn import rate\n\n"
        'class Mine(Online):\n    beta: float = rate("own")\n'
    )
    with pytest.raises(MissingValuesError, match=f"choose them: perdure tune '{file}:Mine' 'a b.csv' --beta VALUES"):
        choose_learner(f"{file}:Mine", "data", {"learning_rate": 0.1}, typed="a b.csv")
    note = note_of_defaults(Online, f"{file}:Online", "'a b.csv'", Taken(None, {"learning_rate": 0.1}))
    assert f"choose better: perdure tune '{file}:Online' 'a b.csv' --learning-rate" in note


def test_a_learner_that_is_given_all_it_needs_is_not_noted():
    given = {"learning_rate": 0.1, "memory_size": 300, "replay_batch_size": 5}
    assert choose_learner("er", "mnist-rotations", given).notes == []


@pytest.mark.parametrize("options", [{}, {"tasks": 6}, {"examples_per_task": 5}])
def test_values_chosen_for_a_part_of_the_benchmark_are_noted(options):
    message = "hyper-parameters not given were chosen for a part of omniglot, tasks = 5, and may not suit the stream"
    (note,) = choose_learner("mer", "omniglot", {}, options=options).notes
    assert message in note
    of_memory, of_part = choose_learner("er", "omniglot", {"memory_size": 5120}, options=options).notes
    assert "memory size 5120" in of_memory
    assert message in of_part


def test_values_chosen_for_the_part_that_is_asked_for_are_not_noted():
    assert choose_learner("mer", "omniglot", {}, options={"tasks": 5, "task_order": [4, 3, 2, 1, 0]}).notes == []
    assert choose_learner("online", "omniglot", {"learning_rate": 0.1}).notes == []
    assert choose_learner("online", "mnist-rotations", {}, options={"tasks": 5}).notes == []


def recorded(folder, config):
    """Return the record of an unfinished run of this configuration."""
    with own_folder(folder, config):
        return RunRecord.load(folder)


def test_every_configuration_has_a_folder_of_its_own(tmp_path):
    recipe = BenchmarkRecipe("digits-rotations")
    learners = [choose_learner("mer", recipe.name, {"beta": beta}).learner for beta in (0.1, 0.2)]
    folders = {run_spec(it, recipe).default_folder(tmp_path) for it in learners}
    assert len(folders) == 2
    assert all(folder.name.startswith("mer-digits-rotations-") for folder in folders)


def test_a_recorded_run_gives_back_its_specification(tmp_path):
    recipe = BenchmarkRecipe("digits-rotations", {"tasks": 3})
    learner = choose_learner("mer", recipe.name, {}).learner
    spec = run_spec(learner, recipe, seeds=[4, 2], evaluation="full", alignment=True)
    again = spec_of(recorded(tmp_path, spec.config))
    assert again == spec
    assert (again.learner, again.benchmark, again.model) == (learner, recipe, benchmark_mlp)
    assert (again.seeds, again.evaluation, again.alignment) == ((4, 2), "full", True)


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"optimizer": optax.adam}, r"optimizer optax\S*\.adam"),
        ({"loss": mean_squared_error}, r"loss perdure\S*\.mean_squared_error"),
        ({"loss": mean_squared_error, "optimizer": optax.adam}, r"loss \S*mean_squared_error, optimizer \S*adam"),
    ],
)
def test_a_run_with_a_loss_or_optimizer_is_resumed_from_python(tmp_path, own, named):
    config = run_spec(Online(0.1, **own), BenchmarkRecipe("digits-rotations")).config
    message = rf"was begun from Python with its own .*{named}.*, which the command line cannot make; .*perdure\.run\("
    with pytest.raises(ResultsError, match=message):
        spec_of(recorded(tmp_path, config))


@pytest.mark.parametrize("path", ["learner", "benchmark", "model"])
def test_a_run_of_an_own_learner_benchmark_or_model_is_resumed_from_python(tmp_path, path):
    config = run_spec(choose_learner("online", "digits-rotations", {}).learner, BenchmarkRecipe("digits-rotations"))
    other = {**config.config, path: {**config.config[path], "name": "Mine"}}
    with pytest.raises(ResultsError, match=rf"with its own .*{path} Mine.*perdure\.run\("):
        spec_of(recorded(tmp_path, other))
