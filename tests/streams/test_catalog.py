from __future__ import annotations

import numpy as np
import pytest

from perdure.streams import catalog, digits


def test_every_entry_leads_to_its_maker():
    assert catalog.benchmark_names() == [
        "digits-rotations",
        "digits-split",
        "digits-turning",
        "mnist-rotations",
        "mnist-permutations",
        "mnist-many-permutations",
        "mnist-split",
        "mnist-turning",
        "omniglot",
        "cifar100",
    ]
    for name in catalog.benchmark_names():
        assert catalog.summary(name)
        assert "\n" not in catalog.summary(name)


@pytest.mark.parametrize("name", catalog.benchmark_names())
def test_makes_what_its_maker_makes(small_data_dir, name):
    made = catalog.make_benchmark(name, 2, tasks=2, examples_per_task=3, data_dir=small_data_dir)
    assert made.name == name
    assert len(made.train.y) == 6


@pytest.mark.parametrize("name", catalog.benchmark_names())
def test_every_recipe_has_a_validation_stream(small_data_dir, name):
    options = {"tasks": 2, "examples_per_task": 3}
    reported = [catalog.BenchmarkRecipe(name, options, small_data_dir)(seed) for seed in range(2)]
    recipe = catalog.BenchmarkRecipe(name, options | {"validation": True}, small_data_dir)
    made = [recipe(seed) for seed in range(2)]
    streams = {it.train.x.tobytes() for it in (*reported, *made)}
    assert len(streams) == 4
    assert {it.train.x.shape for it in made} == {reported[0].train.x.shape}
    assert made[0].n_outputs == reported[0].n_outputs


def test_passes_seed_and_options_on():
    made = catalog.make_benchmark("digits-rotations", 7, tasks=2, task_order=[1, 0])
    expected = digits.digits_rotations(7, tasks=2, task_order=[1, 0])
    np.testing.assert_array_equal(made.train.x, expected.train.x)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist-rotation", "there is no benchmark 'mnist-rotation'; did you mean 'mnist-rotations'[?]"),
        ("qqqq", "there is no benchmark 'qqqq'; choose one of: digits-rotations, digits-split, digits-turning, "),
    ],
)
def test_suggests_the_nearest_name(name, message):
    with pytest.raises(ValueError, match=message):
        catalog.make_benchmark(name, 0)
    with pytest.raises(ValueError, match=message):
        catalog.summary(name)


def test_names_the_options_a_maker_takes():
    message = (
        "digits-rotations has no option angle, task, expected some of: tasks, examples_per_task, task_order, data_dir, "
        "validation"
    )
    with pytest.raises(TypeError, match=message):
        catalog.make_benchmark("digits-rotations", 0, angle=3, task=2)


def test_a_recipe_takes_the_folder_of_the_data_beside_its_options(tmp_path):
    with pytest.raises(TypeError, match=r"data_dir is given as an option of .*; write BenchmarkRecipe\('omniglot'"):
        catalog.BenchmarkRecipe("omniglot", {"data_dir": tmp_path})
