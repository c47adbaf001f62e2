"""The sound in the order in which it is played, with the mouth of each frame.

The stream never ends and never waits: where no sound has been pushed it goes on with silence. Frame k is known once the
sound up to its start and the look-ahead is there. Source: docs/method/live.md, Sound.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..arrays import Floats, Floats32
from ..audio.loudness import RunningSpeechDetector, band_power, window_size
from ..audio.resampler import Resampler
from .voice import VoiceQueue

_DRIVER_RATE = 16_000  # Hz
_MORE_S = 0.005  # is heard at a time while the mouth is not certain yet


class MouthStream(Protocol):
    """Makes mouth motion from a voice that is still coming."""

    def push(self, samples: Floats32) -> None:
        """Hear more of the voice, (n,) at 16 kHz."""
        ...

    def pop_frames(self) -> Floats:
        """Return the mouth (n, 5) of the frames that became certain, as `SignalDriver.mouth` does."""
        ...

    def clear(self, shown: Floats) -> None:
        """Forget the sound. Frames come that close the lips from the mouth (5,) that is shown, then a new voice."""
        ...


@dataclass(frozen=True, eq=False)
class Moment:
    """What is heard and said in one frame."""

    samples: Floats32
    """(n,) at the session's rate."""
    mouth: Floats
    """(5,) of an average face, as `SignalDriver.mouth`."""
    loudness_db: float
    """Of the newest sound that is known, the look-ahead later."""
    speech_ahead: float
    """0 or 1: whether that is speech."""
    is_speech: bool
    """Whether there is speech in this frame or right before it."""
    pushed_samples: int
    """How many of the samples were pushed."""
    ends_utterance: bool
    """Whether an utterance that was ended is over at the end of this frame."""


class SoundStream:
    """Pushed sound with silence where there is none, frame by frame. For one thread; `voice` takes more meanwhile."""

    def __init__(
        self, voice: VoiceQueue, speech: MouthStream, *, sample_rate: int, fps: float, look_ahead: float
    ) -> None:
        self._voice, self._speech = voice, speech
        self._rate, self._fps = sample_rate, fps
        self._to_driver = Resampler(sample_rate, _DRIVER_RATE)
        self.delay_seconds = max(1 / fps, look_ahead + self._to_driver.delay_seconds)
        """How far the stream is decided at the start of a frame."""
        self._frame = 0  # that comes next
        self._heard = 0  # samples of the stream that the driver has heard
        self._pushed: deque[tuple[int, int]] = deque()  # parts of the stream from this frame on that were pushed
        self._pushed_until = 0  # the end of the last of them
        self._ends: deque[int] = deque()  # of utterances in the stream
        self._has_ended = False  # with the frame before
        self._window = window_size(sample_rate, fps)
        self._known: Floats32 = np.zeros(self._window, np.float32)  # the end of the stream, at least from the frame on
        self._mouths: deque[Floats] = deque()
        self._shown: Floats = np.zeros(5)  # mouth of the frame before
        self._detector = RunningSpeechDetector(fps)
        self._speech_ahead: deque[float] = deque([0.0], maxlen=1 + round(look_ahead * fps))

    @property
    def heard_seconds(self) -> float:
        """How much of the stream is decided: what is pushed now comes after it."""
        return self._heard / self._rate

    @property
    def decided_voice(self) -> int:
        """How many samples of what was pushed are decided and come in later frames."""
        start = self._start_of(self._frame)
        return sum(last - max(first, start) for first, last in self._pushed)

    def next(self) -> Moment:
        """Return the next frame's."""
        start, end = self._start_of(self._frame), self._start_of(self._frame + 1)
        self._hear(max(end, start + round(self.delay_seconds * self._rate)) - self._heard)
        while not self._mouths:
            self._hear(round(_MORE_S * self._rate))
        behind = self._heard - start
        samples = self._known[-behind:][: end - start].copy()
        newest = self._known[-self._window :]
        loudness = 10.0 * float(np.log10(band_power(newest[None], self._rate)[0] + 1e-18))
        if self._has_ended:
            self._forget_speech()
        self._speech_ahead.append(self._detector.step(loudness))
        self._known = self._known[-max(self._window, self._heard - end) :]
        self._shown = self._mouths.popleft()
        before = self.decided_voice
        self._frame += 1
        while self._pushed and self._pushed[0][1] <= end:
            self._pushed.popleft()
        self._has_ended = False
        while self._ends and self._ends[0] <= end:
            self._ends.popleft()
            self._has_ended = True
        return Moment(
            samples,
            self._shown,
            loudness,
            self._speech_ahead[-1],
            any(self._speech_ahead),
            pushed_samples=before - self.decided_voice,
            ends_utterance=self._has_ended,
        )

    def clear(self) -> int:
        """Forget what comes; the next frame begins anew. Return the number of frames in which the lips close."""
        start = self._start_of(self._frame)
        self._speech.clear(self._shown)
        self._mouths = deque(self._speech.pop_frames())  # those that close the lips, in silence
        self._heard = self._start_of(self._frame + len(self._mouths))
        self._known = np.zeros(self._window + self._heard - start, np.float32)
        self._pushed.clear()
        self._ends.clear()
        self._pushed_until, self._has_ended = start, False
        self._to_driver = Resampler(self._rate, _DRIVER_RATE)
        self._forget_speech()
        return len(self._mouths)

    def _hear(self, count: int) -> None:
        """Go on by `count` samples of the stream."""
        if count <= 0:
            return
        taken = self._voice.take(count)
        first = self._heard + taken.silence
        self._ends.extend(first + end if end else self._pushed_until for end in taken.ends)
        if (last := self._heard + len(taken.samples)) > first:
            self._pushed.append((first, last))
            self._pushed_until = last
        more = np.concatenate([taken.samples, np.zeros(count - len(taken.samples), np.float32)])
        self._heard += count
        self._known = np.concatenate([self._known, more])
        self._speech.push(self._to_driver.push(more))
        self._mouths.extend(self._speech.pop_frames())

    def _forget_speech(self) -> None:
        self._detector.end()
        self._speech_ahead.extend([0.0] * (self._speech_ahead.maxlen or 1))

    def _start_of(self, frame: int) -> int:
        return round(frame * self._rate / self._fps)
