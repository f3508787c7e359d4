"""Training for heads in closed form: episodes, their loss, and encoders of blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from perdure.learners.gaussian import GaussianHead
from perdure.representation.augmentation import Augmentation, quarter_turned
from perdure.representation.blocks import Block, BlockEncoder
from perdure.representation.closed_form import GeMCL, Prototypes, answered, left_out
from perdure.representation.domains import ImageClasses
from perdure.representation.file import load_representation, save_representation
from perdure.representation.network import GaussianPrior, Representation, encode
from perdure.representation.oml import OML
from perdure.testing import check_method
from perdure.testing.methods import tiny_images, tiny_sines
from perdure.updates.gradient import init_train_state
from tests.conftest import first_short

BLOCKS = (Block(8, 2, True), Block(8, 1, False))
METHODS = {
    "prototypes": Prototypes(0.002, classes=4, learned_each=3, query_each=2),
    # Rates so low that rounding is seen as such: where a feature is never zero its shift changes no distance, and Adam
    # makes as large a step of a gradient that is zero but for rounding as of any other.
    "prototypes, each left out": Prototypes(1e-4, classes=4, learned_each=4, query_each=0, temperature=2.0),
    "prototypes of changed images": Prototypes(
        1e-4, classes=4, learned_each=4, query_each=0, augmentation=Augmentation(), decay_steps=100
    ),
    "gemcl": GeMCL(0.002, classes=4, learned_each=3, query_each=2),
    "gemcl, mode": GeMCL(0.002, classes=4, learned_each=3, query_each=2, predictive=False),
}
KEY = jax.random.key(0)


def blocks_domain(**changes):
    tiny = tiny_images()
    return ImageClasses(**{"images": tiny.images, "held_out": tiny.held_out, "blocks": BLOCKS, **changes})


@pytest.mark.parametrize("name", first_short(list(METHODS)))
def test_conforms(name):
    assert check_method(METHODS[name], blocks_domain()).failures == []


def features(seed=0, shape=(3, 4, 5)):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_prototypes_answer_by_squared_distances_from_means():
    given = features()
    scores, y = Prototypes(0.01, learned_each=3, query_each=1, temperature=2.0).outputs(None, given)
    distances = cdist(given[:, 3], given[:, :3].mean(axis=1), "sqeuclidean")
    np.testing.assert_array_equal(y, [0, 1, 2])
    found = scores - scores.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, -(distances - distances.mean(axis=1, keepdims=True)) / 2, rtol=1e-4, atol=1e-5)


def test_each_image_is_left_out_of_the_mean_of_its_own_class():
    given = features()
    scores, y = left_out(given)
    for place in range(12):
        label, image = divmod(place, 4)
        assert y[place] == label
        means = [given[it, [n for n in range(4) if (it, n) != (label, image)]].mean(axis=0) for it in range(3)]
        distances = np.asarray([float(jnp.sum((given[label, image] - mean) ** 2)) for mean in means])
        found = scores[place] - scores[place].mean()
        np.testing.assert_allclose(found, -(distances - distances.mean()) / 2, rtol=1e-4, atol=1e-5)


def test_gemcl_answers_as_its_head_would_that_has_learned_the_first_images():
    given, prior = features(), GaussianPrior(jnp.asarray(0.3), jnp.asarray(-0.5))
    scores, y = GeMCL(0.01, learned_each=3, query_each=1).outputs(prior, given)
    head = GaussianHead(0.5 + np.exp(0.3), np.exp(-0.5))
    same, _ = answered(head, given, 3)
    np.testing.assert_allclose(scores, same, rtol=1e-6)
    np.testing.assert_array_equal(y, [0, 1, 2])


def test_the_prior_is_learned_with_the_encoder():
    method, domain = METHODS["gemcl"], blocks_domain()
    start = init_train_state(method.new_model(domain, KEY), method.optimizer())
    after, _ = method.step(start, domain, KEY)
    assert after.model.head.log_shape != start.model.head.log_shape
    assert after.model.head.log_rate != start.model.head.log_rate


def test_an_encoder_normalises_one_image_as_it_does_many():
    encoder = BlockEncoder((9, 9), BLOCKS, key=KEY)
    images = jnp.asarray(np.random.default_rng(0).random((6, 9, 9)), jnp.float32)
    _, moved = encoder.in_training(images)
    together = moved(images)
    assert together.shape == (6, moved.n_features)
    for place in range(6):
        np.testing.assert_allclose(moved(images[place]), together[place], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encode(moved, images), together, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"inputs have shape .*, expected \(n, height, width\) or"):
        encode(moved, images.reshape(3, 2, 1, *images.shape[-2:]))
    assert not np.allclose(encoder(images), together), "running statistics have moved"


@pytest.mark.parametrize(("channels", "words"), [(3, "move them to the front and resize"), (1, "make .* and resize")])
def test_images_of_another_size_whose_channels_come_last_are_told_both(channels, words):
    encoder = BlockEncoder((channels, 9, 9), BLOCKS, key=KEY)
    with pytest.raises(ValueError, match=f"here the channels come last, and there are 3: {words}"):
        encode(encoder, np.zeros((4, 32, 32, 3), np.float32))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 9, 8), r"inputs of shape \(3, 9, 8\) were given, .* resize them"),
        ((4, 9, 9, 3), r"here the channels come last: move them with numpy.moveaxis\(x, -1, -3\)"),
    ],
)
def test_images_of_another_shape_are_refused(shape, message):
    channels = 3 if len(shape) == 4 else 1
    encoder = BlockEncoder((channels, 9, 9), BLOCKS, key=KEY)
    with pytest.raises(ValueError, match=message):
        encoder(jnp.zeros(shape))
    if channels == 3:
        assert encoder(jnp.moveaxis(jnp.zeros(shape), -1, -3)).shape == (4, encoder.n_features)


@pytest.mark.parametrize(
    ("shape", "blocks", "message"),
    [
        ((9,), BLOCKS, "expected \\(height, width\\)"),
        ((9, 9), (), "expected one or more"),
        ((9, 9), (Block(0),), "expected one or more with sizes ≥ 1"),
        ((9, 9), (Block(4),) * 4, "are too small for blocks"),
    ],
)
def test_encoders_that_cannot_be_are_refused(shape, blocks, message):
    with pytest.raises(ValueError, match=message):
        BlockEncoder(shape, blocks, key=KEY)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_features_are_means_over_shifts_of_the_image(batch):
    plain, shifted = (BlockEncoder((7, 9), BLOCKS, shifted=it, key=KEY) for it in (False, True))
    image = np.random.default_rng(0).normal(size=(*batch, 7, 9)).astype(np.float32)
    expected = [plain(jnp.asarray(image))]
    for axis in (-2, -1):
        for way in (1, -1):
            moved = np.roll(image, way, axis)
            moved[(..., 0 if way == 1 else -1, slice(None)) if axis == -2 else (..., 0 if way == 1 else -1)] = 0
            expected.append(plain(jnp.asarray(moved)))
    np.testing.assert_allclose(shifted(jnp.asarray(image)), np.mean(expected, axis=0), rtol=1e-5, atol=1e-6)
    several = jnp.asarray(np.tile(image.reshape(-1, 7, 9), (2, 1, 1)))
    np.testing.assert_array_equal(plain.in_training(several)[0], shifted.in_training(several)[0])


@pytest.mark.parametrize("name", ["prototypes", "gemcl"])
def test_a_trained_representation_comes_back_from_its_file(tmp_path, name):
    model = METHODS[name].new_model(blocks_domain(shifted=name == "prototypes"), KEY)
    save_representation(tmp_path / "trained.safetensors", model, {}, "")
    read = load_representation(tmp_path / "trained.safetensors").model
    assert isinstance(read.encoder, BlockEncoder)
    assert read.encoder.blocks == BLOCKS
    assert read.encoder.shifted == (name == "prototypes")
    assert isinstance(read.head, GaussianPrior) == (name == "gemcl")
    for one, other in zip(jax.tree.leaves(model), jax.tree.leaves(read), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="GeMCL is for classes of images, but the domain is SinePool"):
        METHODS["gemcl"].new_model(tiny_sines(), KEY)
    with pytest.raises(ValueError, match="shows 5 images of 40 classes, but there are 8 of 9"):
        Prototypes(0.002, classes=40, learned_each=3, query_each=2).new_model(blocks_domain(), KEY)
    with pytest.raises(ValueError, match="blocks were given, which normalise batches"):
        OML(0.1, 0.1).new_model(blocks_domain(), KEY)
    with pytest.raises(TypeError, match="was trained for a head in closed form"):
        Representation(BlockEncoder((9, 9), BLOCKS, key=KEY), None)(jnp.zeros((9, 9)))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (Prototypes, {"classes": 1}, "classes = 1, expected two or more"),
        (Prototypes, {"learned_each": 1, "query_each": 0}, "expected learned_each ≥ 1, or ≥ 2 with query_each = 0"),
        (Prototypes, {"query_each": -1}, "query_each = -1, expected learned_each ≥ 1"),
        (GeMCL, {"query_each": 0}, "query_each = 0, expected numbers ≥ 1"),
    ],
)
def test_episodes_that_cannot_be_are_refused(method, options, message):
    with pytest.raises(ValueError, match=message):
        method(0.01, **options)


def test_no_change_leaves_images_and_a_shift_moves_them():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8)
    same = Augmentation(0.0, 0.0, 0.0, 0.0)(images, KEY)
    np.testing.assert_allclose(same, images / 255, atol=1e-5)
    changed = Augmentation()(images, KEY)
    assert changed.shape == images.shape
    assert not np.allclose(changed, same, atol=0.05)
    assert changed.min() >= 0
    assert changed.max() <= 1
    coloured = np.stack([images] * 2, axis=1)
    np.testing.assert_allclose(Augmentation()(coloured, KEY)[:, 1], changed, atol=1e-6)


def test_a_turned_image_is_turned_about_its_middle():
    image = np.zeros((1, 9, 9), np.float32)
    image[0, 4, 2:7] = 1  # a horizontal stroke through the middle
    quarter = np.pi / 2
    turned = [Augmentation(quarter, 0.0, 0.0, 0.0)(image, jax.random.key(seed))[0] for seed in range(20)]
    assert all(abs(float(it[4, 4]) - 1) < 1e-3 for it in turned)
    np.testing.assert_allclose([float(it.sum()) for it in turned], 5, atol=1)


def test_quarter_turns_are_classes_of_their_own():
    images = np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    turned = quarter_turned(images)
    assert turned.shape == (8, 3, 4, 4)
    np.testing.assert_array_equal(turned[:2], images)
    np.testing.assert_array_equal(turned[2:4], np.rot90(images, 1, (2, 3)))
