from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.core import Learner, as_features


def test_pixels_become_fractions_of_255():
    pixels = np.arange(256, dtype=np.uint8)
    features = as_features(pixels)
    assert features.dtype == jnp.float32
    np.testing.assert_allclose(features, np.arange(256) / 255, rtol=1e-7)
    assert features[0] == 0
    assert features[255] == 1


def test_pixels_become_float64_where_that_is_enabled(x64):
    features = as_features(np.asarray([[51, 255]], np.uint8))
    assert features.dtype == jnp.float64
    np.testing.assert_array_equal(features, [[51 / 255, 1.0]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_floats_are_used_as_they_are(dtype):
    x = np.asarray([-3.5, 0.0, 300.0], dtype)
    features = as_features(x)
    assert features.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(features, x)


def test_conversion_can_be_traced_and_batched():
    pixels = jnp.asarray([[0, 51], [102, 255]], jnp.uint8)
    np.testing.assert_allclose(jax.jit(jax.vmap(as_features))(pixels), [[0, 0.2], [0.4, 1]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int8", "bool"])
def test_other_inputs_are_refused(dtype):
    with pytest.raises(TypeError, match=f"dtype {dtype}, expected uint8 pixels .*; convert them, .*astype"):
        as_features(np.ones(3, dtype))


def test_the_contract_alone_is_no_learner():
    with pytest.raises(TypeError, match="abstract"):
        Learner()  # pyright: ignore[reportAbstractUsage]
