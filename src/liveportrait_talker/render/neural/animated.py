"""A source that follows a driving clip: `Animation`'s keypoints drawn by the networks.

A video is read twice: by the motion extractor for the whole clip, which the smoothing over time needs, and again
frame by frame as it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arrays import Floats64, Indices
from ...motion.template import MotionTemplate
from ...options.animate import AnimateOptions
from ...progress import OnStep
from ..protocol import FaceFrame
from .animation import Animation
from .animation_inputs import AnimationSettings, DrivingMotion
from .keypoints import FaceMotion

if TYPE_CHECKING:
    from .renderer import NeuralFace

_AT_ONCE = 8  # source frames


class AnimatedFace:
    """A source and the clip that it follows, ready to be drawn by the neural renderer."""

    def __init__(
        self,
        face: NeuralFace,
        motion: MotionTemplate,
        options: AnimateOptions,
        *,
        frames: int,
        fps: float,
        on_step: OnStep,
    ) -> None:
        """Read the source's motion.

        Args:
            face: the prepared source.
            motion: of the driving clip; one frame holds for all.
            options: how it is followed.
            frames: of the output.
            fps: of the output.
            on_step: called with (source frames read, in all).
        """
        self._face = face
        driving = DrivingMotion.from_template(motion)
        if len(driving) > 1:
            at = np.minimum(np.floor(np.arange(frames) * (driving.fps / fps) + 1e-6).astype(np.intp), len(driving) - 1)
            driving = driving.take(at, fps)
        source = face.source
        self._indices = source.frame_indices(frames, fps)
        wanted = np.zeros(1, np.intp) if source.is_still else np.arange(int(self._indices.max()) + 1)
        own, eyes, lips = _read_motion(face, wanted, on_step)
        rows = np.zeros(1, np.intp) if source.is_still else self._indices
        self.animation = Animation(
            own.take(rows),
            driving,
            _settings(options),
            face.point_networks,
            eye_ratios=eyes[rows],
            lip_ratio=lips[rows],
        )

    def frames(self) -> Iterator[FaceFrame]:
        """Yield one drawn face for each output frame, drawn on demand."""
        still = len(self.animation) == 1
        return self._face.draw(
            self._indices, lambda at, seen: self.animation.points(np.zeros_like(at) if still else at)
        )


def _settings(options: AnimateOptions) -> AnimationSettings:
    return AnimationSettings(
        relative_motion=options.relative_motion,
        animation_region=options.animation_region,
        driving_option=options.driving_option,
        driving_multiplier=options.driving_multiplier,
        stitching=options.stitching,
        normalize_lip=options.normalize_lip,
        eye_retargeting=options.eye_retargeting,
        lip_retargeting=options.lip_retargeting,
        source_video_eye_retargeting=options.source_video_eye_retargeting,
        smooth_observation_variance=options.driving_smooth_observation_variance,
    )


def _read_motion(face: NeuralFace, indices: Indices, on_step: OnStep) -> tuple[FaceMotion, Floats64, Floats64]:
    """Return the motion of source frames, their eye ratios (n, 2) and their lip ratios (n, 1)."""
    motions: list[FaceMotion] = []
    ratios: list[tuple[Any, Any]] = []
    for first in range(0, len(indices), _AT_ONCE):
        motion, eyes, lips = face.motion_of([int(i) for i in indices[first : first + _AT_ONCE]])
        motions.append(motion)
        ratios.append((eyes, lips))
        if len(indices) > 1:
            on_step(min(first + _AT_ONCE, len(indices)), len(indices))
    names = ("keypoints", "expression", "scale", "translation", "rotation_deg")
    whole = FaceMotion(**{name: np.concatenate([getattr(m, name) for m in motions]) for name in names})
    return whole, np.concatenate([eyes for eyes, _ in ratios]), np.concatenate([lips for _, lips in ratios])
