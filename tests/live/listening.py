"""A renderer that keeps its input, and helpers that collect what a session yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liveportrait_talker import FaceFrame, LiveFrame, LiveOptions, LiveSession, MotionTrack, Talker
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.crop import FaceCrop

RATE = 16_000


class KeepingRenderer:
    """Draws one pixel, and keeps the motion of each frame."""

    name = "keeping"

    def __init__(self, while_drawing=lambda: None) -> None:
        self.sources = []
        self.while_drawing = while_drawing

    def prepare(self, source):
        self.sources.append(source)
        return KeepingFace(self)


class KeepingFace:
    def __init__(self, renderer: KeepingRenderer) -> None:
        self.renderer, self.tracks = renderer, []
        renderer.face = self

    def frames(self, track: MotionTrack):
        self.renderer.while_drawing()
        self.tracks.append(track)
        yield FaceFrame(np.full((1, 1, 3), len(self.tracks) % 251, np.uint8), None, FaceCrop.window(0, 0, 1, 1), 0)


@dataclass
class Live:
    """A session, and the motion of its frames."""

    session: LiveSession
    renderer: KeepingRenderer

    def __post_init__(self) -> None:
        self.warm_up = len(self.renderer.face.tracks)

    @property
    def tracks(self) -> list[MotionTrack]:
        return self.renderer.face.tracks[self.warm_up :]

    @property
    def aperture(self) -> np.ndarray:
        """The opening of the lips in IOD: the source's own and what is added."""
        own = self.renderer.sources[-1].faces[0].aperture
        return np.array([track.mouth.values[0, 0] + own for track in self.tracks])

    def frames(self, count: int) -> list[LiveFrame]:
        return [next(self.session) for _ in range(count)]


TALKER_RENDERER = KeepingRenderer()
TALKER = Talker(renderer=TALKER_RENDERER)  # the portrait is found once


def start(**options) -> Live:
    """Return an unpaced session of the example portrait."""
    TALKER_RENDERER.while_drawing = lambda: None
    values = {"paced": False, "sample_rate": RATE, "max_size": 256} | options
    return Live(TALKER.live(PORTRAIT, LiveOptions(**values)), TALKER_RENDERER)


def sound_of(frames: list[LiveFrame]) -> np.ndarray:
    return np.concatenate([frame.samples for frame in frames])
