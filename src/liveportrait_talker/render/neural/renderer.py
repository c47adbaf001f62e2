"""The neural renderer: LivePortrait's networks, driven by a motion track.

Source → crop, motion and feature volume (once for an image, frame by frame for a video). Frames of the track → driving
keypoints → warping and generator → 512 px faces, pasted with LivePortrait's mask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ...arrays import Floats64, Image, Indices
from ...face.crop import FaceCrop
from ...face.liveportrait_crop import SCALE, SHIFT_Y, SIZE, portrait_crop
from ...face.ratios import eye_ratios, lip_ratio
from ...face.tracked import TrackedFace, TrackedSource
from ...motion.lips import LIP_KEYPOINTS as LIPS
from ...motion.lips import keypoints_from_controls
from ...motion.rotation import matrix_from_degrees, swap_convention
from ...motion.template import MotionTemplate
from ...motion.track import LipKeypoints, MotionTrack, MouthControls
from ...options.animate import AnimateOptions
from ...options.sliders import FULL_BROWS, FULL_SMILE, ExpressionEdit, expression_of
from ...progress import OnStep
from ...system.devices import refuse_forked_process
from ..protocol import FaceFrame
from .animated import AnimatedFace
from .animation_inputs import PointNetworks
from .crop_mask import crop_mask
from .crops import network_image, whole_frame
from .driving import driving_template
from .editor import edit_expression
from .keypoints import FaceMotion, retarget, talking_points
from .liveportrait import LivePortrait

Result = TypeVar("Result")

PUPIL_TRAVEL = 15.0  # units of LivePortrait's gaze for the full travel of an iris
EYEBROW_RANGE = (-10.0, 15.0)  # of the slider `eyebrow`; the end raises the brows by `FULL_BROWS`
SMILE_RANGE = (-0.3, 1.3)
LOWER_LIP, UPPER_LIP = 19, 20  # keypoints
INNER_SHARE = 0.5  # of the brows' inner ends that counts for the whole brow
LIPS_SHUT = 0.03  # lip ratio of a shut mouth; LivePortrait's `lip_normalize_threshold`
WIDEST_RATIO = 0.8  # of lips, as in LivePortrait's editor
BATCH = {"cuda": 8, "mps": 2, "cpu": 1}  # a CPU gains nothing by more
_AHEAD = {"cuda": 1}  # batches drawn while one is pasted and encoded; a CPU has no time to spare
_REST_FRAMES = 15  # of a video: the frames with the smallest aperture define its mouth at rest
_BATCH_OF_SOURCES = 8


@dataclass(frozen=True)
class NeuralSettings:
    """Settings of the neural renderer. The names are LivePortrait's."""

    stitching: bool = True
    """Keep neck and shoulders in place."""
    normalize_lip: bool = True
    """Shut an image's parted lips before the voice moves them (learned lips only: others know the aperture)."""
    driving_multiplier: float = 1.0
    """Scale of the motion from the source's keypoints to the driven ones."""
    crop_scale: float = SCALE
    """Side of the crop in faces."""
    crop_vx: float = 0.0
    """Shift of the crop in its sides, along the face's x axis."""
    crop_vy: float = SHIFT_Y
    """The same along its y axis; negative keeps more forehead."""
    whole_frame: bool = False
    """The frame is a face crop already and is not cropped."""
    batch_size: int | None = None
    """Frames drawn at once; None: the device's default."""


class NeuralRenderer:
    """Draws with the pretrained networks."""

    name = "neural"

    def __init__(self, networks: LivePortrait, settings: NeuralSettings | None = None) -> None:
        self.networks = networks
        self.settings = settings or NeuralSettings()

    def __repr__(self) -> str:
        return f"NeuralRenderer({self.networks})"

    def prepare(self, source: TrackedSource) -> NeuralFace:
        """Load the networks; extract the features of an image now, those of a video frame by frame."""
        return NeuralFace(self.networks.load(), self.settings, source)

    def read_driving(self, driving: TrackedSource, *, fps: float, crop: bool, on_step: OnStep) -> MotionTemplate:
        """Return the motion of a driving clip, as the motion extractor finds it; see `DrivenRenderer`."""
        return driving_template(self.networks, driving, fps=fps, crop=crop, on_frame=on_step)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Measurements of N source frames by the networks and the tracker."""

    motion: FaceMotion
    features: torch.Tensor
    eye_ratios: Floats64
    """(N, 2)"""
    lip_ratio: Floats64
    """(N, 1)"""
    mouth_width: Floats64
    """(N,) in IOD."""
    crops: tuple[FaceCrop, ...]
    pictures: tuple[Image, ...]
    """The frames themselves, into which the faces are pasted."""

    def take(self, rows: Indices) -> _Measured:
        return _Measured(
            self.motion.take(rows),
            self.features[torch.from_numpy(rows).to(self.features.device)],
            self.eye_ratios[rows],
            self.lip_ratio[rows],
            self.mouth_width[rows],
            tuple(self.crops[int(row)] for row in rows),
            tuple(self.pictures[int(row)] for row in rows),
        )


Points = Callable[[Indices, _Measured], Floats64]
"""(frames, measurements of their source frames) → driving keypoints (n, 21, 3)."""


class NeuralFace:
    """A source prepared for the neural renderer."""

    def __init__(self, networks: LivePortrait, settings: NeuralSettings, source: TrackedSource) -> None:
        self._networks, self._settings, self._source = networks, settings, source
        self._batch_size = settings.batch_size or BATCH[networks.device.type]
        self._picture = self._measure([0]) if source.is_still else None
        self._last: tuple[list[int], _Measured] | None = None  # of a video: the next frames may be the same
        self._alpha = crop_mask().astype(np.float32) / 255

    def frames(self, track: MotionTrack) -> Iterator[FaceFrame]:
        """Yield one drawn face for each track frame; a source video shorter than the track plays forth and back."""
        yield from self.draw(
            self._source.frame_indices(len(track), track.fps), lambda at, seen: self._points(track, at, seen)
        )

    def draw(self, indices: Indices, points: Points) -> Iterator[FaceFrame]:
        """Yield one drawn face for each source frame of `indices` (T,).

        `points(at, seen)` returns the driving keypoints (n, 21, 3) of n of the T frames, `at`, whose source frames are
        measured in `seen`.
        """
        refuse_forked_process()  # the networks' own checks come after the first operations on tensors
        starts = range(0, len(indices), self._batch_size)
        pieces = (np.arange(first, min(first + self._batch_size, len(indices))) for first in starts)
        work = (partial(self._draw_batch, points, piece, indices) for piece in pieces)
        for drawn in _ahead(work, _AHEAD.get(self._networks.device.type, 0)):
            yield from drawn

    def reenact(
        self, motion: MotionTemplate, options: AnimateOptions, *, frames: int, fps: float, on_step: OnStep
    ) -> Callable[[], Iterator[FaceFrame]]:
        """Read the source's own motion; return the function that draws. See `DrivenFace`."""
        return AnimatedFace(self, motion, options, frames=frames, fps=fps, on_step=on_step).frames

    def edit(self, edit: ExpressionEdit, sample: NeuralFace | None) -> FaceFrame:
        """Return the first frame with the sliders applied. See `DrivenFace`."""
        copied = None if sample is None else sample.first_motion

        def points(at: Indices, seen: _Measured) -> Floats64:
            return edit_expression(
                seen.motion, edit, self.point_networks, sample=copied, stitching=self._settings.stitching
            )

        return next(self.draw(np.zeros(1, np.intp), points))

    @cached_property
    def first_motion(self) -> FaceMotion:
        """Motion of the first source frame."""
        return self.motion_of([0])[0]

    @property
    def point_networks(self) -> PointNetworks:
        """The three small networks as functions of keypoints."""
        names = ("stitching", "retarget_eye", "retarget_lip")
        return PointNetworks.of(**{name: self._networks.network(name) for name in names})

    @property
    def source(self) -> TrackedSource:
        """The source that was prepared."""
        return self._source

    def _draw_batch(self, points: Points, piece: Indices, indices: Indices) -> list[FaceFrame]:
        """Draw the frames `piece` from source frames `indices[piece]`."""
        shown = np.array([k for k in piece if self._source.shows_face(int(indices[k]))], dtype=np.intp)
        faces: Iterator[tuple[Image, FaceCrop, Image]] = iter(())
        if len(shown):
            seen = self._measurements(indices[shown])
            pictures = self._networks.draw(seen.features, seen.motion.points, points(shown, seen))
            faces = zip(pictures, seen.crops, seen.pictures, strict=True)
        frames = []
        for k in piece:
            index = int(indices[k])
            if self._source.shows_face(index):
                frames.append(self._make_frame(*next(faces), index))
            else:  # no face: a pixel of the frame in its own place
                frame = self._source.footage[index]
                frames.append(FaceFrame(frame[:1, :1], None, FaceCrop.window(0, 0, 1, 1), index, frame))
        return frames

    def _measurements(self, indices: Indices) -> _Measured:
        """Return the measurements of source frames; equal neighbours are measured once."""
        if self._picture is not None:
            return self._picture.take(np.zeros(len(indices), np.intp))
        different, rows = np.unique(indices, return_inverse=True)
        wanted = [int(i) for i in different]
        if self._last is None or not set(wanted) <= set(self._last[0]):
            self._last = (wanted, self._measure(wanted))
        known, seen = self._last
        return seen.take(np.array([known.index(wanted[row]) for row in rows], dtype=np.intp))

    def motion_of(self, indices: Sequence[int]) -> tuple[FaceMotion, Floats64, Floats64]:
        """Return the motion of these source frames, their eye ratios (n, 2) and lip ratios (n, 1)."""
        seen = self._measure(list(indices), only_motion=True)
        return seen.motion, seen.eye_ratios, seen.lip_ratio

    def _measure(self, indices: list[int], *, only_motion: bool = False) -> _Measured:
        faces = [self._source.faces[i] for i in indices]
        crops = tuple(self._crop(face) for face in faces)
        images = tuple(self._source.footage[i] for i in indices)
        seen = [network_image(p, c) for p, c in zip(images, crops, strict=True)]
        points = np.stack([face.landmarks for face in faces])
        features = torch.zeros(len(indices))
        if not only_motion:
            features = self._networks.features(self._appearance_inputs(images, crops, seen))
        return _Measured(
            self._networks.motion(seen),
            features,
            eye_ratios(points),
            lip_ratio(points),
            np.array([face.width for face in faces]),
            crops,
            images,
        )

    def _appearance_inputs(
        self, images: tuple[Image, ...], crops: tuple[FaceCrop, ...], seen: list[Image]
    ) -> list[Image]:
        """Return the inputs of F: those of M, but with the image's edge repeated in place of black beyond it.

        Black would come into the first rows of the result. M gets LivePortrait's own crop, so that the keypoints are
        LivePortrait's. A letterbox stays black.
        """
        if self._settings.whole_frame:
            return seen
        return [network_image(p, c, repeat_edge=True) for p, c in zip(images, crops, strict=True)]

    def _crop(self, face: TrackedFace) -> FaceCrop:
        settings = self._settings
        if settings.whole_frame:
            return whole_frame(self._source.footage.size)
        return portrait_crop(
            face.landmarks, scale=settings.crop_scale, shift_x=settings.crop_vx, shift_y=settings.crop_vy
        )

    def _make_frame(self, image: Image, crop: FaceCrop, picture: Image, index: int) -> FaceFrame:
        width, height = self._source.footage.size
        step = np.array([crop.scale - 1, *crop.to_image[:2, 2], crop.to_image[1, 0]])
        if (width, height) == crop.size and np.abs(step * np.array([SIZE, 1, 1, SIZE])).max() < 1:
            # The image is the crop (to less than a pixel): resampling it would only soften it.
            return FaceFrame(image, None, FaceCrop.window(0, 0, *crop.size), index, picture)
        return FaceFrame(image, None if self._settings.whole_frame else self._alpha, crop, index, picture)

    @cached_property
    def _rest(self) -> Floats64:
        """(6, 3) expression of the lips at rest: an image's own; of a video, where the aperture is smallest."""
        if self._picture is not None:
            return self._picture.motion.expression[0, LIPS]
        shown = [i for i in range(len(self._source.faces)) if self._source.shows_face(i)]
        shut = sorted(shown, key=lambda i: self._source.faces[i].aperture)[:_REST_FRAMES]
        parts = [sorted(shut)[k : k + _BATCH_OF_SOURCES] for k in range(0, len(shut), _BATCH_OF_SOURCES)]
        lips = [self._measure(part, only_motion=True).motion.expression[:, LIPS] for part in parts]
        rest: Floats64 = np.median(np.concatenate(lips), axis=0)
        return rest

    def _points(self, track: MotionTrack, at: Indices, seen: _Measured) -> Floats64:
        """Return the driving keypoints (n, 21, 3) of the track's frames `at`."""
        motion, head = seen.motion, track.head
        start = motion.points
        offsets: Floats64 = np.zeros((len(at), 1, 1))
        late = None
        if track.blink.any():  # in all frames or none: the network's offset for open eyes is not quite zero
            open_now = (seen.eye_ratios * (1 - track.blink[at])).mean(axis=1, keepdims=True)
            offsets = offsets + self._retarget("retarget_eye", start, [seen.eye_ratios, open_now])
        if isinstance(track.mouth, LipKeypoints):
            lips = self._rest + track.mouth.offsets[at].astype(np.float64)
            parted = self._picture is not None and float(seen.lip_ratio[0, 0]) >= LIPS_SHUT
            if parted and self._settings.normalize_lip:
                late = self._retarget("retarget_lip", start[:1], [seen.lip_ratio[:1], np.zeros((1, 1))])
        else:
            controls = track.mouth.values
            opening = controls[:, 0]
            shape = controls[at] * np.array([0, 1, 1, 1, 1], np.float32)
            lips = motion.expression[:, LIPS] + keypoints_from_controls(MouthControls(shape)).offsets
            if opening.any():
                wanted = seen.lip_ratio + (opening[at] / seen.mouth_width)[:, None]
                wanted = np.clip(wanted, 0.0, WIDEST_RATIO)
                offsets = offsets + self._retarget("retarget_lip", start, [seen.lip_ratio, wanted])
        turn = matrix_from_degrees(motion.rotation_deg + swap_convention(head.rotation_deg[at]))
        return talking_points(
            motion,
            lips,
            turn,
            pupils=(PUPIL_TRAVEL * track.gaze[at, 0], PUPIL_TRAVEL * track.gaze[at, 1]),
            change=_expression_change(track, at),
            zoom=head.scale[at, None].astype(np.float64),
            shift=self._shift(head.shift[at], seen.crops),
            offsets=offsets,
            stitching=self._networks.network("stitching") if self._settings.stitching else None,
            late_offsets=late,
            multiplier=self._settings.driving_multiplier,
        )

    def _retarget(self, network: str, points: Floats64, ratios: list[Floats64]) -> Floats64:
        return retarget(self._networks.network(network), points, np.concatenate(ratios, axis=1))

    def _shift(self, shift: npt.NDArray[np.floating[Any]], crops: tuple[FaceCrop, ...]) -> Floats64:
        """Convert shifts (n, 2), in widths of the tracker's crop along the image's axes, to the keypoints' units."""
        width = self._source.faces[0].crop
        px = shift.astype(np.float64) * (width.scale * width.size[0])
        moved = [crop.to_crop[:2, :2] @ by * (2 / crop.size[0]) for crop, by in zip(crops, px, strict=True)]
        return np.array(moved)


def _expression_change(track: MotionTrack, at: Indices) -> Floats64 | None:
    """Return (n, 21, 3) what brows and smile of the track's frames `at` add to the expression; None if they never move.

    The editor has one slider for both brows, which frowns below 0: their inner ends are taken into it.
    """
    if not (track.brows.any() or track.inner_brows.any() or track.smile.any()):
        return None
    raised = track.brows[at].astype(np.float64).mean(axis=1) + INNER_SHARE * track.inner_brows[at]
    eyebrow = np.clip(EYEBROW_RANGE[1] * raised / FULL_BROWS, *EYEBROW_RANGE)
    smile = np.clip(track.smile[at] / FULL_SMILE, *SMILE_RANGE)
    change = expression_of({"eyebrow": eyebrow, "smile": smile})
    change[:, LOWER_LIP] += change[:, UPPER_LIP]  # or a smile would part shut lips
    return change


def _ahead(work: Iterable[Callable[[], Result]], count: int) -> Iterator[Result]:
    """Yield the results of `work` in order; a thread computes `count` of them ahead."""
    if not count:
        yield from (step() for step in work)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1, "drawing") as thread:
        try:
            for step in work:
                waiting.append(thread.submit(step))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
