"""Savitzky–Golay smoothing of SadTalker's head poses.

Source: docs/method/sadtalker.md, Pose smoothing.
"""

from __future__ import annotations

import numpy as np

from ...arrays import Floats, Floats64

_WINDOW = 13
_ORDER = 2


def smooth_pose(pose: Floats) -> Floats64:
    """Smooth `pose` (T, ...) over time by parabolas; T < 3 is unchanged (docs/earlier_systems.md, defect 26)."""
    frames = len(pose)
    if frames <= _ORDER:
        return np.asarray(pose, dtype=np.float64)
    return savitzky_golay(pose, _WINDOW if frames >= _WINDOW else 2 * ((frames - 1) // 2) + 1, _ORDER)


def savitzky_golay(track: Floats, window: int, order: int) -> Floats64:
    """Replace each frame of `track` (T, ...) by a polynomial fitted to `window` ≤ T frames about it.

    The first and last half windows are read from the polynomials of the first and last whole window (SciPy's mode
    "interp").

    Raises:
        ValueError: the window is even, longer than the track or not longer than `order`.
    """
    x = np.asarray(track, dtype=np.float64)
    if window % 2 != 1 or not order < window <= len(x):
        raise ValueError(f"need an odd window with {order} < window ≤ {len(x)} frames, got {window}")
    half = window // 2
    powers = np.vander(np.arange(-half, half + 1) / max(half, 1), order + 1)
    fit = powers @ np.linalg.pinv(powers)  # (window, window): values → values of the fitted polynomial
    flat = x.reshape(len(x), -1)
    middle = np.lib.stride_tricks.sliding_window_view(flat, window, axis=0) @ fit[half]
    smooth: Floats64 = np.concatenate([fit[:half] @ flat[:window], middle, fit[half + 1 :] @ flat[-window:]])
    whole: Floats64 = smooth.reshape(x.shape)
    return whole
