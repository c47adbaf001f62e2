"""Follow one face through the frames of a video: through gaps and cuts, by place and appearance."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..arrays import Floats, Image
from ..errors import NoFaceError
from ..media.footage import Footage
from .appearance import SAME_PERSON_DISTANCE, appearance_distance, sample_appearance
from .finder import FaceFinder
from .geometry import interocular_distance
from .shots import ShotFinder

log = logging.getLogger(__name__)

LONGEST_GAP_S = 0.5  # a face that is absent for longer counts as invisible


class FaceFollower:
    """Finds the same face in each frame of a video, frame by frame. Not thread-safe.

    Args:
        name: of the video, for messages.
        fps: frames per second.
        face: number of the face, 1 = the largest in the first frame that has any. None: 1; others are warned of.
    """

    def __init__(self, name: str, fps: float, face: int | None = None) -> None:
        self.shots = ShotFinder()
        self.longest_gap = max(1, round(LONGEST_GAP_S * fps))
        """Frames without the face after which it counts as invisible."""
        self.is_cut = False
        """Whether a new shot begins with the newest frame."""
        self._name, self._face = name, face
        self._finder, self._people = FaceFinder(), _People()
        self._last: tuple[Image, Floats] | None = None  # frame and landmarks where the face was seen last
        self._gap = 0  # frames since then
        self._was_cut = False  # since then

    def find_in(self, image: Image) -> Floats | None:
        """Return the landmarks (478, 3) of the face in the next frame (H, W, 3), px; None if it is not found.

        Raises:
            NoFaceError: the first frame with faces has fewer than `face`.
        """
        self.is_cut = self.shots.add_frame(image)
        self._was_cut = self.is_cut or self._was_cut
        seen = self._find(image)
        if seen is None:
            self._gap += 1
        else:
            self._last, self._gap, self._was_cut = (image, seen), 0, False
        return seen

    def _find(self, image: Image) -> Floats | None:
        if self._last is None:
            found = self._finder.find(image)
            return choose_face(found, self._face, self._name) if found else None
        last_image, last = self._last
        if not self._gap and not self._was_cut:
            seen = self._finder.follow(image, last)
            if seen is not None:
                return seen
        found = self._finder.find(image)
        if self._was_cut or self._gap > self.longest_gap:
            self._people.add(last_image, last)
            return _choose_after_cut(image, found, last if self._was_cut else None, self._people, self._face)
        return _nearest_face(found, last)


def choose_face(found: list[Floats], face: int | None, name: str) -> Floats:
    """Return the landmarks of face number `face`. Raises NoFaceError if there are fewer; None: 1, with a warning."""
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
