"""Running agents: what the folder holds, resuming bit for bit, metrics of scores, what is refused."""

import json
import shutil
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import PerdureWarning
from perdure.execution.job import BrokenOffError, DivergedError
from perdure.experiments.agents.job import AgentJob
from perdure.experiments.agents.plan import has_preset, make_agent, spec_of
from perdure.experiments.agents.play import play_episode
from perdure.experiments.agents.run import run_agent
from perdure.experiments.agents.spec import agent_spec
from perdure.machine.signals import InterruptedRunError
from perdure.models import MLP
from perdure.records.agent import NETWORKS, AgentRecord, score_metrics
from perdure.records.errors import ResultsError
from perdure.records.folder import own_folder
from perdure.records.learner import RunRecord
from perdure.report.agents import agents_table
from perdure.report.figures.agents import scores_over_frames
from perdure.rl.agent import DQN, DQNMER, Agent
from perdure.rl.catalog import game_and_observation, make_game
from perdure.rl.games.catcher import Catcher
from perdure.rl.games.frames import FrameObservations
from perdure.rl.ppo import PPO
from perdure.rl.schedule import Stage
from perdure.storage.arrays import load_arrays, named_arrays
from perdure.storage.checkpoints import CheckpointError
from tests.conftest import first_short

COMMON: dict[str, Any] = {
    "learning_rate": 0.01,
    "memory_size": 50,
    "replay_batch_size": 3,
    "discount": 0.9,
    "target_period": 10,
    "exploration_end": 0.1,
    "exploration_frames": 50,
    "warmup_frames": 5,
}
AGENT = DQNMER(**COMMON, beta=1.0, gamma=0.3, batches_per_frame=1)
LEVELS = [Catcher.params(speed, max_steps_in_episode=30) for speed in (0.0608, 0.2108)]
STAGES = [Stage(0, 40), Stage(1, 40)]


def ran(folder=None, agent: Agent = AGENT, **changes):
    asked = {"levels": LEVELS, "stages": STAGES, "seeds": 2, "evaluate_every": 25, "episodes": 2} | changes
    return run_agent(agent, make_game("catcher"), folder=folder, progress=False, **asked)


def test_a_run_is_recorded_whole(tmp_path):
    result = ran(tmp_path / "r")
    np.testing.assert_array_equal(result.frames, [0, 25, 40, 50, 75, 80])
    assert result.scores.shape == (2, 6, 2)
    assert np.isfinite(result.scores).all()
    record = AgentRecord.load(tmp_path / "r")
    np.testing.assert_array_equal(record.frames, result.frames)
    np.testing.assert_array_equal(record.scores, result.scores)
    assert (record.agent, record.environment, record.seeds) == ("dqn-mer", "catcher", (0, 1))
    assert record.summary is not None
    assert record.summary.examples_seen == 80
    assert record.summary.metrics["retained_accuracy"].mean == pytest.approx(result.scores[:, -1].mean())
    networks, _ = load_arrays(tmp_path / "r" / NETWORKS)
    ours = named_arrays(result.runners.agent.learning.model)
    assert ours.keys() == networks.keys()
    for name, kept in networks.items():
        np.testing.assert_array_equal(ours[name], kept)
    with pytest.raises(ResultsError, match="holds a run of the kind agent, expected one of a learner"):
        RunRecord.load(tmp_path / "r")
    again = ran(tmp_path / "r")
    np.testing.assert_array_equal(again.scores, result.scores)
    assert (again.from_record, result.from_record) == (True, False)


@pytest.mark.long
@pytest.mark.parametrize("position", first_short([25, 50]))
def test_a_stopped_run_ends_bit_identical(tmp_path, act_at, position):
    whole = ran()
    act_at(position, lambda: signal.raise_signal(signal.SIGTERM), AgentJob)
    stopped = rf"^stopped after {position} of 80 frames; resume with `perdure resume \S+/r`, or with the call"
    with pytest.raises(InterruptedRunError, match=stopped):
        ran(tmp_path / "r")
    assert AgentRecord.load(tmp_path / "r").summary is None
    resumed = ran(tmp_path / "r")
    np.testing.assert_array_equal(resumed.scores, whole.scores)
    for one, other in zip(jax.tree.leaves(resumed.runners), jax.tree.leaves(whole.runners), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.long
def test_a_run_whose_folder_is_deleted_says_so_and_returns_its_result(tmp_path, act_at):
    act_at(50, lambda: shutil.rmtree(tmp_path / "r"), AgentJob)
    with pytest.warns(PerdureWarning, match="was deleted during the run: nothing more is kept of it"):
        result = ran(tmp_path / "r")
    np.testing.assert_array_equal(result.scores, ran().scores)
    assert not (tmp_path / "r").exists()


@pytest.mark.long
def test_seeds_do_not_depend_on_those_beside_them():
    both, second = ran(), ran(seeds=[1])
    np.testing.assert_allclose(both.scores[1], second.scores[0], atol=1e-5)


@pytest.mark.long
def test_another_environment_or_agent_is_refused(tmp_path):
    ran(tmp_path / "r")
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir() if path.is_file()}
    with pytest.raises(ResultsError, match=r"environment\.observation: state there, frames requested"):
        run_agent(
            AGENT,
            make_game("catcher", "frames"),
            levels=LEVELS,
            stages=STAGES,
            seeds=2,
            evaluate_every=25,
            episodes=2,
            folder=tmp_path / "r",
        )
    with pytest.raises(ResultsError, match=r"agent\.name: dqn-mer there, dqn requested"):
        ran(tmp_path / "r", DQN(**COMMON))
    with pytest.raises(ResultsError, match="levels"):
        ran(tmp_path / "r", levels=LEVELS[::-1])
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir() if path.is_file()}


@pytest.mark.long
def test_a_diverged_run_says_which_seed(tmp_path):
    with pytest.raises(
        DivergedError,
        match=r"^training diverged: a weight is not finite after 25 frames \(seed 0\); lower the learning rate",
    ):
        ran(tmp_path / "r", DQNMER(**{**COMMON, "learning_rate": 1e30}, beta=1.0, gamma=1.0, batches_per_frame=2))


class Broken(Catcher):
    """Catcher whose rewards or observations are not what they should be from a frame of each episode on."""

    reward: float | None = None
    number: float | None = None
    since: int = 1

    def step_env(self, key, state, action, params):
        step, late = super().step_env(key, state, action, params), state.time + 1 >= self.since
        if self.reward is not None:
            step = step._replace(reward=jnp.where(late, self.reward, step.reward))
        if self.number is not None:
            step = step._replace(observation=jnp.where(late, self.number, step.observation))
        return step


@pytest.mark.parametrize(
    ("broken", "frames", "error", "words"),
    [
        (
            Broken(reward=jnp.inf),
            40,
            BrokenOffError,
            "in an evaluation, the score of seed 0 at level 0 is inf: rewards",
        ),
        (Broken(reward=jnp.nan, since=30), 40, BrokenOffError, "the score of seed 0 at level 0 is nan: rewards"),
    ],
)
def test_scores_that_are_not_finite_end_no_run(tmp_path, broken, frames, error, words):
    with pytest.raises(error, match=words):
        run_agent(AGENT, broken, levels=LEVELS, stages=[(0, frames)], episodes=1, folder=tmp_path / "r", progress=False)
    assert AgentRecord.load(tmp_path / "r").summary is None


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Broken(reward=jnp.nan), "is not finite after 40 frames.*; the environment has returned rewards that are not"),
        (Broken(number=jnp.nan), "lower the learning rate, if all observations of the environment are finite"),
    ],
)
def test_weights_that_an_environment_has_spoiled_are_told_apart(broken, words):
    spec = agent_spec(AGENT, broken, levels=LEVELS, stages=[(0, 40)], episodes=1)
    job = AgentJob(spec)
    job.compile()
    job.advance(40)
    with pytest.raises(DivergedError, match=words):
        job.check()


LATE: dict[str, Any] = COMMON | {"warmup_frames": 25}
PPO_AGENT = PPO(
    learning_rate=0.01,
    environments=2,
    rollout_frames=13,
    epochs=1,
    minibatches=1,
    discount=0.9,
    trace=0.9,
    clip=0.2,
    entropy_bonus=0.0,
)


@pytest.mark.parametrize("agent", [DQN(**LATE), PPO_AGENT], ids=["dqn", "ppo"])
def test_a_run_without_an_update_is_told_of(agent):
    def networks(frames):
        level = Catcher.params(max_steps_in_episode=20)
        result = ran(agent=agent, levels=[level], stages=[(0, frames)], seeds=1, evaluate_every=100, episodes=1)
        return jax.tree.leaves(result.networks)

    assert agent.first_update == 26
    with pytest.warns(PerdureWarning, match="its first update comes after 26 frames, and 25 are played"):
        without = networks(25)
    with pytest.warns(PerdureWarning, match="the agent learns nothing"):
        before = networks(20)
    np.testing.assert_equal(without, before)
    assert any((one != other).any() for one, other in zip(networks(26), before, strict=True))


def test_a_network_for_other_observations_is_refused():
    with pytest.raises(ValueError, match=r"the model expects 3 values"):
        ran(network=lambda observation, n_actions, key: MLP(3, n_actions, (4,), key=key))


def test_metrics_of_scores_are_those_of_accuracies_times_a_factor():
    rng = np.random.default_rng(0)
    frames, scores = np.asarray([0, 25, 40, 80]), 50 * rng.normal(size=(3, 4, 2))
    metrics = score_metrics(frames, scores, [(1, 40), (0, 40)])
    last, own = scores[:, -1], np.stack([scores[:, 2, 1], scores[:, 3, 0]], axis=1)
    assert metrics["retained_accuracy"].mean == pytest.approx(last.mean())
    assert metrics["learning_accuracy"].mean == pytest.approx(own.mean())
    assert metrics["backward_transfer"].mean == pytest.approx(last.mean() - own.mean())
    assert metrics["forgetting"].mean == pytest.approx((scores[:, 2, 1] - scores[:, 3, 1]).mean())
    twice = score_metrics(frames, scores, [(1, 40), (1, 40)])
    assert twice["retained_accuracy"].mean == pytest.approx(scores[:, -1, 1].mean())
    assert np.isnan(twice["backward_transfer"].mean)


@pytest.mark.long
def test_runs_are_compared_in_a_table_and_a_figure(tmp_path):
    for name, agent in (("a", AGENT), ("b", DQN(**COMMON))):
        ran(tmp_path / name, agent)
    records = [AgentRecord.load(tmp_path / name) for name in ("a", "b")]
    table = agents_table(records)
    assert table.row_count == 2
    assert [column.header for column in table.columns[:3]] == ["Run", "L0", "L1"]
    panels = [axes for axes in scores_over_frames(records).axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["Level 0", "Level 1"]
    assert records[1].scores is not None
    np.testing.assert_allclose(np.asarray(panels[1].lines[-1].get_ydata()), records[1].scores[:, :, 1].mean(axis=0))
    ran(tmp_path / "c", stages=STAGES[:1])
    with pytest.raises(ResultsError, match="differ in their stages"):
        agents_table([*records, AgentRecord.load(tmp_path / "c")])


@pytest.mark.long
def test_a_finished_run_can_be_watched(tmp_path):
    run_agent(
        AGENT,
        make_game("catcher"),
        stages=[Stage(0, 1000)],
        episodes=1,
        folder=tmp_path / "r",
        progress=False,
    )
    played = play_episode(tmp_path / "r", level=2, seed=0, episode=0, max_frames=5)
    assert len(played.pictures) == 6
    with pytest.raises(ValueError, match="level = 6, expected a whole number from 0 to 5"):
        play_episode(tmp_path / "r", level=6, seed=0, episode=0, max_frames=5)
    with pytest.raises(ValueError, match="there is no seed at place 1"):
        play_episode(tmp_path / "r", level=0, seed=1, episode=0, max_frames=5)
    with pytest.raises(ResultsError, match=r"holds no config\.json"):
        play_episode(tmp_path, level=0, seed=0, episode=0, max_frames=5)


def test_a_damaged_record_is_told(tmp_path):
    ran(tmp_path / "r")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    (tmp_path / "r" / "config.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(ResultsError, match="has format 99, expected 2"):
        AgentRecord.load(tmp_path / "r")
    (tmp_path / "r" / "config.json").write_text(json.dumps(config))
    (tmp_path / "r" / "scores.parquet").write_bytes(b"no table")
    with pytest.raises(ResultsError, match="cannot be read as Parquet"):
        AgentRecord.load(tmp_path / "r")


@pytest.mark.parametrize("game", ["catcher", "flappy-bird"])
@pytest.mark.parametrize("observation", ["state", "frames", "frames-small"])
def test_games_are_found_again_by_their_names(game, observation):
    assert game_and_observation(make_game(game, observation)) == (game, observation)


def test_other_frames_than_the_named_ones_are_the_users_own():
    assert game_and_observation(FrameObservations(Catcher(), 2)) == ("FrameObservations", "own")
    two, three = (spec(game=FrameObservations(Catcher(), n)).config["environment"] for n in (2, 3))
    assert two != three


def test_presets_take_changes_and_are_usual_values_elsewhere():
    agent = make_agent("dqn", "catcher", "state", {"learning_rate": 0.5})
    assert isinstance(agent, DQN)
    assert float(agent.learning_rate) == 0.5
    usual = make_agent("dqn", "Walk", "own", {"learning_rate": 0.5})
    assert isinstance(usual, DQN)
    assert (float(usual.learning_rate), usual.memory_size) == (0.5, 50_000)
    assert has_preset("dqn", "catcher", "state")
    assert not has_preset("dqn", "Walk", "own")


@pytest.mark.long
@pytest.mark.parametrize("observation", ["frames", "frames-small"])
@pytest.mark.parametrize("name", ["dqn", "dqn-mer"])
def test_agents_learn_from_frames(name, observation):
    game = make_game("catcher", observation)
    changes = {"memory_size": 40, "replay_batch_size": 2, "warmup_frames": 20}
    agent = make_agent(name, "catcher", observation, changes)
    result = run_agent(
        agent, game, levels=LEVELS[:1], stages=[Stage(0, 30)], episodes=1, evaluate_every=30, progress=False
    )
    assert np.isfinite(result.scores).all()
    film = result.runners.agent.learning.memory.film
    assert film.dtype == np.uint8
    assert film.shape[0] == 1
    assert film.shape[1] < 2 * 40  # each picture once
    target = jax.tree.leaves(result.runners.agent.target)
    learned = jax.tree.leaves(result.runners.agent.learning.model)
    assert any((np.asarray(one) != np.asarray(other)).any() for one, other in zip(target, learned, strict=True))


@pytest.mark.long
def test_a_damaged_checkpoint_says_how_to_resume(tmp_path):
    ran(tmp_path / "r", checkpoint_seconds=0.0)
    (tmp_path / "r" / "summary.json").unlink()
    newest = max((tmp_path / "r" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"is damaged.*resume from it with `perdure resume \S+/r --previous`"):
        ran(tmp_path / "r")
    assert np.isfinite(ran(tmp_path / "r", previous=True).scores).all()
    assert AgentRecord.load(tmp_path / "r").summary is not None


def spec(agent: Agent = AGENT, game=None, **changes):
    requested = {"stages": STAGES, "seeds": 2, "evaluate_every": 25, "episodes": 2} | changes
    return agent_spec(agent, game or make_game("catcher"), **requested)


def recorded(folder, config):
    """Return the record of an unfinished run of this configuration."""
    with own_folder(folder, config):
        return AgentRecord.load(folder)


def test_a_recorded_run_gives_back_its_specification(tmp_path):
    begun = spec(seeds=[5, 2])
    again = spec_of(recorded(tmp_path / "r", begun.config))
    assert again.config == begun.config
    assert (again.agent, again.stages, again.seeds) == (AGENT, STAGES, (5, 2))


def small_network(observation, n_actions, key):
    return MLP(4, n_actions, (4,), key=key)


@pytest.mark.parametrize("own", [{"levels": LEVELS}, {"network": small_network}], ids=["levels", "network"])
def test_a_run_of_own_levels_or_network_is_resumed_from_python(tmp_path, own):
    message = r"begun from Python with its own agent, environment, levels or network, .*: perdure\.run_agent\("
    with pytest.raises(ResultsError, match=message):
        spec_of(recorded(tmp_path / "r", spec(**own).config))


@pytest.mark.long
def test_a_network_of_other_code_is_another_run(tmp_path):
    ran(tmp_path / "r", network=small_network, stages=STAGES[:1], levels=LEVELS[:1], seeds=1)
    with pytest.raises(ResultsError, match=r"network\.name: small_network there, default_network requested"):
        ran(tmp_path / "r", stages=STAGES[:1], levels=LEVELS[:1], seeds=1)


def test_the_folder_of_another_kind_of_run_is_refused_before_anything_is_written(tmp_path):
    with own_folder(tmp_path / "r", {"format": 2, "kind": "learner"}):
        pass
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    with pytest.raises(ResultsError, match="kind: learner there, agent requested"):
        ran(tmp_path / "r")
    assert before == {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
