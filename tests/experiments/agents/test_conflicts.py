"""Streams of tasks that conflict: games in turn, and games the other way round."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import perdure
from perdure.experiments.agents.plan import has_preset, make_agent, spec_of
from perdure.experiments.agents.spec import agent_spec
from perdure.records.agent import AgentRecord, group_scores
from perdure.records.errors import ResultsError
from perdure.records.folder import own_folder
from perdure.report.agents import agents_table
from perdure.rl.catalog import make_game
from perdure.rl.checks import environment_and_levels
from perdure.rl.episode_ends import step
from perdure.rl.games.catcher import Catcher, Fruit
from perdure.rl.games.contrary_catcher import ContraryControls, ContraryFruit
from perdure.rl.games.flappy_bird import FlappyBird
from perdure.rl.games.several import CatcherAndFlappyBird, Several

KEY = jax.random.key(3)


def frames(environment, actions, params, first=None):
    """Return the steps of an episode."""
    stepping = jax.jit(lambda *rest: step(environment, *rest))
    state = environment.reset(KEY, params)[1] if first is None else first
    found = []
    for action in actions:
        found.append(stepping(KEY, state, jnp.asarray(action, jnp.int32), params))
        state = found[-1].state
    return found


def test_two_games_in_turn_from_easy_to_hard():
    games = CatcherAndFlappyBird()
    assert games.groups == ("catcher", "flappy-bird") * 6
    assert games.num_actions == 3
    for number, level in enumerate(games.levels):
        inside = (Catcher(), FlappyBird())[number % 2]
        own, place = inside.levels[number // 2], number % 2
        assert int(level.which) == place
        jax.tree.map(np.testing.assert_array_equal, level.inner[place], own)
        assert level.max_steps_in_episode == 1000


@pytest.mark.parametrize("number", [2, 3])
def test_each_game_plays_as_it_does_alone(number):
    games = CatcherAndFlappyBird()
    inside = (Catcher(), FlappyBird())[number % 2]
    own = inside.levels[number // 2]
    actions = [0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0] * 6
    alone = frames(inside, actions, own)
    together = frames(games, actions, games.levels[number])
    width = len(alone[0].observation)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.observation[:width], one.observation)
        np.testing.assert_array_equal(other.observation[width:], 0)
        assert float(other.reward) == float(one.reward)
        for name in ("terminated", "truncated", "discount"):
            assert float(other.info[name]) == float(one.info[name])
    np.testing.assert_array_equal(
        games.render(together[-1].state, games.levels[number]), inside.render(alone[-1].state, own)
    )


def test_an_action_too_many_is_the_last_one():
    with jax.numpy_dtype_promotion("standard"):
        game, levels = environment_and_levels("gymnax:CartPole-v1+gymnax:Acrobot-v1")  # two actions and three
        two, one, zero = (frames(game, [action] * 3, levels[0])[-1].observation for action in (2, 1, 0))
    np.testing.assert_array_equal(two, one)
    assert (np.asarray(one) != np.asarray(zero)).any()


def test_an_episode_of_the_last_stage_is_truncated_after_a_frame():
    games = CatcherAndFlappyBird()
    catcher, bird = games.levels[:2]
    begun = frames(games, [2, 2, 2], catcher)[-1]
    assert not begun.done
    after = frames(games, [2], bird, begun.state)[0]
    assert (bool(after.done), bool(after.info["truncated"]), float(after.info["discount"])) == (True, True, 1.0)
    np.testing.assert_array_equal(after.observation, frames(games, [2] * 4, catcher)[-1].observation)
    assert int(games.reset(KEY, bird)[1].which) == 1


def test_a_list_of_environments_is_played_with_each_as_a_level():
    game, levels = environment_and_levels([Catcher(), "flappy-bird"])
    assert isinstance(game, Several)
    assert (game.name, game.groups[:3]) == ("catcher+flappy-bird", ("catcher", "flappy-bird", "catcher"))
    assert len(levels) == 12


def test_lists_of_environments_of_gymnax():
    with jax.numpy_dtype_promotion("standard"):
        game, levels = environment_and_levels("gymnax:CartPole-v1+gymnax:Acrobot-v1")
        assert isinstance(game, Several)
        assert (game.name, len(levels), game.num_actions) == ("CartPole-v1+Acrobot-v1", 2, 3)
        assert game.reset(KEY, levels[0])[0].shape == (6,)
        with pytest.raises(
            ValueError, match=r"the observations of Breakout-MinAtar are float32 of shape \(10, 10, 4\)"
        ):
            environment_and_levels("gymnax:CartPole-v1+gymnax:Breakout-MinAtar")
    with pytest.raises(TypeError, match="environments of Gymnasium beside others"):
        environment_and_levels(["catcher", "gymnasium:CartPole-v1"])


def test_in_the_dark_it_is_catcher_and_the_lamp_is_seen():
    actions = [0, 1, 2, 2, 0, 0, 1] * 14
    alone = frames(Catcher(), actions, Catcher.params())
    for game in (ContraryControls(), ContraryFruit()):
        assert game.groups == ("dark", "lit") * 3
        assert [bool(level.lit) for level in game.levels] == [False, True] * 3
        dark = frames(game, actions, game.params())
        for one, other in zip(alone, dark, strict=True):
            np.testing.assert_array_equal(other.observation[:4], one.observation)
            assert float(other.observation[4]) == -1
            assert float(other.reward) == float(one.reward)
        state, lit = dark[-1].state, game.params(lit=True)
        assert float(frames(game, [0], lit)[0].observation[4]) == 1
        dark_picture, lit_picture = (np.asarray(game.render(state, it)) for it in (game.params(), lit))
        assert (lit_picture[:12, :12] == 255).all()
        np.testing.assert_array_equal(lit_picture[12:], dark_picture[12:])


def test_lit_controls_are_swapped():
    game = ContraryControls()
    actions = [0, 0, 1, 2, 1, 1, 0] * 8
    lit = frames(game, actions, game.params(lit=True))
    dark = frames(game, [{0: 1, 1: 0, 2: 2}[it] for it in actions], game.params())
    jax.tree.map(np.testing.assert_array_equal, [it.state for it in lit], [it.state for it in dark])


@pytest.mark.parametrize("lit", [False, True])
def test_lit_fruit_is_to_be_avoided(lit):
    game = ContraryFruit()
    params = game.params(lit=lit)
    _, state = game.reset(KEY, params)
    above = state._replace(fruit_x=state.paddle_x, fruit_y=jnp.asarray(58, jnp.int32))
    gone = state._replace(fruit_y=jnp.asarray(64, jnp.int32))
    fruit = Fruit(jnp.asarray(8, jnp.int32), jnp.asarray(4, jnp.int32))
    for place, wanted in ((above, not lit), (gone, lit)):
        last = place._replace(lives=jnp.asarray(1, jnp.int32))
        after, reward = game.played(place, jnp.asarray(2, jnp.int32), fruit, params)
        end, penalty = game.played(last, jnp.asarray(2, jnp.int32), fruit, params)
        assert (float(reward), int(after.lives)) == ((1, 3) if wanted else (-1, 2))
        assert (float(penalty), int(end.lives)) == ((1, 1) if wanted else (-6, 0))
        assert int(after.score) == int(reward)


def test_a_run_tells_the_scores_of_each_group_of_levels(tmp_path):
    game = ContraryControls()
    short = [game.params(lit, 0.0608, max_steps_in_episode=30) for lit in (False, True)] * 3
    agent = make_agent("dqn", "catcher-controls", "state", {"memory_size": 50, "warmup_frames": 10})
    stages = [(level, 40) for level in range(6)]
    result = perdure.run_agent(
        agent, game, levels=short, stages=stages, seeds=2, episodes=2, folder=tmp_path / "r", progress=False
    )
    record = AgentRecord.load(tmp_path / "r")
    assert record.groups == {"dark": [0, 2, 4], "lit": [1, 3, 5]}
    found = group_scores(record)["lit"]
    last, own = result.scores[:, -1, [1, 3, 5]], result.scores[:, [2, 4, 6], [1, 3, 5]]
    np.testing.assert_allclose(found.final.per_seed, last.mean(axis=1))
    np.testing.assert_allclose(found.backward.per_seed, (last - own).mean(axis=1))
    named = dataclasses.replace(record, folder=tmp_path / "dqn-catcher-controls-reservoir")
    table = agents_table([named, named])
    assert [str(column.header) for column in table.columns] == [
        "Run",
        "Levels",
        "Score",
        "Backward",
        "Frames/s",
        "State",
    ]
    assert [str(it) for it in table.columns[1].cells] == ["dark", "lit", "all"] * 2
    lit = found.final
    assert list(table.columns[2].cells)[1] == f"{lit.mean:.2f} ± {lit.ci95:.2f}"
    printed = io.StringIO()
    Console(width=70, file=printed).print(table)
    assert "…" not in printed.getvalue()


def test_groups_that_do_not_fit_the_levels_are_damage(tmp_path):
    agent = make_agent("dqn", "catcher", "state", {"memory_size": 50, "warmup_frames": 10})
    config = agent_spec(agent, make_game("catcher-fruit")).config
    assert config["groups"] == ["dark", "lit"] * 3
    with own_folder(tmp_path / "r", {**config, "groups": ["dark"]}), pytest.raises(ResultsError, match="'groups' is"):
        AgentRecord.load(tmp_path / "r")


@pytest.mark.parametrize("name", ["catcher+flappy-bird", "catcher-controls", "catcher-fruit"])
def test_a_recorded_run_gives_back_its_specification(tmp_path, name):
    for agent in ("dqn", "dqn-mer"):
        assert has_preset(agent, name, "state")
    begun = agent_spec(make_agent("dqn", name, "state", {}), make_game(name))
    with own_folder(tmp_path / "r", begun.config):
        assert spec_of(AgentRecord.load(tmp_path / "r")).config == begun.config
