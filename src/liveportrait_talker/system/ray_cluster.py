"""Jobs over a Ray cluster: the same workers as in one process, with back-pressure, and lost workers replaced.

A runner maps a worker (anything that can be pickled and called with a job) over jobs. Jobs write their own files, whole
or not at all, and the journal is written by the caller alone, so that a job may be done twice without harm.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, cast

from ..errors import OptionError

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

LOCAL = "local"
_CLIENT = "ray://"
_KNOCKS_S = 5.0


@dataclass(frozen=True)
class Cluster:
    """Where jobs run. Raises OptionError for numbers that make no sense, or where Ray is not installed."""

    address: str = LOCAL
    """`local` (a cluster on this machine, for the length of the run), `auto` or ray://HOST:PORT."""
    workers: int = 2
    """Workers that are kept busy, each with its own networks."""
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    """A share of a GPU: 0.25 lets four workers have one."""
    tries: int = 3
    """How often a job is tried whose worker dies."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--cluster-workers", self.workers, 1, 100_000),
            ("--cpus-per-worker", self.cpus_per_worker, 0.0, 1024.0),
            ("--gpus-per-worker", self.gpus_per_worker, 0.0, 64.0),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name} {value:g} is out of range: give {low:g} … {high:g}.")
        if importlib.util.find_spec("ray") is None:
            raise OptionError("--cluster needs Ray: pip install 'liveportrait-talker[cluster]' brings it.")

    def map(
        self, worker: Callable[[Job], Outcome], jobs: Iterable[Job], *, lost: Callable[[Job, str], Outcome]
    ) -> Iterator[Outcome]:
        """The outcomes of `worker` over `jobs`, as they come.

        Each worker has one job in hand: were there more, one that kills its worker would take the others along. A job
        whose worker dies is given to a new one; after `tries` of them its outcome is `lost(job, reason)`. What the
        worker itself raises is raised here.

        Raises:
            OptionError: the cluster cannot be reached, or has no room for one worker.
        """
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        ours = not ray.is_initialized()
        if ours:
            self._connect(ray)
        try:
            needs = {"num_cpus": self.cpus_per_worker, "num_gpus": self.gpus_per_worker}
            remote: Any = cast("Any", ray.remote)(**needs)(_Worker)
            actors = [remote.remote(worker) for _ in range(self._room(cast("Any", ray.cluster_resources)()))]
            left = iter(jobs)
            waiting: dict[Any, tuple[Job, int, int]] = {}  # call → job, actor, try

            def give(job: Job, actor: int, attempt: int) -> None:
                waiting[actors[actor].do.remote(job)] = (job, actor, attempt)

            for number, job in enumerate(islice(left, len(actors))):
                give(job, number, 1)
            while waiting:
                (ready,), _ = ray.wait(list(waiting), num_returns=1)
                job, actor, attempt = waiting.pop(ready)
                try:
                    outcome = ray.get(ready)
                except RayTaskError as error:
                    raise error.as_instanceof_cause() from error  # type: ignore[no-untyped-call]
                except RayActorError as error:
                    if error.actor_init_failed:  # it never lived: another would not either
                        raise OptionError(f"the cluster's workers cannot start ({_last_line(error)}).") from error
                    log.warning("a worker died (%s); its job is tried again.", type(error).__name__)
                    actors[actor] = remote.remote(worker)
                    if attempt < self.tries:
                        give(job, actor, attempt + 1)
                        continue
                    outcome = lost(job, f"its worker died {attempt} times")
                yield outcome
                for following in islice(left, 1):
                    give(following, actor, 1)
        finally:
            if ours:
                ray.shutdown()

    def _room(self, resources: dict[str, float]) -> int:
        """How many workers the cluster holds, `workers` at most: one that is never placed would wait for ever."""
        rooms = [float(self.workers)]
        for kind, each in (("CPU", self.cpus_per_worker), ("GPU", self.gpus_per_worker)):
            if each:
                rooms.append(resources.get(kind, 0.0) // each)
                if rooms[-1] < 1:
                    raise OptionError(
                        f"the Ray cluster {self.address} has {resources.get(kind, 0.0):g} {kind}s, and a worker needs "
                        f"{each:g}: give less to each."
                    )
        if min(rooms) < self.workers:
            log.warning("the cluster holds %d of the %d workers asked for.", min(rooms), self.workers)
        return int(min(rooms))

    def _connect(self, ray: Any) -> None:
        where: dict[str, Any] = {"address": self.address}
        if self.address == LOCAL:
            # Here the workers share the machine, whatever they are said to need.
            where |= {"num_cpus": max(1, round(self.workers * self.cpus_per_worker + 0.5)), "include_dashboard": False}
        elif self.address.startswith(_CLIENT):
            self._knock()
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise OptionError(f"the Ray cluster {self.address} cannot be reached ({error}).") from error

    def _knock(self) -> None:
        """Raise OptionError where nobody answers: Ray itself would wait for long, and be of no use afterwards."""
        host, _, port = self.address.removeprefix(_CLIENT).rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCKS_S).close()
        except (OSError, ValueError) as error:
            raise OptionError(f"the Ray cluster {self.address} cannot be reached ({error}).") from error


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """The flags that `cluster_of` reads."""
    group = parser.add_argument_group("cluster (Ray; the data set's folder must be the same on all machines)")
    group.add_argument("--cluster", metavar="ADDRESS", help=f"{LOCAL}, auto or ray://HOST:PORT; one process without")
    group.add_argument("--cluster-workers", type=int, default=2, metavar="N", help="workers kept busy (default 2)")
    group.add_argument(
        "--cpus-per-worker", type=float, default=1.0, metavar="N", help="processors that each needs (default 1)"
    )
    group.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="SHARE", help="GPUs that each needs, such as 0.25"
    )


def cluster_of(arguments: argparse.Namespace) -> Cluster | None:
    """The cluster that was asked for, if any."""
    if arguments.cluster is None:
        return None
    return Cluster(
        address=arguments.cluster,
        workers=arguments.cluster_workers,
        cpus_per_worker=arguments.cpus_per_worker,
        gpus_per_worker=arguments.gpus_per_worker,
    )


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()


class _Worker:
    """What lives on the cluster: it keeps what its worker has loaded."""

    def __init__(self, worker: Callable[[Any], Any]) -> None:
        self._worker = worker

    def do(self, job: Any) -> Any:
        return self._worker(job)
