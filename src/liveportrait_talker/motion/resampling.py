"""Resampling of tracks to the frame rate of a video."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats


def resample_track(track: Floats, track_fps: float, frames: int, fps: float) -> Floats:
    """Resample `track` (T ≥ 1, ...) at `track_fps` to `frames` frames at `fps`: (frames, ...).

    A cubic through the values, low-pass filtered first where `fps` is lower. The last value is held beyond the end. At
    its own rate a track is returned unchanged, bit for bit. Source: docs/method/conventions.md, Clock.
    """
    values: Floats = track.reshape(len(track), -1)
    width = max(1, round(track_fps / fps))
    if width > 1:
        kernel = np.convolve(np.full(width, 1.0 / width), np.full(width, 1.0 / width))  # odd length, no delay
        padded = np.pad(values, ((width - 1, width - 1), (0, 0)), mode="edge")
        values = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
    times = np.minimum(np.arange(frames) * (track_fps / fps), len(values) - 1.0)
    before = times.astype(int)
    u = (times - before)[:, None]
    p0, p1, p2, p3 = (values[np.clip(before + k, 0, len(values) - 1)] for k in (-1, 0, 1, 2))
    curvature = (2 * p0 - 5 * p1 + 4 * p2 - p3) + u * (3 * p1 - p0 - 3 * p2 + p3)
    cubic = p1 + 0.5 * u * ((p2 - p0) + u * curvature)
    # Do not overshoot the neighbours, so that a closed mouth stays closed.
    within = np.clip(cubic, np.minimum(p1, p2), np.maximum(p1, p2))
    return np.asarray(within.reshape(frames, *track.shape[1:]))
