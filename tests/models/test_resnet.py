"""The reduced ResNet-18, against the recorded one and its own formulae."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from perdure.core import Example
from perdure.models import BatchModel, BatchNorm, ResNet18, reduced_resnet18, split_trainable
from tests.conftest import recorded_tensors

pytestmark = pytest.mark.long

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def network():
    return jax.jit(lambda key: ResNet18(3, 50, 8, key=key))(KEY)


@partial(jax.jit, static_argnames="n_classes")
def training_step(model, x, y, rate, n_classes):
    """One step of SGD on the mean loss over the outputs for the first task's classes."""
    weights, rest = split_trainable(model)

    def loss(weights):
        outputs, after = eqx.combine(weights, rest).in_training(x)
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs[:, :n_classes], y)
        return losses.mean(), split_trainable(after)[1]

    grads, rest = jax.grad(loss, has_aux=True)(weights)
    return eqx.combine(jax.tree.map(lambda weight, by: weight - rate * by, weights, grads), rest)


@pytest.mark.reference
@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float64, 1e-9), (jnp.float32, 1e-5)], ids=["64", "32"])
def test_recorded_training_steps_are_reproduced(icarl_run, dtype, atol):
    """Those before the first choice of exemplars, which moves the running statistics; two are enough."""
    with jax.enable_x64(dtype is jnp.float64):
        numbers = icarl_run.numbers
        rate = jnp.asarray(numbers["hp_lr"], dtype)
        model = icarl_run.model("init", dtype)
        for batch in range(min(2, np.count_nonzero(numbers["batch_end"] < numbers["hp_samples_per_task"]))):
            model = training_step(model, *icarl_run.batch(batch, dtype), rate, int(numbers["n_classes_per_task"]))
            tensors = recorded_tensors(model)
            for n, name in enumerate(numbers["tensor_names"]):
                if name.endswith("num_batches_tracked"):
                    continue
                assert tensors[name].dtype == dtype
                norm = numbers["tensor_l2norm_after_batch"][batch, n]
                np.testing.assert_allclose(np.linalg.norm(tensors[name]), norm, rtol=0, atol=10 * atol)
                if batch == 0:
                    recorded = numbers[f"after_batch0.{name}"]
                    np.testing.assert_allclose(tensors[name], recorded, rtol=0, atol=atol, err_msg=name)


def outputs_by_the_formula(tensors, x):
    """Return the outputs in evaluation mode, channels first, from tensors under their recorded names."""

    def convolve(x, name, stride=1):
        margin = tensors[name].shape[-1] // 2
        return jax.lax.conv_general_dilated(x, tensors[name], (stride, stride), [(margin, margin)] * 2)

    def normalise(x, name):
        def of_channel(kind):
            return tensors[f"{name}.{kind}"].reshape(1, -1, 1, 1)

        deviation = jnp.sqrt(of_channel("running_var") + 1e-5)
        return (x - of_channel("running_mean")) / deviation * of_channel("weight") + of_channel("bias")

    x = jax.nn.relu(normalise(convolve(x, "conv1.weight"), "bn1"))
    for stage in range(1, 5):
        for place, stride in ((f"layer{stage}.0", min(stage, 2)), (f"layer{stage}.1", 1)):
            inner = jax.nn.relu(normalise(convolve(x, f"{place}.conv1.weight", stride), f"{place}.bn1"))
            inner = normalise(convolve(inner, f"{place}.conv2.weight"), f"{place}.bn2")
            if f"{place}.shortcut.0.weight" in tensors:
                x = normalise(convolve(x, f"{place}.shortcut.0.weight", stride), f"{place}.shortcut.1")
            x = jax.nn.relu(inner + x)
    return x.mean(axis=(2, 3)) @ tensors["linear.weight"].T + tensors["linear.bias"][None]


@pytest.mark.reference
def test_prediction_uses_the_running_statistics(icarl_run, x64):
    model = icarl_run.model("after_task0", jnp.float64)
    images, _ = icarl_run.batch(0, jnp.float64)
    outputs = jax.jit(jax.vmap(lambda x: model(x)))(images)
    np.testing.assert_allclose(outputs, outputs_by_the_formula(recorded_tensors(model), images), rtol=0, atol=1e-10)
    in_training, _ = jax.eval_shape(model.in_training, images)
    assert in_training.shape == outputs.shape == (len(images), icarl_run.numbers["n_outputs"])


def test_the_cifar_network_has_20_filters_in_its_first_stage():
    example = Example(np.zeros((3, 32, 32), np.uint8), np.asarray(0, np.int32), np.asarray(0, np.int32))
    model = jax.eval_shape(lambda key: reduced_resnet18(example, 100, key), KEY)
    assert model.stem.filters.shape == (3, 3, 3, 20)
    assert [block.second.filters.shape[-1] for block in model.blocks] == [20, 20, 40, 40, 80, 80, 160, 160]
    assert [block.shortcut is not None for block in model.blocks] == [False, False] + 3 * [True, False]
    assert model.head.weight.shape == (100, 160)
    running = sum(2 * norm.scale.size for norm in norms(model))
    assert sum(leaf.size for leaf in jax.tree.leaves(model)) - running == 1_109_240
    assert isinstance(model, BatchModel)


def norms(model):
    return [
        node
        for node in jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, BatchNorm))
        if isinstance(node, BatchNorm)
    ]


def test_weights_start_uniform_in_one_over_the_root_of_the_fan_in(network):
    tensors = recorded_tensors(network)
    for name, fan_in in {
        "conv1.weight": 3 * 9,
        "layer1.1.conv2.weight": 8 * 9,
        "layer2.0.shortcut.0.weight": 8,
        "linear.weight": 64,
        "linear.bias": 64,
    }.items():
        weight, bound = tensors[name], fan_in**-0.5
        assert np.abs(weight).max() <= bound
        assert stats.kstest(weight.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    assert not np.array_equal(tensors["layer1.0.conv1.weight"], tensors["layer1.0.conv2.weight"])
    assert not np.array_equal(tensors["layer1.0.conv1.weight"], tensors["layer1.1.conv1.weight"])


@pytest.mark.parametrize("shape", [(3, 28, 28), (32, 32), (1, 3, 32, 32), (3072,)])
def test_refuses_images_that_are_not_32_by_32(shape):
    example = Example(np.zeros(shape, np.uint8), np.asarray(0, np.int32), np.asarray(0, np.int32))
    with pytest.raises(ValueError, match=r"expects images of shape \(channels, 32, 32\)") as error:
        reduced_resnet18(example, 10, KEY)
    assert f"inputs of shape {shape} were given" in str(error.value)


def test_refuses_an_input_of_another_shape(network):
    with pytest.raises(ValueError, match=r"shape \(1, 32, 32\), the model expects \(3, 32, 32\)"):
        network(jnp.zeros((1, 32, 32)))
    with pytest.raises(ValueError, match=r"shape \(3, 64, 64\), the model expects \(3, 32, 32\)"):
        network.in_training(jnp.zeros((2, 3, 64, 64)))


@pytest.mark.parametrize(
    ("sizes", "shown"), [((0, 5, 2), "0 channels"), ((3, 0, 2), "0 outputs"), ((3, 5, 0), "0 fil")]
)
def test_refuses_sizes_below_one(sizes, shown):
    with pytest.raises(ValueError, match=f"{shown}.* was requested, expected at least 1 of each"):
        ResNet18(*sizes, key=KEY)
