"""A whole voice through the voice driver for streams, for measurements."""

from __future__ import annotations

from pathlib import Path

from liveportrait_talker.arrays import Floats
from liveportrait_talker.driving.signal.stream import SpeechStream
from liveportrait_talker.face.mouth_offsets import subtract_source_mouth
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.media.waveform import Waveform
from liveportrait_talker.motion.track import MouthControls


class StreamedVoice:
    """A mouth driver as `SignalDriver`, which hears the voice as a stream."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights

    def mouth(self, voice: Waveform, fps: float) -> Floats:
        """Return the mouth (T, 5) in IOD for each frame of `voice`."""
        stream = SpeechStream(fps=fps, weights=self._weights)
        stream.push(voice.samples)
        stream.end()
        return stream.pop_frames()[: voice.frame_count(fps)]

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> MouthControls:
        """Return the mouth relative to that of `source`."""
        return subtract_source_mouth(self.mouth(voice, fps), source, fps)
