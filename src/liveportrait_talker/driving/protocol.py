"""What every voice driver is."""

from __future__ import annotations

from typing import Protocol

from ..face.tracked import TrackedSource
from ..media.waveform import Waveform
from ..motion.track import Mouth


class MouthDriver(Protocol):
    """A voice → how the mouth of a source moves."""

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> Mouth:
        """The mouth for `voice.frame_count(fps)` frames, relative to the source's own."""
        ...
