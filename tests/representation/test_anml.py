"""ANML: its step against a plain reference in float64, its gates and its files."""

from __future__ import annotations

import contextlib
import json
import struct
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from perdure.representation import file as module
from perdure.representation.anml import ANML, gated_meta_gradient
from perdure.representation.blocks import Block
from perdure.representation.domains import ImageClasses
from perdure.representation.episodes import ClassEpisodes, Episode
from perdure.representation.file import RepresentationError, load_representation, save_representation
from perdure.representation.gated import GatedEncoder
from perdure.representation.network import Representation, he_head
from perdure.testing import check_method
from perdure.testing.methods import tiny_images, tiny_sines
from perdure.updates.gradient import init_train_state

KEY = jax.random.key(0)
EPISODES = ClassEpisodes(classes=1, images_each=4, query_each=0, random_images=3, halves=False)
SMALL = {"width": 6, "gate_width": 4, "convolutions": 2}
small_anml = partial(ANML, 0.1, 0.002, width=6, gate_width=4, convolutions=2)
METHODS = {
    "anml": small_anml(),
    "first order": small_anml(first_order=True),
    "decaying": small_anml(decay_steps=100),
}


def anml_domain(**changes):
    """Return the tiny classes of images with a margin: 11 × 11, so that positions are left after two convolutions."""
    tiny = tiny_images()
    images, held_out = (np.pad(it, [(0, 0), (0, 0), (1, 1), (1, 1)]) for it in (tiny.images, tiny.held_out))
    given = {"images": images, "held_out": held_out, "episodes": EPISODES, "n_outputs": 12, "validation_runs": 1}
    return ImageClasses(**{**given, **changes})


@pytest.mark.long
@pytest.mark.parametrize("name", list(METHODS))
def test_conforms(name):
    assert check_method(METHODS[name], anml_domain()).failures == []


# A step, written plainly, one image and one channel at a time.


def correlated(x, filters):
    """Return an image (h, w, c) correlated with filters (3, 3, c, f), without zeros around it."""
    height, width = x.shape[0] - 2, x.shape[1] - 2
    taps = [x[i : i + height, j : j + width] @ filters[i, j] for i in range(3) for j in range(3)]
    return jnp.stack(taps).sum(axis=0)


def pooled(x):
    """Return the largest value of each 2×2 window."""
    x = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
    return jnp.stack([x[i::2, j::2] for i in range(2) for j in range(2)]).max(axis=0)


def normalised(channel, scale, shift):
    return scale * (channel - channel.mean()) / jnp.sqrt(channel.var() + 1e-5) + shift


def tower(network, x):
    """Return the last outputs of convolutions for an image (h, w, c)."""
    layers = [*zip(network["filters"], network["scales"], network["shifts"], strict=True)]
    for place, (filters, scale, shift) in enumerate(layers):
        x = correlated(pooled(x) if place else x, filters)
        channels = [normalised(x[..., c], scale[c], shift[c]) for c in range(x.shape[-1])]
        x = jnp.maximum(jnp.stack(channels, axis=-1), 0)
    return x.ravel()


@jax.jit
def reference_logits(slow, fast, image):
    gates = 1 / (1 + jnp.exp(-(slow["weights"] @ tower(slow, image) + slow["biases"])))
    return fast["weight"] @ (gates * tower(fast, image)) + fast["bias"]


def reference_loss(slow, fast, image, label):
    logits = reference_logits(slow, fast, image)
    return jnp.log(jnp.exp(logits).sum()) - logits[label]


inner_gradient = jax.jit(jax.grad(reference_loss, argnums=1))


def reference_adapted(slow, fast, episode, rate):
    """Return what learns in the inner loop, after it."""
    for image, label in zip(episode.x[:, 0], episode.y[:, 0], strict=True):
        grads = inner_gradient(slow, fast, image[..., None], label)
        fast = jax.tree.map(lambda weight, by: weight - rate * by, fast, grads)
    return fast


def reference_meta_loss(slow, fast, episode):
    images = [*episode.x[:, 0], *episode.query_x]
    labels = [*episode.y[:, 0], *episode.query_y]
    losses = [reference_loss(slow, fast, image[..., None], label) for image, label in zip(images, labels, strict=True)]
    return sum(losses) / len(losses)


def in_parts(model):
    """Return the slow and the fast weights of a model, by name."""
    towers = [
        {name: list(getattr(it, name)) for name in ("filters", "scales", "shifts")}
        for it in (model.encoder.gating, model.encoder.features)
    ]
    slow = {**towers[0], "weights": model.encoder.gate_weights, "biases": model.encoder.gate_biases}
    head = model.head.layers[0]
    return slow, {**towers[1], "weight": head.weight, "bias": head.bias}


meta_gradient = jax.jit(gated_meta_gradient)


@pytest.fixture
def plain_case():
    """A model whose weights are all away from where they start, and an episode, in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        encoder = GatedEncoder((11, 11), 3, 2, 2, key=KEY)
        model = Representation(encoder, he_head(encoder.n_features, (), 5, jax.random.key(1)))
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.1 * rng.normal(size=leaf.shape)), model)
        images = [jnp.asarray(rng.random(shape)) for shape in ((3, 1, 11, 11), (4, 11, 11))]
        y = jnp.full((3, 1), 2)
        yield model, Episode(images[0], y, images[1], jnp.asarray([0, 1, 2, 4]), jnp.asarray([2]))


def test_the_meta_loss_equals_a_plain_reference(plain_case):
    model, episode = plain_case
    slow, fast = in_parts(model)
    _, measured = meta_gradient(ANML(0.3, 0.01), model, episode)
    expected = reference_meta_loss(slow, reference_adapted(slow, fast, episode, 0.3), episode)
    np.testing.assert_allclose(measured.loss, expected, rtol=1e-10)
    unlearned = reference_meta_loss(slow, fast, episode)
    assert abs(float(unlearned - expected)) > 0.01, "else an inner loop that does nothing would pass"
    open_gates = {**slow, "weights": 0 * slow["weights"], "biases": 50 + slow["biases"]}
    ungated = reference_meta_loss(open_gates, reference_adapted(open_gates, fast, episode, 0.3), episode)
    assert abs(float(ungated - expected)) > 0.01, "else a network without gates would pass"
    labels = [*episode.y[:, 0], *episode.query_y]
    images = [*episode.x[:, 0], *episode.query_x]
    hits = [
        int(reference_logits(slow, fast, it[..., None]).argmax()) == y for it, y in zip(images, labels, strict=True)
    ]
    np.testing.assert_allclose(measured.before, np.mean(hits))


def test_the_meta_gradient_equals_finite_differences_of_the_reference(plain_case):
    model, episode = plain_case
    gradient, _ = meta_gradient(ANML(0.3, 0.01), model, episode)
    rng = np.random.default_rng(1)
    step = 1e-6
    for part in ("encoder.gating", "encoder.features", "encoder", "head"):  # "encoder" holds the gates' layer too

        def way(path, leaf, part=part):
            inside = f".{part}." in f"{jax.tree_util.keystr(path)}."
            return jnp.asarray(rng.normal(size=leaf.shape) if inside else np.zeros(leaf.shape))

        direction = jax.tree_util.tree_map_with_path(way, model)

        def loss(size, direction=direction):
            slow, fast = in_parts(jax.tree.map(lambda leaf, by: leaf + size * by, model, direction))
            return reference_meta_loss(slow, reference_adapted(slow, fast, episode, 0.3), episode)

        found = sum(jax.tree.leaves(jax.tree.map(lambda by, way: jnp.sum(by * way), gradient.grads, direction)))
        assert abs(float(found)) > 1e-4, part
        np.testing.assert_allclose((loss(step) - loss(-step)) / (2 * step), found, rtol=1e-5, err_msg=part)


def test_first_order_is_the_gradient_where_the_inner_loop_ends(plain_case):
    model, episode = plain_case
    slow, fast = in_parts(model)
    gradient, measured = meta_gradient(ANML(0.3, 0.01, first_order=True), model, episode)
    exact, same = meta_gradient(ANML(0.3, 0.01), model, episode)
    np.testing.assert_allclose(measured.loss, same.loss, rtol=1e-12)
    adapted = reference_adapted(slow, fast, episode, 0.3)
    expected = jax.grad(reference_meta_loss, argnums=(0, 1))(slow, adapted, episode)
    for found, wanted in zip(jax.tree.leaves(in_parts(gradient.grads)), jax.tree.leaves(tuple(expected)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-12)
    assert not np.allclose(exact.grads.encoder.features.filters[0], gradient.grads.encoder.features.filters[0])


@pytest.mark.long
def test_a_step_redraws_the_class_and_takes_adams_step():
    method, domain = METHODS["anml"], anml_domain()
    start = init_train_state(method.new_model(domain, KEY), method.optimizer())
    after, measured = method.step(start, domain, jax.random.key(5))
    episode = domain.draw(jax.random.split(jax.random.key(5))[0])
    assert episode.x.shape == (4, 1, 11, 11)
    assert episode.query_x.shape == (3, 11, 11)
    (label,) = np.asarray(episode.fresh)
    np.testing.assert_array_equal(episode.y, label)
    moved = np.abs(np.asarray(after.model.head.layers[0].weight - start.model.head.layers[0].weight)).max(axis=1)
    assert moved[label] > 0.05, "redrawn"
    assert np.delete(moved, label).max() < 0.0021, "Adam's first step is as large as its rate"
    largest = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), after.model.encoder, start.model.encoder)
    assert all(0.0015 < it < 0.0021 for it in jax.tree.leaves(largest)), "every weight of the encoder learns"
    assert 0 < float(measured.loss) < 10


# The gates.


def test_features_are_multiplied_by_the_gates():
    encoder = GatedEncoder((11, 11), 6, 4, 2, key=KEY)
    image = jnp.asarray(np.random.default_rng(0).random((11, 11)), jnp.float32)
    plain = encoder.features(image[..., None])
    halved = eqx.tree_at(lambda it: it.gate_weights, encoder, jnp.zeros_like(encoder.gate_weights))
    np.testing.assert_allclose(halved(image), plain / 2, rtol=1e-6)
    closed = eqx.tree_at(lambda it: it.gate_biases, halved, jnp.full(encoder.n_features, -100.0).at[3].set(100.0))
    np.testing.assert_allclose(closed(image), jnp.where(jnp.arange(encoder.n_features) == 3, plain, 0), atol=1e-6)
    gates = encoder.gates(image[..., None])
    assert 0 < float(gates.min()) < 0.5 < float(gates.max()) < 1
    other = encoder.gates(jnp.flip(image)[..., None])
    assert float(jnp.abs(gates - other).max()) > 0.01, "each image has gates of its own"


def test_one_image_has_the_same_features_alone_as_among_others_and_however_bright():
    encoder = GatedEncoder((2, 11, 13), 6, 4, 2, key=KEY)
    images = jnp.asarray(np.random.default_rng(0).random((5, 2, 11, 13)), jnp.float32)
    together = encoder(images)
    assert together.shape == (5, encoder.n_features)
    for place in range(5):
        np.testing.assert_allclose(encoder(images[place]), together[place], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoder(3 * images + 1), together, rtol=0.02, atol=0.02)


def test_sizes_of_the_released_code():
    encoder = jax.eval_shape(lambda key: GatedEncoder((28, 28), key=key), KEY)
    assert encoder.n_features == 2304
    assert encoder.gate_weights.shape == (2304, 1008)
    assert [it.shape for it in encoder.features.filters] == [(3, 3, 1, 256), (3, 3, 256, 256), (3, 3, 256, 256)]


# Files.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gated.safetensors"
    save_representation(path, METHODS["anml"].new_model(anml_domain(), KEY), {"method": {"name": "ANML"}}, "")
    return path


def test_a_trained_representation_comes_back_from_its_file(file):
    model = METHODS["anml"].new_model(anml_domain(), KEY)
    read = load_representation(file)
    assert jax.tree.structure(read.model) == jax.tree.structure(model)
    for one, other in zip(jax.tree.leaves(model), jax.tree.leaves(read.model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read.metadata["network"]["encoder"] == {"kind": "gated", "input_shape": [1, 11, 11], **SMALL}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "'width' is 0, expected 1 to"),
        ({"gate_width": "4"}, "'gate_width' is '4', expected a whole number"),
        ({"gate_width": None}, "'gate_width' is None, expected a whole number"),
        ({"convolutions": 10**6}, "'convolutions' is 1000000, expected 1 to 100"),
        ({"convolutions": 3}, "expected larger ones for its convolutions"),
        ({"input_shape": [9, 9]}, "expected channels, height and width"),
        ({"input_shape": [1, 10**8, 10**8]}, "weights, expected at most 125,000,000"),
        ({"input_shape": [10**8, 11, 11]}, "weights, expected at most 125,000,000"),
        ({"width": 10**6, "gate_width": 10**6}, "weights, expected at most 125,000,000"),
        ({"gate_width": 5}, "expected .* for the network in its metadata"),
    ],
)
def test_a_damaged_file_is_refused(file, changes, message):
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["perdure"])
    metadata["network"]["encoder"].update(changes)
    arrays = safetensors.numpy.load(content)
    file.write_bytes(safetensors.numpy.save(arrays, metadata={"perdure": json.dumps(metadata)}))
    with pytest.raises(RepresentationError, match=message):
        load_representation(file)


def test_a_file_says_how_many_weights_it_has(file):
    """What bounds the reading counts every weight: one less than there are is refused."""
    n_weights = sum(leaf.size for leaf in jax.tree.leaves(load_representation(file).model))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_MAX_WEIGHTS", n_weights)
        load_representation(file)
        patched.setattr(module, "_MAX_WEIGHTS", n_weights - 1)
        with pytest.raises(RepresentationError, match=f"has {n_weights:,} weights"):
            load_representation(file)


def test_flipped_bytes_and_cut_off_files_are_survived(file):
    content, rng = file.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        flipped = bytearray(content)
        for place in rng.integers(0, 1500, 2):
            flipped[place] ^= int(rng.integers(1, 256))
        file.write_bytes(flipped)
        with contextlib.suppress(RepresentationError):
            load_representation(file)
    for length in [0, 8, 700, len(content) - 1]:
        file.write_bytes(content[:length])
        with pytest.raises(RepresentationError):
            load_representation(file)


# What cannot be.


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="ANML is for classes of images, but the domain is SinePool; train by OML"):
        METHODS["anml"].new_model(tiny_sines(), KEY)
    with pytest.raises(ValueError, match="blocks were given, but ANML has an encoder of its own; leave blocks out"):
        METHODS["anml"].new_model(anml_domain(blocks=(Block(8),)), KEY)
    with pytest.raises(ValueError, match=r"images of shape \(11, 11\) are too small for 3 3×3 convolutions"):
        ANML(0.1, 0.01).new_model(anml_domain(), KEY)
    with pytest.raises(ValueError, match="gate_width = 0 and convolutions = 2 were given, expected numbers ≥ 1"):
        ANML(0.1, 0.01, width=4, gate_width=0, convolutions=2).new_model(anml_domain(), KEY)
    with pytest.raises(
        ValueError, match=r"an episode learns 9 images of a class .* but the classes have 8 images each"
    ):
        anml_domain(episodes=ClassEpisodes(1, 9, 0, 3, halves=False))
    with pytest.raises(ValueError, match="which queries nothing; give query_each or random_images ≥ 1"):
        anml_domain(episodes=ClassEpisodes(1, 4, 0, 0, halves=False))
    with pytest.raises(ValueError, match=r"query_each=-1.* expected numbers ≥ 1, query_each and random_images ≥ 0"):
        anml_domain(episodes=ClassEpisodes(1, 4, -1, 3, halves=False))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((11, 8), "resize them"), ((11, 11, 1), r"here the channels come last: move them with numpy.moveaxis")],
)
def test_images_of_another_shape_are_refused(shape, message):
    encoder = GatedEncoder((1, 11, 11), 6, 4, 2, key=KEY)
    with pytest.raises(ValueError, match=message):
        encoder(jnp.zeros(shape))
