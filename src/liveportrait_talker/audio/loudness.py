"""How loud a voice is and whether it speaks, once per video frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats32
from ..media.waveform import Waveform
from ..motion.smoothing import moving_average

_BAND_HZ = (300.0, 3000.0)  # vowels and most of the voiced consonants, little hum or hiss
_RANGE_DB = 60.0  # below the clip's peak nothing is told apart
_BLOCK_SAMPLES = 1 << 17  # looked at once: a few MB, at any frame rate

_SPEECH_RANGE_DB = 32.0  # speech lies within this of the clip's loud parts
_FLOOR_SHARE = 0.3  # and at least this share of the way up from the background
_STEADY_DB = (5.0, 9.0)  # a sound which varies less than this is noise, not a voice
_BRIDGE_S = 0.12  # stops and weak syllables shorter than twice this are still speech


def loudness_db(voice: Waveform, fps: float) -> Floats32:
    """RMS of the 300–3000 Hz band in dB re full scale: float32 (T,), T = `voice.frame_count(fps)`.

    Each frame is weighed by a Hann window of two frames' length about its own middle. Values are floored at
    60 dB below the clip's peak. The sound is read in blocks, so memory does not grow with it.
    """
    rate, frames = voice.sample_rate, voice.frame_count(fps)
    size = max(8, round(2 * rate / fps))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frequency = np.fft.rfftfreq(size, 1.0 / rate)
    band = (frequency >= _BAND_HZ[0]) & (frequency <= _BAND_HZ[1])
    # Parseval: the mean square of the sound seen through the window; both signs of frequency, hence the 2.
    scale = 2.0 / (size * np.square(hann).sum())

    power = np.empty(frames)
    samples = voice.samples
    block = max(1, _BLOCK_SAMPLES // size)
    for first in range(0, frames, block):
        middle = (np.arange(first, min(first + block, frames)) + 0.5) * rate / fps
        at = np.rint(middle - size / 2).astype(np.int64)[:, None] + np.arange(size)
        inside = (at >= 0) & (at < len(samples))
        cut = np.where(inside, samples[np.clip(at, 0, len(samples) - 1)], 0.0)
        spectrum = np.fft.rfft(cut * hann, axis=1)[:, band]
        power[first : first + len(cut)] = np.square(np.abs(spectrum)).sum(axis=1) * scale
    decibel = 10.0 * np.log10(power + 1e-18)
    floored: Floats32 = np.maximum(decibel, decibel.max() - _RANGE_DB).astype(np.float32)
    return floored


def speaking(loudness: npt.NDArray[np.floating[Any]], fps: float) -> Floats32:
    """How surely a voice speaks, 0…1, float32 (T,), from its `loudness_db` (T,).

    Only differences of level count, so quiet recordings read like loud ones. The threshold lies 32 dB below the
    loud parts, or higher where a constant noise fills the pauses; a steady sound and digital silence are 0.
    """
    level = np.asarray(loudness, dtype=np.float64)
    # The peak of a 0.2 s mean: a click is not a voice.
    peak = float(moving_average(level, max(1, round(0.2 * fps))).max())
    floor = float(np.percentile(level, 5))
    span = peak - floor
    threshold = max(peak - _SPEECH_RANGE_DB, floor + _FLOOR_SHARE * span)
    soft = np.clip((level - threshold) / max(2.0, 0.15 * span) + 0.5, 0.0, 1.0)
    soft *= np.clip((span - _STEADY_DB[0]) / (_STEADY_DB[1] - _STEADY_DB[0]), 0.0, 1.0)
    reach = max(1, round(_BRIDGE_S * fps))
    # Widened and narrowed again: fills short gaps without making the pauses shorter.
    wide = _windows(soft, reach, 0.0).max(axis=1)
    closed = _windows(wide, reach, 1.0).min(axis=1)
    return np.clip(moving_average(closed, 2 * (reach // 2) + 1), 0.0, 1.0).astype(np.float32)


def _windows(x: npt.NDArray[np.float64], reach: int, beyond: float) -> npt.NDArray[np.float64]:
    """Views (T, 2·reach + 1) about each of `x` (T,), with `beyond` past the ends."""
    padded = np.pad(x, reach, constant_values=beyond)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
