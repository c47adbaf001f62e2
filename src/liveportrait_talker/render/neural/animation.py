"""Video-driven animation: driving keypoints of a source that follows a clip.

See docs/method/liveportrait.md, Animation and Smoothing. Steps that need the whole clip (smoothing, frame 0 as the
reference) are done when an `Animation` is made, on arrays of less than 3 KB a frame; keypoints are then computed for
any subset of frames. `AnimationSettings.as_released` restores defects of the released code, for parity
(docs/method/liveportrait.md, Differences).
"""

from __future__ import annotations

import numpy as np

from ...arrays import Floats, Floats64, Indices
from ...motion.smoothing import kalman_smooth
from .animation_geometry import LIP0, PART_ROWS, driven_components, motion_multiplier, nearest_rotation
from .animation_inputs import AnimationSettings, DrivingMotion, PointNetworks
from .keypoints import FaceMotion, transform_keypoints

__all__ = ["Animation", "AnimationSettings", "DrivingMotion", "PointNetworks"]

_DEFAULT_EYE_RATIO = 0.39  # used where the first frame of a source video has closed eyes


class Animation:
    """Driving keypoints of a source that follows a driving clip; `len` is the number of frames."""

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
        """Compute what needs the whole clip.

        Args:
            source: one face (a still image), or one for each frame (a video).
            driving: the clip to follow.
            settings: how to follow it.
            networks: stitching and retargeting.
            eye_ratios: (N, 2) of the source, needed for eye retargeting.
            lip_ratio: (N, 1) of the source, needed for lip retargeting; without it `normalize_lip` has no effect.

        Raises:
            ValueError: ratios that the settings need are missing, or have another shape.
        """
        if (settings.eye_retargeting or settings.source_video_eye_retargeting) and eye_ratios is None:
            raise ValueError("eye retargeting needs the source's eye ratios")
        if settings.lip_retargeting and lip_ratio is None:
            raise ValueError("lip retargeting needs the source's lip ratio")
        self.settings, self._networks = settings, networks
        self._eye_ratios = None if eye_ratios is None else _check_ratios(eye_ratios, len(source), 2)
        self._lip_ratio = None if lip_ratio is None else _check_ratios(lip_ratio, len(source), 1)
        lengths = [len(clip) for clip in (source, driving) if len(clip) > 1]
        self._length = min(lengths, default=1)
        self._is_still, self._driven_by_image = len(source) == 1, len(driving) == 1
        self._source = source = source.take(np.arange(min(len(source), self._length)))
        self._driving = driving = driving.take(np.arange(min(len(driving), self._length)))
        self._source_points = source.points
        self._rotation = self._compute_rotation()
        self._expression = self._compute_expression()
        self._scale, self._translation = self._compute_scale_translation()
        self._reference: tuple[Floats64, float] | None = None
        expression_friendly = settings.driving_option == "expression-friendly"
        if expression_friendly and settings.relative_motion and self._is_still and not self._driven_by_image:
            first = self._transform(np.zeros(1, np.intp))
            self._reference = first, motion_multiplier(self._source_points[0], first[0])

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"Animation(T={len(self)})"

    def points(self, frames: Indices) -> Floats64:
        """Return driving keypoints x_d (n, 21, 3) of n frames (steps 2–5)."""
        settings = self.settings
        start, x_d = self._select_frames(self._source_points, frames), self._transform(frames)
        if self._reference is not None:
            first, ratio = self._reference
            x_d = start + (x_d - first) * ratio
        retargeted = settings.eye_retargeting or settings.lip_retargeting
        if retargeted:
            motion_lost = settings.as_released and settings.relative_motion
            x_d = (start if motion_lost else x_d) + self._retarget_to_driving(start, frames)
        if settings.stitching:
            x_d = self._networks.stitching(start, x_d)
        if not retargeted:
            x_d = x_d + self._retarget_to_settings(start, frames)
        driven: Floats64 = start + (x_d - start) * settings.driving_multiplier
        return driven

    def _compute_rotation(self) -> Floats64:
        """Return rotations (T or 1, 3, 3)."""
        settings, own, driven = self.settings, self._source.rotation, self._driving.rotation
        if settings.animation_region not in ("all", "pose"):
            return own
        turned: Floats64 = driven
        if settings.relative_motion:
            turned = driven @ driven[0].T @ own
        if self._is_still or self._driven_by_image:
            return turned
        smooth = kalman_smooth(turned, settings.smooth_observation_variance)
        return smooth if settings.as_released else nearest_rotation(smooth)

    def _compute_expression(self) -> Floats64:
        """Return expression deformations (T or 1, 21, 3)."""
        settings, own, driven = self.settings, self._source.expression, self._driving.expression
        if settings.relative_motion:
            start = LIP0 if self._driven_by_image else driven[0]
            if (
                settings.as_released
                and self._is_still
                and self._driven_by_image
                and settings.animation_region == "eyes"
            ):
                start = np.zeros_like(LIP0)
            driven = own + (driven - start)
        if not (self._is_still or self._driven_by_image):
            driven = kalman_smooth(driven, settings.smooth_observation_variance)
        mask = driven_components(settings.animation_region, every=settings.relative_motion and self._is_still)
        if settings.relative_motion and not settings.as_released:
            # Retargeting sets their opening; driving their expression too would apply it twice.
            for part, on in (("eyes", settings.eye_retargeting), ("lip", settings.lip_retargeting)):
                mask[list(PART_ROWS[part])] &= not on
        return np.where(mask, driven, own)

    def _compute_scale_translation(self) -> tuple[Floats64, Floats64]:
        """Return scale (T or 1, 1) and translation (T or 1, 3)."""
        region, source, driving = self.settings.animation_region, self._source, self._driving
        scale, translation = source.scale, source.translation
        if self.settings.relative_motion and self._is_still:
            if region == "all":
                scale = scale * (driving.scale / driving.scale[0])
            if region in ("all", "pose"):
                translation = translation + (driving.translation - driving.translation[0])
        elif not self.settings.relative_motion and region in ("all", "pose"):
            translation = driving.translation
        return scale, translation

    def _transform(self, frames: Indices) -> Floats64:
        """Return x_d (n, 21, 3) of step 2."""
        tracks = (self._source.keypoints, self._rotation, self._expression, self._scale, self._translation)
        return transform_keypoints(*(self._select_frames(track, frames) for track in tracks))

    def _retarget_to_driving(self, start: Floats64, frames: Indices) -> Floats64:
        """Return offsets (n, 21, 3) that open eyes and lips as far as the driving face's (step 4.1)."""
        offsets = np.zeros_like(start)
        if self.settings.eye_retargeting:
            assert self._eye_ratios is not None
            both = self._select_frames(self._driving.eye_ratios, frames)
            wanted = both[:, :1] if self.settings.as_released else both.mean(axis=1, keepdims=True)
            offsets += self._networks.retarget_eye(
                start, np.hstack([self._select_frames(self._eye_ratios, frames), wanted])
            )
        if self.settings.lip_retargeting:
            assert self._lip_ratio is not None
            wanted = self._select_frames(self._driving.lip_ratio, frames)
            offsets += self._networks.retarget_lip(
                start, np.hstack([self._select_frames(self._lip_ratio, frames), wanted])
            )
        return offsets

    def _retarget_to_settings(self, start: Floats64, frames: Indices) -> Floats64:
        """Return offsets (n, 21, 3) that close open lips and hold the eyes of a video open (step 4.3)."""
        settings, offsets = self.settings, np.zeros_like(start)
        if settings.normalize_lip and settings.relative_motion and self._lip_ratio is not None:
            lip = self._select_frames(self._lip_ratio, frames)
            shut = self._networks.retarget_lip(start, np.hstack([lip, np.zeros_like(lip)]))
            offsets += np.where(lip[..., None] >= settings.lip_normalize_threshold, shut, 0.0)
        if settings.source_video_eye_retargeting and not self._is_still:
            assert self._eye_ratios is not None
            eyes, first = self._select_frames(self._eye_ratios, frames), float(self._eye_ratios[0].mean())
            wanted = _DEFAULT_EYE_RATIO if first < settings.source_video_eye_threshold else first
            offsets += self._networks.retarget_eye(start, np.hstack([eyes, np.full((len(eyes), 1), wanted)]))
        return offsets

    def _select_frames(self, track: Floats64, frames: Indices) -> Floats64:
        """Return rows (n, …) of a track (T or 1, …); a single row is repeated."""
        rows = track if len(track) == 1 else track[frames]
        return np.broadcast_to(rows, (len(frames), *track.shape[1:]))


def _check_ratios(ratios: Floats, faces: int, columns: int) -> Floats64:
    """Return ratios as float64. Raises ValueError unless their shape is (faces, columns)."""
    array = np.asarray(ratios, dtype=np.float64)
    if array.shape != (faces, columns):
        raise ValueError(f"the source's ratios must be ({faces}, {columns}), got {array.shape}")
    return array
