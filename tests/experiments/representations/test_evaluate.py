"""The meta-test's sweep and runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.experiments.representations.evaluate import (
    check_classes,
    chosen_rate,
    evaluate_classes,
    evaluate_sines,
    features_by_class,
)
from perdure.learners.ridge import Ridge
from perdure.representation.class_protocol import class_run
from perdure.representation.heads import HEADS
from perdure.representation.network import ConvEncoder, DenseEncoder, Representation, he_head
from perdure.representation.sine_protocol import SineTrajectory, closed_form_sine_runs, shown_sines


@pytest.fixture(scope="module")
def images():
    """Return classes of pictures that differ in one bright row each."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 60, (6, 20, 9, 9), dtype=np.uint8)
    for n in range(6):
        pictures[n, :, n + 1] = 255
    return pictures


@pytest.fixture(scope="module")
def model():
    encoder = ConvEncoder((9, 9), 16, (1, 2), key=jax.random.key(0))
    return Representation(encoder, he_head(encoder.n_features, (), 8, jax.random.key(1)))


@pytest.fixture(scope="module")
def waves():
    """Return a small network of sine waves."""
    encoder = DenseEncoder(4, (16,), key=jax.random.key(0))
    return Representation(encoder, he_head(16, (), 1, jax.random.key(1)))


def test_easy_classes_are_learned(images, model):
    reported = []
    (result,) = evaluate_classes(model, images, [4], runs=12, rates=(0.01, 0.0001), report=reported.append)
    assert result.trajectory.shape == result.held_out.shape == (12,)
    assert result.held_out.mean() > 0.6  # guessing: 0.25
    assert sum(reported) == 5 * 2 + 12


@pytest.mark.parametrize("head", HEADS[1:])
def test_a_head_in_closed_form_needs_no_rate(images, model, head):
    reported = []
    (result,) = evaluate_classes(model, images, [4], runs=3, head=head, report=reported.append)
    assert (result.head, result.rate) == (head, None)
    assert result.held_out.min() > 0.9  # guessing: 0.25
    assert sum(reported) == 3


def test_the_order_of_the_classes_is_of_no_matter_to_a_head_in_closed_form(images, model):
    ways = (evaluate_classes(model, images, [6], runs=4, head="lda", order=it)[0] for it in ("sorted", "random"))
    ordered, random = (it.held_out for it in ways)
    np.testing.assert_allclose(ordered, random, atol=0.02)


def test_what_a_head_in_closed_form_cannot_do_is_refused(images, model):
    with pytest.raises(ValueError, match=r"^there is no head 'ld'; choose one of sgd, nearest-mean"):
        evaluate_classes(model, images, [4], head="ld")
    with pytest.raises(ValueError, match=r"^passes in random order were requested of lda, expected the head sgd only"):
        evaluate_classes(model, images, [4], head="lda", iid_passes=8)
    with pytest.raises(ValueError, match=r"requested of slda, lda, expected .* learn each example once, in the order"):
        check_classes(model, images, [4], heads=["sgd", "slda", "lda"], runs=1, iid_passes=2)
    check_classes(model, images, [4], heads=["sgd"], runs=1, iid_passes=2)


@pytest.mark.long
def test_a_run_alone_is_the_run_among_others(images, model):
    (result,) = evaluate_classes(model, images, [3], runs=11, rates=(0.01,))
    key = jax.random.split(jax.random.split(jax.random.fold_in(jax.random.key(0), 3))[1], 11)[10]
    chosen = jnp.sort(jax.random.permutation(key, 6)[:3])
    alone = class_run(features_by_class(model, images), model.head, chosen, 0.01, key)
    np.testing.assert_allclose(result.held_out[10], alone.held_out, atol=1e-6)


@pytest.mark.long
def test_the_oracle_sees_everything_several_times(images, model):
    once, often = (
        evaluate_classes(model, images, [6], runs=4, rates=(0.001,), iid_passes=passes)[0] for passes in (1, 8)
    )
    assert often.trajectory.mean() > once.trajectory.mean()


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ([2, 7], {}, "classes is 7, expected 1 to 6"),
        ([0], {}, "classes is 0, expected 1 to 6"),
        ([2], {"rates": []}, "rates is empty"),
        ([2], {"n_train": 20}, "at least one on either side"),
        ([2], {"runs": 0}, "expected numbers ≥ 1"),
        ([2], {"iid_passes": 0}, "expected numbers ≥ 1"),
        ([2], {"order": "reversed"}, "order = 'reversed', expected one of sorted, random"),
    ],
)
def test_bad_input(counts, options, message, images, model):
    with pytest.raises(ValueError, match=message):
        evaluate_classes(model, images, counts, **options)


@pytest.mark.parametrize("given", [np.zeros(3), [[1.0, 2.0]]])
def test_what_are_no_images(given, model):
    with pytest.raises(ValueError, match=r"images has shape \(.*\), expected \(classes, images, height, width\)"):
        evaluate_classes(model, given, [2])


def test_more_classes_than_outputs(images, model):
    with pytest.raises(ValueError, match="the head has 8 outputs"):
        evaluate_classes(model, np.concatenate([images, images]), [2])


def test_images_of_another_size(images, model):
    with pytest.raises(ValueError, match="resize them, or train an encoder for their size"):
        evaluate_classes(model, images[..., :8], [2])


@pytest.mark.parametrize(
    ("axis", "depth", "message"),
    [
        (2, 3, r"images with 3 channels were given, .* make them grey, for example with x.mean\(axis=-3\)"),
        (-1, 1, r"here the channels come last: move them with numpy.moveaxis\(x, -1, -3\)"),
        (-1, 3, r"here the channels come last, and there are 3: make the images grey, .* x.mean\(axis=-1\)"),
    ],
)
def test_images_of_another_depth(images, model, axis, depth, message):
    with pytest.raises(ValueError, match=message):
        evaluate_classes(model, np.repeat(np.expand_dims(images, axis), depth, axis), [2])


def test_images_with_one_channel_are_those_without(images, model):
    (with_channel,), (without,) = (
        evaluate_classes(model, it, [2], runs=2, head="lda") for it in (images[:, :, None], images)
    )
    np.testing.assert_array_equal(with_channel.held_out, without.held_out)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_named_with_their_image(images, model, bad):
    images = images / np.float32(255)
    images[4, 3, 2, 1] = bad
    with pytest.raises(ValueError, match="image 3 of class 4, counted from 0, has features that are not finite"):
        evaluate_classes(model, images, [2], head="lda")


def test_the_rate_that_wins_most_often():
    rates = (0.1, 0.01, 0.001)
    assert chosen_rate(np.array([[0.5, 0.9, 0.1], [0.5, 0.9, 0.1], [0.9, 0.5, 0.1]]), rates) == 0.01
    assert chosen_rate(np.array([[0.5, 0.5, 0.1]]), rates) == 0.1  # a tie within a set: the larger
    assert chosen_rate(np.array([[0.9, 0.5, 0.1], [0.5, 0.9, 0.1]]), rates) == 0.01  # between sets: the smaller


@pytest.mark.long
def test_sines(waves):
    trajectory = SineTrajectory(functions=3, steps_each=5, batch_size=4, test_examples=20)
    result = evaluate_sines(waves, runs=3, rates=(1e20, 0.01), trajectory=trajectory)
    assert result.rate == 0.01  # the other is not even finite
    assert result.errors.shape == (3, 3, 3)
    for errors, so_far in zip(result.errors, result.so_far, strict=True):
        np.testing.assert_allclose(so_far, [errors[n, : n + 1].mean() for n in range(3)], rtol=1e-5)


def test_ridge_regression_on_sine_waves_is_that_of_all_examples_at_once(waves):
    trajectory, key, penalty = SineTrajectory(functions=3, steps_each=5, batch_size=4, test_examples=20), 7, 0.001
    errors = closed_form_sine_runs(
        waves, trajectory, lambda it: Ridge(penalty=it), jnp.asarray([penalty]), jax.random.key(key)
    )[0]
    features, y, test_features, test_y = (
        np.asarray(it, np.float64).reshape(3, -1, it.shape[-1])
        for it in shown_sines(waves, trajectory, jax.random.split(jax.random.key(key), 5)[:3])
    )
    for n in range(3):
        x, targets = features[: n + 1].reshape(-1, 16), y[: n + 1].reshape(-1, 1)
        away = x - x.mean(0)
        scatter = away.T @ away
        varies = np.diag(scatter)[np.diag(scatter) > 0]
        weight = np.linalg.solve(scatter + penalty * varies.mean() * np.eye(16), away.T @ (targets - targets.mean()))
        outputs = (test_features - x.mean(0)) @ weight + targets.mean()
        np.testing.assert_allclose(errors[n], ((outputs - test_y) ** 2).mean(axis=(1, 2)), rtol=2e-3, atol=1e-4)


def test_the_penalty_of_ridge_regression_is_chosen(waves):
    trajectory = SineTrajectory(functions=2, steps_each=5, batch_size=4, test_examples=20)
    result = evaluate_sines(waves, runs=2, head="ridge", rates=(1e6, 1e-3), trajectory=trajectory)
    assert (result.head, result.rate) == ("ridge", 1e-3)
    assert result.errors.shape == (2, 2, 2)


def test_a_representation_of_images_knows_no_sine_waves(model):
    with pytest.raises(ValueError, match=r"takes images of shape .*; evaluate it on images, with evaluate_classes"):
        evaluate_sines(model, runs=1)


def test_what_no_head_can_do_on_sine_waves_is_refused(waves):
    with pytest.raises(ValueError, match=r"the head 'lda' was given for sine waves.*choose of sgd, ridge$"):
        evaluate_sines(waves, head="lda")
    with pytest.raises(ValueError, match=r"requested of ridge, expected the head sgd only: .*sgd alone"):
        evaluate_sines(waves, head="ridge", oracle=True)


def test_a_representation_without_a_network_learns_by_gradient_steps_all_the_same(images, model):
    (with_linear,) = evaluate_classes(Representation(model.encoder, None), images, [4], runs=3, rates=(0.01,))
    assert with_linear.head == "sgd"
    assert with_linear.held_out.mean() > 0.6  # guessing: 0.25
