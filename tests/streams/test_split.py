"""Scenarios, classes per task, order of classes, and options that contradict each other."""

from __future__ import annotations

import numpy as np
import pytest

from perdure.core import AnyArray
from perdure.streams.benchmark import LabelledSet, checksum
from perdure.streams.catalog import BenchmarkRecipe, make_benchmark
from perdure.streams.classes import ClassData, split_benchmark
from perdure.streams.digits import digits_split, load_digits
from perdure.streams.split import OPTIONS, Split, split_of

N_CLASSES, EACH = 7, 12


def labelled(part: int, each: int) -> LabelledSet:
    """Examples that tell in x their part, their number and their class."""
    y = np.tile(np.arange(N_CLASSES, dtype=np.int32), each)
    return LabelledSet(np.stack([np.full(len(y), part), np.arange(len(y)), y], axis=1).astype(np.uint8), y)


DATA = ClassData("seven", labelled(0, EACH), labelled(1, 3), np.array([0, 0, 0, 1, 1, 2, 2]))


def make(seed: int = 0, **options):
    own = {name: options.pop(name) for name in ("tasks", "examples_per_task", "task_order") if name in options}
    return split_benchmark(DATA, seed, Split(**options), **own)


def classes_of(x: AnyArray) -> np.ndarray:
    """The classes that examples had in the data set."""
    return np.asarray(x)[:, 2].astype(int)


def test_class_incremental_gives_each_class_an_output_and_masks_none():
    made = make(classes_per_task=2)
    assert made.n_outputs == N_CLASSES
    assert made.class_tasks is None
    assert made.task_ends.tolist() == [24, 48, 72, 84]  # the last task has the class that is left
    np.testing.assert_array_equal(made.train.y, classes_of(made.train.x))
    np.testing.assert_array_equal(made.train.y // 2, made.train.task)
    assert [sorted(set(test.y.tolist())) for test in made.test] == [[0, 1], [2, 3], [4, 5], [6]]
    assert not made.hides_tasks


def test_domain_incremental_shows_the_same_examples_with_positions_as_labels():
    by_class, made = make(classes_per_task=3), make(classes_per_task=3, scenario="domain")
    assert made.n_outputs == 3
    np.testing.assert_array_equal(made.train.x, by_class.train.x)
    np.testing.assert_array_equal(made.train.y, by_class.train.y % 3)
    for one, other in zip(made.test, by_class.test, strict=True):
        np.testing.assert_array_equal(one.y, other.y % 3)
    uneven = make(scenario="domain")  # the data set's own tasks, of 3, 2 and 2 classes
    assert uneven.n_outputs == 3
    np.testing.assert_array_equal(uneven.train.y, np.array([0, 1, 2, 0, 1, 0, 1])[classes_of(uneven.train.x)])


def test_task_incremental_masks_the_outputs_of_other_tasks():
    made = make(classes_per_task=2, scenario="task")
    assert made.class_tasks == (0, 0, 1, 1, 2, 2, 3)
    turned = make(classes_per_task=2, scenario="task", task_order=[3, 0, 2, 1])
    assert turned.class_tasks == (1, 1, 3, 3, 2, 2, 0)


def test_order_of_classes_is_the_seeds_and_labels_follow_it():
    first, again, other = make(1, shuffle_classes=True), make(1, shuffle_classes=True), make(2, shuffle_classes=True)
    assert checksum(first) == checksum(again)
    maps = []
    for made in (first, other):
        assert made.task_ends.tolist() == [36, 60, 84]
        pairs = set(zip(classes_of(made.train.x).tolist(), np.asarray(made.train.y).tolist(), strict=True))
        assert len(pairs) == N_CLASSES  # one label for each class
        tested = {it for test in made.test for it in zip(classes_of(test.x).tolist(), test.y.tolist(), strict=True)}
        assert tested == pairs
        maps.append(dict(sorted(pairs)))
    assert maps[0] != maps[1]
    assert sorted(maps[0].values()) == list(range(N_CLASSES))


def test_every_order_of_classes_is_as_likely():
    """Each of the 6 orders of three classes comes equally often: chi-square with 5 degrees of freedom, 0.001."""
    each_once = LabelledSet(np.eye(3, dtype=np.float32), np.arange(3))
    data = ClassData("three", each_once, each_once, np.arange(3))
    orders = [
        tuple(np.asarray(split_benchmark(data, seed, Split(shuffle_classes=True)).train.x).argmax(axis=1))
        for seed in range(600)
    ]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 100) ** 2 / 100).sum() < 20.5


def test_a_data_sets_own_number_of_examples_follows_the_classes():
    data = DATA._replace(examples_per_class=4)
    assert split_benchmark(data, 0, Split()).task_ends.tolist() == [12, 20, 28]
    assert split_benchmark(data, 0, Split(classes_per_task=1), examples_per_task=5).task_ends.tolist() == [
        5 * (task + 1) for task in range(N_CLASSES)
    ]
    with pytest.raises(ValueError, match="examples per task is 13, expected 1 to 12"):
        make(classes_per_task=1, examples_per_task=13)
    fewer = split_benchmark(DATA._replace(takes_fewer=True), 0, Split(), examples_per_task=30)
    assert fewer.task_ends.tolist() == [30, 54, 78]


def test_digits_are_split_by_default_two_by_two():
    made = digits_split(0)
    (_, train_y), (_, test_y) = load_digits()
    np.testing.assert_array_equal(made.train.y // 2, made.train.task)
    assert made.task_ends[-1] == len(train_y)
    assert sum(len(test.y) for test in made.test) == len(test_y)
    assert digits_split(0, classes_per_task=5).n_tasks == 2


def test_other_names_are_the_same_benchmarks():
    recipe = BenchmarkRecipe("split-digits", {"scenario": "domain"})
    assert recipe.name == "digits-split"
    assert checksum(recipe(3)) == checksum(make_benchmark("digits-split", 3, scenario="domain"))
    assert checksum(recipe(3)) != checksum(make_benchmark("split-digits", 3))


def test_validation_of_shuffled_classes_uses_training_examples_only():
    made = split_benchmark(DATA, 4, Split(shuffle_classes=True), validation=True)
    trained, tested = set(made.train.x[:, 1].tolist()), {n for test in made.test for n in test.x[:, 1].tolist()}
    assert {part for test in made.test for part in test.x[:, 0].tolist()} == {0}
    assert not trained & tested
    assert trained | tested == set(range(N_CLASSES * EACH))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scenario": "classes"}, ValueError, "scenario is 'classes', expected one of 'class', 'domain', 'task'"),
        ({"boundaries": "soft"}, ValueError, "boundaries is 'soft', expected one of 'sharp', 'blurry', 'gaussian'"),
        ({"tests": "some"}, ValueError, "tests is 'some', expected one of 'task', 'all', 'none'"),
        ({"classes_per_task": 0}, ValueError, "classes_per_task is 0, expected a whole number ≥ 1"),
        ({"classes_per_task": 2.5}, TypeError, "classes_per_task is 2.5, expected a whole number ≥ 1"),
        ({"classes_per_task": 1, "scenario": "domain"}, ValueError, "each task then has one answer, always right"),
        ({"classes_per_task": 1, "scenario": "task"}, ValueError, "choose classes_per_task=2 or more, or scenario="),
        ({"rounds": 0}, ValueError, "rounds is 0, expected"),
        ({"blur": 1.5}, ValueError, "blur is 1.5, expected a number from 0 to 1"),
        ({"disjoint_share": -0.1}, ValueError, "disjoint_share is -0.1, expected a number from 0 to 1"),
        (
            {"gaussian_width": 0},
            ValueError,
            "gaussian_width is 0, expected a number from 1e-06 to 10; leave out boundaries for",
        ),
        ({"imbalance": 0.5}, ValueError, "imbalance is 0.5, expected a number from 1 to 1,000,000"),
        ({"imbalance": float("inf")}, ValueError, "imbalance is inf, expected a number from 1"),
        ({"shuffle_classes": 1}, TypeError, "shuffle_classes is 1, expected True or False"),
        ({"imbalance": "ten"}, TypeError, "imbalance is 'ten', expected a number"),
        ({"scenario": "task", "hides_tasks": True}, ValueError, "masked, but hides_tasks=True hides tasks, so that"),
        ({"scenario": "task", "boundaries": "blurry"}, ValueError, "or leave out boundaries='blurry'"),
        ({"scenario": "task", "rounds": 2}, ValueError, "belongs to one task only; choose scenario='class'"),
        ({"scenario": "task", "tests": "all"}, ValueError, "masked by the task of a test; choose tests='task'"),
        ({"boundaries": "gaussian", "rounds": 2}, ValueError, "expected one of them only; leave one of"),
        (
            {"blur": 0.2},
            ValueError,
            "blur=0.2 has no effect, for it is of boundaries='blurry', and boundaries is 'sharp'",
        ),
        ({"disjoint_share": 0.5}, ValueError, "disjoint_share=0.5 has no effect"),
        (
            {"gaussian_width": 0.1, "boundaries": "blurry"},
            ValueError,
            "give boundaries='gaussian' too, or leave gaussian_width=0.1 out",
        ),
    ],
)
def test_options_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        split_of(options)
    with pytest.raises(error, match=message):  # before anything is loaded
        BenchmarkRecipe("digits-split", options)


def test_too_many_classes_per_task_are_refused():
    with pytest.raises(ValueError, match="classes_per_task is 8, expected 1 to 7, the number of classes"):
        make(classes_per_task=8)


def test_benchmarks_without_classes_for_tasks_say_which_have_them():
    with pytest.raises(TypeError, match=r"digits-rotations has no option scenario, .*; digits-split, mnist"):
        BenchmarkRecipe("digits-rotations", {"scenario": "class"})


def test_every_option_is_one_of_the_command_line_too():
    from perdure.cli.splits import SPLIT_OPTIONS

    assert tuple(SPLIT_OPTIONS) == OPTIONS
