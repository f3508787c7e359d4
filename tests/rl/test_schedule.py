"""Schedules: the level of each frame, stages as users give them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.rl.games.catcher import Catcher
from perdure.rl.schedule import Stage, as_stages, check_level, default_stages, make_schedule, stack_params


def test_a_schedule_gives_the_level_of_each_frame(corridor):
    schedule = make_schedule(corridor.levels, [Stage(1, 10), Stage(0, 15), Stage(1, 10)])
    lengths = [int(schedule.at(jnp.asarray(frame)).length) for frame in (0, 9, 10, 24, 25, 34, 99)]
    assert lengths == [4, 4, 2, 2, 4, 4, 4]


def test_levels_count_from_zero_and_each_is_played_in_turn_by_default():
    assert default_stages(2) == as_stages(None, 2) == [(0, 25_000), (1, 25_000)]
    schedule = make_schedule(Catcher().levels, default_stages(6))
    np.testing.assert_allclose(schedule.params.speed, [level.speed for level in Catcher().levels])


def test_another_schedule_compiles_nothing(corridor):
    traced = []

    @jax.jit
    def length(schedule, frame):
        traced.append(1)
        return schedule.at(frame).length

    for stages in ([Stage(0, 10), Stage(1, 10)], [Stage(1, 12), Stage(0, 30)]):
        length(make_schedule(corridor.levels, stages), jnp.asarray(3))
    assert len(traced) == 1


@pytest.mark.parametrize("stages", [[(0, 10), (1, 20)], ([0, 10], [1, 20]), [(np.int64(0), 10), (1, np.int32(20))]])
def test_stages_are_pairs_of_whole_numbers(stages):
    assert as_stages(stages, 2) == [Stage(0, 10), Stage(1, 20)]


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([], "no stages, expected at least one pair"),
        ([(0, 10), (2, 10)], "level = 2, expected a whole number from 0 to 1: there are 2 levels, counted from 0"),
        ([(-1, 10)], "level = -1, expected a whole number from 0 to 1"),
        ([(0, 9)], "the stage of level 0 lasts 9 frames, less than an episode, which may have 10"),
    ],
)
def test_schedules_that_cannot_be_played_are_refused(corridor, stages, words):
    with pytest.raises(ValueError, match=words):
        make_schedule(corridor.levels, stages)


def test_levels_without_a_limit_are_played(level):
    endless = level()._replace(max_steps_in_episode=jnp.inf)
    assert make_schedule([endless], [(0, 5)]).ends.tolist() == [5]


@pytest.mark.parametrize("stage", [5, (1,), (0, 10, 3), (0, 10.0), ("0", 10), (True, 10), None, "ab", {0: 10}])
def test_stages_that_are_no_pairs_are_refused(stage):
    with pytest.raises(TypeError, match=r"stages\[1\] = .*, expected a pair of whole numbers \(level, frames\)"):
        as_stages([(0, 10), stage], 2)


@pytest.mark.parametrize("stages", [5, "0:1000", {0: 1000}, iter([(0, 10)])])
def test_stages_that_are_no_list_are_refused(stages):
    with pytest.raises(TypeError, match=r"stages = .*, expected a list of pairs"):
        as_stages(stages, 2)


@pytest.mark.parametrize("level", [-1, 6, 2.5, True, "1", None])
def test_levels_that_do_not_exist_are_refused(level):
    with pytest.raises(ValueError, match=r"level = .*, expected a whole number from 0 to 5"):
        check_level(level, 6)


def test_levels_of_another_form_are_refused(corridor, level):
    with pytest.raises(ValueError, match=r"levels\[1\] has the form .*levels\[0\] the form"):
        stack_params([level(2), Catcher.params()])
    with pytest.raises(ValueError, match=r"levels\[1\] has the form .*shapes \[\(2,\), \(\)\]"):
        stack_params([level(2), level([2, 3])])
    with pytest.raises(ValueError, match=r"levels\[0\] = None holds no numbers"):
        stack_params([None])
    with pytest.raises(ValueError, match="no levels were given"):
        stack_params([])


def test_more_frames_than_can_be_counted_are_refused():
    levels = Catcher().levels
    with pytest.raises(
        ValueError, match=r"the stages last 4,000,000,000 frames together, expected at most 2,147,483,647"
    ):
        make_schedule(levels, [(0, 2_000_000_000), (1, 2_000_000_000)])
