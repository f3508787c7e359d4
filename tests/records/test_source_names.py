"""What decides a figure is in its description: code of one name is told apart, and what it refers to counts."""

import importlib.util
import json

import pytest

from perdure.records.describe import describe, name_of


def described_whole(thing):
    """Return the description, which JSON must hold."""
    description = describe(thing)
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    return description


def test_functions_of_one_name_are_told_apart(written_code):
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
    own = written_code.module_of(text)
    described = [described_whole(it) for it in (own.momentum, own.another, own.with_rate(0.9), own.with_rate(0.5))]
    assert len({json.dumps(it) for it in described}) == 4
    assert {name_of(it) for it in (own.momentum, own.another, own.with_rate(0.5))} == {"momentum"}


def test_classes_of_one_name_are_told_apart(written_code):
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
    assert written_code(text.format("True")) != written_code(text.format("False"))


def test_lambdas_on_one_line_are_told_apart(written_code):
    text = """
        first, second, again = (lambda x: x), (lambda x: 2 * x), (lambda   x: x)
        inner, other = (lambda: (lambda y: y + 1, lambda y: y + 2))()
        thing = None
    """
    own = written_code.module_of(text)
    described = [described_whole(it) for it in (own.first, own.second, own.inner, own.other)]
    assert len({it["source"] for it in described}) == 4
    assert described_whole(own.again) == described[0]


def test_a_module_of_ones_own_counts_with_what_is_used_of_it(written_code):
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
    before = written_code(text, deeper="FACTOR = 2", helpers=helpers)
    assert written_code(text, deeper="FACTOR = 2", helpers=helpers) == before
    assert written_code(text, deeper="FACTOR = 3", helpers=helpers) != before
    assert written_code(text, deeper="FACTOR = 2", helpers=helpers.replace("* x", "+ x")) != before


def test_a_module_that_a_function_imports_when_it_is_called_counts(written_code, tmp_path, monkeypatch):
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
        described.append(written_code(text))
    assert described[0] == described[1] != described[2]


def test_functions_that_call_each_other_are_described(written_code):
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
    assert written_code(text) == written_code(text)
    assert written_code(text) != written_code(text.replace("odd(k - 1)", "odd(k - 2)"))
    assert written_code(text) != written_code(text.replace("k > n", "k < n"))
    assert described_whole(written_code.module_of(text).ping)


@pytest.mark.long
def test_what_own_code_names_and_no_record_can_hold_is_passed_over(written_code):
    text = """
        import logging, threading

        log, lock = logging.getLogger("own"), threading.Lock()

        def thing(x):
            with lock:
                log.info("called")
            return x
    """
    assert written_code(text) == written_code(text)
