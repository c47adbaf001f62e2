"""Loudness of a sound over time, and its silences (docs/method/measurements.md, Mouth and sound, Rest)."""

from __future__ import annotations

import numpy as np

from ..arrays import Flags, Floats, Floats64
from ..media.waveform import Waveform
from ..motion.intervals import true_intervals

_BAND_HZ = (300.0, 3000.0)
_ORDER = 4  # of the Butterworth filter, which is applied in both directions
_BLOCK, _MARGIN = 1 << 18, 1 << 12  # samples filtered at a time, and what they need on each side
_RANGE_DB = 60.0  # lower levels, relative to the peak, are raised to this
_SILENT_DB, _LOUD_DB = 35.0, 25.0  # below the 95th percentile
_SHORTEST_SILENCE_S, _EDGE_S = 0.3, 0.12


def envelope_db(voice: Waveform, frames: int, fps: float) -> Floats64:
    """Return the RMS of the 300–3000 Hz band in each of the first `frames` frames (frames,), dB; at least peak − 60."""
    hop = round(voice.sample_rate / fps)
    power = np.zeros(frames)
    block = max(1, _BLOCK // hop)
    for first in range(0, frames, block):
        count = min(block, frames - first)
        start, stop = first * hop, (first + count) * hop
        filtered = _band_pass(voice.samples[max(start - _MARGIN, 0) : stop + _MARGIN], voice.sample_rate)
        piece = filtered[start - max(start - _MARGIN, 0) :][: count * hop]
        squares = np.square(np.pad(piece, (0, count * hop - len(piece))))
        power[first : first + count] = squares.reshape(count, hop).mean(axis=1)
    decibel = 20 * np.log10(np.sqrt(power) + 1e-9)
    return np.asarray(np.maximum(decibel, decibel.max() - _RANGE_DB))


def silent_frames(envelope: Floats, fps: float) -> Flags:
    """Return the frames (T,) in silences of ≥ 300 ms, less 120 ms at ends next to sound."""
    edge = round(_EDGE_S * fps)
    silent = np.zeros(len(envelope), bool)
    for first, end in true_intervals(envelope < np.percentile(envelope, 95) - _SILENT_DB):
        if end - first >= _SHORTEST_SILENCE_S * fps:
            silent[first + edge * (first > 0) : end - edge * (end < len(envelope))] = True
    return silent


def loud_frames(envelope: Floats) -> Flags:
    """Return the frames (T,) within 25 dB of the 95th percentile: speech."""
    return np.asarray(envelope > np.percentile(envelope, 95) - _LOUD_DB)


def _band_pass(samples: Floats, rate: int) -> Floats64:
    """Return samples (n,) filtered by a Butterworth band pass forwards and backwards, which has no delay."""
    size = 1 << (len(samples) + 2 * _MARGIN - 1).bit_length()  # a fast length, with silence behind
    frequency = np.fft.rfftfreq(size, 1 / rate)
    warped = np.tan(np.pi * np.minimum(frequency, 0.4999 * rate) / rate)
    low, high = (np.tan(np.pi * hz / rate) for hz in _BAND_HZ)
    detuning = (warped**2 - low * high) / np.maximum(warped * (high - low), 1e-12)
    gain = 1 / (1 + detuning ** (2 * _ORDER))
    return np.fft.irfft(np.fft.rfft(samples, size) * gain, size)[: len(samples)]
