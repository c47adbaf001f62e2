"""`Waveform`: mono audio samples."""

from __future__ import annotations

from dataclasses import dataclass

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

    def frame_count(self, fps: float) -> int:
        """Return the number of video frames of the same duration, rounded, at least 1."""
        return max(1, round(self.duration_seconds * fps))
