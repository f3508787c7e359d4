"""What the operating system knows of this process."""

import subprocess
import sys

import numpy as np

from perdure.experiments.process import peak_memory


def test_peak_memory_grows_with_what_is_held_and_does_not_shrink():
    before = peak_memory()
    held = np.ones(before // 8 + 2**24)  # more than the peak so far
    grown = peak_memory()
    assert grown >= 0.99 * held.nbytes  # the kernel counts in batches
    del held
    assert peak_memory() >= 0.99 * grown


def test_peak_memory_is_not_that_of_the_process_that_started_it():
    held = np.ones(2**27)  # 1 GiB
    code = "from perdure.experiments.process import peak_memory; print(peak_memory())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) < held.nbytes / 2
