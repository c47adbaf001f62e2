"""One heavy job at a time: the others wait and know their place; every job can be stopped within a second."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TalkerError
from .worker import Order, Work, Worker

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
_log = logging.getLogger(__name__)
_GRACE_S = 0.4  # how long a job may take to stop by itself
_LOOKS_EVERY_S = 0.05


@dataclass(eq=False)
class Ticket:
    """A job that was handed in. `ahead` counts the jobs that come before it."""

    owner: str
    order: Order
    state: str = WAITING
    ahead: int = 0
    stage: str = ""
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    stop_asked: bool = False
    stage_began: float = 0.0

    @property
    def ended(self) -> bool:
        """Is it over, for better or worse?"""
        return self.state in (DONE, FAILED, STOPPED)

    @property
    def seconds_left(self) -> float | None:
        """Of this stage, as far as it can be told."""
        spent = time.monotonic() - self.stage_began
        if self.state != RUNNING or self.done < 3 or spent < 1:
            return None
        return spent / self.done * (self.total - self.done)


@dataclass(eq=False)
class Intent:
    """A job whose files are still being put together: it can be stopped before it is handed in."""

    owner: str
    kind: str
    stop_asked: bool = False
    ticket: Ticket | None = None
    """Once it is handed in."""


class Jobs:
    """The queue and the one worker behind it.

    Args:
        folder: where each job gets a folder of its own, removed when the job's ticket is released.
        work: what the worker does.
        max_waiting: how many may wait.
    """

    def __init__(self, folder: Path, work: Work, *, max_waiting: int = 8) -> None:
        self._folder, self._work, self._max_waiting = folder, work, max_waiting
        self._waiting: deque[Ticket] = deque()
        self._intents: set[Intent] = set()
        self._running: Ticket | None = None
        self._worker: Worker | None = None
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="lpt-jobs", daemon=True)
        self._thread.start()

    def new_folder(self) -> Path:
        """A private folder for a job's files."""
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def intend(self, owner: str, kind: str) -> Intent:
        """A job is coming: whoever stops the session's jobs stops this one, too."""
        intent = Intent(owner, kind)
        with self._change:
            self._intents.add(intent)
        return intent

    def call_off(self, intent: Intent) -> None:
        """Nobody waits for it any more, wherever it is by now."""
        with self._change:
            intent.stop_asked = True
            self._intents.discard(intent)
            if intent.ticket is not None:
                self.abandon(intent.ticket)

    def abandon(self, ticket: Ticket) -> None:
        """Nobody takes what this job makes: stop it, or remove what it made."""
        with self._change:
            if ticket.ended:
                shutil.rmtree(ticket.order.folder, ignore_errors=True)
            self.stop(ticket)

    def submit(self, order: Order, owner: str, intent: Intent | None = None) -> Ticket:
        """Hand in a job; one that was stopped meanwhile is over at once. Raises TalkerError where too many wait."""
        ticket = Ticket(owner, order)
        with self._change:
            if intent is not None:
                self._intents.discard(intent)
                intent.ticket = ticket
            if self._closed or (intent is not None and intent.stop_asked):
                self._finish(ticket, STOPPED)
                return ticket
            if len(self._waiting) >= self._max_waiting:
                shutil.rmtree(order.folder, ignore_errors=True)
                raise TalkerError(f"{len(self._waiting)} jobs are waiting already: try again in a while.")
            self._waiting.append(ticket)
            self._count_ahead()
            self._change.notify_all()
        return ticket

    def stop(self, ticket: Ticket) -> None:
        """Stop a job, or take it out of the queue; returns at once."""
        with self._change:
            ticket.stop_asked = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._finish(ticket, STOPPED)
            self._count_ahead()

    def stop_all(self, owner: str, kind: str = "") -> None:
        """Stop every job of a session, or those of one kind."""
        with self._change:
            mine = [t for t in (*self._waiting, self._running) if t and t.owner == owner]
            for intent in self._intents:
                if intent.owner == owner and kind in ("", intent.kind):
                    intent.stop_asked = True
        for ticket in mine:
            if kind in ("", ticket.order.kind):
                self.stop(ticket)

    def warm(self) -> None:
        """Have the worker ready before it is needed."""
        with self._change:
            if self._running is None and not self._closed:
                self._ready_worker()

    def worker_pid(self) -> int | None:
        """The worker's process number; None where there is none."""
        worker = self._worker
        return worker.pid if worker is not None and worker.is_alive() else None

    def close(self) -> None:
        """Stop everything and end the worker."""
        with self._change:
            self._closed = True
            for ticket in self._waiting:
                self._finish(ticket, STOPPED)
            self._waiting.clear()
            if self._running is not None:
                self._running.stop_asked = True
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
                ticket = self._running = self._waiting.popleft()
                ticket.state, ticket.stage, ticket.stage_began = RUNNING, "starting", time.monotonic()
                ticket.ahead = 0
                self._count_ahead()
            try:
                with self._change:
                    worker = self._ready_worker()
                self._watch(ticket, worker)
            except Exception as error:  # whatever happens, the next job gets its turn
                _log.exception("a job could not be run")
                ticket.error = f"something went wrong that should not have ({type(error).__name__}: {error})."
                self._finish(ticket, FAILED)
            finally:
                with self._change:
                    self._running = None
                    self._count_ahead()

    def _ready_worker(self) -> Worker:
        if self._worker is None or not self._worker.is_alive():
            self._worker = Worker(self._work)
        return self._worker

    def _watch(self, ticket: Ticket, worker: Worker) -> None:
        """Run one job to its end."""
        asked = 0.0
        try:
            worker.start(ticket.order)
            while not ticket.ended:
                if ticket.stop_asked and not asked:
                    worker.ask_to_stop()
                    asked = time.monotonic()
                if asked and time.monotonic() - asked > _GRACE_S:
                    worker.kill()
                    self._worker = None
                    self._finish(ticket, STOPPED)
                elif worker.messages.poll(_LOOKS_EVERY_S):
                    news = worker.messages.recv()
                    with self._change:  # whoever abandons it sees it done or has it stopped
                        self._hear(ticket, *news)
        except (EOFError, OSError):
            worker.kill()
            self._worker = None
            ticket.error = "the work broke off: the computer may have run out of memory; try a smaller picture."
            self._finish(ticket, STOPPED if ticket.stop_asked else FAILED)

    def _hear(self, ticket: Ticket, what: str, news: Any) -> None:
        if what == "progress":
            stage, ticket.done, ticket.total = news
            if stage != ticket.stage:
                ticket.stage, ticket.stage_began = stage, time.monotonic()
        elif what == "note":
            ticket.notes.append(news)
        elif what == "stopped" or (what == "done" and ticket.stop_asked):
            self._finish(ticket, STOPPED)
        elif what == "done":
            ticket.result = news
            self._finish(ticket, DONE)
        else:
            ticket.error = news
            self._finish(ticket, FAILED)

    def _finish(self, ticket: Ticket, state: str) -> None:
        if state != DONE:  # else its owner takes what was made
            shutil.rmtree(ticket.order.folder, ignore_errors=True)
        ticket.ahead, ticket.state = 0, state

    def _count_ahead(self) -> None:
        for ahead, ticket in enumerate(self._waiting, start=0 if self._running is None else 1):
            ticket.ahead = ahead
