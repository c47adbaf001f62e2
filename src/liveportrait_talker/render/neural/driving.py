"""Motion of a driving clip by the motion extractor. Source: docs/method/liveportrait.md, Crop and Animation."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from ...face.alignment import ibug68
from ...face.liveportrait_crop import crop_pixels, driving_box, driving_crop
from ...face.ratios import eye_ratios, lip_ratio
from ...face.tracked import TrackedSource
from ...motion.template import MotionTemplate
from .crops import NETWORK_SIZE
from .keypoints import FaceMotion
from .liveportrait import LivePortrait

_AT_ONCE = 8  # frames in one call of M


def driving_template(
    networks: LivePortrait,
    driving: TrackedSource,
    *,
    fps: float,
    crop: bool,
    on_frame: Callable[[int, int], None] | None = None,
) -> MotionTemplate:
    """Return the motion of a driving clip, read frame by frame.

    Args:
        networks: of which M is used.
        driving: the clip.
        fps: its frame rate, or the rate assumed for an image.
        crop: cut every frame to the mean box of the faces, as LivePortrait's `flag_crop_driving_video`; otherwise
            whole frames are resized to a square.
        on_frame: called with (frames done, frames in all).
    """
    landmarks = np.stack([face.landmarks for face in driving.faces])
    box = None
    if crop:
        box = driving_crop(driving_box(np.stack([ibug68(points)[:, :2] for points in landmarks])))
    size = (NETWORK_SIZE, NETWORK_SIZE)
    seen: list[FaceMotion] = []
    for first in range(0, len(driving.faces), _AT_ONCE):
        piece = range(first, min(first + _AT_ONCE, len(driving.faces)))
        pictures = []
        for k in piece:
            frame = driving.footage[k]
            frame = frame if box is None else crop_pixels(frame, box)
            pictures.append(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), np.uint8))
        seen.append(networks.motion(pictures))
        if on_frame:
            on_frame(piece[-1] + 1, len(driving.faces))

    def all_of(name: str) -> npt.NDArray[np.float32]:
        joined: npt.NDArray[np.float32] = np.concatenate([getattr(part, name) for part in seen]).astype(np.float32)
        return joined

    return MotionTemplate(
        fps=fps,
        scale=all_of("scale"),
        rotation=all_of("rotation"),
        expression=all_of("expression"),
        translation=all_of("translation"),
        keypoints=all_of("keypoints"),
        points=all_of("points"),
        eye_ratios=eye_ratios(landmarks).astype(np.float32),
        lip_ratio=lip_ratio(landmarks).astype(np.float32),
    )
