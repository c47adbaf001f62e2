"""Running statistics of a voice that is not yet at its end: its level, mean spectrum and noise.

They replace what `features` and `driver` measure on a whole recording. One step is a frame of 25 fps (STRIDE feature
frames). Source: docs/method/signal_driver.md, Streams.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from ...arrays import Floats
from . import features
from .network import STRIDE

BINS = 400
LEVEL_PERCENT = 95.0
LEVEL_PRIOR, LEVEL_MEMORY = 2.0, 400.0  # steps with voice: weight of the usual level, memory
SPECTRUM_PRIOR, SPECTRUM_MEMORY = 60.0, 1500.0  # the same in feature frames with voice
REACH_DB = 35.0  # lower than this below the level is a pause
BACKGROUND_DB = -41.0  # louder than noise at −50 dBFS, which has −44 dB here
NOISE_STEPS = 100  # 4 s
STEADY_DB, ABOVE_NOISE_DB = 2.0, 5.0  # as in `driver`: a quiet tenth that varies less is noise


class RunningPercentiles:
    """Percentiles of the values so far between `low` and `high`; a value's weight falls to 1 / e in `memory` values."""

    def __init__(self, low: float, high: float, memory: float) -> None:
        self._edges = np.linspace(low, high, BINS + 1)
        self._below = np.zeros(BINS + 1)  # weight of the values under each edge
        self._memory = memory

    def add(self, value: float, weight: float = 1.0) -> None:
        """Add a value."""
        low, high = self._edges[0], self._edges[-1]
        inside = min(max(value, low), high - 1e-9)
        self._below *= math.exp(-weight / self._memory)
        self._below[int((inside - low) / (high - low) * BINS) + 1 :] += weight

    def at(self, percent: float) -> float:
        """Return a percentile. At least one value must have been added."""
        wanted = self._below[-1] * percent / 100.0
        k = int(np.searchsorted(self._below, wanted))
        k = min(max(k, 1), BINS)
        part = (wanted - self._below[k - 1]) / (self._below[k] - self._below[k - 1] + 1e-12)
        return float(self._edges[k - 1] + part * (self._edges[k] - self._edges[k - 1]))


class RunningFeatures:
    """Normalised log-mel features and the voice activity of a stream.

    `usual_level` in dB and `usual_spectrum` (MEL_BANDS,) in dB relative to it are those of voices on average; they hold
    until the stream's own voice is known.
    """

    def __init__(self, usual_level: float, usual_spectrum: Floats) -> None:
        self._levels = RunningPercentiles(-80.0, 20.0, LEVEL_MEMORY)
        self._levels.add(usual_level, LEVEL_PRIOR)
        self._level = usual_level
        self._spectrum = SPECTRUM_PRIOR * usual_spectrum.astype(np.float64)
        self._weight = SPECTRUM_PRIOR
        self._recent = deque([BACKGROUND_DB - 3.0] * NOISE_STEPS, NOISE_STEPS)  # until the noise is known

    def step(self, power: Floats) -> tuple[Floats, bool]:
        """Return the features of the next mel power, both (STRIDE, MEL_BANDS), and whether there is voice in it."""
        loudness = features.band_loudness_db(power)
        mean = sum(max(value, self._level - features.FLOOR_DB) for value in loudness.tolist()) / STRIDE
        voiced = self._hear(mean)
        if voiced:
            self._levels.add(mean)
            self._level = self._levels.at(LEVEL_PERCENT)
        floor = 10.0 ** ((self._level - features.FLOOR_DB) / 10.0) / features.MEL_BANDS
        relative = 10.0 * np.log10(power + np.float32(floor)) - np.float32(self._level)
        if voiced:
            below = (self._level - features.ACTIVE_DB - loudness) / 3.0
            active = 1.0 / (1.0 + np.exp(np.minimum(below, 30.0)))
            weight = float(active.sum())
            keep = math.exp(-weight / SPECTRUM_MEMORY)
            self._spectrum = keep * self._spectrum + active @ relative
            self._weight = keep * self._weight + weight
        return np.asarray((relative - self._spectrum / self._weight) / 15.0, np.float32), voiced

    def _hear(self, mean: float) -> bool:
        """Return whether a step of this mean loudness is voice, and remember it as a possible background."""
        self._recent.append(mean)
        ordered = sorted(self._recent)
        low, quiet = ordered[NOISE_STEPS * 3 // 100], ordered[NOISE_STEPS * 12 // 100]
        noise = -math.inf
        if quiet - low < STEADY_DB:
            noise = min(quiet + ABOVE_NOISE_DB, self._level - 6.0)
        return mean > max(self._level - REACH_DB, BACKGROUND_DB, noise)


def running_features(power: Floats, running: RunningFeatures) -> tuple[Floats, Floats]:
    """Return features (frames, MEL_BANDS) and voice activity (steps,) of mel power as a stream gets them.

    Step k has the feature frames 4 k − 1 … 4 k + 2, the last whose sound has arrived (k + 1) / 25 s after the start.
    """
    steps = len(power) // STRIDE + 1
    padded = np.pad(power, ((1, STRIDE * steps - 1 - len(power)), (0, 0)))
    found = [running.step(block) for block in padded.reshape(steps, STRIDE, -1)]
    rows = np.concatenate([block for block, _ in found])[1 : 1 + len(power)]
    return rows, np.array([voiced for _, voiced in found])
