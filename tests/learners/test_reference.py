"""Every method against recorded runs of the released code: weights after each example, draw for draw."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.learners.er import ER, ERAlgorithm5
from perdure.learners.mer import MER, MERAlgorithm6, MERAlgorithm7
from perdure.learners.online import Online
from perdure.learners.replay import Draws
from perdure.models import MLP
from tests.conftest import reference_files
from tests.learners.conftest import Recording


def mer(run):
    return MER(**replay(run), beta=run.hp("beta"), gamma=run.hp("gamma"), batches_per_example=n_batches(run))


def mer_6(run):
    return MERAlgorithm6(**replay(run), gamma=run.hp("gamma"), batches_per_example=n_batches(run))


def mer_7(run):
    return MERAlgorithm7(**replay(run), gamma=run.hp("gamma"), current_example_weight=run.hp("s"))


def replay(run):
    return {
        "learning_rate": run.hp("lr"),
        "memory_size": run.hp("memories"),
        "replay_batch_size": run.hp("replay_batch_size"),
    }


def n_batches(run):
    return run.hp("batches_per_example")


LEARNERS = {
    "meralg1": mer,
    "meralg6": mer_6,
    "meralg7": mer_7,
    "eralg4": lambda run: ER(**replay(run)),
    "eralg5": lambda run: ERAlgorithm5(**replay(run)),
}
"""How to make the learner of a recorded run, by the beginning of the file's name."""

every_replay_run = pytest.mark.parametrize(
    "file", [file for name in LEARNERS for file in reference_files("mer", f"{name}*.npz")]
)


class FreeForm(eqx.Module):
    """The same network under another type, so that it takes the general form of the update."""

    network: MLP

    def __call__(self, x):
        return self.network(x)


def of_file(file):
    """Return a recorded run and its learner."""
    run = Recording.read(file)
    return run, next(make for name, make in LEARNERS.items() if file.name.startswith(name))(run)


def recorded_draws(run):
    """Return the recorded draws; where the batch was shuffled (Algorithm 7), in the order that it was visited in."""
    numbers = run.numbers
    slots = np.maximum(numbers["replay_draws"], 0)
    position = np.zeros(len(slots), int)
    if "batch_order" in numbers:
        for n, order in enumerate(numbers["batch_order"]):
            visited = order[order >= 0]
            if len(visited):
                position[n] = list(visited).index(0)
                slots[n, 0, : len(visited) - 1] = slots[n, 0, visited[visited > 0] - 1]
    stored_in = np.where(numbers["reservoir_slot"] < 0, run.hp("memories"), numbers["reservoir_slot"])
    return Draws(*(jnp.asarray(it, jnp.int32) for it in (slots, position, stored_in)))


def replayed(learner, run, dtype, form):
    """Return the states after each recorded example, leaves (N, ...)."""

    def learn(state, step):
        state, _ = learner.observe_with(state, *step)
        return state, state

    start = run.start(learner, form(run.mlp("init", run.layers(), dtype)), dtype)
    return jax.lax.scan(learn, start, (run.stream(dtype), recorded_draws(run)))[1]


def plain(model):
    """Leave the network as it is."""
    return model


def network_of(model):
    return model.network if isinstance(model, FreeForm) else model


def assert_weights(run, models, atol):
    """Assert that the weights after each example, and the last ones of the float32 run, are those recorded."""
    run.assert_recorded("after", run.layers(), models, atol)
    run.assert_recorded("final_float32", run.layers(), jax.tree.map(lambda leaf: leaf[-1], models), 1e-5)


def assert_memory(run, memory):
    """Assert that the memory after each example holds what the recorded one held."""
    for n, held in enumerate(run.numbers["memory_stream_index"]):
        held = held[held >= 0]
        np.testing.assert_array_equal(memory.examples.x[n, : len(held)], run.numbers["stream_x"][held])
        np.testing.assert_array_equal(memory.examples.task[n, : len(held)], run.numbers["stream_task"][held])
        assert memory.seen[n] == n + 1


both_forms = pytest.mark.parametrize("form", [plain, FreeForm], ids=["gram", "general"])


@pytest.mark.reference
@both_forms
@every_replay_run
def test_float64_run_is_reproduced_to_1e9(file, form, x64):
    run, learner = of_file(file)
    assert_weights(run, network_of(replayed(learner, run, jnp.float64, form).model), atol=1e-9)


@pytest.mark.reference
@both_forms
@every_replay_run
def test_float32_run_is_reproduced_to_1e5(file, form):
    run, learner = of_file(file)
    assert_weights(run, network_of(replayed(learner, run, jnp.float32, form).model), atol=1e-5)


@pytest.mark.reference
@every_replay_run
def test_memory_holds_what_the_recorded_memory_held(file, x64):
    run, learner = of_file(file)
    assert_memory(run, replayed(learner, run, jnp.float64, plain).memory)


@pytest.mark.reference
@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float64, 1e-9), (jnp.float32, 1e-5)], ids=["64", "32"])
@pytest.mark.parametrize("file", reference_files("mer", "online*.npz"))
def test_online_run_is_reproduced(file, dtype, atol):
    with jax.enable_x64(dtype is jnp.float64):
        run = Recording.read(file)
        learner = Online(learning_rate=run.hp("lr"))
        start = run.start(learner, run.mlp("init", run.layers(), dtype), dtype)
        assert_weights(run, run.learn(learner, start, dtype).model, atol)


SIZES = {"n_inputs": 7, "n_outputs": 4, "n_tasks": 2}
PER_TASK, HIDDEN = 11, (6, 3, 5)
RATES = {"lr": 0.05, "beta": 0.6, "gamma": 0.4, "batches_per_example": 2, "replay_batch_size": 3, "memories": 5}


@functools.cache
def other_run():
    """Return a run of Algorithm 1 worked out in NumPy alone, with other sizes and rates than the recordings have."""
    rng = np.random.default_rng(3)
    n_inputs, n_outputs, n_tasks = SIZES.values()
    n, memories = n_tasks * PER_TASK, RATES["memories"]
    numbers = {**SIZES, **{f"hp_{name}": value for name, value in RATES.items()}}
    numbers |= {
        "stream_x": rng.random((n, n_inputs), np.float32),
        "stream_y": rng.integers(0, n_outputs, n),
        "stream_task": np.repeat(np.arange(n_tasks), PER_TASK),
        "reservoir_slot": np.array([i if i < memories else kept(rng.integers(0, i + 2)) for i in range(n)]),
        "replay_draws": np.full((n, RATES["batches_per_example"], RATES["replay_batch_size"]), -1),
        "memory_stream_index": np.full((n, memories), -1),
    }
    sizes = (n_inputs, *HIDDEN, n_outputs)
    weights = [
        rng.uniform(-1, 1, shape).astype(np.float32).astype(float)
        for fan_in, fan_out in itertools.pairwise(sizes)
        for shape in ((fan_out, fan_in), (fan_out,))
    ]
    names = [f"{kind}{layer}" for layer in range(len(sizes) - 1) for kind in ("weight", "bias")]
    numbers |= {f"init_{name}": weight for name, weight in zip(names, weights, strict=True)}
    after, held = [], np.full(memories, -1)
    for i in range(n):
        n_held = np.count_nonzero(held >= 0)
        usable = min(RATES["replay_batch_size"], n_held)
        draws = rng.integers(0, max(n_held, 1), (RATES["batches_per_example"], usable))
        numbers["replay_draws"][i, :, :usable] = draws
        weights = algorithm_1(weights, [[i, *held[batch]] for batch in draws], numbers)
        if numbers["reservoir_slot"][i] >= 0:
            held[numbers["reservoir_slot"][i]] = i
        numbers["memory_stream_index"][i] = held
        after.append(weights)
    for name, trajectory in zip(names, zip(*after, strict=True), strict=True):
        numbers[f"after_{name}"] = np.stack(trajectory)
        numbers[f"final_float32_{name}"] = trajectory[-1].astype(np.float32)
    return {name: np.asarray(value) for name, value in numbers.items()}


def kept(drawn):
    return drawn if drawn < RATES["memories"] else -1


def algorithm_1(weights, batches, numbers):
    """Return the weights after batches of stream indices: SGD one by one, a step with β after each, one with γ last."""
    start = weights
    for batch in batches:
        before = weights
        for index in batch:
            grads = gradients(weights, numbers["stream_x"][index].astype(float), numbers["stream_y"][index])
            weights = [weight - RATES["lr"] * grad for weight, grad in zip(weights, grads, strict=True)]
        weights = [old + RATES["beta"] * (new - old) for old, new in zip(before, weights, strict=True)]
    return [old + RATES["gamma"] * (new - old) for old, new in zip(start, weights, strict=True)]


def gradients(weights, x, y):
    """Return the gradients of the cross entropy, by back-propagation."""
    inputs = [x]
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        inputs.append(np.maximum(weight @ inputs[-1] + bias, 0))
    outputs = weights[-2] @ inputs[-1] + weights[-1]
    error = np.exp(outputs - outputs.max())
    error = error / error.sum() - (np.arange(len(outputs)) == y)
    grads = []
    for weight, value in zip(weights[-2::-2], inputs[::-1], strict=True):
        grads = [np.outer(error, value), error, *grads]
        error = (weight.T @ error) * (value > 0)
    return grads


def check(numbers):
    """Put a run of Algorithm 1 through what the tests above assert, in the form that is compiled faster."""
    run = Recording(numbers)
    states = replayed(mer(run), run, jnp.float64, FreeForm)
    assert_weights(run, states.model.network, atol=1e-9)
    assert_memory(run, states.memory)


def test_a_run_of_other_sizes_is_reproduced(x64):
    assert len(HIDDEN) + 1 == len(Recording(other_run()).layers())
    check(other_run())


def raised(numbers, name, place, by):
    changed = numbers[name].copy()
    changed[place] += by
    return numbers | {name: changed}


@pytest.mark.parametrize(
    ("name", "place", "by"),
    [
        ("after_weight3", (-1, 0, 0), 1e-6),
        ("after_bias1", (4, 1), 1e-6),
        ("final_float32_weight0", (0, 0), 1e-4),
        ("memory_stream_index", (7, 1), 1),
        ("stream_x", (9, 2), 1e-3),
        ("hp_gamma", (), 1e-6),
    ],
)
def test_a_changed_number_is_noticed(name, place, by, x64):
    with pytest.raises(AssertionError):
        check(raised(other_run(), name, place, by))
