"""What the operating system knows of this process."""

import subprocess
import sys

import numpy as np
import pytest

from perdure.machine import process
from perdure.machine.process import peak_memory


@pytest.mark.long
def test_peak_memory_grows_with_what_is_held_and_does_not_shrink():
    before = peak_memory()
    held = np.ones(before // 8 + 2**24)  # more than the peak so far
    grown = peak_memory()
    assert grown >= 0.99 * held.nbytes  # the kernel counts in batches
    del held
    assert peak_memory() >= 0.99 * grown


def test_peak_memory_is_not_that_of_the_process_that_started_it():
    held = np.ones(2**27)  # 1 GiB
    code = "from perdure.machine.process import peak_memory; print(peak_memory())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) < held.nbytes / 2


@pytest.mark.parametrize(
    ("most", "current", "free"),
    [("1000000", "300000", 720_000), ("1000000", "1020001", 0), ("max", "5", 2**30), ("9" * 18, "5", 2**30)],
)
def test_free_memory_is_what_the_container_leaves_of_the_machines(tmp_path, monkeypatch, most, current, free):
    (tmp_path / "meminfo").write_text("MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n")
    monkeypatch.setattr(process, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(process, "_CGROUP", tmp_path)
    assert process.free_memory() == 2**30
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.current").write_text(f"{current}\n")
    (tmp_path / "memory.stat").write_text("anon 1000\nfile 30000\ninactive_file 20000\n")
    assert process.free_memory() == free


def test_free_memory_is_a_part_of_this_machines(monkeypatch, tmp_path):
    assert 2**20 < process.free_memory() < 2**60
    monkeypatch.setattr(process, "_MEMINFO", tmp_path / "none")
    assert 2**20 < process.free_memory() < 2**60


def test_free_memory_is_what_a_limit_of_the_process_leaves():
    code = (
        "import resource; from perdure.machine.process import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); print(free_memory())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 2**28 < int(printed) < 2**31
