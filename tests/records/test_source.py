"""What decides a figure is in its description: the code of own functions and classes, and all that it refers to."""

import importlib.util
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

from perdure.records.describe import describe, fingerprint, name_of
from perdure.updates.losses import CrossEntropyWithinTask

SOURCE = Path(__file__).parents[2] / "src"


class Plain:
    """An own class, empty."""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Function that writes a module `own` in a folder of its own, imports it and describes its `thing`.

    Each version lies elsewhere, as if the file had been edited between two processes.
    """
    versions = iter(range(100))

    def module_of(text, name="own", **helpers):
        folder = tmp_path / str(next(versions))
        folder.mkdir()
        for helper, its_text in {**helpers, name: text}.items():
            path = folder / f"{helper}.py"
            path.write_text(textwrap.dedent(its_text))
            spec = importlib.util.spec_from_file_location(helper, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, helper, module)
            spec.loader.exec_module(module)
        return sys.modules[name]

    def described(text, **helpers):
        return described_whole(module_of(text, **helpers).thing)

    vars(described)["module_of"] = module_of
    return described


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
    (DEFAULTS, "RATE = 0.1", "RATE = 0.2"),
    (DEFAULTS, "offset=2", "offset=3"),
    (DEFAULTS, "rate * x", "rate - x"),
]


@pytest.mark.parametrize(("text", "old", "new"), EDITS, ids=[f"{old} to {new}" for _, old, new in EDITS])
def test_edited_code_is_told_from_the_old(written, text, old, new):
    assert old in text
    before = written(text)
    assert written(text) == before, "another file of the same content"
    assert written(text.replace(old, new)) != before


@pytest.mark.parametrize("text", [FUNCTION, CLASS, CLOSURE, DECORATED, LAMBDAS, LOCAL_CLASS, DEFAULTS])
def test_comments_layout_and_unrelated_code_do_not_count(written, text):
    spread = textwrap.dedent(text).replace(" = ", "  =  ").replace(" + ", "  \\\n + ")
    changed = f"# A comment.\n{spread}\n\ndef unrelated():\n    return 42  # Another.\n\nUNRELATED = 3\n"
    assert changed != text
    assert written(changed) == written(text)


def test_functions_of_one_name_are_told_apart(written):
    """Two optimizers whose functions are both called momentum."""
    text = """
        import optax

        def with_rate(rate):
            def momentum(learning_rate):
                return optax.sgd(learning_rate, momentum=rate)
            return momentum

        def momentum(learning_rate):
            return optax.sgd(learning_rate, momentum=0.9)

        another, thing = momentum, None

        def momentum(learning_rate):
            return optax.sgd(learning_rate, momentum=0.5)
    """
    own = written.module_of(text)
    described = [described_whole(it) for it in (own.momentum, own.another, own.with_rate(0.9), own.with_rate(0.5))]
    assert len({json.dumps(it) for it in described}) == 4
    assert {name_of(it) for it in (own.momentum, own.another, own.with_rate(0.5))} == {"momentum"}


def test_classes_of_one_name_are_told_apart(written):
    text = """
        if {}:
            class Own:
                def __call__(self, x):
                    return x
        else:
            class Own:
                def __call__(self, x):
                    return -x
        thing = Own()
    """
    assert written(text.format("True")) != written(text.format("False"))


def test_lambdas_on_one_line_are_told_apart(written):
    own = written.module_of("first, second, again = (lambda x: x), (lambda x: 2 * x), (lambda   x: x)\nthing = None\n")
    one, two, three = (described_whole(it) for it in (own.first, own.second, own.again))
    assert one != two
    assert one == three


def test_a_module_of_ones_own_counts_with_what_is_used_of_it(written):
    text = """
        import helpers

        def thing(x):
            return helpers.scaled(x)
    """
    helpers = """
        import deeper

        def scaled(x):
            return deeper.FACTOR * x
    """
    before = written(text, deeper="FACTOR = 2", helpers=helpers)
    assert written(text, deeper="FACTOR = 2", helpers=helpers) == before
    assert written(text, deeper="FACTOR = 3", helpers=helpers) != before
    assert written(text, deeper="FACTOR = 2", helpers=helpers.replace("* x", "+ x")) != before


def test_a_module_that_a_function_imports_when_it_is_called_counts(written, tmp_path, monkeypatch):
    text = """
        def thing(x):
            import late_helper
            return late_helper.FACTOR * x
    """
    monkeypatch.syspath_prepend(tmp_path)
    described = []
    for factor in (2, 2, 3):
        (tmp_path / "late_helper.py").write_text(f"FACTOR = {factor}\n")
        importlib.invalidate_caches()
        described.append(written(text))
    assert described[0] == described[1] != described[2]


def test_code_that_is_edited_while_it_is_in_use_is_not_taken_for_the_new(written):
    """The file then tells what the next process will run, not what this one runs."""
    own = written.module_of(FUNCTION)
    before = described_whole(own.thing)
    file = Path(own.__file__)
    new = textwrap.dedent(FUNCTION.replace("FACTOR * helper", "FACTOR + helper"))
    file.write_text(new)
    os.utime(file, (1, 1))
    in_use = described_whole(own.thing)
    assert in_use == described_whole(own.thing)
    linecache.checkcache()
    next_process = written(new)
    assert in_use != next_process
    assert before != next_process


def test_code_without_a_file_is_described_by_what_it_was_compiled_to():
    def thing_of(text) -> Any:
        names = {"__name__": "interactive"}
        exec(textwrap.dedent(text), names)
        return names["thing"]

    for text, old, new in EDITS:
        if text in (FUNCTION, CLOSURE, DECORATED, LAMBDAS, DEFAULTS):
            before = described_whole(thing_of(text))
            assert described_whole(thing_of(text)) == before
            assert described_whole(thing_of(text.replace(old, new))) != before, (old, new)


def test_functions_that_call_each_other_are_described(written):
    text = """
        def made(n):
            def even(k):
                return k == 0 or odd(k - 1)
            def odd(k):
                return k > n and even(k - 1)
            return even

        def ping(x):
            return pong(x - 1)

        def pong(x):
            return ping(x) if x else thing

        thing = made(3)
    """
    assert written(text) == written(text)
    assert written(text) != written(text.replace("odd(k - 1)", "odd(k - 2)"))
    assert written(text) != written(text.replace("k > n", "k < n"))
    assert described_whole(written.module_of(text).ping)


def test_what_own_code_names_and_no_record_can_hold_is_passed_over(written):
    text = """
        import logging, threading

        log, lock = logging.getLogger("own"), threading.Lock()

        def thing(x):
            with lock:
                log.info("called")
            return x
    """
    assert written(text) == written(text)


def test_the_code_of_libraries_is_described_by_its_name():
    assert describe(optax.sgd) == {"name": "optax._src.alias.sgd"}
    assert describe(json.dumps) == {"name": "json.dumps"}
    assert describe(jnp.tanh) == {"name": "jax._src.numpy.ufuncs.tanh"}
    assert describe(CrossEntropyWithinTask((0, 1))) == {"name": "CrossEntropyWithinTask", "class_tasks": [0, 1]}
    assert fingerprint(optax.sgd) is None
    assert fingerprint(CrossEntropyWithinTask) is None
    assert fingerprint(jnp.zeros(3)) is None


def test_own_functions_classes_and_callables_have_a_fingerprint(written):
    own = written.module_of(CLASS)
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
