"""Head of a live face: the rules of `head`, one frame after another, without knowing what comes.

What the clip's statistics decide there is decided by running ones here. While listening the head also nods now and
then. Source: docs/method/live.md, Head.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from ..arrays import Floats64
from .head import (
    LIMIT,
    NOD_CHANCE,
    NOD_UP,
    POSTURE_DEG,
    POSTURE_S,
    REST,
    ROLL_PER_YAW,
    SETTLE_S,
    START_S,
    STD,
    STRESS_APART_S,
    STRESS_DB,
    draw_drift,
    size_nod,
)
from .prosody import PHRASE_PAUSE_S
from .random_intervals import draw_interval
from .smoothing import smoothstep

_BLOCK_S = 20.0  # of drift, faded into the next one
_NOD_SCALE = 0.6  # what the limit of `head` leaves of the nods of a usual voice
_LEVEL_S, _AROUND_S = 0.2, 1.0  # loudness of a syllable and of what was around it
_AGREEING_S = 8.0  # mean time between nods while listening
_AGREEING_DEPTH = 0.5  # of the range of nods while speaking


class LiveHead:
    """Pitch, yaw and roll relative to the source, frame by frame; + = nose up, nose right, counter-clockwise."""

    def __init__(self, fps: float, rng: np.random.Generator) -> None:
        self._fps, self._rng = fps, rng
        self._drift = _endless_drift(fps, rng)
        self._frame = 0
        self._activity = _LowPass(SETTLE_S, fps, np.array([REST]))
        self._posture = _LowPass(POSTURE_S, fps, np.zeros(3))
        self._place = np.zeros(3)
        self._quiet_frames = round(PHRASE_PAUSE_S * fps)
        self._loudness: deque[float] = deque(maxlen=max(1, round(_AROUND_S * fps)))
        self._level: deque[float] = deque(maxlen=3)
        self._nod: deque[float] = deque()  # degrees of the frames that come
        self._nod_free_s = 0.0
        self._agreeing_s = draw_interval(_AGREEING_S, rng)

    def step(self, loudness_db: float, speaking: float) -> Floats64:
        """Return the next frame's (3,) degrees, within ±8, ±9, ±7; the first is the source's own pose.

        Args:
            loudness_db: of the newest sound that is known.
            speaking: 0…1.
        """
        seconds = self._frame / self._fps
        self._frame += 1
        self._begin_phrase(speaking)
        active = self._activity.step(np.array([REST + (1 - REST) * speaking]))[0]
        pose = next(self._drift) * STD * smoothstep(0, START_S, np.array(seconds)) + self._posture.step(self._place)
        pose = pose * active
        pose[2] += ROLL_PER_YAW * pose[1]
        self._plan_nods(seconds, loudness_db, speaking)
        pose[0] += self._nod.popleft() if self._nod else 0.0
        return np.asarray(LIMIT * np.tanh(pose / LIMIT))

    def _begin_phrase(self, speaking: float) -> None:
        """Choose a new posture where speech begins after a pause."""
        if speaking > 0.5:
            if self._quiet_frames >= round(PHRASE_PAUSE_S * self._fps):
                self._place = self._rng.standard_normal(3) * POSTURE_DEG
            self._quiet_frames = 0
        else:
            self._quiet_frames += 1

    def _plan_nods(self, seconds: float, loudness_db: float, speaking: float) -> None:
        """Start a nod on some of the stressed syllables, or in agreement while listening."""
        self._loudness.append(loudness_db)
        recent = list(self._loudness)
        self._level.append(float(np.mean(recent[-max(1, round(_LEVEL_S * self._fps)) :])))
        if self._nod or seconds < self._nod_free_s:
            return
        if speaking > 0.5:
            level = list(self._level)
            is_peak = len(level) == 3 and level[0] < level[1] >= level[2]
            if is_peak and level[1] - float(np.mean(recent)) > STRESS_DB:
                self._nod_free_s = seconds + STRESS_APART_S
                chance, depth, length, direction = self._rng.uniform(size=4)
                if chance <= NOD_CHANCE:
                    self._start_nod(depth, length, up=direction < NOD_UP)
        else:
            self._agreeing_s -= 1 / self._fps
            if self._agreeing_s <= 0:
                self._agreeing_s = draw_interval(_AGREEING_S, self._rng)
                for depth in self._rng.uniform(size=self._rng.integers(1, 3)):
                    self._start_nod(_AGREEING_DEPTH * depth, 0.5, up=False)

    def _start_nod(self, depth: float, length: float, *, up: bool) -> None:
        degrees, half = size_nod(depth, length)
        phase = np.arange(1, int(2 * half * self._fps) + 1) / (half * self._fps) - 1
        bump = _NOD_SCALE * degrees * (1.0 + np.cos(np.pi * phase)) / 2
        self._nod.extend((bump if up else -bump).tolist())


class _LowPass:
    """Three low-pass filters one after another: the value is at its target after about `seconds`."""

    def __init__(self, seconds: float, fps: float, value: Floats64) -> None:
        self._share = 1.0 - np.exp(-6.0 / (seconds * fps))
        self._stages = [value.astype(np.float64) for _ in range(3)]

    def step(self, target: Floats64) -> Floats64:
        for k, stage in enumerate(self._stages):
            target = self._stages[k] = stage + self._share * (target - stage)
        return target


def _endless_drift(fps: float, rng: np.random.Generator) -> Iterator[Floats64]:
    """Yield noise (3,) of unit variance: blocks that fade into each other at constant power."""
    half = max(1, round(_BLOCK_S * fps))
    fade = np.sin(np.pi / 2 * np.arange(half) / half)[:, None]
    before = draw_drift(2 * half, fps, rng)[half:]
    while True:
        block = draw_drift(2 * half, fps, rng)
        yield from fade * block[:half] + fade[::-1] * before
        before = block[half:]
