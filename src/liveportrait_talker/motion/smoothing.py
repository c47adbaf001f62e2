"""Smoothing of tracks over time: Kalman smoother, moving average, smooth step.

Source: docs/method/motion.md, Smoothing.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64

OBSERVATION_VARIANCE = 3e-7  # LivePortrait's `driving_smooth_observation_variance`
PROCESS_VARIANCE = 1e-5


def kalman_smooth(
    track: Floats,
    observation_variance: float = OBSERVATION_VARIANCE,
    process_variance: float = PROCESS_VARIANCE,
) -> Floats64:
    """Smooth `track` (T ≥ 1, ...) over time, each scalar by itself; float64 of the same shape.

    The model is a random walk observed with noise, starting at the first value with variance 1. Its gains depend on
    the variances only and are shared by all scalars.

    Raises:
        ValueError: the track is empty, or a variance is not positive.
    """
    x = np.asarray(track, dtype=np.float64)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"a track to smooth needs at least one frame, got shape {x.shape}")
    if not (observation_variance > 0 and process_variance > 0):
        raise ValueError(f"variances must be positive, got {observation_variance} and {process_variance}")
    flat = x.reshape(len(x), -1)

    gain, pull = np.empty(len(x)), np.empty(len(x))
    predicted = 1.0
    for i in range(len(x)):
        g = predicted / (predicted + observation_variance)
        posterior = (1.0 - g) * predicted
        predicted = posterior + process_variance
        gain[i], pull[i] = g, posterior / predicted
    gain[0] = 1.0  # the forward pass starts at the first value
    pull[-1] = 0.0  # the backward pass starts at the last filtered value

    filtered = _recursion(1.0 - gain, gain[:, None] * flat)
    smoothed = _recursion(pull[::-1], ((1.0 - pull)[:, None] * filtered)[::-1])[::-1]
    return smoothed.reshape(x.shape)


def moving_average(track: Floats, window: int, edge: float | None = None) -> Floats64:
    """Return the mean over `window` frames about each frame of `track` (T ≥ 1, ...), float64 of the same shape.

    The track is extended by `edge`, or by its end values if None. An even window reaches one frame further back than
    forward, so that the length never changes (docs/earlier_systems.md, defect 41).

    Raises:
        ValueError: the window is shorter than one frame.
    """
    if window < 1:
        raise ValueError(f"a moving average needs a window of at least one frame, got {window}")
    x = np.asarray(track, dtype=np.float64)
    reach = [(window // 2, (window - 1) // 2)] + [(0, 0)] * (x.ndim - 1)
    padded = np.pad(x, reach, mode="edge") if edge is None else np.pad(x, reach, constant_values=edge)
    total = np.cumsum(np.concatenate([np.zeros((1, *x.shape[1:])), padded]), axis=0)
    mean: Floats64 = (total[window:] - total[:-window]) / window
    return mean


def bell_average(track: Floats, window: int) -> Floats64:
    """Smooth `track` (T ≥ 1, ...) by a bell about `window` frames wide: a moving average applied three times."""
    smooth = np.asarray(track, dtype=np.float64)
    third = max(1, round(window / 1.7)) | 1  # odd, so that the bell is symmetric
    for _ in range(3):
        smooth = moving_average(smooth, third)
    return smooth


def smoothstep(low: float, high: float, x: Floats) -> Floats64:
    """Return 0 below `low`, 1 above `high` and a smooth transition between, for any shape; `low` < `high`."""
    t = np.clip((np.asarray(x, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def _recursion(decay: Floats64, drive: Floats64) -> Floats64:
    """Return y (T, D) with y[i] = decay[i] · y[i−1] + drive[i] and y[−1] = 0.

    Blocks of about √T rows are computed in parallel from zero; the end of each block is then carried into the next,
    times the product of the decays. This takes about 2√T steps instead of T.
    """
    length, width = drive.shape
    block = max(1, int(np.sqrt(length)))
    blocks = -(-length // block)
    y: Floats64 = np.zeros((blocks * block, width))
    y[:length] = drive
    y = y.reshape(blocks, block, width)
    d: Floats64 = np.zeros(blocks * block)
    d[:length] = decay
    d = d.reshape(blocks, block, 1)
    for k in range(1, block):
        y[:, k] += d[:, k] * y[:, k - 1]
    reach = np.cumprod(d, axis=1)
    for b in range(1, blocks):
        y[b] += reach[b] * y[b - 1, -1]
    return y.reshape(-1, width)[:length]
