"""Inspections of uploads in child processes with limits of memory and time: the server itself decodes no media."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ..errors import MediaError
from ..pipelines.media_check import INSPECT_FOOTAGE, INSPECT_VOICE, INSPECTIONS
from ..system.limited_process import FileCall, LimitedProcess

_AT_ONCE = 6
_PATIENCE_S = 60.0
_DESCRIBE_TEMPLATE = "liveportrait_talker.pipelines.driving_clip:describe_template"


class Inspections:
    """Child processes that open files, one for each file; at most one at a time for each session.

    One child waits ready: starting it takes longer than opening most files.
    """

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._running: dict[str, LimitedProcess | None] = {}
        """Owner → its inspection; None while it waits for its turn."""
        self._spare: LimitedProcess | None = None
        self._change = threading.Condition()
        self._closed = False

    def footage(self, path: Path, owner: str, *, max_pixels: int, max_seconds: float, poster: Path, side: int) -> Any:
        """Return the values of a `media.inspection.FootageSummary`, and write the poster. Raises MediaError."""
        return self._run(FileCall(INSPECT_FOOTAGE, path, (max_pixels, max_seconds, str(poster), side)), owner)

    def voice(self, path: Path, owner: str, *, max_seconds: float) -> float:
        """Return the duration of a voice in seconds. Raises MediaError."""
        return float(self._run(FileCall(INSPECT_VOICE, path, (max_seconds,)), owner))

    def template(self, path: Path, owner: str, *, max_seconds: float) -> str:
        """Return a description of a motion template. Raises MediaError."""
        return str(self._run(FileCall(_DESCRIBE_TEMPLATE, path, (max_seconds,)), owner))

    def prepare(self) -> None:
        """Start the process that waits ready."""
        with self._change:
            if self._spare is None and not self._closed:
                self._spare = LimitedProcess(INSPECTIONS)

    def stop(self, owner: str) -> None:
        """End the inspection of a session that was closed."""
        with self._change:
            process = self._running.get(owner)
        if process is not None:
            process.stop()

    def close(self) -> None:
        """End all processes."""
        with self._change:
            self._closed, spare, self._spare = True, self._spare, None
            running = [process for process in self._running.values() if process is not None]
        if spare is not None:
            spare.close()
        for process in running:
            process.stop()

    def _run(self, call: FileCall, owner: str) -> Any:
        with self._change:
            if not self._change.wait_for(lambda: owner not in self._running, _PATIENCE_S):
                raise MediaError("another file of this page is still being read: choose this one again in a while")
            self._running[owner] = None
        try:
            if not self._slots.acquire(timeout=_PATIENCE_S):
                raise MediaError("the server is busy reading other files: choose this one again in a while")
            try:
                with self._take(owner) as process:
                    process.start([call])
                    self.prepare()
                    return process.results()[0]
            finally:
                self._slots.release()
        finally:
            with self._change:
                del self._running[owner]
                self._change.notify_all()

    def _take(self, owner: str) -> LimitedProcess:
        with self._change:
            process, self._spare = self._spare or LimitedProcess(INSPECTIONS), None
            self._running[owner] = process
            return process
