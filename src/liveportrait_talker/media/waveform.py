"""`Waveform`: mono audio samples."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import Floats32


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono audio."""

    samples: Floats32
    """(N,) float32, −1…1, N ≥ 1."""
    sample_rate: int
    """Hz; voice drivers need 16 000."""

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32 or not len(self.samples):
            raise ValueError(
                f"Waveform.samples must be (N ≥ 1,) float32, got {self.samples.shape} {self.samples.dtype}"
            )
        if self.sample_rate <= 0:
            raise ValueError(f"Waveform.sample_rate must be positive, got {self.sample_rate}")

    def __repr__(self) -> str:
        return f"Waveform({self.duration_seconds:.2f} s, {self.sample_rate} Hz)"

    @property
    def duration_seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.sample_rate

    def first(self, seconds: float) -> Waveform:
        """Return the first `seconds`, at least a sample, or all."""
        return Waveform(self.samples[: max(1, int(seconds * self.sample_rate))], self.sample_rate)

    def write_wav(self, path: Path) -> None:
        """Write a 16-bit WAV file; samples beyond ±1 are clipped."""
        with path.open("wb") as file, wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(self.sample_rate)
            sound.writeframes((np.clip(self.samples, -1, 1) * 32767).astype("<i2").tobytes())

    def frame_count(self, fps: float) -> int:
        """Return the number of video frames of the same duration, rounded, at least 1."""
        return max(1, round(self.duration_seconds * fps))
