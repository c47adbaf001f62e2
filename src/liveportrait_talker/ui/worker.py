"""The worker process, which runs one task at a time.

A separate process can be killed at any point, its crash (out of memory, a faulty driver) leaves the server alive, and
its networks stay loaded from task to task.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..errors import TalkerError
from ..progress import OnProgress, ignore_progress

_PROGRESS_INTERVAL_S = 0.05
_NICE = 5  # the server's requests come first
_log = logging.getLogger("liveportrait_talker")


@dataclass(frozen=True)
class Task:
    """The input of the worker: a kind (`talk`, `animate`, …), a private folder for files, and arguments."""

    kind: str
    folder: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)


RunTask = Callable[[Task, OnProgress], Mapping[str, Any]]
"""Runs a task and returns plain values; raises TalkerError for errors that the user can correct."""


class Stopped(BaseException):
    """Raised in a task that was asked to stop. A BaseException, so that no `except Exception` swallows it."""


class Worker:
    """A child process that waits for tasks; `messages` receives (type, content) pairs, see `_run`."""

    def __init__(self, run_task: RunTask) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process that has threads is unsafe
        self.messages, child_end = context.Pipe()
        self._stop = context.Event()
        arguments = (child_end, self._stop, run_task)
        self._process = context.Process(target=_serve, args=arguments, daemon=True, name="lpt-worker")
        self._process.start()
        child_end.close()

    @property
    def pid(self) -> int:
        """Process ID."""
        return self._process.pid or 0

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.is_alive()

    def start(self, task: Task) -> None:
        """Send a task. Raises OSError if the process has ended."""
        self._stop.clear()
        self.messages.send(task)

    def request_stop(self) -> None:
        """Stop the task at its next progress report; the worker then sends `stopped`."""
        self._stop.set()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self.messages.close()


def _serve(messages: Connection, stop: Any, run_task: RunTask) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C and ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(OSError):
        os.nice(_NICE)
    _log.handlers, _log.propagate = [_NotesHandler(messages)], False
    _log.setLevel(logging.INFO)
    with suppress(Exception):  # the first task reports the error
        run_task(Task("warm up", Path()), ignore_progress)
    while True:
        try:
            task = messages.recv()
        except (EOFError, OSError):  # the server has ended
            return
        try:
            messages.send(_run(task, messages, stop, run_task))
        except OSError:
            return


def _run(task: Task, messages: Connection, stop: Any, run_task: RunTask) -> tuple[str, Any]:
    """Run a task. Returns (`done`, result), (`stopped`, None) or (`failed`, error message).

    Meanwhile (`progress`, (stage, done, total)) and (`note`, log message) are sent to `messages`.
    """
    last_stage, last_time = "", 0.0

    def report_progress(stage: str, done: int, total: int) -> None:
        nonlocal last_stage, last_time
        if stop.is_set():
            raise Stopped
        now = time.monotonic()
        if stage != last_stage or done >= total or now - last_time > _PROGRESS_INTERVAL_S:
            last_stage, last_time = stage, now
            messages.send(("progress", (stage, done, total)))

    try:
        return "done", dict(run_task(task, report_progress))
    except Stopped:
        return "stopped", None
    except TalkerError as error:
        return "failed", str(error)
    except MemoryError:
        return "failed", "the computer ran out of memory: try a smaller picture or a shorter voice."
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return "failed", internal_error(error)


def internal_error(error: Exception) -> str:
    """Return the message for an exception that is a defect of this software."""
    return f"internal error ({type(error).__name__}: {error})."


class _NotesHandler(logging.Handler):
    """Forwards the library's log messages to the page."""

    def __init__(self, messages: Connection) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._messages.send(("note", record.getMessage()))
