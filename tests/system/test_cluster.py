"""Jobs on a local Ray cluster: replacement of dead workers, back-pressure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


def test_a_ray_without_tokens_is_refused(monkeypatch):
    pytest.importorskip("ray")
    for version in ("2.40.0", "2.51.1", "1.13.0"):
        monkeypatch.setattr(cluster.importlib.metadata, "version", lambda name, version=version: version)
        with pytest.raises(OptionError, match=r"needs Ray 2\.52 or newer.*pip install --upgrade"):
            list(Cluster().map(double, [1], on_lost=lost))


LISTENING = """
import os, subprocess, sys
from pathlib import Path
from liveportrait_talker.system.ray_cluster import Cluster

def double(job):
    return 2 * job

outcomes = Cluster(workers=1).map(double, range(2), on_lost=lambda job, reason: reason)
first = next(outcomes)
import ray
secret, address = os.environ["RAY_AUTH_TOKEN"], ray.get_runtime_context().gcs_address
inodes = set()
for process in Path("/proc").glob("[0-9]*"):
    try:
        if process.name == str(os.getpid()) or secret.encode() in (process / "environ").read_bytes():
            inodes |= {os.readlink(file) for file in (process / "fd").iterdir()}
    except OSError:
        pass
for table in ("/proc/net/tcp", "/proc/net/tcp6"):
    for row in Path(table).read_text().splitlines()[1:]:
        cells = row.split()
        if cells[3] == "0A" and f"socket:[{cells[9]}]" in inodes:
            print("listens", cells[1].split(":")[0])
for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
    del os.environ[name]
os.environ["HOME"] = "/nonexistent"
stranger = "import ray; ray.init(address=%r, logging_level='ERROR'); print('inside')" % address
done = subprocess.run([sys.executable, "-c", stranger], capture_output=True, text=True)
print("stranger", "inside" in done.stdout, "authenticat" in (done.stdout + done.stderr).lower())
print("sum", first + sum(outcomes))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system has no /proc/net/tcp")
def test_a_local_cluster_is_closed_to_others(tmp_path):
    pytest.importorskip("ray")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    before = set(Path("/tmp").glob("lpt-ray-*"))
    script = tmp_path / "script.py"
    script.write_text(LISTENING)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    rows = [row.split() for row in done.stdout.splitlines()]
    listening = {row[1] for row in rows if row[0] == "listens"}
    assert listening, done.stderr
    assert listening <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert ["stranger", "False", "True"] in rows, done.stdout
    assert ["sum", "2"] in rows
    assert set(Path("/tmp").glob("lpt-ray-*")) <= before, "its folder is left"


def test_no_local_cluster_without_a_token(monkeypatch):
    """Ray reads the setting when it is imported."""
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **given: pytest.fail("a cluster was started"))
    with pytest.raises(OptionError, match="RAY_AUTH_MODE=token"):
        list(Cluster().map(double, [1], on_lost=lost))
