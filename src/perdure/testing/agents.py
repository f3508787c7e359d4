"""Does an agent keep its contract, and does it learn?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from perdure.core import AnyArray
from perdure.experiments.supervised.spec import describe_learner
from perdure.models import MLP
from perdure.rl.agent import Agent
from perdure.rl.environment import Environment, Step
from perdure.rl.runner import RunnerState, greedy_scores, init_runner, play_frames
from perdure.rl.schedule import Stage, make_schedule, stack_params
from perdure.rl.transition import Transition
from perdure.testing.report import (
    Nonconformity,
    Report,
    differs,
    examined,
    expect_equal,
    expect_finite,
    expect_no_hidden_chance,
    expect_same_forms,
)

_FRAMES_OF_LEARNING = 1_000
_KEY = 5


class SignParams(NamedTuple):
    """Parameters of `Sign`."""

    flipped: Int[Array, ""]
    """1 if the actions mean the opposite."""
    max_steps_in_episode: Int[Array, ""]


class SignState(NamedTuple):
    """State of `Sign`."""

    sign: Float[Array, ""]
    time: Int[Array, ""]


class Sign(Environment[SignParams, SignState]):
    """The smallest game: a number of either sign is shown, and the action that names its sign is worth 1.

    Episodes end at their time limit only.
    """

    @property
    def num_actions(self) -> int:
        """Two: negative and positive."""
        return 2

    @property
    def default_params(self) -> SignParams:
        """Ten frames an episode."""
        return SignParams(jnp.asarray(0, jnp.int32), jnp.asarray(10, jnp.int32))

    @property
    def levels(self) -> tuple[SignParams, ...]:
        """The game, and the game with the actions the other way round."""
        return (self.default_params, self.default_params._replace(flipped=jnp.asarray(1, jnp.int32)))

    def reset(self, key: PRNGKeyArray, params: SignParams) -> tuple[Float[Array, " 2"], SignState]:
        """Return a number of either sign, and a constant."""
        state = SignState(_draw_sign(key), jnp.asarray(0, jnp.int32))
        return _seen(state), state

    def step_env(self, key: PRNGKeyArray, state: SignState, action: Int[Array, ""], params: SignParams) -> Step:
        """Return 1 for the right action, and the next number."""
        right = jnp.where(state.sign > 0, 1, 0) ^ params.flipped
        after = SignState(_draw_sign(key), state.time + 1)
        truncated = after.time >= params.max_steps_in_episode
        info = {"terminated": jnp.asarray(False), "truncated": truncated, "discount": jnp.ones((), jnp.float32)}
        return Step(_seen(after), after, jnp.where(action == right, 1.0, 0.0), truncated, info)

    def render(self, state: SignState, params: SignParams) -> Any:
        """Return a picture that is white for a positive number and black for a negative one."""
        return jnp.full((84, 84), jnp.where(state.sign > 0, 255, 0), jnp.uint8)


def _draw_sign(key: PRNGKeyArray) -> Float[Array, ""]:
    return jnp.where(jax.random.bernoulli(key), 1.0, -1.0).astype(jnp.float32)


def _seen(state: SignState) -> Float[Array, " 2"]:
    return jnp.stack([state.sign, jnp.ones((), jnp.float32)])


def check_agent(agent: Agent) -> Report:
    """Put an agent through the conformance table, and return what was found.

    It is checked on a game of two actions that its state is a tuple of arrays which keeps shapes and dtypes, that its
    actions are actions, that its numbers stay finite, that its key decides all chance, that seeds side by side equal
    each alone, that frames may be played in stretches of any length, that a record can describe it, and that it learns:
    that it comes to score more than chance.

    Args:
        agent: with its hyper-parameters; it plays a thousand frames after its warm-up.

    Raises:
        ConformanceError: telling in words what fails.
    """
    case = _Case(agent)
    checks: dict[str, Callable[[], None]] = {
        "the state is made of arrays, and observing keeps shapes and dtypes": case.check_forms,
        "actions are whole numbers from 0 to the number of actions": case.check_actions,
        "numbers stay finite": case.check_finite,
        "acting and observing are pure: the key decides all chance": case.check_chance,
        "frames in stretches of any length come to the same": case.check_stretches,
        "seeds side by side equal each alone": case.check_side_by_side,
        "a record can describe it": lambda: _describe(agent),
        "it learns: it scores more than chance": case.check_learns,
    }
    return examined(type(agent).__name__, checks)


class _Case:
    """An agent at the game of signs."""

    def __init__(self, agent: Agent):
        self._agent: Agent = jax.tree.map(jnp.asarray, agent)
        self._game = Sign()
        self._frames = getattr(agent, "warmup_frames", 0) + _FRAMES_OF_LEARNING
        self._schedule = make_schedule(self._game.levels[:1], [Stage(0, self._frames)])
        # Compiled once for all checks: most of their time goes there.
        self._compiled = jax.jit(partial(play_frames, self._agent, self._game))

    def check_forms(self) -> None:
        state = self._runner().agent
        loose = [str(leaf) for leaf in jax.tree.leaves(state) if not isinstance(leaf, jax.Array)]
        if loose:
            raise Nonconformity(f"the state holds {', '.join(loose)}, expected arrays only")
        after = jax.eval_shape(self._agent.observe, state, self._transition(), _frame(0), jax.random.key(0))
        expect_same_forms(state, after, "observe")

    def check_actions(self) -> None:
        state = self._runner().agent
        for frame in (0, self._frames):
            action = np.asarray(
                self._agent.act(state, self._transition().observation, _frame(frame), jax.random.key(1))
            )
            if action.dtype.kind != "i" or action.shape != () or not 0 <= action < self._game.num_actions:
                raise Nonconformity(f"act returned {action!r} at frame {frame}, expected 0 or 1, a whole number")

    def check_finite(self) -> None:
        expect_finite(self._played.agent, "playing")

    def check_chance(self) -> None:
        seen, key, frame, state = self._transition(), jax.random.key(2), _frame(9), self._played.agent

        def programs() -> str:
            # New functions, so that JAX traces again.
            act, observe = (jax.jit(partial(it)).lower for it in (self._agent.act, self._agent.observe))
            return act(state, seen.observation, frame, key).as_text() + observe(state, seen, frame, key).as_text()

        expect_no_hidden_chance(programs, "acting or observing")

    def check_stretches(self) -> None:
        whole, parts = self._played, self._runner()
        for start, stop in ((0, 1), (1, 150), (150, self._frames)):
            parts = self._play(parts, jax.random.key(_KEY), start, stop)
        expect_equal(whole, parts, "frames in several stretches come to something else", tolerance=1e-4)

    def check_side_by_side(self) -> None:
        def play(key: PRNGKeyArray) -> RunnerState:
            return play_frames(self._agent, self._game, self._runner(key), self._schedule, key, _frame(0), _frame(40))

        keys = jax.random.split(jax.random.key(3), 3)
        together = jax.jit(jax.vmap(play))(keys)
        for place, key in enumerate(keys):
            one = jax.tree.map(lambda leaf, place=place: leaf[place], together)
            alone = self._play(self._runner(key), key, 0, 40)
            expect_equal(one, alone, "a seed plays otherwise beside others than alone", tolerance=1e-4)

    def check_learns(self) -> None:
        start, end = self._runner(), self._played
        if not differs(self._agent.answering(start.agent), self._agent.answering(end.agent)):
            raise Nonconformity(
                f"the network is the same after {self._frames:,} frames as before them; expected it to learn"
            )
        score = float(self._score(end.agent))
        if score <= 7.0:  # of ten frames, of which chance gets five right
            raise Nonconformity(
                f"after {self._frames:,} frames the greedy policy scores {score:.1f} of 10, expected more than 7 where "
                "chance scores 5; give it a larger learning rate, or look for what keeps it from learning"
            )

    def _runner(self, key: PRNGKeyArray | None = None) -> RunnerState:
        network = self._agent.make_networks(_perceptron, jnp.zeros(2), 2, jax.random.key(_KEY))
        key = jax.random.key(_KEY) if key is None else key
        return init_runner(self._agent, self._game, network, self._game.default_params, key)

    def _transition(self) -> Transition:
        seen, one = jnp.ones(2, jnp.float32), jnp.ones((), jnp.float32)
        return Transition(seen, jnp.asarray(1, jnp.int32), one, one, -seen)

    @cached_property
    def _played(self) -> RunnerState:
        return self._play(self._runner(), jax.random.key(_KEY), 0, self._frames)

    def _play(self, runner: RunnerState, key: PRNGKeyArray, start: int, stop: int) -> RunnerState:
        return self._compiled(runner, self._schedule, key, _frame(start), _frame(stop))

    def _score(self, agent: Any) -> Any:
        levels = stack_params(self._game.levels[:1])
        return greedy_scores(self._game, self._agent.answering(agent), levels, 20, jax.random.key(4)).mean()


def _perceptron(observation: AnyArray, n_outputs: int, key: PRNGKeyArray) -> MLP:
    return MLP(observation.size, n_outputs, (16,), key=key)


def _frame(number: int) -> Int[Array, ""]:
    return jnp.asarray(number, jnp.int32)


def _describe(agent: Agent) -> None:
    describe_learner(agent)
