"""Brows and lids that follow the voice: raised on accents, at rest in pauses.

Source: docs/method/motion.md, Brows and lids.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..arrays import Floats, Floats64, Indices, Integers
from .smoothing import bell_average, moving_average, smoothstep

_ACCENT_SEMITONES = 1.5  # above the mean of the second around it
_STRONG_SEMITONES = 6.0  # an accent this high is raised fully
_RAISE_CHANCE = 0.6  # of an accent
_FIRST_CHANCE = 0.85  # of the first accent of a phrase
_APART_S = 1.0  # from one raise to the next
_RAISE_IOD = (0.012, 0.034)  # from the weakest to the strongest accent
_VARIATION = 0.3  # of its size and length
_RISE_S, _FALL_S = 0.24, 0.45
_EARLY_S = 0.05  # by which the brows are up before the pitch is
_IOD_PER_SEMITONE, _MOST_SEMITONES = 0.0016, 4.0  # brows follow the slow pitch
_SLOW_S = 0.5
PHRASE_PAUSE_S = 0.4  # a pause this long ends a phrase
_SETTLE_S = 0.35  # from speaking to rest
_EMPHASIS_DB = (2.0, 7.0)  # above the mean of the second around it: lids start to widen, and are wide
_WIDEN = 0.09  # of the eye's gap, at the strongest emphasis
_WIDEN_PER_IOD = 1.6  # lids follow the brows


class UpperFace(NamedTuple):
    """Motion of brows and lids."""

    brows: Floats64
    """(T,) raised (+) or lowered (−), in IOD."""
    widening: Floats64
    """(T,) of the eyes, as a share of the gap between the lids."""


def follow_voice(
    pitch_hz: Floats, loudness_db: Floats, speaking: Floats, rate: float, times: Floats, rng: np.random.Generator
) -> UpperFace:
    """Return how brows and lids move with a voice.

    Args:
        pitch_hz: (N,) from `audio.pitch`, 0 where there is none.
        loudness_db: (N,) from `audio.loudness`.
        speaking: (N,) 0…1, from `audio.loudness`.
        rate: values a second of these tracks.
        times: (T,) of the frames, in seconds.
        rng: decides which accents raise the brows, and how far.
    """
    if not (np.asarray(pitch_hz) > 0).any():
        return UpperFace(*np.zeros((2, len(times))))
    seconds = np.asarray((np.arange(len(pitch_hz)) + 0.5) / rate, np.float64)
    voice = np.clip(np.asarray(speaking, np.float64), 0.0, 1.0)
    active = bell_average(voice, round(_SETTLE_S * rate))
    semitones = _semitones(pitch_hz)
    slow: Floats64 = np.clip(bell_average(semitones, round(_SLOW_S * rate)), -_MOST_SEMITONES, _MOST_SEMITONES)
    brows = active * (_IOD_PER_SEMITONE * slow + _draw_raises(semitones, voice, seconds, rate, rng))
    _, louder = find_stresses(loudness_db, voice, 0, rate, smoothing_s=0.2)
    emphasis = bell_average(smoothstep(*_EMPHASIS_DB, louder) * voice, round(0.25 * rate))
    widening = active * (_WIDEN * emphasis + _WIDEN_PER_IOD * np.maximum(brows, 0.0))
    return UpperFace(np.interp(times, seconds, brows), np.interp(times, seconds, widening))


def _semitones(pitch_hz: Floats) -> Floats64:
    """Return the pitch (N,) in semitones against the voice's median, interpolated where there is none."""
    at = np.flatnonzero(np.asarray(pitch_hz) > 0)
    height = 12 * np.log2(np.asarray(pitch_hz, np.float64)[at] / np.median(pitch_hz[at]))
    height = np.where(np.abs(height) > 12, np.sign(height) * 12, height)
    # A median of five, because an octave taken wrong looks like an accent.
    around = np.lib.stride_tricks.sliding_window_view(np.pad(height, 2, mode="edge"), 5)
    return np.asarray(np.interp(np.arange(len(pitch_hz)), at, np.median(around, axis=1)))


def _draw_raises(
    semitones: Floats64, voice: Floats64, seconds: Floats64, rate: float, rng: np.random.Generator
) -> Floats64:
    """Return the brows (N,) in IOD as they are raised on some of the accents."""
    accents, height = find_stresses(semitones, voice, _ACCENT_SEMITONES, rate, smoothing_s=0.12)
    phrase = number_phrases(voice, rate)
    raises = np.zeros(len(height))
    free_from, last_phrase = 0.0, -1
    for k in accents:
        # Draw for each accent, used or not, so that an additional accent does not change the later ones.
        chance, size, length = rng.uniform(size=3)
        is_first, last_phrase = phrase[k] != last_phrase, phrase[k]
        at = seconds[k]
        if at < free_from or chance > (_FIRST_CHANCE if is_first else _RAISE_CHANCE):
            continue
        free_from = at + _APART_S
        strength = smoothstep(_ACCENT_SEMITONES, _STRONG_SEMITONES, height[k])
        iod = (_RAISE_IOD[0] + (_RAISE_IOD[1] - _RAISE_IOD[0]) * strength) * (1 + _VARIATION * (2 * size - 1))
        pace = 1 + _VARIATION * (2 * length - 1)
        around = slice(*np.searchsorted(seconds, (at - 2 * _RISE_S, at + 2 * _FALL_S)))
        phase = (seconds[around] - at + _EARLY_S) / pace
        bump = smoothstep(-_RISE_S, 0, phase) * (1 - smoothstep(0, _FALL_S, phase))
        raises[around] = np.maximum(raises[around], iod * bump)
    return raises


def find_stresses(
    track: Floats, voice: Floats, least: float, rate: float, *, smoothing_s: float
) -> tuple[Indices, Floats64]:
    """Return the peaks of a track (N,) during speech, and how far it is above the mean of the second around (N,).

    Args:
        track: loudness in dB, or pitch in semitones.
        voice: (N,) 0…1.
        least: by which a peak is above that mean.
        rate: values a second.
        smoothing_s: width of the bell by which the track is smoothed.
    """
    level = bell_average(track, round(smoothing_s * rate))
    height = level - moving_average(track, max(1, round(rate)))
    is_peak = np.zeros(len(level), dtype=bool)
    is_peak[1:-1] = (level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])
    return np.flatnonzero(is_peak & (height > least) & (np.asarray(voice) > 0.5)), height


def number_phrases(voice: Floats, rate: float) -> Integers:
    """Return (N,) how many phrases have begun, from the voice (N,) 0…1: a long pause ends a phrase."""
    reach = max(1, round(PHRASE_PAUSE_S * rate))
    loud = np.asarray(voice) > 0.5
    last = np.maximum.accumulate(np.where(loud, np.arange(len(loud)), -reach - 1))
    quiet_before = np.arange(len(loud)) - np.concatenate([[-reach - 1], last[:-1]]) > reach
    return np.asarray(np.cumsum(loud & quiet_before))
