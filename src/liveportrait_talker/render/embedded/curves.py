"""Smooth curves through landmarks."""

from __future__ import annotations

import numpy as np

from ...arrays import Floats


def smooth_curve(x: Floats, y: Floats, grid: Floats, *, taps: int, min_step: float) -> Floats:
    """Return y on a regular `grid` of x, smoothed with a Hann window.

    Args:
        x: (n,) made increasing by at least `min_step`.
        y: (n,).
        grid: (m,) positions.
        taps: of the window, an odd number.
        min_step: in units of `x`.
    """
    increasing = np.maximum.accumulate(x + min_step * np.arange(len(x)))
    v = np.interp(grid, increasing, y)
    window, pad = np.hanning(taps + 2)[1:-1], taps // 2
    padded = np.concatenate([2 * v[0] - v[pad:0:-1], v, 2 * v[-1] - v[-2 : -2 - pad : -1]])
    smooth: Floats = np.convolve(padded, window / window.sum(), mode="valid")
    return smooth
