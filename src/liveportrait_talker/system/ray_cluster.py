"""Mapping a worker over jobs on a Ray cluster, with back-pressure and replacement of workers that die.

A worker is any picklable callable that takes a job. Jobs write their files atomically and only the caller writes the
journal, so a job may safely run twice.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import ipaddress
import logging
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import OptionError
from .temporary_folders import TemporaryFolder

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

LOCAL = "local"
_CLIENT = "ray://"
_CONNECT_TIMEOUT_S = 5.0
_FIRST_WITH_TOKENS = (2, 52)


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster to run jobs on. Raises OptionError for numbers out of range, or where Ray is not installed."""

    address: str = LOCAL
    """`local` (started on this machine for this run), `auto` or ray://HOST:PORT."""
    workers: int = 2
    """Number of worker processes, each with its own networks."""
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    """May be a fraction: with 0.25, four workers share a GPU."""
    attempts: int = 3
    """Attempts at a job whose worker dies."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--cluster-workers", self.workers, 1, 100_000),
            ("--cpus-per-worker", self.cpus_per_worker, 0.0, 1024.0),
            ("--gpus-per-worker", self.gpus_per_worker, 0.0, 64.0),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name} {value:g} is out of range: give {low:g} … {high:g}.")
        if importlib.util.find_spec("ray") is None:
            raise OptionError("--cluster needs Ray: pip install 'liveportrait-talker[cluster]'.")

    def map(
        self, worker: Callable[[Job], Outcome], jobs: Iterable[Job], *, on_lost: Callable[[Job, str], Outcome]
    ) -> Iterator[Outcome]:
        """Yield the outcomes of `worker` over `jobs`, in order of completion.

        Each worker has one job at a time, so that a job that kills its worker affects no other. A job whose worker dies
        is given to a new one; after `attempts` of them its outcome is `on_lost(job, reason)`. Exceptions of the worker
        propagate.

        Raises:
            OptionError: the cluster cannot be reached, or has not the resources for one worker.
        """
        if self.address == LOCAL:
            _protect_local_cluster()
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        with contextlib.ExitStack() as resources:
            if not ray.is_initialized():
                self._connect(ray, resources)
            needs = {"num_cpus": self.cpus_per_worker, "num_gpus": self.gpus_per_worker}
            remote: Any = cast("Any", ray.remote)(**needs)(_Worker)
            actors = [remote.remote(worker) for _ in range(self._worker_count(cast("Any", ray.cluster_resources)()))]
            remaining = iter(jobs)
            running: dict[Any, tuple[Job, int, int]] = {}  # call → job, actor, attempt

            def submit(job: Job, actor: int, attempt: int) -> None:
                running[actors[actor].run.remote(job)] = (job, actor, attempt)

            for number, job in enumerate(islice(remaining, len(actors))):
                submit(job, number, 1)
            while running:
                (ready,), _ = ray.wait(list(running), num_returns=1)
                job, actor, attempt = running.pop(ready)
                try:
                    outcome = ray.get(ready)
                except RayTaskError as error:
                    raise error.as_instanceof_cause() from error  # type: ignore[no-untyped-call]
                except RayActorError as error:
                    if error.actor_init_failed:  # a new one would fail too
                        raise OptionError(f"the cluster's workers cannot start ({_last_line(error)}).") from error
                    log.warning("a worker died (%s); its job is retried.", type(error).__name__)
                    actors[actor] = remote.remote(worker)
                    if attempt < self.attempts:
                        submit(job, actor, attempt + 1)
                        continue
                    outcome = on_lost(job, f"its worker died {attempt} times")
                yield outcome
                for following in islice(remaining, 1):
                    submit(following, actor, 1)

    def _worker_count(self, resources: dict[str, float]) -> int:
        """Return how many workers fit on the cluster, at most `workers`; Ray would wait for ever to place more."""
        limits = [float(self.workers)]
        for kind, each in (("CPU", self.cpus_per_worker), ("GPU", self.gpus_per_worker)):
            if each:
                limits.append(resources.get(kind, 0.0) // each)
                if limits[-1] < 1:
                    raise OptionError(
                        f"the Ray cluster {self.address} has {resources.get(kind, 0.0):g} {kind}s and a worker needs "
                        f"{each:g}: lower --{kind.lower()}s-per-worker."
                    )
        if min(limits) < self.workers:
            log.warning("the cluster has resources for %d of the %d workers.", min(limits), self.workers)
        return int(min(limits))

    def _connect(self, ray: Any, resources: contextlib.ExitStack) -> None:
        where: dict[str, Any] = {"address": self.address}
        if self.address == LOCAL:
            where |= {
                # Workers on one machine may share its CPUs, whatever resources they declare.
                "num_cpus": max(1, round(self.workers * self.cpus_per_worker + 0.5)),
                "include_dashboard": False,
                # By default /tmp/ray, which any user can make first, with folders that all can write.
                "_temp_dir": str(resources.enter_context(_short_private_folder())),
            }
        elif self.address.startswith(_CLIENT):
            self._check_reachable()
        resources.callback(ray.shutdown)
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise OptionError(f"the Ray cluster {self.address} cannot be reached ({error}).") from error
        if self.address == LOCAL:
            _check_loopback(ray)

    def _check_reachable(self) -> None:
        """Raise OptionError where the port does not answer: Ray's own attempt takes long and leaves it unusable."""
        host, _, port = self.address.removeprefix(_CLIENT).rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
        except (OSError, ValueError) as error:
            raise OptionError(f"the Ray cluster {self.address} cannot be reached ({error}).") from error


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `cluster_from` reads."""
    group = parser.add_argument_group("cluster (Ray; the output folder must be shared by all machines)")
    group.add_argument(
        "--cluster", metavar="ADDRESS", help=f"{LOCAL}, auto or ray://HOST:PORT (default: no cluster, one process)"
    )
    group.add_argument("--cluster-workers", type=int, default=2, metavar="N", help="worker processes (default 2)")
    group.add_argument("--cpus-per-worker", type=float, default=1.0, metavar="N", help="CPUs per worker (default 1)")
    group.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="SHARE", help="GPUs per worker, such as 0.25 (default 0)"
    )


def cluster_from(arguments: argparse.Namespace) -> Cluster | None:
    """Return the cluster that the arguments select, None without --cluster."""
    if arguments.cluster is None:
        return None
    return Cluster(
        address=arguments.cluster,
        workers=arguments.cluster_workers,
        cpus_per_worker=arguments.cpus_per_worker,
        gpus_per_worker=arguments.gpus_per_worker,
    )


def _protect_local_cluster() -> None:
    """Let a local cluster listen on the loopback address only, and accept only who knows a random token.

    Ray reads these settings when it is first imported.

    Raises:
        OptionError: the cluster would have no token: any program on this machine could run code in it.
    """
    version = importlib.metadata.version("ray")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _FIRST_WITH_TOKENS:
        raise OptionError(
            f"--cluster {LOCAL} needs Ray {'.'.join(map(str, _FIRST_WITH_TOKENS))} or newer, whose clusters other "
            f"programs cannot enter, and {version} is installed: pip install --upgrade 'liveportrait-talker[cluster]'."
        )
    if "ray" in sys.modules:
        if os.environ.get("RAY_AUTH_MODE") != "token" and not sys.modules["ray"].is_initialized():
            raise OptionError(
                f"--cluster {LOCAL} cannot protect its cluster, since this program has imported Ray already: set "
                "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to a secret before."
            )
    else:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on Linux, too, this means the loopback address
        os.environ["RAY_AUTH_MODE"] = "token"
        if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _short_private_folder() -> TemporaryFolder:
    """Return a folder whose name is short enough for Ray's sockets, of which paths may have 103 characters."""
    return TemporaryFolder("lpt-ray-", None if sys.platform == "win32" else Path("/tmp"))  # noqa: S108


def _check_loopback(ray: Any) -> None:
    """Raise OptionError where other machines can reach the local cluster."""
    addresses = sorted({node["NodeManagerAddress"] for node in ray.nodes()})
    if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise OptionError(
            f"the local Ray cluster would be open to other machines, at {', '.join(addresses)}: use another version of "
            "Ray, and do not import it before."
        )


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()


class _Worker:
    """The Ray actor: keeps the worker and the networks it has loaded."""

    def __init__(self, worker: Callable[[Any], Any]) -> None:
        self._worker = worker

    def run(self, job: Any) -> Any:
        return self._worker(job)
