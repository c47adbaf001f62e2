"""Voice driver for streams: sound arrives in pieces, the mouth of a frame is known shortly after its sound.

Source: docs/method/signal_driver.md, Streams.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ...arrays import Floats
from ...motion.smoothing import smoothstep
from .driver import GRID_FPS
from .stream_mouth import CLOSED_AFTER_SECONDS, HISTORY, STEP, STEP_SECONDS, StreamMouth, Voice
from .stream_network import DELAYS, StreamNetwork

WEIGHTS = Path(__file__).with_name("speech_stream.npz")
TAIL_STEPS = math.ceil(CLOSED_AFTER_SECONDS * GRID_FPS) + 1  # until the lips are shut: windows reach into the next step
CLEARED_SECONDS = 0.16  # from `clear` to closed lips


class SpeechStream:
    """The mouth of one speaker, from sound that arrives in pieces of any size.

    Frame k of an utterance is at k / fps seconds of its sound. It is certain when the sound has arrived up to
    `look_ahead_seconds` after it (0.04…0.2, a multiple of 0.04); at other rates than 25 fps up to 0.04 s later. The
    first sample after `end` or `clear` begins an utterance, whose first frame comes after those of that call. The level
    and the range of the voice are kept. An object must not be used by two threads at once.

    Raises:
        ValueError: `look_ahead_seconds` or `fps` is out of range.
        WeightsError: `weights` is missing or wrong.
    """

    def __init__(self, look_ahead_seconds: float = 0.08, fps: float = GRID_FPS, weights: Path = WEIGHTS) -> None:
        if not STEP_SECONDS <= look_ahead_seconds <= DELAYS * STEP_SECONDS + 1e-6:
            raise ValueError(f"the look-ahead must be 0.04 to {DELAYS * STEP_SECONDS:g} s, got {look_ahead_seconds}")
        if not 1.0 <= fps <= 240.0:
            raise ValueError(f"the frame rate must be 1 to 240 fps, got {fps}")
        self._ahead, self._fps = math.floor(look_ahead_seconds / STEP_SECONDS + 1e-6) - 1, fps
        self._voice = Voice(StreamNetwork(weights))
        self._ready: list[Floats] = []
        self._begin()

    def __repr__(self) -> str:
        return f"SpeechStream(look_ahead_seconds={(self._ahead + 1) * STEP_SECONDS:g}, fps={self._fps:g})"

    def _begin(self) -> None:
        self._mouth = StreamMouth(self._voice, self._ahead)
        # HISTORY samples before the next step, and those of it so far.
        self._sound: Floats = np.zeros(HISTORY, np.float32)
        self._steps = 0  # taken
        self._made = 0  # frames of the utterance
        self._grid: list[Floats] = [np.zeros(5)]  # the last two rows at 25 fps
        self._rows = 0

    def push(self, samples: Floats) -> None:
        """Take the next samples (N,), mono at 16 kHz; values that are not finite become 0.

        Raises:
            ValueError: `samples` is not one-dimensional.
        """
        if np.ndim(samples) != 1:
            raise ValueError(f"the samples must be (N,), got {np.shape(samples)}")
        given = np.nan_to_num(np.asarray(samples, np.float32), posinf=0.0, neginf=0.0)
        sound: Floats = np.concatenate([self._sound, given])
        for _ in range((len(sound) - HISTORY) // STEP):
            self._step(sound[: HISTORY + STEP].copy())
            sound = sound[STEP:]
        self._sound = sound.copy()

    def pop_frames(self) -> Floats:
        """Return the frames that became certain since the last call: (n, 5) in IOD, as by `SignalDriver.mouth`."""
        frames = np.array(self._ready).reshape(-1, 5)
        self._ready.clear()
        return frames

    def end(self) -> None:
        """End the utterance: its last frames become certain, and frames of 0.36 s follow in which the mouth shuts."""
        rest = len(self._sound) - HISTORY
        if self._steps or rest:
            last = self._steps + math.ceil(rest / STEP) + TAIL_STEPS
            self.push(np.zeros((last + self._ahead - self._steps) * STEP - rest, np.float32))
            while self._made < round(last * self._fps / GRID_FPS):
                self._add(self._grid[-1])
        self._begin()

    def clear(self, shown: Floats) -> None:
        """Forget the sound and the frames that are pending. Frames of 0.16 s follow in which the lips close.

        `shown` (5,): the mouth of the frame before them.
        """
        count = max(1, round(CLEARED_SECONDS * self._fps))
        left = 1.0 - smoothstep(0.0, 1.0, np.arange(1, count + 1) / count)
        self._ready = list(left[:, None] * shown)
        self._begin()

    def _step(self, sound: Floats) -> None:
        """Take the next step of sound with its history, and add the frames that become certain."""
        self._steps += 1
        row = self._mouth.step(sound)
        if row is None:
            return
        self._grid = [*self._grid[-1:], row]
        self._rows += 1
        while (at := self._made * GRID_FPS / self._fps) <= self._rows - 1:
            part = at - (self._rows - 2)  # 1 at the last row
            self._add(row if part == 1.0 else (1.0 - part) * self._grid[0] + part * row)

    def _add(self, frame: Floats) -> None:
        self._made += 1
        self._ready.append(frame)
