"""Track everybody in a picture or a video at once: who is who, in every shot.

Each face is followed while it is in sight, which gives pieces of tracks. Two pieces of one moment are two people;
others are joined where the appearance is the same, the most alike first. Source: docs/method/speakers.md, Who is who.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..arrays import Flags, Floats, Floats32, Image
from ..media.footage import Footage
from ..options.speakers import MAX_SPEAKERS
from ..progress import OnStep
from .appearance import SAME_PERSON_DISTANCE, appearance_distance, sample_appearance
from .finder import FaceFinder
from .follower import LONGEST_GAP_S, decode_ahead, no_face_error
from .geometry import interocular_distance
from .shots import ShotFinder
from .tracked import TrackedFace, TrackedSource
from .tracker import detect_faces, fill_gaps

log = logging.getLogger(__name__)

MAX_PEOPLE = MAX_SPEAKERS
_SEARCH_S = 0.4  # time between searches for more faces
_SHORTEST_S = 0.2  # pieces of tracks that are shorter are mistakes of the detector
_MOST_SAMPLES = 6  # of the appearance in a piece
_SAME_FACE = 0.6  # IOD: two landmark meshes nearer to each other are on one face
_FAR = 1.5  # IOD: further apart, two detections are of two faces
_LOST_FRAMES = 3  # before a mesh is seen to have moved to another face, it was between the two
_NEAR_IN_TIME_S = 1.0
_NOT_ALIKE = 2 * SAME_PERSON_DISTANCE  # of the means of two pieces: these are not compared further
_CONTINUED = 1.4  # times SAME_PERSON_DISTANCE: what a face that goes on in the same place may differ by


@dataclass
class _Piece:
    """A face that was followed without a gap."""

    shot: int
    first: int
    points: list[Floats]
    """Landmarks (478, 3) of each frame from the first on."""
    looks: list[Floats] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.points)

    def add_look(self, image: Image) -> None:
        self.looks.append(sample_appearance(image, self.points[-1]))
        if len(self.looks) > _MOST_SAMPLES:
            del self.looks[1::2]


def track_people(footage: Footage, *, on_frame: OnStep | None = None) -> list[TrackedSource]:
    """Return everybody in a picture or a video, at most eight people.

    The first are those of the first frame that shows a face, largest first, as `track` numbers them; then come those
    who appear later.

    Args:
        footage: the picture or video.
        on_frame: called with (frames done, frames in all).

    Raises:
        NoFaceError: there is no face.
    """
    if footage.is_still:
        faces = detect_faces(footage, at_least=MAX_PEOPLE)[:MAX_PEOPLE]  # whoever is asked for, so that numbers stay
        return [TrackedSource(footage, (TrackedFace(face),)) for face in faces]
    fps = footage.fps or 25.0
    shots = ShotFinder()
    pieces = _follow_all(footage, shots, fps, on_frame)
    shot_of = shots.shots()
    people = _join(pieces, fps)
    if not people:
        raise no_face_error(footage.name, footage[0])
    first = min(piece.first for piece in pieces)
    numbered = sorted(people, key=lambda person: _order(person, first))
    found = []
    for person in numbered[:MAX_PEOPLE]:
        tracks: list[Floats | None] = [None] * len(footage)
        for piece in person:
            tracks[piece.first : piece.end] = piece.points
        points, visible = fill_gaps(tracks, shot_of, max(1, round(LONGEST_GAP_S * fps)))
        flags = () if visible.all() else tuple(bool(v) for v in visible)
        found.append(TrackedSource(footage, tuple(TrackedFace(p) for p in points), flags))
    return found


def _order(person: list[_Piece], first: int) -> tuple[int, float]:
    """Return the sort key of a person: when they appear, then their size."""
    begin = min(person, key=lambda piece: piece.first)
    return max(begin.first - first, 0), -interocular_distance(begin.points[0])


def _follow_all(footage: Footage, shots: ShotFinder, fps: float, on_frame: OnStep | None) -> list[_Piece]:
    """Return the pieces of the tracks of all faces."""
    finder = FaceFinder()
    search_every = max(1, round(_SEARCH_S * fps))
    done: list[_Piece] = []
    active: list[_Piece] = []
    shot = 0
    for k, image in enumerate(decode_ahead(footage)):
        if shots.add_frame(image):
            done, active, shot = done + active, [], shot + 1
        before = len(active)
        seen = [(piece, finder.follow(image, piece.points[-1])) for piece in active]
        for piece, points in seen:
            if points is not None:
                piece.points.append(points)
        done += [piece for piece, points in seen if points is None]
        active = [piece for piece, points in seen if points is not None]
        for piece in _on_faces_of_others(active, image):
            del piece.points[-_LOST_FRAMES:]
            active = [other for other in active if other is not piece]
            done.append(piece)
        if k % search_every == 0 or not active or len(active) < before:
            for piece in active:
                piece.add_look(image)
            for face in finder.find(image):
                if len(active) < MAX_PEOPLE and all(_apart(face, piece.points[-1]) > _FAR for piece in active):
                    active.append(_Piece(shot, k, [face]))
                    active[-1].add_look(image)
        if on_frame:
            on_frame(k + 1, len(footage))
    shortest = min(max(1, round(_SHORTEST_S * fps)), len(footage))
    return [piece for piece in done + active if len(piece.points) >= shortest]


def _on_faces_of_others(active: list[_Piece], image: Image) -> list[_Piece]:
    """Return the pieces whose mesh has moved to a face that another one follows: that which looks less as before."""
    lost: list[_Piece] = []
    for i, one in enumerate(active):
        for other in active[i + 1 :]:
            if one in lost or other in lost or _apart(one.points[-1], other.points[-1]) > _SAME_FACE:
                continue
            now = sample_appearance(image, one.points[-1])
            lost.append(max((one, other), key=lambda piece: _nearest(now, piece.looks)))
    return lost


def _apart(one: Floats, other: Floats) -> float:
    """Return the distance of two faces, in IOD of the larger."""
    centres = one[:, :2].mean(axis=0) - other[:, :2].mean(axis=0)
    return float(np.linalg.norm(centres)) / max(interocular_distance(one), interocular_distance(other))


def _nearest(look: Floats, looks: Sequence[Floats]) -> float:
    return min((appearance_distance(look, other) for other in looks), default=np.inf)


def _join(pieces: list[_Piece], fps: float) -> list[list[_Piece]]:
    """Return the pieces of each person."""
    person_of = list(range(len(pieces)))
    together = _overlaps(pieces)
    apart = _distances(pieces, together, fps)
    alike = [(int(i), int(j)) for i, j in np.argwhere(np.tril(apart < SAME_PERSON_DISTANCE, -1))]
    for i, j in sorted(alike, key=lambda pair: float(apart[pair])):
        one, other = person_of[i], person_of[j]
        if one == other:
            continue
        mine = [k for k, person in enumerate(person_of) if person == one]
        theirs = [k for k, person in enumerate(person_of) if person == other]
        if not together[np.ix_(mine, theirs)].any():
            for k in theirs:
                person_of[k] = one
    people: dict[int, list[_Piece]] = {}
    for piece, person in zip(pieces, person_of, strict=True):
        people.setdefault(person, []).append(piece)
    return list(people.values())


def _overlaps(pieces: list[_Piece]) -> Flags:
    """Return (n, n) which pieces are of one moment, so that they are of two people."""
    first = np.array([piece.first for piece in pieces])
    end = np.array([piece.end for piece in pieces])
    overlaps: Flags = (first[:, None] < end[None]) & (first[None] < end[:, None])
    return overlaps


def _distances(pieces: list[_Piece], together: Flags, fps: float) -> Floats32:
    """Return (n, n) how different the appearance is, infinite for pieces of one moment (`together`).

    A face that goes on in its place after a gap counts as more alike.
    """
    apart = np.full((len(pieces), len(pieces)), np.inf, np.float32)
    looks = [np.stack(piece.looks).reshape(len(piece.looks), -1) for piece in pieces]
    means = np.stack([own.mean(axis=0) for own in looks])
    for i, piece in enumerate(pieces):
        roughly = np.abs(means[:i] - means[i]).mean(axis=1)
        for j in np.flatnonzero((roughly < _NOT_ALIKE) & ~together[i, :i]):
            between = np.stack([np.abs(looks[j] - look).mean(axis=1) for look in looks[i]])
            shorter = between.min(axis=1) if len(looks[i]) < len(looks[j]) else between.min(axis=0)
            apart[i, j] = apart[j, i] = float(shorter.mean()) / (_CONTINUED if _continues(piece, pieces[j], fps) else 1)
    return apart


def _continues(piece: _Piece, other: _Piece, fps: float) -> bool:
    """Return whether a piece begins where and soon after the other ended, in the same shot."""
    early, late = sorted((piece, other), key=lambda each: each.first)
    soon = late.first - early.end <= _NEAR_IN_TIME_S * fps
    return piece.shot == other.shot and soon and _apart(early.points[-1], late.points[0]) < _FAR
