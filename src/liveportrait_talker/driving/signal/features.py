"""A voice as the mouth network hears it: log-mel frames that do not depend on gain, room or microphone.

100 frames a second; frame j is centred on j / 100 seconds, so that every fourth frame is one of a 25 fps video.
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

FLOOR_DB = 60.0  # what lies this far under the voice's own level is not heard
ACTIVE_DB = 25.0  # frames within this of the voice's level count as voice when its mean spectrum is taken
_BLOCK = 500  # frames transformed at once: bounds memory to ~3 MB however long the voice is


def mel_filters(warp: float = 1.0) -> Floats:
    """(FFT // 2 + 1, MEL_BANDS) triangles, equal peaks; `warp` > 1 hears the voice as of a shorter vocal tract."""

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


def power_spectra(samples: Floats) -> Iterator[Floats]:
    """Blocks of (n, FFT // 2 + 1) power, one row every HOP samples, together 1 + N // HOP rows."""
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    window /= window.sum() / 2.0  # a sine of amplitude 1 has power 1 in its bin
    count, half = 1 + len(samples) // HOP, WINDOW // 2
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        first, last = start * HOP - half, (stop - 1) * HOP + half
        # Only this block is padded: a copy of a long voice would double its memory.
        piece = np.asarray(samples[max(first, 0) : last], np.float32)
        piece = np.pad(piece, (max(-first, 0), last - max(first, 0) - len(piece)))
        frames = np.lib.stride_tricks.sliding_window_view(piece, WINDOW)[::HOP]
        spectrum = np.fft.rfft(frames * window, FFT)
        yield (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


def mel_power(samples: Floats, filters: Floats | None = None) -> Floats:
    """(1 + N // HOP, MEL_BANDS) power in each band."""
    bank = mel_filters() if filters is None else filters
    out = np.empty((1 + len(samples) // HOP, bank.shape[1]), np.float32)
    done = 0
    for power in power_spectra(samples):
        np.matmul(power, bank, out=out[done : done + len(power)])
        done += len(power)
    return out


def band_loudness_db(power: Floats) -> Floats:
    """(frames,) level of mel power (frames, MEL_BANDS) in dB, 300 Hz and up, where the voice stands over hum."""
    return np.asarray(10.0 * np.log10(power[:, 4:].sum(axis=1) + 1e-20), np.float32)


def voice_level_db(loudness: Floats) -> float:
    """The level of the loud frames: 95th percentile of those within 50 dB of the loudest (pauses do not lower it)."""
    return float(np.percentile(loudness[loudness > loudness.max() - 50.0], 95))


def normalised_log_mel(power: Floats) -> Floats:
    """(frames, MEL_BANDS) float32 of about unit size: log power over the voice's own mean spectrum.

    Gain drops out with the level, colour of room and microphone with the mean over the active frames.
    """
    loudness = band_loudness_db(power)
    level = voice_level_db(loudness)
    floor = 10.0 ** ((level - FLOOR_DB) / 10.0) / MEL_BANDS
    log_mel = np.asarray(power + floor, np.float32)
    np.log10(log_mel, out=log_mel)  # in place from here on: a long voice's frames are in memory once more, not thrice
    log_mel *= 10.0
    active = 1.0 / (1.0 + np.exp(np.clip((level - ACTIVE_DB - loudness) / 3.0, -30.0, 30.0)))
    mean = (active @ log_mel) / (active.sum() + 1e-6)
    log_mel -= mean
    log_mel /= 15.0
    return log_mel
