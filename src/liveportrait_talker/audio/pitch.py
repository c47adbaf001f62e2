"""Pitch of a voice, one value per video frame, by autocorrelation (docs/method/motion.md, Pitch)."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats64, Integers
from ..media.waveform import Waveform

LOWEST_HZ, HIGHEST_HZ = 65.0, 420.0
_WINDOW_S = 0.05  # three periods of the lowest voice
_VOICED = 0.45  # autocorrelation, as a share of that without delay
_OCTAVE_COST = 0.04  # of the autocorrelation per octave: of two delays alike the shorter one is the period
_SILENT_DB = -45.0  # of a window against the loudest one
_BLOCK = 256  # windows processed at a time: 10 MB


def frame_pitch_hz(voice: Waveform, fps: float) -> Floats64:
    """Return the fundamental frequency (T,) in Hz, 0 where there is none, T = `voice.frame_count(fps)`.

    The window of each frame is centred on its middle. Boersma's method: the autocorrelation of the windowed sound is
    divided by that of the window. Memory does not grow with the length.
    """
    rate, frames = voice.sample_rate, voice.frame_count(fps)
    size = round(_WINDOW_S * rate)
    delays = np.arange(int(rate / HIGHEST_HZ), int(np.ceil(rate / LOWEST_HZ)) + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    length = 1 << int(np.ceil(np.log2(size + delays[-1] + 1)))
    own = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, length))), length)
    cost = _OCTAVE_COST * np.log2(delays / delays[0])
    hz, power = np.zeros(frames), np.zeros(frames)
    for first in range(0, frames, _BLOCK):
        middle = (np.arange(first, min(first + _BLOCK, frames)) + 0.5) * rate / fps
        at = np.rint(middle - size / 2).astype(np.int64)[:, None] + np.arange(size)
        inside = (at >= 0) & (at < len(voice.samples))
        cut = np.where(inside, voice.samples[np.clip(at, 0, len(voice.samples) - 1)], 0.0)
        cut = (cut - cut.mean(axis=1, keepdims=True)) * window
        correlation = np.fft.irfft(np.square(np.abs(np.fft.rfft(cut, length, axis=1))), length, axis=1)
        strength = correlation[:, delays] / np.maximum(correlation[:, :1], 1e-12) * own[0] / own[delays]
        rows = slice(first, first + len(cut))
        power[rows] = correlation[:, 0]
        hz[rows] = rate / _period(strength, cost, delays)
    return np.where(power > power.max() * 10 ** (_SILENT_DB / 10), hz, 0.0)


def _period(strength: Floats64, cost: Floats64, delays: Integers) -> Floats64:
    """Return the period (n,) in samples from the autocorrelation (n, delays) of each window, inf where there is none.

    It is the highest local peak, placed between samples by a parabola.
    """
    inner = strength[:, 1:-1]
    is_peak = (inner >= strength[:, :-2]) & (inner > strength[:, 2:]) & (inner > _VOICED)
    best = np.where(is_peak, inner - cost[1:-1], -np.inf).argmax(axis=1)
    rows = np.arange(len(strength))
    before, at, after = (strength[rows, best + k] for k in range(3))
    bend = np.minimum(before - 2 * at + after, -1e-12)
    period = delays[best + 1] + np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    return np.where(is_peak[rows, best], period, np.inf)
