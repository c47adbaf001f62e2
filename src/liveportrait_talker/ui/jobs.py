"""The job queue: one job runs at a time, the others wait; every job can be stopped within a second."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from ..errors import TalkerError
from .worker import RunTask, Task, Worker, internal_error

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
_log = logging.getLogger(__name__)
_GRACE_S = 0.4  # time for a job to stop by itself before the worker is killed
_POLL_S = 0.05


@dataclass(eq=False)
class Job:
    """A submitted task and its state. `ahead` is the number of jobs that run before it."""

    owner: str
    task: Task
    state: str = WAITING
    ahead: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    stop_requested: bool = False
    stage_start: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether the job is done, failed or stopped."""
        return self.state in (DONE, FAILED, STOPPED)

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the end of the stage, in seconds; None if unknown."""
        spent = time.monotonic() - self.stage_start
        if self.state != RUNNING or self.done < 3 or spent < 1:
            return None
        return spent / self.done * (self.total - self.done)


@dataclass(eq=False)
class PendingJob:
    """A job whose files are still being prepared; it can be stopped before it is submitted."""

    owner: str
    kind: str
    stop_requested: bool = False
    job: Job | None = None
    """Set on submission."""


class Jobs:
    """A queue of jobs and the worker process that runs them.

    Args:
        folder: parent of the jobs' folders.
        run_task: function that the worker runs for each task.
        max_waiting: largest number of waiting jobs.
        max_seconds: time after which a running job is ended.
    """

    def __init__(self, folder: Path, run_task: RunTask, *, max_waiting: int = 8, max_seconds: float = 3600.0) -> None:
        self._folder, self._run_task = folder, run_task
        self._max_waiting, self._max_seconds = max_waiting, max_seconds
        self._waiting: deque[Job] = deque()
        self._pending: set[PendingJob] = set()
        self._running: Job | None = None
        self._worker: Worker | None = None
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="lpt-jobs", daemon=True)
        self._thread.start()

    def new_folder(self) -> Path:
        """Create a private folder for a job's files."""
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def announce(self, owner: str, kind: str) -> PendingJob:
        """Register a job that is being prepared, so that `stop_all` can stop it."""
        pending = PendingJob(owner, kind)
        with self._change:
            self._pending.add(pending)
        return pending

    def cancel(self, pending: PendingJob) -> None:
        """Cancel a job that may not have been submitted yet."""
        with self._change:
            pending.stop_requested = True
            self._pending.discard(pending)
            if pending.job is not None:
                self.discard(pending.job)

    def discard(self, job: Job) -> None:
        """Stop a job, or remove its files if it has ended."""
        with self._change:
            if job.ended:
                shutil.rmtree(job.task.folder, ignore_errors=True)
            self.stop(job)

    def submit(self, task: Task, owner: str, pending: PendingJob | None = None) -> Job:
        """Queue a task; if `pending` has been stopped meanwhile, the job is stopped at once.

        Raises:
            TalkerError: the queue is full.
        """
        job = Job(owner, task)
        with self._change:
            if pending is not None:
                self._pending.discard(pending)
                pending.job = job
            if self._closed or (pending is not None and pending.stop_requested):
                self._finish(job, STOPPED)
                return job
            if len(self._waiting) >= self._max_waiting:
                shutil.rmtree(task.folder, ignore_errors=True)
                raise TalkerError(f"{len(self._waiting)} jobs are waiting already: try again in a while.")
            self._waiting.append(job)
            self._count_ahead()
            self._change.notify_all()
        return job

    def stop(self, job: Job) -> None:
        """Stop a job, or take it out of the queue; returns at once."""
        with self._change:
            job.stop_requested = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._finish(job, STOPPED)
            self._count_ahead()

    def stop_all(self, owner: str, kind: str = "") -> None:
        """Stop every job of an owner, or those of one kind."""
        with self._change:
            for pending in self._pending:
                if pending.owner == owner and kind in ("", pending.kind):
                    pending.stop_requested = True
            for job in (*self._waiting, self._running):
                if job is not None and job.owner == owner and kind in ("", job.task.kind):
                    self.stop(job)

    def start_worker(self) -> None:
        """Start the worker process before the first job needs it."""
        with self._change:
            if self._running is None and not self._closed:
                self._live_worker()

    def worker_pid(self) -> int | None:
        """Return the worker's process ID, or None if there is no worker."""
        worker = self._worker
        return worker.pid if worker is not None and worker.is_alive() else None

    def close(self) -> None:
        """Stop all jobs and end the worker."""
        with self._change:
            self._closed = True
            for job in self._waiting:
                self._finish(job, STOPPED)
            self._waiting.clear()
            if self._running is not None:
                self._running.stop_requested = True
            self._change.notify_all()
        self._thread.join(timeout=5)
        if self._worker is not None:
            self._worker.kill()

    def _serve(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
                job = self._running = self._waiting.popleft()
                job.state, job.stage, job.stage_start = RUNNING, "starting", time.monotonic()
                job.ahead = 0
                self._count_ahead()
            try:
                with self._change:
                    worker = self._live_worker()
                self._supervise(job, worker)
            except Exception as error:  # the queue must go on
                _log.exception("a job could not be run")
                job.error = internal_error(error)
                self._finish(job, FAILED)
            finally:
                with self._change:
                    self._running = None
                    self._count_ahead()

    def _live_worker(self) -> Worker:
        if self._worker is None or not self._worker.is_alive():
            self._worker = Worker(self._run_task)
        return self._worker

    def _supervise(self, job: Job, worker: Worker) -> None:
        """Run a job to its end."""
        stop_time = 0.0
        end = time.monotonic() + (inf if job.task.kind == "models" else self._max_seconds)  # downloads may be slow
        try:
            worker.start(job.task)
            while not job.ended:
                if time.monotonic() > end and not job.stop_requested:
                    self._end_worker(worker)
                    job.error = (
                        f"the job took longer than {self._max_seconds / 60:g} minutes, the limit of this server."
                    )
                    self._finish(job, FAILED)
                    break
                if job.stop_requested and not stop_time:
                    worker.request_stop()
                    stop_time = time.monotonic()
                if stop_time and time.monotonic() - stop_time > _GRACE_S:
                    self._end_worker(worker)
                    self._finish(job, STOPPED)
                elif worker.messages.poll(_POLL_S):
                    message = worker.messages.recv()
                    with self._change:  # so that `discard` cannot miss the change of state
                        self._handle(job, *message)
        except (EOFError, OSError):
            self._end_worker(worker)
            job.error = "the worker process ended: the computer may have run out of memory; try a smaller picture."
            self._finish(job, STOPPED if job.stop_requested else FAILED)

    def _end_worker(self, worker: Worker) -> None:
        worker.kill()
        self._worker = None

    def _handle(self, job: Job, kind: str, content: Any) -> None:
        """Apply a message of the worker."""
        if kind == "progress":
            stage, job.done, job.total = content
            if stage != job.stage:
                job.stage, job.stage_start = stage, time.monotonic()
        elif kind == "note":
            job.notes.append(content)
        elif kind == "stopped" or (kind == "done" and job.stop_requested):
            self._finish(job, STOPPED)
        elif kind == "done":
            job.result = content
            self._finish(job, DONE)
        else:
            job.error = content
            self._finish(job, FAILED)

    def _finish(self, job: Job, state: str) -> None:
        if state != DONE:  # the files of a finished job are published first
            shutil.rmtree(job.task.folder, ignore_errors=True)
        job.ahead, job.state = 0, state

    def _count_ahead(self) -> None:
        for ahead, job in enumerate(self._waiting, start=0 if self._running is None else 1):
            job.ahead = ahead
