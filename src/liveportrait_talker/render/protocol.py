"""The interface of renderers: `prepare` a tracked source once, then draw `frames` of any motion.

A renderer needs no more than `Renderer` and `PreparedFace`: driving clips and expression sliders reach it as motion
tracks. One that follows them by networks of its own implements `DrivenRenderer` and `DrivenFace` as well. The smallest
renderer paints a grey square into each source frame that shows the face:

    class Square:
        name = "square"

        def prepare(self, source):
            self.source = source
            return self

        def frames(self, track):
            for index in self.source.frame_indices(len(track), track.fps):  # the source frame of each track frame
                side = 64 if self.source.shows_face(index) else 1
                image = np.full((side, side, 3), 128, np.uint8)
                yield FaceFrame(image, None, FaceCrop.window(0, 0, side, side), int(index))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..arrays import Floats, Image
from ..face.crop import FaceCrop
from ..face.tracked import TrackedSource
from ..motion.template import MotionTemplate
from ..motion.track import MotionTrack
from ..options.animate import AnimateOptions
from ..options.sliders import ExpressionEdit
from ..progress import OnStep


@dataclass(frozen=True, eq=False)
class FaceFrame:
    """A drawn face, to be pasted into its source frame."""

    image: Image
    """(h, w, 3) RGB, `crop.size` = (w, h); (h, w, 4) RGBA where `picture` is transparent."""
    alpha: Floats | None
    """(h, w) float32 0…1, opacity of `image`; None = opaque (its border already equals the source frame)."""
    crop: FaceCrop
    """Where it belongs."""
    source_index: int
    """The source frame it was made from and is pasted into."""
    picture: Image | None = None
    """What the face is pasted into, where it is not that frame: one with another background, (H, W, 3) or RGBA
    (H, W, 4). Also where the renderer has the frame: reading it from a video may mean decoding it again."""

    def __repr__(self) -> str:
        return f"FaceFrame({self.crop!r}, source frame {self.source_index})"


class PreparedFace(Protocol):
    """A source prepared by one renderer; can be drawn any number of times."""

    def frames(self, track: MotionTrack) -> Iterator[FaceFrame]:
        """Yield one drawn face for each frame of the track, drawn on demand."""
        ...


class Renderer(Protocol):
    """Draws a face in motion."""

    name: str

    def prepare(self, source: TrackedSource) -> PreparedFace:
        """Do what is needed once for a source."""
        ...


@runtime_checkable
class TurningFace(Protocol):
    """A prepared face that states how far its head can turn."""

    @property
    def max_turn_deg(self) -> Floats:
        """(3,) pitch, yaw, roll in degrees that look right, relative to the source's own pose."""
        ...


@runtime_checkable
class LimitedFace(Protocol):
    """A prepared face that warns where an edit asks for more than it can draw."""

    def warn_of_limits(self, rotation_deg: Floats, track: MotionTrack) -> None:
        """Log, once for each limit, where the turn asked for, (3,) degrees, or the track's mouth goes beyond it."""
        ...


@runtime_checkable
class DrivenRenderer(Protocol):
    """A renderer that reads driving clips by networks of its own."""

    def read_driving(self, driving: TrackedSource, *, fps: float, crop: bool, on_step: OnStep) -> MotionTemplate:
        """Return the motion of a driving clip; `crop`: cut its frames to the face first."""
        ...


@runtime_checkable
class DrivenFace(Protocol):
    """A prepared face that follows driving motion and expression sliders by networks of its own."""

    def reenact(
        self, motion: MotionTemplate, options: AnimateOptions, *, frames: int, fps: float, on_step: OnStep
    ) -> Callable[[], Iterator[FaceFrame]]:
        """Read the source's own motion; return the function that draws `frames` frames at `fps`."""
        ...

    def edit(self, edit: ExpressionEdit, sample: Any | None) -> FaceFrame:
        """Return the first frame with the sliders applied; `sample`: a face of this renderer that is copied."""
        ...
