"""When each frame of a video is shown: read from its packets, never from what its header claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .continuity import SoundClock
from .source import MediaFile

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_FPS_RANGE = (5.0, 120.0)
_JUMP_S = 0.5  # stamps that go back by more begin a new stretch


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames that a video really holds, in the order in which they are shown; at least one."""

    seconds: npt.NDArray[np.float64]
    """(N,) when each frame appears, on the clock of the file; what comes before the first shows it, too."""
    duration_seconds: float
    """When the last frame ends, or the sound beside it if that is longer."""
    fps: float
    """The average rate, 5…120."""
    stamps: list[int] | None
    """N time stamps by which decoded frames are known, ascending; None where they can only be counted."""
    keys: list[int]
    """Time stamps at which decoding can begin, ascending."""

    @classmethod
    def of_durations(cls, seconds: Sequence[float]) -> Timeline:
        """The timeline of pictures that are shown for so long each."""
        ends = np.cumsum(seconds)
        fps = _rate(len(ends), float(len(ends) * np.median(seconds)), None)
        return cls(np.concatenate([[0.0], ends[:-1]]), float(ends[-1]), fps, None, [])

    def grid(self) -> list[int]:
        """For each k of a uniform clock the number of the frame that is shown at k / fps."""
        count = max(1, round(self.duration_seconds * self.fps))
        steady = np.arange(len(self.seconds))
        if count == len(steady) and np.abs(self.seconds * self.fps - steady).max() < 0.25:
            # A steady rate whose stamps only jitter: taken literally, some frames would double and others drop.
            return [int(number) for number in steady]
        shown = np.searchsorted(self.seconds, np.arange(count) / self.fps + 1e-6, side="right") - 1
        return [max(int(number), 0) for number in shown]


def read_timeline(path: Path, *, beside_sound: bool = True) -> Timeline | None:
    """The timeline of the moving picture in `path`, None when it holds no frame. Reads all of the file.

    Args:
        path: the file.
        beside_sound: count from the beginning of the file, and to the end of its sound; else from the first frame to
            the last.
    """
    with MediaFile(path) as file:
        stream = file.moving_picture()
        return None if stream is None else _from_packets(file, stream, beside_sound) or _counted(path)


def _from_packets(file: MediaFile, stream: VideoStream, beside_sound: bool) -> Timeline | None:
    """Without decoding; None where the packets carry no times."""
    tick = stream.time_base or Fraction(1, 1000)
    sound = file.sound() if beside_sound else None
    stretches = [_Stretch()]
    before: int | None = None  # decoding time of the last packet
    start = file.start_seconds()
    clock = SoundClock(start)
    for packet in file.packets(stream) if sound is None else file.packets(stream, sound):
        if not packet.size or packet.is_corrupt or packet.is_discard:
            continue
        if packet.stream.index != stream.index:
            if packet.pts is not None and packet.time_base is not None:
                clock.given += clock.gap(float(packet.pts * packet.time_base))
                clock.given += float((packet.duration or 0) * packet.time_base)
            continue
        if packet.pts is None:
            return None
        if packet.dts is not None:
            if before is not None and (before - packet.dts) * tick > _JUMP_S:
                stretches.append(_Stretch())
            before = packet.dts
        stretches[-1].add(packet.pts, packet.duration or 0, packet.is_keyframe)
    stretches = [stretch for stretch in stretches if stretch.stamps]
    if not stretches:
        return None
    parts, duration = [], 0.0
    for stretch in stretches:  # one after the other
        seconds, lasts = stretch.timed(tick)
        parts.append(duration + seconds)
        duration += lasts
    seconds = np.concatenate(parts)
    fps = _rate(len(seconds), duration, stream.average_rate)
    only = stretches[0] if len(stretches) == 1 else None
    if sound is not None and start is not None:
        first = float(min(stretches[0].stamps) * tick)
        late = round((first - start) * fps) / fps  # whole frames, so that a steady rate stays steady
        seconds, duration = seconds + late, duration + late
        if only is not None and clock.given > duration + 1 / fps:
            duration = clock.given
    return Timeline(
        seconds=seconds,
        duration_seconds=duration,
        fps=fps,
        stamps=None if only is None else sorted(only.stamps),
        keys=[] if only is None else sorted(only.keys),
    )


class _Stretch:
    """Frames whose time stamps belong together: a file of joined recordings has several."""

    def __init__(self) -> None:
        self.stamps: set[int] = set()
        self.keys: set[int] = set()
        self._end = 0

    def add(self, stamp: int, duration: int, is_key: bool) -> None:
        """Take in a frame, in ticks."""
        self._end = stamp + duration if not self.stamps else max(self._end, stamp + duration)
        self.stamps.add(stamp)
        if is_key:
            self.keys.add(stamp)

    def timed(self, tick: Fraction) -> tuple[npt.NDArray[np.float64], float]:
        """When each frame appears, the first at 0, and how long they last together, in seconds."""
        ordered = np.array(sorted(self.stamps), np.int64)
        seconds = (ordered - ordered[0]).astype(np.float64) * float(tick)
        duration = float((self._end - int(ordered[0])) * tick)
        if len(ordered) > 1 and duration <= seconds[-1]:  # the last packet does not say how long it lasts
            duration = float(seconds[-1] + np.median(np.diff(seconds)))
        return seconds, duration


def _counted(path: Path) -> Timeline | None:
    """For raw streams and some AVI files: decode, count, and trust the rate that the file names."""
    with MediaFile(path) as file:
        stream = file.moving_picture()
        assert stream is not None, "looked at before"
        count = sum(1 for _ in file.decode(stream))
        if not count:
            return None
        fps = _rate(count, 0.0, stream.average_rate or stream.guessed_rate)
        return Timeline(seconds=np.arange(count) / fps, duration_seconds=count / fps, fps=fps, stamps=None, keys=[])


def _rate(frames: int, duration: float, stated: Fraction | None) -> float:
    """Frames a second: the file's exact ratio (30000/1001) where it agrees with what was counted."""
    measured = frames / duration if duration > 0 else None
    if stated and (measured is None or abs(float(stated) / measured - 1) < 0.005):
        measured = float(stated.limit_denominator(1001))
    low, high = _FPS_RANGE
    return min(max(measured or 25.0, low), high)
