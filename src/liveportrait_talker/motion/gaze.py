"""Idle gaze: at the viewer most of the time, with small glances aside."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats64
from .random_intervals import draw_intervals

_AWAY = (0.16, 0.24)  # share of the time spent on glances
_GLANCE_EVERY_S = 3.8  # 3.1 s of contact and 0.7 s of glance, as in conversation
_SHORTEST_S = 0.2  # length of a fixation
_MIN_LENGTH, _MEAN_EXCESS, _MAX_LENGTH = 0.08, 0.10, 0.35  # of full travel; excess: over the minimum


def idle_gaze(frames: int, fps: float, rng: np.random.Generator) -> Floats64:
    """Return the gaze (frames, 2), x + to the image's right, y + up, in units of full travel; at most 0.35 long.

    The gaze is piecewise constant, since a saccade is shorter than a frame. In clips from 5 s, 75–85 % of the frames
    are exactly 0 (at the viewer), among them the first and the last. Glances are mostly sideways, small ones most
    common. Clips too short for a glance have none. Source: docs/method/motion.md, Gaze.

    Raises:
        ValueError: `fps` is not positive.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    gaze = np.zeros((frames, 2))
    away_frames = round(rng.uniform(*_AWAY) * frames)
    shortest = int(np.ceil(_SHORTEST_S * fps))
    glances = min(max(1, round(frames / fps / _GLANCE_EVERY_S)), away_frames // shortest)
    if glances < 1:
        return gaze
    away = draw_intervals(away_frames, glances, rng, least=shortest)
    # Half the shortest fixation between two glances always fits into the time that is left.
    contact = draw_intervals(frames - away_frames, glances + 1, rng, least=shortest // 2 + 1)
    length = np.minimum(_MIN_LENGTH + rng.exponential(_MEAN_EXCESS, glances), _MAX_LENGTH)
    angle = np.pi * rng.integers(0, 2, glances) + rng.normal(0.0, 0.35, glances)
    starts = np.cumsum(contact)[:-1] + np.cumsum(away) - away
    for i, start in enumerate(starts):
        gaze[start : start + away[i]] = length[i] * np.cos(angle[i]), length[i] * np.sin(angle[i])
    return gaze
