"""Pictures of open mouths that a renderer drew of one portrait, drawn once and kept in the cache."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Image
from ...face.finder import FaceFinder
from ...face.mouth_offsets import subtract_source_mouth
from ...face.tracked import TrackedFace, TrackedSource
from ...motion.track import MotionTrack
from ...progress import OnStep
from ...system.cache import cache_folder, replacing
from ..embedded.mouth_examples import MouthExample
from ..protocol import FaceFrame, Renderer
from .mouth_shapes import MOUTH_SHAPES

log = logging.getLogger(__name__)

_CACHE_VERSION = 1
_MARGIN = 0.15  # of the face's size, around the part of a picture that is kept
_ELSEWHERE = 0.5  # IOD from the source's face: it is another face, or none


@dataclass(frozen=True, eq=False)
class DrawnMouth:
    """A drawn face with an open mouth, and the landmarks that were found in it."""

    picture: Image
    """(h, w, 3) RGB, cut to the face."""
    face: TrackedFace

    @classmethod
    def find(cls, frame: FaceFrame, source: TrackedFace, finder: FaceFinder) -> DrawnMouth | None:
        """Return the face in a drawn frame; None where there is none in the source's place."""
        expected = source.in_crop(frame.crop)
        centre = expected.landmarks[:, :2].mean(axis=0)
        for landmarks in finder.find(frame.image):
            face = TrackedFace(landmarks)
            if np.linalg.norm(face.landmarks[:, :2].mean(axis=0) - centre) < _ELSEWHERE * expected.pose.iod:
                return cls._cut(frame.image, face)
        return None

    @classmethod
    def _cut(cls, image: Image, face: TrackedFace) -> DrawnMouth:
        low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
        margin = _MARGIN * (high - low).max()
        left, top = np.maximum(np.floor(low - margin), 0).astype(int)
        right, bottom = np.ceil(high + margin).astype(int)
        return cls(image[top:bottom, left:right].copy(), TrackedFace(face.landmarks - (left, top, 0)))

    def example(self) -> MouthExample | None:
        """Return what the embedded renderer plays; None where the mouth is shut."""
        return MouthExample.of(self.picture, self.face)


def draw_mouths(renderer: Renderer, source: TrackedSource, on_step: OnStep) -> list[DrawnMouth]:
    """Have a renderer draw a still with MOUTH_SHAPES; return the faces that are found, with open mouths."""
    count = len(MOUTH_SHAPES)
    track = MotionTrack.neutral(count)
    wanted = subtract_source_mouth(np.array(MOUTH_SHAPES), source, track.fps)
    frames = renderer.prepare(source).frames(MotionTrack(track.fps, track.head, track.blink, track.gaze, wanted))
    finder = FaceFinder()
    found = (DrawnMouth.find(frame, source.faces[0], finder) for frame in _counted(frames, count, on_step))
    return [mouth for mouth in found if mouth is not None and mouth.example() is not None]


def _counted(frames: Iterator[FaceFrame], count: int, on_step: OnStep) -> Iterator[FaceFrame]:
    on_step(0, count)
    for k, frame in enumerate(frames):
        on_step(k + 1, count)
        yield frame


def cached_file(source: TrackedSource, drawn_by: str) -> Path | None:
    """Return where the mouths of a still are cached; None where they cannot be.

    Args:
        source: its pixels and landmarks are part of the name.
        drawn_by: identifies the networks and their settings.
    """
    picture = source.footage[0]
    digest = hashlib.sha256(repr((drawn_by, MOUTH_SHAPES, picture.shape)).encode())
    digest.update(picture.tobytes())
    digest.update(source.faces[0].landmarks.tobytes())
    try:
        return cache_folder("mouths") / f"{digest.hexdigest()[:32]}.v{_CACHE_VERSION}.npz"
    except OSError as error:
        log.warning(
            "the drawn mouths of %s are not kept in the cache %s (%s).",
            source.footage.name,
            error.filename,
            error.strerror,
        )
        return None


def read_mouths(cached: Path) -> list[DrawnMouth] | None:
    """Return the mouths in a file of the cache; None where there is none, or it is damaged."""
    try:
        with np.load(cached, allow_pickle=False) as data:
            mouths = [
                DrawnMouth(data[f"picture_{k}"], TrackedFace(data[f"face_{k}"])) for k in range(int(data["count"]))
            ]
    except Exception:  # NumPy and zipfile raise anything for a damaged file
        return None
    is_picture = all(m.picture.dtype == np.uint8 and m.picture.ndim == 3 and m.picture.shape[2] == 3 for m in mouths)
    return mouths if is_picture else None


def write_mouths(mouths: list[DrawnMouth], cached: Path) -> None:
    """Write mouths to a file of the cache, at once or not at all; a failure is a warning."""
    arrays: dict[str, Any] = {"count": np.array(len(mouths))}
    for k, mouth in enumerate(mouths):
        arrays |= {f"picture_{k}": mouth.picture, f"face_{k}": mouth.face.landmarks}
    try:
        with replacing(cached) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        log.warning("cannot write drawn mouths to the cache %s (%s).", cached.parent, error.strerror)
