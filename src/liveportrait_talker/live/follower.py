"""Following a camera: the newest face that was seen, as motion of the portrait.

The rules are those of `driving.retargeting`; the person's rest is measured on what was seen so far. Source:
docs/method/live.md, Camera.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import Lock

import numpy as np

from ..arrays import Floats, Image
from ..driving.retargeting import MAX_SHIFT, MAX_ZOOM, Rest, retarget_motion
from ..errors import OptionError
from ..face.finder import FaceFinder
from ..face.measurements import measure
from ..face.tracked import TrackedFace, TrackedSource
from ..motion.face_measurements import MEASUREMENT_SHAPES, FaceMeasurements
from ..motion.track import HeadTrack, MotionTrack, MouthControls

_FIRST_IMAGES = 12  # define the pose at rest; the rest of mouth and eyes is measured anew this often
_REMEMBERED, _OF_EVERY = 250, 3  # images that define the rest of mouth and eyes: 25–30 s
_LOST_S = 0.5  # without a face: the portrait moves by itself again
_FADE_S = 0.4  # between both
_SMOOTHING_S = 0.03  # time constant of head, gaze and brows, whose landmarks tremble
_LIDS_SHUT = 0.5  # the iris is hidden


class Follower:
    """Reads faces in one thread, moves the portrait in another."""

    def __init__(self, source: TrackedSource, fps: float, max_turn_deg: Floats) -> None:
        self._source, self._fps, self._max_turn_deg = source, fps, max_turn_deg
        self._reading = Lock()  # one image at a time; guards what follows
        self._finder: FaceFinder | None = None
        self._face: Floats | None = None
        self._first: deque[FaceMeasurements] = deque(maxlen=_FIRST_IMAGES)
        self._usual_iod = 0.0
        self._seen: deque[FaceMeasurements] = deque(maxlen=_REMEMBERED)
        self._images = 0
        self._rest = Rest.average()
        self._newest: MotionTrack | None = None  # replaced as a whole; what follows is of `apply`
        self._applied: MotionTrack | None = None
        self._age_frames = 0
        self._weight = 0.0
        self._shown: MotionTrack | None = None
        self.dropped = 0
        """Images that were not read, or without a face."""

    def see(self, image: Image) -> bool:
        """Read the face in an image (H, W, 3); return False where there is none, or another image is being read."""
        is_rgb = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
        if not is_rgb or not image.size:
            raise OptionError("the image is not (H, W, 3) uint8, or empty: give RGB pixels.")
        if not self._reading.acquire(blocking=False):
            self.dropped += 1
            return False
        try:
            self._face = self._find(image)
            if self._face is None:
                self.dropped += 1
                return False
            self._newest = self._motion_of(TrackedFace(self._face))
            return True
        finally:
            self._reading.release()

    def apply(self, track: MotionTrack) -> MotionTrack:
        """Return one frame of motion as the camera shows it, or the given one where it shows no face."""
        newest = self._newest
        self._age_frames = self._age_frames + 1 if newest is self._applied else 1
        self._applied = newest
        seen = newest is not None and self._age_frames <= max(2.0, _LOST_S * self._fps)
        step = 1 / (_FADE_S * self._fps)
        self._weight = min(max(self._weight + (step if seen else -step), 0.0), 1.0)
        if newest is None or not self._weight:
            self._shown = None
            return track
        self._shown = self._smoothed(newest)
        return _mixed(track, self._shown, self._weight)

    def _find(self, image: Image) -> Floats | None:
        if self._finder is None:
            self._finder = FaceFinder()
        face = None if self._face is None else self._finder.follow(image, self._face)
        return next(iter(self._finder.find(image)), None) if face is None else face

    def _motion_of(self, face: TrackedFace) -> MotionTrack:
        """Return the motion (one frame) of a face, relative to the person's rest."""
        self._usual_iod = self._usual_iod or face.pose.iod
        measured = measure([face], self._fps, self._usual_iod)
        if len(self._first) < _FIRST_IMAGES:
            self._first.append(measured)
        if self._images % _OF_EVERY == 0 or self._images < _FIRST_IMAGES:
            self._seen.append(measured)
        if self._images % _FIRST_IMAGES == 0 or self._images < _FIRST_IMAGES:
            self._rest = Rest.of_clip(_joined(self._seen))
        self._images += 1
        expression = retarget_motion(measured, self._source, rest=self._rest, region="exp", normalize_lip=True)
        return replace(expression, head=self._head_of(measured))

    def _head_of(self, measured: FaceMeasurements) -> HeadTrack:
        first = _joined(self._first)
        turn = measured.rotation_deg - np.median(first.rotation_deg, axis=0)
        shift = measured.place - np.median(first.place, axis=0)
        zoom = measured.size / np.median(first.size) - 1
        face = self._source.faces[0]
        iod = face.pose.iod / (face.crop.scale * face.crop.size[0])
        return HeadTrack(
            _limited(turn, self._max_turn_deg), _limited(shift, MAX_SHIFT) * iod, 1 + _limited(zoom, MAX_ZOOM)
        )

    def _smoothed(self, newest: MotionTrack) -> MotionTrack:
        before = self._shown
        if before is None:
            return newest
        share = 1 - np.exp(-1 / (_SMOOTHING_S * self._fps))
        smooth = _mixed(before, newest, share)
        hidden = newest.blink.max() > _LIDS_SHUT
        return replace(smooth, blink=newest.blink, mouth=newest.mouth, gaze=before.gaze if hidden else smooth.gaze)


def _limited(values: Floats, most: Floats | float) -> Floats:
    """Return values that come near `most`, but not beyond; small ones stay."""
    return np.asarray(most * np.tanh(values / most))


def _joined(measured: deque[FaceMeasurements]) -> FaceMeasurements:
    arrays = {name: np.concatenate([getattr(each, name) for each in measured]) for name in MEASUREMENT_SHAPES}
    return FaceMeasurements(measured[0].fps, **arrays)


def _mixed(one: MotionTrack, other: MotionTrack, weight: float) -> MotionTrack:
    """Return (1 − weight) · one + weight · other."""

    def mix(a: Floats, b: Floats) -> Floats:
        return (1 - weight) * a + weight * b

    assert isinstance(one.mouth, MouthControls) and isinstance(other.mouth, MouthControls)
    head = HeadTrack(
        mix(one.head.rotation_deg, other.head.rotation_deg),
        mix(one.head.shift, other.head.shift),
        mix(one.head.scale, other.head.scale),
    )
    return replace(
        one,
        head=head,
        blink=mix(one.blink, other.blink),
        gaze=mix(one.gaze, other.gaze),
        mouth=MouthControls(mix(one.mouth.values, other.mouth.values)),
        brows=mix(one.brows, other.brows),
    )
