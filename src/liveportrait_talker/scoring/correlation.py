"""Correlation of two tracks, and the shift at which it is highest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..arrays import Floats, Floats64

_MAX_LAG_MS, _LAG_STEP_MS = 200, 10
_FEWEST = 10  # common values for a correlation


class BestLag(NamedTuple):
    """Correlations of a track with a reference."""

    unshifted: float
    highest: float
    lag_ms: float
    """Shift with the highest correlation; + = the track is late."""


def correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's r over the common length, without values that are not finite; NaN for fewer than ten."""
    n = min(len(a), len(b))
    finite = np.isfinite(a[:n]) & np.isfinite(b[:n])
    if finite.sum() < _FEWEST:
        return float("nan")
    a, b = np.asarray(a[:n][finite], np.float64), np.asarray(b[:n][finite], np.float64)
    if min(a.std(), b.std()) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def shifted(track: Floats, frames: float) -> Floats64:
    """Return `track` (T,) at k + `frames` for each k, linear between frames, NaN beyond the ends."""
    values = np.asarray(track, np.float64)
    at = np.arange(len(values)) + frames
    before = np.floor(at + 1e-9).astype(int)
    weight = at - before
    weight[weight < 1e-6] = 0.0

    def value(k: Floats) -> Floats:
        return np.where((k >= 0) & (k < len(values)), values[np.clip(k, 0, len(values) - 1)], np.nan)

    return np.where(weight == 0, value(before), (1 - weight) * value(before) + weight * value(before + 1))


def best_lag(track: Floats, reference: Floats, fps: float) -> BestLag:
    """Return the correlations of a track (T,) with a reference, unshifted and at the best shift within ±200 ms."""
    n = min(len(track), len(reference))
    lags = np.arange(-_MAX_LAG_MS, _MAX_LAG_MS + 1, _LAG_STEP_MS)
    values = np.array([correlation(shifted(track[:n], lag * fps / 1000), reference[:n]) for lag in lags])
    if not np.isfinite(values).any():
        return BestLag(float("nan"), float("nan"), float("nan"))
    best = int(np.nanargmax(values))
    return BestLag(float(values[len(lags) // 2]), float(values[best]), float(lags[best]))
