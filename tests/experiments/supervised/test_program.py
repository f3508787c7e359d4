import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.core import Example, Info, Learner
from perdure.execution.compilation import finite
from perdure.experiments.supervised.program import Advance, Evaluator, Log, Progress, advance, named_keys
from perdure.learners.er import ER
from perdure.models import MLP
from perdure.streams.benchmark import LabelledSet
from tests.conftest import first_short

pytestmark = pytest.mark.optimized


class Recorder(Learner):
    """Learns nothing; its state tells which examples and keys it has met."""

    needs_task = True

    def init(self, model, example, key):
        return fresh().state

    def observe(self, state, example, key):
        state = {
            "xs": state["xs"].at[state["count"]].set(example.x),
            "bits": state["bits"].at[state["count"]].set(jax.random.bits(key)),
            "count": state["count"] + 1,
        }
        return state, Info(jnp.asarray(example.x) + 0.5, jnp.zeros(5))

    def answering(self, state):
        return state

    def predict(self, state, x, task):
        """One-hot of x, moved on by the task's number and the state's shift."""
        return jax.nn.one_hot((x.astype(jnp.int32) + task + state["shift"]) % 5, 5)


N = 12
STREAM = Example(np.arange(N, dtype=np.float32), np.zeros(N, np.int32), np.zeros(N, np.int32))
ADVANCE = jax.jit(advance)


def fresh(n_seeds=None):
    shape = () if n_seeds is None else (n_seeds,)
    state = {
        "xs": jnp.full((*shape, N), -1.0),
        "bits": jnp.zeros((*shape, N), jnp.uint32),
        "count": jnp.zeros(shape, jnp.int32),
    }
    return Progress(state, Log(jnp.full((*shape, N), jnp.nan), None))


def copied(tree):
    """A compiled program consumes the progress that it is given."""
    return jax.tree.map(jnp.copy, tree)


def at(position):
    return jnp.asarray(position, jnp.int32)


# --- keys


@pytest.mark.long
@given(st.integers(0, 2**31 - 2))
@settings(deadline=None)
def test_every_purpose_and_seed_has_a_key_of_its_own(seed):
    keys = [*named_keys(seed), *named_keys(seed + 1)]
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 8
    again = [jax.random.key_data(key) for key in named_keys(jnp.asarray(seed))]
    np.testing.assert_array_equal(again, [jax.random.key_data(key) for key in keys[:4]])


# --- learning a stretch


@given(st.lists(st.integers(0, N), max_size=4))
@settings(deadline=None, max_examples=30)
def test_stretches_join_to_the_whole(cuts):
    keys, progress = named_keys(3), fresh()
    ends = [0, *sorted(cuts), N]
    for start, stop in itertools.pairwise(ends):
        progress = ADVANCE(Recorder(), progress, STREAM, keys, at(start), at(stop))
    np.testing.assert_array_equal(progress.state["xs"], STREAM.x)
    np.testing.assert_array_equal(progress.log.loss, STREAM.x + 0.5)
    expected = [jax.random.bits(jax.random.fold_in(keys.learning, n)) for n in range(N)]
    np.testing.assert_array_equal(progress.state["bits"], expected)


def test_log_is_empty_outside_the_stretch():
    progress = ADVANCE(Recorder(), fresh(), STREAM, named_keys(0), at(3), at(7))
    np.testing.assert_array_equal(progress.state["xs"][:4], [3, 4, 5, 6])
    np.testing.assert_array_equal(np.isnan(progress.log.loss), [n not in range(3, 7) for n in range(N)])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("seeds", [[4], [4, 9, 2]])
def test_compiled_program_learns_each_seed_on_its_own(seeds, shared):
    keys = jax.vmap(named_keys)(jnp.asarray(seeds))
    shifts = np.zeros(len(seeds), np.float32) if shared else np.arange(len(seeds), dtype=np.float32)
    stream = STREAM
    if not shared:
        stream = STREAM._replace(x=STREAM.x + shifts[:, None], y=np.stack([STREAM.y] * len(seeds)))
    program = Advance(Recorder(), fresh(len(seeds)), stream, keys, shared_stream=shared)
    for start, stop in [(0, 5), (5, N)]:
        losses = program(start, stop)
        np.testing.assert_array_equal(losses, STREAM.x[start:stop] + shifts[:, None] + 0.5)
    progress = program.progress
    np.testing.assert_array_equal(progress.state["xs"], STREAM.x + shifts[:, None])
    for place, seed in enumerate(seeds):
        own = [jax.random.bits(jax.random.fold_in(named_keys(seed).learning, n)) for n in range(N)]
        np.testing.assert_array_equal(progress.state["bits"][place], own)


class OneByOne(Recorder):
    """`Recorder`, whose seeds take turns."""

    vectorized = False


def test_seeds_that_take_turns_are_each_bit_for_bit_the_seed_alone():
    """Of a learner that is not to be vectorized, in stretches, each seed with a stream and a key of its own."""
    seeds = [4, 9, 2]
    xs = np.stack([np.roll(STREAM.x, place) for place in range(3)])
    stream = STREAM._replace(x=xs, y=np.stack([STREAM.y] * 3))

    def learned(places):
        keys = jax.vmap(named_keys)(jnp.asarray([seeds[place] for place in places]))
        own = stream._replace(x=stream.x[places], y=stream.y[places])
        progress = fresh(len(places))
        program = Advance(OneByOne(), progress, own, keys, shared_stream=False)
        for start, stop in [(0, 5), (5, N)]:
            program(start, stop)
        return program.progress

    together = learned([0, 1, 2])
    for place in range(3):
        alone = learned([place])
        for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            assert np.asarray(ours[place]).tobytes() == np.asarray(theirs[0]).tobytes()


# --- are the floats finite?


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(1, 0, 0), (1, 2, 3)])
def test_one_bad_float_condemns_its_seed_alone(bad, place):
    weights = np.zeros((3, 3, 4), np.float32)
    weights[place] = bad
    state = (jnp.asarray(weights), jnp.zeros((3, 2)), jnp.zeros(3, jnp.int32))
    np.testing.assert_array_equal(finite(state), [True, False, True])


def test_integers_and_scalars_are_sound():
    state = (jnp.ones(2), jnp.full((2, 5), 255, jnp.uint8), jnp.asarray([0, np.iinfo(np.int32).max]))
    np.testing.assert_array_equal(finite(state), [True, True])
    np.testing.assert_array_equal(finite((jnp.asarray([np.nan, 1.0]),)), [False, True])


# --- counting correct answers


@pytest.mark.parametrize("batch", [1, 3, 7, 10, 2_000])
def test_accuracy_counts_every_example_for_its_seed_and_task(monkeypatch, batch):
    monkeypatch.setattr("perdure.experiments.supervised.program._TEST_BATCH", batch)
    x = np.arange(10, dtype=np.uint8) % 5
    evaluator, states = Evaluator(Recorder()), {"shift": jnp.asarray([0, 1], jnp.int32)}
    for seed in range(2):
        for task in range(3):
            y = ((x + task + seed) % 5).astype(np.int32)
            y[[0, 4, 9]] = (y[[0, 4, 9]] + 1) % 5  # wrong in the first, in the middle and in the last place
            assert evaluator.score(states, seed, task, LabelledSet(x, y)) == 0.7


def test_padding_matches_no_class():
    """Padded inputs are zeros, for which the prediction is class 0."""
    evaluator, states = Evaluator(Recorder()), {"shift": jnp.zeros(1, jnp.int32)}
    test = LabelledSet(np.zeros(3, np.uint8), np.zeros(3, np.int32))
    assert evaluator.score(states, 0, 0, test) == 1.0
    assert evaluator.score(states, 0, 0, LabelledSet(test.x, test.y + 1)) == 0.0


class Given(Learner):
    """Answers with its input, whatever the state."""

    needs_task = False

    def init(self, model, example, key):
        return {"none": jnp.zeros(())}

    def observe(self, state, example, key):
        return state, Info(jnp.zeros(()), jnp.asarray(example.x))

    def answering(self, state):
        return state

    def predict(self, state, x, task):
        return x


@pytest.mark.parametrize("batch", [2, 2_000])
def test_outputs_of_other_tasks_do_not_count(monkeypatch, batch):
    monkeypatch.setattr("perdure.experiments.supervised.program._TEST_BATCH", batch)
    outputs = np.asarray([[1, 9, 0, 8], [5, 0, 9, 3], [-2, 4, -3, 7]], np.float32)
    states = {"none": jnp.zeros(1)}
    masked, free = Evaluator(Given(), (0, 1, 0, 1)), Evaluator(Given())
    for task, own in ((0, [0, 2, 0]), (1, [1, 3, 3])):
        test = LabelledSet(outputs, np.asarray(own, np.int32))
        assert masked.score(states, 0, task, test) == 1.0
        assert masked.score(states, 0, 1 - task, test) == 0.0
    assert free.score(states, 0, 0, LabelledSet(outputs, np.asarray([0, 2, 0], np.int32))) == pytest.approx(1 / 3)


@pytest.mark.parametrize("batch", [3, 2_000])
def test_regression_is_scored_by_the_variance_explained(monkeypatch, batch):
    monkeypatch.setattr("perdure.experiments.supervised.program._TEST_BATCH", batch)
    rng = np.random.default_rng(0)
    values, targets = rng.normal(size=(7, 2)).astype(np.float32), rng.normal(3, 2, size=(7, 2)).astype(np.float32)
    evaluator, states = Evaluator(Given()), {"none": jnp.zeros(1)}
    left = sum((float(v) - float(t)) ** 2 for v, t in zip(values.ravel(), targets.ravel(), strict=True))
    means = targets.astype(np.float64).mean(axis=0)
    total = sum(float(t - mean) ** 2 for row in targets for t, mean in zip(row, means, strict=True))
    assert evaluator.score(states, 0, 0, LabelledSet(values, targets)) == pytest.approx(1 - left / total, rel=1e-5)
    assert evaluator.score(states, 0, 0, LabelledSet(targets, targets)) == 1
    mean_only = np.tile(targets.mean(axis=0), (7, 1))
    assert evaluator.score(states, 0, 0, LabelledSet(mean_only, targets)) == pytest.approx(0, abs=1e-6)


# --- what the compiler makes of it


def replay_program(n_seeds, memory_size):
    """Return `Advance` for ER on pixels, and what it was made with."""
    learner = jax.tree.map(jnp.asarray, ER(0.1, memory_size, 3))
    images = np.random.default_rng(0).integers(0, 256, (N, 3, 5)).astype(np.uint8)
    stream = jax.tree.map(jnp.asarray, Example(images, np.arange(N, dtype=np.int32) % 4, np.zeros(N, np.int32)))
    keys = jax.vmap(named_keys)(jnp.arange(n_seeds))

    def start(keys):
        first = jax.tree.map(lambda leaf: leaf[0], stream)
        state = learner.init(MLP(15, 4, (6,), key=keys.model), first, keys.start)
        return Progress(state, Log(jnp.full(N, jnp.nan)))

    progress = jax.vmap(start)(keys)
    program = Advance(learner, copied(progress), stream, keys, shared_stream=True)
    return program, (learner, progress, stream, keys)


@pytest.mark.long
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the compiler's text is that of the CPU")
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_the_memory_is_not_copied_at_every_example(n_seeds):
    program, _ = replay_program(n_seeds, memory_size=97)
    text = program.program.as_text()
    assert re.search(r"u8\[(3,)?97,3,5\]", text)
    assert not re.search(r"u8\[(3,)?97,3,5\]\S* copy\(", text)


@pytest.mark.long
def test_weights_of_seeds_that_take_turns_are_those_of_each_alone(monkeypatch):
    monkeypatch.setattr(ER, "vectorized", False)
    together = replay_program(3, 5)
    learner, progress, stream, keys = together[1]
    together[0](0, N)
    states = together[0].progress
    for seed in range(3):
        own, own_keys = (jax.tree.map(lambda leaf, n=seed: leaf[n : n + 1], it) for it in (progress, keys))
        alone = Advance(learner, own, stream, own_keys, shared_stream=True)
        alone(0, N)
        state = alone.progress
        for ours, theirs in zip(jax.tree.leaves(states), jax.tree.leaves(state), strict=True):
            assert np.asarray(ours[seed]).tobytes() == np.asarray(theirs[0]).tobytes()


@pytest.mark.parametrize("n_seeds", first_short([3, 1]))
def test_the_compiled_program_learns_what_the_plain_one_does(n_seeds):
    program, (learner, progress, stream, keys) = replay_program(n_seeds, memory_size=5)
    plain = [
        ADVANCE(learner, *jax.tree.map(lambda leaf, n=seed: leaf[n], (progress,)), stream, one, at(0), at(N))
        for seed, one in enumerate(jax.tree.map(lambda leaf, n=n: leaf[n], keys) for n in range(n_seeds))
    ]
    program(0, N)
    learned = program.progress
    for seed, expected in enumerate(plain):
        for ours, theirs in zip(jax.tree.leaves(learned), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours[seed], theirs, rtol=1e-5, atol=1e-6)


def test_small_test_sets_are_padded_little():
    """Sizes are powers of two up to the largest: few programs are compiled, and little is computed for nothing."""
    sizes = []

    class Counting(Given):
        def predict(self, state, x, task):
            sizes.append(len(x))
            return x

    evaluator, states = Evaluator(Counting()), {"none": jnp.zeros(1)}
    for n in (1, 2, 5, 7, 8, 300, 1_500, 2_500):
        evaluator.score(states, 0, 0, LabelledSet(np.zeros((n, 2), np.float32), np.zeros(n, np.int32)))
    assert sizes == [1, 2, 8, 512, 2_000]
