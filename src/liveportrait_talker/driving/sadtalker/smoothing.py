"""The smoothing of SadTalker's head poses: a parabola fitted to 13 frames about each (spec talker.md §5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import Floats64

_WINDOW = 13
_ORDER = 2


def smooth_pose(pose: npt.NDArray[np.floating[Any]]) -> Floats64:
    """Pose (T, ...) smoothed over time, float64; clips too short for a parabola (T < 3) pass through (defect 26)."""
    frames = len(pose)
    if frames <= _ORDER:
        return np.asarray(pose, dtype=np.float64)
    return savitzky_golay(pose, _WINDOW if frames >= _WINDOW else 2 * ((frames - 1) // 2) + 1, _ORDER)


def savitzky_golay(track: npt.NDArray[np.floating[Any]], window: int, order: int) -> Floats64:
    """Each value of `track` (T, ...) by a polynomial fitted to the odd `window` ≤ T of frames about it.

    The first and last half windows are read off the polynomials of the first and last whole ones (scipy's mode
    "interp").
    """
    x = np.asarray(track, dtype=np.float64)
    if window % 2 != 1 or not order < window <= len(x):
        raise ValueError(f"need an odd window with {order} < window ≤ {len(x)} frames, got {window}")
    half = window // 2
    powers = np.vander(np.arange(-half, half + 1) / max(half, 1), order + 1)
    fit = powers @ np.linalg.pinv(powers)  # (window, window): values → values of their polynomial
    flat = x.reshape(len(x), -1)
    middle = np.lib.stride_tricks.sliding_window_view(flat, window, axis=0) @ fit[half]
    smooth: Floats64 = np.concatenate([fit[:half] @ flat[:window], middle, fit[half + 1 :] @ flat[-window:]])
    whole: Floats64 = smooth.reshape(x.shape)
    return whole
