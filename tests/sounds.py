"""Synthetic sounds."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np


def syllables(seconds: float, rate: int = 16_000) -> np.ndarray:
    """Return a hum with formants in syllables of 0.25 s, with a pause in the middle: (N,) float32."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = 2 * np.pi * 120 * t
    hum = sum(a * np.sin(k * pitch) for k, a in ((1, 1.0), (2, 0.6), (5, 0.6), (6, 0.5), (10, 0.3), (20, 0.1)))
    beat = np.clip(np.sin(2 * np.pi * 4 * t), 0, 1)
    quiet = (t > 0.45 * seconds) & (t < 0.55 * seconds)
    return (0.15 * hum * beat * ~quiet).astype(np.float32)


def babble(seconds: float, seed: int = 0, rate: int = 16_000) -> np.ndarray:
    """Four syllables per second of a buzz through two moving formants: enough of a voice to move the mouth."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    t = np.arange(count) / rate
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    knots = np.arange(0, seconds + 0.25, 0.25)
    first, second = (np.interp(t, knots, rng.uniform(*span, len(knots))) for span in ((300, 800), (900, 2200)))
    sound = np.zeros(count)
    for k in range(1, 40):
        hz = k * pitch
        gain = 1 / (1 + ((hz - first) / 90) ** 2) + 0.5 / (1 + ((hz - second) / 130) ** 2) + 0.01
        sound += gain * np.sin(k * phase)
    return 0.1 * sound * (0.08 + np.clip(np.sin(2 * np.pi * 4 * t), 0, 1))


def pad(sound: np.ndarray, before: float, after: float, rate: int = 16_000) -> np.ndarray:
    """Return `sound` with silence of `before` and `after` seconds."""
    return np.concatenate([np.zeros(round(before * rate)), sound, np.zeros(round(after * rate))])


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """Write a 16-bit mono WAV file, and return its path."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((32767 * np.clip(samples, -1, 1)).astype("<i2").tobytes())
    return path
