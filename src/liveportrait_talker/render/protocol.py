"""What every renderer is: `prepare` a tracked source once, then draw `frames` of any motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import Image
from ..face.crop import FaceCrop
from ..face.tracked import TrackedSource
from ..motion.track import MotionTrack


@dataclass(frozen=True, eq=False)
class FaceFrame:
    """A drawn face, to be pasted into its picture."""

    image: Image
    """(h, w, 3) RGB, `crop.size` = (w, h)."""
    alpha: npt.NDArray[np.floating[Any]] | None
    """(h, w) float32 0…1, how much of `image` shows; None = all of it (its rim already equals the picture)."""
    crop: FaceCrop
    """Where it belongs."""
    source_index: int
    """The source frame it was made from and is pasted into."""
    picture: Image | None = None
    """That frame, where the renderer has it at hand: to fetch it from a video once more may mean decoding it anew."""

    def __repr__(self) -> str:
        return f"FaceFrame({self.crop!r}, source frame {self.source_index})"


class PreparedFace(Protocol):
    """A source made ready by one renderer; asked as often as wanted."""

    def frames(self, track: MotionTrack) -> Iterator[FaceFrame]:
        """One drawn face a track frame, in order, made as they are asked for."""
        ...


class Renderer(Protocol):
    """Turns motion into pictures."""

    name: str

    def prepare(self, source: TrackedSource) -> PreparedFace:
        """The costly pass, once a source."""
        ...
