"""Metrics over time against matrices worked out by hand, and what must not change them."""

import numpy as np
import pytest

from perdure.metrics.anytime import (
    ANYTIME,
    accuracy_on_tasks_seen,
    anytime_over_seeds,
    average_anytime_accuracy,
    average_minimum_accuracy,
    minimum_accuracies,
    stability_gap,
    worst_case_accuracy,
)

N = np.nan
# Three tasks of 10, 20 and 10 examples, evaluated after every 5 and at the ends.
POSITIONS = np.array([5, 10, 15, 20, 25, 30, 35, 40])
ENDS = [10, 30, 40]
ACCURACY = np.array(
    [
        [0.5, N, N],
        [0.8, N, N],
        [0.2, 0.4, N],  # the first task falls when the second begins …
        [0.4, 0.6, N],
        [0.6, 0.7, N],
        [0.7, 0.9, N],  # … and recovers
        [0.5, 0.3, 0.6],
        [0.6, 0.7, 1.0],
    ]
)


def test_accuracy_on_tasks_seen_is_the_mean_over_those_that_have_begun():
    expected = [0.5, 0.8, 0.3, 0.5, 0.65, 0.8, 1.4 / 3, 2.3 / 3]
    np.testing.assert_allclose(accuracy_on_tasks_seen(ACCURACY), expected, rtol=0, atol=1e-12)


def test_average_anytime_accuracy_is_the_mean_over_equally_spaced_evaluations():
    expected = np.mean([0.5, 0.8, 0.3, 0.5, 0.65, 0.8, 1.4 / 3, 2.3 / 3])
    assert average_anytime_accuracy(POSITIONS, ACCURACY) == pytest.approx(expected, abs=1e-12)


def test_an_evaluation_stands_for_the_examples_since_the_one_before():
    few = [1, 5, 7]  # after 10, 30 and 40 examples
    expected = (10 * 0.8 + 20 * 0.8 + 10 * 2.3 / 3) / 40
    assert average_anytime_accuracy(POSITIONS[few], ACCURACY[few]) == pytest.approx(expected, abs=1e-12)


def test_repeating_an_evaluation_changes_nothing_for_a_curve_that_is_flat_in_between():
    flat = np.repeat(ACCURACY, 2, axis=0)
    positions = np.sort(np.concatenate([POSITIONS, POSITIONS - 2]))
    expected = average_anytime_accuracy(POSITIONS, ACCURACY)
    assert average_anytime_accuracy(positions, flat) == pytest.approx(expected, abs=1e-12)


def test_minimum_is_taken_after_the_end_of_each_task_but_the_last():
    # The first task was lower in its own time than 0.2 would be; what counts comes after example 10.
    own_time_is_low = ACCURACY.copy()
    own_time_is_low[:2, 0] = 0.0
    for accuracy in (ACCURACY, own_time_is_low):
        np.testing.assert_allclose(minimum_accuracies(POSITIONS, accuracy, ENDS), [0.2, 0.3], rtol=0, atol=1e-12)
        assert average_minimum_accuracy(POSITIONS, accuracy, ENDS) == pytest.approx(0.25, abs=1e-12)


def test_worst_case_accuracy_weighs_the_last_task_as_one_of_all():
    assert worst_case_accuracy(POSITIONS, ACCURACY, ENDS) == pytest.approx(1.0 / 3 + 2 / 3 * 0.25, abs=1e-12)


def test_stability_gap_is_what_was_recovered_by_the_end():
    assert stability_gap(POSITIONS, ACCURACY, ENDS) == pytest.approx(((0.6 - 0.2) + (0.7 - 0.3)) / 2, abs=1e-12)


def test_more_evaluations_can_only_lower_the_minimum():
    at_ends = [1, 5, 7]
    coarse = average_minimum_accuracy(POSITIONS[at_ends], ACCURACY[at_ends], ENDS)
    assert coarse == pytest.approx((0.6 + 0.7) / 2, abs=1e-12)
    assert average_minimum_accuracy(POSITIONS, ACCURACY, ENDS) < coarse


def test_a_perfect_learner_has_ones_and_no_gap():
    perfect = np.where(np.isnan(ACCURACY), np.nan, 1.0)
    found = anytime_over_seeds(POSITIONS, perfect[None], np.array([ENDS]))
    assert [found[name].mean for name in ANYTIME] == [1.0, 1.0, 1.0, 0.0]


def test_the_order_of_earlier_tasks_of_equal_ends_does_not_matter():
    """Exchanging what two tasks scored after both were learned exchanges their minima only."""
    late = POSITIONS > 30
    exchanged = ACCURACY.copy()
    exchanged[late, 0], exchanged[late, 1] = ACCURACY[late, 1], ACCURACY[late, 0]
    both = [average_minimum_accuracy(POSITIONS[late], it[late], [29, 30, 40]) for it in (ACCURACY, exchanged)]
    assert both[0] == pytest.approx(both[1], abs=1e-12)


def test_one_task_has_no_minimum_and_its_worst_case_is_its_end():
    positions, accuracy = np.array([5, 10]), np.array([[0.4], [0.7]])
    assert np.isnan(average_minimum_accuracy(positions, accuracy, [10]))
    assert np.isnan(stability_gap(positions, accuracy, [10]))
    assert worst_case_accuracy(positions, accuracy, [10]) == pytest.approx(0.7)


def test_over_seeds_they_are_means_with_intervals():
    other = ACCURACY - 0.1
    found = anytime_over_seeds(POSITIONS, np.stack([ACCURACY, other]), np.array([ENDS, ENDS]))
    assert list(found) == list(ANYTIME)
    assert found["average_minimum_accuracy"].per_seed == pytest.approx((0.25, 0.15))
    assert found["average_minimum_accuracy"].mean == pytest.approx(0.2)
    assert found["stability_gap"].per_seed == pytest.approx((0.4, 0.4))
    assert found["worst_case_accuracy"].ci95 > 0


def test_a_shorter_stream_counts_up_to_its_own_end():
    shorter = ACCURACY.copy()
    shorter[5, 2] = 0.9
    shorter[6:] = N
    found = anytime_over_seeds(POSITIONS, np.stack([ACCURACY, shorter]), np.array([ENDS, [10, 25, 30]]))
    assert found["average_minimum_accuracy"].per_seed == pytest.approx((0.25, (0.2 + 0.9) / 2))
    assert found["worst_case_accuracy"].per_seed[1] == pytest.approx(0.9 / 3 + 2 / 3 * 0.55)


def test_an_evaluation_without_any_task_is_refused():
    with pytest.raises(ValueError, match="no accuracy at all"):
        average_anytime_accuracy(np.array([5]), np.array([[N, N]]))
