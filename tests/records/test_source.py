"""What decides a figure is in its description: the code of own functions and classes, and all that it refers to."""

import json
import linecache
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import optax
import pytest

from perdure.records.describe import describe, fingerprint
from perdure.updates.losses import CrossEntropyWithinTask

SOURCE = Path(__file__).parents[2] / "src"


class Plain:
    """An own class, empty."""


def described_whole(thing):
    """Return the description, which JSON must hold."""
    description = describe(thing)
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    return description


FUNCTION = """
    def helper(x):
        return x + 1

    FACTOR = 2

    def thing(x):
        return FACTOR * helper(x)
"""
CLASS = """
    import dataclasses

    SCALE = 3

    class Base:
        def shift(self, x):
            return x + 1

    @dataclasses.dataclass(frozen=True)
    class Own(Base):
        rate: float
        levels = (1, 2)
        scale = SCALE

        @property
        def twice(self):
            return 2 * self.rate

        @staticmethod
        def square(x):
            return x**2

        def __call__(self, x, offset=0):
            return self.shift(x) * self.twice + offset

    thing = Own(0.5)
"""
CLOSURE = """
    def made(scale):
        def inner(x):
            return scale * x
        return inner

    def recursive(n):
        def count(k):
            return 0 if k == 0 else count(k - 1) + n
        return count

    multiply, count = made(2.0), recursive(3)

    def thing(x):
        return multiply(x) + count(4)
"""
DECORATED = """
    import functools

    def scaled(factor):
        def decorate(function):
            @functools.wraps(function)
            def wrapper(x):
                return factor * function(x)
            return wrapper
        return decorate

    @scaled(2)
    def thing(x):
        return x + 1
"""
LIBRARY_DECORATED = """
    import jax, functools

    @functools.partial(jax.vmap, in_axes=0)
    def mapped(x):
        return x + 1

    @jax.jit
    def compiled(x):
        return mapped(x) + 5

    @functools.cache
    def thing(x):
        return compiled(x) - 7
"""
LAMBDAS = """
    first, second = (lambda x: x + 1), (lambda x: x + 2); table = {"a": lambda x: [x, lambda y: y + 3]}

    class thing:
        chosen = staticmethod(first)
        other = table["a"]
"""
LOCAL_CLASS = """
    def made(scale):
        class Local:
            def __call__(self, x):
                return scale * x
        return Local()

    thing = made(2.0)
"""
DEFAULTS = """
    RATE = 0.1

    def helper(x, rate=RATE, *, offset=2):
        return rate * x + offset

    def thing(x, function=helper):
        return function(x)
"""

NAMED_LIKE_THE_CODE = """
    import dataclasses

    @dataclasses.dataclass
    class Own:
        source: str
        name: str = "own"

        def __call__(self, x):
            return x + 1

    thing = Own("mine")
"""

EDITS = [
    (FUNCTION, "FACTOR * helper", "FACTOR + helper"),
    (FUNCTION, "x + 1", "x + 2"),
    (FUNCTION, "FACTOR = 2", "FACTOR = 3"),
    (CLASS, "rate: float", "rate: int"),
    (CLASS, "Own(0.5)", "Own(0.6)"),
    (CLASS, "x + 1", "x + 2"),
    (CLASS, "(1, 2)", "(1, 3)"),
    (CLASS, "SCALE = 3", "SCALE = 4"),
    (CLASS, "2 * self.rate", "3 * self.rate"),
    (CLASS, "x**2", "x**3"),
    (CLASS, "offset=0", "offset=1"),
    (CLOSURE, "made(2.0)", "made(3.0)"),
    (CLOSURE, "recursive(3)", "recursive(4)"),
    (CLOSURE, "scale * x", "scale + x"),
    (CLOSURE, "k - 1", "k - 2"),
    (DECORATED, "@scaled(2)", "@scaled(3)"),
    (DECORATED, "factor * function", "factor + function"),
    (DECORATED, "x + 1", "x + 2"),
    (LIBRARY_DECORATED, "x + 1", "x + 2"),
    (LIBRARY_DECORATED, "in_axes=0", "in_axes=1"),
    (LIBRARY_DECORATED, "mapped(x) + 5", "mapped(x) + 6"),
    (LIBRARY_DECORATED, "compiled(x) - 7", "compiled(x) - 8"),
    (LAMBDAS, "x + 1", "x + 9"),
    (LAMBDAS, "y + 3", "y + 4"),
    (LAMBDAS, "staticmethod(first)", "staticmethod(second)"),
    (LOCAL_CLASS, "made(2.0)", "made(2.5)"),
    (LOCAL_CLASS, "scale * x", "scale - x"),
    (NAMED_LIKE_THE_CODE, "x + 1", "x + 2"),
    (NAMED_LIKE_THE_CODE, 'Own("mine")', 'Own("other")'),
    (DEFAULTS, "RATE = 0.1", "RATE = 0.2"),
    (DEFAULTS, "offset=2", "offset=3"),
    (DEFAULTS, "rate * x", "rate - x"),
]


@pytest.mark.parametrize(("text", "old", "new"), EDITS, ids=[f"{old} to {new}" for _, old, new in EDITS])
def test_edited_code_is_told_from_the_old(written_code, text, old, new):
    assert old in text
    before = written_code(text)
    assert written_code(text) == before, "another file of the same content"
    assert written_code(text.replace(old, new)) != before


@pytest.mark.parametrize("text", [FUNCTION, CLASS, CLOSURE, DECORATED, LAMBDAS, LOCAL_CLASS, DEFAULTS])
def test_comments_layout_and_unrelated_code_do_not_count(written_code, text):
    spread = textwrap.dedent(text).replace(" = ", "  =  ").replace(" + ", "  \\\n + ")
    changed = f"# A comment.\n{spread}\n\ndef unrelated():\n    return 42  # Another.\n\nUNRELATED = 3\n"
    assert changed != text
    assert written_code(changed) == written_code(text)


def test_code_that_is_edited_while_it_is_in_use_is_not_taken_for_the_new(written_code):
    """The file then tells what the next process will run, not what this one runs."""
    own = written_code.module_of(FUNCTION)
    before = described_whole(own.thing)
    file = Path(own.__file__)
    new = textwrap.dedent(FUNCTION.replace("FACTOR * helper", "FACTOR + helper"))
    file.write_text(new)
    os.utime(file, (1, 1))
    in_use = described_whole(own.thing)
    assert in_use == described_whole(own.thing)
    linecache.checkcache()
    next_process = written_code(new)
    assert in_use != next_process
    assert before != next_process


@pytest.mark.parametrize("given", [{"__name__": "interactive"}, {}], ids=["module", "no module"])
def test_code_without_a_file_is_described_by_what_it_was_compiled_to(given):
    def thing_of(text) -> Any:
        names = dict(given)
        exec(textwrap.dedent(text), names)
        return names["thing"]

    for text, old, new in EDITS:
        if text in (FUNCTION, CLOSURE, DECORATED, LAMBDAS, DEFAULTS):
            before = described_whole(thing_of(text))
            assert described_whole(thing_of(text)) == before
            assert described_whole(thing_of(text.replace(old, new))) != before, (old, new)


def test_the_code_of_libraries_is_described_by_its_name():
    assert describe(optax.sgd) == {"name": "optax._src.alias.sgd"}
    assert describe(json.dumps) == {"name": "json.dumps"}
    assert describe(jnp.tanh) == {"name": "jax._src.numpy.ufuncs.tanh"}
    assert describe(CrossEntropyWithinTask((0, 1))) == {"name": "CrossEntropyWithinTask", "class_tasks": [0, 1]}
    assert fingerprint(optax.sgd) is None
    assert fingerprint(CrossEntropyWithinTask) is None
    assert fingerprint(jnp.zeros(3)) is None


def test_own_functions_classes_and_callables_have_a_fingerprint(written_code):
    own = written_code.module_of(CLASS)
    assert fingerprint(own.Own) == fingerprint(own.thing)
    assert fingerprint(own.Own) != fingerprint(own.Base)
    assert len({fingerprint(own.Own), fingerprint(described_whole), fingerprint(Plain)}) == 3


def test_another_process_comes_to_the_same_description(tmp_path):
    """Whatever the order of its sets, which Python draws anew for each process."""
    texts = [FUNCTION, CLASS, CLOSURE, DECORATED, LAMBDAS, LOCAL_CLASS, DEFAULTS]
    for place, text in enumerate(texts):
        (tmp_path / f"own{place}.py").write_text(textwrap.dedent(text))
    program = (
        "import importlib, json\nfrom perdure.records.describe import describe\n"
        f"things = [importlib.import_module(f'own{{place}}').thing for place in range({len(texts)})]\n"
        'names = {}\nexec(\'def thing(x):\\n    return x in {"a", "b", "c", "d"}\', names)\n'
        "print(json.dumps([describe(it) for it in [*things, names['thing'], {'x', 'y', 'z'}]]))\n"
    )
    said = []
    for seed in ("1", "2"):
        path = os.pathsep.join([str(SOURCE), str(tmp_path)])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
