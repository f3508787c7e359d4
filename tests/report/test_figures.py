import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from perdure.records.over_time import AccuracyOverTime
from perdure.report.figures import (
    accuracy_against_cost,
    accuracy_matrices,
    accuracy_matrix,
    accuracy_over_stream,
    accuracy_over_time,
    alignment_over_stream,
    class_accuracy,
    metric_bars,
    retained_against_memory,
    save_figures,
)
from perdure.report.figures.stream import spread_out
from perdure.report.figures.trend import moving_mean


def texts(axes):
    return [text.get_text() for text in axes.texts]


def points(artist):
    return np.asarray(artist.get_offsets())


def xy(line):
    return np.asarray(line.get_xydata())


def test_full_matrices_give_one_labelled_line_and_band_a_run(made_up_run):
    figure = accuracy_over_stream([made_up_run(), made_up_run("online", {}, retained=0.3)])
    (axes,) = figure.axes
    assert texts(axes) == ["mer, memory 200", "online"]
    assert [text.get_color() for text in axes.texts] == [line.get_color() for line in axes.lines]
    mer, online = (np.asarray(line.get_xydata()) for line in axes.lines)
    np.testing.assert_allclose(mer, [[1, 90], [2, 80], [3, (90 + 70 + 70) / 3]])
    np.testing.assert_allclose(online, [[1, 90], [2, 60], [3, 50]])
    band = np.asarray(axes.collections[0].get_paths()[0].vertices)
    half = 2.7764451051977987 * 1.5811388300841898 / np.sqrt(5)
    assert {round(y, 6) for x, y in band if x == 1} == {round(90 + half, 6), round(90 - half, 6)}
    assert axes.get_title(loc="left") == "Mean accuracy on the tasks seen so far: mnist-rotations"


def test_otherwise_each_run_has_a_panel_of_learned_and_retained(made_up_run):
    figure = accuracy_over_stream([made_up_run(tasks=20, full=False), made_up_run("online", {}, tasks=20)])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mer, memory 200", "online"]
    learned, retained = figure.axes[0].collections[1:3]
    np.testing.assert_allclose(points(learned)[:, 1], [90] * 20)
    np.testing.assert_allclose(points(retained)[:, 1], [70] * 19 + [90])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "just after learning it",
        "at the end of the stream",
    ]


def test_runs_of_one_label_are_told_apart_by_their_folders(made_up_run):
    figure = accuracy_over_stream([made_up_run(), made_up_run()])
    assert texts(figure.axes[0]) == ["mer-0", "mer-1"]


def test_the_matrix_shows_means_and_leaves_blanks(made_up_run):
    axes, _colours = accuracy_matrix(made_up_run(tasks=4, full=False)).axes
    image = np.ma.asarray(axes.images[0].get_array())
    assert image.shape == (5, 4)
    assert np.ma.count_masked(image) == 3
    assert {text.get_position(): text.get_text() for text in axes.texts}[(0, 4)] == "70"
    assert len(axes.texts) == 17
    assert [label.get_text() for label in axes.get_yticklabels()] == ["before", "1", "2", "3", "4"]


def test_a_large_matrix_is_not_annotated(made_up_run):
    axes, _colours = accuracy_matrix(made_up_run(tasks=13)).axes
    assert texts(axes) == []


def test_bars_show_metrics_intervals_and_the_published_figure(made_up_run):
    figure = metric_bars([made_up_run(), made_up_run("er")])
    retained, learned, transfer = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Retained accuracy",
        "Learning accuracy",
        "Backward transfer",
    ]
    bars = [patch for patch in retained.patches if isinstance(patch, Rectangle)]
    np.testing.assert_allclose([bar.get_width() for bar in bars], [230 / 3] * 2)
    assert (texts(retained), texts(learned), texts(transfer)) == (["76.7"] * 2, ["90.0"] * 2, ["−13.3"] * 2)
    assert [label.get_text() for label in retained.get_yticklabels()] == ["mer, memory 200", "er, memory 200"]
    assert len({to_hex(bar.get_facecolor()) for bar in bars}) == 2
    legend = retained.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["published"]
    assert points(retained.collections[-1])[:, 0].tolist() == [77.24]


def test_long_names_leave_room_for_bars(made_up_run):
    runs = [made_up_run("online", {}, model=f"a network of {n} rather many hidden units") for n in (1, 2)]
    figure = metric_bars(runs)
    figure.draw_without_rendering()
    assert all(axes.get_position().width > 0.15 for axes in figure.axes)


def test_scores_below_zero_are_within_the_axes(made_up_run):
    whole, part = (made_up_run(retained=-1.5, full=full) for full in (True, False))
    for run, lowest in ((whole, -70), (part, -150)):  # the mean over all tasks, and the worst task
        (axes,) = accuracy_over_stream([run]).axes
        low, high = axes.get_ylim()
        assert 1.2 * lowest < low < lowest
        assert high == 100
    retained, learned, _ = metric_bars([whole, made_up_run()]).axes
    low, high = retained.get_xlim()
    assert low < -72  # the mean and its interval
    assert high > 100 * 2.3 / 3
    assert learned.get_xlim() == (0, 130)


def test_a_run_of_one_task_and_one_seed_can_be_drawn(made_up_run, tmp_path):
    paths = save_figures([made_up_run(tasks=1, seeds=1)], tmp_path / "figures")
    assert len(paths) == 6


def test_matrices_stand_side_by_side_on_one_scale(made_up_run):
    *panels, _scale = accuracy_matrices([made_up_run("online", {}, retained=0.3), made_up_run()]).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["Online", "MER, memory 200"]
    images = [axes.images[0] for axes in panels]
    assert [np.asarray(image.get_array())[2, 0] for image in images] == pytest.approx([30, 70])
    assert {image.get_clim() for image in images} == {(0, 100)}


def test_learners_with_memory_are_lines_and_the_others_lie_across(made_up_run):
    runs = [
        made_up_run("online", {}, retained=0.3),
        made_up_run("mer", {"memory_size": 500}, retained=0.8),
        made_up_run("mer", {"memory_size": 200}, retained=0.7),
        made_up_run("er", {"memory_size": 200}, "mnist-permutations"),
    ]
    figure = retained_against_memory(runs)
    rotations, permutations = figure.axes
    titles = [axes.get_title(loc="left") for axes in (rotations, permutations)]
    assert titles == ["MNIST Rotations", "MNIST Permutations"]
    across, mer = (xy(line) for line in (rotations.lines[0], rotations.lines[1]))
    np.testing.assert_allclose(across[:, 1], [50, 50])
    np.testing.assert_allclose(mer, [[200, 230 / 3], [500, 250 / 3]])
    hollow = [points(it).tolist() for it in rotations.collections if len(points(it)) and not len(it.get_facecolor())]
    assert [[200, 77.24], [500, 81.82]] in hollow
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Online", "MER", "ER", "published"]


def test_the_frontier_is_what_no_cheaper_run_beats(made_up_run):
    runs = [
        made_up_run("mer", {"memory_size": 500}, retained=0.8, state_bytes=700_000),
        made_up_run("online", {}, retained=0.3, state_bytes=360_000),
        made_up_run("er", {"memory_size": 500}, retained=0.5, state_bytes=800_000),  # dearer than MER, and worse
        made_up_run("er", {"memory_size": 200}, retained=0.6, state_bytes=500_000),
    ]
    kept, cpu = accuracy_against_cost(runs).axes
    frontier = xy(kept.lines[0])
    np.testing.assert_allclose(frontier, [[360, 50], [500, 70], [700, 250 / 3], [800, 250 / 3]])
    assert len(xy(cpu.lines[0])) == 2  # all cost alike, and one is best
    assert [it.get_label() for it in kept.containers] == [
        "mer, memory 500",
        "online",
        "er, memory 500",
        "er, memory 200",
    ]


def test_alignment_is_drawn_before_and_after_the_update(made_up_run):
    runs = [made_up_run("er", alignment=[0.4, 0.6] * 2 + [0.5]), made_up_run(alignment=[0.1] * 5)]
    figure = alignment_over_stream(runs)
    (axes,) = figure.axes
    before, after, mer, *_ = axes.lines
    np.testing.assert_allclose(xy(before), [[n, 0.5] for n in range(2, 10)])
    assert before.get_color() == after.get_color() != mer.get_color()
    assert before.get_linestyle() != after.get_linestyle()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "ER before the update",
        "ER after the update",
        "MER before the update",
        "MER after the update",
    ]


def test_a_run_without_alignment_is_refused_by_name(made_up_run):
    with pytest.raises(ValueError, match="without alignment: mer, memory 200, on mnist-rotations"):
        alignment_over_stream([made_up_run()])


def test_the_moving_mean_averages_what_there_is():
    np.testing.assert_allclose(moving_mean(np.array([1.0, 2.0, 6.0, 3.0]), 3), [1.5, 3, 11 / 3, 4.5])


@pytest.mark.parametrize(
    "figure",
    [
        accuracy_against_cost,
        accuracy_over_stream,
        accuracy_matrices,
        metric_bars,
        retained_against_memory,
        alignment_over_stream,
    ],
)
def test_no_runs_are_refused(figure):
    with pytest.raises(ValueError, match="runs were given"):
        figure([])


def test_an_unfinished_run_is_refused_by_name(made_up_run):
    run = made_up_run(finished=False)
    with pytest.raises(ValueError, match="mer, memory 200, on mnist-rotations has no accuracies yet"):
        accuracy_matrix(run)
    with pytest.raises(ValueError, match="unfinished: mer, memory 200, on mnist-rotations"):
        metric_bars([run])


def test_every_figure_of_finished_runs_is_saved_twice(made_up_run, tmp_path):
    runs = [made_up_run(), made_up_run(finished=False), made_up_run("online", {}, "digits-rotations")]
    paths = save_figures(runs, tmp_path / "figures")
    stems = [
        "accuracy-over-stream-mnist-rotations",
        "metrics-mnist-rotations",
        "accuracy-over-stream-digits-rotations",
        "metrics-digits-rotations",
        "accuracy-matrix-mer-0",
        "accuracy-matrix-online-2",
    ]
    assert [path.name for path in paths] == [f"{stem}.{end}" for stem in stems for end in ("png", "svg")]
    assert sorted(paths) == sorted((tmp_path / "figures").iterdir())
    assert all(path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml") for path in paths)


@pytest.mark.long
def test_the_same_runs_give_the_same_bytes(made_up_run, tmp_path):
    runs = [made_up_run(), made_up_run("online", {})]
    first, second = (save_figures(runs, tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_labels_are_spread_apart_in_their_order(heights):
    spread = spread_out(heights, gap=5.0)
    in_order = np.array(spread)[np.argsort(heights, kind="stable")]
    assert (np.diff(in_order) >= 5 - 1e-9).all()
    assert np.mean(spread) == pytest.approx(np.mean(heights), abs=1e-9)


def test_labels_far_apart_stay_where_they_are():
    assert spread_out([50.0, 10.0, 90.0], gap=5.0) == pytest.approx([50, 10, 90])


def test_labels_that_share_a_height_are_centred_on_it():
    assert spread_out([40.0, 40.0, 40.0], gap=6.0) == pytest.approx([34, 40, 46])


@pytest.fixture
def watched(made_up_run):
    """A run that was evaluated within three tasks of 20 examples: at half of each and at its end."""
    run = made_up_run()
    accuracy = np.full((2, 6, 3), np.nan)
    accuracy[:, :, 0] = 0.5
    accuracy[:, 2:, 1] = 0.7
    accuracy[:, 4:, 2] = 0.9
    of_classes = np.full((2, 6, 2), 0.25)
    of_classes[:, 3:, 1] = 1.0
    return dataclasses.replace(run, over_time=AccuracyOverTime(np.arange(10, 70, 10), accuracy, of_classes))


def test_accuracy_over_time_is_the_mean_on_tasks_seen_with_their_ends(watched):
    (axes,) = accuracy_over_time([watched]).axes
    *ends, line = axes.lines
    assert [xy(it)[0, 0] for it in ends] == [20, 40]
    np.testing.assert_allclose(xy(line), [[10, 50], [20, 50], [30, 60], [40, 60], [50, 70], [60, 70]])


def test_runs_of_other_lengths_are_drawn_whole_and_share_no_ends(watched):
    longer = watched.over_time._replace(positions=3 * watched.over_time.positions)
    (axes,) = accuracy_over_time([watched, dataclasses.replace(watched, over_time=longer)]).axes
    assert axes.get_xlim() == (0, 180)
    assert [len(xy(line)) for line in axes.lines] == [6, 6]


@pytest.mark.parametrize(("n", "name"), [(4, "a rather long name " * 4), (40, "my_learner_number"), (2, "x" * 300)])
@pytest.mark.parametrize("draw", [accuracy_over_time, accuracy_against_cost])
def test_every_name_in_a_legend_lies_in_the_figure(watched, draw, n, name):
    config = watched.config
    runs = [
        dataclasses.replace(watched, config={**config, "learner": {**config["learner"], "name": f"{name}_{place}"}})
        for place in range(n)
    ]
    figure = draw(runs)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert figure.bbox.contains(*legend.get_window_extent().min)
    assert figure.bbox.contains(*legend.get_window_extent().max)
    assert all(axes.get_position().height * figure.get_figheight() > 2 for axes in figure.axes)
    if draw is accuracy_over_time:
        lines = [it for it in figure.axes[0].lines if str(it.get_label()).startswith(name[:5])]
        assert len({it.get_marker() for it in lines}) == (2 if n > 28 else 1)


def test_class_accuracy_shows_each_class_at_each_evaluation(watched):
    axes, _ = class_accuracy(watched).axes
    (mesh,) = axes.collections
    shown = np.asarray(mesh.get_array()).reshape(2, 6)
    np.testing.assert_allclose(shown, [[25] * 6, [25] * 3 + [100] * 3])


@pytest.mark.parametrize("draw", [lambda run: accuracy_over_time([run]), class_accuracy])
def test_figures_over_time_need_evaluations_within_tasks(made_up_run, draw):
    with pytest.raises(ValueError, match="was tested at the ends of tasks only; run it with --evaluate-every"):
        draw(made_up_run())


def test_an_axis_of_high_accuracies_fits_and_says_so(made_up_run):
    figure = accuracy_over_stream([made_up_run(retained=0.8), made_up_run("er", retained=0.85)])
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert 75 <= low < 81.3  # where the band of the lower run begins
    assert 92 < high <= 100
    assert axes.get_ylabel() == "Accuracy\n(axis does not begin at 0)"
    assert low % 5 == high % 5 == 0


@pytest.mark.parametrize("retained", [0.2, 0.3])
def test_an_axis_of_other_accuracies_is_whole_and_says_nothing(made_up_run, retained):
    (axes,) = accuracy_over_stream([made_up_run(retained=retained)]).axes
    assert axes.get_ylim() == (0, 100)
    assert axes.get_ylabel() == "Accuracy"


def test_panels_fit_together_and_points_have_room(made_up_run):
    runs = [made_up_run(retained=0.8, full=False, tasks=5), made_up_run("er", retained=0.7, full=False, tasks=5)]
    panels = accuracy_over_stream(runs).axes
    assert len({axes.get_ylim() for axes in panels}) == 1
    assert 60 <= panels[0].get_ylim()[0] < 70


def test_an_axis_that_matplotlib_fits_says_so_too(made_up_run):
    left, _ = accuracy_against_cost([made_up_run(retained=0.8), made_up_run("er", retained=0.85)]).axes
    assert left.get_ylim()[0] > 0
    assert "does not begin at 0" in left.get_ylabel()


def test_runs_of_one_cost_are_seen(made_up_run):
    left, _ = accuracy_against_cost([made_up_run(retained=0.8), made_up_run("er", retained=0.85)]).axes
    low, high = left.get_xlim()
    assert low < 400 / 1.2
    assert high > 400 * 1.2
