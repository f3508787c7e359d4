import pytest

from perdure.experiments.presets import (
    Published,
    find_preset,
    follows_protocol,
    load_presets,
    published,
    published_alignment,
)

FIELDS = {
    "online": {"learning_rate"},
    "er": {"learning_rate", "memory_size", "replay_batch_size"},
    "er-algorithm-5": {"learning_rate", "memory_size", "replay_batch_size"},
    "mer": {"learning_rate", "memory_size", "replay_batch_size", "beta", "gamma", "batches_per_example"},
    "mer-algorithm-6": {"learning_rate", "memory_size", "replay_batch_size", "gamma"},
    "mer-algorithm-7": {
        "learning_rate",
        "memory_size",
        "replay_batch_size",
        "gamma",
        "current_example_weight",
    },
}


def test_every_published_row_is_there_once():
    keys = [(row.learner, row.benchmark, row.memory_size) for row in load_presets()]
    memories = {"mnist-rotations": [5120, 500, 200], "mnist-permutations": [5120, 500, 200]}
    memories |= {"mnist-many-permutations": [5120, 500], "digits-rotations": [200]}
    expected = {
        (learner, benchmark, memory)
        for learner in FIELDS
        for benchmark, sizes in memories.items()
        for memory in ([None] if learner == "online" else sizes)
    }
    assert len(keys) == len(set(keys))
    assert set(keys) == expected


@pytest.mark.parametrize("preset", load_presets(), ids=lambda row: f"{row.learner}-{row.benchmark}-{row.memory_size}")
def test_a_preset_sets_its_learners_fields_and_names_its_source(preset):
    assert set(preset.hyperparameters) == FIELDS[preset.learner]
    assert preset.hyperparameters.get("memory_size") == preset.memory_size
    own = preset.benchmark == "digits-rotations"
    assert preset.source == ("own choice" if own else "Riemer et al. 2019, released run script")
    has_figure = preset.learner in ("online", "mer") and not own
    assert (preset.retained_accuracy is not None) == has_figure


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
    assert find_preset("gdumb", "mnist-rotations", 200) is None


def test_published_figures():
    assert published("mer", "mnist-rotations", 5120) == Published(89.56, 0.11)
    assert published("online", "mnist-many-permutations", None) == Published(32.62, 0.43)
    assert published("mer", "mnist-rotations", 300) is None
    assert published("mer-algorithm-6", "mnist-rotations", 200) is None
    assert published_alignment("er", "mnist-permutations") == Published(-1.652, 0.082)
    assert published_alignment("mer", "mnist-many-permutations") == Published(0.131, 0.027)
    assert published_alignment("online", "mnist-rotations") is None
    assert published_alignment("er", "digits-rotations") is None


def test_a_figure_holds_for_the_published_stream_only():
    assert follows_protocol("mnist-rotations", {})
    assert follows_protocol("mnist-rotations", {"tasks": 20, "something": 3})
    assert not follows_protocol("mnist-rotations", {"tasks": 5})
    assert follows_protocol("mnist-rotations", {"task_order": None})
    assert not follows_protocol("mnist-rotations", {"task_order": [1, 0]})
    assert not follows_protocol("mnist-many-permutations", {"tasks": 100, "examples_per_task": 1000})
    assert not follows_protocol("digits-rotations", {})
