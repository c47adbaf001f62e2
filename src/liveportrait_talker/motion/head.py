"""The default head: slow wide drift, posture shifts and nods on stress, as people move while they speak.

Source: field notes §5. Real heads keep 65 % of their power below 0.5 Hz and 89 % below 1 Hz; the original's
wobble has 10 % and 52 %.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64
from .smoothing import moving_average, smoothstep

# Pitch, yaw, roll in degrees while speaking; with pauses a clip comes to 0.8–0.9 of it. Rather less than people
# have in yaw, as warping a portrait shows its seams there first.
_STD = np.array([2.05, 2.9, 2.0])
_LIMIT = np.array([8.0, 9.0, 7.0])  # a warped portrait holds up to ±10, ±10, ±8
_ROLL_PER_YAW = -0.25  # the head leans out of a turn

_DRIFT_HZ = (0.05, 0.85)
_DRIFT_SLOPE = 0.6  # power falls with this power of the frequency; 1 would leave clips of a few seconds too calm
_REST = 0.4  # share of the motion that is left while the voice pauses
_SETTLE_S = 0.9  # from speaking to resting and back
_PHRASE_PAUSE_S = 0.4  # a pause this long ends a phrase
_POSTURE_DEG = np.array([0.5, 1.0, 0.5])
_POSTURE_S = 1.1
_NOD_CHANCE = 0.4
_NOD_DEG = (1.5, 4.0)
_NOD_S = (0.30, 0.55)
_NOD_LATE_S = 0.03
_NOD_SHARE = 0.33  # at most, of the standard deviation of the slow pitch
_NOD_UP = 0.15  # share of nods that lift the chin
_STRESS_DB = 2.0  # above the mean of the second around it
_STRESS_APART_S = 0.9
_START_S = 0.5
_FORGET_START_S = 1.5
_FULL_WIDTH_S = 3.3


def natural_head_pose(loudness_db: Floats, speaking: Floats, fps: float, rng: np.random.Generator) -> Floats64:
    """Pitch, yaw, roll (T, 3) float64 in degrees, relative to the source; + = nose up, nose right, CCW.

    `loudness_db` (T,) and `speaking` (T,) 0…1 are those of `audio.loudness`. The first frame is the source's own
    pose. The angles stay within ±8, ±9, ±7 and, on clips from 3 s with a voice, have standard deviations of about
    1.6, 2.4, 1.7 (less where it pauses much).

    Raises:
        ValueError: the two tracks differ in length, or `fps` is not positive.
    """
    frames = len(loudness_db)
    if len(speaking) != frames or not fps > 0:
        raise ValueError(f"need two tracks of one length and fps > 0, got {frames}, {len(speaking)} and {fps}")
    if not frames:
        return np.zeros((0, 3))
    seconds = np.arange(frames) / fps
    voice = np.clip(np.asarray(speaking, dtype=np.float64), 0.0, 1.0)
    active = _REST + (1.0 - _REST) * _soft(voice, round(_SETTLE_S * fps))

    pose = _drift(frames, fps, rng) * _STD
    pose += _postures(voice, fps, rng)
    pose *= active[:, None]
    pose[:, 2] += _ROLL_PER_YAW * pose[:, 1]
    nods = _nods(np.asarray(loudness_db, dtype=np.float64), voice, fps, rng)
    # Where many come together they are smaller: a head that nods more than it drifts looks restless.
    nods *= min(1.0, _NOD_SHARE * pose[:, 0].std() / max(nods.std(), 1e-9))
    pose[:, 0] += nods
    pose -= pose[0] * (1.0 - smoothstep(0, 1, seconds / _FORGET_START_S))[:, None]
    pose *= smoothstep(0, 1, seconds / _START_S)[:, None]

    # Chance gives short clips too much or too little. Every clip gets its share, and less where it pauses.
    # Clips too short for a natural move of full width make a smaller one.
    wanted = _STD * np.sqrt(np.mean(np.square(active))) * min(1.0, seconds[-1] / _FULL_WIDTH_S)
    pose *= wanted / np.maximum(pose.std(axis=0), 1e-9)
    limited: Floats64 = _LIMIT * np.tanh(pose / _LIMIT)
    return limited


def _drift(frames: int, fps: float, rng: np.random.Generator) -> Floats64:
    """Band-limited noise (frames, 3) of unit variance and zero mean over the clip."""
    low, high = _DRIFT_HZ
    # Longer than the clip, as the sum of sines comes back to its start; whole seconds, so that the draws, and
    # with them the motion, are the same at every frame rate.
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


def _postures(voice: Floats64, fps: float, rng: np.random.Generator) -> Floats64:
    """Where the head rests (T, 3) in degrees: a new place with every phrase, taken up smoothly."""
    # Speech within the last pause's length: a rise of this is the first sound after a true pause.
    reach = max(1, round(_PHRASE_PAUSE_S * fps))
    loud = voice > 0.5
    last = np.maximum.accumulate(np.where(loud, np.arange(len(loud)), -reach - 1))
    quiet_before = np.arange(len(loud)) - np.concatenate([[-reach - 1], last[:-1]]) > reach
    phrase = np.cumsum(loud & quiet_before)
    places = rng.standard_normal((phrase[-1] + 1, 3)) * _POSTURE_DEG
    return np.stack([_soft(axis, round(_POSTURE_S * fps)) for axis in places[phrase].T], axis=1)


def _nods(loudness_db: Floats64, voice: Floats64, fps: float, rng: np.random.Generator) -> Floats64:
    """Pitch (T,) in degrees of short nods on some of the voice's loud syllables."""
    level = _soft(loudness_db, round(0.2 * fps))
    raised = level - moving_average(loudness_db, max(1, round(1.0 * fps)))
    peak = np.zeros(len(level), dtype=bool)
    peak[1:-1] = (level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])
    stressed = np.flatnonzero(peak & (raised > _STRESS_DB) & (voice > 0.5))

    nods = np.zeros(len(level))
    free_from = 0.0
    for at in stressed / fps:
        # Drawn for every peak, taken or not, so that one peak more does not change all later nods.
        chance, depth, length, direction = rng.uniform(size=4)
        if at < free_from or chance > _NOD_CHANCE:
            continue
        free_from = at + _STRESS_APART_S
        # Small slow ones are the most common.
        degrees = _NOD_DEG[0] + (_NOD_DEG[1] - _NOD_DEG[0]) * depth**2
        half = (_NOD_S[1] - (_NOD_S[1] - _NOD_S[0]) * length**2) / 2
        middle = at + _NOD_LATE_S
        first, last = max(0, int(np.ceil((middle - half) * fps))), int((middle + half) * fps) + 1
        phase = (np.arange(first, min(last, len(nods))) / fps - middle) / half
        bump = degrees * (1.0 + np.cos(np.pi * phase)) / 2
        nods[first : first + len(bump)] += bump if direction < _NOD_UP else -bump
    return nods


def _soft(x: Floats64, window: int) -> Floats64:
    """`x` (T,) seen through a bell about `window` frames wide: a moving average taken three times."""
    third = max(1, round(window / 1.7)) | 1  # odd: the bell must not lean
    for _ in range(3):
        x = moving_average(x, third)
    return x
