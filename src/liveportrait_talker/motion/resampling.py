"""A track on one clock → the same track at a video's frame rate."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats


def at_frame_rate(track: Floats, track_fps: float, frames: int, fps: float) -> Floats:
    """`track` (T ≥ 1, ...), frame k at k / track_fps seconds, read at k / fps for `frames` frames: (frames, ...).

    A cubic through the values, smoothed first where `fps` is lower; beyond its end the track is held. At its own rate
    it comes back to the bit.
    """
    values: Floats = track.reshape(len(track), -1)
    width = max(1, round(track_fps / fps))
    if width > 1:
        kernel = np.convolve(np.full(width, 1.0 / width), np.full(width, 1.0 / width))  # odd: shifts nothing in time
        padded = np.pad(values, ((width - 1, width - 1), (0, 0)), mode="edge")
        values = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
    times = np.minimum(np.arange(frames) * (track_fps / fps), len(values) - 1.0)
    before = times.astype(int)
    u = (times - before)[:, None]
    p0, p1, p2, p3 = (values[np.clip(before + k, 0, len(values) - 1)] for k in (-1, 0, 1, 2))
    bent = (2 * p0 - 5 * p1 + 4 * p2 - p3) + u * (3 * p1 - p0 - 3 * p2 + p3)
    cubic = p1 + 0.5 * u * ((p2 - p0) + u * bent)
    # Not past its neighbours: a closed mouth stays closed.
    within = np.clip(cubic, np.minimum(p1, p2), np.maximum(p1, p2))
    return np.asarray(within.reshape(frames, *track.shape[1:]))
