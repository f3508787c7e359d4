"""What decides a figure is in its description: every field of every object."""

import array
import collections
import dataclasses
import datetime
import enum
import functools
import json
import math
import operator
import re
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beartype import beartype
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from perdure.records.describe import describe, fields_of
from perdure.updates.losses import CrossEntropyWithinTask


def described_whole(thing):
    """Return the description, which JSON must hold."""
    description = describe(thing)
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    return description


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_what_json_holds_is_described_by_itself(value):
    assert describe(value) == value


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Settings:
    rate: float
    weight_decay: float = 0.0
    parts: tuple[Any, ...] = ()


class Plain:
    def __init__(self, **values):
        vars(self).update(values)


class Slotted:
    __slots__ = "rate"

    def __init__(self, rate):
        self.rate = rate


class SlottedTwice(Slotted):
    __slots__ = ("__dict__", "__hidden")

    def __init__(self, rate, hidden):
        super().__init__(rate)
        self.__hidden = hidden


class Listed(list[Any]):
    """A list of one's own."""


class Tabled(dict[str, Any]):
    """A dictionary of one's own."""


class Measured(float):
    """A number of one's own."""


class Queued(collections.deque[Any]):
    """A queue of one's own."""


class OwnGenerator(np.random.Generator):
    """Holds what only NumPy sees."""


class OwnError(ValueError):
    """Holds its arguments where only Python sees them."""


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def with_field(thing, value):
    thing.field = value
    return thing


class Sourced(Plain):
    """Has fields of the names under which class and source stand."""


largest: Any = max

VALUES = [
    (1.0, 2.0),
    (math.nan, math.inf),
    ("1", "2"),
    (b"one", b"two"),
    ([1, 2], [2, 1]),
    ({1, 2}, {1, 3}),
    (range(3), range(4)),
    (list(range(5000)), [*range(4999), -1]),
    ({"a": {"b": 1}}, {"a": {"b": 2}}),
    (Path("a"), Path("b")),
    (Colour.RED, Colour.BLUE),
    (Level.LOW, Level.HIGH),
    (Level.LOW, 1),
    (1j, 2j),
    (Fraction(1, 10), Fraction(1, 5)),
    (Decimal("0.1"), Decimal("0.2")),
    (slice(0, 1), slice(0, 5)),
    (collections.deque([1, 2]), collections.deque([1, 3])),
    (collections.deque([1], maxlen=1), collections.deque([1], maxlen=2)),
    (bytearray(b"one"), bytearray(b"two")),
    (array.array("d", [1.0]), array.array("d", [2.0])),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (datetime.timedelta(1), datetime.timedelta(2)),
    (operator.itemgetter(1), operator.itemgetter(5)),
    (operator.attrgetter("a"), operator.attrgetter("b")),
    (operator.methodcaller("a", 1), operator.methodcaller("a", 2)),
    (operator.methodcaller("a", b=1), operator.methodcaller("a", b=2)),
    (Slotted(1), Slotted(2)),
    (SlottedTwice(1, 2), SlottedTwice(1, 3)),
    (SlottedTwice(1, 2), SlottedTwice(2, 2)),
    (with_field(SlottedTwice(1, 2), 1), with_field(SlottedTwice(1, 2), 2)),
    (Listed([1]), Listed([2])),
    (Listed([1]), [1]),
    (with_field(Listed([1]), 1), with_field(Listed([1]), 2)),
    (Tabled(a=1), Tabled(a=2)),
    (Measured(1), Measured(2)),
    (Queued([1]), Queued([2])),
    (np.float32(0.5), np.float32(0.25)),
    (np.arange(3), np.arange(3.0)),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (np.asarray(["a", 1], object), np.asarray(["a", 2], object)),
    (jnp.ones(3), jnp.ones(3).at[1].set(0)),
    (jax.random.key(1), jax.random.key(2)),
    (Settings(0.1, 0.0), Settings(0.1, 0.5)),
    (Settings(0.1, parts=(Settings(0.1),)), Settings(0.1, parts=(Settings(0.2),))),
    (Plain(a=1), Plain(a=2)),
    (Plain(a=1), Plain(b=1)),
    (Plain(name="x"), Plain(name="y")),
    (Sourced(source="x", name="n"), Sourced(source="y", name="n")),
    (Sourced(fields=1, source="x"), Sourced(fields=2, source="x")),
    (Plain(a=1), Sourced(a=1)),
    (functools.partial(largest, 1), functools.partial(largest, 2)),
    (functools.partial(largest, key=abs), functools.partial(largest, key=len)),
    (np.tanh, np.sin),
    (jnp.add, jnp.multiply),
    (jnp.tanh, jax.nn.relu),
    (optax.sgd, optax.adam),
    (optax.cosine_decay_schedule(0.1, 10), optax.cosine_decay_schedule(0.2, 10)),
    (optax.adam(0.1, b1=0.8), optax.adam(0.1, b1=0.9)),
    (jax.grad(optax.l2_loss), optax.l2_loss),
    (jax.vmap(optax.l2_loss), jax.vmap(optax.log_cosh)),
    (CrossEntropyWithinTask((0, 1)), CrossEntropyWithinTask((1, 0))),
    ({"a": 1}.get, {"a": 2}.get),
    (operator.attrgetter, operator.itemgetter),
    (Plain(a=1).__init__, Plain(a=2).__init__),
    (int, float),
    (np, math),
]


@pytest.mark.parametrize(("one", "other"), VALUES, ids=lambda value: type(value).__name__)
def test_another_value_is_described_otherwise(one, other):
    assert described_whole(one) == described_whole(one)
    assert described_whole(one) != described_whole(other)


def test_descriptions_are_for_reading():
    assert describe(Settings(0.1, parts=(1, "a")))["parts"] == [1, "a"]
    assert describe(functools.partial(optax.sgd, momentum=0.5)) == {
        "partial": {"name": "optax._src.alias.sgd"},
        "arguments": {"momentum": 0.5},
    }
    assert describe(np.zeros((2, 3)))["array"] == "float64[2, 3]"
    assert describe(jnp.asarray(0.5)) == 0.5


def test_fields_that_are_none_are_left_out_and_so_are_those_described_elsewhere():
    assert fields_of(Settings(0.1, parts=(1,)), "it", {"rate"}) == {"weight_decay": 0.0, "parts": [1]}
    assert fields_of(Settings(None, None, None), "it") == {}  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("thing", "complaint"),
    [
        (np.random.default_rng(0), "it is Generator"),
        (Settings(0.1, parts=(1, np.random.default_rng(0))), r"it\.parts\[1\] is Generator"),
        ({"a": {"b": sys.__stdout__}}, r"it\['a'\]\['b'\] is <"),
        (Plain(file=sys.__stdout__), r"it\.file is <"),
        (np.random.default_rng(0).normal, "it is Generator"),
        (iter([1]), "it is <list_iterator"),
        (Slotted(iter([1])), r"it\.rate is <list_iterator"),
        (Listed([iter([1])]), r"it\.content\[0\] is <list_iterator"),
        (OwnGenerator(np.random.PCG64(0)), "it is OwnGenerator"),
        (OwnError(1), r"it is OwnError\(1"),
        (functools.partial(largest, key=np.random.default_rng(0).random), r"it\['key'\] is Generator"),
    ],
)
def test_what_cannot_be_described_is_refused_by_the_part(thing, complaint):
    with pytest.raises(TypeError, match=rf"^{complaint}.*, which a record cannot describe; make it .*, or run without"):
        describe(thing)


def test_what_holds_itself_is_refused():
    own = []
    own.append(own)
    with pytest.raises(TypeError, match=r"it\[0\] refers to itself, which a record cannot hold"):
        describe(own)


def test_what_a_decorator_of_a_library_holds_beside_its_function_is_passed_over():
    """A function that a type checker wraps is described, and another one otherwise."""

    def checked(factor):
        def function(x: float) -> float:
            return factor * x

        return jaxtyped(function, typechecker=beartype)

    assert json.dumps(describe(checked(2))) == json.dumps(describe(checked(2)))
    assert describe(checked(2)) != describe(checked(3))


def test_spaces_of_gymnasium_are_described_by_what_they_hold_and_not_by_where_they_are():
    def described(high, n):
        return [describe(spaces.Box(-1.0, high, (2,), np.float32)), describe(spaces.Discrete(n))]

    assert described(1.0, 3) == described(1.0, 3)
    assert all(one != other for one, other in zip(described(1.0, 3), described(2.0, 4), strict=True))
    assert described(1.0, 3)[1]["dtype"] == "int64"
