"""Offset between mouth and sound, without a true clip: the mouth that the sound would make is predicted from it.

Source: docs/score.md, Offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Floats, Floats64
from ..driving.signal.driver import SignalDriver
from ..media.waveform import Waveform
from .correlation import shifted
from .tracks import GRID_FPS

_RATE = 100.0  # steps per second: 10 ms
_MAX_LAG_MS = 400
_FINE_S, _COARSE_S = 0.02, 0.5  # standard deviations of the smoothing: noise below, posture above
_BLOCKS = 8  # parts of the video, each left out once
_SHORTEST_S = 1.5
_NORMAL = 1.4826  # standard deviation / median absolute deviation


@dataclass(frozen=True, eq=False)
class SoundSync:
    """How a mouth fits the one that is predicted from the sound."""

    lags_ms: Floats
    """(n,) shifts; + = the mouth is late."""
    correlations: Floats
    """(n,) with the predicted aperture at each shift."""
    offset_ms: float
    """The shift with the highest correlation."""
    error_ms: float
    """Standard error of the offset: jackknife, by the median, as one part may move the peak to another one."""
    correlation: float
    """The highest one."""

    def figures(self) -> dict[str, float]:
        """Return the figures by name."""
        return {"offset_ms": self.offset_ms, "offset_error_ms": self.error_ms, "sound_r": self.correlation}


def predict_aperture(voice: Waveform, driver: SignalDriver | None = None) -> Floats:
    """Return the aperture of a mouth that says `voice` (16 kHz), 100 a second, IOD; None: by the built-in driver."""
    return (driver or SignalDriver()).mouth(voice, _RATE)[:, 0]


def sound_sync(aperture: Floats, predicted: Floats) -> SoundSync | None:
    """Compare an aperture (T,), GRID_FPS a second, with a predicted one at 100 a second.

    Returns:
        None where less than 1.5 s can be compared, or one of the two does not move.
    """
    known = np.isfinite(aperture)
    steps = int(len(aperture) * _RATE / GRID_FPS)
    steps = min(steps, len(predicted))
    if known.sum() < _SHORTEST_S * GRID_FPS or steps < _SHORTEST_S * _RATE:
        return None
    at = np.arange(steps) * (GRID_FPS / _RATE)
    measured = np.interp(at, np.flatnonzero(known), np.asarray(aperture, np.float64)[known])
    present = known[np.minimum(np.rint(at).astype(int), len(known) - 1)]
    mouth = np.where(present, _band(measured), np.nan)
    expected = _band(np.asarray(predicted[:steps], np.float64))
    if min(np.nanstd(mouth), expected.std()) < 1e-4:
        return None
    lags = np.arange(-_MAX_LAG_MS, _MAX_LAG_MS + 1.0, 1000 / _RATE)
    moved = np.stack([shifted(mouth, lag * _RATE / 1000) for lag in lags.tolist()])  # (lags, steps)
    sums = _block_sums(moved, expected)
    curve = _correlations(sums.sum(axis=1))
    without = np.array([_peak(lags, _correlations(sums.sum(axis=1) - sums[:, k])) for k in range(_BLOCKS)])
    spread = _NORMAL * float(np.median(np.abs(without - np.median(without))))
    return SoundSync(
        lags_ms=lags,
        correlations=curve,
        offset_ms=_peak(lags, curve),
        error_ms=(_BLOCKS - 1) / _BLOCKS**0.5 * spread,
        correlation=float(curve.max()),
    )


def _band(track: Floats64) -> Floats64:
    """Return a track (T,) without noise and without slow changes."""
    return _smooth(track, _FINE_S) - _smooth(track, _COARSE_S)


def _smooth(track: Floats64, seconds: float) -> Floats64:
    reach = int(4 * seconds * _RATE)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (seconds * _RATE)) ** 2)
    return np.convolve(np.pad(track, reach, mode="edge"), kernel / kernel.sum(), "valid")


def _block_sums(moved: Floats64, expected: Floats64) -> Floats64:
    """Return n, Σx, Σy, Σx², Σy², Σxy of each shift and block of time: (lags, blocks, 6)."""
    use = np.isfinite(moved)
    x, y = np.where(use, moved, 0.0), use * expected
    terms = np.stack([use.astype(np.float64), x, y, x * x, y * y, x * y], axis=-1)
    return np.add.reduceat(terms, np.arange(_BLOCKS) * moved.shape[1] // _BLOCKS, axis=1)


def _correlations(sums: Floats64) -> Floats64:
    """Return Pearson's r (lags,) from sums (lags, 6)."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    covariance = n * xy - x * y
    return np.asarray(covariance / np.sqrt(np.maximum((n * xx - x * x) * (n * yy - y * y), 1e-20)))


def _peak(lags: Floats, curve: Floats64) -> float:
    """Return the position of the maximum, by a parabola through it and its neighbours."""
    best = int(np.argmax(curve))
    if not 0 < best < len(curve) - 1:
        return float(lags[best])
    before, top, after = curve[best - 1 : best + 2]
    return float(lags[best] + (lags[1] - lags[0]) / 2 * (before - after) / min(before - 2 * top + after, -1e-12))
