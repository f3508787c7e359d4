"""Trees as few arrays: every bit comes back, by NumPy and in a compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perdure.online.packing import Packing


def tree():
    rng = np.random.default_rng(0)
    return {
        "weights": rng.normal(size=(60, 50)).astype(np.float32),
        "bias": np.asarray([0.5, -0.0, np.inf, np.nan], np.float32),
        "flags": np.asarray([[True, False], [False, True]]),
        "count": np.asarray(-3, np.int32),
        "seen": np.asarray([2**32 - 1, 7], np.uint32),
        "pixels": np.arange(6, dtype=np.uint8),
        "none": np.zeros((0, 3), np.float32),
    }


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_what_is_packed_comes_back():
    packing = Packing.of(tree())
    packed = packing.pack(tree())
    assert all(isinstance(it, np.ndarray) for it in packed)
    assert [it.dtype for it in packed] == [np.uint32, np.uint8, np.float32]  # small ones in one, the others by name
    assert_same_bits(packing.unpack(packed), tree())


def test_a_compiled_program_packs_alike():
    packing = Packing.of(tree())
    packed = packing.pack(tree())
    again = jax.jit(lambda arrays: packing.pack(packing.unpack(arrays)))(packed)
    assert_same_bits(again, packed)
    assert_same_bits(jax.jit(packing.unpack)(packed), tree())


def test_random_keys_stay_what_they_are():
    kept = {"key": jax.random.key(3), "n": jnp.zeros((), jnp.int32)}
    packing = Packing.of(kept)
    found = packing.unpack(packing.pack(kept))
    assert jax.random.key_data(found["key"]).tolist() == jax.random.key_data(kept["key"]).tolist()


@pytest.mark.parametrize("changed", [{"count": np.zeros(2, np.int32)}, {"count": np.float32(0)}])
def test_packings_of_other_shapes_differ(changed):
    one, other = Packing.of(tree()), Packing.of(tree() | changed)
    assert one != other
    assert hash(one) == hash(Packing.of(tree()))
