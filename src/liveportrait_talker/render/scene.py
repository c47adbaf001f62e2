"""Pictures with several drawn faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats32, Image
from ..face.tracked import TrackedFace, TrackedSource
from ..face.windows import Window
from ..media.footage import Footage
from ..motion.smoothing import smoothstep
from ..motion.track import MotionTrack
from .paste import composite, paste_onto
from .protocol import FaceFrame, PreparedFace

_BORDER = 0.12  # of a face's radius: width of the transition between two faces


@dataclass(frozen=True, eq=False)
class DrawnPerson:
    """A person whose face moves."""

    source: TrackedSource
    """The person in the whole footage."""
    window: Window | None
    """The part of a still that `face` was prepared from; None: the whole footage."""
    face: PreparedFace
    track: MotionTrack


def draw_scene(footage: Footage, drawn: Sequence[DrawnPerson], others: Sequence[TrackedSource]) -> Iterator[Image]:
    """Yield the frames of a source with all faces drawn; tracks have equal lengths and rates.

    Args:
        footage: the source.
        drawn: those whose faces move.
        others: those who are only seen, whom no drawn face may cover.
    """
    frames = [each.face.frames(each.track) for each in drawn]
    if len(drawn) == 1 and drawn[0].window is None and not others:
        for face in frames[0]:
            yield composite(drawn[0].source, face)
    elif footage.is_still:
        for faces in zip(*frames, strict=True):
            yield _assemble(footage[0], drawn, faces)
    else:
        everybody = [*(each.source for each in drawn), *others]
        for faces in zip(*frames, strict=True):
            yield _paste_all(footage[faces[0].source_index], everybody, faces)


def _assemble(picture: Image, drawn: Sequence[DrawnPerson], faces: Sequence[FaceFrame]) -> Image:
    """Return a picture whose parts are drawn on their own."""
    channels = 3 if faces[0].picture is None else faces[0].picture.shape[2]
    out = np.empty((*picture.shape[:2], channels), np.uint8)
    for each, face in zip(drawn, faces, strict=True):
        left, top, right, bottom = each.window or (0, 0, picture.shape[1], picture.shape[0])
        part = out[top:bottom, left:right]
        part[:] = picture[top:bottom, left:right] if face.picture is None else face.picture
        paste_onto(part, face)
    return out


def _paste_all(frame: Image, people: Sequence[TrackedSource], faces: Sequence[FaceFrame]) -> Image:
    """Return a video's frame with the faces that it shows, each within its own outline among its neighbours."""
    index = faces[0].source_index
    seen = [k for k, person in enumerate(people) if person.shows_face(index)]
    drawn = [k for k in seen if k < len(faces)]
    out = frame.copy()
    for k in sorted(drawn, key=lambda k: people[k].faces[index].pose.iod):
        neighbours = [people[other].faces[index] for other in seen if other != k]
        paste_onto(out, faces[k], lambda window, k=k, near=neighbours: own_part(people[k].faces[index], near, window))  # type: ignore[misc]
    return out


def own_part(face: TrackedFace, neighbours: Sequence[TrackedFace], window: Window) -> Floats32 | None:
    """Return how far each pixel of a window belongs to a face rather than its neighbours, (h, w) 0…1; None: all of it.

    A pixel belongs to the face whose ellipse it is most inside of. Of two overlapping ones the larger face is in front.
    """
    left, top, right, bottom = window
    weight: Floats32 | None = None
    for other in neighbours:
        mine, theirs = _ellipse(face), _ellipse(other)
        reach = 1.6 if other.pose.iod > face.pose.iod else 1.3
        low, high = theirs[0] - reach * theirs[1], theirs[0] + reach * theirs[1]
        if left >= high[0] or right <= low[0] or top >= high[1] or bottom <= low[1]:
            continue
        x, y = np.arange(left, right)[None], np.arange(top, bottom)[:, None]
        inside = [
            np.hypot((x - centre[0]) / radius[0], (y - centre[1]) / radius[1]) for centre, radius in (mine, theirs)
        ]
        if other.pose.iod > face.pose.iod:  # in front: what is inside its outline is its own
            share = smoothstep(1.0, 1.0 + _BORDER, inside[1])
        else:
            share = np.maximum(smoothstep(-_BORDER, _BORDER, inside[1] - inside[0]), inside[0] < 1.0)
        weight = share.astype(np.float32) if weight is None else weight * share.astype(np.float32)
    return weight


def _ellipse(face: TrackedFace) -> tuple[Floats32, Floats32]:
    """Return centre (2,) and radii (2,) of the face, px."""
    xy = face.landmarks[:, :2]
    low, high = xy.min(axis=0), xy.max(axis=0)
    return (low + high) / 2, np.maximum((high - low) / 2, 1.0)
