"""One pass over the frames of a video, in which everything is measured that needs pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2

from ..arrays import Image
from ..face.follower import FaceFollower, decode_ahead
from ..face.tracked import TrackedFace
from ..media.footage import Footage
from ..progress import OnStep
from .mouth_look import PairLook, Shown, mouth_colours
from .picture import PictureMeter
from .samples import Samples
from .tracks import GRID_FPS, FaceTracks, TrackRecorder

_WORST_LOW = {"bg_psnr_db": "bg_psnr_p05_db", "face_ncc": "face_ncc_p05"}
_WORST_HIGH = {"identity_pct": "identity_p95_pct"}
_SAME_SHAPE = 0.02  # relative difference of two aspect ratios


@dataclass(frozen=True, eq=False)
class Watched:
    """What was seen in a video."""

    tracks: FaceTracks
    figures: dict[str, float]
    """Figures of the picture and, with a true clip, of the pair."""
    reference: str
    """What the picture was compared with."""
    true_tracks: FaceTracks | None
    """Those of the true clip."""


def watch(
    footage: Footage,
    *,
    face: int | None = None,
    truth: Footage | None = None,
    source: Shown | None = None,
    on_frame: OnStep | None = None,
) -> Watched:
    """Follow the face through a video and measure its frames; memory does not grow but for the tracks.

    Args:
        footage: the video.
        face: number of the face, as in `FaceFollower`.
        truth: the true clip.
        source: the portrait that the video was made from; frames are compared with it. None, or another shape: with
            the first frame of each shot.
        on_frame: called with (frames done, frames in all).
    """
    recorder, reference = TrackRecorder(), _Reference(source)
    samples, pair = Samples(), PairLook()
    true_frames = None if truth is None else _TrueFrames(truth)
    for k, frame in enumerate(_followed(footage, face)):
        recorder.add(frame.seconds, frame.face, is_cut=frame.is_cut)
        samples.add(reference.meter(frame).compare(frame.image, frame.face))
        true = None if true_frames is None else true_frames.at(frame.seconds)
        if frame.face is not None:
            shown = Shown(frame.image, frame.face)
            samples.add(mouth_colours(shown))
            if true is not None:
                pair.add(true, shown)
        if on_frame is not None:
            on_frame(k + 1, len(footage))
    figures = samples.percentiles(50) | pair.figures()
    for percent, names in ((5, _WORST_LOW), (95, _WORST_HIGH)):
        worst = samples.percentiles(percent)
        figures |= {name: worst[of] for of, name in names.items() if of in worst}
    true_tracks = None if true_frames is None else true_frames.tracks()
    return Watched(recorder.tracks(), figures, reference.name, true_tracks)


class _Followed(NamedTuple):
    """A frame and the face in it."""

    seconds: float
    image: Image
    face: TrackedFace | None
    is_cut: bool
    """Whether a new shot begins with it."""


def _followed(footage: Footage, number: int | None = None) -> Iterator[_Followed]:
    """Yield the frames of a video with the face of that number."""
    follower = FaceFollower(footage.name, footage.fps or GRID_FPS, number)
    for seconds, image in zip(footage.seconds, decode_ahead(footage), strict=True):
        points = follower.find_in(image)
        yield _Followed(float(seconds), image, None if points is None else TrackedFace(points), follower.is_cut)


class _Reference:
    """What frames are compared with: the portrait, or the first frame of their shot."""

    def __init__(self, source: Shown | None) -> None:
        self._source = source
        self._meter: PictureMeter | None = None
        self._has_face = False
        self.name = "first frame" if source is None else "source"

    def meter(self, frame: _Followed) -> PictureMeter:
        """Return what a frame is compared by."""
        if self._source is not None and self._meter is None:
            self._meter = _source_meter(self._source, frame.image)
            if self._meter is None:
                self._source, self.name = None, "first frame, as the source has another shape"
        if self._source is None and (self._meter is None or frame.is_cut or (not self._has_face and frame.face)):
            self._meter = PictureMeter(frame.image, frame.face)
            self._has_face = frame.face is not None
        assert self._meter is not None
        return self._meter


def _source_meter(source: Shown, frame: Image) -> PictureMeter | None:
    """Return a meter that compares with a portrait, brought to the size of the frames; None for another shape."""
    (height, width), (source_height, source_width) = frame.shape[:2], source.image.shape[:2]
    if abs((source_width / source_height) / (width / height) - 1) > _SAME_SHAPE:
        return None
    resized = cv2.resize(source.image, (width, height), interpolation=cv2.INTER_AREA)
    return PictureMeter(resized, TrackedFace(source.face.landmarks * (width / source_width)), source.face)


class _TrueFrames:
    """The frames of the true clip, in step with those of the video."""

    def __init__(self, footage: Footage) -> None:
        self._recorder = TrackRecorder()
        self._frames = _followed(footage)
        self._next: _Followed | None = next(self._frames)
        self._current = self._next
        self._tolerance = 0.5 / (footage.fps or GRID_FPS)

    def at(self, seconds: float) -> Shown | None:
        """Return the frame nearest to a time; times must ascend. None where it shows no face, or the clip is over."""
        while self._next is not None and self._next.seconds <= seconds + self._tolerance:
            self._advance()
        frame = self._current
        if frame is None or frame.face is None or abs(frame.seconds - seconds) > 2 * self._tolerance:
            return None
        return Shown(frame.image, frame.face)

    def tracks(self) -> FaceTracks:
        """Return the tracks of the whole clip."""
        while self._next is not None:
            self._advance()
        return self._recorder.tracks()

    def _advance(self) -> None:
        frame = self._next
        assert frame is not None
        self._recorder.add(frame.seconds, frame.face, is_cut=frame.is_cut)
        self._current, self._next = frame, next(self._frames, None)
