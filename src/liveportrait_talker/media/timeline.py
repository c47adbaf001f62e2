"""When each frame of a video is shown: read from its packets, never from what its header claims."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .source import MediaFile

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_FPS_RANGE = (5.0, 120.0)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames that a video really holds, in the order in which they are shown; at least one."""

    seconds: npt.NDArray[np.float64]
    """(N,) when each frame appears; the first at 0."""
    duration_seconds: float
    """When the last frame ends."""
    fps: float
    """The average rate, 5…120."""
    stamps: list[int] | None
    """N time stamps by which decoded frames are known, ascending; None where they can only be counted."""
    keys: list[int]
    """Time stamps at which decoding can begin, ascending."""

    def grid(self) -> list[int]:
        """For each k of a uniform clock the number of the frame that is shown at k / fps."""
        count = max(1, round(self.duration_seconds * self.fps))
        steady = np.arange(len(self.seconds))
        if count == len(steady) and np.abs(self.seconds * self.fps - steady).max() < 0.25:
            # A steady rate whose stamps only jitter: taken literally, some frames would double and others drop.
            return [int(number) for number in steady]
        shown = np.searchsorted(self.seconds, np.arange(count) / self.fps + 1e-6, side="right") - 1
        return [int(number) for number in shown]


def read_timeline(path: Path, track: int) -> Timeline | None:
    """The timeline of video stream `track`, None when it holds no frame. Reads all of the file."""
    with MediaFile(path) as file:
        return _from_packets(file, file.container.streams.video[track]) or _counted(path, track)


def _from_packets(file: MediaFile, stream: VideoStream) -> Timeline | None:
    """Without decoding; None where the packets carry no times."""
    tick = stream.time_base or Fraction(1, 1000)
    stamps: set[int] = set()
    keys: set[int] = set()
    end = 0
    for packet in file.packets(stream):
        if not packet.size or packet.is_corrupt or packet.is_discard:
            continue
        if packet.pts is None:
            return None
        stamps.add(packet.pts)
        if packet.is_keyframe:
            keys.add(packet.pts)
        end = max(end, packet.pts + (packet.duration or 0))
    if not stamps:
        return None
    ordered = sorted(stamps)
    seconds = (np.array(ordered, np.int64) - ordered[0]).astype(np.float64) * float(tick)
    duration = float((end - ordered[0]) * tick)
    if len(ordered) > 1 and duration <= seconds[-1]:  # the last packet does not say how long it lasts
        duration = float(seconds[-1] + np.median(np.diff(seconds)))
    fps = _rate(len(ordered), duration, stream.average_rate)
    return Timeline(seconds=seconds, duration_seconds=duration, fps=fps, stamps=ordered, keys=sorted(keys))


def _counted(path: Path, track: int) -> Timeline | None:
    """For raw streams and some AVI files: decode, count, and trust the rate that the file names."""
    with MediaFile(path) as file:
        stream = file.container.streams.video[track]
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
