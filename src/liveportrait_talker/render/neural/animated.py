"""A source drawn as it follows a driving clip: `Animation`'s points through the networks.

A video is looked at twice: by the motion extractor for the whole clip, which the smoothing over time needs, and again
frame by frame as it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import Indices
from ...face.tracked import TrackedSource
from ..protocol import FaceFrame
from .animation import Animation
from .animation_inputs import AnimationSettings, DrivingMotion, PointNetworks
from .keypoints import FaceMotion
from .liveportrait import LivePortrait
from .renderer import NeuralFace

_AT_ONCE = 8


class AnimatedFace:
    """A source and the clip that it follows, ready to be drawn by the neural renderer."""

    def __init__(
        self,
        face: NeuralFace,
        source: TrackedSource,
        driving: DrivingMotion,
        settings: AnimationSettings,
        networks: PointNetworks,
        *,
        frames: int,
        fps: float,
        on_frame: Callable[[int, int], None] | None = None,
    ) -> None:
        """Look at the source's motion.

        Args:
            face: `source`, prepared.
            source: picture or video.
            driving: one frame, or one for each of `frames`.
            settings: how it is followed.
            networks: see `point_networks`.
            frames: of the output.
            fps: of the output.
            on_frame: called with (source frames looked at, in all).
        """
        self._face = face
        self._indices = source.frame_indices(frames, fps)
        wanted = np.zeros(1, np.intp) if source.is_still else np.arange(int(self._indices.max()) + 1)
        motion, eyes, lips = _looked_at(face, wanted, on_frame)
        rows = np.zeros(1, np.intp) if source.is_still else self._indices
        self.animation = Animation(
            motion.take(rows), driving, settings, networks, eye_ratios=eyes[rows], lip_ratio=lips[rows]
        )
        if len(self.animation) not in (1, frames):
            raise ValueError(f"{len(driving)} driving frames for {frames} frames")

    def frames(self) -> Iterator[FaceFrame]:
        """One drawn face an output frame, made as they are asked for."""
        still = len(self.animation) == 1
        return self._face.followed(
            self._indices, lambda at, seen: self.animation.points(np.zeros_like(at) if still else at)
        )


def point_networks(networks: LivePortrait) -> PointNetworks:
    """The three small networks as functions of points."""
    names = ("stitching", "retarget_eye", "retarget_lip")
    return PointNetworks.of(**{name: networks.network(name) for name in names})


def _looked_at(
    face: NeuralFace, indices: Indices, on_frame: Callable[[int, int], None] | None
) -> tuple[FaceMotion, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    motions: list[FaceMotion] = []
    ratios: list[tuple[Any, Any]] = []
    for first in range(0, len(indices), _AT_ONCE):
        motion, eyes, lips = face.motion_of([int(i) for i in indices[first : first + _AT_ONCE]])
        motions.append(motion)
        ratios.append((eyes, lips))
        if on_frame and len(indices) > 1:
            on_frame(min(first + _AT_ONCE, len(indices)), len(indices))
    names = ("keypoints", "expression", "scale", "translation", "rotation_deg")
    whole = FaceMotion(**{name: np.concatenate([getattr(m, name) for m in motions]) for name in names})
    return whole, np.concatenate([eyes for eyes, _ in ratios]), np.concatenate([lips for _, lips in ratios])
