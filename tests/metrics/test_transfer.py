import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perdure.metrics.transfer import (
    METRICS,
    backward_transfer,
    forgetting,
    forward_transfer,
    learning_accuracy,
    mean_and_interval,
    retained_accuracy,
    transfer_metrics,
)
from tests.conftest import reference_files

# Three tasks by hand: b, then R.
BY_HAND = np.array(
    [
        [0.1, 0.2, 0.1],
        [0.8, 0.3, 0.2],
        [0.9, 0.7, 0.4],
        [0.6, 0.5, 0.9],
    ]
)


@st.composite
def accuracy_matrices(draw):
    tasks = draw(st.integers(1, 6))
    return draw(arrays(np.float64, (tasks + 1, tasks), elements=st.floats(0, 1)))


def test_every_metric_of_a_matrix_computed_by_hand():
    assert transfer_metrics(BY_HAND) == pytest.approx(
        {
            "retained_accuracy": (0.6 + 0.5 + 0.9) / 3,
            "learning_accuracy": (0.8 + 0.7 + 0.9) / 3,
            "backward_transfer": (-0.2 - 0.2 + 0) / 3,
            "forward_transfer": ((0.3 - 0.2) + (0.4 - 0.1)) / 3,
            "forgetting": ((0.9 - 0.6) + (0.7 - 0.5)) / 2,
        },
        abs=1e-15,
    )


@pytest.mark.reference
@pytest.mark.parametrize("file", reference_files("mer", "metrics*.npz"))
def test_metrics_equal_those_of_the_released_code(file):
    with np.load(file) as recorded:
        numbers = dict(recorded)
    for case in range(int(numbers["n_cases"])):
        task, rows = numbers[f"case{case}_result_t"], numbers[f"case{case}_result_a"]
        expected = [numbers[f"case{case}_{name}"] for name in ("final_accuracy", "backward", "forward")]
        last_rows = [np.flatnonzero(task == number)[-1] for number in range(rows.shape[1])]
        accuracy = np.concatenate([rows[:1], rows[last_rows]]).astype(np.float64)
        got = [retained_accuracy(accuracy), backward_transfer(accuracy), forward_transfer(accuracy)]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12, err_msg=f"case {case}")


@given(accuracy_matrices())
def test_backward_transfer_is_retained_less_learning_accuracy(accuracy):
    difference = retained_accuracy(accuracy) - learning_accuracy(accuracy)
    assert backward_transfer(accuracy) == pytest.approx(difference, abs=1e-12)


@given(accuracy_matrices())
def test_metrics_stay_in_their_ranges(accuracy):
    metrics = transfer_metrics(accuracy)
    slack = 1e-12
    assert all(-slack <= metrics[name] <= 1 + slack for name in ("retained_accuracy", "learning_accuracy"))
    assert all(abs(metrics[name]) <= 1 + slack for name in METRICS)


@given(accuracy_matrices(), st.randoms(use_true_random=False))
def test_renaming_the_tasks_changes_nothing_but_forward_transfer(accuracy, random):
    tasks = accuracy.shape[1]
    order = [*random.sample(range(tasks - 1), tasks - 1), tasks - 1]  # the last task stays the last
    renamed = accuracy[np.ix_([0, *(number + 1 for number in order)], order)]
    before, after = transfer_metrics(accuracy), transfer_metrics(renamed)
    for name in ("retained_accuracy", "learning_accuracy", "backward_transfer", "forgetting"):
        assert after[name] == pytest.approx(before[name], abs=1e-12)


@given(accuracy_matrices(), st.floats(0, 1))
def test_the_start_matters_to_forward_transfer_alone(accuracy, start):
    changed = accuracy.copy()
    changed[0] = start
    before, after = transfer_metrics(accuracy), transfer_metrics(changed)
    shift = float(np.sum(accuracy[0, 1:] - start)) / accuracy.shape[1]
    assert after.pop("forward_transfer") == pytest.approx(before.pop("forward_transfer") + shift, abs=1e-12)
    assert after == before


def test_one_task_has_nothing_to_transfer_or_forget():
    accuracy = np.array([[0.1], [0.7]])
    assert transfer_metrics(accuracy) == {
        "retained_accuracy": 0.7,
        "learning_accuracy": 0.7,
        "backward_transfer": 0.0,
        "forward_transfer": 0.0,
        "forgetting": 0.0,
    }


@pytest.mark.parametrize(
    ("row", "task", "lost"),
    [
        (0, 0, set()),
        (0, 1, {"forward_transfer"}),
        (1, 0, {"learning_accuracy", "backward_transfer", "forgetting"}),
        (1, 1, {"forward_transfer", "forgetting"}),
        (1, 2, set()),
        (2, 0, {"forgetting"}),
        (3, 0, {"retained_accuracy", "backward_transfer", "forgetting"}),
    ],
)
def test_a_missing_entry_makes_nan_of_the_metrics_that_need_it_and_of_no_other(row, task, lost):
    accuracy = BY_HAND.copy()
    accuracy[row, task] = np.nan
    metrics = transfer_metrics(accuracy)
    assert {name for name, value in metrics.items() if np.isnan(value)} == lost


@pytest.mark.parametrize("metric", [*METRICS.values(), transfer_metrics])
@pytest.mark.parametrize("shape", [(3, 3), (1, 0), (2, 3)])
def test_a_matrix_of_another_shape_is_refused(metric, shape):
    with pytest.raises(ValueError, match=r"expected \(T \+ 1, T\) with T ≥ 1"):
        metric(np.zeros(shape))


@pytest.mark.parametrize("value", [1.01, 77.2, np.inf, -np.inf])
def test_an_accuracy_that_is_no_fraction_is_refused_with_its_place(value):
    accuracy = BY_HAND.copy()
    accuracy[2, 1] = value
    with pytest.raises(ValueError, match=r"row 2 on task 1 .* divide percentages by 100"):
        forgetting(accuracy)


def test_r2_below_zero_counts_as_any_other_entry():
    r2 = np.asarray([[-3.0, -1.0], [0.5, -2.5], [-0.5, 0.75]])
    assert transfer_metrics(r2) == {
        "retained_accuracy": 0.125,
        "learning_accuracy": 0.625,
        "backward_transfer": -0.5,
        "forward_transfer": -0.75,
        "forgetting": 1.0,
    }


def test_the_interval_is_that_of_student():
    statistic = mean_and_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert statistic.mean == 3.0
    assert statistic.std == pytest.approx(1.5811388300841898, abs=1e-15)
    # t(0.975; 4) = 2.776445105, as tables have it
    assert statistic.ci95 == pytest.approx(2.7764451051977987 * np.sqrt(2.5 / 5), abs=1e-12)
    assert statistic.per_seed == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_one_seed_has_a_mean_but_no_spread():
    statistic = mean_and_interval([0.5])
    assert (statistic.mean, statistic.per_seed) == (0.5, (0.5,))
    assert np.isnan([statistic.std, statistic.ci95]).all()


def test_a_seed_without_value_leaves_no_mean():
    assert np.isnan(mean_and_interval([0.5, np.nan, 0.7])[:3]).all()


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no values were given"):
        mean_and_interval([])
