"""Temporary: the signal driver behind the protocol."""

from __future__ import annotations

from pathlib import Path

from ..face.tracked import TrackedSource
from ..media.waveform import Waveform
from ..motion.track import MouthControls
from .relative import relative_to_source
from .signal import WEIGHTS, SignalDriver


class VoiceMouth:
    """Voice to mouth."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._signal = SignalDriver(weights)

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> MouthControls:
        """The mouth."""
        return relative_to_source(self._signal.drive(voice, 0.0, fps).values, source, fps)
