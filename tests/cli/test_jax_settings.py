"""How the command line has JAX compile."""

import os

import pytest

from perdure.cli.jax_settings import configure_jax
from perdure.machine.cores import usable_cpus

SET = ("JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")


@pytest.fixture
def nothing_set(monkeypatch):
    """An environment without any of it, which is put back afterwards."""
    for name in [name for name in os.environ if name.startswith(("JAX_", "XLA_"))]:
        monkeypatch.delenv(name)
    for name in (*SET, "JAX_COMPILATION_CACHE_MAX_SIZE", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")  # so that what is set in the test goes away with it
        monkeypatch.delenv(name)


def test_every_core_is_a_device_and_compiled_programs_are_kept(nothing_set):
    configure_jax()
    assert int(os.environ["JAX_NUM_CPU_DEVICES"]) == usable_cpus()
    assert "perdure" in os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert int(os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == 2**30
    assert "xla_cpu_small_while_loop_byte_threshold" in os.environ["XLA_FLAGS"]


def test_what_the_user_has_set_stays(nothing_set, monkeypatch):
    own = {"JAX_NUM_CPU_DEVICES": "7", "JAX_COMPILATION_CACHE_DIR": "elsewhere", "XLA_FLAGS": "--xla_foo=1"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    configure_jax()
    assert {name: os.environ[name] for name in SET[:2]} == {name: own[name] for name in SET[:2]}
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ  # JAX fails where others have written without one
    assert os.environ["XLA_FLAGS"].startswith("--xla_foo=1 --xla_backend_extra_options=")
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_extra_options=mine=1")
    configure_jax()
    assert os.environ["XLA_FLAGS"] == "--xla_backend_extra_options=mine=1"
