"""Inspections of uploads in child processes with limits of memory and time: the server itself decodes no media."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MediaError
from ..pipelines.media_check import DESCRIBE_TEMPLATE, INSPECT_FOOTAGE, INSPECT_VOICE, INSPECTIONS, NUMBER_FACES
from ..system.limited_process import FileCall, LimitedProcess

_AT_ONCE = 6
_MAX_WAITING = 16  # each takes a thread of the server
_MAX_WAIT_S = 60.0
_PREEMPT_AFTER_S, _LONG_S = 1.0, 3.0  # who waits for the former ends an inspection that has lasted the latter
_POLL_S = 0.25
_FACES_CPU_S = 60.0  # to find the faces of a video


@dataclass(eq=False)
class _Running:
    """A running inspection."""

    process: LimitedProcess
    began: float = field(default_factory=time.monotonic)
    was_preempted: bool = False
    """It was ended so that a waiting one could run."""


class Inspections:
    """Child processes that open files, one for each file; at most one at a time for each session.

    Where all places are taken, an inspection that takes long is ended for one that waits: a program can have any number
    of sessions. One child waits ready: starting it takes longer than opening most files.
    """

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        """Owner → its inspection."""
        self._waiting = 0
        self._spare: LimitedProcess | None = None
        self._change = threading.Condition()
        self._closed = False

    def footage(self, path: Path, owner: str, *, max_pixels: int, max_seconds: float, poster: Path, side: int) -> Any:
        """Return what `media.inspection.inspect_footage` does, and write the poster. Raises MediaError."""
        return self._run(FileCall(INSPECT_FOOTAGE, path, (max_pixels, max_seconds, str(poster), side)), owner)

    def faces(
        self, path: Path, owner: str, *, max_pixels: int, max_seconds: float, first_seconds: float, picture: Path
    ) -> Any:
        """Return what `pipelines.faces.number_faces` does, and write the picture. Raises TalkerError."""
        limits = (max_pixels / 1e6, max_seconds, first_seconds, str(picture))
        return self._run(FileCall(NUMBER_FACES, path, limits, _FACES_CPU_S), owner)

    def voice(self, path: Path, owner: str, *, max_seconds: float, sound: Path, sound_seconds: float) -> float:
        """Return the duration of a voice in seconds, and write its start to a WAV file. Raises MediaError."""
        return float(self._run(FileCall(INSPECT_VOICE, path, (max_seconds, str(sound), sound_seconds)), owner))

    def template(self, path: Path, owner: str, *, max_seconds: float) -> str:
        """Return a description of a motion template. Raises MediaError."""
        return str(self._run(FileCall(DESCRIBE_TEMPLATE, path, (max_seconds,)), owner))

    def prepare(self) -> None:
        """Start the process that waits ready."""
        with self._change:
            if self._spare is None and not self._closed:
                self._spare = LimitedProcess(INSPECTIONS)

    def stop(self, owner: str) -> None:
        """End the inspection of a session that was closed."""
        with self._change:
            if owner in self._running:
                self._running[owner].process.stop()

    def close(self) -> None:
        """End all processes."""
        with self._change:
            self._closed, spare, self._spare = True, self._spare, None
            for running in self._running.values():
                running.process.stop()
            self._change.notify_all()
        if spare is not None:
            spare.close()

    def _run(self, call: FileCall, owner: str) -> Any:
        with self._change:
            self._wait_for_turn(owner)
            process, self._spare = self._spare or LimitedProcess(INSPECTIONS), None
            mine = self._running[owner] = _Running(process)
        try:
            with process:
                process.start([call])
                self.prepare()
                return process.results()[0]
        except MediaError as error:
            if mine.was_preempted:
                raise _busy_error() from error
            raise
        finally:
            with self._change:
                del self._running[owner]
                self._change.notify_all()

    def _wait_for_turn(self, owner: str) -> None:
        """Wait for a free place, with the lock held. Raises MediaError."""
        began = time.monotonic()
        if self._waiting >= _MAX_WAITING:
            raise _busy_error()
        self._waiting += 1
        try:
            while owner in self._running or len(self._running) >= _AT_ONCE:
                waited = time.monotonic() - began
                if waited > _MAX_WAIT_S or self._closed:
                    raise _busy_error()
                if waited > _PREEMPT_AFTER_S and owner not in self._running:
                    self._preempt_longest()
                self._change.wait(_POLL_S)
        finally:
            self._waiting -= 1

    def _preempt_longest(self) -> None:
        """End the inspection that has run for longest, if that was long enough for an honest file."""
        longest = min(self._running.values(), key=lambda running: running.began)
        if time.monotonic() - longest.began > _LONG_S and not any(
            each.was_preempted for each in self._running.values()
        ):
            longest.was_preempted = True
            longest.process.stop()


def _busy_error() -> MediaError:
    return MediaError("the server is busy reading other files: choose this one again in a while")
