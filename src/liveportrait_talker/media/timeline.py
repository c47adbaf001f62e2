"""Display times of video frames, read from the packets: headers can be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Floats64
from .audio_clock import JUMP_S, AudioClock
from .limits import largest_later_frame
from .media_file import MediaFile

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_SPARE_S = 1.0  # read beyond the limit of the duration, so that the result is surely longer
_FPS_RANGE = (5.0, 120.0)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a video, in display order; at least one."""

    seconds: Floats64
    """(N,) display time of each frame from the start of the file; the first frame is also shown before its time."""
    duration_seconds: float
    """End of the last frame, or of the audio if that is later."""
    fps: float
    """Average frame rate, 5…120."""
    stamps: list[int] | None
    """N time stamps that identify decoded frames, ascending; None if frames can only be counted."""
    keys: list[int]
    """Time stamps of keyframes, ascending."""

    @classmethod
    def from_durations(cls, durations: Sequence[float]) -> Timeline:
        """Return the timeline of frames with these durations, in seconds."""
        ends = np.cumsum(durations)
        fps = _frame_rate(len(ends), float(len(ends) * np.median(durations)), None)
        return cls(np.concatenate([[0.0], ends[:-1]]), float(ends[-1]), fps, None, [])

    def frame_indices(self) -> list[int]:
        """Return, for each k, the index of the frame shown at k / fps seconds."""
        count = max(1, round(self.duration_seconds * self.fps))
        steady = np.arange(len(self.seconds))
        if count == len(steady) and np.abs(self.seconds * self.fps - steady).max() < 0.25:
            # A steady rate with jitter: by the time stamps, some frames would be repeated and others dropped.
            return list(range(count))
        shown = np.searchsorted(self.seconds, np.arange(count) / self.fps + 1e-6, side="right") - 1
        return [max(int(number), 0) for number in shown]


def read_timeline(path: Path, *, include_audio: bool = True, max_seconds: float = inf) -> Timeline | None:
    """Read the timeline of a video; return None if it has no frames.

    Args:
        path: the file.
        include_audio: start with the file and end with its audio, instead of the first and last frame.
        max_seconds: duration after which reading stops; the result is then longer than that.
    """
    with MediaFile(path) as file:
        stream = file.video_stream()
        if stream is None:
            return None
        return _read_packets(file, stream, include_audio, max_seconds) or _count_frames(path, max_seconds)


def _read_packets(file: MediaFile, stream: VideoStream, include_audio: bool, max_seconds: float) -> Timeline | None:
    """Read the timeline without decoding; return None if packets have no time stamps."""
    tick = stream.time_base or Fraction(1, 1000)
    audio = file.audio_stream() if include_audio else None
    segments = [_Segment()]
    last_dts: int | None = None
    finished = 0  # extent of the segments before the last
    start = file.start_seconds()
    clock = AudioClock(start)
    for packet in file.packets(stream) if audio is None else file.packets(stream, audio):
        if not packet.size or packet.is_corrupt or packet.is_discard:
            continue
        if packet.stream.index != stream.index:
            if packet.pts is not None and packet.time_base is not None:
                clock.position += clock.gap(float(packet.pts * packet.time_base))
                clock.position += float((packet.duration or 0) * packet.time_base)
            continue
        if packet.pts is None:
            return None
        if packet.dts is not None:
            if last_dts is not None and (last_dts - packet.dts) * tick > JUMP_S:
                finished += segments[-1].extent
                segments.append(_Segment())
            last_dts = packet.dts
        segments[-1].add(packet.pts, packet.duration or 0, packet.is_keyframe)
        if (finished + segments[-1].extent) * tick > max_seconds + _SPARE_S:
            break
    segments = [segment for segment in segments if segment.stamps]
    if not segments:
        return None
    parts, duration = [], 0.0
    for segment in segments:
        seconds, segment_duration = segment.times(tick)
        parts.append(duration + seconds)
        duration += segment_duration
    seconds = np.concatenate(parts)
    fps = _frame_rate(len(seconds), duration, stream.average_rate)
    only = segments[0] if len(segments) == 1 else None
    if audio is not None and start is not None:
        first = float(min(segments[0].stamps) * tick)
        delay = round((first - start) * fps) / fps  # in whole frames, so that a steady rate stays steady
        seconds, duration = seconds + delay, duration + delay
        if only is not None and clock.position > duration + 1 / fps:
            duration = clock.position
    return Timeline(
        seconds=seconds,
        duration_seconds=duration,
        fps=fps,
        stamps=None if only is None else sorted(only.stamps),
        keys=[] if only is None else sorted(only.keys),
    )


class _Segment:
    """Frames with continuous time stamps: concatenated recordings have several segments."""

    def __init__(self) -> None:
        self.stamps: set[int] = set()
        self.keys: set[int] = set()
        self._end = 0
        self._start: int | None = None

    @property
    def extent(self) -> int:
        """Duration so far, in units of the time base."""
        return 0 if self._start is None else self._end - self._start

    def add(self, stamp: int, duration: int, is_key: bool) -> None:
        """Add a frame; times in units of the time base."""
        self._start = stamp if self._start is None else min(self._start, stamp)
        self._end = max(self._end, stamp + duration) if self.stamps else stamp + duration
        self.stamps.add(stamp)
        if is_key:
            self.keys.add(stamp)

    def times(self, tick: Fraction) -> tuple[Floats64, float]:
        """Return the display times of the frames, the first at 0, and the total duration, in seconds."""
        ordered = np.array(sorted(self.stamps), np.int64)
        seconds = (ordered - ordered[0]).astype(np.float64) * float(tick)
        duration = float((self._end - int(ordered[0])) * tick)
        if len(ordered) > 1 and duration <= seconds[-1]:  # the last packet has no duration
            duration = float(seconds[-1] + np.median(np.diff(seconds)))
        return seconds, duration


def _count_frames(path: Path, max_seconds: float) -> Timeline | None:
    """Decode and count the frames, and use the stated rate: for raw streams and some AVI files."""
    with MediaFile(path) as file:
        stream = file.video_stream()
        assert stream is not None, "checked by the caller"
        fps = _frame_rate(1, 0.0, stream.average_rate or stream.guessed_rate)
        context = stream.codec_context
        context.options = {"max_pixels": str(largest_later_frame(context.width, context.height))}
        count = 0
        for _ in file.decode(stream):
            count += 1
            if count > (max_seconds + _SPARE_S) * fps:
                break
        if not count:
            return None
        return Timeline(seconds=np.arange(count) / fps, duration_seconds=count / fps, fps=fps, stamps=None, keys=[])


def _frame_rate(frames: int, duration: float, stated: Fraction | None) -> float:
    """Return the measured frame rate, or the exact stated one (such as 30000/1001) if they agree."""
    measured = frames / duration if duration > 0 else None
    if stated and (measured is None or abs(float(stated) / measured - 1) < 0.005):
        measured = float(stated.limit_denominator(1001))
    low, high = _FPS_RANGE
    return min(max(measured or 25.0, low), high)
