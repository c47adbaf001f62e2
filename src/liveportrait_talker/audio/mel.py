"""Mel spectrogram and its windows per video frame, the input of SadTalker's audio networks.

Source: docs/method/sadtalker.md, Mel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Floats32, Floats64
from ..media.waveform import Waveform

SAMPLE_RATE = 16_000  # Hz
HOP = 200  # samples from one mel row to the next
ROWS_PER_SECOND = SAMPLE_RATE // HOP  # 80, exact
FFT_SIZE = 800  # samples, also length of the Hann window
BANDS = 80
MEL_WINDOW_ROWS = 16  # 0.2 s
FPS = 25.0  # frame rate of the training data

_LEAD_FRAMES = 2  # a window starts this many video frames before its frame
_PREEMPHASIS = 0.97
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 7600.0
_FLOOR = 1e-5  # −100 dB
_BLOCK_ROWS = 1024  # rows transformed at a time: a few MB


def mel_spectrogram(voice: Waveform, frames: int, fps: float = FPS) -> Floats64:
    """Return the mel spectrogram (M, 80) float64 in −4…4, low bands first, of the first `frames` video frames.

    `voice` is truncated or padded with silence to that length; M = 1 + samples // 200. Digital silence gives −4.

    Raises:
        ValueError: the sample rate is not 16 kHz.
    """
    if voice.sample_rate != SAMPLE_RATE:
        raise ValueError(f"the sample rate must be {SAMPLE_RATE} Hz, got {voice.sample_rate} Hz")
    length = int(frames * (SAMPLE_RATE / fps))
    kept = voice.samples[:length]
    # One zero before for the pre-emphasis, then half a window of zeros at both ends, as in librosa ≥ 0.9.
    lead = FFT_SIZE // 2 + 1
    padded = np.zeros(lead + length + FFT_SIZE // 2, dtype=np.float32)
    padded[lead : lead + len(kept)] = kept
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE)

    rows = 1 + length // HOP
    mel = np.empty((rows, BANDS))
    for first in range(0, rows, _BLOCK_ROWS):
        last = min(first + _BLOCK_ROWS, rows)
        part = padded[first * HOP : (last - 1) * HOP + FFT_SIZE + 1].astype(np.float64)
        sharp = part[1:] - _PREEMPHASIS * part[:-1]
        sharp[length + FFT_SIZE // 2 - first * HOP :] = 0.0  # the pre-emphasis must not reach the padding
        windows = np.lib.stride_tricks.sliding_window_view(sharp, FFT_SIZE)[::HOP]
        magnitude = np.abs(np.fft.rfft(windows * hann, axis=1))
        decibel = 20.0 * np.log10(np.maximum(_FLOOR, magnitude @ mel_filters().T)) - 20.0
        mel[first:last] = np.clip(8.0 * (decibel + 100.0) / 100.0 - 4.0, -4.0, 4.0)
    return mel


def mel_window_index(frames: int, rows: int, fps: float = FPS) -> npt.NDArray[np.int64]:
    """Return the mel rows in the window of each video frame: int64 (frames, 16), clamped to 0…rows−1."""
    # Truncated towards zero as in training: the windows of the first frames start a row later than with floor.
    start = np.trunc(ROWS_PER_SECOND * ((np.arange(frames) - _LEAD_FRAMES) / fps)).astype(np.int64)
    index: npt.NDArray[np.int64] = np.clip(start[:, None] + np.arange(MEL_WINDOW_ROWS), 0, rows - 1)
    return index


def mel_windows(mel: Floats, index: npt.NDArray[np.int64]) -> Floats32:
    """Return network inputs (T, 1, 80, 16) float32 from a mel spectrogram (M, 80) and rows (T, 16) of its window index.

    They take 5 kB per frame: for long voices, pass slices of `mel_window_index`.
    """
    windows: Floats32 = mel.astype(np.float32)[index].transpose(0, 2, 1)[:, None]
    return windows


@lru_cache(maxsize=1)
def mel_filters() -> Floats32:
    """Return triangular filters (80, 401) float32 on Slaney's scale, each of unit area over Hz; read-only."""
    low, high = _mel_from_hz(np.array([_LOWEST_HZ, _HIGHEST_HZ]))
    edges = _hz_from_mel(np.linspace(low, high, BANDS + 2))
    bins = np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE / FFT_SIZE)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: Floats32 = (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    filters.setflags(write=False)
    return filters


def _mel_from_hz(hz: Floats64) -> Floats64:
    """Convert Hz to Slaney's mel scale: linear up to 1000 Hz, logarithmic above."""
    return np.where(hz < 1000.0, 3.0 * hz / 200.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1.0) / 1000.0) / np.log(6.4))


def _hz_from_mel(mel: Floats64) -> Floats64:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))
