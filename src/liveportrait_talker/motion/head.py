"""Natural head motion of a speaker: slow drift, posture shifts and nods on stressed syllables.

Real heads have 65 % of their power below 0.5 Hz and 89 % below 1 Hz; the 2024 system's had 10 % and 52 %.
Source: docs/method/motion.md, Natural head.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64
from .prosody import find_stresses, number_phrases
from .smoothing import bell_average, smoothstep

# Standard deviations of pitch, yaw, roll in degrees while speaking; with pauses a clip has 0.8–0.9 of them. Yaw is
# less than people's, because artefacts of a warped portrait show there first.
STD = np.array([2.05, 2.9, 2.0])
LIMIT = np.array([8.0, 9.0, 7.0])  # a warped portrait looks right up to ±10, ±10, ±8
ROLL_PER_YAW = -0.25  # heads lean out of a turn

_DRIFT_HZ = (0.05, 0.85)
_DRIFT_SLOPE = 0.6  # power ∝ frequency^−slope; with 1, clips of a few seconds would be too calm
REST = 0.4  # share of the motion that remains in pauses
SETTLE_S = 0.9  # transition between speaking and resting
POSTURE_DEG = np.array([0.5, 1.0, 0.5])
POSTURE_S = 1.1
NOD_CHANCE = 0.4
_NOD_DEG = (1.5, 4.0)
_NOD_S = (0.30, 0.55)
_NOD_LATE_S = 0.03
_NOD_SHARE = 0.33  # of the slow pitch's standard deviation, at most
NOD_UP = 0.15  # share of nods upwards
STRESS_DB = 2.0  # above the mean of the second around it
STRESS_APART_S = 0.9
START_S = 0.5
_FORGET_START_S = 1.5
_FULL_WIDTH_S = 3.3


def natural_head_pose(loudness_db: Floats, speaking: Floats, fps: float, rng: np.random.Generator) -> Floats64:
    """Return pitch, yaw, roll (T, 3) in degrees relative to the source; + = nose up, nose right, counter-clockwise.

    The first frame has the source's own pose. The angles stay within ±8, ±9, ±7. On clips from 3 s with a voice, their
    standard deviations are about 1.6, 2.4, 1.7, less with many pauses.

    Args:
        loudness_db: (T,) from `audio.loudness`.
        speaking: (T,) 0…1, from `audio.loudness`.
        fps: frames per second.
        rng: generator of the motion.

    Raises:
        ValueError: the tracks differ in length, or `fps` is not positive.
    """
    frames = len(loudness_db)
    if len(speaking) != frames or not fps > 0:
        raise ValueError(f"need two tracks of equal length and fps > 0, got {frames}, {len(speaking)} and {fps}")
    if not frames:
        return np.zeros((0, 3))
    seconds = np.arange(frames) / fps
    voice = np.clip(np.asarray(speaking, dtype=np.float64), 0.0, 1.0)
    active = REST + (1.0 - REST) * bell_average(voice, round(SETTLE_S * fps))

    pose = draw_drift(frames, fps, rng) * STD
    pose += _draw_postures(voice, fps, rng)
    pose *= active[:, None]
    pose[:, 2] += ROLL_PER_YAW * pose[:, 1]
    nods = _draw_nods(np.asarray(loudness_db, dtype=np.float64), voice, fps, rng)
    # Limit the sum of the nods: a head that nods more than it drifts looks restless.
    nods *= min(1.0, _NOD_SHARE * pose[:, 0].std() / max(nods.std(), 1e-9))
    pose[:, 0] += nods
    pose -= pose[0] * (1.0 - smoothstep(0, 1, seconds / _FORGET_START_S))[:, None]
    pose *= smoothstep(0, 1, seconds / START_S)[:, None]

    # Random draws give short clips too much or too little motion: scale to the standard deviation wanted, which is
    # less in pauses and in clips too short for a full move.
    wanted = STD * np.sqrt(np.mean(np.square(active))) * min(1.0, seconds[-1] / _FULL_WIDTH_S)
    pose *= wanted / np.maximum(pose.std(axis=0), 1e-9)
    limited: Floats64 = LIMIT * np.tanh(pose / LIMIT)
    return limited


def draw_drift(frames: int, fps: float, rng: np.random.Generator) -> Floats64:
    """Return band-limited noise (frames, 3) of unit variance and zero mean over the clip."""
    low, high = _DRIFT_HZ
    # Longer than the clip, because the sum of sines is periodic; whole seconds, so that the draws and thus the motion
    # do not depend on the frame rate.
    period = int(np.ceil(frames / fps)) + round(1.0 / low)
    hz = np.arange(1, round(1.5 * high * period)) / period
    power = np.where(hz < low, 0.0, hz**-_DRIFT_SLOPE) * (1.0 - smoothstep(0, 1, (hz / high - 0.75) / 0.5))
    draws = rng.standard_normal((2, len(hz), 3))
    length = round(period * fps)
    spectrum = np.zeros((length // 2 + 1, 3), dtype=np.complex128)
    kept = min(len(hz), length // 2)
    spectrum[1 : kept + 1] = (np.sqrt(power)[:, None] * (draws[0] + 1j * draws[1]))[:kept]
    noise = np.fft.irfft(spectrum, length, axis=0)[:frames]
    noise -= noise.mean(axis=0)
    return np.asarray(noise / np.maximum(noise.std(axis=0), 1e-9))


def _draw_postures(voice: Floats64, fps: float, rng: np.random.Generator) -> Floats64:
    """Return the rest pose (T, 3) in degrees: a new one for each phrase, reached smoothly."""
    phrase = number_phrases(voice, fps)
    places = rng.standard_normal((phrase[-1] + 1, 3)) * POSTURE_DEG
    return np.stack([bell_average(axis, round(POSTURE_S * fps)) for axis in places[phrase].T], axis=1)


def _draw_nods(loudness_db: Floats64, voice: Floats64, fps: float, rng: np.random.Generator) -> Floats64:
    """Return the pitch (T,) in degrees of short nods on some of the loud syllables."""
    stressed, _ = find_stresses(loudness_db, voice, STRESS_DB, fps, smoothing_s=0.2)
    nods = np.zeros(len(loudness_db))
    free_from = 0.0
    for at in stressed / fps:
        # Draw for each peak, used or not, so that an additional peak does not change the later nods.
        chance, depth, length, direction = rng.uniform(size=4)
        if at < free_from or chance > NOD_CHANCE:
            continue
        free_from = at + STRESS_APART_S
        degrees, half = size_nod(depth, length)
        middle = at + _NOD_LATE_S
        first, last = max(0, int(np.ceil((middle - half) * fps))), int((middle + half) * fps) + 1
        phase = (np.arange(first, min(last, len(nods))) / fps - middle) / half
        bump = degrees * (1.0 + np.cos(np.pi * phase)) / 2
        nods[first : first + len(bump)] += bump if direction < NOD_UP else -bump
    return nods


def size_nod(depth: float, length: float) -> tuple[float, float]:
    """Return degrees and half the seconds of a nod from two numbers 0…1: small, slow nods are the most common."""
    degrees = _NOD_DEG[0] + (_NOD_DEG[1] - _NOD_DEG[0]) * depth**2
    return degrees, (_NOD_S[1] - (_NOD_S[1] - _NOD_S[0]) * length**2) / 2
