"""Find the face in a still, or follow it through a video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Image
from ..errors import NoFaceError
from ..media.footage import Footage
from .finder import FaceFinder
from .geometry import interocular_distance
from .appearance import SAME_PERSON, describe, distance
from .occlusion import is_mouth_covered
from .shots import ShotFinder
from .tracked import TrackedFace, TrackedSource

log = logging.getLogger(__name__)


MIN_COMFORTABLE_IOD = 32.0  # px between the outer eye corners; below, lids and lips are a few pixels
_LYING_DEG = 60.0  # a face turned by more is one that lies, or a picture that was not set upright
_LONGEST_GAP_S = 0.5  # a face gone for longer is not there
_LEAST_SEEN = 0.3  # share of a video's frames
_SMOOTHING = np.array([0.25, 0.5, 0.25])  # over three frames: the landmarks tremble by about 0.5 % IOD


def track(
    footage: Footage,
    *,
    face: int | None = None,
    search_small_faces: bool = True,
    drawn: bool = True,
    on_frame: Callable[[int, int], None] | None = None,
) -> TrackedSource:
    """Find the face in a still, or follow it through a video.

    Args:
        footage: the picture or video.
        face: which face, 1 = the largest of the first frame; None takes the largest and says so if there are more.
        search_small_faces: search a picture once more for a small face where the first look finds none.
        drawn: a mouth will be drawn on it: say if something covers the lips.
        on_frame: called with (frames done, frames in all).

    Raises:
        NoFaceError: no face, or fewer faces than asked for.
    """
    first = 0  # the first frame that shows the face
    if footage.is_still:
        faces = _track_still(footage, face, search_small_faces)
        visible: tuple[bool, ...] = ()
    else:
        faces, visible, first = _track_video(footage, face, on_frame)
    iod = float(np.median([f.pose.iod for f in faces]))
    if iod < MIN_COMFORTABLE_IOD:
        log.warning(
            "The face in %s is small (%.0f px between the eyes): a picture with at least %.0f px will look better.",
            footage.name,
            iod,
            MIN_COMFORTABLE_IOD,
        )
    roll = faces[0].rotation_deg[2]
    if abs(roll) > _LYING_DEG:
        log.warning(
            "The face in %s is turned by %.0f° in the picture, and stays so; turn the picture if that is a mistake.",
            footage.name,
            abs(roll),
        )
    if drawn and is_mouth_covered(footage[first], faces[first]):
        log.warning(
            "The mouth in %s does not look like lips: a mask or a hand may cover it, and the mouth is drawn on that.",
            footage.name,
        )
    return TrackedSource(footage, tuple(faces), visible)


def _choose(found: list[Floats], face: int | None, name: str) -> Floats:
    if face is not None and face > len(found):
        raise NoFaceError(f"{name} has {len(found)} face(s): --face {face} asks for one that is not there.")
    if face is None and len(found) > 1:
        log.warning("%s has %d faces: the largest is taken (--face N picks another).", name, len(found))
    return found[(face or 1) - 1]


def _no_face(name: str, image: Image) -> NoFaceError:
    height, width = image.shape[:2]
    return NoFaceError(
        f"no face found in {name} ({width}×{height}): give a picture or a video that shows one face from the front, "
        "both eyes and the mouth in view."
    )


def _track_still(footage: Footage, face: int | None, search_small_faces: bool) -> list[TrackedFace]:
    image = footage[0]
    finder = FaceFinder()
    found = finder.find(image)
    if search_small_faces and (not found or (face or 1) > len(found)):
        small = finder.find_small(image)
        found = small if len(small) > len(found) else found
    if not found:
        raise _no_face(footage.name, image)
    return [TrackedFace(_choose(found, face, footage.name))]


def _track_video(
    footage: Footage, face: int | None, on_frame: Callable[[int, int], None] | None
) -> tuple[list[TrackedFace], tuple[bool, ...], int]:
    """A face for each frame, where it is there (empty: always), and the first frame in which it was found."""
    longest_gap = max(1, round(_LONGEST_GAP_S * (footage.fps or 25.0)))
    finder, shots = FaceFinder(), ShotFinder()
    tracks: list[Floats | None] = []
    last: Floats | None = None
    last_image = footage[0]  # where it was seen
    people = _People()
    gone = 0  # frames since the face was seen
    was_cut = False  # since then
    for k, image in enumerate(_decoded_ahead(footage)):
        was_cut = shots.is_cut(image) or was_cut
        seen = finder.follow(image, last) if last is not None and not gone and not was_cut else None
        if seen is None:
            found = finder.find(image)
            if last is None:
                seen = _choose(found, face, footage.name) if found else None
            elif was_cut or gone > longest_gap:  # another shot, or somebody left
                people.add(last_image, last)
                seen = _choose_again(image, found, last if was_cut else None, people, face)
            else:
                seen = _same_person(found, last)
        tracks.append(seen)
        if seen is None:
            gone += 1
        else:
            last, last_image, gone, was_cut = seen, image, 0, False
        if on_frame:
            on_frame(k + 1, len(footage))
    there = np.array([t is not None for t in tracks])
    if there.mean() < _LEAST_SEEN:
        raise _no_face(footage.name, footage[0])
    shot_of = shots.shots()
    points, visible = _fill(tracks, shot_of, longest_gap)
    _say_what_was_missed(footage.name, there, shot_of)
    always = bool(visible.all())
    return [TrackedFace(p) for p in points], () if always else tuple(bool(v) for v in visible), int(there.argmax())


def _fill(
    tracks: list[Floats | None], shot_of: npt.NDArray[np.intp], longest_gap: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Landmarks (T, 478, 3) of every frame, smoothed, and (T,) whether the face is there; nothing crosses a cut."""
    seen = np.array([k for k, track in enumerate(tracks) if track is not None])
    known = np.stack([track for track in tracks if track is not None])
    points = known[_nearest(seen, len(tracks))]  # of the whole video, where a shot has none
    visible = np.zeros(len(tracks), bool)
    for shot in np.unique(shot_of[seen]):
        frames = np.flatnonzero(shot_of == shot)
        here = np.flatnonzero(shot_of[seen] == shot)
        at = seen[here] - frames[0]
        points[frames] = _smooth(_interpolate(known[here], at, len(frames)))
        visible[frames] = np.abs(at[_nearest(at, len(frames))] - np.arange(len(frames))) <= longest_gap // 2
    return points, visible


def _nearest(at: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """(count,) for each of 0 … count − 1 which of `at`, ascending, is nearest."""
    t = np.arange(count)
    after = np.clip(np.searchsorted(at, t), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(at[before] - t) <= np.abs(at[after] - t), before, after)


def _say_what_was_missed(name: str, there: npt.NDArray[np.bool_], shot_of: npt.NDArray[np.intp]) -> None:
    shots = int(shot_of[-1]) + 1
    empty = [str(shot + 1) for shot in range(shots) if not there[shot_of == shot].any()]
    if shots > 1:
        without = f"; no face in shot {', '.join(empty)}, which stays as it is" if empty else ""
        log.warning("%s has %d shots%s.", name, shots, without)
    missed = ~there & ~np.isin(shot_of, [int(shot) - 1 for shot in empty])
    if missed.any():
        log.warning(
            "no face in %d of %d frames of %s: in short gaps its place is taken from the frames around, long ones stay "
            "as they are.",
            int(missed.sum()),
            len(there),
            name,
        )


def _decoded_ahead(footage: Footage) -> Iterator[Image]:
    """The frames in order; the next one is decoded while the caller works on this one."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(footage.__getitem__, 0)
        for k in range(1, len(footage) + 1):
            image = following.result()
            if k < len(footage):
                following = pool.submit(footage.__getitem__, k)
            yield image


def _same_person(found: list[Floats], last: Floats) -> Floats | None:
    """The face nearest to where it was, if it is near enough to be the same."""
    centre, reach = last[:, :2].mean(axis=0), 1.5 * interocular_distance(last)
    distances = [float(np.linalg.norm(f[:, :2].mean(axis=0) - centre)) for f in found]
    if not distances or min(distances) > reach:
        return None
    return found[int(np.argmin(distances))]


class _People:
    """Who has been followed so far, known by their looks."""

    def __init__(self) -> None:
        self._looks: list[Floats] = []
        self._newest: Floats | None = None

    def add(self, image: Image, landmarks: Floats) -> None:
        """Remember whose landmarks these are in `image`, unless the person is known."""
        if landmarks is self._newest:
            return
        self._newest = landmarks
        looks = describe(image, landmarks)
        if not any(distance(looks, known) < SAME_PERSON for known in self._looks):
            self._looks.append(looks)

    def among(self, image: Image, found: list[Floats]) -> Floats | None:
        """Return the face that looks like the person who was followed first, or else like a later one."""
        candidates = [describe(image, face) for face in found]
        for person in self._looks:
            distances = [distance(person, candidate) for candidate in candidates]
            if distances and min(distances) < SAME_PERSON:
                return found[int(np.argmin(distances))]
        return None


def _choose_again(
    image: Image, found: list[Floats], last: Floats | None, people: _People, face: int | None
) -> Floats | None:
    """The face to follow after a cut: the one asked for, a known person, whoever is where `last` was, the largest."""
    if face is not None:
        return found[face - 1] if face <= len(found) else None
    if len(found) < 2:
        return next(iter(found), None)
    known = people.among(image, found)
    if known is None and last is not None:
        known = _same_person(found, last)
    return found[0] if known is None else known


def _interpolate(points: Floats, at: npt.NDArray[np.intp], frames: int) -> Floats:
    """Values at every frame from values at some, linear between and held at the ends."""
    t = np.arange(frames)
    after = np.clip(np.searchsorted(at, t), 0, len(at) - 1)
    before = np.maximum(after - (at[after] > t), 0)
    span = np.maximum(at[after] - at[before], 1)
    weight = np.clip((t - at[before]) / span, 0, 1)[:, None, None]
    blended: Floats = ((1 - weight) * points[before] + weight * points[after]).astype(np.float32)
    return blended


def _smooth(points: Floats) -> Floats:
    """A three-frame weighted mean over time, the ends held."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    smooth: Floats = sum(w * padded[i : i + len(points)] for i, w in enumerate(_SMOOTHING))
    return smooth
