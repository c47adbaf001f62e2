"""A mouth told in its own terms → told as a change from what the source shows."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats
from ..motion.track import MouthControls
from .tracked import TrackedSource


def own_mouth(source: TrackedSource, frames: int, fps: float) -> Floats:
    """(frames, 5) what the source's own mouth does at each output frame, in the terms of `MouthControls`.

    A picture's lips may be parted; everything else about it is its rest. A video's mouth talks: its width counts
    from the person's usual one.
    """
    indices = source.frame_indices(frames, fps)
    aperture = np.array([max(face.aperture, 0.0) for face in source.faces])
    own = np.zeros((frames, 5))
    own[:, 0] = aperture[indices]
    if not source.is_still:
        width = np.array([face.width for face in source.faces])
        change = (width - np.median(width))[indices]
        own[:, 1], own[:, 2] = np.maximum(change, 0), np.maximum(-change, 0)
    return own


def relative_to_source(mouth: Floats, source: TrackedSource, fps: float) -> MouthControls:
    """Controls that make the source's mouth do `mouth` (T, 5): aperture, and changes from a mouth at rest; IOD."""
    return MouthControls(mouth - own_mouth(source, len(mouth), fps))
