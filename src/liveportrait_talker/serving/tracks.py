"""Live frames in the form that WebRTC sends, with times that keep sound and image together."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack
from av import AudioFrame, VideoFrame

from ..arrays import Floats32
from ..live.frame import LiveFrame

SAMPLE_RATE = 48_000  # Hz, of Opus
PACKET = 960  # samples of an Opus packet; aiortc gives all packets of a longer frame the same time
_VIDEO_CLOCK = 90_000  # Hz, of RTP


class Track(MediaStreamTrack):
    """Frames for the browser, of which the oldest are dropped where the network does not take them."""

    def __init__(self, kind: str, most: int) -> None:
        super().__init__()
        self.kind = kind
        self._queue: asyncio.Queue[AudioFrame | VideoFrame] = asyncio.Queue(most)

    def put(self, frame: AudioFrame | VideoFrame) -> None:
        """Add a frame."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(frame)

    def drop_waiting(self) -> None:
        """Forget the frames that were not sent."""
        while not self._queue.empty():
            self._queue.get_nowait()

    async def recv(self) -> AudioFrame | VideoFrame:
        """Return the next frame; called by aiortc."""
        return await self._queue.get()


class Packets:
    """Cuts samples into packets of one length."""

    def __init__(self) -> None:
        self._rest: Floats32 = np.zeros(0, np.float32)
        self._sent = 0

    def push(self, samples: Floats32) -> list[AudioFrame]:
        """Return the packets that samples (n,), −1…1, complete."""
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // PACKET
        self._rest = samples[count * PACKET :]
        made = []
        for packet in np.rint(32767 * samples[: count * PACKET]).astype(np.int16).reshape(count, 1, PACKET):
            frame = AudioFrame.from_ndarray(packet, format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), self._sent
            self._sent += PACKET
            made.append(frame)
        return made


def video_frame(frame: LiveFrame) -> VideoFrame | None:
    """Return the image in the form that is encoded; None where it is the one before."""
    if not frame.is_new:
        return None
    made = VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24").reformat(format="yuv420p")
    made.time_base, made.pts = Fraction(1, _VIDEO_CLOCK), round(_VIDEO_CLOCK * frame.time_seconds)
    return made


def mono(frame: AudioFrame) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return the mean of the channels of packed 16-bit sound, as aiortc decodes it."""
    channels = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return np.asarray(channels.mean(axis=1), np.int16)
