"""The original's synthetic head: a sinusoid per axis that rests while the lips do (spec talker.md §10)."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64
from .smoothing import OBSERVATION_VARIANCE, kalman_smooth, moving_average
from .track import LipKeypoints, Mouth

LARGEST_DEGREE = 3.0
FREQUENCY_HZ = (0.5, 1.5)
JITTER = 0.05  # share of an axis's degree
GATE_THRESHOLD = 0.02  # share of the lips' whole range, per 40 ms
GATE_WINDOW_S = 0.28  # seven frames at 25 fps
_GATE_FPS = 25.0


def classic_head_pose(
    mouth: Mouth, fps: float, rng: np.random.Generator, *, smooth_variance: float = OBSERVATION_VARIANCE
) -> Floats64:
    """Pitch, yaw, roll (T, 3) float64 in degrees, relative to the source, |each| ≤ 3.

    The original's motion, on a true time axis (defect 40), at any frame rate and gated shut, not open, where
    the lips do not move at all (defect 41). The angles are smoothed, not the matrices, so that rotations stay
    rotations (defect 42). Its ease-in repeats every two seconds, which is part of its look (defect 43).
    """
    seconds = np.arange(len(mouth)) / fps
    moves = classic_moves(
        seconds,
        degree=rng.uniform(0.0, LARGEST_DEGREE, 3),
        frequency=rng.uniform(*FREQUENCY_HZ, 3),
        jitter=rng.standard_normal((3, len(mouth))),
    )
    weight = lip_gate(lip_pair(mouth), GATE_THRESHOLD * _GATE_FPS / fps, max(1, round(GATE_WINDOW_S * fps)))
    if not len(mouth):
        return moves
    return kalman_smooth(moves * weight[:, None], smooth_variance)


def classic_moves(seconds: Floats, degree: Floats, frequency: Floats, jitter: Floats) -> Floats64:
    """Angles (T, 3) in degrees before the gate, from given draws.

    `seconds` (T,) is the time axis; `degree` (3,) the largest angle and `frequency` (3,) in Hz of pitch, yaw and
    roll; `jitter` (3, T) standard normal.
    """
    t = np.asarray(seconds, dtype=np.float64)
    ease = (1.0 - np.cos(np.pi * t)) / 2.0
    size = np.asarray(degree, dtype=np.float64)[:, None]
    moves = size * np.sin(2.0 * np.pi * np.asarray(frequency, dtype=np.float64)[:, None] * t) * ease
    clipped: Floats64 = np.clip(moves + JITTER * size * jitter, -size, size)
    return clipped.T


def lip_pair(mouth: Mouth) -> Floats64:
    """What the gate watches: (T, 2, K), two parts of the mouth with K coordinates each.

    For `LipKeypoints` the lower and the upper lip (spec: lips 4 and 5, key points 19 and 20). `MouthControls`
    have no lips of their own: there it is how the mouth opens (open, press) and how it widens (spread, round).
    """
    if isinstance(mouth, LipKeypoints):
        return mouth.offsets[:, 4:6].astype(np.float64)
    return mouth.values[:, [[0, 3], [1, 2]]].astype(np.float64)


def lip_gate(pair: Floats, threshold: float, window: int) -> Floats64:
    """Weight (T,) 0…1 of the head's motion: 0 while both parts of `pair` (T, 2, K) rest.

    A part rests where it moves by less than `threshold` of the whole range from one frame to the next, averaged
    over its coordinates. The last frame counts as resting; a moving average over `window` frames softens the
    steps, with 1 beyond both ends.
    """
    if not len(pair):
        return np.zeros(0)
    values = np.asarray(pair, dtype=np.float64)
    span = np.ptp(values)
    # A mouth that never moves has no range: it rests.
    moved = np.abs(np.diff(values, axis=0)).mean(axis=2) / span if span > 0 else np.zeros((len(values) - 1, 2))
    weight = np.append((moved >= threshold).any(axis=1), False).astype(np.float64)
    return moving_average(weight, window, edge=1.0)
