"""Blinks in the openness of the eyes (docs/method/measurements.md, Blinks)."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64
from ..motion.intervals import true_intervals

_SHUT = 0.65  # of the openness around it
_AROUND_S = 2.0
_QUARTILE = 75
_JOIN_S = 0.08  # dips that are this close are one blink
_SHORTEST_S, _LONGEST_S = 0.04, 0.5
_DEPTH = 0.06


def find_blinks(openness: Floats, fps: float) -> list[tuple[int, int]]:
    """Return the blinks as (first frame, end) from the openness (T,) of the eyes; NaN is filled with the median."""
    if np.isfinite(openness).sum() < 5:
        return []
    eyes = np.where(np.isfinite(openness), openness, np.nanmedian(openness))
    opened = _open_level(eyes, fps)
    joined: list[tuple[int, int]] = []
    for first, end in true_intervals(eyes < _SHUT * opened):
        if joined and first - joined[-1][1] <= _JOIN_S * fps:
            first = joined.pop()[0]
        joined.append((first, end))
    return [
        (first, end)
        for first, end in joined
        if first > 0
        and end < len(eyes)
        and _SHORTEST_S * fps <= end - first <= _LONGEST_S * fps
        and (opened[first:end] - eyes[first:end]).max() >= _DEPTH
    ]


def blink_figures(openness: Floats, fps: float) -> dict[str, float]:
    """Return rate, longest time without a blink, mean duration and closure of the blinks (docs/score.md, Eyes)."""
    blinks = find_blinks(openness, fps)
    seconds = max(float(np.isfinite(openness).sum()) / fps, 1e-9)
    ends = np.array([0, *(moment for blink in blinks for moment in blink), len(openness)]).reshape(-1, 2)
    figures = {
        "blinks_per_min": 60 * len(blinks) / seconds,
        "blink_gap_s": float(np.diff(ends, axis=1).max()) / fps,
    }
    if blinks:
        eyes = np.where(np.isfinite(openness), openness, np.nanmedian(openness))
        opened = _open_level(eyes, fps)
        figures["blink_ms"] = float(np.mean([1000 * (end - first) / fps for first, end in blinks]))
        figures["blink_closure"] = float(min((eyes / opened)[first:end].min() for first, end in blinks))
    return figures


def _open_level(eyes: Floats, fps: float) -> Floats64:
    """Return the upper quartile (T,) of the openness (T,) in the two seconds around each frame."""
    reach = int(_AROUND_S * fps) // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(eyes, reach, mode="edge"), 2 * reach + 1)
    rank = windows.shape[1] * _QUARTILE // 100
    return np.asarray(np.partition(windows, rank, axis=1)[:, rank], np.float64)
