"""Jobs on a local Ray cluster: replacement of dead workers, back-pressure."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from liveportrait_talker.errors import OptionError
from liveportrait_talker.system import ray_cluster as cluster
from liveportrait_talker.system.ray_cluster import Cluster

HERE = Path(__file__).parent


def lost(job: int, reason: str) -> str:
    return f"{job}: {reason}"


def double(job: int) -> int:
    return 2 * job


def fail(job: int) -> int:
    raise OptionError(f"job {job} makes no sense.")


def die(job: int) -> int:
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_an_unreachable_cluster_is_reported():  # before `ray` is there: one that runs already is used
    pytest.importorskip("ray")
    with pytest.raises(OptionError, match="cannot be reached"):
        list(Cluster(address="ray://127.0.0.1:1").map(double, [1], on_lost=lost))


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *([before] if before else [])])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def test_every_job_runs_with_one_per_worker(ray):
    taken = []

    def jobs():
        for k in range(20):
            taken.append(k)
            yield k

    seen = []
    for outcome in Cluster(workers=2).map(double, jobs(), on_lost=lost):
        seen.append(outcome)
        assert len(taken) <= len(seen) + 2, "each worker has one job in hand"
    assert sorted(seen) == [2 * k for k in range(20)]


@pytest.mark.slow
def test_a_job_that_kills_its_workers_is_abandoned(ray):
    seen = list(Cluster(workers=2).map(die, range(6), on_lost=lost))
    assert sorted(map(str, seen)) == sorted([*map(str, (0, 1, 2, 4, 5)), "3: its worker died 3 times"])


def test_exceptions_of_workers_propagate(ray):
    with pytest.raises(OptionError, match="job 0 makes no sense"):
        list(Cluster(workers=1).map(fail, range(1), on_lost=lost))


@pytest.mark.parametrize("given", [{"workers": 0}, {"cpus_per_worker": -1}, {"gpus_per_worker": 65}])
def test_numbers_out_of_range_are_refused(given):
    with pytest.raises(OptionError, match="out of range"):
        Cluster(**given)


def test_without_ray_the_install_command_is_named(monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'liveportrait-talker\[cluster\]'"):
        Cluster()
