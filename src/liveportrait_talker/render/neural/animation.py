"""Video-driven animation: what a driving clip does, told to the source as the points the warping network is given.

Source: spec liveportrait.md §12, with §13 for the smoothing. What needs the whole clip (smoothing, frame 0 as the
reference) is done on the small arrays when an `Animation` is made, under 3 KB a frame; points are then asked for in
pieces of any size. What the released code does wrong and we mend (§18) is done its way with `as_released`, for parity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...arrays import Floats, Floats64, Indices
from ...motion.smoothing import kalman_smooth
from .animation_geometry import LIP0, PART_ROWS, driven_components, motion_multiplier, nearest_rotation
from .animation_inputs import AnimationSettings, DrivingMotion, PointNetworks
from .keypoints import FaceMotion, transform_keypoints

__all__ = ["Animation", "AnimationSettings", "DrivingMotion", "PointNetworks", "opened_lips", "silenced"]

_OPEN_EYES = 0.39  # what a source video's eyes are held at where its first frame has them shut (§12 step 4)
_LIP_VARIANCE = 3e-6


class Animation:
    """A source that follows a driving clip: `len` frames, of which any may be asked for."""

    def __init__(
        self,
        source: FaceMotion,
        driving: DrivingMotion,
        settings: AnimationSettings,
        networks: PointNetworks,
        *,
        eye_ratios: Floats | None = None,
        lip_ratio: Floats | None = None,
    ) -> None:
        """Do what needs the whole clip.

        Args:
            source: one face (a picture), or one a frame (a video).
            driving: the clip that is followed.
            settings: how.
            networks: stitching and retargeting.
            eye_ratios: (N, 2) of the source, needed for anything about eyes.
            lip_ratio: (N, 1) of the source, needed for lip retargeting; without it `normalize_lip` does nothing.
        """
        if (settings.eye_retargeting or settings.source_video_eye_retargeting) and eye_ratios is None:
            raise ValueError("eye retargeting needs the source's eye ratios")
        if settings.lip_retargeting and lip_ratio is None:
            raise ValueError("lip retargeting needs the source's lip ratio")
        self.settings, self._networks = settings, networks
        self._eyes = None if eye_ratios is None else _per_face(eye_ratios, len(source), 2)
        self._lip = None if lip_ratio is None else _per_face(lip_ratio, len(source), 1)
        lengths = [len(clip) for clip in (source, driving) if len(clip) > 1]
        self._length = min(lengths, default=1)
        self._still, self._by_picture = len(source) == 1, len(driving) == 1
        self._source = source = source.take(np.arange(min(len(source), self._length)))
        self._driving = driving = driving.take(np.arange(min(len(driving), self._length)))
        self._start = source.points
        self._rotation = self._new_rotation()
        self._expression = self._new_expression()
        self._scale, self._translation = self._new_place()
        self._reference: tuple[Floats64, float] | None = None
        expression_friendly = settings.driving_option == "expression-friendly"
        if expression_friendly and settings.relative_motion and self._still and not self._by_picture:
            first = self._moved(np.zeros(1, np.intp))
            self._reference = first, motion_multiplier(self._start[0], first[0])

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"Animation(T={len(self)})"

    def points(self, frames: Indices) -> Floats64:
        """Driving points x_d (n, 21, 3) of these n frames, for `WarpingNetwork` (§12 steps 2–5)."""
        settings = self.settings
        start, x_d = self._pick(self._start, frames), self._moved(frames)
        if self._reference is not None:
            first, ratio = self._reference
            x_d = start + (x_d - first) * ratio
        retargeted = settings.eye_retargeting or settings.lip_retargeting
        if retargeted:
            motion_lost = settings.as_released and settings.relative_motion
            x_d = (start if motion_lost else x_d) + self._as_open_as_the_driver(start, frames)
        if settings.stitching:
            x_d = self._networks.stitching(start, x_d)
        if not retargeted:
            x_d = x_d + self._as_open_as_asked(start, frames)
        driven: Floats64 = start + (x_d - start) * settings.driving_multiplier
        return driven

    def pieces(self, size: int) -> Iterator[Floats64]:
        """All driving points in order, `size` ≥ 1 frames at a time: (size or fewer, 21, 3)."""
        for first in range(0, len(self), size):
            yield self.points(np.arange(first, min(first + size, len(self))))

    def source_points(self, frames: Indices) -> Floats64:
        """The source's own points x_s (n, 21, 3) of these frames, for `WarpingNetwork`."""
        return self._pick(self._start, frames)

    def _new_rotation(self) -> Floats64:
        """(T or 1, 3, 3) as seen in the picture."""
        settings, own, driven = self.settings, self._source.rotation, self._driving.rotation
        if settings.animation_region not in ("all", "pose"):
            return own
        turned: Floats64 = driven
        if settings.relative_motion:
            turned = driven @ driven[0].T @ own
        if self._still or self._by_picture:
            return turned
        smooth = kalman_smooth(turned, settings.smooth_observation_variance)
        return smooth if settings.as_released else nearest_rotation(smooth)

    def _new_expression(self) -> Floats64:
        """(T or 1, 21, 3)"""
        settings, own, driven = self.settings, self._source.expression, self._driving.expression
        if settings.relative_motion:
            start = LIP0 if self._by_picture else driven[0]
            if settings.as_released and self._still and self._by_picture and settings.animation_region == "eyes":
                start = np.zeros_like(LIP0)
            driven = own + (driven - start)
        if not (self._still or self._by_picture):
            driven = kalman_smooth(driven, settings.smooth_observation_variance)
        mask = driven_components(settings.animation_region, every=settings.relative_motion and self._still)
        if settings.relative_motion and not settings.as_released:
            # Retargeting opens these as the driver's are: moving them by its expression too would do so twice.
            for part, on in (("eyes", settings.eye_retargeting), ("lip", settings.lip_retargeting)):
                mask[list(PART_ROWS[part])] &= not on
        return np.where(mask, driven, own)

    def _new_place(self) -> tuple[Floats64, Floats64]:
        """Scale (T or 1, 1) and translation (T or 1, 3)."""
        region, source, driving = self.settings.animation_region, self._source, self._driving
        scale, translation = source.scale, source.translation
        if self.settings.relative_motion and self._still:
            if region == "all":
                scale = scale * (driving.scale / driving.scale[0])
            if region in ("all", "pose"):
                translation = translation + (driving.translation - driving.translation[0])
        elif not self.settings.relative_motion and region in ("all", "pose"):
            translation = driving.translation
        return scale, translation

    def _moved(self, frames: Indices) -> Floats64:
        """x_d (n, 21, 3) of step 2."""
        wholes = (self._source.keypoints, self._rotation, self._expression, self._scale, self._translation)
        return transform_keypoints(*(self._pick(whole, frames) for whole in wholes))

    def _as_open_as_the_driver(self, start: Floats64, frames: Indices) -> Floats64:
        """Offsets (n, 21, 3) of eyes and lips that follow the driving face's ratios."""
        offsets = np.zeros_like(start)
        if self.settings.eye_retargeting:
            assert self._eyes is not None
            both = self._pick(self._driving.eye_ratios, frames)
            wanted = both[:, :1] if self.settings.as_released else both.mean(axis=1, keepdims=True)
            offsets += self._networks.retarget_eye(start, np.hstack([self._pick(self._eyes, frames), wanted]))
        if self.settings.lip_retargeting:
            assert self._lip is not None
            wanted = self._pick(self._driving.lip_ratio, frames)
            offsets += self._networks.retarget_lip(start, np.hstack([self._pick(self._lip, frames), wanted]))
        return offsets

    def _as_open_as_asked(self, start: Floats64, frames: Indices) -> Floats64:
        """Offsets (n, 21, 3) that shut parted lips and hold a video's eyes open, added after stitching (step 4)."""
        settings, offsets = self.settings, np.zeros_like(start)
        if settings.normalize_lip and settings.relative_motion and self._lip is not None:
            lip = self._pick(self._lip, frames)
            shut = self._networks.retarget_lip(start, np.hstack([lip, np.zeros_like(lip)]))
            offsets += np.where(lip[..., None] >= settings.lip_normalize_threshold, shut, 0.0)
        if settings.source_video_eye_retargeting and not self._still:
            assert self._eyes is not None
            eyes, first = self._pick(self._eyes, frames), float(self._eyes[0].mean())
            wanted = _OPEN_EYES if first < settings.source_video_eye_threshold else first
            offsets += self._networks.retarget_eye(start, np.hstack([eyes, np.full((len(eyes), 1), wanted)]))
        return offsets

    def _pick(self, whole: Floats64, frames: Indices) -> Floats64:
        """(n, ...) of a track (T or 1, ...), where one entry stands for all frames."""
        rows = whole if len(whole) == 1 else whole[frames]
        return np.broadcast_to(rows, (len(frames), *whole.shape[1:]))


def silenced(source: FaceMotion, networks: PointNetworks) -> Floats64:
    """Points (N, 21, 3) of the source's N frames with a face that does nothing but look and blink (§12 "Silence").

    The released code adds t_z to these points but not to the source's; here neither has it.
    """
    expression = np.broadcast_to(LIP0, source.expression.shape).copy()
    expression[:, PART_ROWS["eyes"]] = source.expression[:, PART_ROWS["eyes"]]
    x_d = transform_keypoints(source.keypoints, source.rotation, expression, source.scale, source.translation)
    return networks.stitching(source.points, x_d)


def opened_lips(
    source: FaceMotion,
    opening: float,
    lip_ratio: Floats,
    networks: PointNetworks,
    *,
    observation_variance: float = _LIP_VARIANCE,
) -> Floats64:
    """Points (N, 21, 3) of the source's N frames with its lips held `opening` open, 0 … about 0.8 (§12).

    Args:
        source: all frames of the clip, as the offsets are smoothed over time.
        opening: lip ratio that is wanted.
        lip_ratio: (N, 1) of the source.
        networks: stitching and retargeting.
        observation_variance: of that smoothing.
    """
    start, ratios = source.points, _per_face(lip_ratio, len(source), 1)
    offsets = networks.retarget_lip(start, np.hstack([ratios, np.full_like(ratios, opening)]))
    return networks.stitching(start, start + kalman_smooth(offsets, observation_variance))


def _per_face(ratios: Floats, faces: int, columns: int) -> Floats64:
    """Ratios as float64, checked to be (faces, columns)."""
    array = np.asarray(ratios, dtype=np.float64)
    if array.shape != (faces, columns):
        raise ValueError(f"the source's ratios must be ({faces}, {columns}), got {array.shape}")
    return array
