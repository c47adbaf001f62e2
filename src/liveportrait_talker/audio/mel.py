"""Sound as the lip nets hear it: mel rows on one clock, cut into windows about each video frame.

Source: spec talker.md §2. This is the one place where these rates are written down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats64
from ..media.waveform import Waveform

SAMPLE_RATE = 16_000  # Hz
HOP = 200  # samples from one mel row to the next
ROWS_PER_SECOND = SAMPLE_RATE // HOP  # 80, exact
FFT_SIZE = 800  # samples, also the length of the Hann window
BANDS = 80
MEL_WINDOW_ROWS = 16  # 0.2 s
FPS = 25.0  # frames a second the nets were trained on

_LEAD_FRAMES = 2  # a window starts this many video frames before its own
_PREEMPHASIS = 0.97
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 7600.0
_FLOOR = 1e-5  # −100 dB
_BLOCK_ROWS = 1024  # rows transformed at once: a few MB, however long the voice


def whole_frames(samples: int, fps: float = FPS) -> tuple[int, int]:
    """(samples kept, video frames) of a sound of `samples`: the frames it fills completely, maybe none."""
    per_frame = SAMPLE_RATE / fps
    frames = int(samples / per_frame)
    return int(frames * per_frame), frames


def mel_rows(voice: Waveform, frames: int, fps: float = FPS) -> Floats64:
    """Mel rows (M, 80) float64 in −4…4, low bands first, of the first `frames` video frames of `voice`.

    The sound is cut or padded with silence to that length first; M = 1 + samples // 200. Digital silence is
    exactly −4.

    Raises:
        ValueError: the sound is not at 16 kHz.
    """
    if voice.sample_rate != SAMPLE_RATE:
        raise ValueError(f"mel rows need sound at {SAMPLE_RATE} Hz, got {voice.sample_rate} Hz")
    length = int(frames * (SAMPLE_RATE / fps))
    kept = voice.samples[:length]
    # One zero ahead for the pre-emphasis, then half a window of zeros at both ends, as librosa ≥ 0.9 pads.
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
        sharp[length + FFT_SIZE // 2 - first * HOP :] = 0.0  # the filter must not ring into the padding
        windows = np.lib.stride_tricks.sliding_window_view(sharp, FFT_SIZE)[::HOP]
        magnitude = np.abs(np.fft.rfft(windows * hann, axis=1))
        decibel = 20.0 * np.log10(np.maximum(_FLOOR, magnitude @ mel_basis().T)) - 20.0
        mel[first:last] = np.clip(8.0 * (decibel + 100.0) / 100.0 - 4.0, -4.0, 4.0)
    return mel


def window_index(frames: int, rows: int, fps: float = FPS) -> npt.NDArray[np.int64]:
    """The mel rows that each video frame hears: int64 (frames, 16), clamped to 0…rows−1."""
    # Truncated towards zero, as the nets were trained: the first frames' windows start a row later than a floor.
    start = np.trunc(ROWS_PER_SECOND * ((np.arange(frames) - _LEAD_FRAMES) / fps)).astype(np.int64)
    index: npt.NDArray[np.int64] = np.clip(start[:, None] + np.arange(MEL_WINDOW_ROWS), 0, rows - 1)
    return index


def mel_windows(mel: npt.NDArray[np.floating[Any]], index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Net inputs (T, 1, 80, 16) float32 from mel rows (M, 80) and some rows (T, 16) of `window_index`.

    Five kilobytes a frame: give it a slice of the index at a time where the voice is long.
    """
    windows: npt.NDArray[np.float32] = mel.astype(np.float32)[index].transpose(0, 2, 1)[:, None]
    return windows


@lru_cache(maxsize=1)
def mel_basis() -> npt.NDArray[np.float32]:
    """Triangular filters (80, 401) float32 on Slaney's scale, each of unit area over Hz; read-only."""
    low, high = _mel_from_hz(np.array([_LOWEST_HZ, _HIGHEST_HZ]))
    edges = _hz_from_mel(np.linspace(low, high, BANDS + 2))
    bins = np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE / FFT_SIZE)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    basis: npt.NDArray[np.float32] = (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    basis.setflags(write=False)
    return basis


def _mel_from_hz(hz: Floats64) -> Floats64:
    """Slaney's scale: linear up to 1000 Hz, logarithmic above."""
    return np.where(hz < 1000.0, 3.0 * hz / 200.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1.0) / 1000.0) / np.log(6.4))


def _hz_from_mel(mel: Floats64) -> Floats64:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))
