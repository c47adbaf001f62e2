"""Idle gaze: at the viewer most of the time, with small glances aside."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..arrays import Floats64
from .random_intervals import draw_interval, draw_intervals

_AWAY = (0.16, 0.24)  # share of the time spent on glances
_CONTACT_S, _GLANCE_S = 3.1, 0.7  # means, as in conversation
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
    glances = min(max(1, round(frames / fps / (_CONTACT_S + _GLANCE_S))), away_frames // shortest)
    if glances < 1:
        return gaze
    away = draw_intervals(away_frames, glances, rng, least=shortest)
    # Half the shortest fixation between two glances always fits into the time that is left.
    contact = draw_intervals(frames - away_frames, glances + 1, rng, least=shortest // 2 + 1)
    starts = np.cumsum(contact)[:-1] + np.cumsum(away) - away
    for start, frames_away, direction in zip(starts, away, _draw_glances(glances, rng), strict=True):
        gaze[start : start + frames_away] = direction
    return gaze


def endless_gaze(fps: float, rng: np.random.Generator) -> Iterator[Floats64]:
    """Yield the gaze (2,) frame by frame, without end: contact and glances as in `idle_gaze`."""
    while True:
        for _ in range(round(fps * max(draw_interval(_CONTACT_S, rng), _SHORTEST_S))):
            yield np.zeros(2)
        direction = _draw_glances(1, rng)[0]
        for _ in range(round(fps * max(draw_interval(_GLANCE_S, rng), _SHORTEST_S))):
            yield direction


def _draw_glances(count: int, rng: np.random.Generator) -> Floats64:
    """Return where `count` glances go, (count, 2)."""
    length = np.minimum(_MIN_LENGTH + rng.exponential(_MEAN_EXCESS, count), _MAX_LENGTH)
    angle = np.pi * rng.integers(0, 2, count) + rng.normal(0.0, 0.35, count)
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)
