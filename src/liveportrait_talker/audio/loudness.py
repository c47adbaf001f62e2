"""Loudness and speech detection, one value per video frame: of a whole clip, or while it comes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..arrays import Flags, Floats, Floats32, Floats64
from ..media.waveform import Waveform
from ..motion.smoothing import moving_average

_BAND_HZ = (300.0, 3000.0)  # vowels and most voiced consonants, little hum or hiss
_RANGE_DB = 60.0  # lower levels, relative to the clip's peak, are raised to this
_BLOCK_SAMPLES = 1 << 17  # processed at a time: a few MB, at any frame rate

_SPEECH_RANGE_DB = 32.0  # level of speech relative to the loud parts of the clip
_FLOOR_SHARE = 0.3  # the threshold lies at least this far from the background level to the peak
_STEADY_DB = (5.0, 9.0)  # dynamic range over which the result fades in: less is noise, not speech
_BRIDGE_S = 0.12  # gaps of up to twice this are filled: stops and weak syllables

# While the sound comes, running levels take the place of the clip's.
_QUIETEST_DB = -47.0  # of the band; what is below is background, whatever came before
_PEAK_FALLS_DB, _FLOOR_RISES_DB = 0.5, 3.0  # a second
_PEAK_RISES = 0.35  # share of a frame's rise that is followed, so that clicks do not count


def frame_loudness_db(voice: Waveform, fps: float) -> Floats32:
    """Return the RMS of the 300–3000 Hz band in dB re full scale: float32 (T,), T = `voice.frame_count(fps)`.

    Each value uses a Hann window of two frames, centred on the frame. Values are at least the peak − 60 dB.
    Samples are processed in blocks, so that memory does not grow with the length.
    """
    rate, frames = voice.sample_rate, voice.frame_count(fps)
    size = window_size(rate, fps)
    power = np.empty(frames)
    samples = voice.samples
    block = max(1, _BLOCK_SAMPLES // size)
    for first in range(0, frames, block):
        middle = (np.arange(first, min(first + block, frames)) + 0.5) * rate / fps
        at = np.rint(middle - size / 2).astype(np.int64)[:, None] + np.arange(size)
        inside = (at >= 0) & (at < len(samples))
        cut = np.where(inside, samples[np.clip(at, 0, len(samples) - 1)], 0.0)
        power[first : first + len(cut)] = band_power(cut, rate)
    decibel = 10.0 * np.log10(power + 1e-18)
    floored: Floats32 = np.maximum(decibel, decibel.max() - _RANGE_DB).astype(np.float32)
    return floored


def window_size(rate: int, fps: float) -> int:
    """Return the samples of two frames."""
    return max(8, round(2 * rate / fps))


def band_power(windows: Floats, rate: int) -> Floats64:
    """Return the mean square (n,) of the 300–3000 Hz band in windows (n, size) of samples."""
    hann, band, scale = _band(windows.shape[1], rate)
    spectrum = np.fft.rfft(windows * hann, axis=1)[:, band]
    return np.asarray(np.square(np.abs(spectrum)).sum(axis=1) * scale)


@lru_cache(maxsize=8)
def _band(size: int, rate: int) -> tuple[Floats64, Flags, float]:
    """Return the window (size,), which bins belong to the band, and the scale from their sum to a mean square."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frequency = np.fft.rfftfreq(size, 1.0 / rate)
    # Parseval's theorem: mean square of the windowed samples. The factor 2 is for the negative frequencies.
    scale = 2.0 / (size * np.square(hann).sum())
    return hann, (frequency >= _BAND_HZ[0]) & (frequency <= _BAND_HZ[1]), float(scale)


def detect_speech(loudness: Floats, fps: float) -> Floats32:
    """Return the confidence that each frame holds speech, float32 (T,) in 0…1, from `frame_loudness_db` (T,).

    The result does not depend on the recording level. The threshold lies 32 dB below the loud parts, or higher
    if noise fills the pauses. Steady sounds and digital silence give 0.
    """
    level = np.asarray(loudness, dtype=np.float64)
    # Peak of the 0.2 s mean, so that clicks do not count.
    peak = float(moving_average(level, max(1, round(0.2 * fps))).max())
    floor = float(np.percentile(level, 5))
    span = peak - floor
    threshold = max(peak - _SPEECH_RANGE_DB, floor + _FLOOR_SHARE * span)
    soft = np.clip((level - threshold) / max(2.0, 0.15 * span) + 0.5, 0.0, 1.0)
    soft *= np.clip((span - _STEADY_DB[0]) / (_STEADY_DB[1] - _STEADY_DB[0]), 0.0, 1.0)
    reach = max(1, round(_BRIDGE_S * fps))
    # Morphological closing: fills short gaps without shortening the pauses.
    wide = _windows(soft, reach, 0.0).max(axis=1)
    closed = _windows(wide, reach, 1.0).min(axis=1)
    return np.clip(moving_average(closed, 2 * (reach // 2) + 1), 0.0, 1.0).astype(np.float32)


class RunningSpeechDetector:
    """The confidence that there is speech, frame by frame; steady sounds and what is below −47 dB give 0."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._peak = self._floor = _QUIETEST_DB
        self._held_frames = 0

    def step(self, loudness_db: float) -> float:
        """Return 0 or 1 for the next frame from its loudness in dB re full scale."""
        self._peak = max(self._peak - _PEAK_FALLS_DB / self._fps, _QUIETEST_DB)
        self._peak += _PEAK_RISES * max(loudness_db - self._peak, 0.0)
        self._floor = min(self._floor + _FLOOR_RISES_DB / self._fps, max(loudness_db, _QUIETEST_DB - _STEADY_DB[1]))
        span = self._peak - self._floor
        threshold = max(self._peak - _SPEECH_RANGE_DB, self._floor + _FLOOR_SHARE * span, _QUIETEST_DB)
        if loudness_db > threshold and span > _STEADY_DB[0]:
            self._held_frames = round(2 * _BRIDGE_S * self._fps) + 1
        self._held_frames = max(0, self._held_frames - 1)
        return float(self._held_frames > 0)

    def end(self) -> None:
        """Hold the last sound no longer: the utterance is over."""
        self._held_frames = 0


def _windows(x: Floats64, reach: int, padding: float) -> Floats64:
    """Return views (T, 2·reach + 1) centred on each value of `x` (T,), padded with `padding`."""
    padded = np.pad(x, reach, constant_values=padding)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
