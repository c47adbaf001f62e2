"""Interface of the voice drivers."""

from __future__ import annotations

from typing import Protocol

from ..face.tracked import TrackedSource
from ..media.waveform import Waveform
from ..motion.track import Mouth


class MouthDriver(Protocol):
    """Makes mouth motion from a voice."""

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> Mouth:
        """Return the mouth for `voice.frame_count(fps)` frames, relative to the source's own."""
        ...
