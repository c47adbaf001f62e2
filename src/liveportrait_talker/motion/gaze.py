"""Idle gaze: mostly at the viewer, with a small glance aside now and then."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .rhythm import log_normal_parts

_AWAY = (0.16, 0.24)  # share of the time spent looking elsewhere
_GLANCE_EVERY_S = 3.8  # contact of 3.1 s and a glance of 0.7 s, as in conversation
_SHORTEST_S = 0.2  # a fixation
_LEAST, _TYPICAL, _MOST = 0.08, 0.10, 0.35


def idle_gaze(frames: int, fps: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gaze (frames, 2) float64, x + to the picture's right, y + up, of full travel −1…1, here at most 0.35 long.

    Piecewise constant, since a saccade is shorter than a frame. In a clip of 5 s or more, 75–85 % of the frames
    are exactly 0, the viewer; it starts and ends there. Glances are mostly sideways, small ones the most common.
    Clips too short for a glance have none. Source: field notes §5.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    gaze = np.zeros((frames, 2))
    away_frames = round(rng.uniform(*_AWAY) * frames)
    shortest = int(np.ceil(_SHORTEST_S * fps))
    glances = min(max(1, round(frames / fps / _GLANCE_EVERY_S)), away_frames // shortest)
    if glances < 1:
        return gaze
    away = log_normal_parts(away_frames, glances, rng, least=shortest)
    # At least half the shortest look back between two glances, which sums to less than the contact there is.
    contact = log_normal_parts(frames - away_frames, glances + 1, rng, least=shortest // 2 + 1)
    length = np.minimum(_LEAST + rng.exponential(_TYPICAL, glances), _MOST)
    angle = np.pi * rng.integers(0, 2, glances) + rng.normal(0.0, 0.35, glances)
    starts = np.cumsum(contact)[:-1] + np.cumsum(away) - away
    for i, start in enumerate(starts):
        gaze[start : start + away[i]] = length[i] * np.cos(angle[i]), length[i] * np.sin(angle[i])
    return gaze
