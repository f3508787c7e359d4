"""The laws of blurry and Gaussian boundaries, recurring tasks and long tails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import chi2

from perdure.streams.benchmark import LabelledSet, checksum
from perdure.streams.classes import ClassData, split_benchmark
from perdure.streams.schedules import blurry_tasks, gaussian_order, imbalanced, in_rounds, long_tail
from perdure.streams.split import Split

N_TASKS, EACH = 5, 400
CLASSES = np.repeat(np.arange(2 * N_TASKS), EACH)
TASKS = [np.flatnonzero(task == CLASSES // 2) for task in range(N_TASKS)]


def shown(tasks, n_classes=2 * N_TASKS, classes=CLASSES):
    """How many examples of each class each task shows, (tasks, classes)."""
    return np.stack([np.bincount(classes[places], minlength=n_classes) for places in tasks])


def made(seed=0, **options):
    y = np.tile(np.arange(6, dtype=np.int32), 50)
    sets = LabelledSet(np.arange(len(y), dtype=np.float32)[:, None] / 100, y)
    return split_benchmark(ClassData("six", sets, sets, np.arange(6) // 2), seed, Split(**options))


def numbers(benchmark):
    """Which examples of the data set a stream shows, in order."""
    return np.rint(np.asarray(benchmark.train.x)[:, 0] * 100).astype(int)


class TestBlurry:
    @pytest.mark.parametrize("seed", range(3))
    def test_disjoint_classes_stay_and_the_others_are_dealt_as_in_the_released_splits(self, seed):
        rng = np.random.default_rng(seed)
        tasks = blurry_tasks(TASKS, CLASSES, disjoint_share=0.5, blur=0.1, rng=rng)
        counts = shown(tasks)
        assert counts.sum(axis=1).tolist() == [2 * EACH] * N_TASKS
        assert np.sort(np.concatenate(tasks)).tolist() == list(range(len(CLASSES)))  # each example once
        own = counts[np.arange(10) // 2, np.arange(10)]
        assert (own == EACH).reshape(N_TASKS, 2).sum(axis=1).tolist() == [1] * N_TASKS  # one of the two of each task
        blurry = counts[:, own < EACH]
        assert (blurry > 0).all()  # in every task, as i-Blurry-50-10 of CIFAR-10 has it

    def test_a_dealt_example_lands_in_each_task_with_the_chance_of_its_share(self):
        """Dealt examples by task: chi-square against equal shares, 25 − 9 degrees of freedom, 0.001."""
        counts = np.zeros((N_TASKS, N_TASKS))
        for seed in range(40):
            rng = np.random.default_rng(seed)
            of_classes = shown(blurry_tasks(TASKS, CLASSES, disjoint_share=0.0, blur=0.3, rng=rng))
            counts += of_classes.reshape(N_TASKS, N_TASKS, 2).sum(axis=2)
        dealt = counts - np.diag([40 * 2 * EACH * 0.7] * N_TASKS)
        expected = 40 * 2 * EACH * 0.3 / N_TASKS
        assert ((dealt - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 16)

    def test_no_blur_changes_the_order_only(self):
        tasks = blurry_tasks(TASKS, CLASSES, disjoint_share=0.3, blur=0.0, rng=np.random.default_rng(0))
        for before, after in zip(TASKS, tasks, strict=True):
            np.testing.assert_array_equal(np.sort(after), before)

    def test_all_disjoint_changes_the_order_only(self):
        tasks = blurry_tasks(TASKS, CLASSES, disjoint_share=1.0, blur=0.5, rng=np.random.default_rng(0))
        for before, after in zip(TASKS, tasks, strict=True):
            np.testing.assert_array_equal(np.sort(after), before)

    def test_the_stream_hides_its_tasks_and_tests_each_on_its_own_classes(self):
        benchmark = made(boundaries="blurry", disjoint_share=0.0, blur=0.5)
        assert benchmark.hides_tasks
        assert benchmark.task_ends.tolist() == [100, 200, 300]
        assert (np.asarray(benchmark.train.y)[:100] > 1).any()
        assert [sorted(set(test.y.tolist())) for test in benchmark.test] == [[0, 1], [2, 3], [4, 5]]
        assert sorted(numbers(benchmark)) == sorted(numbers(made()))


class TestGaussian:
    @pytest.mark.parametrize(("n_classes", "width"), [(4, 0.1), (10, 0.05), (5, 0.5)])
    def test_classes_come_and_go_as_gaussians(self, n_classes, width):
        """Examples of each class in twelve stretches: chi-square against the confined normal distributions, 0.001."""
        each, n_bins = 500, 12
        rank = np.tile(np.arange(n_classes), each)
        rng = np.random.default_rng(5)
        order = gaussian_order(np.arange(len(rank)), rank, n_classes=n_classes, width=width, rng=rng)
        assert np.sort(order).tolist() == list(range(len(rank)))
        times = np.linspace(0, 1, 20_001)
        peaks = (np.arange(n_classes) + 0.5)[:, None] / n_classes
        below = ndtr((times - peaks) / width)
        below = (below - below[:, :1]) / (below[:, -1:] - below[:, :1])
        # A place in the stream is a quantile of all times; which time that is follows from the mixture.
        ends = np.interp(np.linspace(0, 1, n_bins + 1), below.mean(axis=0), times)
        expected = each * np.diff([np.interp(ends, times, one) for one in below], axis=1)
        counts = shown(np.array_split(order, n_bins), n_classes, rank).T
        likely = expected > 5
        statistic = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
        assert statistic < chi2.ppf(0.999, int(likely.sum()))
        assert counts[~likely].sum() <= expected[~likely].sum() + 5 * np.sqrt(expected[~likely].sum() + 1)

    def test_a_narrow_one_is_a_sharp_one(self):
        rank = np.tile(np.arange(4), 30)
        order = gaussian_order(np.arange(120), rank, n_classes=4, width=1e-3, rng=np.random.default_rng(0))
        assert rank[order].tolist() == sorted(rank)

    def test_the_stream_is_cut_into_as_many_stretches_as_tasks(self):
        benchmark = made(boundaries="gaussian", gaussian_width=0.2)
        assert benchmark.hides_tasks
        assert benchmark.task_ends.tolist() == [100, 200, 300]
        assert sorted(numbers(benchmark)) == list(range(300))

    def test_peaks_follow_the_order_of_tasks(self):
        y = np.tile(np.arange(6, dtype=np.int32), 50)
        digits = LabelledSet(np.zeros((300, 1), np.float32), y)
        data = ClassData("six", digits, digits, np.arange(6) // 2)
        narrow = Split(boundaries="gaussian", gaussian_width=1e-3)
        turned = split_benchmark(data, 0, narrow, task_order=[2, 0, 1])
        assert list(dict.fromkeys(np.asarray(turned.train.y).tolist())) == [4, 5, 0, 1, 2, 3]
        fewer = split_benchmark(data, 0, narrow, tasks=2)
        assert list(dict.fromkeys(np.asarray(fewer.train.y).tolist())) == [0, 1, 2, 3]


class TestRounds:
    def test_tasks_come_back_with_other_examples(self):
        benchmark = made(rounds=3)
        assert benchmark.n_tasks == 9
        lengths = np.diff(benchmark.task_ends, prepend=0)
        assert sorted(set(lengths.tolist())) == [33, 34]
        for task in range(9):
            here = np.asarray(benchmark.train.y)[np.asarray(benchmark.train.task) == task]
            assert set((here // 2).tolist()) == {task % 3}
            assert benchmark.test[task] is benchmark.test[task % 3]
        assert sorted(numbers(benchmark)) == list(range(300))

    def test_parts_are_in_the_order_of_the_task(self):
        assert [it.tolist() for it in in_rounds([np.array([5, 1, 3]), np.array([0, 2])], 2)] == [[5, 1], [0], [3], [2]]

    def test_more_rounds_than_examples_are_refused(self):
        with pytest.raises(ValueError, match="rounds is 3, but a task has 2 examples, expected at least one for each"):
            in_rounds([np.arange(5), np.arange(2)], 3)


class TestLongTail:
    def test_shares_fall_exponentially_to_the_factor(self):
        np.testing.assert_allclose(long_tail(5, 100), [1, 100**-0.25, 0.1, 100**-0.75, 0.01], rtol=1e-12)
        assert long_tail(1, 100).tolist() == [1]

    def test_classes_keep_their_shares_and_the_seed_draws_which(self):
        first, other = (shown(imbalanced(TASKS, CLASSES, 50, seed=seed, prefix="")) for seed in (0, 1))
        expected = np.rint(EACH * long_tail(10, 50)).astype(int).tolist()
        assert sorted(first.sum(axis=0).tolist(), reverse=True) == expected
        assert sorted(other.sum(axis=0).tolist(), reverse=True) == expected
        assert first.sum(axis=0).tolist() != other.sum(axis=0).tolist()

    def test_what_stays_is_drawn_at_random(self):
        """Places in four quarters of a task, of a class that keeps a tenth: chi-square, 3 degrees of freedom, 0.001."""
        tasks, classes = [np.arange(800)], np.tile(np.arange(2), 400)
        kept = [imbalanced(tasks, classes, 10, seed=seed, prefix="")[0] for seed in range(20)]
        rare = np.concatenate([it[classes[it] == np.bincount(classes[it]).argmin()] for it in kept])
        counts = np.bincount(rare // 200, minlength=4)
        assert counts.sum() == 20 * 40
        assert ((counts - 200) ** 2 / 200).sum() < chi2.ppf(0.999, 3)
        assert all((np.diff(it) > 0).all() for it in kept)  # in the task's order

    def test_which_class_is_rare_is_equally_likely(self):
        """The rarest of six classes over 600 seeds: chi-square with 5 degrees of freedom, 0.001."""
        tasks = [np.arange(60)]
        classes = np.tile(np.arange(6), 10)
        rarest = [
            int(shown(imbalanced(tasks, classes, 10, seed=seed, prefix=""), 6, classes)[0].argmin())
            for seed in range(600)
        ]
        counts = np.bincount(rarest, minlength=6)
        assert ((counts - 100) ** 2 / 100).sum() < chi2.ppf(0.999, 5)

    def test_a_class_keeps_at_least_one_example_and_tests_stay_whole(self):
        benchmark = made(imbalance=1e6)
        assert np.bincount(benchmark.train.y, minlength=6).min() == 1
        assert [len(test.y) for test in benchmark.test] == [100, 100, 100]


@pytest.mark.parametrize(
    "options",
    [{"boundaries": "blurry"}, {"boundaries": "gaussian"}, {"rounds": 2}, {"imbalance": 10}, {"shuffle_classes": True}],
    ids=str,
)
def test_one_seed_one_stream(options):
    assert checksum(made(3, **options)) == checksum(made(3, **options))
    assert checksum(made(3, **options)) != checksum(made(4, **options))
    assert checksum(made(3, **options)) != checksum(made(3))


class TestTests:
    def test_one_for_all_is_kept_once(self):
        benchmark = made(tests="all")
        assert benchmark.has_one_test
        assert len(benchmark.test[0].y) == 300
        assert not made().has_one_test

    def test_none(self):
        benchmark = made(tests="none")
        assert len(benchmark.test) == 0
        assert benchmark.n_tasks == 3

    def test_a_data_set_without_tests_has_none(self):
        data = ClassData("six", LabelledSet(np.eye(6, dtype=np.float32), np.arange(6)), None, np.arange(6) // 2)
        assert split_benchmark(data, 0, Split(tests="none")).n_tasks == 3
        with pytest.raises(ValueError, match=r"tests is 'task', but the data set has no test examples; .*tests='none'"):
            split_benchmark(data, 0, Split())
