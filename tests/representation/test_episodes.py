"""Episodes: who learns what, who is queried about what, and what cannot be drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.representation.episodes import ClassEpisodes, SineEpisodes
from perdure.streams.sine import draw_sines, sine_examples

# A picture of one pixel whose value tells class and number.
IMAGES = np.arange(12 * 20, dtype=np.float32).reshape(12, 20, 1, 1)


@pytest.mark.long
@given(seed=st.integers(0, 2**31 - 1), halves=st.booleans())
def test_an_episode_of_images(seed, halves):
    episodes = ClassEpisodes(classes=3, images_each=4, query_each=5, random_images=6, halves=halves)
    episode = episodes.draw(IMAGES, jax.random.key(seed))
    learned, query = np.asarray(episode.x).ravel(), np.asarray(episode.query_x).ravel()
    labels, query_labels = np.asarray(episode.y).ravel(), np.asarray(episode.query_y)
    np.testing.assert_array_equal(learned // 20, labels)
    np.testing.assert_array_equal(query // 20, query_labels)
    assert len(set(labels)) == 3
    np.testing.assert_array_equal(labels, np.repeat(np.asarray(episode.fresh), 4))
    own, others = query[6:], query_labels[:6]
    assert len({*learned, *own}) == 3 * 9  # no query was learned, none twice
    np.testing.assert_array_equal(query_labels[6:], np.repeat(np.asarray(episode.fresh), 5))
    if halves:
        assert labels.min() >= 6
        assert others.max() < 6


@pytest.mark.parametrize(
    ("changes", "shape", "n_outputs", "message"),
    [
        ({"images_each": 16}, (12, 20, 1), 12, "have 20 images each"),
        ({"classes": 7}, (12, 20, 1), 12, "there are 6 to choose from"),
        ({}, (12, 20, 1), 11, "has 11 outputs"),
        ({"classes": 0}, (12, 20, 1), 12, "expected numbers ≥ 1"),
    ],
)
def test_episodes_that_cannot_be_drawn(changes, shape, n_outputs, message):
    with pytest.raises(ValueError, match=message):
        ClassEpisodes(**changes).check(shape, n_outputs)


def test_an_episode_of_sines():
    pool = draw_sines(30, jax.random.key(0))
    episode = SineEpisodes(functions=3, steps_each=4, batch_size=5, numbers=6).draw(pool, jax.random.key(1))
    assert episode.x.shape == (12, 5, 7)
    assert episode.query_x.shape == (15, 7)
    number = np.asarray(episode.x[..., :-1].argmax(axis=-1))
    np.testing.assert_array_equal(number, np.repeat(number[::4, :1], 4, axis=0) * np.ones((1, 5), int))
    assert len(set(number.ravel())) == 3
    np.testing.assert_array_equal(episode.query_x[:, :-1].argmax(axis=-1), np.repeat(number[::4, 0], 5))


def test_too_many_functions():
    with pytest.raises(ValueError, match="at most as many functions"):
        SineEpisodes(functions=11).check(400)


def test_sine_examples_are_of_their_functions():
    sines = draw_sines(4, jax.random.key(0))
    x, y = sine_examples(sines, jnp.arange(4), 5, 100, jax.random.key(1))
    np.testing.assert_array_equal(x[..., :-1].sum(axis=-1), 1)
    assert float(jnp.abs(x[..., -1]).max()) <= 5
    expected = np.asarray(sines.amplitude)[:, None] * np.sin(np.asarray(x[..., -1]) + np.asarray(sines.phase)[:, None])
    np.testing.assert_allclose(y[..., 0], expected, rtol=1e-5, atol=1e-5)
    many = draw_sines(4000, jax.random.key(2))
    assert 0.1 <= float(many.amplitude.min()) < 0.2
    assert 5.0 < float(many.amplitude.max()) <= 5.1
    assert 0 <= float(many.phase.min()) < 0.05
    assert 3.09 < float(many.phase.max()) <= np.pi
