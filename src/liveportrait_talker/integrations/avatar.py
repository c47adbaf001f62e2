"""A live session for asyncio: what the integrations share.

A thread draws; the other calls take a millisecond. Sound is taken only as far ahead as a face needs, so that what waits
stays where it comes from, and an interruption finds little to drop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..live.session import LiveSession
from ..options.live import LiveOptions
from ..pipelines.talk import Talker

_AHEAD_S = 0.5  # of sound is in the session at most
_PIECE_S = 0.1  # of a long chunk is pushed at once


@dataclass(frozen=True, eq=False)
class AvatarFrame:
    """An image, and the sound of the same 1 / fps seconds where somebody speaks."""

    image: bytes
    """RGB, 8 bits, row by row; of the session's size."""
    audio: bytes
    """16-bit mono samples at the session's rate; empty where nobody speaks."""
    is_end: bool
    """Whether the utterance that `Avatar.end` waits for ends with this frame."""


class Avatar:
    """Speaks what is said to it, for one reader of `frames`."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self._drawing = ThreadPoolExecutor(1, "live-face")
        self._progress = asyncio.Condition()  # notified after each frame, `clear` and `close`
        self._pending_seconds = 0.0
        self._interruptions = 0
        self._is_running = False  # sound is put in its place by the clock, which starts with the first frame
        self._is_ending = False
        self._is_closed = False

    @classmethod
    async def start(cls, portrait: str | PathLike[str], options: LiveOptions, talker: Talker | None) -> Avatar:
        """Return an avatar whose first image is drawn. Raises TalkerError."""
        return cls(await asyncio.to_thread(lambda: (talker or Talker()).live(Path(portrait), options)))

    async def say(self, audio: bytes, sample_rate: int, channels: int = 1) -> None:
        """Add 16-bit samples, interleaved, to be spoken; wait until there is room.

        `clear`, also during the call, drops them. Raises OptionError for a rate outside 8000…48000 Hz.
        """
        interruptions, samples = self._interruptions, _mono(audio, channels)
        piece = max(1, round(_PIECE_S * sample_rate))
        for begin in range(0, len(samples), piece):
            await self._until(
                lambda: self._interruptions != interruptions or (self._is_running and self._pending_seconds < _AHEAD_S)
            )
            if self._is_closed or self._interruptions != interruptions:
                return
            part = samples[begin : begin + piece]
            self.session.push(part, sample_rate)
            self._pending_seconds += len(part) / sample_rate  # until a frame is drawn

    async def end(self) -> None:
        """End the utterance and wait until all of it is in frames that were read, or was dropped."""
        if self._is_closed:
            return
        self.session.end()
        self._is_ending = True
        await self._until(lambda: not self._is_ending)

    async def clear(self) -> None:
        """Interrupt: no sound of the utterance comes any more, and the lips shut."""
        self._interruptions += 1
        self._is_ending, self._pending_seconds = False, 0.0
        self.session.clear()
        await self._notify()

    async def frames(self) -> AsyncIterator[AvatarFrame]:
        """Yield frames at the session's rate until `close`."""
        loop, seen, is_heard = asyncio.get_running_loop(), self._interruptions, False
        while not self._is_closed:
            is_ending = self._is_ending
            try:
                drawn = await loop.run_in_executor(self._drawing, self._draw)
            except Exception:
                await self.close()  # nobody waits for frames that do not come
                raise
            if drawn is None or self._is_closed:
                return
            image, audio, is_whole = drawn
            is_heard = seen == self._interruptions and (is_heard or any(audio))
            seen = self._interruptions
            is_end = is_ending and self._is_ending and is_whole
            yield AvatarFrame(image, audio if is_heard else b"", is_end)
            self._is_running, is_heard = True, is_heard and not is_whole
            if is_end and seen == self._interruptions:
                self._is_ending = False
            await self._notify()

    async def close(self) -> None:
        """End the session; may be called again."""
        self._is_closed, self._is_ending = True, False
        self.session.close()
        self._drawing.shutdown(wait=False)
        await self._notify()

    def _draw(self) -> tuple[bytes, bytes, bool] | None:
        """Return the next image and its sound, and whether nothing waits to be spoken; None at the end."""
        frame = next(self.session, None)
        if frame is None:
            return None
        self._pending_seconds = self.session.pending_seconds
        audio = np.rint(32767 * frame.samples).astype("<i2").tobytes()
        return frame.image[..., :3].tobytes(), audio, self._pending_seconds == 0

    async def _until(self, is_reached: Callable[[], bool]) -> None:
        async with self._progress:
            await self._progress.wait_for(lambda: self._is_closed or is_reached())

    async def _notify(self) -> None:
        async with self._progress:
            self._progress.notify_all()


def _mono(audio: bytes, channels: int) -> npt.NDArray[np.int16]:
    samples = np.frombuffer(audio, "<i2", len(audio) // (2 * channels) * channels).astype(np.int16)
    return samples if channels == 1 else samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
