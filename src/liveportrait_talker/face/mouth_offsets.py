"""Convert absolute mouth controls to offsets from the mouth of the source."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats
from ..motion.track import MouthControls
from .tracked import TrackedSource


def measure_source_mouth(source: TrackedSource, frames: int, fps: float) -> Floats:
    """Return the source's mouth at each output frame, (frames, 5) as in `MouthControls`.

    The aperture is absolute. The width is relative to the median of a video; for a still image it is 0.
    """
    indices = source.frame_indices(frames, fps)
    aperture = np.array([max(face.aperture, 0.0) for face in source.faces])
    controls = np.zeros((frames, 5))
    controls[:, 0] = aperture[indices]
    if not source.is_still:
        width = np.array([face.width for face in source.faces])
        change = (width - np.median(width))[indices]
        controls[:, 1], controls[:, 2] = np.maximum(change, 0), np.maximum(-change, 0)
    return controls


def subtract_source_mouth(mouth: Floats, source: TrackedSource, fps: float) -> MouthControls:
    """Return the offsets that change the source's mouth to `mouth`.

    `mouth` (T, 5) holds the absolute aperture and, for the other controls, offsets from a mouth at rest; in IOD.
    """
    return MouthControls(mouth - measure_source_mouth(source, len(mouth), fps))
