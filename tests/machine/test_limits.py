"""Limits on memory, in processes that have them."""

import resource
import subprocess
import sys
import time

import pytest

from perdure.machine.limits import check_memory_limits

MIB = 2**20


@pytest.fixture
def limited(monkeypatch):
    """Function that gives a limit, in the eyes of this process, a value in MiB."""

    def limit(**megabytes):
        values = {getattr(resource, name): value * MIB for name, value in megabytes.items()}
        monkeypatch.setattr(resource, "getrlimit", lambda which: (values.get(which, resource.RLIM_INFINITY), -1))

    return limit


@pytest.mark.parametrize(
    ("limits", "jax"),
    [({}, True), ({"RLIMIT_AS": 1792}, True), ({"RLIMIT_AS": 400}, False), ({"RLIMIT_DATA": 512}, True)],
)
def test_enough_is_enough(limited, limits, jax):
    limited(**limits)
    check_memory_limits(jax=jax)


@pytest.mark.parametrize(
    ("limits", "jax", "message"),
    [
        (
            {"RLIMIT_AS": 684},
            True,
            r"only 684 MiB of memory \(ulimit -v is 700416\), expected at least 1,792 MiB to load JAX",
        ),
        ({"RLIMIT_AS": 1791}, True, "1,791 MiB"),
        ({"RLIMIT_AS": 300}, False, "at least 320 MiB to load NumPy; start it from a shell without this limit"),
        ({"RLIMIT_DATA": 500}, True, r"ulimit -d is 512000"),
    ],
)
def test_less_is_refused_by_name(limited, limits, jax, message):
    limited(**limits)
    with pytest.raises(MemoryError, match=message):
        check_memory_limits(jax=jax)


@pytest.mark.parametrize("kib", [150_000, 250_000, 500_000, 700_000])
@pytest.mark.parametrize(
    "command", ["run online digits-rotations", "rl train dqn catcher", "tune er digits-rotations", "resume x"]
)
def test_a_command_that_cannot_load_says_so_at_once(kib, command, tmp_path):
    began = time.monotonic()
    process = subprocess.run(
        ["bash", "-c", f"ulimit -v {kib}; exec {sys.executable} -m perdure {command}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert process.returncode == 2
    assert f"ulimit -v is {kib}" in process.stderr
    assert "Traceback" not in process.stderr
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - began < 20  # seconds on a busy machine, where it once took minutes


def test_help_needs_none_of_it():
    process = subprocess.run(
        ["bash", "-c", f"ulimit -v 200000; exec {sys.executable} -m perdure run --help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0
    assert "mer" in process.stdout
