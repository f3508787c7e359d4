"""Buffers of past examples: reservoirs, rings, and memories that share their slots among classes."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree

from perdure.core import AnyArray

AnyBuffer = TypeVar("AnyBuffer", "Buffer", "BalancedBuffer")

LARGEST_COUNT = 2**31 - 1
"""Counts are 32-bit integers."""
_WELL_DRAWN = 2**24
"""Range up to which `jax.random.randint` is uniform to within half a percent; at a power of two it is exact."""


class Buffer(NamedTuple):
    """A uniform sample of all examples seen so far (reservoir sampling, Vitter 1985, Algorithm R).

    With `ring_slot` in place of `draw_slot` it is a ring: it holds the last examples instead. With `displaced_slot` and
    `store_in_halves` its first half is a ring and its second a reservoir of what is older. All are right at any count:
    `seen` starts again at 0 after every `period`, and `periods` tells how often it has.
    """

    examples: Any
    """The slots, an `Example` or another tree of arrays (size, ...); slots not filled yet hold zeros."""
    seen: Int[Array, ""]
    """Number of examples offered so far, less the full periods."""
    periods: Int[Array, ""]
    """Number of full periods, 0 for all but the longest streams."""


def empty_buffer(example: PyTree, size: int) -> Buffer:
    """Return an empty memory of `size` slots for examples of the shapes and dtypes of `example`, any tree of arrays."""
    slots = jax.tree.map(lambda leaf: jnp.zeros((size, *jnp.shape(leaf)), jnp.asarray(leaf).dtype), example)
    return Buffer(slots, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def emptied_if(ended: Bool[Array, ""], memory: Buffer) -> Buffer:
    """Return the memory as if it were empty if something has ended, else as it is."""
    seen, periods = (jnp.where(ended, 0, count) for count in (memory.seen, memory.periods))
    return Buffer(memory.examples, seen, periods)


def capacity(memory: Buffer | BalancedBuffer) -> int:
    """Return the number of slots."""
    return jax.tree.leaves(memory.examples)[0].shape[0]


def period(memory: Buffer | BalancedBuffer) -> int:
    """Return after how many examples counting starts again: the most rounds of a ring that an integer can count."""
    return LARGEST_COUNT // capacity(memory) * capacity(memory)


def filled(memory: Buffer | BalancedBuffer) -> Int[Array, ""]:
    """Return the number of slots that hold an example."""
    return jnp.where(memory.periods > 0, capacity(memory), jnp.minimum(memory.seen, capacity(memory)))


def draw_slot(memory: Buffer, key: PRNGKeyArray) -> Int[Array, ""]:
    """Draw where the next example goes: a slot, or any number ≥ capacity when it is not kept.

    While there is room the next free slot is taken; then the (n+1)-th example is kept with probability
    capacity / (n+1) and replaces a uniformly drawn one, which leaves every example seen so far in the
    memory with that same probability.
    """
    return _reservoir_slot(memory, capacity(memory), memory.seen, key)


def _reservoir_slot(memory: Buffer, size: int, offered: Int[Array, ""], key: PRNGKeyArray) -> Int[Array, ""]:
    """Draw a place in a reservoir of `size` places, to which `offered`, and a period each `periods`, were offered."""
    # randint favours small numbers by up to range / 2³², and n+1 may be larger than any integer. From a large n+1 it is
    # therefore drawn in two steps: is it one of the first 2²⁴ numbers, and which?
    first = max(_WELL_DRAWN, size)
    beyond = (memory.periods > 0) | (offered >= first)
    drawn = jax.random.randint(key, (), 0, jnp.where(beyond, first, offered + 1), jnp.int32)
    uniform = jax.random.uniform(jax.random.fold_in(key, 2))  # randint's own keys are those folded with 0 and 1
    n_firsts = memory.periods.astype(uniform.dtype) * (period(memory) / first)
    n_firsts += (offered + 1).astype(uniform.dtype) / first
    drawn = jnp.where(beyond & (uniform * n_firsts >= 1), size, drawn)
    return jnp.where((memory.periods == 0) & (offered < size), offered, drawn)


def ring_slot(memory: Buffer) -> Int[Array, ""]:
    """Return where the next example goes in a ring: the next free slot, then that of the oldest."""
    return memory.seen % capacity(memory)


def displaced_slot(memory: Buffer, key: PRNGKeyArray) -> Int[Array, ""]:
    """Draw where the oldest of the newest examples goes when the next one takes its slot, in a memory of two halves.

    The first half of the slots, an even number of them, is a ring of the newest examples, the second a reservoir of all
    that have left the ring: each of these is in it with the same probability. Any number ≥ capacity means nowhere. To
    be stored by `store_in_halves`.
    """
    half = capacity(memory) // 2
    place = half + _reservoir_slot(memory, half, memory.seen - half, key)
    return jnp.where(filled(memory) < half, capacity(memory), place)


def store_in_halves(memory: Buffer, example: PyTree, slot: Int[Array, ""]) -> Buffer:
    """Return a memory of two halves with `example` in its ring, and in `slot` what was there (`displaced_slot`)."""
    place = memory.seen % (capacity(memory) // 2)

    def stored(leaf: Array, new: AnyArray) -> Array:
        return leaf.at[slot].set(leaf[place], mode="drop").at[place].set(new)

    return counted(memory, 1)._replace(examples=jax.tree.map(stored, memory.examples, example))


def draw_from_halves(memory: Buffer, shape: tuple[int, int], key: PRNGKeyArray) -> Int[Array, "batches draws"]:
    """Draw slots with replacement from the two halves in turn: the 1st, 3rd, … of a batch are of the newest examples.

    While none is older than those, all are of the newest.
    """
    half, held = capacity(memory) // 2, filled(memory)
    is_old = (jnp.arange(shape[1]) % 2 == 1)[None] & (held > half)
    lowest = jnp.where(is_old, half, 0).astype(jnp.int32)
    return jax.random.randint(key, shape, lowest, jnp.where(is_old, held, jnp.minimum(held, half)), jnp.int32)


def first_slot(memory: Buffer) -> Int[Array, ""]:
    """Return where the next example goes if the first ones are kept: the next free slot, capacity when it is full."""
    return filled(memory)


def store(memory: AnyBuffer, example: PyTree, slot: Int[Array, ""]) -> AnyBuffer:
    """Return the memory with `example` in `slot`; a slot ≥ capacity leaves the contents as they were."""
    # A scatter that drops what is out of range stays in place under vmap; lax.cond would copy the memory.
    examples = jax.tree.map(lambda leaf, new: leaf.at[slot].set(new, mode="drop"), memory.examples, example)
    return counted(memory, 1)._replace(examples=examples)


def counted(memory: AnyBuffer, n: int | Int[Array, ""]) -> AnyBuffer:
    """Return the memory as it would be if n more examples, at most a period, had been offered and none kept."""
    left = period(memory) - memory.seen
    full = n >= left
    seen, periods = jnp.where(full, n - left, memory.seen + n), memory.periods + full.astype(jnp.int32)
    return memory._replace(seen=seen, periods=periods)


def draw_slots_in_turn(memory: Buffer, n: int, key: PRNGKeyArray) -> Int[Array, " n"]:
    """Draw where each of the next n examples goes (`draw_slot`), if they are offered one after another."""
    before = jnp.arange(n, dtype=jnp.int32)
    return jax.vmap(lambda place, key: draw_slot(counted(memory, place), key))(before, jax.random.split(key, n))


def store_in_turn(memory: Buffer, examples: Any, slots: Int[Array, " n"], mask: Bool[Array, " n"]) -> Buffer:
    """Return the memory after `store` of each of n examples that counts, leaves (n, ...), one after another."""
    place = jnp.arange(len(slots), dtype=jnp.int32)
    # What a later one replaces is not written at all: a scatter need not keep to the order of its rows.
    replaced = jnp.any((slots[:, None] == slots[None]) & mask[None] & (place[:, None] < place[None]), axis=1)
    written = jnp.where(mask & ~replaced, slots, capacity(memory))
    slots_after = jax.tree.map(lambda leaf, new: leaf.at[written].set(new, mode="drop"), memory.examples, examples)
    return counted(memory, jnp.sum(mask, dtype=jnp.int32))._replace(examples=slots_after)


def offer(memory: Buffer, examples: PyTree, key: PRNGKeyArray) -> Buffer:
    """Return a reservoir after n examples, leaves (n, ...), were offered to it one after another.

    It then holds a uniform sample, without replacement, of all examples that it was ever offered.

    Raises:
        ValueError: if leaves differ in their number of examples.
    """
    numbers = sorted({len(leaf) for leaf in jax.tree.leaves(examples)})
    if len(numbers) != 1:
        raise ValueError(f"the leaves hold {numbers} examples, expected the same number along the first axis of each")
    slots = draw_slots_in_turn(memory, numbers[0], key)
    return store_in_turn(memory, examples, slots, jnp.ones(numbers[0], bool))


def sample(memory: Buffer | BalancedBuffer, n: int, key: PRNGKeyArray) -> tuple[PyTree, Bool[Array, " n"]]:
    """Draw n examples, leaves (n, ...), uniformly and without replacement, and tell which of them count.

    While the memory holds fewer than n examples, as many count as there are, the first ones; the others mean nothing
    and must get the weight 0.
    """
    return recall(memory, draw_distinct_slots(memory, (1, n), key)[0]), drawn_mask(memory, n)


def draw_slots(memory: Buffer | BalancedBuffer, shape: tuple[int, ...], key: PRNGKeyArray) -> Int[Array, ...]:
    """Draw filled slots uniformly and with replacement (zeros while the memory is empty)."""
    return jax.random.randint(key, shape, 0, filled(memory), jnp.int32)


def draw_distinct_slots(
    memory: Buffer | BalancedBuffer, shape: tuple[int, int], key: PRNGKeyArray
) -> Int[Array, "batches draws"]:
    """Draw filled slots uniformly and without replacement within each batch, in no particular order.

    Of n ≥ `draws` filled slots each set is as likely; if fewer are filled, they are the first of the draws.

    Source: Bentley & Floyd (1987), "A sample of brilliance", algorithm F2; its cost does not grow with the memory.
    """
    n_batches, n_draws = shape
    largest = jnp.maximum(filled(memory) - n_draws, 0) + jnp.arange(n_draws, dtype=jnp.int32)
    tried = jax.random.randint(key, shape, 0, largest[None] + 1, jnp.int32)

    def draw(n: Int[Array, ""], slots: Int[Array, "batches draws"]) -> Int[Array, "batches draws"]:
        taken = jnp.any(slots == tried[:, n, None], axis=1)
        return slots.at[:, n].set(jnp.where(taken, largest[n], tried[:, n]))

    return jax.lax.fori_loop(0, n_draws, draw, jnp.full((n_batches, n_draws), -1, jnp.int32))


def drawn_mask(memory: Buffer | BalancedBuffer, draws: int) -> Bool[Array, " draws"]:
    """Return which of `draws` draws count: all, or only as many as there are examples in the memory."""
    return jnp.arange(draws, dtype=jnp.int32) < filled(memory)


def recall(memory: Buffer | BalancedBuffer, slots: Int[Array, "*draws"]) -> Any:
    """Return the examples in `slots`, leaves of shape (*draws, ...)."""
    return jax.tree.map(lambda leaf: leaf.at[slots].get(mode="clip"), memory.examples)


class BalancedBuffer(NamedTuple):
    """A memory that holds as many examples of each class as it can, each class's a uniform sample of all it had.

    Source: Chrysakis & Moens (2020), "Online Continual Learning from Imbalanced Data", ICML, Algorithm 1 (CBRS).
    """

    examples: Any
    """The slots, as those of a `Buffer`."""
    seen: Int[Array, ""]
    periods: Int[Array, ""]
    labels: Int[Array, " size"]
    """The class of what is in each slot."""
    stored: Int[Array, " classes"]
    """Examples of each class in the memory."""
    offered: Int[Array, " classes"]
    """Examples of each class seen so far; at most as many as an integer can count."""
    was_largest: Bool[Array, " classes"]
    """Has the class ever had the most examples in the full memory? Only such a class has ever lost an example."""


def empty_balanced_buffer(example: tuple, size: int, n_classes: int) -> BalancedBuffer:
    """Return an empty memory of `size` slots for examples like `example` of the classes 0 to `n_classes` − 1."""
    none = jnp.zeros(n_classes, jnp.int32)
    return BalancedBuffer(*empty_buffer(example, size), jnp.zeros(size, jnp.int32), none, none, none > 0)


def balanced_slot(memory: BalancedBuffer, label: Int[Array, ""], key: PRNGKeyArray) -> Int[Array, ""]:
    """Draw where the next example, of class `label`, goes: a slot, or capacity when it is not kept.

    Once the memory is full, an example of a class that has never been the largest replaces one of the largest class,
    drawn uniformly; one of another class replaces one of its own, with the probability that leaves each example of the
    class in the memory equally likely.
    """
    keep_key, slot_key = jax.random.split(key)
    size = capacity(memory)
    largest = memory.stored == memory.stored.max()
    bounded = (memory.was_largest | largest)[label]
    among = jnp.where(bounded, memory.labels == label, largest[memory.labels])
    ends = jnp.cumsum(among, dtype=jnp.int32)
    drawn = jax.random.randint(slot_key, (), 0, jnp.maximum(ends[-1], 1), jnp.int32)
    slot = jnp.searchsorted(ends, drawn, side="right").astype(jnp.int32)
    share = memory.stored[label].astype(jnp.float32) / (memory.offered[label] + 1).astype(jnp.float32)
    kept = ~bounded | (jax.random.uniform(keep_key) < share)
    return jnp.where(filled(memory) < size, filled(memory), jnp.where(kept, slot, size))


def store_balanced(
    memory: BalancedBuffer, example: tuple, label: Int[Array, ""], slot: Int[Array, ""]
) -> BalancedBuffer:
    """Return the memory with `example`, of class `label`, in `slot`; a slot ≥ capacity leaves its contents."""
    size = capacity(memory)
    is_kept, is_taken = slot < size, (slot < size) & (filled(memory) == size)
    replaced = memory.labels.at[slot].get(mode="clip")
    was_largest = memory.was_largest | ((filled(memory) == size) & (memory.stored == memory.stored.max()))
    stored = memory.stored.at[replaced].add(-is_taken.astype(jnp.int32)).at[label].add(is_kept.astype(jnp.int32))
    return store(memory, example, slot)._replace(
        labels=memory.labels.at[slot].set(label, mode="drop"),
        stored=stored,
        offered=memory.offered.at[label].set(jnp.minimum(memory.offered[label], LARGEST_COUNT - 1) + 1),
        was_largest=was_largest,
    )


def greedy_slot(memory: BalancedBuffer, label: Int[Array, ""], key: PRNGKeyArray) -> Int[Array, ""]:
    """Draw where the next example, of class `label`, goes if the first of each class are kept, capacity if nowhere.

    It is kept while its class has less than an equal share of the memory among the classes seen so far, itself
    included: in a free slot, or else in place of a uniformly drawn example of the largest classes. To be stored by
    `store_greedy`.

    Source: Prabhu, Torr & Dokania (2020), "GDumb: A Simple Approach that Questions Our Progress in Continual Learning",
    ECCV, Algorithm 1.
    """
    size, held = capacity(memory), filled(memory)
    n_classes = jnp.sum((memory.offered > 0).at[label].set(True), dtype=jnp.int32)
    kept = memory.stored[label] * n_classes < size
    ends = jnp.cumsum((memory.stored == memory.stored.max())[memory.labels], dtype=jnp.int32)
    drawn = jax.random.randint(key, (), 0, jnp.maximum(ends[-1], 1), jnp.int32)
    replaced = jnp.searchsorted(ends, drawn, side="right").astype(jnp.int32)
    return jnp.where(kept, jnp.where(held < size, held, replaced), size)


def store_greedy(memory: BalancedBuffer, example: tuple, label: Int[Array, ""], slot: Int[Array, ""]) -> BalancedBuffer:
    """Return the memory with `example`, of class `label`, in `slot`, counting filled slots only: not all are kept."""
    after = store_balanced(memory, example, label, slot)
    return after._replace(seen=jnp.sum(after.stored, dtype=jnp.int32), periods=memory.periods)


def biased_slot(memory: Buffer, key: PRNGKeyArray) -> Int[Array, ""]:
    """Draw where the next example goes in an exponentially biased reservoir, which takes every example in.

    With a probability equal to the part of the memory that is filled, it replaces a uniformly drawn example; else it
    takes the next free slot. So an example r steps ago is still in the memory with probability (1 − 1/capacity)^r: the
    memory forgets exponentially, with a time constant of its capacity. To be stored by `store_biased`.

    Source: Aggarwal (2006), "On biased reservoir sampling in the presence of stream evolution", VLDB, Algorithm 2.1.
    """
    drawn = jax.random.randint(key, (), 0, capacity(memory), jnp.int32)
    return jnp.minimum(drawn, filled(memory))


def store_biased(memory: Buffer, example: tuple, slot: Int[Array, ""]) -> Buffer:
    """Return the memory with `example` in `slot`, counting filled slots only, as some examples replace others."""
    after = store(memory, example, slot)
    return after._replace(seen=jnp.maximum(memory.seen, slot + 1), periods=memory.periods)
