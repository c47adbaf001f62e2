"""Classic head of the 2024 system: a sinusoid per axis that rests while the lips rest.

Source: docs/method/motion.md, Classic head.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64
from .smoothing import OBSERVATION_VARIANCE, kalman_smooth, moving_average
from .track import LipKeypoints, Mouth

MAX_DEGREES = 3.0
FREQUENCY_HZ = (0.5, 1.5)
JITTER = 0.05  # share of an axis's amplitude
GATE_THRESHOLD = 0.02  # share of the lips' range, per 40 ms
GATE_WINDOW_S = 0.28  # seven frames at 25 fps
_GATE_FPS = 25.0


def classic_head_pose(
    mouth: Mouth, fps: float, rng: np.random.Generator, *, smooth_variance: float = OBSERVATION_VARIANCE
) -> Floats64:
    """Return pitch, yaw, roll (T, 3) in degrees relative to the source, at most 3 each.

    Unlike in the 2024 system, the time axis is in seconds at any frame rate, the gate closes where the lips do not
    move at all, and the angles are smoothed instead of the matrices (docs/earlier_systems.md, defects 40–42). The ease
    still repeats every two seconds (defect 43).
    """
    seconds = np.arange(len(mouth)) / fps
    moves = classic_moves(
        seconds,
        degree=rng.uniform(0.0, MAX_DEGREES, 3),
        frequency=rng.uniform(*FREQUENCY_HZ, 3),
        jitter=rng.standard_normal((3, len(mouth))),
    )
    weight = lip_gate(lip_pair(mouth), GATE_THRESHOLD * _GATE_FPS / fps, max(1, round(GATE_WINDOW_S * fps)))
    if not len(mouth):
        return moves
    return kalman_smooth(moves * weight[:, None], smooth_variance)


def classic_moves(seconds: Floats, degree: Floats, frequency: Floats, jitter: Floats) -> Floats64:
    """Return pitch, yaw, roll (T, 3) in degrees before the gate.

    Args:
        seconds: (T,) time axis.
        degree: (3,) amplitude of pitch, yaw, roll.
        frequency: (3,) of pitch, yaw, roll, in Hz.
        jitter: (3, T) standard normal.
    """
    t = np.asarray(seconds, dtype=np.float64)
    ease = (1.0 - np.cos(np.pi * t)) / 2.0
    size = np.asarray(degree, dtype=np.float64)[:, None]
    moves = size * np.sin(2.0 * np.pi * np.asarray(frequency, dtype=np.float64)[:, None] * t) * ease
    clipped: Floats64 = np.clip(moves + JITTER * size * jitter, -size, size)
    return clipped.T


def lip_pair(mouth: Mouth) -> Floats64:
    """Return the input of the gate (T, 2, K): two parts of the mouth with K coordinates each.

    Lower and upper lip for `LipKeypoints` (keypoints 19 and 20); (open, press) and (spread, round) for `MouthControls`.
    """
    if isinstance(mouth, LipKeypoints):
        return mouth.offsets[:, 4:6].astype(np.float64)
    return mouth.values[:, [[0, 3], [1, 2]]].astype(np.float64)


def lip_gate(pair: Floats, threshold: float, window: int) -> Floats64:
    """Return the weight (T,) 0…1 of the head's motion: 0 while both parts of `pair` (T, 2, K) rest.

    A part rests where it moves by less than `threshold` of the whole range per frame, averaged over its coordinates.
    The last frame counts as resting. The weight is averaged over `window` frames, with 1 beyond both ends.
    """
    if not len(pair):
        return np.zeros(0)
    values = np.asarray(pair, dtype=np.float64)
    span = np.ptp(values)
    # A mouth that never moves has no range and rests.
    moved = np.abs(np.diff(values, axis=0)).mean(axis=2) / span if span > 0 else np.zeros((len(values) - 1, 2))
    weight = np.append((moved >= threshold).any(axis=1), False).astype(np.float64)
    return moving_average(weight, window, edge=1.0)
