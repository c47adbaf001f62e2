"""`bench --live`: sessions at real-time pace, sound in 20 ms chunks, as a microphone gives it."""

from __future__ import annotations

import resource
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from ...arrays import Floats32
from ...live.session import LiveSession
from ...media import open_footage
from ...options.live import LiveOptions
from ...pipelines.talk import DEFAULT_FPS, Talker
from ...progress import OnProgress
from .embedded import peak_memory_mb, synthetic_voice

_RATE = 16_000  # Hz
_CHUNK = 320  # samples: 20 ms
_AUDIBLE = np.float32(2e-4)  # added to the voice, so that each delivered sample of it can be counted

_CAMERA_IMAGES, _HELD_IMAGES = 125, 13  # 5 s, the face moves every 0.5 s
_CHANGE = 0.15  # mean difference of pixels, above the noise of landmarks


@dataclass(frozen=True)
class LiveTable:
    """Result of `bench_live`. Its text is a table. Times in milliseconds; of several sessions, the worst."""

    size: tuple[int, int]
    sessions: int
    seconds: float
    cold_ms: float
    """From `live` to the first frame, without imports, of the first session of this process."""
    warm_ms: float
    """The same of the last session."""
    delay_p50_ms: float
    delay_p95_ms: float
    """From `push` to the frame that has the first sample of the chunk."""
    frames_per_second: float
    interval_p99_ms: float
    cores: float
    """Processor time of all sessions over wall-clock time."""
    draw_ms: float
    """Processor time of a frame, with sound and motion."""
    skipped: int
    clear_ms: float
    """From `clear` to the last frame with sound of before."""
    camera_p95_ms: float
    """From `follow` to the first frame that shows another pose."""
    peak_mb: float

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        width, height = self.size
        return (
            f"live, {width}×{height}, {self.sessions} session(s), {self.seconds:.0f} s of sound in 20 ms chunks\n"
            f"  first frame                      {self.cold_ms:7.0f} ms, of the next session {self.warm_ms:.0f} ms\n"
            f"  sound in → its frame             {self.delay_p50_ms:7.0f} ms median, {self.delay_p95_ms:.0f} ms p95\n"
            f"  frame rate                       {self.frames_per_second:7.2f} frames/s, {self.skipped} skipped\n"
            f"  interval between frames          {self.interval_p99_ms:7.0f} ms p99\n"
            f"  clear → last sound of before     {self.clear_ms:7.0f} ms\n"
            f"  camera in → its frame            {self.camera_p95_ms:7.0f} ms p95\n"
            f"  processor time                   {self.draw_ms:7.1f} ms a frame, {self.cores:.2f} cores in all\n"
            f"  peak memory                      {self.peak_mb:7.0f} MB"
        )


class _Listener:
    """Reads one session, and notes when each sample was pushed and came."""

    def __init__(self, session: LiveSession, seconds: float) -> None:
        self.session, self._seconds = session, seconds
        self.pushed: deque[float] = deque()
        self.came: list[tuple[float, int]] = []  # time, samples of the voice so far
        self.clear_ms = 0.0

    def run(self, voice: Floats32) -> None:
        """Speak in one thread and listen in this one, then interrupt."""
        self.arrived = [(time.monotonic(), len(next(self.session).samples))]
        speaking = Thread(target=self._speak, args=(voice,), daemon=True)
        speaking.start()
        cleared, heard, end = 0.0, 0, time.monotonic() + self._seconds
        for frame in self.session:
            now = time.monotonic()
            spoken = int(np.count_nonzero(frame.samples))
            if cleared:
                self.clear_ms = 1e3 * (now - cleared) if spoken else self.clear_ms
                if now > cleared + 0.5:
                    break
                continue
            heard += spoken
            self.came.append((now, heard))
            if now > end:
                speaking.join()
                self.session.push(voice[: 2 * _RATE], _RATE)
                end = float("inf")
                cut = now + 1.0
            if end == float("inf") and now > cut:
                self.session.clear()
                cleared = time.monotonic()
        self.session.close()

    def _speak(self, voice: Floats32) -> None:
        start = time.monotonic()
        for k in range(int(self._seconds / 0.02) - 25):
            time.sleep(max(0.0, start + 0.02 * k - time.monotonic()))
            at = k * _CHUNK % (len(voice) - _CHUNK)
            self.pushed.append(time.monotonic())
            self.session.push(voice[at : at + _CHUNK], _RATE)

    def delays(self) -> Any:
        """Return the seconds from the push of each chunk to the frame with its first sample."""
        times, heard = np.array([t for t, _ in self.came]), np.array([n for _, n in self.came])
        first = np.arange(len(self.pushed)) * _CHUNK
        return times[np.searchsorted(heard, first, side="right")] - np.array(self.pushed)


def bench_live(
    source: Path, options: LiveOptions, *, seconds: float, sessions: int, on_progress: OnProgress
) -> LiveTable:
    """Run sessions beside each other with a synthetic voice; `options` have the renderer.

    Raises:
        TalkerError: `source` cannot be read or shows no face.
    """
    voice = (synthetic_voice(20.0) + _AUDIBLE).astype(np.float32)
    options = replace(options, sample_rate=_RATE)
    talker, starts, listeners = Talker(), [], []
    for k in range(max(2, sessions)):
        on_progress("starting", k, max(2, sessions))
        before = time.monotonic()
        session = talker.live(source, options)
        next(session)
        starts.append(1e3 * (time.monotonic() - before))
        session.close()
    for _ in range(sessions):
        listeners.append(_Listener(talker.live(source, options), seconds))
    on_progress("speaking", 0, 1)
    began, used = time.monotonic(), _processor_seconds()
    threads = [Thread(target=each.run, args=(voice,), daemon=True) for each in listeners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, used = time.monotonic() - began, _processor_seconds() - used
    on_progress("speaking", 1, 1)
    camera = _camera_delays(talker.live(source, replace(options, breath=False)), source)
    times = [np.array([t for t, _ in each.came]) for each in listeners]
    delays = [1e3 * each.delays() for each in listeners]
    frames = sum(each.session.counts.frames for each in listeners)
    return LiveTable(
        size=listeners[0].session.size,
        sessions=sessions,
        seconds=seconds,
        cold_ms=starts[0],
        warm_ms=starts[-1],
        delay_p50_ms=max(float(np.percentile(each, 50)) for each in delays),
        delay_p95_ms=max(float(np.percentile(each, 95)) for each in delays),
        frames_per_second=min((len(each) - 1) / (each[-1] - each[0]) for each in times),
        interval_p99_ms=max(1e3 * float(np.percentile(np.diff(each), 99)) for each in times),
        cores=used / took,
        draw_ms=1e3 * used / frames,
        skipped=sum(each.session.counts.skipped_frames for each in listeners),
        clear_ms=max(each.clear_ms for each in listeners),
        camera_p95_ms=1e3 * float(np.percentile(camera, 95)),
        peak_mb=peak_memory_mb(),
    )


def _camera_delays(session: LiveSession, source: Path) -> list[float]:
    """Return the seconds from an image with the face at another place to a frame that shows it."""
    with open_footage(source, max_side=session.size[0]) as footage:
        image = footage[0]
    moved = np.roll(image, len(image) // 40, axis=1)
    changed_at: deque[float] = deque()

    def film() -> None:
        start = time.monotonic()
        for k in range(_CAMERA_IMAGES):
            time.sleep(max(0.0, start + k / DEFAULT_FPS - time.monotonic()))
            if k % _HELD_IMAGES == 0 and k > 2 * _HELD_IMAGES:
                changed_at.append(time.monotonic())
            session.follow(image if k // _HELD_IMAGES % 2 else moved)
        session.close()

    filming, delays, before = Thread(target=film, daemon=True), [], None
    filming.start()
    for frame in session:
        seen = frame.image[::4, ::4].astype(np.int16)
        if before is not None and changed_at and np.abs(seen - before).mean() > _CHANGE:
            delays.append(time.monotonic() - changed_at.popleft())
        before = seen
    filming.join()
    return delays


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
