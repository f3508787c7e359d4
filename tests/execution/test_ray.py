"""Jobs on a real Ray cluster of two nodes on this machine, one of which is killed."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from perdure.execution import ray_cluster
from perdure.execution.pool import Ended, Failure, Job, run_jobs
from perdure.execution.ray_cluster import Files, RayCluster, RayError, folder_files, write_files
from perdure.machine.signals import InterruptedRunError

HERE = Path(__file__).parent
NODE: dict[str, Any] = {"num_cpus": 1, "memory": 2**30, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def do():
    """The jobs' module, importable on the nodes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
        yield importlib.import_module("pool_jobs")


@pytest.fixture
def cluster(do):
    """Two nodes, each with room for one job."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        found.add_node(**NODE)
        yield found
        ray.shutdown()
        found.shutdown()


@pytest.mark.long
@pytest.mark.filterwarnings(
    "ignore:os.fork",  # Ray starts its nodes from here; programs of users that have JAX loaded do not
    "ignore::ResourceWarning",
    "ignore::FutureWarning",
    "ignore::DeprecationWarning",
)
class TestCluster:
    def test_nothing_is_lost_when_a_node_is_killed(self, cluster, do, tmp_path):
        node = next(it for it in cluster.list_all_nodes() if not it.is_head())

        def kill():
            while any(not _reached(tmp_path / name / "count", 5) for name in "bc"):  # which come first
                time.sleep(0.05)
            cluster.remove_node(node, allow_graceful=False)

        threading.Thread(target=kill, daemon=True).start()
        jobs = [Job(name, 1.0, do.count_up, tmp_path / name) for name in "abc"]
        assert run_jobs(jobs, RayCluster(cluster.address), show=False) == []
        assert [(tmp_path / name / "count").read_text() for name in "abc"] == ["40"] * 3
        beginnings = [[int(line.split()[0]) for line in _lines(tmp_path / name)] for name in "abc"]
        resumed = [it for it in beginnings if len(it) > 1]
        assert len(resumed) == 1
        assert resumed[0][0] == 0
        assert resumed[0][1] >= 5

    def test_what_fails_or_dies_is_told_by_name_and_the_others_finish(self, cluster, do, tmp_path):
        works = {"fails": do.fail, "is killed": do.die, "leaves": do.leave, "works": do.count_up}
        jobs = [Job(name, 1.0, work, tmp_path / name) for name, work in works.items()]
        assert sorted(run_jobs(jobs, RayCluster(cluster.address), show=False)) == [
            Failure("fails", "KeyError: 'nothing here'"),
            Failure("is killed", "its process was killed by SIGKILL"),
            Failure("leaves", "its process ended with status 3"),
        ]
        pids = {line.split()[1] for line in _lines(tmp_path / "works")}
        assert str(os.getpid()) not in pids

    def test_it_is_stopped_and_resumed(self, cluster, do, tmp_path):
        def stop():
            while not _reached(tmp_path / "a" / "count", 5):
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop, daemon=True).start()
        jobs = [Job("a", 1.0, do.count_up, tmp_path / "a")]
        with pytest.raises(InterruptedRunError, match="the same command resumes"):
            run_jobs(jobs, RayCluster(cluster.address), show=False)
        stopped_at = int((tmp_path / "a" / "count").read_text())
        assert 5 <= stopped_at < 40
        assert run_jobs(jobs, RayCluster(cluster.address), show=False) == []
        assert [int(line.split()[0]) for line in _lines(tmp_path / "a")] == [0, stopped_at]

    def test_what_says_nothing_is_stopped_too(self, cluster, do, tmp_path):
        """As in the middle of a compilation: nothing is heard of it for long."""
        told = []

        def stop():
            time.sleep(10)
            told.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop, daemon=True).start()
        with pytest.raises(InterruptedRunError):
            run_jobs([Job("a", 1.0, do.beat_silently, tmp_path / "a")], RayCluster(cluster.address), show=False)
        assert time.monotonic() - told[0] < 30

    @pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 2.0])
    def test_what_has_hardly_begun_is_stopped(self, cluster, do, tmp_path, seconds):
        class Stopped(RayCluster):
            """Is told to stop a moment after the first job was started."""

            def start(self, job):
                super().start(job)
                time.sleep(seconds)
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(InterruptedRunError):
            run_jobs([Job("a", 1.0, do.beat_silently, tmp_path / "a")], Stopped(cluster.address), show=False)

    def test_cancelled_jobs_that_do_not_end_are_given_up(self, cluster, do, tmp_path, monkeypatch):
        monkeypatch.setattr(ray_cluster, "_SECONDS_TO_STOP", 1.0)
        engine = RayCluster(cluster.address)
        job = Job("a", 1.0, do.beat_silently, tmp_path / "a")
        engine.start(job)
        engine.stop()
        monkeypatch.setattr(engine._ray, "wait", lambda refs, **_: ([], refs))  # as if the task never ended
        assert engine.words(0.1) == []
        time.sleep(1.0)
        assert engine.words(0.1) == [(job, Ended("stopped"))]
        assert engine.words(0.1) == []

    def test_a_cluster_of_this_machine_is_one_of_its_own_beside_another(self, cluster, do, tmp_path):
        program = "from perdure.execution.ray_cluster import RayCluster; RayCluster('local')"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr


def _lines(folder):
    return (folder / "beginnings").read_text().splitlines()


def _reached(count, n):
    return count.exists() and int(count.read_text() or 0) >= n


@pytest.mark.parametrize("address", ["somewhere", "host:port", ":6379", "10.0.0.1:99999"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(RayError, match=r"expected HOST:PORT, as 10.0.0.1:6379, or auto or local"):
        RayCluster(address)


def test_an_address_where_nothing_listens_is_refused_at_once():
    began = time.monotonic()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(RayError, match=f"no Ray cluster answers at 127.0.0.1:{port} .*`ray start --head"):
        RayCluster(f"127.0.0.1:{port}")
    assert time.monotonic() - began < 10


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_server_that_speaks_something_else_is_refused_in_time():
    """In a process of its own: Ray has no way to give up a connection that it is trying."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        program = (
            "from perdure.execution.ray_cluster import RayCluster, RayError\n"
            f"try:\n    RayCluster('127.0.0.1:{deaf.getsockname()[1]}')\n"
            "except RayError as error:\n    print(error)\n"
        )
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert time.monotonic() - began < 10
    assert "nothing that speaks Ray within 6 seconds" in done.stdout


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayError, match=r"install perdure with its extra: pip install 'perdure\[ray\]'"):
        RayCluster("local")


def test_a_folder_comes_back_as_it_is(tmp_path):
    there, here, known = tmp_path / "there", tmp_path / "here", {}
    (there / "checkpoints").mkdir(parents=True)
    (there / "checkpoints" / "1").write_bytes(b"one")
    (there / "config.json").write_text("{}")
    (there / ".lock").touch()
    (there / ".summary.json.0123abcd.tmp").touch()
    write_files(here, folder_files(there, known))
    assert folder_files(here, {}).changed == {"checkpoints/1": b"one", "config.json": b"{}"}
    (there / "checkpoints" / "1").unlink()
    (there / "checkpoints" / "2").write_bytes(b"two")
    news = folder_files(there, known)
    assert news == Files({"checkpoints/2": b"two"}, frozenset({"checkpoints/2", "config.json"}))
    write_files(here, news)
    assert folder_files(here, {}).changed == {"checkpoints/2": b"two", "config.json": b"{}"}
