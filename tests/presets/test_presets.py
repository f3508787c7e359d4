import pytest

from perdure.learners.catalog import make_learner
from perdure.presets.learners import (
    Published,
    find_preset,
    follows_protocol,
    load_presets,
    published,
    published_alignment,
    published_figures,
)
from perdure.streams.catalog import BenchmarkRecipe

MER = {"learning_rate", "memory_size", "replay_batch_size", "gamma"}
FIELDS = {
    "online": {"learning_rate"},
    "independent": {"learning_rate"},
    "ewc": {"learning_rate", "fisher_examples", "strength"},
    "gem": {"learning_rate", "memory_size", "margin"},
    "er": {"learning_rate", "memory_size", "replay_batch_size"},
    "er-algorithm-5": {"learning_rate", "memory_size", "replay_batch_size"},
    "mer": {*MER, "beta", "batches_per_example"},
    "mer-algorithm-6": MER,
    "mer-algorithm-7": {*MER, "current_example_weight"},
}
PAPER = "Riemer et al. 2019, released run script"
MEMORIES = {
    "mnist-rotations": [5120, 500, 200],
    "mnist-permutations": [5120, 500, 200],
    "mnist-many-permutations": [5120, 500],
}


def of_the_paper():
    return [row for row in load_presets() if row.source == PAPER]


def test_no_row_is_there_twice():
    keys = [(row.learner, row.benchmark, row.memory_size) for row in load_presets()]
    assert len(keys) == len(set(keys))


def test_every_published_row_is_there():
    assert {(row.learner, row.benchmark, row.memory_size) for row in of_the_paper()} == {
        (learner, benchmark, memory)
        for learner, fields in FIELDS.items()
        for benchmark, sizes in MEMORIES.items()
        for memory in (sizes if "memory_size" in fields else [None])
    }


@pytest.mark.parametrize("row", of_the_paper(), ids=lambda row: f"{row.learner}-{row.benchmark}-{row.memory_size}")
def test_a_published_row_sets_its_learners_fields_and_has_its_figure(row):
    assert set(row.hyperparameters) == FIELDS[row.learner]
    assert row.options == {}
    assert (row.retained_accuracy is not None) == (row.learner in ("online", "ewc", "gem", "mer"))


@pytest.mark.parametrize("row", load_presets(), ids=lambda row: f"{row.learner}-{row.benchmark}-{row.memory_size}")
def test_a_preset_makes_its_learner_for_its_benchmark(row):
    make_learner(row.learner, **row.hyperparameters)
    BenchmarkRecipe(row.benchmark, row.options)
    assert row.hyperparameters.get("memory_size") == row.memory_size


def test_values_of_a_row_of_each_table():
    def values(*key):
        preset = find_preset(*key)
        assert preset is not None
        return dict(preset.hyperparameters)

    assert values("mer", "mnist-many-permutations", 5120) == {
        "memory_size": 5120,
        "learning_rate": 0.1,
        "beta": 0.01,
        "gamma": 1.0,
        "replay_batch_size": 5,
        "batches_per_example": 10,
    }
    assert values("mer-algorithm-6", "mnist-permutations", 500) == {
        "memory_size": 500,
        "learning_rate": 0.03,
        "gamma": 0.3,
        "replay_batch_size": 10,
    }
    assert values("mer-algorithm-7", "mnist-permutations", 200) == {
        "memory_size": 200,
        "learning_rate": 0.03,
        "gamma": 0.1,
        "replay_batch_size": 5,
        "current_example_weight": 2.0,
    }
    assert values("er-algorithm-5", "mnist-many-permutations", 5120) == {
        "memory_size": 5120,
        "learning_rate": 0.003,
        "replay_batch_size": 10,
    }
    assert values("online", "mnist-rotations") == {"learning_rate": 0.0003}


def test_the_values_of_la_maml_and_its_kin_are_those_of_their_run_script():
    rows = [row for row in load_presets() if row.source == "Gupta et al. 2020, released run script"]
    assert {(row.learner, row.benchmark, row.memory_size) for row in rows} == {
        (learner, benchmark, sizes[-1])
        for learner in ("la-maml", "sync", "c-maml")
        for benchmark, sizes in MEMORIES.items()
    }
    shared = {"replay_batch_size": 10, "batch_size": 10, "clip_norm": 2.0}
    assert all(shared.items() <= row.hyperparameters.items() for row in rows)
    many = find_preset("la-maml", "mnist-many-permutations")
    assert many is not None
    own = {"memory_size": 500, "glances": 10, "initial_rate": 0.1, "rate_learning_rate": 0.1}
    assert many.hyperparameters == shared | own


def test_the_smallest_memory_is_meant_where_none_is_named():
    smallest = find_preset("mer", "mnist-rotations")
    assert smallest is not None
    assert (smallest.memory_size, smallest.exact) == (200, True)
    assert smallest.retained_accuracy == Published(77.24, 0.47)


@pytest.mark.parametrize(("asked", "nearest"), [(100, 200), (340, 200), (400, 500), (100_000, 5120)])
def test_the_nearest_memory_stands_in_and_says_so(asked, nearest):
    preset = find_preset("mer", "mnist-rotations", asked)
    row = find_preset("mer", "mnist-rotations", nearest)
    assert preset is not None
    assert row is not None
    assert (preset.memory_size, preset.exact, preset.retained_accuracy) == (nearest, False, None)
    assert preset.hyperparameters == {**row.hyperparameters, "memory_size": asked}


def test_a_learner_without_memory_takes_no_notice_of_its_size():
    assert find_preset("online", "mnist-rotations", 500) == find_preset("online", "mnist-rotations")


def test_an_unknown_pair_has_no_preset():
    assert find_preset("mer", "my-stream") is None
    assert find_preset("gdumb", "mnist-many-permutations", 200) is None


def test_published_figures():
    assert published("mer", "mnist-rotations", 5120) == Published(89.56, 0.11)
    assert published("online", "mnist-many-permutations", None) == Published(32.62, 0.43)
    assert published("mer", "mnist-rotations", 300) is None
    assert published("mer-algorithm-6", "mnist-rotations", 200) is None
    assert published_alignment("er", "mnist-permutations") == Published(-1.652, 0.082)
    assert published_alignment("mer", "mnist-many-permutations") == Published(0.131, 0.027)
    assert published_alignment("online", "mnist-rotations") is None
    assert published_alignment("er", "digits-rotations") is None


def test_figures_without_presets_are_known():
    assert published("mer", "omniglot", 500) == Published(32.05, 0.69)
    assert published("ewc", "omniglot", None) == Published(4.63, 0.14)
    assert find_preset("online", "mnist-rotations") is not None
    assert len([key for key in published_figures() if key[1] == "omniglot"]) == 5
    assert len(published_figures()) == 3 + 3 + 8 + 8 + 5 + 9


def test_a_figure_holds_for_the_published_stream_only():
    assert follows_protocol("mnist-rotations", {})
    assert follows_protocol("mnist-rotations", {"tasks": 20, "something": 3})
    assert not follows_protocol("mnist-rotations", {"tasks": 5})
    assert follows_protocol("mnist-rotations", {"task_order": None})
    assert not follows_protocol("mnist-rotations", {"task_order": [1, 0]})
    assert not follows_protocol("mnist-many-permutations", {"tasks": 100, "examples_per_task": 1000})
    assert not follows_protocol("digits-rotations", {})
    assert not follows_protocol("mnist-rotations", {"validation": True})
    assert follows_protocol("mnist-rotations", {"validation": False})
    assert follows_protocol("omniglot", {"tasks": 50, "examples_per_task": None})
    assert not follows_protocol("omniglot", {"examples_per_task": 100})
