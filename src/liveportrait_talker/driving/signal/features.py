"""Log-mel features of a voice, normalised for gain, room and microphone.

100 frames per second; frame j is centred on j / 100 s, so that every fourth frame is that of a 25 fps video.
Source: docs/method/signal_driver.md, Features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...arrays import Floats

SAMPLE_RATE = 16_000  # Hz
HOP = 160  # samples: 10 ms
WINDOW = 400  # samples: 25 ms, about two periods of a low voice
FFT = 512
MEL_BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
FRAMES_PER_SECOND = SAMPLE_RATE // HOP

FLOOR_DB = 60.0  # below the level of the voice
ACTIVE_DB = 25.0  # frames within this range below the level of the voice define its mean spectrum
_BLOCK = 500  # frames transformed at once: 3 MB for any length of voice


def mel_filters(warp: float = 1.0) -> Floats:
    """Return triangular filters (FFT // 2 + 1, MEL_BANDS) of equal peaks; `warp` > 1 imitates a shorter vocal tract."""

    def to_mel(hz: Floats | float) -> Any:
        return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)

    edges_mel = np.linspace(to_mel(LOWEST_HZ), to_mel(HIGHEST_HZ), MEL_BANDS + 2)
    edges = np.minimum(700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0) / warp, SAMPLE_RATE / 2)
    hz = np.arange(FFT // 2 + 1) * (SAMPLE_RATE / FFT)
    left, middle, right = (edges[i : i + MEL_BANDS] for i in range(3))
    rising = (hz[:, None] - left) / np.maximum(middle - left, 1e-3)
    falling = (right - hz[:, None]) / np.maximum(right - middle, 1e-3)
    bank: Floats = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return bank


def frame_power(frames: Floats) -> Floats:
    """Return the power spectra (n, FFT // 2 + 1) of frames (n, WINDOW) of samples."""
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    window /= window.sum() / 2.0  # a sine of amplitude 1 has power 1 in its bin
    spectrum = np.fft.rfft(frames * window, FFT)
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


def power_spectra(samples: Floats) -> Iterator[Floats]:
    """Yield blocks (n, FFT // 2 + 1) of power spectra, one row per HOP samples, 1 + N // HOP rows in total."""
    count, half = 1 + len(samples) // HOP, WINDOW // 2
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        first, last = start * HOP - half, (stop - 1) * HOP + half
        # Pad this block only: a padded copy of a long voice would double its memory.
        piece = np.asarray(samples[max(first, 0) : last], np.float32)
        piece = np.pad(piece, (max(-first, 0), last - max(first, 0) - len(piece)))
        yield frame_power(np.lib.stride_tricks.sliding_window_view(piece, WINDOW)[::HOP])


def mel_power(samples: Floats, filters: Floats | None = None) -> Floats:
    """Return the power (1 + N // HOP, MEL_BANDS) in each band."""
    bank = mel_filters() if filters is None else filters
    out = np.empty((1 + len(samples) // HOP, bank.shape[1]), np.float32)
    done = 0
    for power in power_spectra(samples):
        np.matmul(power, bank, out=out[done : done + len(power)])
        done += len(power)
    return out


def band_loudness_db(power: Floats) -> Floats:
    """Return the loudness (frames,) in dB of mel power (frames, MEL_BANDS) above 300 Hz, without hum."""
    return np.asarray(10.0 * np.log10(power[:, 4:].sum(axis=1) + 1e-20), np.float32)


def voice_level_db(loudness: Floats) -> float:
    """Return the 95th percentile of the frames within 50 dB of the loudest, which pauses do not lower."""
    return float(np.percentile(loudness[loudness > loudness.max() - 50.0], 95))


def normalised_log_mel(power: Floats) -> Floats:
    """Return log power relative to the voice's mean spectrum, (frames, MEL_BANDS) float32 of about unit variance.

    The level removes the gain, the mean over the active frames the colour of room and microphone.
    """
    loudness = band_loudness_db(power)
    level = voice_level_db(loudness)
    floor = 10.0 ** ((level - FLOOR_DB) / 10.0) / MEL_BANDS
    log_mel = np.asarray(power + floor, np.float32)
    np.log10(log_mel, out=log_mel)  # in place from here on: one copy of a long voice instead of three
    log_mel *= 10.0
    active = 1.0 / (1.0 + np.exp(np.clip((level - ACTIVE_DB - loudness) / 3.0, -30.0, 30.0)))
    mean = (active @ log_mel) / (active.sum() + 1e-6)
    log_mel -= mean
    log_mel /= 15.0
    return log_mel
