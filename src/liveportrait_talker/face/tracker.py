"""Track a face through a still image or a video."""

from __future__ import annotations

import logging

import numpy as np

from ..arrays import Flags, Floats, Indices
from ..media.footage import Footage
from ..progress import OnStep
from .finder import FaceFinder
from .follower import FaceFollower, choose_face, decode_ahead, no_face_error
from .occlusion import is_mouth_covered
from .tracked import TrackedFace, TrackedSource

log = logging.getLogger(__name__)

_RECOMMENDED_IOD = 32.0  # px; lids and lips of smaller faces are only a few pixels
_MAX_ROLL_DEG = 60.0  # more suggests an image that is not upright
_MIN_VISIBLE = 0.3  # fraction of a video's frames
_SMOOTHING = np.array([0.25, 0.5, 0.25])  # landmark noise is about 0.5 % IOD


def track(
    footage: Footage,
    *,
    face: int | None = None,
    search_small_faces: bool = True,
    warn_covered_mouth: bool = True,
    on_frame: OnStep | None = None,
) -> TrackedSource:
    """Track a face through a still image or a video.

    Args:
        footage: the image or video.
        face: number of the face, 1 = the largest in the first frame. None: 1, with a warning if there are more.
        search_small_faces: search an image again for small faces if `face` is not found.
        warn_covered_mouth: warn if something covers the lips.
        on_frame: called with (frames done, frames in all).

    Raises:
        NoFaceError: no face, or fewer faces than `face`.
    """
    first = 0  # first frame with the face
    if footage.is_still:
        faces = _track_still(footage, face, search_small_faces)
        visible: tuple[bool, ...] = ()
    else:
        faces, visible, first = _track_video(footage, face, on_frame)
    iod = float(np.median([f.pose.iod for f in faces]))
    if iod < _RECOMMENDED_IOD:
        log.warning(
            "The face in %s is small (%.0f px between the eyes); at least %.0f px are recommended.",
            footage.name,
            iod,
            _RECOMMENDED_IOD,
        )
    roll = faces[0].rotation_deg[2]
    if abs(roll) > _MAX_ROLL_DEG:
        log.warning(
            "The face in %s is rotated by %.0f° and stays so; rotate the picture if that is a mistake.",
            footage.name,
            abs(roll),
        )
    if warn_covered_mouth and is_mouth_covered(footage[first], faces[first]):
        log.warning(
            "The mouth in %s does not look like lips: a mask or a hand may cover it, and the mouth is drawn on top.",
            footage.name,
        )
    return TrackedSource(footage, tuple(faces), visible)


def _track_still(footage: Footage, face: int | None, search_small_faces: bool) -> list[TrackedFace]:
    found = detect_faces(footage, at_least=face or 1, search_small_faces=search_small_faces)
    return [TrackedFace(choose_face(found, face, footage.name))]


def detect_faces(footage: Footage, *, at_least: int = 1, search_small_faces: bool = True) -> list[Floats]:
    """Return the faces of a still, largest first; searched again for small faces if there are not `at_least` as many.

    Raises:
        NoFaceError: there is none.
    """
    image = footage[0]
    finder = FaceFinder()
    found = finder.find(image)
    if search_small_faces and len(found) < at_least:
        small = finder.find_small(image)
        found = small if len(small) > len(found) else found
    if not found:
        raise no_face_error(footage.name, image)
    return found


def _track_video(
    footage: Footage, face: int | None, on_frame: OnStep | None
) -> tuple[list[TrackedFace], tuple[bool, ...], int]:
    """Return the face and its visibility in each frame (empty: always visible), and the first frame with the face."""
    follower = FaceFollower(footage.name, footage.fps or 25.0, face)
    tracks: list[Floats | None] = []
    for k, image in enumerate(decode_ahead(footage)):
        tracks.append(follower.find_in(image))
        if on_frame:
            on_frame(k + 1, len(footage))
    found_in = np.array([t is not None for t in tracks])
    if found_in.mean() < _MIN_VISIBLE:
        raise no_face_error(footage.name, footage[0])
    shot_of = follower.shots.shots()
    points, visible = fill_gaps(tracks, shot_of, follower.longest_gap)
    _warn_missing(footage.name, found_in, shot_of)
    flags = () if visible.all() else tuple(bool(v) for v in visible)
    return [TrackedFace(p) for p in points], flags, int(found_in.argmax())


def fill_gaps(tracks: list[Floats | None], shot_of: Indices, longest_gap: int) -> tuple[Floats, Flags]:
    """Return smoothed landmarks (T, 478, 3) and visibility (T,) of all frames, shot by shot."""
    seen = np.array([k for k, track in enumerate(tracks) if track is not None])
    known = np.stack([track for track in tracks if track is not None])
    points = known[_nearest(seen, len(tracks))]  # used in shots without a face
    visible = np.zeros(len(tracks), bool)
    for shot in np.unique(shot_of[seen]):
        frames = np.flatnonzero(shot_of == shot)
        in_shot = np.flatnonzero(shot_of[seen] == shot)
        at = seen[in_shot] - frames[0]
        points[frames] = _smooth(_interpolate(known[in_shot], at, len(frames)))
        visible[frames] = np.abs(at[_nearest(at, len(frames))] - np.arange(len(frames))) <= longest_gap // 2
    return points, visible


def _nearest(at: Indices, count: int) -> Indices:
    """Return the index of the nearest element of `at`, ascending, for each of 0 … count − 1."""
    t = np.arange(count)
    after = np.clip(np.searchsorted(at, t), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(at[before] - t) <= np.abs(at[after] - t), before, after)


def _warn_missing(name: str, found_in: Flags, shot_of: Indices) -> None:
    shots = int(shot_of[-1]) + 1
    empty = [str(shot + 1) for shot in range(shots) if not found_in[shot_of == shot].any()]
    if shots > 1:
        without = f"; no face in shot {', '.join(empty)}, which is not changed" if empty else ""
        log.warning("%s has %d shots%s.", name, shots, without)
    missed = ~found_in & ~np.isin(shot_of, [int(shot) - 1 for shot in empty])
    if missed.any():
        log.warning(
            "no face in %d of %d frames of %s: it is interpolated in short gaps; frames in long gaps are not changed.",
            int(missed.sum()),
            len(found_in),
            name,
        )


def _interpolate(points: Floats, at: Indices, frames: int) -> Floats:
    """Interpolate values at the frames `at` linearly to all frames; constant beyond the ends."""
    t = np.arange(frames)
    after = np.clip(np.searchsorted(at, t), 0, len(at) - 1)
    before = np.maximum(after - (at[after] > t), 0)
    span = np.maximum(at[after] - at[before], 1)
    weight = np.clip((t - at[before]) / span, 0, 1)[:, None, None]
    blended: Floats = ((1 - weight) * points[before] + weight * points[after]).astype(np.float32)
    return blended


def _smooth(points: Floats) -> Floats:
    """Smooth over three frames, with the ends repeated."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    smooth: Floats = sum(w * padded[i : i + len(points)] for i, w in enumerate(_SMOOTHING))
    return smooth
