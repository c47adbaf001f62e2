"""The process that does the heavy jobs, one at a time.

It is a process of its own so that a job stops at once, whatever it is doing, and so that a crash in it (no memory, a
broken driver) leaves the page alive. It keeps its networks loaded from job to job.
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

_TELLS_EVERY_S = 0.05
_NICE = 5  # the page is answered first
_log = logging.getLogger("liveportrait_talker")


@dataclass(frozen=True)
class Order:
    """A job: what to do (`talk`, `animate`, …) with what, and the private folder to do it in."""

    kind: str
    folder: Path
    details: Mapping[str, Any] = field(default_factory=dict)


Work = Callable[[Order, OnProgress], Mapping[str, Any]]
"""Does a job and gives plain values; raises TalkerError for what the user can mend."""


class Stopped(BaseException):
    """The job was asked to stop. Not an Exception: nothing on the way may swallow it."""


class Worker:
    """A child process that waits for orders."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process that has threads is unsafe
        self.messages, theirs = context.Pipe()
        self._stop = context.Event()
        self._process = context.Process(target=_serve, args=(theirs, self._stop, work), daemon=True, name="lpt-worker")
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid or 0

    def is_alive(self) -> bool:
        """Can it take an order?"""
        return self._process.is_alive()

    def start(self, order: Order) -> None:
        """Begin a job. Raises OSError where the process is gone."""
        self._stop.clear()
        self.messages.send(order)

    def ask_to_stop(self) -> None:
        """The job ends at its next sign of progress, and says so."""
        self._stop.set()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self.messages.close()


def _serve(messages: Connection, stop: Any, work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; it ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(OSError):
        os.nice(_NICE)
    _log.handlers, _log.propagate = [_Notes(messages)], False
    _log.setLevel(logging.INFO)
    with suppress(Exception):  # what is wrong shows in the first job, in a sentence
        work(Order("warm", Path()), ignore_progress)
    while True:
        try:
            order = messages.recv()
        except (EOFError, OSError):  # the server is gone
            return
        try:
            messages.send(_outcome(order, messages, stop, work))
        except OSError:
            return


def _outcome(order: Order, messages: Connection, stop: Any, work: Work) -> tuple[str, Any]:
    """(`done`, result), (`stopped`, None), (`mistake`, sentence) or (`failure`, sentence)."""
    told = ("", 0.0)

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal told
        if stop.is_set():
            raise Stopped
        now = time.monotonic()
        if stage != told[0] or done >= total or now - told[1] > _TELLS_EVERY_S:
            told = (stage, now)
            messages.send(("progress", (stage, done, total)))

    try:
        return "done", dict(work(order, tell))
    except Stopped:
        return "stopped", None
    except TalkerError as error:
        return "mistake", str(error)
    except MemoryError:
        return "failure", "the computer ran out of memory: try a smaller picture or a shorter voice."
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return "failure", f"something went wrong that should not have ({type(error).__name__}: {error})."


class _Notes(logging.Handler):
    """The library's notes, for the page."""

    def __init__(self, messages: Connection) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._messages.send(("note", record.getMessage()))
