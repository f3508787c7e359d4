"""Cores, their shares, and what a worker sees of them."""

import os

import pytest

from perdure.execution.division import seed_devices
from perdure.machine.cores import only, own_cores, shares

CORES = own_cores()
several_cores = pytest.mark.skipif(len(CORES) < 2, reason="one core cannot be shared out")


def test_shares_are_all_there_is_and_never_nothing():
    for workers in range(1, len(CORES) + 1):
        given = shares(workers)
        assert frozenset().union(*given) == CORES
        assert sum(map(len, given)) == len(CORES)
    assert all(len(share) == 1 for share in shares(len(CORES) + 3))


@several_cores
def test_a_process_started_within_has_only_its_cores_as_devices(monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "9")
    first = frozenset(sorted(CORES)[:1])
    with only(first):
        assert own_cores() == first
        assert os.environ["JAX_NUM_CPU_DEVICES"] == "1"
        assert len(seed_devices(5)) == 1
    assert own_cores() == CORES
    assert os.environ["JAX_NUM_CPU_DEVICES"] == "9"


@several_cores
@pytest.mark.parametrize(("asked", "given"), [(None, str(len(CORES))), ("1", "1"), ("999", str(len(CORES)))])
def test_a_process_started_within_has_no_more_devices_than_the_user_asked_for(monkeypatch, asked, given):
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("JAX_NUM_CPU_DEVICES", asked)
    with only(CORES):
        assert os.environ["JAX_NUM_CPU_DEVICES"] == given
    assert os.environ.get("JAX_NUM_CPU_DEVICES") == asked
