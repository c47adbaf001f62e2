"""Track a face through a still image or a video."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..arrays import Flags, Floats, Image, Indices
from ..errors import NoFaceError
from ..media.footage import Footage
from ..progress import OnStep
from .appearance import SAME_PERSON_DISTANCE, appearance_distance, sample_appearance
from .finder import FaceFinder
from .geometry import interocular_distance
from .occlusion import is_mouth_covered
from .shots import ShotFinder
from .tracked import TrackedFace, TrackedSource

log = logging.getLogger(__name__)

_RECOMMENDED_IOD = 32.0  # px; lids and lips of smaller faces are only a few pixels
_MAX_ROLL_DEG = 60.0  # more suggests an image that is not upright
LONGEST_GAP_S = 0.5  # a face that is absent for longer counts as invisible
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


def _choose(found: list[Floats], face: int | None, name: str) -> Floats:
    if face is not None and face > len(found):
        raise NoFaceError(f"{name} has {len(found)} face(s), so that --face {face} does not exist.")
    if face is None and len(found) > 1:
        log.warning("%s has %d faces: the largest is used (--face N selects another).", name, len(found))
    return found[(face or 1) - 1]


def no_face_error(name: str, image: Image) -> NoFaceError:
    """Return the error for an image or a video without a face."""
    height, width = image.shape[:2]
    return NoFaceError(
        f"no face found in {name} ({width}×{height}): give a picture or a video that shows one face from the front, "
        "both eyes and the mouth in view."
    )


def _track_still(footage: Footage, face: int | None, search_small_faces: bool) -> list[TrackedFace]:
    found = detect_faces(footage, at_least=face or 1, search_small_faces=search_small_faces)
    return [TrackedFace(_choose(found, face, footage.name))]


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
    longest_gap = max(1, round(LONGEST_GAP_S * (footage.fps or 25.0)))
    finder, shots = FaceFinder(), ShotFinder()
    tracks: list[Floats | None] = []
    last: Floats | None = None
    last_image = footage[0]  # image of `last`
    people = _People()
    gap = 0  # frames since `last`
    was_cut = False  # since `last`
    for k, image in enumerate(decode_ahead(footage)):
        was_cut = shots.add_frame(image) or was_cut
        seen = finder.follow(image, last) if last is not None and not gap and not was_cut else None
        if seen is None:
            found = finder.find(image)
            if last is None:
                seen = _choose(found, face, footage.name) if found else None
            elif was_cut or gap > longest_gap:
                people.add(last_image, last)
                seen = _choose_after_cut(image, found, last if was_cut else None, people, face)
            else:
                seen = _nearest_face(found, last)
        tracks.append(seen)
        if seen is None:
            gap += 1
        else:
            last, last_image, gap, was_cut = seen, image, 0, False
        if on_frame:
            on_frame(k + 1, len(footage))
    found_in = np.array([t is not None for t in tracks])
    if found_in.mean() < _MIN_VISIBLE:
        raise no_face_error(footage.name, footage[0])
    shot_of = shots.shots()
    points, visible = fill_gaps(tracks, shot_of, longest_gap)
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


def decode_ahead(footage: Footage) -> Iterator[Image]:
    """Yield the frames in order, decoding the next one in a thread."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(footage.__getitem__, 0)
        for k in range(1, len(footage) + 1):
            image = following.result()
            if k < len(footage):
                following = pool.submit(footage.__getitem__, k)
            yield image


def _nearest_face(found: list[Floats], last: Floats) -> Floats | None:
    """Return the face nearest to `last`, None if it is farther away than 1.5 IOD."""
    centre, reach = last[:, :2].mean(axis=0), 1.5 * interocular_distance(last)
    distances = [float(np.linalg.norm(f[:, :2].mean(axis=0) - centre)) for f in found]
    if not distances or min(distances) > reach:
        return None
    return found[int(np.argmin(distances))]


class _People:
    """People that have been tracked, recognised by their appearance."""

    def __init__(self) -> None:
        self._appearances: list[Floats] = []
        self._newest: Floats | None = None

    def add(self, image: Image, landmarks: Floats) -> None:
        """Add the person with these landmarks in `image`, unless already known."""
        if landmarks is self._newest:
            return
        self._newest = landmarks
        new = sample_appearance(image, landmarks)
        if not any(appearance_distance(new, known) < SAME_PERSON_DISTANCE for known in self._appearances):
            self._appearances.append(new)

    def find_among(self, image: Image, found: list[Floats]) -> Floats | None:
        """Return the face of the person who was tracked first, or else of a later one; None if none is found."""
        candidates = [sample_appearance(image, face) for face in found]
        for person in self._appearances:
            distances = [appearance_distance(person, candidate) for candidate in candidates]
            if distances and min(distances) < SAME_PERSON_DISTANCE:
                return found[int(np.argmin(distances))]
        return None


def _choose_after_cut(
    image: Image, found: list[Floats], last: Floats | None, people: _People, face: int | None
) -> Floats | None:
    """Return the face to track after a cut: `face` if given, a known person, the nearest to `last`, or the largest."""
    if face is not None:
        return found[face - 1] if face <= len(found) else None
    if len(found) < 2:
        return next(iter(found), None)
    known = people.find_among(image, found)
    if known is None and last is not None:
        known = _nearest_face(found, last)
    return found[0] if known is None else known


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
